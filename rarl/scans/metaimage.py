"""Read MetaImage (.mha, and .mhd joined with its data) into a `Part`.

The format of ITK: https://itk.org/Wiki/ITK/MetaIO/Documentation. Directions are towards L, P, S.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from rarl.errors import ScanError
from rarl.limits import Limits
from rarl.scans.decoded_file import Part
from rarl.scans.refusal import refused_as
from rarl.scans.volume import LPS_TO_RAS, check_shape, colour_of, read_volume, shaped

_DAMAGED = (
    "The MetaImage volume is damaged or not complete; export it again and upload the new copy."
)
_LONGEST_HEADER = 65_536
_START = re.compile(rb"\s*(?:ObjectType|NDims|Comment|ObjectSubType)\s*=")
_DATA_FILE = re.compile(rb"^ElementDataFile\s*=\s*([^\r\n]*?)\s*$", re.MULTILINE)
_TYPES = {
    "CHAR": "i1",
    "UCHAR": "u1",
    "SHORT": "i2",
    "USHORT": "u2",
    "INT": "i4",
    "UINT": "u4",
    "LONG": "i4",  # MetaIO counts four bytes, whatever the platform
    "ULONG": "u4",
    "LONG_LONG": "i8",
    "ULONG_LONG": "u8",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}


def looks_like_metaimage(data: bytes) -> bool:
    """Whether the content begins with the header of a MetaImage."""
    return bool(_START.match(data[:200])) and b"ElementDataFile" in data[:_LONGEST_HEADER]


def metaimage_data_file(data: bytes) -> str | None:
    """The data file that a header names; None where the pixels follow the header."""
    match = _DATA_FILE.search(data[:_LONGEST_HEADER])
    name = match[1].decode("latin-1") if match else ""
    return None if not name or name.upper() == "LOCAL" else name


def joined_metaimage(header: bytes, content: bytes) -> bytes:
    """A header (.mhd) and its data file as one .mha."""
    match = _DATA_FILE.search(header[:_LONGEST_HEADER])
    kept = header[: match.start()] if match else header
    return kept + b"ElementDataFile = LOCAL\n" + content


def read_metaimage(data: bytes, limits: Limits, tick: Callable[[], None]) -> Part:
    """Decode a picture or volume of two to four dimensions.

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
    match = _DATA_FILE.search(data[:_LONGEST_HEADER])
    if match is None:
        raise ScanError(_DAMAGED)
    if metaimage_data_file(data) is not None:
        raise ScanError(
            "This is only the header of a MetaImage volume; choose it together with its data "
            "file, or save the volume as .mha.",
            "a header without its data",
        )
    header = _fields(data[: match.start()])
    count = int(header["NDims"])
    sizes = tuple(int(side) for side in header["DimSize"].split()[:count])
    if not 2 <= count <= 4 or len(sizes) != count or min(sizes) < 1:
        raise ScanError(_DAMAGED)
    check_shape(sizes, limits)
    channels = int(header.get("ElementNumberOfChannels", "1"))
    kind = header["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")
    big = _true(header, "BinaryDataByteOrderMSB") or _true(header, "ElementByteOrderMSB")
    dtype: np.dtype[Any] = np.dtype((">" if big else "<") + _TYPES[kind])
    if channels != 1 and (channels not in (3, 4) or dtype != np.uint8):
        raise ScanError("The MetaImage file holds vectors; save the component to be looked at.")
    tick()
    content = _content(data[match.end() :], header, limits, channels * dtype.itemsize, sizes)
    shape = (*sizes, *(1,) * (3 - count))
    if channels == 1:
        values = shaped(content, dtype, shape, "MetaImage")
    else:
        whole = shaped(content, dtype, (channels, *shape), "MetaImage")
        values = colour_of(np.moveaxis(whole, 0, -1))
    slope = _number(header, "ElementToIntensityFunctionSlope", 1.0)
    offset = _number(header, "ElementToIntensityFunctionOffset", 0.0)
    if (slope, offset) != (1.0, 0.0) and channels == 1:
        values = (values * slope + offset).astype(np.float32)
    matrix, oriented = _affine(header, count)
    return read_volume(values, matrix, oriented, "metaimage", limits, tick)


def _fields(text: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in text.decode("latin-1").splitlines():
        key, equals, value = line.partition("=")
        if equals:
            fields[key.strip()] = value.strip()
    return fields


def _true(header: dict[str, str], key: str) -> bool:
    return header.get(key, "").casefold() in ("true", "1", "yes")


def _number(header: dict[str, str], key: str, default: float) -> float:
    number = float(header.get(key, default))
    return number if isfinite(number) else default


def _content(
    rest: bytes, header: dict[str, str], limits: Limits, each: int, sizes: tuple[int, ...]
) -> bytes:
    """The raw values: behind the line's end, unpacked and without what is to be skipped."""
    start = rest.find(b"\n") + 1
    content = rest[start:]
    if header.get("BinaryData", "True").casefold() in ("false", "0", "no"):
        raise ScanError("The MetaImage file holds its values as text; save it as binary.")
    skipped = int(header.get("HeaderSize", "0"))
    if skipped > 0:
        content = content[skipped:]
    if _true(header, "CompressedData"):
        return limits.inflated(zlib.decompressobj(47), content)
    if skipped < 0:  # the values are what the file ends with
        needed = each * int(np.prod(sizes, dtype=np.int64))
        content = content[max(0, len(content) - needed) :]
    return content


def _affine(header: dict[str, str], count: int) -> tuple[np.ndarray[Any, Any], bool]:
    """From indices to R, A, S; and whether the file says how the volume lies."""
    sides = _vector(header, ("ElementSpacing", "ElementSize"), [1.0] * count)
    origin = _vector(header, ("Offset", "Position", "Origin"), [0.0] * count)
    turned = _vector(header, ("TransformMatrix", "Orientation", "Rotation"), [])
    affine = np.eye(4)
    axes = min(count, 3)
    oriented = count >= 3 and len(turned) == count * count
    # Each run of `count` numbers is the direction of one axis, that is a column.
    directions = np.array(turned).reshape(count, count).T if oriented else np.eye(count)
    affine[:axes, :axes] = directions[:axes, :axes] * np.array(sides[:axes])
    affine[:axes, 3] = origin[:axes]
    return LPS_TO_RAS @ affine, oriented


def _vector(header: dict[str, str], keys: tuple[str, ...], default: list[float]) -> list[float]:
    for key in keys:
        numbers = [float(number) for number in header.get(key, "").split()]
        if len(numbers) >= max(len(default), 1) and all(isfinite(number) for number in numbers):
            return numbers
    return default
