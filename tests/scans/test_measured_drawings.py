"""What is measured on a picture agrees with a computation of its own on the stored pixels."""

from __future__ import annotations

import doctest
import math
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from drawn import drawn, saved, series
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

import rarl.records.measurement_words
import rarl.scans.measures
from rarl.errors import ScanError
from rarl.records import Measurement
from rarl.scans import Stack, open_stack
from rarl.scans.measures import (
    IN_PIXELS,
    NO_VALUES,
    OUTSIDE_REGIONS,
    SQUARE,
    angle_of,
    area_of,
    length_of,
    mask_of,
    measured,
    measurement,
)
from rarl.scans.scale import PIXELS, Scale, scale_at
from rarl.scans.spacing import AT_DETECTOR, NO_CALIBRATION, TWO_RATIOS

PIXEL_VALUES = np.random.default_rng(1).integers(-1000, 3000, (40, 60)).astype(np.int16)
HALF = Scale(0.5, 0.25)
coordinate = st.integers(0, 400).map(lambda tenth: tenth / 10)
point = st.tuples(coordinate, coordinate)


def header(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def numbers_of(told: tuple[Any, ...]) -> dict[str, tuple[float, str]]:
    return {one.quantity: (one.value, one.unit) for one in told}


def opened(values: np.ndarray | None = None, **more: Any) -> Stack:
    """A file as the app opens it."""
    return open_stack([saved(drawn(PIXEL_VALUES if values is None else values, **more))])


@pytest.mark.parametrize(
    "module", [rarl.scans.measures, rarl.records.measurement_words], ids=["measures", "words"]
)
def test_examples(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


# Spacing: PS3.3 10.7


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ()),
        ({"Modality": "CT", "PixelSpacing": [0.5, 0.25]}, (HALF,)),
        ({"Modality": "MR", "PixelAspectRatio": [2, 1]}, (Scale(2, 1, False, "unknown"),)),
        ({"Modality": "DX", "ImagerPixelSpacing": [0.5, 0.25]}, (Scale(0.5, 0.25, at="detector"),)),
        (
            {"Modality": "DX", "ImagerPixelSpacing": [0.5, 0.5], "PixelSpacing": [0.5, 0.5]},
            (Scale(0.5, 0.5, at="detector"),),
        ),
        (
            {"Modality": "DX", "ImagerPixelSpacing": [0.5, 0.5], "PixelSpacing": [0.4, 0.4]},
            (Scale(0.4, 0.4),),
        ),
        (
            {
                "Modality": "MG",
                "ImagerPixelSpacing": [0.2, 0.2],
                "EstimatedRadiographicMagnificationFactor": 2,
            },
            (Scale(0.1, 0.1),),
        ),
        ({"Modality": "CR", "PixelSpacing": [0.5, 0.5]}, (Scale(0.5, 0.5, at="unknown"),)),
        (
            {
                "Modality": "CR",
                "PixelSpacing": [0.5, 0.5],
                "PixelSpacingCalibrationType": "FIDUCIAL",
            },
            (Scale(0.5, 0.5),),
        ),
        ({"Modality": "CT", "PixelSpacing": [0, 0.25]}, ()),
    ],
    ids=[
        "nothing", "ct", "aspect", "imager", "same", "calibrated", "magnified", "unsure",
        "fiducial", "zero",
    ],
)  # fmt: skip
def test_which_spacing_counts(values: dict[str, Any], expected: tuple[Scale, ...]) -> None:
    assert opened(**{"Modality": "OT", **values}).scales() == expected


def region(left: int, right: int, units: int = 3, delta: float = 0.02) -> Dataset:
    return header(
        RegionLocationMinX0=left, RegionLocationMaxX1=right, RegionLocationMinY0=10,
        RegionLocationMaxY1=29, PhysicalUnitsXDirection=units, PhysicalUnitsYDirection=units,
        PhysicalDeltaX=delta, PhysicalDeltaY=-delta / 2,
    )  # fmt: skip


def ultrasound(*regions: Dataset) -> Stack:
    return opened(Modality="US", SequenceOfUltrasoundRegions=Sequence(regions))


