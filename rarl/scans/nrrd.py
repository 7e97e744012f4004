"""Read NRRD (.nrrd, and .nhdr joined with its data) into a `Part`.

The format of Teem and 3D Slicer: https://teem.sourceforge.net/nrrd/format.html. The library
`pynrrd` is not used: it unpacks without a limit and opens whatever file a header names.
"""

from __future__ import annotations

import bz2
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarl.errors import ScanError
from rarl.limits import Limits
from rarl.scans.decoded_file import Part
from rarl.scans.refusal import refused_as
from rarl.scans.volume import check_shape, colour_of, read_volume, shaped
from rarl.scans.windowing import Values

_DAMAGED = "The NRRD volume is damaged or not complete; export it again and upload the new copy."
_VECTORS = "The NRRD file holds vectors; save the one component to be looked at."
_LONGEST_HEADER = 65_536
_DATA_FILE = re.compile(rb"^data ?file:[ \t]*([^\r\n]*?)[ \t]*\r?\n", re.MULTILINE | re.IGNORECASE)
_BLANK = re.compile(rb"\r?\n\r?\n")
_BYTES = {
    "signed char": "i1", "int8": "i1", "int8_t": "i1",
    "uchar": "u1", "unsigned char": "u1", "uint8": "u1", "uint8_t": "u1",
    "short": "i2", "short int": "i2", "signed short": "i2", "signed short int": "i2",
    "int16": "i2", "int16_t": "i2",
    "ushort": "u2", "unsigned short": "u2", "unsigned short int": "u2", "uint16": "u2",
    "uint16_t": "u2",
    "int": "i4", "signed int": "i4", "int32": "i4", "int32_t": "i4",
    "uint": "u4", "unsigned int": "u4", "uint32": "u4", "uint32_t": "u4",
    "longlong": "i8", "long long": "i8", "long long int": "i8", "signed long long": "i8",
    "signed long long int": "i8", "int64": "i8", "int64_t": "i8",
    "ulonglong": "u8", "unsigned long long": "u8", "unsigned long long int": "u8",
    "uint64": "u8", "uint64_t": "u8",
    "float": "f4", "double": "f8",
}  # fmt: skip
_ABBREVIATED = {"RAS": "right-anterior-superior", "LAS": "left-anterior-superior",
                "LPS": "left-posterior-superior"}  # fmt: skip
_TOWARDS_RAS = {"right": 1.0, "left": -1.0, "anterior": 1.0, "posterior": -1.0,
                "superior": 1.0, "inferior": -1.0}  # fmt: skip
_MILLIMETRES = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "µm": 1e-3,
                "micron": 1e-3, "microns": 1e-3}  # fmt: skip
_COLOURS = frozenset(["rgb-color", "rgba-color", "3-color", "4-color", "vector", "3-vector"])


def looks_like_nrrd(data: bytes) -> bool:
    """Whether the content begins as an NRRD file does."""
    return re.match(rb"NRRD\d{4}\r?\n", data[:16]) is not None


def nrrd_data_file(data: bytes) -> str | None:
    """The data file that a header names; None where the pixels follow the header."""
    match = _DATA_FILE.search(_header_of(data) + b"\n")
    return match[1].decode("latin-1") if match else None


def joined_nrrd(header: bytes, content: bytes) -> bytes:
    """A header (.nhdr) and its data file as one .nrrd."""
    kept = _DATA_FILE.sub(b"", _header_of(header).rstrip(b"\r\n") + b"\n")
    return kept + b"\n" + content


def _header_of(data: bytes) -> bytes:
    blank = _BLANK.search(data, 0, _LONGEST_HEADER)
    return data[: blank.start() + 1] if blank else data[:_LONGEST_HEADER]


