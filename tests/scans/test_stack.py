"""Stacks: formats, order, planes, letters, values and windows, against nibabel and the headers."""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from drawn import drawn, saved, series
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing
from pydicom.sequence import Sequence
from traps import picture, volume, zipped

from rarl.errors import ScanError
from rarl.scans import Box, Stack, View, Window, open_stack, open_stack_file
from rarl.scans.stack import NOT_SQUARE
from rarl.scans.windowing import through_window

Find = Callable[[str], Path]

# A body of (z to the head, y to the back, x to the left), every voxel its own value.
BODY = np.arange(10 * 12 * 14, dtype=np.int16).reshape(10, 12, 14)
X, Y, Z = (1, 0, 0), (0, 1, 0), (0, 0, 1)


def minus(direction: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-part for part in direction)


def test_every_sample_opens_or_says_what_is_wrong(sample: Find) -> None:
    folder = sample("MR_small.dcm").parent
    opened, refused = set(), set()
    for path in sorted(folder.glob("*.[dn]*")):
        try:
            stack = open_stack_file([path])
        except ScanError:
            refused.add(path.name)
            continue
        opened.add(path.name)
        for plane in stack.planes:
            frame = stack.frames(plane) // 2
            values = stack.values(plane, frame, stack.times - 1)
            picture = stack.scan(View(plane, frame, stack.times - 1)).image
            assert picture.size == values.shape[1::-1]
            assert values.dtype in (np.int16, np.int32, np.float32, np.uint8)
    assert refused == {"MR_truncated.dcm", "badVR.dcm", "liver_rle.dcm"}
    assert sum(name.endswith(".dcm") for name in opened) == 31 and len(opened) == 37


def test_a_series_on_a_disc_is_sorted_by_position(packaged: Find) -> None:
    folder = packaged("dicomdirtests") / "98892001" / "CT5N"
    stack = open_stack_file([folder])
    assert stack.planes == ("acquired", "axial", "coronal", "sagittal")
    headers = [dcmread(path) for path in folder.iterdir()]
    headers.sort(key=lambda header: header.ImagePositionPatient[2])
    assert stack.frames() == len(headers) == 5
    for frame, header in enumerate(headers):
        expected = header.pixel_array * header.RescaleSlope + header.RescaleIntercept
        assert np.array_equal(stack.values("acquired", frame), expected)
    assert stack.letters() == ("R", "L", "A", "P") and stack.unit == "HU"
    assert stack.spacing() == pytest.approx(tuple(headers[0].PixelSpacing))


def test_of_a_whole_disc_the_largest_series_is_shown_and_said(packaged: Find) -> None:
    stack = open_stack_file([packaged("dicomdirtests")])
    assert stack.frames() == 7 and stack.modality == "MR"
    assert "series: the one with the most pictures is shown" in stack.warnings[-1]
    assert "Left out" in " ".join(stack.warnings)  # the indices of the disc


@pytest.mark.parametrize("packing", ["files", "zip"])
@pytest.mark.parametrize(
    ("right", "down", "axes", "letters"),
    [
        (X, Y, (0, 1, 2), "RLAP"),
        (X, minus(Z), (1, 0, 2), "RLHF"),
        (Y, minus(Z), (2, 0, 1), "APHF"),
        (minus(X), Y, (0, 1, 2), "LRAP"),
        (X, minus(Y), (0, 1, 2), "RLPA"),
    ],
)
def test_planes_of_a_series_however_it_was_acquired(
    packing: str,
    right: tuple[int, ...],
    down: tuple[int, ...],
    axes: tuple[int, int, int],
    letters: str,
) -> None:
    flips = [sum(np.cross(right, down)) < 0, sum(down) < 0, sum(right) < 0]
    acquired = BODY.transpose(axes)
    for axis, flip in enumerate(flips):
        acquired = np.flip(acquired, axis) if flip else acquired
    files = series(acquired, right, down)
    random.Random(1).shuffle(files)
    stack = open_stack([zipped(*files)] if packing == "zip" else files)
    assert "".join(stack.letters() or "") == letters and stack.warnings[1:] == ()
    for frame in range(len(acquired)):
        assert np.array_equal(stack.values("acquired", frame), acquired[frame] - 1024)
    for frame in (0, 5):
        assert np.array_equal(stack.values("axial", frame), BODY[frame] - 1024)
        assert np.array_equal(stack.values("coronal", frame), BODY[::-1, frame] - 1024)
        assert np.array_equal(stack.values("sagittal", frame), BODY[::-1, :, frame] - 1024)
    assert stack.letters("coronal") == ("R", "L", "H", "F")
    assert (stack.frames("axial"), stack.frames("coronal"), stack.frames("sagittal")) == (
        10,
        12,
        14,
    )


