"""Lengths, angles, areas and statistics of what is drawn on a picture.

Points are (column, row) in pixels of the stored picture; 0, 0 is the upper left corner of its first
pixel, so that the centre of that pixel is 0.5, 0.5 (PS3.3 C.18.6.1.1). Lengths are in millimetres
only where the file states a spacing that holds at every point, and in pixels otherwise. All of it
lies within one plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import atan2, degrees, hypot, pi

import numpy as np
import numpy.typing as npt

from rarl.errors import ScanError
from rarl.records.report import Kind, MeasuredValue, Measurement, Point, Unit, Where
from rarl.scans.scale import PIXELS, Scale, scale_at
from rarl.scans.spacing import AT_DETECTOR, NO_CALIBRATION, TWO_RATIOS
from rarl.scans.stack import ACQUIRED, Stack

Values = npt.NDArray[np.generic]
Mask = npt.NDArray[np.bool_]

IN_PIXELS = "The file states no pixel spacing: lengths and areas are in pixels."
OUTSIDE_REGIONS = (
    "The drawing does not lie within one calibrated part of the ultrasound picture: lengths and "
    "areas are in pixels."
)
SQUARE = "The file states no size of a pixel here: the angle is right if pixels are square."
NO_VALUES = "The picture is in colour: it has no values to average."
_MOST_TEXT = 80


def measured(
    kind: Kind,
    points: Sequence[Point],
    scales: Sequence[Scale] = (),
    values: Values | None = None,
    unit: str = "",
) -> tuple[tuple[MeasuredValue, ...], Where]:
    """What a ruler, an angle, a rectangle or an ellipse measures.

    A ruler has its length; an angle has that at its middle point, 0 to 180 degrees; a rectangle and
    an ellipse have an area and, of the pixels whose centre lies in it, mean, standard deviation (of
    these pixels themselves, divided by their number), minimum and maximum.

    Args:
        kind: what is drawn.
        points: two ends; end, corner and end; or two opposite corners of the rectangle or of the
            box around the ellipse.
        scales: of the picture, see `scales_of`.
        values: of the picture, (rows, columns), after the modality LUT where there is one; None or
            a colour picture, (rows, columns, 3), has no statistics.
        unit: of the values, such as "HU" or "".

    Returns:
        The numbers, and where lengths and areas among them are measured.

    Raises:
        ScanError: the points are too few or too many, two of them are one, or there is nothing in
            between.
    """
    _check(kind, points)
    scale = scale_at(_outline(kind, points), scales)
    if kind == "angle":
        return (_value("angle", angle_of(points, scale), "deg"),), "unknown"
    where = scale.at if scale.in_mm else "unknown"
    if kind == "ruler":
        return (_value("length", length_of(points, scale), "mm" if scale.in_mm else "px"),), where
    area = _value("area", area_of(kind, points, scale), "mm2" if scale.in_mm else "px2")
    if values is None or values.ndim != 2:
        return (area,), where
    return (area, *_statistics(kind, points, values, "HU" if unit == "HU" else "stored")), where


def measurement(
    stack: Stack,
    kind: Kind,
    points: Sequence[Point],
    *,
    plane: str = ACQUIRED,
    frame: int = 0,
    time: int = 0,
    series: int = 0,
    key: str = "",
    label: str = "",
) -> Measurement:
    """Measure on a picture of a stack.

    Args:
        stack: that was opened.
        kind: as for `measured`.
        points: within the picture, see `Stack.stored`.
        plane: one of `Stack.planes`.
        frame: index within the plane, from 0.
        time: index of the time point, from 0.
        series: of the opened files, from 0.
        key: 32 hex digits; new where "".
        label: as typed.

    Raises:
        ScanError: there is no such picture, the drawing leaves it, or as for `measured`.
    """
    if plane not in stack.planes and plane != ACQUIRED:
        raise ScanError(f"There is no plane {plane[:_MOST_TEXT]}; choose from "
                        f"{', '.join(stack.planes)}.")  # fmt: skip
    for what, index, count in (("slice", frame, stack.frames(plane)), ("frame", time, stack.times)):
        if not 0 <= index < count:
            raise ScanError(f"There is no {what} {index + 1}; choose from 1 to {count}.")
    size = stack.stored_shape(plane, frame, time)
    _check(kind, points)
    if not all(0 <= x <= size[1] and 0 <= y <= size[0] for x, y in points):
        raise ScanError(
            f"A point lies outside of the picture of {size[1]} by {size[0]} pixels; draw within it."
        )
    scales = stack.scales(plane, frame, time)
    values = None if kind in ("ruler", "angle") else stack.stored(plane, frame, time)
    measured_values, where = measured(kind, points, scales, values, stack.unit)
    return Measurement.checked(
        **({"key": key} if key else {}),
        kind=kind,
        points=tuple(points),
        series=series,
        plane=plane,
        slice=frame,
        frame=time,
        values=measured_values,
        at=where,
        label=label,
        notes=tuple(_notes(stack, kind, points, plane, scales)),
        size=size,
        number=stack.number(plane, frame, time),
    )


def _notes(
    stack: Stack, kind: Kind, points: Sequence[Point], plane: str, scales: Sequence[Scale]
) -> list[str]:
    """What limits the numbers."""
    scale = scale_at(_outline(kind, points), scales)
    notes = []
    if kind == "angle":
        notes += [SQUARE] if scale == PIXELS else []
    elif not scale.in_mm:
        notes.append(OUTSIDE_REGIONS if any(one.box for one in scales) else IN_PIXELS)
    elif scale.at != "patient":
        notes.append(AT_DETECTOR if scale.at == "detector" else NO_CALIBRATION)
    notes += [sentence for sentence in stack.warnings if sentence == TWO_RATIOS and scale.in_mm]
    step = stack.step(stack.planes[0])
    if plane != ACQUIRED and step is not None and stack.format == "dicom":
        notes.append(
            f"The plane was computed from slices {step:.3g} mm apart: nothing finer is known "
            "across them."
        )
    if kind in ("rectangle", "ellipse"):
        if stack.color:
            notes.append(NO_VALUES)
        elif stack.unit not in ("", "HU"):
            notes.append(f"The values are in {stack.unit}.")
    return notes


def length_of(points: Sequence[Point], scale: Scale = PIXELS) -> float:
    """The distance between two points, in millimetres or in pixels.

    >>> length_of(((0, 0), (3, 4)))
    5.0
    >>> length_of(((0, 0), (3, 4)), Scale(rows=0.5, columns=2.0))
    6.324555320336759
    """
    (left, top), (right, bottom) = points
    rows, columns = (scale.rows, scale.columns) if scale.in_mm else (1.0, 1.0)
    return hypot((right - left) * columns, (bottom - top) * rows)


def angle_of(points: Sequence[Point], scale: Scale = PIXELS) -> float:
    """The angle at the middle one of three points, in degrees; only the pixels' ratio counts.

    >>> angle_of(((1, 0), (0, 0), (0, 1)))
    90.0
    """
    end, corner, other = points

    def direction(point: Point) -> tuple[float, float]:
        return (point[0] - corner[0]) * scale.columns, (point[1] - corner[1]) * scale.rows

    (across, down), (other_across, other_down) = direction(end), direction(other)
    turned = across * other_down - down * other_across
    along = across * other_across + down * other_down
    return degrees(atan2(abs(turned), along))


def area_of(kind: Kind, points: Sequence[Point], scale: Scale = PIXELS) -> float:
    """The area of a rectangle or an ellipse, in square millimetres or in square pixels.

    >>> area_of("rectangle", ((0, 0), (3, 4)), Scale(rows=0.5, columns=0.5))
    3.0
    """
    left, top, right, bottom = _box(points)
    rows, columns = (scale.rows, scale.columns) if scale.in_mm else (1.0, 1.0)
    area = (right - left) * columns * (bottom - top) * rows
    return area if kind == "rectangle" else area * pi / 4


def mask_of(kind: Kind, points: Sequence[Point], shape: tuple[int, int]) -> Mask:
    """The pixels whose centre lies in a rectangle or an ellipse.

    Args:
        kind: rectangle or ellipse.
        points: two opposite corners of it or of its box.
        shape: rows and columns of the picture.

    Returns:
        (rows, columns), true inside.
    """
    left, top, right, bottom = _box(points)
    across = np.arange(shape[1]) + 0.5
    down = (np.arange(shape[0]) + 0.5)[:, None]
    if kind == "rectangle":
        return (across >= left) & (across < right) & (down >= top) & (down < bottom)
    middle, centre = (left + right) / 2, (top + bottom) / 2
    wide, high = (right - left) / 2, (bottom - top) / 2
    inside: Mask = ((across - middle) / wide) ** 2 + ((down - centre) / high) ** 2 <= 1
    return inside


def _statistics(
    kind: Kind, points: Sequence[Point], values: Values, unit: Unit
) -> tuple[MeasuredValue, ...]:
    rows, columns = values.shape
    chosen = values[mask_of(kind, points, (rows, columns))].astype(np.float64)
    chosen = chosen[np.isfinite(chosen)]
    if not chosen.size:
        raise ScanError("There is no pixel within what was drawn; draw it larger.")
    return (
        _value("mean", float(chosen.mean()), unit),
        _value("sd", float(chosen.std()), unit),
        _value("minimum", float(chosen.min()), unit),
        _value("maximum", float(chosen.max()), unit),
    )


def _value(quantity: str, number: float, unit: Unit) -> MeasuredValue:
    return MeasuredValue.model_validate({"quantity": quantity, "value": number, "unit": unit})


def _check(kind: Kind, points: Sequence[Point]) -> None:
    wanted = 3 if kind == "angle" else 2
    if len(points) != wanted or not np.isfinite(points).all():
        raise ScanError(f"A measurement of kind {kind} takes {wanted} points; draw it again.")
    left, top, right, bottom = _box(points)
    flat = kind in ("rectangle", "ellipse") and (left == right or top == bottom)
    arms = [points[0], points[1]] if wanted == 2 else [points[0], points[2]]
    if flat or (wanted == 2 and arms[0] == arms[1]) or (wanted == 3 and points[1] in arms):
        raise ScanError("Two of the points are at one place; draw it again.")


def _outline(kind: Kind, points: Sequence[Point]) -> list[Point]:
    """Points that are all where a scale holds, if the whole drawing is."""
    if kind in ("ruler", "angle"):
        return list(points)
    left, top, right, bottom = _box(points)
    return [(left, top), (right, bottom)]


def _box(points: Sequence[Point]) -> tuple[float, float, float, float]:
    across, down = [point[0] for point in points], [point[1] for point in points]
    return min(across), min(down), max(across), max(down)