def read_nrrd(data: bytes, limits: Limits, tick: Callable[[], None]) -> Part:
    """Decode a picture or volume, over time or in colour where its axes say so.

    Args:
        data: the whole file, its pixels behind the header.
        limits: the announced size is checked before anything is unpacked.
        tick: called before each step that takes time.

    Raises:
        ScanError: damaged, cut short, too large, of vectors, or a header without its data.
    """
    with refused_as(_DAMAGED):
        return _read(data, limits, tick)


def _read(data: bytes, limits: Limits, tick: Callable[[], None]) -> Part:
    if nrrd_data_file(data) is not None:
        raise ScanError(
            "This is only the header of an NRRD volume; choose it together with its data file, or "
            "save the volume as .nrrd.",
            "a header without its data",
        )
    blank = _BLANK.search(data, 0, _LONGEST_HEADER)
    if blank is None:
        raise ScanError(_DAMAGED)
    header = _fields(data[: blank.start()])
    sizes = tuple(int(side) for side in header["sizes"].split())
    if len(sizes) != int(header["dimension"]) or not 2 <= len(sizes) <= 5 or min(sizes) < 1:
        raise ScanError(_DAMAGED)
    kinds = header.get("kinds", "domain " * len(sizes)).casefold().split()
    axes, directions = _axes(header, kinds, len(sizes))
    check_shape(tuple(sizes[axis] for axis in axes), limits)
    limits.check_total(int(np.prod(sizes, dtype=np.int64)))
    big = header.get("endian", "little") == "big"
    dtype: np.dtype[Any] = np.dtype((">" if big else "<") + _BYTES[header["type"]])
    tick()
    content = _content(data[blank.end() :], header, limits, dtype, sizes)
    values = shaped(content, dtype, sizes, "NRRD")
    values, extra = _in_order(values, axes, kinds)
    affine, oriented = _affine(header, directions, len(axes))
    part = read_volume(values, affine, oriented, "nrrd", limits, tick)
    return part if not extra else _with(part, extra)


def _fields(text: bytes) -> dict[str, str]:
    """The fields of a header by their names; comments and key-value pairs are left out."""
    fields: dict[str, str] = {}
    for line in text.decode("latin-1").splitlines()[1:]:
        name, colon, value = line.partition(": ")
        if colon and not line.startswith("#"):
            fields[name.strip().casefold()] = value.strip()
    return fields


def _vectors(text: str) -> list[NDArray[np.float64]]:
    """Vectors such as "(1,0,0) none (0,1,0)"; `none` is one of no numbers."""
    return [
        np.array([float(number) for number in vector[1:-1].split(",")] if vector != "none" else [])
        for vector in re.findall(r"none|\([^)]*\)", text)
    ]


def _with(part: Part, sentence: str) -> Part:
    return replace(part, warnings=(*part.warnings, sentence))


def _axes(
    header: dict[str, str], kinds: list[str], count: int
) -> tuple[list[int], NDArray[np.float64] | None]:
    """The spatial axes, and the directions of all axes, NaN where an axis has none."""
    given = _vectors(header.get("space directions", ""))
    if len(given) == count:
        known = [axis for axis in range(count) if len(given[axis])]
        # In a space with time the last axis is none of the body.
        directions = np.full((count, 3), np.nan)
        for axis in known:
            directions[axis, : min(len(given[axis]), 3)] = given[axis][:3]
            directions[axis] = np.nan_to_num(directions[axis])
        if len(known) >= 2:
            return known[:3], directions
    plain = [axis for axis in range(count) if kinds[axis] in ("domain", "space", "???", "none")]
    if not (len(plain) >= 2):
        raise ScanError(_VECTORS)
    return plain[:3], None


