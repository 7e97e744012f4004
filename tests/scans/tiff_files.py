"""TIFF files written byte by byte, in layouts that no library writes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

_FORMS = {1: "B", 3: "H", 4: "I"}


def packed(samples: np.ndarray, bits: int, order: str) -> bytes:
    """Samples (rows, ...) of any depth; each row is filled up to a whole byte."""
    if bits in (8, 16, 32, 64):
        kind = samples.dtype.kind if samples.dtype.kind in "if" else "u"
        return samples.astype(f"{order}{kind}{bits // 8}").tobytes()
    rows = []
    for row in samples.reshape(samples.shape[0], -1).astype(np.int64):
        places = (row[:, None] >> np.arange(bits - 1, -1, -1)) & 1
        rows.append(np.packbits(places.astype(np.uint8)).tobytes())
    return b"".join(rows)


def tiff(
    samples: np.ndarray,
    bits: int,
    photometric: int,
    *,
    planar: int = 1,
    order: str = "<",
    sample_format: int = 1,
    deflated: bool = False,
    **tags: Sequence[int],
) -> bytes:
    """One page of samples (rows, columns[, channels]).

    Args:
        samples: in the file's own meaning (ink is 1 where photometric is 0).
        bits: of a sample.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK.
        planar: 1 pixel by pixel, 2 channel by channel.
        order: "<" or ">".
        sample_format: 1 unsigned, 2 signed, 3 float.
        deflated: whether the strips are compressed.
        **tags: further SHORT tags, named "t" and their number.
    """
    rows, columns, channels = (*samples.shape, 1)[:3]
    pixels = samples.reshape(rows, columns, channels)
    if planar == 2:
        strips = [packed(pixels[..., index], bits, order) for index in range(channels)]
    else:
        strips = [packed(pixels, bits, order)]
    if deflated:
        strips = [zlib.compress(strip) for strip in strips]
    strips = [strip + b"\0" * (len(strip) % 2) for strip in strips]
    places = [8 + sum(map(len, strips[:index])) for index in range(len(strips))]
    values: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, [columns]), 257: (4, [rows]), 258: (3, [bits] * channels),
        259: (3, [8 if deflated else 1]), 262: (3, [photometric]), 273: (4, places),
        277: (3, [channels]), 278: (4, [rows]), 279: (4, [len(strip) for strip in strips]),
        284: (3, [planar]), 339: (3, [sample_format] * channels),
        **{int(name[1:]): (3, numbers) for name, numbers in tags.items()},
    }  # fmt: skip
    body = b"".join(strips)
    entries = []
    for tag, (kind, numbers) in sorted(values.items()):
        raw = struct.pack(f"{order}{len(numbers)}{_FORMS[kind]}", *map(int, numbers))
        if len(raw) > 4:
            place = struct.pack(f"{order}I", 8 + len(body))
            body += raw + b"\0" * (len(raw) % 2)
        else:
            place = raw.ljust(4, b"\0")
        entries.append(struct.pack(f"{order}HHI", tag, kind, len(numbers)) + place)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body))
    return head + body + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
