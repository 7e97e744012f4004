"""What is measured on a picture agrees with a computation of its own on the stored pixels."""

from __future__ import annotations

import doctest
import math
from typing import Any

import numpy as np
import pydicom.data
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

import rarl.scans.measures
from rarl.errors import ScanError
from rarl.records import Measurement
from rarl.scans.measures import (
    PIXELS,
    Scale,
    angle_of,
    area_of,
    length_of,
    mask_of,
    measured,
    measurement,
    scale_at,
    scales_of,
)

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


def test_examples() -> None:
    assert doctest.testmod(rarl.scans.measures).failed == 0


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
    assert scales_of(header(**values)) == expected


def region(left: int, right: int, units: int = 3, delta: float = 0.02) -> Dataset:
    return header(
        RegionLocationMinX0=left, RegionLocationMaxX1=right, RegionLocationMinY0=10,
        RegionLocationMaxY1=29, PhysicalUnitsXDirection=units, PhysicalUnitsYDirection=units,
        PhysicalDeltaX=delta, PhysicalDeltaY=-delta / 2,
    )  # fmt: skip


def test_ultrasound_is_measured_within_its_regions() -> None:
    curve = region(40, 50, units=4)
    broken = header(PhysicalUnitsXDirection=3, PhysicalUnitsYDirection=3)
    regions = Sequence([region(0, 19), region(20, 39, delta=0.04), curve, broken])
    dataset = header(Modality="US", SequenceOfUltrasoundRegions=regions)
    left, right = scales_of(dataset)
    assert (left.rows, left.columns, left.box) == (0.1, 0.2, (0, 10, 20, 30))
    assert (right.rows, right.columns) == (0.2, 0.4)
    told, at = measured("ruler", ((2, 12), (12, 12)), (left, right))
    assert (told[0].value, told[0].unit, at) == (2.0, "mm", "patient")
    told, _ = measured("ruler", ((22, 12), (32, 12)), (left, right))
    assert told[0].value == 4.0
    for outside in (((2, 12), (32, 12)), ((2, 2), (12, 12)), ((42, 12), (48, 12))):
        told, at = measured("ruler", outside, (left, right))
        assert (told[0].unit, at) == ("px", "unknown")
    told, _ = measured("ellipse", ((2, 28), (12, 31)), (left, right))
    assert told[0].unit == "px2"
    assert scales_of(header(Modality="US", SequenceOfUltrasoundRegions=Sequence())) == ()


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
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    stored = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    (scale,) = scales_of(dataset)
    told = numbers_of(measured("rectangle", ((20, 30), (40, 50)), (scale,), stored, "HU")[0])
    expected = stored[30:50, 20:40]
    assert told["mean"][0] == pytest.approx(expected.mean(), rel=1e-3)
    assert told["sd"][0] == pytest.approx(expected.std(), rel=1e-3)
    side = 20 * float(dataset.PixelSpacing[0])
    assert told["area"] == (pytest.approx(side * side, rel=1e-3), "mm2")


# The record, and bad input


def test_the_record() -> None:
    made = measurement(
        "ruler", ((1, 2), (4, 6)), (Scale(1, 1, at="detector"),), slice_index=3, frame=2, label="A"
    )
    assert (made.slice, made.frame, made.at, made.label) == (3, 2, "detector", "A")
    assert made.values[0].value == 5.0 and Measurement.checked(**made.plain()) == made


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


def test_nothing_lies_within() -> None:
    with pytest.raises(ScanError, match="no pixel within"):
        measured("ellipse", ((1.6, 1.6), (2.4, 2.4)), (), PIXEL_VALUES)
    assert not mask_of("rectangle", ((100, 100), (200, 200)), (40, 60)).any()