def test_uneven_slices_offer_no_other_plane() -> None:
    files = series(BODY, X, Y)
    stack = open_stack([*files[:3], *files[6:]])
    assert stack.planes == ("acquired",) and "not evenly spaced" in stack.warnings[0]


def test_repeated_positions_are_time_points() -> None:
    later = [
        saved(drawn(BODY[index] + 5000, **_kept(dcmread(BytesIO(data)))))
        for index, data in enumerate(series(BODY, X, Y))
    ]
    stack = open_stack([*series(BODY, X, Y), *later])
    assert (stack.times, stack.frames()) == (2, 10)
    assert np.array_equal(stack.values("axial", 3, 1), BODY[3] + 5000 - 1024)


def _kept(dataset: Dataset) -> dict[str, object]:
    header = {element.keyword: element.value for element in dataset if element.tag.group >= 0x18}
    header["InstanceNumber"] = dataset.InstanceNumber + 100
    return {key: value for key, value in header.items() if key != "PixelData"}


def test_a_damaged_slice_is_left_out_and_said() -> None:
    files = series(BODY, X, Y)
    stack = open_stack([*files, files[0][:900]])
    assert stack.frames() == 10 and stack.warnings[-1] == "Left out 1 file: a damaged file."


@pytest.mark.parametrize(
    "name", ["anatomical.nii", "functional.nii", "example4d.nii.gz", "fmri_pitch.nii.gz"]
)
def test_nifti_lies_as_nibabel_says(sample: Find, name: str) -> None:
    path = sample(name)
    image = nib.as_closest_canonical(nib.load(path))
    data = np.asarray(image.dataobj)
    _agrees(open_stack_file([path]), data if data.ndim == 4 else data[..., None], image)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL", "ILA", "ASR"])
def test_nifti_of_any_orientation(codes: str) -> None:
    values = np.arange(9 * 10 * 11, dtype=np.int16).reshape(9, 10, 11)
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
    )
    plain = nib.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0]))
    turned = plain.as_reoriented(turn)
    assert "".join(nib.aff2axcodes(turned.affine)) == codes
    stack = open_stack([gzip.compress(turned.to_bytes())])
    _agrees(stack, values[..., None], plain)


def _agrees(stack: Stack, data: np.ndarray, image: nib.Nifti1Image) -> None:
    """All planes of a stack with data in nibabel's canonical order (to R, A, S)."""
    width, height, depth, times = data.shape
    assert stack.planes == ("axial", "coronal", "sagittal") and stack.times == times
    zooms = image.header.get_zooms()[:3]
    even = np.ptp(zooms) < 1e-3
    for time in {0, times - 1}:
        volume = data[..., time]
        if even:  # otherwise planes are stretched to square pixels
            frame = depth // 3
            expected = volume[::-1, ::-1, frame].T
            assert np.allclose(stack.values("axial", frame, time), expected)
            expected = volume[::-1, height - 1 - 2, ::-1].T
            assert np.allclose(stack.values("coronal", 2, time), expected)
            expected = volume[width - 1 - 3, ::-1, ::-1].T
            assert np.allclose(stack.values("sagittal", 3, time), expected)
        else:
            expected = volume[::-1, ::-1, 1].T
            shown = stack.values("axial", 1, time)
            assert (
                np.corrcoef(shown.mean(0), _widened(expected.mean(0), shown.shape[1]))[0, 1] > 0.9
            )
    assert stack.letters("axial") == ("R", "L", "A", "P")
    assert stack.letters("sagittal") == ("A", "P", "H", "F")


