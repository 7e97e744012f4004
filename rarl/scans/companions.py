"""Volumes stored as a header file and a data file (NIfTI, Analyze, MetaImage, NRRD)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import PurePosixPath

from rarl.scans.metaimage import joined_metaimage, looks_like_metaimage, metaimage_data_file
from rarl.scans.nrrd import joined_nrrd, looks_like_nrrd, nrrd_data_file

_LONGEST_HEADER = 1 << 20
_SIZES = {348: "little", 540: "little", 0x5C010000: "big", 0x1C020000: "big"}


def unpacked_header(data: bytes) -> bytes:
    """A header that was compressed (.hdr.gz) as it was; anything else as it is."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return zlib.decompressobj(31).decompress(data, 1024)
    except zlib.error:
        return data


def may_be_header(start: bytes) -> bool:
    """Whether a file may be such a header, by its first 200 bytes or more."""
    start = unpacked_header(start)
    known = int.from_bytes(start[:4], "little") in _SIZES
    return known or (start[128:132] != b"DICM" and start[:200].isascii())


def is_header(data: bytes) -> bool:
    """Whether a file is the header of a volume whose values lie in another file."""
    data = unpacked_header(data)
    if len(data) > _LONGEST_HEADER:
        return False
    if looks_like_nrrd(data):
        return nrrd_data_file(data) is not None
    if looks_like_metaimage(data):
        return metaimage_data_file(data) is not None
    return _order(data) is not None


def _order(data: bytes) -> str | None:
    """The byte order of the header of a NIfTI or Analyze pair; None where it is none."""
    order = _SIZES.get(int.from_bytes(data[:4], "little"))
    if order is None:
        return None
    if data[344:348] == b"ni1\0" or data[4:8] == b"ni2\0":
        return order
    # Analyze 7.5 has no mark: a header's length alone, and a number of dimensions that can be.
    sides = int.from_bytes(data[40:42], "little" if order == "little" else "big")
    return order if 348 <= len(data) <= 384 and 1 <= sides <= 7 else None


def data_file_of(header: bytes, name: str, others: Sequence[str]) -> int | None:
    """Find the data file that belongs to a header file.

    Args:
        header: see `is_header`.
        name: the header's path, "" where unknown.
        others: the paths of all other files, "" where unknown.

    Returns:
        An index into `others`: the file that the header names, that is called as it is, or that
        alone is left; None without one.
    """
    stated = nrrd_data_file(header) if looks_like_nrrd(header) else metaimage_data_file(header)
    own = _base(name)
    stem = own.removesuffix(".gz").rsplit(".", 1)[0]
    wanted = [_base(stated)] if stated else []
    if stem:
        wanted += [f"{stem}{ending}" for ending in (".img", ".img.gz", ".raw", ".raw.gz", ".zraw")]
        wanted.append(f"{own.removesuffix('.gz')}.img")
    folder = _folder(name)
    for candidate in wanted:
        same = [index for index, other in enumerate(others) if _base(other) == candidate]
        beside = [index for index in same if _folder(others[index]) == folder]
        if beside or same:
            return (beside or same)[0]
    return 0 if len(others) == 1 else None


def _base(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name.casefold()


def _folder(path: str) -> str:
    return str(PurePosixPath(path.replace("\\", "/")).parent)


def joined(header: bytes, content: bytes) -> bytes:
    """Header and values as one file of the same format (Analyze becomes NIfTI)."""
    header = unpacked_header(header)
    if looks_like_nrrd(header):
        return joined_nrrd(header, content)
    if looks_like_metaimage(header):
        return joined_metaimage(header, content)
    order = "<" if _order(header) == "little" else ">"
    return _joined_nifti(header, content, order)


def _joined_nifti(header: bytes, content: bytes, order: str) -> bytes:
    if header[4:8] == b"ni2\0":
        whole = bytearray(header[:540].ljust(540, b"\0"))
        (skipped,) = struct.unpack_from(f"{order}q", whole, 168)
        whole[4:8] = b"n+2\0"
        struct.pack_into(f"{order}q", whole, 168, 544)
        return bytes(whole) + bytes(4) + content[max(0, skipped) :]
    whole = bytearray(header[:348].ljust(348, b"\0"))
    (offset,) = struct.unpack_from(f"{order}f", whole, 108)
    if header[344:348] != b"ni1\0":
        # Analyze: millimetres, and no word on how the volume lies.
        whole[123] = 2
        whole[252:256] = bytes(4)
        struct.pack_into(f"{order}f", whole, 116, 0.0)
    whole[344:348] = b"n+1\0"
    struct.pack_into(f"{order}f", whole, 108, 352.0)
    start = int(offset) if 0 < offset < len(content) else 0
    return bytes(whole) + bytes(4) + content[start:]
