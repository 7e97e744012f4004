"""Any file to `Scan`, recognised by its content and never by its name."""

from __future__ import annotations

from pathlib import Path

from rarl.errors import ScanError
from rarl.scans.dicom import looks_like_dicom, read_dicom
from rarl.scans.limits import Limits
from rarl.scans.plain import read_plain
from rarl.scans.scan import Scan

_PLAIN = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")

# What people upload by mistake: how it begins, and what to call it.
_KNOWN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a compressed (gzip) file"),
    (b"GIF8", "a GIF picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"BM", "a BMP picture"),
    (b"\x5c\x01\x00\x00", "a NIfTI volume"),
    (b"\x00\x00\x01\x5c", "a NIfTI volume"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"<", "a web page or drawing (HTML, SVG or XML)"),
)


def open_scan(data: bytes, limits: Limits | None = None) -> Scan:
    """Open a PNG, a JPEG or the first frame of a DICOM file.

    Grey values go through modality LUT, VOI LUT or window and presentation (DICOM PS3.3 C.7.6.3,
    C.11.1, C.11.2); of the header only an allow-list is kept (PS3.15 Annex E).

    Args:
        data: the whole file.
        limits: sizes that are refused before decoding; `Limits()` where none are given.

    Raises:
        ScanError: the file cannot be opened; the sentence says what to do. Nothing else is
            raised, whatever the bytes.
    """
    limits = limits or Limits()
    limits.check_bytes(len(data))
    if data.startswith(_PLAIN):
        return read_plain(data, limits)
    # Names first: a TIFF or a NIfTI volume may carry "DICM" or small tags by chance.
    if data[128:132] != b"DICM":
        named = _name_of(data)
        if named:
            raise ScanError(
                f"This is {named}, not a scan; export the picture as DICOM, PNG or JPEG."
            )
    if looks_like_dicom(data):
        return read_dicom(data, limits)
    raise ScanError(
        "The file is none of DICOM, PNG or JPEG, or it is damaged; export the scan in one of these."
    )


def open_scan_file(path: Path, limits: Limits | None = None) -> Scan:
    """Open a file from disk; its size is checked before it is read. See `open_scan`.

    Raises:
        ScanError: as for `open_scan`, or the file cannot be read. No sentence names the file,
            since file names often name patients.
    """
    limits = limits or Limits()
    try:
        limits.check_bytes(path.stat().st_size if path.is_file() else 1)
        data = path.read_bytes()
    except IsADirectoryError:
        raise ScanError("This is a folder; choose one of the files in it.") from None
    except FileNotFoundError:
        raise ScanError("There is no such file; check the name and the folder.") from None
    except (OSError, ValueError):
        raise ScanError("The file cannot be read; check that you may open it.") from None
    return open_scan(data, limits)


def _name_of(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP picture"
    head = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, name in _KNOWN:
        if head.startswith(start) or data.startswith(start):
            return name
    return "a text file" if _is_text(data[:512]) else None


def _is_text(head: bytes) -> bool:
    return all(byte in b"\t\n\r\f" or 32 <= byte < 127 or byte >= 128 for byte in head) and (
        sum(byte < 128 for byte in head) > 0.7 * len(head)
    )