def _widened(values: np.ndarray, size: int) -> np.ndarray:
    return np.interp(np.linspace(0, len(values) - 1, size), np.arange(len(values)), values)


def test_nifti_without_orientation_has_no_letters() -> None:
    image = nib.Nifti1Image(np.zeros((9, 9, 9), np.float32), None)
    stack = open_stack([image.to_bytes()])
    assert stack.letters("axial") is None
    assert "does not say how the volume lies" in stack.warnings[0]


def test_nifti_scaling_and_damage() -> None:
    image = nib.Nifti1Image(np.arange(1000, dtype=np.int16).reshape(10, 10, 10), np.eye(4))
    scaled = bytearray(image.to_bytes())
    struct.pack_into("<2f", scaled, 112, 0.5, -3)
    data = bytes(scaled)
    stack = open_stack([data])
    assert np.array_equal(stack.values("axial", 0)[::-1, ::-1].T.ravel()[:3], [-3, 2, 7])
    for broken, says in (
        (data[:-10], "cut short"),
        (data.replace(b"n+1\0", b"ni1\0"), "one of a pair"),
        (gzip.compress(b"x" * 1000), "holds a text file"),
        (nib.Nifti1Image(np.zeros((9, 9, 9, 1, 3), np.float32), np.eye(4)).to_bytes(), "vectors"),
        (nib.Nifti1Image(np.zeros((9, 9, 9), np.complex64), np.eye(4)).to_bytes(), "complex"),
    ):
        with pytest.raises(ScanError, match=says):
            open_stack([broken])


def test_square_pixels_share_one_grid() -> None:
    values = np.tile(np.arange(20, dtype=np.int16) * 10, (30, 1))
    stack = open_stack([saved(drawn(values, PixelSpacing=[2, 0.5]))])
    assert stack.values().shape == (120, 20) and stack.values().dtype == np.int16
    assert np.array_equal(stack.values()[60], values[0])  # nothing happens along the finer side
    assert stack.spacing() == (0.5, 0.5) and stack.scan().image.size == (20, 120)
    assert NOT_SQUARE not in stack.warnings
    masked = np.asarray(stack.scan(View(), [Box(5, 100, 99, 999)]).image)
    assert not masked[100:, 5:].any() and masked[:100, 6:].all()
    # Stretched by more than is sensible: left alone, and said.
    assert NOT_SQUARE in open_stack([saved(drawn(values, PixelSpacing=[90, 0.5]))]).warnings


def test_coronal_plane_of_thick_slices_is_true_to_scale() -> None:
    stack = open_stack(series(BODY, X, Y, step=3))
    assert stack.values("coronal", 4).shape == (30, 14)
    assert stack.spacing("coronal") == (1, 1) and stack.spacing("axial") == (1, 1)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_as_the_standard_defines_them(function: str) -> None:
    values = np.arange(-1200, 1200, 7, dtype=np.float64)
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 40, 400, function
    dataset.BitsStored, dataset.PixelRepresentation = 8, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    expected = apply_windowing(values, dataset)
    low, high = apply_windowing(np.array([-1e9, 1e9]), dataset)
    ours = through_window(values, Window(40, 400), function)
    assert np.abs(ours - (expected - low) / (high - low) * 255).max() <= 0.51


