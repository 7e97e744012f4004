"""`Scale`: the size of a pixel, in a whole picture or in a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from rarl.scans.header_allowlist import numbers, optional

if TYPE_CHECKING:  # the decoder process needs no records
    from rarl.records.report import Point, Where

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

    def agrees_with(self, other: Scale) -> bool:
        """Whether both measure alike."""
        mine, theirs = (self.rows, self.columns), (other.rows, other.columns)
        near = all(abs(a - b) <= 1e-3 * max(a, b) for a, b in zip(mine, theirs, strict=True))
        return near and self.in_mm == other.in_mm


PIXELS = Scale(1.0, 1.0, in_mm=False, at="unknown")
"""Where the file says nothing of the size of a pixel."""


def scale_at(points: Sequence[Point], scales: Sequence[Scale]) -> Scale:
    """The scale that holds at all points.

    `PIXELS` where none does, and where parts of the picture overlap that measure differently.
    """
    chosen = next((scale for scale in scales if all(map(scale.holds_at, points))), PIXELS)
    others = [scale for scale in scales if any(map(scale.holds_at, points))]
    return chosen if all(map(chosen.agrees_with, others)) else PIXELS


def regions_of(dataset: Dataset) -> tuple[Scale, ...]:
    """The regions of an ultrasound picture (PS3.3 C.8.5.5).

    One that is measured in centimetres both ways gives millimetres; others, such as curves, give
    none, and neither does the rest of the picture.

    Args:
        dataset: the header.

    Returns:
        One for each region whose place is stated; none where the file has no regions.
    """
    scales = []
    for region in (optional(dataset, "SequenceOfUltrasoundRegions") or ())[:_MOST_REGIONS]:
        edges = [
            numbers(optional(region, f"RegionLocation{edge}"))
            for edge in ("MinX0", "MinY0", "MaxX1", "MaxY1")
        ]
        if not all(edges):
            continue
        left, top, right, bottom = (edge[0] for edge in edges)
        # The last column and row belong to the region.
        box = (left, top, right + 1, bottom + 1)
        units = {optional(region, f"PhysicalUnits{axis}Direction") for axis in ("X", "Y")}
        lengths = [numbers(optional(region, f"PhysicalDelta{axis}")) for axis in ("Y", "X")]
        rows, columns = (abs(length[0]) * 10 if length else 0.0 for length in lengths)
        if units == {_PER_CM} and rows and columns:
            scales.append(Scale(rows, columns, box=box))
        else:
            scales.append(Scale(1.0, 1.0, in_mm=False, at="unknown", box=box))
    return tuple(scales)