def test_ultrasound_is_measured_within_its_regions() -> None:
    curve = region(40, 50, units=4)
    broken = header(PhysicalUnitsXDirection=3, PhysicalUnitsYDirection=3)
    stack = ultrasound(region(0, 19), region(20, 39, delta=0.04), curve, broken)
    left, right, other = stack.scales()
    assert (left.rows, left.columns, left.box) == (0.1, 0.2, (0, 10, 20, 30))
    assert (right.rows, right.columns, other.in_mm) == (0.2, 0.4, False)
    told, at = measured("ruler", ((2, 12), (12, 12)), (left, right))
    assert (told[0].value, told[0].unit, at) == (2.0, "mm", "patient")
    told, _ = measured("ruler", ((22, 12), (32, 12)), (left, right))
    assert told[0].value == 4.0
    for outside in (((2, 12), (32, 12)), ((2, 2), (12, 12)), ((42, 12), (48, 12))):
        told, at = measured("ruler", outside, (left, right))
        assert (told[0].unit, at) == ("px", "unknown")
    told, _ = measured("ellipse", ((2, 28), (12, 31)), (left, right))
    assert told[0].unit == "px2"
    outside = measurement(stack, "ruler", ((2, 12), (32, 12)))
    assert outside.notes == (OUTSIDE_REGIONS,) and outside.values[0].unit == "px"
    assert measurement(stack, "ruler", ((2, 12), (12, 12))).notes == ()
    assert ultrasound().scales() == ()


def test_where_ultrasound_regions_overlap_they_must_agree() -> None:
    inside = ((22, 12), (24, 12))
    same = ultrasound(region(0, 59), region(20, 39))
    assert measurement(same, "ruler", inside).values[0].unit == "mm"
    for other in (region(20, 39, delta=0.04), region(20, 39, units=4)):
        stack = ultrasound(region(0, 59), other)
        assert measurement(stack, "ruler", inside).notes == (OUTSIDE_REGIONS,)
        assert measurement(stack, "ruler", ((2, 12), (12, 12))).values[0].unit == "mm"


# Lengths, angles, areas


@given(point, point)
def test_lengths_agree_with_the_distance_of_physical_points(
    one: tuple[float, float], other: tuple[float, float]
) -> None:
    expected = np.linalg.norm((np.array(one) - other) * [0.25, 0.5])
    assert length_of((one, other), HALF) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert length_of((one, other)) == pytest.approx(math.dist(one, other))


@given(st.floats(1, 179), st.floats(0, 360), st.floats(1, 50))
def test_angles_are_those_that_were_drawn(drawn: float, turned: float, size: float) -> None:
    def end(direction: float) -> tuple[float, float]:
        radians = math.radians(direction)
        return (
            20 + size * math.cos(radians) / HALF.columns,
            20 + size * math.sin(radians) / HALF.rows,
        )

    points = (end(turned), (20.0, 20.0), end(turned + drawn))
    assert angle_of(points, HALF) == pytest.approx(drawn, rel=1e-6)


def test_only_the_ratio_of_pixels_counts_for_angles() -> None:
    points = ((10, 0), (0, 0), (10, 10))
    tall = Scale(2, 1, False, "unknown")
    assert angle_of(points, tall) == pytest.approx(math.degrees(math.atan(2)))
    assert numbers_of(measured("ruler", points[:2], (tall,))[0]) == {"length": (10, "px")}


def test_areas() -> None:
    corners = ((30, 20), (10, 12))  # in any order
    assert area_of("rectangle", corners, HALF) == pytest.approx(20 * 0.25 * 8 * 0.5)
    assert area_of("ellipse", corners, HALF) == pytest.approx(math.pi * 2.5 * 2)
    assert area_of("rectangle", corners) == 160
    assert area_of("ellipse", corners, Scale(2, 1, False)) == pytest.approx(math.pi * 40)


# Statistics


def inside(kind: str, left: float, top: float, right: float, bottom: float) -> list[int]:
    """The stored values one by one, as slowly and as plainly as can be."""
    found = []
    for row in range(PIXEL_VALUES.shape[0]):
        for column in range(PIXEL_VALUES.shape[1]):
            across, down = column + 0.5, row + 0.5
            if kind == "rectangle":
                holds = left <= across < right and top <= down < bottom
            else:
                x = (across - (left + right) / 2) / ((right - left) / 2)
                y = (down - (top + bottom) / 2) / ((bottom - top) / 2)
                holds = x * x + y * y <= 1
            if holds:
                found.append(int(PIXEL_VALUES[row, column]))
    return found


@pytest.mark.parametrize("kind", ["rectangle", "ellipse"])
@pytest.mark.parametrize(
    "box", [(3, 4, 21, 17), (0.3, 0.7, 59.9, 39.2), (50, 30, 90, 80), (10.2, 10.2, 12.8, 12.8)]
)
def test_statistics_agree_with_the_stored_pixels(
    kind: Any, box: tuple[float, float, float, float]
) -> None:
    left, top, right, bottom = box
    told, _ = measured(kind, ((left, bottom), (right, top)), (HALF,), PIXEL_VALUES, "HU")
    expected = inside(kind, *box)
    values = numbers_of(told)
    mean = sum(expected) / len(expected)
    spread = math.sqrt(sum((one - mean) ** 2 for one in expected) / len(expected))
    assert values["mean"] == (pytest.approx(mean, rel=1e-9), "HU")
    assert values["sd"] == (pytest.approx(spread, rel=1e-9, abs=1e-9), "HU")
    assert (values["minimum"][0], values["maximum"][0]) == (min(expected), max(expected))
    assert values["area"][1] == "mm2"


