"""Lengths, angles, areas and statistics of what is drawn on a picture.

Points are (column, row) in pixels of the stored picture; 0, 0 is the upper left corner of its first
pixel, so that the centre of that pixel is 0.5, 0.5 (PS3.3 C.18.6.1.1). Lengths are in millimetres
only where the file states a spacing that holds at every point, and in pixels otherwise. All of it
lies within one plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, degrees, hypot, pi

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from rarl.errors import ScanError
from rarl.records.report import Kind, MeasuredValue, Measurement, Point, Unit, Where
from rarl.scans.header_allowlist import numbers, optional
from rarl.scans.spacing import AT_DETECTOR, NO_CALIBRATION, spacing_of

Values = npt.NDArray[np.generic]
Mask = npt.NDArray[np.bool_]

_PER_CM = 3
_MOST_REGIONS = 100


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a pixel, in the whole picture or in a part of it.

    Attributes:
        rows: distance between the centres of two rows.
        columns: distance between the centres of two columns.
        in_mm: whether these are millimetres; otherwise only their ratio counts.
        at: where millimetres are measured.
        box: left, top, right and bottom edge in pixels of the part where it holds; None for all.
    """

    rows: float
    columns: float
    in_mm: bool = True
    at: Where = "patient"
    box: tuple[float, float, float, float] | None = None

    def holds_at(self, point: Point) -> bool:
        """Whether a point lies where this is the size of a pixel."""
        if self.box is None:
            return True
        left, top, right, bottom = self.box
        return left <= point[0] <= right and top <= point[1] <= bottom


PIXELS = Scale(1.0, 1.0, in_mm=False, at="unknown")
"""Where the file says nothing of the size of a pixel."""


def scales_of(dataset: Dataset) -> tuple[Scale, ...]:
    """The sizes of pixels that a file states.

    An ultrasound picture has one for each region that is measured in centimetres both ways (PS3.3
    C.8.5.5), and none between them. Otherwise PS3.3 10.7 decides, see `spacing_of`.

    Args:
        dataset: the header of a single image.

    Returns:
        None, one, or one for each region.
    """
    if optional(dataset, "SequenceOfUltrasoundRegions") is not None:
        return _regions(dataset)
    given = numbers(optional(dataset, "PixelSpacing"))
    detector = numbers(optional(dataset, "ImagerPixelSpacing"))
    spacing = spacing_of(dataset, given, detector)
    if spacing.lengths is not None:
        at: dict[str, Where] = {AT_DETECTOR: "detector", NO_CALIBRATION: "unknown"}
        rows, columns = spacing.lengths
        return (Scale(rows, columns, at=at.get(spacing.warning, "patient")),)
    if spacing.aspect is not None:
        rows, columns = spacing.aspect
        return (Scale(rows, columns, in_mm=False, at="unknown"),)
    return ()


def scale_at(points: Sequence[Point], scales: Sequence[Scale]) -> Scale:
    """The scale that holds at all points; `PIXELS` where none does."""
    matching = (scale for scale in scales if all(map(scale.holds_at, points)))
    return next(matching, PIXELS)


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
    kind: Kind,
    points: Sequence[Point],
    scales: Sequence[Scale] = (),
    values: Values | None = None,
    unit: str = "",
    *,
    series: int = 0,
    slice_index: int = 0,
    frame: int = 0,
    label: str = "",
) -> Measurement:
    """The same as a record, on the acquired plane.

    Args:
        kind: as for `measured`, and so are the next four.
        points: what is drawn.
        scales: of the picture.
        values: of the picture.
        unit: of the values.
        series: of the opened files, from 0.
        slice_index: from 0.
        frame: of a 4-D volume or a cine, from 0.
        label: as typed.

    Raises:
        ScanError: as for `measured`.
    """
    measured_values, where = measured(kind, points, scales, values, unit)
    return Measurement(
        kind=kind,
        points=tuple(points),
        series=series,
        slice=slice_index,
        frame=frame,
        values=measured_values,
        at=where,
        label=label,
    )


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


def _regions(dataset: Dataset) -> tuple[Scale, ...]:
    """The regions of an ultrasound picture that are measured in centimetres both ways."""
    scales = []
    for region in dataset.SequenceOfUltrasoundRegions[:_MOST_REGIONS]:
        units = {optional(region, f"PhysicalUnits{axis}Direction") for axis in ("X", "Y")}
        lengths = [numbers(optional(region, f"PhysicalDelta{axis}")) for axis in ("Y", "X")]
        edges = [
            numbers(optional(region, f"RegionLocation{edge}"))
            for edge in ("MinX0", "MinY0", "MaxX1", "MaxY1")
        ]
        if units != {_PER_CM} or not all([*lengths, *edges]):
            continue
        rows, columns = (abs(length[0]) * 10 for length in lengths)
        left, top, right, bottom = (edge[0] for edge in edges)
        if rows and columns and left <= right and top <= bottom:
            # The last column and row belong to the region.
            scales.append(Scale(rows, columns, box=(left, top, right + 1, bottom + 1)))
    return tuple(scales)
