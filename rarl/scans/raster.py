"""Read PNG, JPEG, TIFF, WebP, BMP and AVIF into a `Part`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from rarl.errors import ScanError
from rarl.limits import Limits
from rarl.scans.codestream import Codestream, ends_early, read_codestream
from rarl.scans.decoded_file import Frame, Part
from rarl.scans.jpeg import decode_deep
from rarl.scans.refusal import refused_as
from rarl.scans.tiff import looks_like_tiff, read_tiff
from rarl.scans.voi_lut import narrowed
from rarl.scans.windowing import Values, to_eight_bit

_DAMAGED = "The picture is damaged or not complete; export it again and upload the new copy."

# Pillow's readers are named one by one: its others (PostScript, FITS, ...) are never tried.
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "AVIF")
_NAMES = {"MPO": "jpeg"}  # a JPEG with more behind it
_PILLOWS_JPEG = frozenset([0xC0, 0xC1, 0xC2])  # baseline, extended, progressive
_DEEP = frozenset(["I;16", "I;16B", "I;16L", "I", "F"])


def looks_plain(data: bytes) -> bool:
    """Whether the content begins as one of the formats below does."""
    return (
        data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM"))
        or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
        or data[4:12] in (b"ftypavif", b"ftypavis")
    )  # fmt: skip


def read_plain(data: bytes, limits: Limits, tick: Callable[[], None]) -> Part:
    """Decode a picture, upright, on black where it is transparent; a TIFF's pages are frames.

    Text, EXIF and colour profile stay behind: only pixels are kept. Grey of more than 8 bits keeps
    its depth.

    Args:
        data: the whole file.
        limits: checked against the header before anything is decoded, page by page.
        tick: called before each page is decoded.

    Raises:
        ScanError: damaged, truncated, too large or too small.
    """
    with refused_as(_DAMAGED), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if looks_like_tiff(data):
            return _tiff(data, limits, tick)
        stream = read_codestream(data)
        if stream and (stream.precision != 8 or stream.process not in _PILLOWS_JPEG):
            return _deep_jpeg(data, stream, limits, tick)
        picture = _open(data, limits)
        name = picture.format or ""
        pages: list[Values] = []
        total = 0
        paged = name in ("WEBP", "AVIF")
        for page in ImageSequence.Iterator(picture) if paged else [picture]:
            tick()
            limits.check_pixels(*page.size)
            limits.check_frames(len(pages) + 1)
            total += page.width * page.height
            limits.check_total(total)
            pages.append(_pixels(page))
        colour = any(page.ndim == 3 for page in pages)
        if colour:
            pages = [_coloured(page) for page in pages]
        kind = _NAMES.get(name, name.lower())
        # Screenshots come as colour; so do photographs of a screen.
        return Part(tuple(pages), (Frame(),) * len(pages), kind, text_likely=colour)


def _tiff(data: bytes, limits: Limits, tick: Callable[[], None]) -> Part:
    picture: Image.Image | None = None

    def by_pillow(number: int) -> Values:
        nonlocal picture
        picture = picture or _open(data, limits)
        picture.seek(number)
        return _pixels(picture)

    pages, sentences = read_tiff(data, limits, tick, by_pillow)
    colour = any(page.ndim == 3 for page in pages)
    if colour:
        pages = [_coloured(page) for page in pages]
    frames = (Frame(),) * len(pages)
    return Part(tuple(pages), frames, "tiff", warnings=tuple(sentences), text_likely=colour)


def _deep_jpeg(data: bytes, stream: Codestream, limits: Limits, tick: Callable[[], None]) -> Part:
    limits.check_pixels(stream.width, stream.height)
    if stream.components not in (1, 3) or ends_early(data):
        raise ScanError(_DAMAGED)
    tick()
    pixels = decode_deep(data, stream)
    if stream.components == 3:
        pixels = to_eight_bit(pixels, 0, float((1 << stream.precision) - 1))
    return Part((narrowed(pixels),), (Frame(),), "jpeg", text_likely=stream.components == 3)


def _open(data: bytes, limits: Limits) -> Image.Image:
    """Read the header; Pillow itself refuses, by the same limit, what would fill the memory."""
    Image.MAX_IMAGE_PIXELS = limits.frame_pixels  # of the decoding process alone
    try:
        return Image.open(BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise limits.too_many_pixels() from None


def _pixels(page: Image.Image) -> Values:
    page.load()
    upright = ImageOps.exif_transpose(page)
    if upright.mode in _DEEP:
        return narrowed(np.asarray(upright))
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    return np.array(upright.convert("L" if upright.mode in {"1", "L"} else "RGB"))


def _coloured(page: Values) -> Values:
    """A grey page among coloured ones as colour."""
    if page.ndim == 3:
        return page
    if page.dtype != np.uint8:
        raise ScanError(
            "The pages of the file differ in depth; save the page in question by itself."
        )
    return np.repeat(page[:, :, None], 3, axis=2)