def test_hounsfield_units_only_where_the_file_gives_them() -> None:
    corners = ((3, 3), (9, 9))
    assert {one.unit for one in measured("ellipse", corners, (), PIXEL_VALUES)[0]} == {
        "px2", "stored",
    }  # fmt: skip
    colour = np.zeros((40, 60, 3), np.uint8)
    assert set(numbers_of(measured("ellipse", corners, (), colour)[0])) == {"area"}
    assert set(numbers_of(measured("ellipse", corners)[0])) == {"area"}


def test_values_that_are_no_numbers_are_left_out() -> None:
    values = np.full((4, 4), np.nan)
    values[1, 1] = 7
    told = numbers_of(measured("rectangle", ((0, 0), (4, 4)), (), values)[0])
    assert told["mean"][0] == told["maximum"][0] == 7 and told["sd"][0] == 0
    values[1, 1] = np.inf
    with pytest.raises(ScanError, match="no pixel within"):
        measured("rectangle", ((0, 0), (4, 4)), (), values)


def test_a_real_ct_slice() -> None:
    path = pydicom.data.get_testdata_file("CT_small.dcm")
    dataset = pydicom.dcmread(path)
    stored = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    stack = open_stack([Path(path).read_bytes()])
    made = measurement(stack, "rectangle", ((20, 30), (40, 50)))
    told = numbers_of(made.values)
    expected = stored[30:50, 20:40]
    assert told["mean"] == (pytest.approx(expected.mean(), rel=1e-3), "HU")
    assert told["sd"][0] == pytest.approx(expected.std(), rel=1e-3)
    side = 20 * float(dataset.PixelSpacing[0])
    assert told["area"] == (pytest.approx(side * side, rel=1e-3), "mm2")
    assert (made.size, made.number, made.at, made.notes) == ((128, 128), 0, "patient", ())


# The record, on pictures of each kind


def test_the_record() -> None:
    stack = opened(Modality="DX", ImagerPixelSpacing=[1, 1])
    made = measurement(stack, "ruler", ((1, 2), (4, 6)), series=1, key="0" * 32, label="A")
    assert (made.series, made.at, made.label, made.key) == (1, "detector", "A", "0" * 32)
    assert made.values[0].value == 5.0 and Measurement.checked(**made.plain()) == made
    assert made.notes == (AT_DETECTOR,)


@pytest.mark.parametrize(
    ("kind", "values", "notes"),
    [
        ("ruler", {}, (IN_PIXELS,)),
        ("angle", {}, (SQUARE,)),
        ("ruler", {"PixelAspectRatio": [2, 1]}, (IN_PIXELS,)),
        ("angle", {"PixelAspectRatio": [2, 1]}, ()),
        ("ruler", {"Modality": "CR", "PixelSpacing": [1, 1]}, (NO_CALIBRATION,)),
        ("angle", {"Modality": "CR", "PixelSpacing": [1, 1]}, ()),
        ("ruler", {"PixelSpacing": [1, 1], "PixelAspectRatio": [2, 1]}, (TWO_RATIOS,)),
        ("ellipse", {"PixelSpacing": [1, 1]}, ()),
    ],
    ids=["pixels", "angle", "ratio", "ratio-angle", "unsure", "unsure-angle", "two", "known"],
)
def test_what_limits_a_number_is_said(kind: Any, values: dict[str, Any], notes: Any) -> None:
    points = ((1, 1), (9, 9), (9, 1)) if kind == "angle" else ((1, 1), (9, 9))
    assert measurement(opened(**values), kind, points).notes == notes


def test_pixels_that_are_not_square_are_measured_as_they_are_stored() -> None:
    stack = opened(PixelSpacing=[0.5, 0.25])
    assert stack.shape() == (80, 60) and stack.stored_shape() == (40, 60)
    made = measurement(stack, "rectangle", ((3, 4), (21, 17)))
    told = numbers_of(made.values)
    assert told["mean"][0] == pytest.approx(PIXEL_VALUES[4:17, 3:21].mean())
    assert told["area"] == (pytest.approx(18 * 0.25 * 13 * 0.5), "mm2")
    assert made.size == (40, 60)


