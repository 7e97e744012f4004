"""Series as people have them: copies, odd slices, missing positions, and whole discs."""

from __future__ import annotations

import math
import random
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from drawn import drawn, saved
from pydicom.dataset import Dataset, FileDataset
from traps import framed_file, picture, volume

from rarl.errors import ScanError
from rarl.scans import Stack, open_series, open_series_files, open_stack, open_stack_file
from rarl.scans.naming import harmless_name
from rarl.scans.series import Opened

Change = Callable[[FileDataset, int], None]


def slice_of(number: int, **header: object) -> FileDataset:
    """Slice number 1, 2, ... of an axial series 3 mm apart; all its values are 10 times that."""
    known: dict[str, object] = {
        "SeriesInstanceUID": "1.2.3.4",
        "StudyInstanceUID": "1.2.3",
        "SOPInstanceUID": f"1.2.3.4.{number}",
        "InstanceNumber": number,
        "PixelSpacing": [1, 1],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, 3 * number],
        "WindowCenter": 40,
        "WindowWidth": 400,
    }
    return drawn(np.full((16, 16), 10 * number, np.int16), **{**known, **header})


def written(folder: Path, files: dict[str, Dataset | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else saved(content))
    return folder


def packed(files: dict[str, Dataset | bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else saved(content))
    return buffer.getvalue()


def order(stack: Stack) -> list[int]:
    return [int(stack.values("acquired", frame)[0, 0]) // 10 for frame in range(stack.frames())]


@pytest.mark.parametrize("packing", ["folder", "zip", "upload"])
@pytest.mark.parametrize("copies", [[1, 2, 3, 4, 5, 6, 7, 8], [4]])
def test_a_copy_is_left_out(packing: str, copies: list[int], tmp_path: Path) -> None:
    files: dict[str, Dataset | bytes] = {f"IM{n}": slice_of(n) for n in range(1, 9)}
    files |= {f"IM{n} (1)": slice_of(n) for n in copies}
    if packing == "folder":
        stack = open_stack_file([written(tmp_path, files)])
    elif packing == "zip":
        stack = open_stack([packed(files)])
    else:
        stack = open_stack([saved(dataset) for dataset in files.values()])  # type: ignore[arg-type]
    assert (stack.times, order(stack)) == (1, [1, 2, 3, 4, 5, 6, 7, 8])
    assert "axial" in stack.planes
    (sentence,) = [line for line in stack.warnings if line.startswith("Left out")]
    assert "a copy of another file" in sentence
    if packing != "upload":
        assert f"IM{copies[0]} (1)" in sentence


def test_one_uid_for_all_slices_loses_none() -> None:
    """Some programs give every object one UID, with and without positions."""
    files = [saved(slice_of(n, SOPInstanceUID="1.2.3")) for n in range(1, 9)]
    assert order(open_stack(files)) == list(range(1, 9))
    bare = []
    for number in range(1, 9):
        dataset = slice_of(number, SOPInstanceUID="1.2.3", InstanceNumber=None)
        del dataset.ImagePositionPatient
        bare.append(saved(dataset))
    assert order(open_stack(bare)) == list(range(1, 9))


def test_time_points_stay() -> None:
    files = [
        saved(slice_of(n, SOPInstanceUID=f"1.9.{t}.{n}", InstanceNumber=8 * t + n))
        for t in range(3)
        for n in range(1, 9)
    ]
    stack = open_stack(files)
    assert (stack.times, stack.frames()) == (3, 8) and stack.warnings == ()


def _by_location(dataset: FileDataset, number: int) -> None:
    del dataset.ImagePositionPatient, dataset.InstanceNumber
    dataset.SliceLocation = 3 * number


def _wrong_numbers(dataset: FileDataset, number: int) -> None:
    dataset.InstanceNumber = 100 - number


def _location_against_number(dataset: FileDataset, number: int) -> None:
    del dataset.ImagePositionPatient
    dataset.SliceLocation = 3 * number
    dataset.InstanceNumber = 100 - number


def _one_without(dataset: FileDataset, number: int) -> None:
    dataset.SliceLocation = 3 * number
    if number == 5:
        del dataset.ImagePositionPatient


def _names_alone(dataset: FileDataset, number: int) -> None:
    del dataset.ImagePositionPatient, dataset.InstanceNumber


def _one_number_for_all(dataset: FileDataset, number: int) -> None:
    del dataset.ImagePositionPatient
    dataset.InstanceNumber = 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_by_location, "in the order of their slice location"),
        (_wrong_numbers, ""),
        (_location_against_number, "in the order of their slice location"),
        (_one_without, "in the order of their slice location"),
        (_names_alone, ""),
        (_one_number_for_all, ""),
    ],
)
@pytest.mark.parametrize("packing", ["folder", "zip"])
def test_the_order(change: Change, says: str, packing: str, tmp_path: Path) -> None:
    files: dict[str, Dataset | bytes] = {}
    numbers = list(range(1, 13))
    random.Random(3).shuffle(numbers)
    for number in numbers:
        dataset = slice_of(number)
        change(dataset, number)
        files[f"IM{number}"] = dataset
    if packing == "folder":
        stack = open_stack_file([written(tmp_path, files)])
    else:
        stack = open_stack([packed(files)])
    assert order(stack) == list(range(1, 13)) and stack.times == 1
    assert says in " ".join(stack.warnings) and bool(stack.warnings) == bool(says)