def test_views() -> None:
    values = np.arange(0, 4096, 16, dtype=np.uint16).repeat(16).reshape(64, 64)
    header = {"WindowCenter": [2048, 100], "WindowWidth": [1024, 10]}
    names = {"WindowCenterWidthExplanation": ["BRAIN", "EVA MUSTERMANN"]}
    stack = open_stack([saved(drawn(values, **header, **names))])
    assert stack.windows == (Window(2048, 1024, "BRAIN"), Window(100, 10))
    own = np.asarray(stack.scan().image).astype(int)
    chosen = stack.scan(View(window=Window(2048, 1024)))
    assert np.array_equal(own, chosen.image) and chosen.attributes["WindowCenter"] == "2048"
    assert np.array_equal(stack.scan(View(invert=True)).image, 255 - own)
    inverse = open_stack([saved(drawn(values, PhotometricInterpretation="MONOCHROME1", **header))])
    assert np.array_equal(inverse.scan().image, 255 - own)
    assert np.array_equal(inverse.values(), values)  # inverted in presentation alone
    automatic = stack.auto_window()
    shown = np.asarray(stack.scan(View(window=automatic)).image)
    assert shown[0, 0] == 0 and shown[-1, -1] == 255 and 120 < shown[32, 0] < 136
    for wrong in (View("axial"), View(frame=1), View(time=1), View(frame=-1)):
        with pytest.raises(ValueError, match=r"there are|has"):
            stack.scan(wrong)


def test_frames_have_their_own_rescale_and_window() -> None:
    values = np.arange(2 * 32 * 32, dtype=np.uint16).reshape(2, 32, 32)
    groups = []
    for slope, center in ((1, 500), (2, 3000)):
        voi, transformation, group = Dataset(), Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 100
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, -10
        transformation.RescaleType = "HU"
        group.FrameVOILUTSequence = Sequence([voi])
        group.PixelValueTransformationSequence = Sequence([transformation])
        groups.append(group)
    dataset = drawn(values, NumberOfFrames=2)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    stack = open_stack([saved(dataset)])
    assert stack.unit == "HU"
    assert np.array_equal(stack.values(frame=0), values[0].astype(int) - 10)
    assert np.array_equal(stack.values(frame=1), values[1].astype(int) * 2 - 10)
    own = stack.own_window(frame=1)
    assert own is not None and own[0].center == 3000


def test_pages_and_depth_of_plain_pictures() -> None:
    pages = picture("TIFF", save_all=True, append_images=[Image.new("RGB", (40, 40), "red")])
    stack = open_stack([pages])
    assert (stack.format, stack.frames(), stack.color) == ("tiff", 2, True)
    assert stack.values(frame=1).shape == (40, 40, 3) and stack.values(frame=0).shape == (48, 48, 3)
    for kind in ("WEBP", "BMP", "TIFF", "PNG"):
        stack = open_stack([picture(kind, lossless=True)])
        assert stack.format == kind.lower() and stack.text_likely
        expected = Image.linear_gradient("L").resize((48, 48)).convert("RGB")
        assert np.array_equal(stack.scan().image, expected)
    deep = np.linspace(20_000, 30_000, 1024).reshape(32, 32)
    for values in (deep.astype(np.uint16), deep.astype(np.float32) / 7):
        buffer = BytesIO()
        Image.fromarray(values).save(buffer, "TIFF")
        stack = open_stack([buffer.getvalue()])
        assert np.allclose(stack.values(), values)
        shown = np.asarray(stack.scan().image)
        assert shown.min() == 0 and shown.max() == 255


def test_letters_of_a_projection() -> None:
    values = np.zeros((32, 32), np.uint16)
    stack = open_stack([saved(drawn(values, PatientOrientation=["L", "F"]))])
    assert stack.letters() == ("R", "L", "H", "F")
    assert open_stack([saved(drawn(values))]).letters() is None
    magnified = drawn(
        values, ImagerPixelSpacing=[0.2, 0.2], EstimatedRadiographicMagnificationFactor=2
    )
    assert open_stack([saved(magnified)]).spacing() == (0.1, 0.1)


def test_pictures_that_are_no_series_are_opened_one_by_one() -> None:
    for files in ([picture("PNG"), picture("JPEG")], [zipped(picture("PNG"), picture("BMP"))]):
        with pytest.raises(ScanError, match="several pictures and not one DICOM series"):
            open_stack(files)
    assert open_stack([zipped(picture("PNG"), b"read me")]).format == "png"
    assert open_stack([zipped(volume())]).format == "nifti"
