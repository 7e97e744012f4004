"""Any bytes to parts, recognised by content and never by name. Runs where decoders may fail."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO

from rarl.errors import ScanError
from rarl.scans.announced import announced_bytes, announced_in_archive
from rarl.scans.dicom import looks_like_dicom, read_dicom
from rarl.scans.limits import Limits, refused_as
from rarl.scans.nifti import looks_like_nifti, read_nifti
from rarl.scans.part import Part
from rarl.scans.plain import looks_plain, read_plain

_BAD_ARCHIVE = "The archive is damaged or not complete; pack the pictures again."
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")  # the second is an empty one
_GZIP = b"\x1f\x8b"

# What people upload by mistake: how it begins, and what to call it.
_KNOWN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"GIF8", "a GIF picture"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"II+\0", "a BigTIFF picture"),
    (b"MM\0+", "a BigTIFF picture"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"BZh", "a compressed (bzip2) file"),
    (b"\xfd7zXZ", "a compressed (xz) file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"NRRD", "an NRRD volume"),
    (b"<", "a web page or drawing (HTML, SVG or XML)"),
)


def read(
    data: bytes, limits: Limits, secret: bytes, tick: Callable[[], None]
) -> tuple[list[Part], int]:
    """What a file holds: one part, or one for each picture of an archive.

    Args:
        data: the whole file.
        limits: see `Limits`.
        secret: for the keyed hashes of what identifies someone.
        tick: called before each step that takes time.

    Returns:
        (parts, files of an archive that are no pictures or cannot be opened)

    Raises:
        ScanError: it cannot be opened; the sentence says what to do and quotes nothing.
    """
    limits.check_bytes(len(data))
    tick()
    if data.startswith(_ARCHIVES) and data[128:132] != b"DICM":
        return _archive(data, limits, secret, tick)
    return [_unpacked_or_not(data, limits, secret, tick)], 0


def _unpacked_or_not(data: bytes, limits: Limits, secret: bytes, tick: Callable[[], None]) -> Part:
    content = _unpacked(data, limits) if data.startswith(_GZIP) else data
    return _one(content, limits, secret, tick)


def _one(data: bytes, limits: Limits, secret: bytes, tick: Callable[[], None]) -> Part:
    # Names first: a TIFF or a NIfTI volume may carry "DICM" or small tags by chance.
    if data[128:132] != b"DICM":
        if looks_like_nifti(data):
            return read_nifti(data, limits, tick)
        if looks_plain(data):
            return read_plain(data, limits, tick)
        named = _name_of(data)
        if named:
            raise ScanError(
                f"This is {named}, not a scan; export the picture as DICOM, NIfTI, PNG or JPEG."
            )
    if looks_like_dicom(data):
        return read_dicom(data, limits, secret, tick)
    raise ScanError(
        "The file is no scan that can be opened here, or it is damaged; "
        "export it as DICOM, NIfTI, PNG or JPEG."
    )


def _unpacked(data: bytes, limits: Limits) -> bytes:
    """A gzip file's content, which must be a NIfTI volume."""
    with refused_as("The compressed file is damaged or not complete; compress it again."):
        start = limits.gunzip_start(data, 600)
        if not looks_like_nifti(start):
            raise ScanError(
                "This is a compressed (gzip) file without a NIfTI volume; upload what is in it."
            )
        return limits.inflated(zlib.decompressobj(31), data, announced_bytes)


def _archive(
    data: bytes, limits: Limits, secret: bytes, tick: Callable[[], None]
) -> tuple[list[Part], int]:
    """The pictures of a zip archive; its paths are never used, and nothing is written."""
    with refused_as(_BAD_ARCHIVE):
        # Counted before the library lists them: a directory of millions would fill the memory.
        if data.count(b"PK\x01\x02") > limits.entries:
            raise ScanError(
                f"The archive holds more than {limits.entries} files; pack one series at a time."
            )
        archive = zipfile.ZipFile(BytesIO(data))
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        total = sum(entry.file_size for entry in entries)
        suspicious = limits.unsuspicious(len(data)) < total <= limits.series_bytes
        announced = announced_in_archive(archive, entries) if suspicious else 0
        limits.check_expansion(len(data), total, announced)
        if any(entry.flag_bits & 1 for entry in entries):
            raise ScanError("The archive is locked with a password; pack it without one.")
    parts: list[Part] = []
    refusals: list[ScanError] = []
    pixels = frames = 0
    for entry in entries:
        tick()
        with refused_as(_BAD_ARCHIVE):
            limits.check_bytes(max(entry.file_size, 1))
            with archive.open(entry) as file:
                content = file.read(entry.file_size + 1)
        if content.startswith(_ARCHIVES) and content[128:132] != b"DICM":
            raise ScanError("There is an archive inside the archive; unpack it first.")
        try:
            limits.check_bytes(len(content))
            part = _unpacked_or_not(content, limits, secret, tick)
        except ScanError as refusal:
            refusals.append(refusal)
            continue
        parts.append(part)
        pixels += sum(frame.shape[0] * frame.shape[1] for frame in part.pixels)
        frames += len(part.pixels)
        limits.check_total(pixels)
        limits.check_frames(frames)
    if not parts:
        if len(refusals) == 1:
            raise refusals[0]
        raise ScanError("There is no scan in the archive; pack the DICOM files of one series.")
    return parts, len(refusals)


def _name_of(data: bytes) -> str | None:
    head = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, name in _KNOWN:
        if head.startswith(start) or data.startswith(start):
            return name
    return "a text file" if _is_text(data[:512]) else None


def _is_text(head: bytes) -> bool:
    return all(byte in b"\t\n\r\f" or 32 <= byte < 127 or byte >= 128 for byte in head) and (
        sum(byte < 128 for byte in head) > 0.7 * len(head)
    )
