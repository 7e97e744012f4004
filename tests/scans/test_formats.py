"""Research formats, files in two parts, compressed ones, and strangers that people try."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from traps import framed_file, metaimage, mgh, nrrd, picture, volume_header, zipped

from rarl.errors import ScanError
from rarl.scans import Stack, open_stack, open_stack_file

VALUES = np.arange(960, dtype=np.int16).reshape((12, 10, 8), order="F")


def reference(down: float = -2.0) -> Stack:
    """The volume of `metaimage`, `nrrd` and `mgh` as NIfTI: towards L, P, S."""
    return open_stack([nib.Nifti1Image(VALUES, np.diag([-2.0, down, 3.0, 1.0])).to_bytes()])


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (metaimage(), "metaimage"),
        (gzip.compress(metaimage()), "metaimage"),
        (zipped(metaimage()), "metaimage"),
        (nrrd(), "nrrd"),
        (nrrd(gzip.compress(VALUES.tobytes("F")), encoding="gzip"), "nrrd"),
        (nrrd(" ".join(map(str, VALUES.ravel("F"))).encode(), encoding="ascii"), "nrrd"),
        (nrrd(VALUES.astype(">i2").tobytes("F"), endian="big"), "nrrd"),
        (nrrd(space="LPS"), "nrrd"),
        (
            nrrd(
                space="right-anterior-superior", space_directions="(-2,0,0) (0,-2,0) (0,0,3)"
            ),
            "nrrd",
        ),
        (mgh(), "mgh"),
        (gzip.compress(mgh()), "mgh"),
        (zipped(volume_header(), VALUES.tobytes("F")), "nifti"),
    ],
)  # fmt: skip
def test_a_volume_is_the_same_in_every_format(data: bytes, name: str) -> None:
    stack, expected = open_stack([data]), reference()
    if name == "nifti":  # the pair's header has another affine
        expected = open_stack([nib.Nifti1Image(VALUES, np.diag([2.0, 2.0, 2.0, 1.0])).to_bytes()])
    assert stack.format == name and stack.warnings == expected.warnings == ()
    assert stack.planes == ("axial", "coronal", "sagittal")
    for plane in stack.planes:
        assert stack.spacing(plane) == pytest.approx(expected.spacing(plane))
        assert stack.letters(plane) == expected.letters(plane)
        assert stack.frames(plane) == expected.frames(plane)
        for frame in (0, 3):
            assert np.array_equal(stack.values(plane, frame), expected.values(plane, frame))


def test_against_itk(tmp_path: Path) -> None:
    """Whatever the direction, a volume that ITK writes is the one that ITK writes as NIfTI."""
    itk = pytest.importorskip("SimpleITK")
    image = itk.GetImageFromArray(np.random.default_rng(1).integers(-999, 999, (7, 9, 11), "i2"))
    image.SetSpacing((1.5, 2.0, 3.0))
    image.SetOrigin((10, 20, 30))
    for number, direction in enumerate(
        ((-1, 0, 0, 0, -1, 0, 0, 0, 1), (1, 0, 0, 0, 0, 1, 0, -1, 0), (0, 0, 1, 1, 0, 0, 0, 1, 0))
    ):
        image.SetDirection(direction)
        itk.WriteImage(image, str(tmp_path / f"{number}.nii"))
        expected = open_stack_file([tmp_path / f"{number}.nii"])
        for ending in ("mha", "nrrd", "mhd", "nhdr"):
            folder = tmp_path / f"{number}-{ending}"
            folder.mkdir()
            itk.WriteImage(image, str(folder / f"scan.{ending}"), ending != "mha")
            stack = open_stack_file([folder])
            assert stack.warnings == () and stack.letters() == expected.letters()
            for plane in expected.planes:
                assert stack.spacing(plane) == pytest.approx(expected.spacing(plane))
                assert np.array_equal(stack.values(plane, 2), expected.values(plane, 2))


def _mhd(folder: Path) -> None:
    header, _, values = metaimage().partition(b"LOCAL\n")
    (folder / "a.mhd").write_bytes(header + b"values.raw\n")
    (folder / "values.raw").write_bytes(values)


def _nhdr(folder: Path) -> None:
    header, _, values = nrrd(data_file="values.raw").partition(b"\n\n")
    (folder / "a.nhdr").write_bytes(header + b"\n")
    (folder / "values.raw").write_bytes(values)


def _nifti(folder: Path) -> None:
    nib.save(nib.Nifti1Pair(VALUES, np.diag([-2.0, -2.0, 3.0, 1.0])), folder / "a.hdr")


def _nifti_compressed(folder: Path) -> None:
    nib.save(nib.Nifti1Pair(VALUES, np.diag([-2.0, -2.0, 3.0, 1.0])), folder / "a.hdr.gz")


def _nifti_2(folder: Path) -> None:
    nib.save(nib.Nifti2Pair(VALUES, np.diag([-2.0, -2.0, 3.0, 1.0])), folder / "a.hdr")


def _analyze(folder: Path) -> None:
    nib.save(nib.AnalyzeImage(VALUES, np.diag([-2.0, -2.0, 3.0, 1.0])), folder / "a.hdr")


@pytest.mark.parametrize("packing", ["folder", "zip", "upload"])
@pytest.mark.parametrize("write", [_mhd, _nhdr, _nifti, _nifti_compressed, _nifti_2, _analyze])
def test_a_header_and_its_values(
    write: Callable[[Path], None], packing: str, tmp_path: Path
) -> None:
    write(tmp_path)
    files = sorted(tmp_path.iterdir())
    if packing == "upload":
        stack = open_stack([file.read_bytes() for file in files])
    else:
        (tmp_path / "notes.txt").write_text("how this was made")
        stack = open_stack_file([tmp_path]) if packing == "folder" else open_stack([_zip(tmp_path)])
        assert stack.warnings[-1] == "Left out 1 file: a text file (notes.txt)."
    # Analyze does not say how it lies; nibabel takes its rows to run towards the front.
    expected = reference(2.0 if write is _analyze else -2.0)
    for plane in expected.planes:
        assert np.array_equal(stack.values(plane, 1), expected.values(plane, 1))
        assert stack.spacing(plane) == expected.spacing(plane)
    unknown = "does not say how the volume lies" in " ".join(stack.warnings)
    assert unknown == (write is _analyze) == (stack.letters() is None)


def _zip(folder: Path) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"study/{file.name}")
    return buffer.getvalue()


def test_a_header_alone_says_so() -> None:
    header = metaimage().partition(b"LOCAL\n")[0] + b"../../etc/passwd\n"
    for data in (header, volume_header(), nrrd(data_file="/etc/passwd")):
        with pytest.raises(ScanError, match=r"header of a|only one of a pair"):
            open_stack([data])


def test_compressed_dicom_and_pictures_open() -> None:
    assert open_stack([gzip.compress(framed_file("dose"))]).unit == "Gy"
    assert open_stack([gzip.compress(picture("PNG"))]).format == "png"
    assert open_stack([zipped(gzip.compress(framed_file("dose")))]).frames() == 6


def test_avif_opens() -> None:
    stack = open_stack([picture("AVIF")])
    assert (stack.format, stack.values().shape) == ("avif", (48, 48, 3))


def _tar() -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), BytesIO(b""))
    return buffer.getvalue()


def _document() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("ppt/media/image1.png", picture("PNG"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "kind", "advice"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(50), "an HEIC picture", "as JPEG or PNG"),
        (b"\0\0\0\x18ftypmp42" + bytes(50), "a video (MP4", "save the frame in question"),
        (b"\0\0\0\x14ftypqt  " + bytes(50), "a video (MP4 or QuickTime)", "save the frame"),
        (b"RIFF\0\0\0\0AVI LIST", "a video (AVI)", "save the frame"),
        (b"\x1aE\xdf\xa3" + bytes(50), "a video (Matroska", "save the frame"),
        (_tar(), "a tar archive", "unpack it"),
        (gzip.compress(_tar(), mtime=0), "a tar archive", "unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), "a 7z archive", "unpack it"),
        (b"%PDF-1.7\n", "a PDF document", "open the picture itself"),
        (_document(), "an Office document", "open the picture itself"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), "an Office document", "open the picture"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file", "convert the volume to NIfTI"),
        (b"CDF\x01" + bytes(50), "a netCDF or MINC file", "convert the volume to NIfTI"),
        (b"\x93NUMPY\x01\0" + bytes(50), "a NumPy array", "convert the volume to NIfTI"),
        (b"MZ\x90\0" + bytes(500), "a program", "choose the pictures"),
        (b"\xff\x4f\xff\x51" + bytes(50), "a JPEG 2000 picture", "export the picture"),
        (bytes(0x8001) + b"CD001" + bytes(50), "a disc image (ISO)", "choose the series"),
    ],
)
def test_strangers_are_named_with_what_to_do(data: bytes, kind: str, advice: str) -> None:
    with pytest.raises(ScanError) as caught:
        open_stack([data])
    sentence = str(caught.value)
    assert kind in sentence and advice in sentence and sentence.endswith(".")
