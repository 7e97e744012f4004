"""What a compressed frame's own header says of its size."""

from __future__ import annotations

from struct import unpack_from

# Start-of-frame markers of JPEG (ISO/IEC 10918-1 table B.1) and JPEG-LS (ISO/IEC 14495-1).
_START_OF_FRAME = frozenset(
    [*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7]
)
_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD9)])


def codestream_size(frame: bytes) -> tuple[int, int, int] | None:
    """Width and height in pixels, and components, of a JPEG, JPEG-LS or JPEG 2000 codestream.

    The DICOM header around it may announce something smaller, and the decoders believe the
    codestream: this is what has to be checked before they allocate memory.

    Returns:
        (width, height, components), or None where the frame is none of these.

    Raises:
        struct.error: the header is cut short.
    """
    if frame[:4] == b"\xff\x4f\xff\x51":  # SOC, SIZ: ISO/IEC 15444-1 A.5.1
        right, bottom, left, top = unpack_from(">4I", frame, 8)
        (components,) = unpack_from(">H", frame, 40)
        return right - left, bottom - top, components
    if frame[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 4 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker in _START_OF_FRAME:
            height, width, components = unpack_from(">2HB", frame, position + 5)
            return width, height, components
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
        else:
            (length,) = unpack_from(">H", frame, position + 2)
            position += 2 + length
    return None
