"""Lengths: units and voxel sizes of NIfTI, the spacings of a DICOM header, square pixels."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from drawn import drawn, saved, series
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from rarl.scans import Stack, View, open_stack
from rarl.scans.nifti import _NO_UNIT, _SHEARED, _TWO_SPACINGS
from rarl.scans.spacing import AT_DETECTOR, NO_CALIBRATION, OUTSIDE_REGION, TWO_RATIOS
from rarl.scans.stack import NOT_SQUARE

ROOT = Path(__file__).resolve().parents[2]
VOLUME = np.arange(20 * 16 * 12, dtype=np.int16).reshape(20, 16, 12)
RAMP = np.arange(1024, dtype=np.uint16).reshape(32, 32)


def nifti(affine: np.ndarray, unit: int | None = None, kind: type = nib.Nifti1Image) -> bytearray:
    image = kind(VOLUME, affine)
    if unit is not None:
        image.header["xyzt_units"] = unit
    return bytearray(image.to_bytes())


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("time", [0, 8, 16])  # unknown, seconds, milliseconds
@pytest.mark.parametrize(("unit", "factor"), [(0, 1), (2, 1), (3, 1000), (1, 0.001)])
def test_units_of_length(unit: int, factor: float, time: int, kind: type) -> None:
    affine = np.diag([2 * factor, 2 * factor, 3 * factor, 1])
    stack = open_stack([bytes(nifti(affine, unit | time, kind))])
    assert stack.spacing() == pytest.approx((2, 2)) and stack.step() == pytest.approx(3)
    assert stack.planes == ("axial", "coronal", "sagittal") and stack.warnings == ()
    assert stack.spacing("coronal") == pytest.approx((2, 2))  # stretched to square pixels


def test_an_unknown_unit_is_said() -> None:
    stack = open_stack([bytes(nifti(np.diag([2.0, 2, 3, 1]), 5))])
    assert stack.spacing() == (2, 2) and _NO_UNIT in stack.warnings


@pytest.mark.parametrize("unit", [2, 3])
def test_the_voxel_size_of_the_affine_in_use(unit: int) -> None:
    factor = {2: 1, 3: 1000}[unit]
    data = nifti(np.eye(4), unit)
    struct.pack_into("<3f", data, 80, 1, 1, 1)  # pixdim
    struct.pack_into("<2h", data, 252, 0, 1)  # qform_code, sform_code
    affine = np.diag([0.5 * factor, 0.25 * factor, 5 * factor, 1])
    data[280:328] = affine.astype("<f4")[:3].tobytes()
    stack = open_stack([bytes(data)])
    assert stack.spacing() == pytest.approx((0.25, 0.25)) and stack.step() == pytest.approx(5)
    assert stack.shape() == (16, 40) and _TWO_SPACINGS in stack.warnings


def test_a_turned_affine_keeps_its_lengths() -> None:
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0],
                     [0, 0, 1]])  # fmt: skip
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([2.0, 2, 3])
    stack = open_stack([bytes(nifti(affine))])
    assert stack.spacing() == pytest.approx((2, 2)) and stack.step() == pytest.approx(3)
    assert stack.warnings == ()
    affine[0, 1] += 1
    assert _SHEARED in open_stack([bytes(nifti(affine))]).warnings


def one(modality: str = "CT", **header: object) -> Stack:
    return open_stack([saved(drawn(RAMP, Modality=modality, **header))])


@pytest.mark.parametrize("ratio", [[2, 1], [1, 2], [4, 3], ["1000", "500"]])
def test_a_pixel_aspect_ratio_is_shown_square_and_gives_no_length(ratio: list[int]) -> None:
    stack = one("RF", PixelAspectRatio=ratio)
    assert stack.spacing() is None
    height, width = stack.shape()
    assert height / width == pytest.approx(float(ratio[0]) / float(ratio[1]), rel=0.02)
    assert stack.values().shape == stack.shape() and NOT_SQUARE not in stack.warnings
    assert stack.scan(View()).image.size == (width, height)


def test_spacing_goes_before_the_aspect_ratio() -> None:
    stack = one(PixelSpacing=[0.5, 0.5], PixelAspectRatio=[2, 1])
    assert stack.spacing() == (0.5, 0.5) and stack.shape() == (32, 32)
    assert TWO_RATIOS in stack.warnings
    agreeing = one(PixelSpacing=[1, 0.5], PixelAspectRatio=[2, 1])
    assert TWO_RATIOS not in agreeing.warnings and agreeing.shape() == (64, 32)


def test_spacings_that_differ_in_their_last_digits() -> None:
    files = series(np.stack([RAMP] * 4), (1, 0, 0), (0, 1, 0), 2.0)
    changed = []
    for number, file in enumerate(files):
        dataset = dcmread(BytesIO(file))
        dataset.PixelSpacing = [["0.48828125", "0.488281", "0.4883", "0.488281250000"][number]] * 2
        changed.append(saved(dataset))
    stack = open_stack(changed)
    assert stack.step() == 2 and "axial" in stack.planes
    assert stack.spacing() == pytest.approx((0.488281, 0.488281), rel=1e-3)
    dataset.PixelSpacing = [0.6, 0.6]
    other = open_stack([*changed[:3], saved(dataset)])
    assert other.frames() == 3 and "another pixel spacing" in " ".join(other.warnings)


@pytest.mark.parametrize(
    ("header", "spacing", "word"),
    [
        ({"PixelSpacing": [0.2, 0.2]}, 0.2, NO_CALIBRATION),
        ({"PixelSpacing": [0.2, 0.2], "PixelSpacingCalibrationType": "FIDUCIAL"}, 0.2, None),
        ({"PixelSpacing": [0.15, 0.15], "ImagerPixelSpacing": [0.2, 0.2]}, 0.15, None),
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.20000001, 0.2]}, 0.2, AT_DETECTOR),
        ({"ImagerPixelSpacing": [0.2, 0.2]}, 0.2, AT_DETECTOR),
        ({"ImagerPixelSpacing": [0.2, 0.2],
          "EstimatedRadiographicMagnificationFactor": 1.25}, 0.16, None),
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.2, 0.2],
          "EstimatedRadiographicMagnificationFactor": 1.25}, 0.16, None),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, 0.1, AT_DETECTOR),
        ({"ImagerPixelSpacing": [0, 0]}, None, None),
        ({"PixelSpacing": [0.2]}, None, None),
    ],
)  # fmt: skip
def test_spacing_of_a_projection(
    header: dict[str, object], spacing: float | None, word: str | None
) -> None:
    stack = one("DX", **header)
    expected = None if spacing is None else pytest.approx((spacing, spacing))
    assert stack.spacing() == expected
    assert {AT_DETECTOR, NO_CALIBRATION} & set(stack.warnings) == ({word} if word else set())


def test_a_section_needs_no_calibration() -> None:
    assert {AT_DETECTOR, NO_CALIBRATION}.isdisjoint(one(PixelSpacing=[0.2, 0.2]).warnings)


def test_ultrasound_beside_a_curve() -> None:
    def region(unit: int, delta: float) -> Dataset:
        item = Dataset()
        item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = unit
        item.PhysicalDeltaX = item.PhysicalDeltaY = delta
        return item

    picture, curve = region(3, 0.02), region(4, 0.5)
    for regions, spacing, said in (
        ([picture], 0.2, False), ([picture, curve], 0.2, True),
        ([picture, region(3, 0.0200001)], 0.2, False), ([picture, region(3, 0.03)], None, False),
        ([curve], None, False),
    ):  # fmt: skip
        stack = one("US", SequenceOfUltrasoundRegions=Sequence(regions))
        known = stack.spacing()
        assert known == (None if spacing is None else pytest.approx((spacing, spacing), rel=1e-4))
        assert (OUTSIDE_REGION in stack.warnings) == said


def test_a_slope_that_cannot_be_used_gives_no_unit() -> None:
    sound = one(RescaleSlope=1, RescaleIntercept=-1024)
    assert sound.unit == "HU" and sound.values()[0, 0] == -1024
    broken = one(RescaleSlope=0, RescaleIntercept=-1024)
    assert broken.unit == "" and "rescale slope" in " ".join(broken.warnings)


def test_the_shape_is_known_without_pixels() -> None:
    for stack in (
        one(PixelSpacing=[1, 0.5]), one(PixelAspectRatio=[3, 1]), one(),
        open_stack([bytes(nifti(np.diag([2.0, 2, 3, 1])))]),
        open_stack(series(np.stack([RAMP] * 3), (0, 1, 0), (0, 0, -1), 2.5)),
    ):  # fmt: skip
        for plane in stack.planes:
            assert stack.shape(plane) == stack.values(plane).shape
    with pytest.raises(ValueError, match="no plane"):
        one().shape("axial")


def test_conformance_with_other_readers(packaged: Callable[[str], Path], tmp_path: Path) -> None:
    """`scripts/check_scans` on files of every coding at hand; a damaged one is no scan."""
    names = (
        "CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm",
        "SC_rgb_jpeg_dcmtk.dcm", "examples_palette.dcm", "rtplan.dcm",
    )  # fmt: skip
    for name in names:
        if packaged(name).is_file():
            (tmp_path / name).write_bytes(packaged(name).read_bytes())
    (tmp_path / "turned.nii").write_bytes(nifti(np.diag([-2.0, 2, 3, 1])))
    (tmp_path / "micron.nii").write_bytes(nifti(np.diag([2000.0, 2000, 3000, 1]), 3))
    command = [sys.executable, str(ROOT / "scripts" / "check_scans"), str(tmp_path), "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    counts = json.loads(run.stdout.splitlines()[-1])
    assert run.returncode == 0, run.stdout
    assert counts["differs"] == counts["refused"] == 0 and counts["no scan"] == 1
    assert counts["agrees"] == counts["files"] - 1 >= 10
    assert len(run.stdout.splitlines()) == counts["files"] + 1


def test_the_conformance_run_notices_a_difference(tmp_path: Path) -> None:
    loader = SourceFileLoader("check_scans", str(ROOT / "scripts" / "check_scans"))
    spec = spec_from_loader("check_scans", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules["check_scans"] = module  # its dataclass looks itself up
    loader.exec_module(module)
    # pydicom's own pipeline ignores High Bit, and RARL does not.
    path = tmp_path / "shifted.dcm"
    path.write_bytes(saved(drawn(RAMP << 4, BitsStored=12, HighBit=15)))
    verdict, details = module.check(path)
    assert verdict == "differs" and any("pydicom: values" in detail for detail in details)
    stack = one(PixelSpacing=[0.5, 0.5])
    right = module.Reading(RAMP[None], (0.5, 0.5))
    assert module.differences(stack, right) == []
    assert module.differences(stack, module.Reading(RAMP[None] + 2)) == ["values"]
    assert module.differences(stack, module.Reading(RAMP[None], (0.6, 0.5))) == ["spacing"]
    assert module.differences(stack, module.Reading(np.stack([RAMP, RAMP]))) == ["order"]