def _in_order(values: Values, axes: list[int], kinds: list[str]) -> tuple[Values, str]:
    """Space first, then time; colour as one value. Also a word on what is shown as time."""
    others = [axis for axis in range(values.ndim) if axis not in axes and values.shape[axis] > 1]
    single = [axis for axis in range(values.ndim) if axis not in axes and axis not in others]
    values = np.transpose(values, [*axes, *others, *single])
    values = values.reshape(values.shape[: len(axes) + len(others)], order="F")
    while values.ndim - len(others) < 3:
        values = np.expand_dims(values, values.ndim - len(others))
    if not others:
        return values, ""
    if len(others) > 1:
        raise ScanError(_VECTORS)
    kind = kinds[others[0]]
    if kind in _COLOURS:
        if values.dtype != np.uint8 or values.shape[-1] not in (3, 4):
            raise ScanError(_VECTORS)
        return colour_of(values), ""
    if kind == "time":
        return values, ""
    if kind in ("list", "domain", "space", "none", "???"):
        return values, "The values that the file lists for each place are shown as time points."
    raise ScanError(_VECTORS)


def _affine(
    header: dict[str, str], directions: NDArray[np.float64] | None, axes: int
) -> tuple[NDArray[np.float64], bool]:
    """From indices to R, A, S in mm; and whether the file says how the volume lies."""
    affine = np.eye(4)
    named = header.get("space", "").removesuffix("-time")
    words = _ABBREVIATED.get(named.upper(), named).casefold().split("-")
    signs = [_TOWARDS_RAS.get(word, 0.0) for word in words] if len(words) == 3 else [0.0]
    oriented = directions is not None and axes == 3 and all(signs)
    if directions is not None:
        units = re.findall(r'"([^"]*)"', header.get("space units", ""))
        scale = _MILLIMETRES.get(units[0], 1.0) if units else 1.0
        known = directions[np.isfinite(directions).all(axis=1)][:3] * scale
        if oriented:
            affine[:3, :3] = known.T * np.array(signs)[:, None]
            origin = [vector for vector in _vectors(header.get("space origin", "")) if len(vector)]
            if origin:
                affine[:3, 3] = np.nan_to_num(origin[0][:3]) * np.array(signs) * scale
        else:
            lengths = np.linalg.norm(known, axis=1)
            affine[range(len(lengths)), range(len(lengths))] = lengths
        return affine, oriented
    spacings = np.array([float(number) for number in header.get("spacings", "").split()])
    lengths = spacings[np.isfinite(spacings)][:3]
    for axis, length in enumerate(lengths):
        affine[axis, axis] = abs(length) or 1.0
    return affine, False


def _content(
    packed: bytes,
    header: dict[str, str],
    limits: Limits,
    dtype: np.dtype[Any],
    sizes: tuple[int, ...],
) -> bytes:
    """The raw values, unpacked and without what is to be skipped (lines, then bytes)."""
    lines = int(header.get("line skip", header.get("lineskip", 0)))
    skipped = int(header.get("byte skip", header.get("byteskip", 0)))
    for _ in range(min(lines, 1000)):
        packed = packed[packed.find(b"\n") + 1 :]
    encoding = header["encoding"].casefold()
    count = int(np.prod(sizes, dtype=np.int64))
    if encoding in ("gzip", "gz"):
        content = limits.inflated(zlib.decompressobj(47), packed)
    elif encoding in ("bzip2", "bz2"):
        most = min(limits.series_bytes, max(limits.unsuspicious_bytes,
                                            limits.expansion_ratio * len(packed)))  # fmt: skip
        content = bz2.BZ2Decompressor().decompress(packed, most + 1)
        limits.check_expansion(len(packed), len(content))
    elif encoding in ("ascii", "text", "txt"):
        words = packed.split()[:count]
        return np.array([float(word) for word in words]).astype(dtype).tobytes()
    elif encoding == "hex":
        content = bytes.fromhex(packed.decode("ascii"))
    elif encoding == "raw":
        content = packed
    else:
        raise ScanError("The NRRD file packs its values in an unknown way; save it as raw or gzip.")
    if skipped == -1:  # the values are what the file ends with
        return content[max(0, len(content) - count * dtype.itemsize) :]
    return content[max(0, skipped) :]
