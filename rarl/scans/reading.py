"""Detect the format of bytes by content and decode them. Runs in the decoder process."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO

from rarl.errors import ScanError
from rarl.limits import Limits
from rarl.scans.announced import announced_bytes, announced_in_archive
from rarl.scans.companions import data_file_of, is_header, joined, may_be_header
from rarl.scans.decoded_file import LeftOut, Part
from rarl.scans.dicom import looks_like_dicom, read_dicom
from rarl.scans.metaimage import looks_like_metaimage, read_metaimage
from rarl.scans.mgh import looks_like_mgh, read_mgh
from rarl.scans.naming import harmless_name, is_system_file, natural_key
from rarl.scans.nifti import looks_like_nifti, read_nifti
from rarl.scans.nrrd import looks_like_nrrd, read_nrrd
from rarl.scans.raster import looks_plain, read_plain
from rarl.scans.refusal import refused_as
from rarl.scans.unsupported import office_document, stranger

_BAD_ARCHIVE = "The archive is damaged or not complete; pack the pictures again."
_BAD_GZIP = "The compressed file is damaged or not complete; compress it again."
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")  # the second is an empty one
_GZIP = b"\x1f\x8b"
_LONGEST_HEADER = 1 << 20
_ENOUGH_TO_TELL = 33_000

Tick = Callable[[], None]


def read(
    data: bytes, limits: Limits, secret: bytes, tick: Tick
) -> tuple[list[Part], list[LeftOut]]:
    """Decode a file: one part, or one for each picture of an archive.

    Args:
        data: the whole file.
        limits: see `Limits`.
        secret: for the keyed hashes of what identifies someone.
        tick: called before each step that takes time.

    Returns:
        The parts, and the files of an archive that are no pictures or cannot be opened.

    Raises:
        ScanError: it cannot be opened; the sentence says what to do and quotes nothing.
    """
    limits.check_bytes(len(data))
    tick()
    if is_archive(data):
        return _archive(data, limits, secret, tick)
    return [_unpacked_or_not(data, limits, secret, tick)], []


def is_archive(data: bytes) -> bool:
    """Whether the content is a zip archive, and not a DICOM file that begins like one."""
    return data.startswith(_ARCHIVES) and data[128:132] != b"DICM"


def _unpacked_or_not(data: bytes, limits: Limits, secret: bytes, tick: Tick) -> Part:
    content = _unpacked(data, limits) if data.startswith(_GZIP) else data
    return _one(content, limits, secret, tick)


def _one(data: bytes, limits: Limits, secret: bytes, tick: Tick) -> Part:
    # Names first: a TIFF or a NIfTI volume may carry "DICM" or small tags by chance.
    if data[128:132] != b"DICM":
        if looks_like_nifti(data):
            return read_nifti(data, limits, tick)
        if looks_plain(data):
            return read_plain(data, limits, tick)
        if looks_like_nrrd(data):
            return read_nrrd(data, limits, tick)
        if looks_like_metaimage(data):
            return read_metaimage(data, limits, tick)
        if is_header(data):
            raise ScanError(
                "This is only the header of a volume in two files (.hdr and .img); choose both, "
                "or save the volume as a single .nii file.",
                "a header without its data",
            )
        known = stranger(data)
        if known:
            raise ScanError(known.sentence, known.kind)
        if looks_like_mgh(data):
            return read_mgh(data, limits, tick)
    if looks_like_dicom(data):
        return read_dicom(data, limits, secret, tick)
    raise ScanError(
        "The file is no scan that can be opened here, or it is damaged; "
        "export it as DICOM, NIfTI, PNG or JPEG.",
        "an unknown file",
    )


def _unpacked(data: bytes, limits: Limits) -> bytes:
    """A gzip file's content, which must be a single scan."""
    with refused_as(_BAD_GZIP):
        start = limits.gunzip_start(data, _ENOUGH_TO_TELL)
        known = None if start[128:132] == b"DICM" else stranger(start)
        scans = (looks_like_nifti, looks_like_metaimage, looks_like_nrrd, looks_like_mgh,
                 looks_like_dicom, looks_plain)  # fmt: skip
        if known and not any(looks(start) for looks in scans):
            raise ScanError(
                f"This is a compressed (gzip) file that holds {known.kind}; {known.advice}.",
                f"{known.kind}, compressed",
            )
        if not any(looks(start) for looks in scans):
            raise ScanError(
                "This is a compressed (gzip) file without a scan that can be opened here; "
                "upload what is in it.",
                "a compressed file",
            )
        return limits.inflated(zlib.decompressobj(31), data, announced_bytes)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file of an archive that may be a scan.

    Attributes:
        label: its name where harmless, else its number.
        info: where it lies in the archive.
        values: the file with its values, where this is a header.
    """

    label: str
    info: zipfile.ZipInfo
    values: zipfile.ZipInfo | None = None


def _archive(
    data: bytes, limits: Limits, secret: bytes, tick: Tick
) -> tuple[list[Part], list[LeftOut]]:
    """The pictures of a zip archive; its paths are never used, and nothing is written."""
    with refused_as(_BAD_ARCHIVE):
        # Counted before the library lists them: a directory of millions would fill the memory.
        if data.count(b"PK\x01\x02") > limits.entries:
            raise ScanError(
                f"The archive holds more than {limits.entries} files; pack one series at a time."
            )
        archive = zipfile.ZipFile(BytesIO(data))
        document = office_document(archive)
        if document:
            raise ScanError(document.sentence, document.kind)
        infos = [info for info in archive.infolist() if not info.is_dir()]
        total = sum(info.file_size for info in infos)
        suspicious = limits.unsuspicious(len(data)) < total <= limits.series_bytes
        announced = announced_in_archive(archive, infos) if suspicious else 0
        limits.check_expansion(len(data), total, announced)
        if any(info.flag_bits & 1 for info in infos):
            raise ScanError("The archive is locked with a password; pack it without one.")
        entries, left_out = _entries(archive, infos, limits)
    parts: list[Part] = []
    refusals: list[ScanError] = []
    nested = False
    pixels = frames = 0
    for entry in entries:
        tick()
        try:
            content = _content(archive, entry, limits, len(entries) == 1)
            if is_archive(content):
                nested = True
                raise ScanError("There is an archive inside the archive.", "an archive")
            part = _unpacked_or_not(content, limits, secret, tick)
        except ScanError as refusal:
            refusals.append(refusal)
            left_out.append(LeftOut(entry.label, refusal.kind))
            continue
        parts.append(replace(part, name=entry.label))
        pixels += sum(frame.shape[0] * frame.shape[1] for frame in part.pixels)
        frames += len(part.pixels)
        limits.check_total(pixels)
        limits.check_frames(frames)
    if not parts:
        if nested:
            raise ScanError(
                "There is an archive inside the archive; unpack it first.", "an archive"
            )
        if len(refusals) == 1:
            raise ScanError(str(refusals[0]), "an archive")
        raise ScanError(
            "There is no scan in the archive; pack the DICOM files of one series.", "an archive"
        )
    return parts, left_out


def _entries(
    archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], limits: Limits
) -> tuple[list[_Entry], list[LeftOut]]:
    """Entries of an archive that may be scans, in natural order, headers joined to their data."""
    infos = sorted(infos, key=lambda info: natural_key(info.filename))
    labels = {
        info.header_offset: harmless_name(info.filename) or f"file {number}"
        for number, info in enumerate(infos, 1)
    }
    left_out = [
        LeftOut(labels[info.header_offset], "a system file")
        for info in infos
        if is_system_file(info.filename)
    ]
    infos = [info for info in infos if not is_system_file(info.filename)]
    values: dict[int, zipfile.ZipInfo] = {}
    for info in infos:
        if not 40 <= info.file_size <= _LONGEST_HEADER:
            continue
        with archive.open(info) as file:
            start = file.read(600)
            header = start + file.read(_LONGEST_HEADER) if may_be_header(start) else b""
        if header and is_header(header):
            others = [other for other in infos if other is not info]
            data_file = data_file_of(header, info.filename, [other.filename for other in others])
            if data_file is not None:
                values[info.header_offset] = others[data_file]
    taken = {info.header_offset for info in values.values()}
    entries = [
        _Entry(labels[info.header_offset], info, values.get(info.header_offset))
        for info in infos
        if info.header_offset not in taken
    ]
    return entries, left_out


def _content(archive: zipfile.ZipFile, entry: _Entry, limits: Limits, alone: bool) -> bytes:
    """An entry's bytes, joined to its values where it is a header."""
    content = _bytes_of(archive, entry.info, limits, alone)
    if entry.values is None:
        return content
    values = _bytes_of(archive, entry.values, limits, alone)
    if values.startswith(_GZIP) and not _packed_within(content):
        with refused_as(_BAD_GZIP):
            values = limits.inflated(zlib.decompressobj(31), values)
    return joined(content, values)


def _packed_within(header: bytes) -> bool:
    """Whether the header itself says that its values are compressed."""
    lower = header[:4096].lower()
    return b"encoding: gz" in lower or b"compresseddata = true" in lower


def _bytes_of(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: Limits, alone: bool
) -> bytes:
    try:
        limits.check_bytes(info.file_size)
    except ScanError as refusal:
        kind = "an empty file" if info.file_size == 0 else "too large a file"
        raise ScanError(str(refusal), kind) from None
    with refused_as(_BAD_ARCHIVE), archive.open(info) as file:
        return file.read(info.file_size + 1)