def test_a_colour_picture_has_an_area_alone() -> None:
    colour = np.zeros((40, 60, 3), np.uint8)
    colour[:, 30:] = 200
    picture = drawn(colour, PhotometricInterpretation="RGB", SamplesPerPixel=3, BitsAllocated=8,
                    BitsStored=8, HighBit=7, PlanarConfiguration=0, Rows=40,
                    Columns=60)  # fmt: skip
    made = measurement(open_stack([saved(picture)]), "ellipse", ((3, 3), (9, 9)))
    assert [value.quantity for value in made.values] == ["area"]
    assert made.notes == (IN_PIXELS, NO_VALUES)


def test_a_four_dimensional_volume() -> None:
    nibabel = pytest.importorskip("nibabel")
    cells = np.random.default_rng(2).integers(0, 900, (12, 10, 6, 3)).astype(np.int16)
    image = nibabel.Nifti1Image(cells, np.diag([-2.0, -3.0, 4.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    stack = open_stack([image.to_bytes()])
    assert stack.planes == ("axial", "coronal", "sagittal") and stack.times == 3
    made = measurement(stack, "rectangle", ((2, 1), (7, 6)), plane="axial", frame=4, time=2)
    told = numbers_of(made.values)
    assert told["mean"] == (pytest.approx(cells[2:7, 1:6, 4, 2].mean()), "stored")
    assert told["area"] == (pytest.approx(5 * 2 * 5 * 3), "mm2")
    assert (made.slice, made.frame, made.plane, made.number) == (4, 2, "axial", None)
    upright = measurement(stack, "ruler", ((2, 1), (2, 5)), plane="sagittal", frame=3)
    assert upright.values[0].value == pytest.approx(4 * 4)


def test_a_plane_that_was_computed_says_what_it_was_computed_from() -> None:
    volume = np.random.default_rng(3).integers(0, 900, (5, 16, 14)).astype(np.int16)
    stack = open_stack(series(volume, (1, 0, 0), (0, 1, 0), step=5.0))
    made = measurement(stack, "ruler", ((2, 1), (2, 4)), plane="coronal", frame=3)
    assert made.values[0].value == pytest.approx(15)
    assert made.number is None and "slices 5 mm apart" in made.notes[0]
    assert measurement(stack, "ruler", ((2, 1), (2, 4)), frame=3).notes == ()


def test_a_frame_is_named_by_its_number_in_the_file() -> None:
    values = np.zeros((3, 40, 60), np.int16)
    values[2] = 500
    stack = opened(values, NumberOfFrames=3, FrameTime=10.0, Rows=40, Columns=60)
    made = measurement(stack, "rectangle", ((2, 2), (9, 9)), frame=2)
    assert (made.slice, made.number) == (2, 3) and numbers_of(made.values)["mean"][0] == 500


def test_scale_at() -> None:
    assert scale_at([(1, 1)], ()) == PIXELS
    assert scale_at([(1, 1)], (Scale(1, 1, box=(2, 2, 3, 3)), HALF)) == HALF


@pytest.mark.parametrize(
    ("kind", "points", "sentence"),
    [
        ("ruler", ((1, 1),), "takes 2 points"),
        ("angle", ((1, 1), (2, 2)), "takes 3 points"),
        ("ruler", ((1, 1), (math.nan, 2)), "takes 2 points"),
        ("ruler", ((1, 1), (1, 1)), "at one place"),
        ("angle", ((1, 1), (1, 1), (2, 2)), "at one place"),
        ("rectangle", ((1, 1), (1, 5)), "at one place"),
        ("ellipse", ((1, 1), (5, 1)), "at one place"),
    ],
    ids=["one", "two", "nan", "ruler", "angle", "rectangle", "ellipse"],
)
def test_what_cannot_be_measured(kind: Any, points: Any, sentence: str) -> None:
    with pytest.raises(ScanError, match=sentence):
        measured(kind, points)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"plane": "oblique"}, "no plane oblique; choose from acquired"),
        ({"frame": 1}, "no slice 2; choose from 1 to 1"),
        ({"frame": -1}, "no slice 0"),
        ({"time": 3}, "no frame 4"),
        ({"points": ((1, 1), (61, 1))}, "outside of the picture of 60 by 40"),
        ({"points": ((-1, 1), (6, 1))}, "outside of the picture"),
    ],
    ids=["plane", "slice", "before", "frame", "right", "left"],
)
def test_where_nothing_can_be_measured(more: dict[str, Any], sentence: str) -> None:
    points = more.pop("points", ((1, 1), (5, 5)))
    with pytest.raises(ScanError, match=sentence):
        measurement(opened(), "ruler", points, **more)


def test_nothing_lies_within() -> None:
    with pytest.raises(ScanError, match="no pixel within"):
        measured("ellipse", ((1.6, 1.6), (2.4, 2.4)), (), PIXEL_VALUES)
    assert not mask_of("rectangle", ((100, 100), (200, 200)), (40, 60)).any()
