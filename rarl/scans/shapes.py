"""Measurements for programs: shapes in, numbers with their units and what limits them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from rarl.errors import ScanError
from rarl.records import Measurement, Record, explained
from rarl.records.measurement_words import measurement_sentence
from rarl.records.report import Kind, Point, Title
from rarl.scans.measures import measurement
from rarl.scans.stack import Stack

MOST_SHAPES = 100


class Shape(Record):
    """What is to be measured. Slices and frames count from 1, as the viewer shows them."""

    kind: Kind = Field(description="ruler, angle, rectangle or ellipse.")
    points: tuple[Point, ...] = Field(
        description="Column and row in pixels of the stored picture, from its upper left corner: "
        "two ends of a ruler; end, corner and end of an angle; two opposite corners of a "
        "rectangle, or of the box around an ellipse."
    )
    plane: Literal["", "acquired", "axial", "coronal", "sagittal"] = Field(
        default="", description="As the viewer names it; empty for the first that the scan has."
    )
    slice: int = Field(default=1, description="Within the plane, from 1.")
    frame: int = Field(default=1, description="Time point of a 4-D volume, from 1.")
    label: Title = Field(default="", description="What is measured, in words that name nobody.")

    @model_validator(mode="before")
    @classmethod
    def _names_a_shape(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not {"kind", "points"} <= given.keys():
            raise ValueError(
                "A shape is an object with a kind and points, such as "
                '{"kind": "ruler", "points": [[10, 10], [40, 50]]}.'
            )
        return given


def measure_shapes(stack: Stack, shapes: Sequence[object], series: int = 0) -> list[dict[str, Any]]:
    """Measure shapes on a scan.

    Args:
        stack: that was opened.
        shapes: objects as `Shape` describes them, as a program sends them.
        series: of the opened files, from 0.

    Returns:
        For each the shape as it was understood, `values` with `quantity`, `value` and `unit`, `at`
        (patient, detector or unknown), `notes`, and `text`, all of it as a sentence.

    Raises:
        ScanError: a shape cannot be measured; of several, the sentence says which.
    """
    if not 1 <= len(shapes) <= MOST_SHAPES:
        raise ScanError(f"Give 1 to {MOST_SHAPES} shapes to measure.")
    measured = []
    for number, given in enumerate(shapes, 1):
        try:
            measured.append(_measured(stack, Shape.model_validate(given), series))
        except (ValidationError, ScanError) as error:
            sentence = explained(error) if isinstance(error, ValidationError) else str(error)
            which = f"Shape {number} of {len(shapes)}: " if len(shapes) > 1 else ""
            raise ScanError(f"{which}{sentence}") from None
    return measured


def _measured(stack: Stack, shape: Shape, series: int) -> dict[str, Any]:
    made: Measurement = measurement(
        stack,
        shape.kind,
        shape.points,
        plane=shape.plane or stack.planes[0],
        frame=shape.slice - 1,
        time=shape.frame - 1,
        series=series,
        label=shape.label,
    )
    return {
        "kind": made.kind,
        "points": [list(point) for point in made.points],
        "plane": made.plane,
        "slice": made.slice + 1,
        "frame": made.frame + 1,
        "label": made.label,
        "values": [value.plain() for value in made.values],
        "at": made.at,
        "notes": list(made.notes),
        "text": measurement_sentence(made),
    }
