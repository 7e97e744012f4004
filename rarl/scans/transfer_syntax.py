"""Detect the actual coding of pixel data where the header names another one."""

from __future__ import annotations

import zlib
from io import BytesIO
from struct import unpack_from

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from rarl.errors import ScanError
from rarl.limits import Limits
from rarl.scans.codestream import Codestream, read_codestream

WRONG_SYNTAX = (
    "The header states another compression than the pixel data have: the picture was decoded by "
    "its content."
)
_LONGEST_HEADER = 2_000_000  # bytes in front of the pixels that are searched for their size
_DAMAGED = "The DICOM file is damaged or not complete; send it again from the archive."
_ITEM = b"\xfe\xff\x00\xe0"
_STREAMS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
_DEFLATED = str(DeflatedExplicitVRLittleEndian).encode()
_EXPLICIT = str(ExplicitVRLittleEndian).encode().ljust(len(_DEFLATED), b"\0")
_LONG_FORM = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
# Syntaxes whose frames one decoder reads alike; the first is the name of the family.
_FAMILIES: tuple[tuple[UID, ...], ...] = (
    (JPEGExtended12Bit, JPEGBaseline8Bit),
    (JPEGLossless, JPEGLosslessSV1),
    (JPEGLSNearLossless, JPEGLSLossless),
    (JPEG2000, JPEG2000Lossless),
    (HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL),
    (RLELossless,),
)


def correct_transfer_syntax(dataset: FileDataset, frames: int, needed: int) -> str | None:
    """Set the transfer syntax that the pixel data have, by their content.

    Archives and converters that rewrite headers leave JPEG under an uncompressed syntax, lossless
    JPEG under the baseline syntax, or uncompressed pixels under a compressed one. A codestream
    that stands in the element without items (PS3.5 A.4) is put into one.

    Args:
        dataset: changed in place, its `PixelData` and `TransferSyntaxUID`.
        frames: how many the header announces.
        needed: bytes of all frames without compression.

    Returns:
        A sentence for the reader where the header was wrong, else None.
    """
    data = dataset.get("PixelData")
    declared = dataset.file_meta.TransferSyntaxUID
    if not isinstance(data, bytes) or not declared.is_transfer_syntax:
        return None
    if not declared.is_compressed and len(data) >= needed:
        return None
    if data.startswith(_STREAMS) and frames == 1:
        data = dataset.PixelData = encapsulate([data])
    if not data.startswith(_ITEM):
        if declared.is_compressed and len(data) in (needed, needed + needed % 2):
            return _set(dataset, ExplicitVRLittleEndian)
        return None
    first = next(generate_frames(data, number_of_frames=frames), b"")
    stream = read_codestream(first)
    actual = _syntax_of(stream) if stream else RLELossless if _looks_like_rle(first) else None
    family = next((family for family in _FAMILIES if declared in family), (declared,))
    return None if actual is None or actual in family else _set(dataset, actual)


def _set(dataset: FileDataset, syntax: UID) -> str:
    dataset.file_meta.TransferSyntaxUID = syntax
    return WRONG_SYNTAX


def _syntax_of(stream: Codestream) -> UID:
    if stream.coding == "jpeg-ls":
        return JPEGLSNearLossless
    if stream.coding == "jpeg-2000":
        return HTJ2K if stream.high_throughput else JPEG2000
    if stream.process == 0xC3:
        return JPEGLosslessSV1 if stream.predictor == 1 else JPEGLossless
    return JPEGBaseline8Bit if stream.precision == 8 else JPEGExtended12Bit


def _looks_like_rle(frame: bytes) -> bool:
    """Whether a frame begins with the header of PS3.5 G.5."""
    if len(frame) < 64:
        return False
    segments, *offsets = unpack_from("<16I", frame)
    used, unused = offsets[:segments], offsets[segments:]
    return 1 <= segments <= 15 and used[0] == 64 and used == sorted(used) and not any(unused)


def inflated_dataset(data: bytes, limits: Limits) -> bytes:
    """Undo a deflated data set (PS3.5 A.5) within the limits; pydicom would inflate without any.

    The result states that it is not deflated, so that pydicom has nothing left to inflate.

    Raises:
        ScanError: it unpacks to too much, or is cut short.
        zlib.error: it is damaged.
    """
    start = 132 if data[128:132] == b"DICM" else 0
    position, syntaxes = start, []
    while data[position : position + 2] == b"\x02\x00" and position + 8 <= len(data):
        tag, vr = data[position : position + 4], data[position + 4 : position + 6]
        if vr in _LONG_FORM:
            header, length = 12, int.from_bytes(data[position + 8 : position + 12], "little")
        elif b"AA" <= vr <= b"ZZ":
            header, length = 8, int.from_bytes(data[position + 6 : position + 8], "little")
        else:  # implicit VR, as pydicom reads it
            header, length = 8, int.from_bytes(data[position + 4 : position + 8], "little")
        value = data[position + header : position + header + length]
        if tag == b"\x02\x00\x10\x00" and value.rstrip(b"\0 ") == _DEFLATED:
            syntaxes.append((position + header, length))
        position += header + length
    if not syntaxes:
        return data
    if position >= len(data):
        raise ScanError(_DAMAGED)
    meta = bytearray(data[:position])
    for place, length in syntaxes:
        meta[place : place + length] = _EXPLICIT.ljust(length, b"\0")
    head = bytes(meta)

    def announced(content: bytes) -> int:
        try:
            start = BytesIO(head + content[:_LONGEST_HEADER])
            dataset = dcmread(start, stop_before_pixels=True, force=True)
            return native_length(dataset, int(dataset.get("NumberOfFrames") or 1))
        except Exception:  # whatever is wrong with the header, it announces nothing
            return 0

    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    return head + limits.inflated(stream, data[position:], announced)


def native_length(dataset: Dataset, frames: int) -> int:
    """Bytes of all frames without compression (PS3.5 8.1.1, PS3.3 C.7.6.3.1.2)."""
    halved = dataset.PhotometricInterpretation == "YBR_FULL_422"  # two pixels share a colour
    samples = 2 if halved else int(dataset.SamplesPerPixel)
    bits = int(dataset.Columns) * int(dataset.Rows) * frames * samples * int(dataset.BitsAllocated)
    return (bits + 7) // 8