def test_odd_slices_are_left_out_by_name_and_can_be_chosen(tmp_path: Path) -> None:
    files: dict[str, Dataset | bytes] = {f"IM{n}": slice_of(n) for n in range(2, 9)}
    files["IM1"] = slice_of(
        1,
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
    )
    files["IM9"] = slice_of(9, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    files["IM10"] = slice_of(10, PixelSpacing=[2, 2])
    large = drawn(np.full((32, 32), 110, np.int16), SOPInstanceUID="1.2.3.4.11")
    large.SeriesInstanceUID, large.StudyInstanceUID = "1.2.3.4", "1.2.3"
    files["IM11"] = large
    opened = open_series_files([written(tmp_path, files)])
    stack = opened.stack()
    assert order(stack) == [2, 3, 4, 5, 6, 7, 8] and "axial" in stack.planes
    (sentence,) = [line for line in stack.warnings if line.startswith("Left out 4 files")]
    for part in (
        "a localizer (IM1)",
        "a slice in another direction (IM9)",
        "a slice of another pixel spacing (IM10)",
        "a slice of another size, 32 x 32 pixels (IM11)",
    ):
        assert part in sentence
    sizes = sorted(series.pictures for series in opened.series)
    assert sizes == [1, 3, 7]


def test_localizers_in_three_directions_stay_together() -> None:
    directions = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])
    files = [
        saved(slice_of(3 * k + n, ImageOrientationPatient=direction))
        for k, direction in enumerate(directions)
        for n in range(1, 4)
    ]
    stack = open_stack(files)
    assert stack.frames() == 9 and stack.planes == ("acquired",)
    assert stack.letters("acquired", 0) != stack.letters("acquired", 3)


@pytest.mark.parametrize("degrees", [-20, 8, 15])
def test_a_gantry_tilt_is_named(degrees: int) -> None:
    angle = math.radians(degrees)
    direction = [1, 0, 0, 0, math.cos(angle), -math.sin(angle)]
    files = [saved(slice_of(n, ImageOrientationPatient=direction)) for n in range(1, 20)]
    stack = open_stack(files)
    assert stack.planes == ("acquired",) and stack.frames() == 19
    assert f"at a slant of {abs(degrees)} degrees (gantry tilt)" in stack.warnings[0]


def test_missing_slices_are_counted() -> None:
    stack = open_stack([saved(slice_of(n)) for n in range(1, 12) if n not in (4, 5, 8)])
    assert "not evenly spaced (3 may be missing)" in stack.warnings[0]


DISC: dict[str, bytes] = {
    "DICOMDIR.txt": b"index",
    "thumbnail.jpg": picture("JPEG"),
    "viewer/logo.png": picture("PNG"),
    "viewer/viewer.exe": b"MZ" + bytes(3000),
    "autorun.inf": b"[autorun]\nopen=viewer.exe\n",
    "report.pdf": b"%PDF-1.4\n" + bytes(50),
    "index.htm": b"<html></html>",
    "archive.zip": packed({"a.txt": b"hello"}),
    ".DS_Store": b"\0\0\0\x01Bud1" + bytes(100),
    "__MACOSX/DICOM/._IM1": b"\0\x05\x16\x07" + bytes(100),
    "empty.dat": b"",
}


@pytest.mark.parametrize("packing", ["folder", "zip"])
def test_a_disc_opens_and_one_line_says_what_was_left_out(packing: str, tmp_path: Path) -> None:
    files: dict[str, Dataset | bytes] = {f"DICOM/IM{n}": slice_of(n) for n in range(1, 9)}
    files |= DISC
    files["Mustermann Eva.jpg"] = picture("JPEG", side=60)
    if packing == "folder":
        opened = open_series_files([written(tmp_path, files)])
    else:
        opened = open_series([packed(files)])
    stack = opened.stack()
    assert order(stack) == list(range(1, 9)) and "axial" in stack.planes
    (sentence,) = stack.warnings
    assert sentence.startswith("Left out 12 files: ") and "Mustermann" not in sentence
    for part in ("thumbnail.jpg", "a program (viewer.exe)", "a PDF document (report.pdf)",
                 "an archive (archive.zip)", "a system file (", "(logo.png)"):  # fmt: skip
        assert part in sentence


