"""Seeds for mutation and hand-made traps, for the tests and for `scripts/fuzz_scans`."""

from __future__ import annotations

import bz2
import gzip
import os
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom.data
from drawn import drawn, saved
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

PACKAGED = Path(pydicom.data.__file__).parent / "test_files"
_SHARED = Path(os.environ.get("RARL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def picture(kind: str, mode: str = "RGB", side: int = 48, **options: object) -> bytes:
    """A grey ramp in one of Pillow's formats."""
    buffer = BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def volume(shape: tuple[int, ...] = (12, 10, 8), kind: type = nib.Nifti1Image) -> bytes:
    """A NIfTI volume that counts upwards, 2 mm apart, sform set."""
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    data: bytes = kind(values, np.diag([2.0, 2.0, 2.0, 1.0])).to_bytes()
    return data


def zipped(*contents: bytes) -> bytes:
    """A zip archive of files without telling names."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(contents):
            archive.writestr(str(number), content)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A valid PNG that announces a size and has no pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + data + chunk(b"IEND", b"")


def seeds() -> list[bytes]:
    """Files that open: the shared samples where they are in reach, packaged ones, drawn ones."""
    folder = _SHARED / "dicom_nifti_samples"
    found = [path.read_bytes() for path in sorted(folder.glob("*.[dn]*"))]
    found += [
        (PACKAGED / name).read_bytes()
        for name in (
            "MR_small.dcm",
            "MR_small_RLE.dcm",
            "MR_small_jp2klossless.dcm",
            "MR_small_jpeg_ls_lossless.dcm",
            "MR_small_bigendian.dcm",
            "CT_small.dcm",
            "SC_rgb_jpeg_dcmtk.dcm",
            "SC_rgb_rle_2frame.dcm",
            "examples_overlay.dcm",
        )
    ]
    found += [picture(kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF")]
    found += [picture("TIFF", compression="tiff_lzw"), picture("PNG", "P"), picture("PNG", "LA")]
    found.append(picture("TIFF", save_all=True, append_images=[Image.new("RGB", (40, 40))] * 3))
    deep = BytesIO()
    Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32)).save(deep, "PNG")
    found.append(deep.getvalue())
    found += [volume(), volume((9, 8, 7, 3), nib.Nifti2Image), gzip.compress(volume())]
    found += research_volumes()
    found += [picture("AVIF"), gzip.compress((PACKAGED / "MR_small.dcm").read_bytes())]
    found += [framed_file(what) for what in ("dose", "nuclear", "slide", "mosaic", "enhanced")]
    slices = [(PACKAGED / name).read_bytes() for name in ("MR_small.dcm", "MR_small_RLE.dcm")]
    pair = [volume_header(), np.arange(960, dtype=np.int16).tobytes()]
    return [*found, zipped(*slices), zipped(picture("PNG")), zipped(*pair)]


def volume_header() -> bytes:
    """The header of a NIfTI pair, 12 x 10 x 8."""
    whole = bytearray(volume()[:348])
    whole[344:348] = b"ni1\0"
    struct.pack_into("<f", whole, 108, 0.0)
    return bytes(whole)


def metaimage(header: str = "", values: bytes | None = None, **fields: str) -> bytes:
    """A MetaImage of 12 x 10 x 8 values that count upwards, 2 x 2 x 3 mm apart."""
    known = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "10 20 30",
        "ElementSpacing": "2 2 3",
        "DimSize": "12 10 8",
        "ElementType": "MET_SHORT",
        **fields,
    }
    text = "".join(f"{key} = {value}\n" for key, value in known.items())
    pixels = np.arange(960, dtype="<i2").tobytes() if values is None else values
    return f"{text}{header}ElementDataFile = LOCAL\n".encode() + pixels


def nrrd(values: bytes | None = None, **fields: str) -> bytes:
    """An NRRD volume of 12 x 10 x 8 values that count upwards, 2 x 2 x 3 mm apart."""
    known = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "12 10 8",
        "space directions": "(2,0,0) (0,2,0) (0,0,3)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(10,20,30)",
        **{key.replace("_", " "): value for key, value in fields.items()},
    }
    text = "".join(f"{key}: {value}\n" for key, value in known.items() if value)
    pixels = np.arange(960, dtype="<i2").tobytes() if values is None else values
    return f"NRRD0004\n# made for a test\n{text}\n".encode() + pixels


def mgh() -> bytes:
    """A FreeSurfer volume of 12 x 10 x 8 values that count upwards, 2 x 2 x 3 mm apart."""
    values = np.arange(960, dtype=np.int16).reshape((12, 10, 8), order="F")
    data: bytes = nib.freesurfer.MGHImage(values, np.diag([-2.0, -2.0, 3.0, 1.0])).to_bytes()
    return data


def research_volumes() -> list[bytes]:
    """One volume in the research formats other than NIfTI, packed and not."""
    packed = zlib.compress(np.arange(960, dtype="<i2").tobytes())
    return [
        metaimage(),
        metaimage(values=packed, CompressedData="True"),
        nrrd(),
        nrrd(gzip.compress(np.arange(960, dtype="<i2").tobytes()), encoding="gzip"),
        nrrd(bz2.compress(np.arange(960, dtype="<i2").tobytes()), encoding="bzip2"),
        mgh(),
        gzip.compress(mgh()),
    ]


def framed_file(what: str) -> bytes:
    """A DICOM file of several frames: dose, nuclear, slide, mosaic or enhanced."""
    frames = np.stack([np.full((16, 16), 100 * index, np.uint16) for index in range(1, 7)])
    header: dict[str, object] = {
        "NumberOfFrames": 6,
        "PixelSpacing": [2.5, 2.5],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, 0],
    }
    if what == "mosaic":
        frames = np.kron(np.arange(9, dtype=np.uint16).reshape(3, 3), np.ones((16, 16), np.uint16))
        header |= {"NumberOfFrames": 1, "ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}
        header |= {"SpacingBetweenSlices": 4}
    dataset = drawn(frames, **header)
    if what == "dose":
        dataset.Modality, dataset.DoseUnits, dataset.DoseGridScaling = "RTDOSE", "GY", "0.0005"
        dataset.GridFrameOffsetVector = [0, 3, 6, 9, 12, 15]
        dataset.FrameIncrementPointer = 0x3004000C
    elif what == "nuclear":
        dataset.Modality, dataset.SpacingBetweenSlices = "NM", -4
        dataset.SliceVector = [1, 2, 3, 1, 2, 3]
        dataset.TimeSlotVector = [1, 1, 1, 2, 2, 2]
        dataset.FrameIncrementPointer = [0x00540070, 0x00540080]
    elif what == "slide":
        dataset.Modality, dataset.DimensionOrganizationType = "SM", "TILED_FULL"
        del dataset.PixelSpacing
        dataset.TotalPixelMatrixColumns, dataset.TotalPixelMatrixRows = 44, 30
        dataset.ImagedVolumeWidth, dataset.ImagedVolumeHeight = 4.4, 3.0
    elif what == "mosaic":
        block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        block.add_new(0x0A, "US", 8)
    elif what == "enhanced":
        groups = []
        for index in range(6):
            place, content, group = Dataset(), Dataset(), Dataset()
            place.ImagePositionPatient = [0, 0, 3 * (index % 3)]
            content.TemporalPositionIndex = 2 - index // 3  # the later time comes first
            group.PlanePositionSequence = Sequence([place])
            group.FrameContentSequence = Sequence([content])
            groups.append(group)
        dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return saved(dataset)


def traps() -> list[bytes]:
    """Hostile and mistaken files, made by hand."""
    return [
        *_strangers(), *_bombs(), *_dicom_traps(), *_nifti_traps(), *_tiff_traps(),
        *_research_traps(), *_frame_traps(),
    ]  # fmt: skip


def _research_traps() -> list[bytes]:
    bomb = zlib.compress(bytes(100_000_000))
    found = [
        metaimage(DimSize="0 10 8"), metaimage(DimSize="-1 10 8"), metaimage(DimSize="12 10"),
        metaimage(DimSize="999999 999999 9"), metaimage(NDims="9"), metaimage(NDims="x"),
        metaimage(ElementType="MET_NOTHING"), metaimage(ElementNumberOfChannels="7"),
        metaimage(TransformMatrix="nan nan nan 0 0 0 0 0 0"), metaimage(ElementSpacing="0 0 0"),
        metaimage(TransformMatrix="0 0 0 0 0 0 0 0 0"), metaimage(HeaderSize="-1"),
        metaimage(HeaderSize="99999999999"), metaimage(values=b"x", CompressedData="True"),
        metaimage(values=bomb, CompressedData="True"), metaimage(BinaryData="False"),
        metaimage(ElementToIntensityFunctionSlope="1e308"), metaimage(values=b""),
        metaimage().replace(b"LOCAL", b"LIST"), metaimage().replace(b"LOCAL", b"../../etc/passwd"),
        nrrd(sizes="12 10 0"), nrrd(sizes="99999 99999 99999"), nrrd(dimension="2"),
        nrrd(encoding="gzip"), nrrd(bomb, encoding="gzip"), nrrd(encoding="hex"),
        nrrd(bz2.compress(bytes(100_000_000)), encoding="bzip2"), nrrd(encoding="ascii"),
        nrrd(type="block"), nrrd(byte_skip="-1"), nrrd(byte_skip="99999999"), nrrd(line_skip="-5"),
        nrrd(line_skip="999999999"), nrrd(space_directions="none none none"),
        nrrd(space_directions="(nan,0,0) (0,0,0) (0,0,0)"), nrrd(kinds="vector domain domain"),
        nrrd(space_directions="(1,0) (0,1) (1,1)"), nrrd(data_file="/etc/passwd"),
        nrrd(space="", space_directions="", space_origin=""), nrrd(b""),
    ]  # fmt: skip
    data = mgh()
    for sizes in ((65535, 65535, 65535, 1), (12, 10, 8, 65535), (1, 1, 1, 1)):
        wrong = bytearray(data)
        struct.pack_into(">4i", wrong, 4, *sizes)
        found.append(bytes(wrong))
    broken = bytearray(data)
    struct.pack_into(">12f", broken, 30, *[float("nan")] * 12)
    tar = bytearray(1024)
    tar[257:262] = b"ustar"
    ftyp = b"\0\0\0\x18ftyp"
    header = volume_header()
    return [
        *found, bytes(broken), data[:100], data[:290], bytes(tar), ftyp + b"heic" + bytes(40),
        ftyp + b"isom" + bytes(40), ftyp + b"avif" + bytes(40), header, zipped(header),
        zipped(header, b"x"), zipped(header, header), zipped(header, bytes(2000), bytes(2000)),
        gzip.compress(header), zipped(gzip.compress(header), gzip.compress(bytes(1920))),
        b"\0\0\0\x01Bud1" + bytes(400), b"NRRD0005\n", b"ObjectType = Image\n",
    ]  # fmt: skip


def _frame_traps() -> list[bytes]:
    found = []

    def changed(what: str, **header: object) -> None:
        dataset = dcmread(BytesIO(framed_file(what)))
        for keyword, value in header.items():
            setattr(dataset, keyword, value)
        found.append(saved(dataset))

    changed("dose", GridFrameOffsetVector=[0, 0, 0, 0, 0, 0])
    changed("dose", GridFrameOffsetVector=[1e300] * 5)
    changed("dose", DoseGridScaling="1e300")
    changed("dose", ImagePositionPatient=None)
    changed("nuclear", SliceVector=[0, 0, 0, 0, 0, 0])
    changed("nuclear", SliceVector=[1, 2])
    changed("nuclear", SpacingBetweenSlices="1e30")
    for rows, columns in ((0, 0), (-5, 44), (2**31, 2**31 - 1), (17, 17), (4000, 4000)):
        changed("slide", TotalPixelMatrixRows=rows & 0xFFFFFFFF, TotalPixelMatrixColumns=columns)
    changed("slide", ConcatenationFrameOffsetNumber=4_000_000_000)
    changed("slide", DimensionOrganizationType="TILED_SPARSE")
    for count in (0, 1, 10, 65535):
        dataset = dcmread(BytesIO(framed_file("mosaic")))
        dataset[0x0019, 0x100A].value = count
        found.append(saved(dataset))
    changed("mosaic", SpacingBetweenSlices="0")
    changed("enhanced", PerFrameFunctionalGroupsSequence=Sequence([Dataset()]))
    return found


def _strangers() -> list[bytes]:
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    html = b"<!DOCTYPE html><html><body onload=alert(1)></body></html>"
    png, tiff = picture("PNG"), picture("TIFF")
    dicom = (PACKAGED / "MR_small.dcm").read_bytes()
    return [
        b"", b"\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"DICM" * 40,
        b"%PDF-1.7", svg, html, b"\xef\xbb\xbf" + svg, b"GIF89a" + bytes(40), bytes(1000),
        b"\xff" * 1000,
        # Polyglots: one format behind or inside another.
        png + zipped(dicom), zipped(png) + png, png + html, html + png, tiff + dicom,
        tiff[:128].ljust(128, b"\0") + dicom[128:],
        png[:128].ljust(128, b"\0") + dicom[128:],
        b"PK\x03\x04".ljust(128, b"\0") + dicom[128:],
        b"MZ".ljust(128, b"\0") + dicom[128:],
        dicom + png, gzip.compress(png), gzip.compress(dicom),
        gzip.compress(gzip.compress(volume())),
    ]  # fmt: skip


def _bmp_header(width: int, height: int) -> bytes:
    fields = (54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0)
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", *fields)


def _bombs() -> list[bytes]:
    squeeze = zlib.compressobj(9, wbits=31)
    inside = volume()[:352] + b""
    header = bytearray(inside)
    struct.pack_into("<8h", header, 40, 3, 2000, 2000, 200, 1, 1, 1, 1)
    gz = squeeze.compress(bytes(header)) + squeeze.compress(bytes(120_000_000)) + squeeze.flush()
    entry = bytes(2_000_000)
    lying = bytearray(zipped(bytes(100_000)))
    central = lying.index(b"PK\x01\x02")
    struct.pack_into("<I", lying, central + 24, 10)
    tiff = bytearray(picture("TIFF"))
    return [
        png_header(20_000, 20_000), png_header(2**31 - 1, 2**31 - 1), png_header(0, 0),
        png_header(9_000, 9_000), gz, zipped(*[entry] * 60), zipped(zipped(b"x")), zipped(),
        zipped(*[b"x"] * 6000), bytes(lying), zipped(gzip.compress(zipped(b"x"))), bytes(tiff[:40]),
        _bmp_header(2**30, -(2**30)), _bmp_header(-64, 64),
        b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff",
    ]  # fmt: skip


def _dicom_traps() -> list[bytes]:
    found = []

    def changed(name: str = "MR_small.dcm", **header: object) -> None:
        dataset = dcmread(PACKAGED / name)
        for keyword, value in header.items():
            setattr(dataset, keyword, value)
        buffer = BytesIO()
        dataset.save_as(buffer)
        found.append(buffer.getvalue())

    for size in (0, 1, 65535):
        changed(Rows=size)
        changed(Columns=size)
    for frames in (0, -1, 2, 10**9, 2**31):
        changed(NumberOfFrames=frames)
    for bits in (0, 1, 7, 12, 32, 64, 65535):
        changed(BitsAllocated=bits)
        changed(BitsStored=bits)
    changed(SamplesPerPixel=3)
    changed(SamplesPerPixel=4)
    changed(PhotometricInterpretation="PALETTE COLOR")
    changed(PhotometricInterpretation="YBR_FULL")
    changed(PixelRepresentation=7)
    changed(WindowCenter=[1, 2, 3], WindowWidth=0)
    changed(RescaleSlope="1e308", RescaleIntercept="1e308")
    changed(RescaleSlope="0", RescaleIntercept="-0")
    changed(PixelSpacing=["0", "0"])
    changed(PixelSpacing=["1e-30", "1e30"])
    changed(PixelSpacing=["0.001", "40"])
    changed(ImageOrientationPatient=[0, 0, 0, 0, 0, 0])
    changed(ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    changed("MR_small_jp2klossless.dcm", NumberOfFrames=3)
    changed("MR_small_RLE.dcm", Rows=32)
    changed("SC_rgb_jpeg_dcmtk.dcm", SamplesPerPixel=1)
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [0, 65535, 16])
    lut.add_new("LUTData", "OW", b"\0\0")
    changed(VOILUTSequence=Sequence([lut]))
    changed(ModalityLUTSequence=Sequence([lut]))
    nested = Dataset()
    for _ in range(200):
        outer = Dataset()
        outer.ContentSequence = Sequence([nested])
        nested = outer
    changed(ContentSequence=Sequence([nested]))
    plain = (PACKAGED / "MR_small.dcm").read_bytes()
    # Sequences of undefined length, one in the other, that never end; written by hand.
    opening = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    found.append(plain[:340] + opening * 3000)
    found.append(plain + opening * 3000)
    # A file that refers to itself: the index points at the index.
    stream = (PACKAGED / "MR_small_jp2klossless.dcm").read_bytes()
    start = stream.index(b"\xff\x4f\xff\x51")
    for width, height, parts in ((60_000, 60_000, 1), (64, 64, 16_384), (0, 0, 1)):
        bomb = bytearray(stream)
        struct.pack_into(">II", bomb, start + 8, width, height)
        struct.pack_into(">H", bomb, start + 40, parts)
        found.append(bytes(bomb))
    tiles = bytearray(stream)
    struct.pack_into(">II", tiles, start + 24, 1, 1)
    found.append(bytes(tiles))
    return found


def _nifti_traps() -> list[bytes]:
    found = []
    for dims in (
        (3, -1, 10, 8), (0, 12, 10, 8), (7, 32767, 32767, 32767, 32767), (8, 12, 10, 8),
        (3, 0, 0, 0), (5, 12, 10, 8, 1, 3), (1, 960), (2, 12, 80), (-3, 12, 10, 8),
    ):  # fmt: skip
        data = bytearray(volume())
        struct.pack_into(f"<{len(dims)}h", data, 40, *dims)
        found.append(bytes(data))
    for kind, bits in ((0, 0), (1, 1), (32, 64), (128, 24), (1536, 128), (1792, 128), (9999, 16)):
        data = bytearray(volume())
        struct.pack_into("<2h", data, 70, kind, bits)
        found.append(bytes(data))
    for offset in (float("nan"), -352.0, 1e30, 0.0, 353.5):
        data = bytearray(volume())
        struct.pack_into("<f", data, 108, offset)
        found.append(bytes(data))
    for slope, intercept in ((float("nan"), 0.0), (float("inf"), 1.0), (1e38, 1e38), (0.0, 5.0)):
        data = bytearray(volume())
        struct.pack_into("<2f", data, 112, slope, intercept)
        found.append(bytes(data))
    data = bytearray(volume())
    struct.pack_into("<12f", data, 280, *([0.0] * 12))
    found.append(bytes(data))
    struct.pack_into("<12f", data, 280, *([float("nan")] * 12))
    return [*found, bytes(data), volume()[:400], volume().replace(b"n+1\0", b"ni1\0")]


def _tiff_traps() -> list[bytes]:
    pages = bytearray(picture("TIFF", save_all=True, append_images=[Image.new("RGB", (40, 40))]))
    (first,) = struct.unpack_from("<I", pages, 4)
    (entries,) = struct.unpack_from("<H", pages, first)
    after = first + 2 + 12 * entries
    (second,) = struct.unpack_from("<I", pages, after)
    found = []
    (more,) = struct.unpack_from("<H", pages, second)
    for target in (first, second, 4, 2**32 - 1):  # the second page's next page: a cycle
        cyclic = bytearray(pages)
        struct.pack_into("<I", cyclic, second + 2 + 12 * more, target)
        found.append(bytes(cyclic))
    for place in range(first + 2, after, 12):  # every tag's count, and its value
        for part, value in ((4, 2**32 - 1), (8, 2**32 - 1), (8, 0)):
            wrong = bytearray(pages)
            struct.pack_into("<I", wrong, place + part, value)
            found.append(bytes(wrong))
    return found
