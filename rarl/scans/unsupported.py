"""Recognise files that are not scans, and say what to do instead."""

from __future__ import annotations

from dataclasses import dataclass
from zipfile import ZipFile

_TAR = slice(257, 262)
_ISO = slice(0x8001, 0x8006)

_SAVE = "export the picture as DICOM, NIfTI, PNG or JPEG"
_UNPACK = "unpack it and open the folder of the series, or pack that as a zip"
_FRAME = "save the frame in question as PNG or JPEG, or export the recording as DICOM"
_DOCUMENT = "open the picture itself, exported as DICOM, PNG or JPEG"
_CONVERT = "convert the volume to NIfTI (.nii.gz)"
_PROGRAM = "choose the pictures beside it"


@dataclass(frozen=True, slots=True)
class Stranger:
    """A kind of file that is not opened.

    Attributes:
        kind: in a few words, with an article.
        advice: what to do, in the imperative.
    """

    kind: str
    advice: str = _SAVE

    @property
    def sentence(self) -> str:
        """The refusal."""
        return f"This is {self.kind}, not a scan; {self.advice}."


# How each begins. Longer starts come before shorter ones.
_STARTS: tuple[tuple[bytes, Stranger], ...] = (
    (b"%PDF", Stranger("a PDF document", _DOCUMENT)),
    (b"%!PS", Stranger("a PostScript document", _DOCUMENT)),
    (b"{\\rtf", Stranger("a text document (RTF)", _DOCUMENT)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Stranger("an Office document", _DOCUMENT)),
    (b"GIF8", Stranger("a GIF picture")),
    (b"\x00\x00\x00\x0cjP  ", Stranger("a JPEG 2000 picture")),
    (b"\xff\x4f\xff\x51", Stranger("a JPEG 2000 picture")),
    (b"\x00\x00\x00\x0cJXL ", Stranger("a JPEG XL picture")),
    (b"\xff\x0a", Stranger("a JPEG XL picture")),
    (b"II\xbc", Stranger("a JPEG XR picture")),
    (b"II+\0", Stranger("a BigTIFF picture")),
    (b"MM\0+", Stranger("a BigTIFF picture")),
    (b"8BPS", Stranger("a Photoshop picture")),
    (b"gimp xcf", Stranger("a GIMP picture")),
    (b"\x76\x2f\x31\x01", Stranger("an OpenEXR picture")),
    (b"\0\0\x01\0", Stranger("an icon")),
    *((f"P{digit}{space}".encode(), Stranger("a PNM picture")) for digit in range(1, 7)
      for space in "\n \t\r"),
    (b"Rar!", Stranger("a RAR archive", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Stranger("a 7z archive", _UNPACK)),
    (b"BZh", Stranger("a compressed (bzip2) file", _UNPACK)),
    (b"\xfd7zXZ", Stranger("a compressed (xz) file", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", Stranger("a compressed (zstd) file", _UNPACK)),
    (b"\x04\x22\x4d\x18", Stranger("a compressed (lz4) file", _UNPACK)),
    (b"\x1f\x9d", Stranger("a compressed (.Z) file", _UNPACK)),
    (b"LZIP", Stranger("a compressed (lzip) file", _UNPACK)),
    (b"MSCF", Stranger("a cabinet archive", _UNPACK)),
    (b"!<arch>", Stranger("an archive", _UNPACK)),
    (b"\x89HDF", Stranger("an HDF5 file", _CONVERT)),
    (b"CDF\x01", Stranger("a netCDF or MINC file", _CONVERT)),
    (b"CDF\x02", Stranger("a netCDF or MINC file", _CONVERT)),
    (b"MATLAB 5.0", Stranger("a MATLAB file", _CONVERT)),
    (b"\x93NUMPY", Stranger("a NumPy array", _CONVERT)),
    (b"# vtk DataFile", Stranger("a VTK file", _CONVERT)),
    (b"MATRIX", Stranger("an ECAT volume", _CONVERT)),
    (b"# === DATA DESCRIPTION FILE", Stranger("a Philips PAR file", _CONVERT)),
    (b"##TITLE=", Stranger("a Bruker parameter file", _CONVERT)),
    (b"SQLite format 3", Stranger("a database", _PROGRAM)),
    (b"MZ", Stranger("a program", _PROGRAM)),
    (b"\x7fELF", Stranger("a program", _PROGRAM)),
    (b"\xca\xfe\xba\xbe", Stranger("a program", _PROGRAM)),
    (b"\xcf\xfa\xed\xfe", Stranger("a program", _PROGRAM)),
    (b"#!", Stranger("a program", _PROGRAM)),
    (b"Bud1", Stranger("a system file", _PROGRAM)),
    (b"\0\0\0\x01Bud1", Stranger("a system file", _PROGRAM)),
    (b"\0\x05\x16\x07", Stranger("a system file", _PROGRAM)),
    (b"\x1aE\xdf\xa3", Stranger("a video (Matroska or WebM)", _FRAME)),
    (b"0&\xb2u\x8ef\xcf\x11", Stranger("a video (Windows Media)", _FRAME)),
    (b"FLV\x01", Stranger("a video (Flash)", _FRAME)),
    (b"\0\0\x01\xba", Stranger("a video (MPEG)", _FRAME)),
    (b"\0\0\x01\xb3", Stranger("a video (MPEG)", _FRAME)),
    (b"OggS", Stranger("an Ogg recording", _FRAME)),
    (b"ID3", Stranger("a sound recording")),
    (b"fLaC", Stranger("a sound recording")),
    (b"MSH|", Stranger("an HL7 message", _DOCUMENT)),
    (b"<", Stranger("a web page or drawing (HTML, SVG or XML)")),
)  # fmt: skip

_TEXT = Stranger("a text file")
_VIDEO = Stranger("a video (MP4 or QuickTime)", _FRAME)
_HEIC = Stranger(
    "an HEIC picture, the format of phone cameras", "save or send it as JPEG or PNG"
)  # fmt: skip
_HEIC_BRANDS = frozenset(
    [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]
)  # fmt: skip
_TAR_FILE = Stranger("a tar archive", _UNPACK)
_RIFF = {
    b"AVI ": Stranger("a video (AVI)", _FRAME),
    b"WAVE": Stranger("a sound recording"),
}
_DISC = Stranger("a disc image (ISO)", "open it in the file browser and choose the series in it")


def stranger(data: bytes) -> Stranger | None:
    """The type of a file that is not a scan, by its content; None where it is unknown.

    Args:
        data: the file, or at least its first 33,000 bytes.
    """
    head = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, kind in _STARTS:
        if head.startswith(start) or data.startswith(start):
            return kind
    if data[4:8] == b"ftyp":
        return _HEIC if data[8:12] in _HEIC_BRANDS else _VIDEO
    if data[4:8] in (b"moov", b"mdat", b"wide"):
        return _VIDEO
    if data[:4] == b"RIFF" and data[8:12] in _RIFF:
        return _RIFF[data[8:12]]
    if data[_TAR] == b"ustar" or _is_old_tar(data):
        return _TAR_FILE
    if data[_ISO] == b"CD001":
        return _DISC
    if data[:1] == b"\x47" and data[188:189] == b"\x47" and data[376:377] == b"\x47":
        return Stranger("a video (MPEG)", _FRAME)
    return _TEXT if _is_text(data[:512]) else None


def office_document(archive: ZipFile) -> Stranger | None:
    """The document type of a zip archive; None for a plain archive."""
    names = set(archive.namelist())
    if "[Content_Types].xml" in names:
        return Stranger("an Office document (Word, PowerPoint or Excel)", _DOCUMENT)
    if "mimetype" in names and ("content.xml" in names or "META-INF/container.xml" in names):
        return Stranger("a document (OpenDocument or EPUB)", _DOCUMENT)
    return None


def _is_old_tar(data: bytes) -> bool:
    """Whether the first 512 bytes are a tar header without a mark (before POSIX): its sum fits."""
    block = data[:512]
    try:
        stated = int(block[148:156].rstrip(b"\0 ").lstrip(b" ") or b"x", 8)
    except ValueError:
        return False
    return len(block) == 512 and sum(block[:148]) + 8 * 32 + sum(block[156:]) == stated


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16
        head = head.replace(b"\0", b"")[2:]
    return all(byte in b"\t\n\r\f" or 32 <= byte < 127 or byte >= 128 for byte in head) and (
        sum(byte < 128 for byte in head) > 0.7 * len(head)
    )
