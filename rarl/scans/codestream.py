"""Read coding, size and precision from a compressed frame."""

from __future__ import annotations

from dataclasses import dataclass
from struct import unpack_from
from typing import Literal

Coding = Literal["jpeg", "jpeg-ls", "jpeg-2000"]

# Start-of-frame markers of JPEG (ISO/IEC 10918-1 table B.1) and JPEG-LS (ISO/IEC 14495-1).
_START_OF_FRAME = frozenset(
    [*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7]
)
_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD9)])
_END_OF_IMAGE = b"\xff\xd9"
_TRAILING_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Codestream:
    """The header of a JPEG, JPEG-LS or JPEG 2000 codestream.

    Attributes:
        coding: the family of coders.
        process: the start-of-frame marker of JPEG and JPEG-LS (0xC3 is lossless), 0 for JPEG 2000.
        width: pixels.
        height: pixels.
        components: samples of a pixel.
        precision: bits of a sample.
        predictor: the predictor of a lossless JPEG scan, else 0.
        high_throughput: whether JPEG 2000 is coded by its part 15 (HTJ2K).
    """

    coding: Coding
    process: int
    width: int
    height: int
    components: int
    precision: int
    predictor: int = 0
    high_throughput: bool = False


def read_codestream(frame: bytes) -> Codestream | None:
    """The header of one compressed frame.

    The DICOM header around it may announce something smaller, and the decoders believe the
    codestream: this is what has to be checked before they allocate memory.

    Returns:
        None where the frame is none of the three codings.

    Raises:
        struct.error: the header is cut short.
    """
    if frame[:4] == b"\xff\x4f\xff\x51":  # SOC, SIZ: ISO/IEC 15444-1 A.5.1
        (capabilities,) = unpack_from(">H", frame, 6)
        right, bottom, left, top = unpack_from(">4I", frame, 8)
        components, depth = unpack_from(">HB", frame, 40)
        return Codestream(
            "jpeg-2000",
            0,
            right - left,
            bottom - top,
            components,
            (depth & 0x7F) + 1,
            high_throughput=bool(capabilities & 0x4000),
        )
    if frame[:2] != b"\xff\xd8":
        return None
    position = 2
    codestream: Codestream | None = None
    while position + 4 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker in _START_OF_FRAME:
            precision, height, width, components = unpack_from(">BHHB", frame, position + 4)
            coding: Coding = "jpeg-ls" if marker == 0xF7 else "jpeg"
            codestream = Codestream(coding, marker, width, height, components, precision)
            if marker != 0xC3:
                return codestream
        if marker == 0xDA and codestream is not None:  # a lossless scan names its predictor as Ss
            (count,) = unpack_from(">B", frame, position + 4)
            (predictor,) = unpack_from(">B", frame, position + 5 + 2 * count)
            return Codestream(
                codestream.coding,
                codestream.process,
                codestream.width,
                codestream.height,
                codestream.components,
                codestream.precision,
                predictor,
            )
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
        else:
            (length,) = unpack_from(">H", frame, position + 2)
            position += 2 + length
    return codestream


def ends_early(frame: bytes) -> bool:
    """Whether a JPEG, JPEG-LS or JPEG 2000 codestream lacks its end marker.

    A JPEG decoder fills what is missing with grey and reports nothing.
    """
    return _END_OF_IMAGE not in frame[-_TRAILING_BYTES:]