def test_several_series_are_a_choice(tmp_path: Path) -> None:
    files: dict[str, Dataset | bytes] = {
        f"A/IM{n}": slice_of(n, SeriesDescription="t2_tse_tra 3mm Mustermann") for n in range(1, 9)
    }
    for number in range(1, 4):
        files[f"B/IM{number}"] = slice_of(
            number, SeriesInstanceUID="1.2.3.5", SOPInstanceUID=f"1.2.3.5.{number}",
            SeriesDescription="T1 SAG", Modality="MR",
        )  # fmt: skip
    files["volume.nii"] = volume()
    opened: Opened = open_series_files([written(tmp_path, files)])
    assert [series.title for series in opened.series] == [
        "CT t2 tse tra 3mm, 8 slices, 16 x 16",
        "MR T1 SAG, 3 slices, 16 x 16",
        "NIfTI, 8 slices, 12 x 10",
    ]
    assert order(opened.stack()) == list(range(1, 9))
    assert (
        "There are 3 series: the one with the most pictures is shown" in opened.stack().warnings[-1]
    )
    chosen = opened.stack(1)
    assert chosen.modality == "MR" and chosen.frames() == 3
    assert "the chosen one is shown" in chosen.warnings[-1]
    for series in opened.series:
        assert max(series.thumbnail(32).size) <= 32


def test_names_that_may_be_a_persons_are_never_shown() -> None:
    for name in ("Doe, Jane.jpg", "mustermann_eva.dcm", "19331224.dcm", "IM1234567", "Ö.dcm", ""):
        assert harmless_name(name) == ""
    assert harmless_name("x\\DICOM\\IMG_0001.dcm") == "IMG_0001.dcm"


def test_several_plain_pictures_are_still_refused() -> None:
    with pytest.raises(ScanError, match="several pictures and not one DICOM series"):
        open_stack([picture("PNG"), picture("JPEG"), b"%PDF"])


# --- What a frame is ---------------------------------------------------------------------------


def test_dose_planes_are_slices_in_gray() -> None:
    stack = open_stack([framed_file("dose")])
    assert (stack.frames(), stack.times, stack.step(), stack.unit) == (6, 1, 3, "Gy")
    assert stack.values("acquired", 2)[0, 0] == pytest.approx(0.15)
    assert stack.planes == ("acquired", "axial", "coronal", "sagittal")


def test_nuclear_slices_and_time_slots() -> None:
    stack = open_stack([framed_file("nuclear")])
    assert (stack.frames(), stack.times, stack.step()) == (3, 2, 4)
    # Stacked against the normal: the last slice of the file lies lowest.
    assert [int(stack.values("axial", k, 1)[0, 0]) for k in range(3)] == [600, 500, 400]


def test_tiles_of_a_slide_are_one_picture() -> None:
    stack = open_stack([framed_file("slide")])
    assert (stack.frames(), stack.times, stack.values().shape) == (1, 1, (30, 44))
    assert stack.spacing() == pytest.approx((0.1, 0.1))
    assert stack.values()[[0, 0, 0, 20], [0, 20, 40, 0]].tolist() == [100, 200, 300, 400]


def test_a_mosaic_is_a_volume() -> None:
    stack = open_stack([framed_file("mosaic")])
    assert (stack.frames(), stack.step(), stack.spacing()) == (8, 4, (2.5, 2.5))
    assert [int(stack.values("acquired", k)[0, 0]) for k in range(8)] == list(range(8))


def test_a_mosaic_of_unknown_count_has_no_lengths() -> None:
    tiles = np.kron(np.arange(9, dtype=np.uint16).reshape(3, 3), np.ones((16, 16), np.uint16))
    dataset = drawn(tiles, ImageType=["ORIGINAL", "PRIMARY", "MOSAIC"], PixelSpacing=[3, 3])
    stack = open_stack([saved(dataset)])
    assert stack.spacing() is None and "a mosaic of several slices" in stack.warnings[0]


def test_enhanced_frames_are_ordered_by_their_stated_time() -> None:
    stack = open_stack([framed_file("enhanced")])
    assert (stack.frames(), stack.times, stack.step()) == (3, 2, 3)
    assert [int(stack.values("axial", 0, time)[0, 0]) for time in (0, 1)] == [400, 100]


def test_a_position_is_not_that_of_all_frames() -> None:
    values = np.zeros((5, 16, 16), np.uint16)
    header = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    still = open_stack([saved(drawn(values, NumberOfFrames=5, **header))])
    assert (still.frames(), still.times) == (5, 1) and "in its order" in " ".join(still.warnings)
    moving = open_stack([saved(drawn(values, NumberOfFrames=5, FrameTime="40", **header))])
    assert (moving.frames(), moving.times) == (1, 5)
