"""Measure what is drawn in the viewer. Every number is computed here, from the stored pixels."""

from __future__ import annotations

import re
from typing import Any, cast

from demo.services.volumes import Volume
from rarl.errors import ScanError
from rarl.records import Measurement
from rarl.records.measurement_words import (
    measurement_sentence,
    place_text,
    short_lines,
    values_text,
)
from rarl.records.report import Kind, Point
from rarl.scans.measures import measurement

_MOST_DRAWINGS = 100
_KINDS = ("ruler", "angle", "rectangle", "ellipse")
_KEY = re.compile(r"[0-9a-f]{32}")


def take_drawings(volume: Volume, given: object) -> list[dict[str, Any]]:
    """Measure everything that the page has drawn on a scan, and keep it with the scan.

    Args:
        volume: the scan; its measurements are replaced.
        given: `[{key, kind, points, plane, slice, frame}]` as the page sends it, with points in
            pixels of the stored picture; anything may stand in it, since it comes from outside.

    Returns:
        What `drawing_spec` gives for each; `{key, trouble}`, a sentence, for one that cannot be
        measured and is not kept.

    Raises:
        ScanError: the scan cannot be read.
        ValueError: what is given is no list of drawings.
    """
    if not isinstance(given, list) or len(given) > _MOST_DRAWINGS:
        raise ValueError("no list of drawings")
    drawings = [_drawing(entry) for entry in given]
    if len({drawing["key"] for drawing in drawings}) < len(drawings):
        raise ValueError("two drawings with one key")
    known = {made.key: made for made in volume.measurements}
    replies: list[dict[str, Any]] = []
    kept: list[Measurement] = []
    for drawing in drawings:
        made = known.get(drawing["key"])
        if made is None or _place(made) != drawing:
            try:
                made = _measured(volume, drawing)
            except ScanError as error:
                replies.append({"key": drawing["key"], "trouble": str(error)})
                continue
        kept.append(made)
        replies.append(drawing_spec(made))
    volume.measurements = tuple(kept)
    return replies


def drawing_spec(made: Measurement) -> dict[str, Any]:
    """A measurement for the page: where it is drawn, and what is written beside it."""
    return {
        **_place(made),
        "points": [list(point) for point in made.points],
        "lines": short_lines(made),
        "text": measurement_sentence(made),
        "brief": f"{place_text(made)}: {', '.join(short_lines(made))}",
        "notes": list(made.notes),
    }


def question_words(made: Measurement) -> str:
    """A measurement as a sentence of a question about its region."""
    name = made.label or made.kind
    numbers = [values_text(made)[0], *short_lines(made)[1:]]
    return f"Measured in the region ({name}): {', '.join(numbers)}."


def _place(made: Measurement) -> dict[str, Any]:
    return {
        "key": made.key,
        "kind": made.kind,
        "points": made.points,
        "plane": made.plane,
        "slice": made.slice,
        "frame": made.frame,
    }


def _drawing(entry: object) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError("no drawing")
    key, kind, plane = (entry.get(name) for name in ("key", "kind", "plane"))
    if not isinstance(key, str) or not _KEY.fullmatch(key) or kind not in _KINDS:
        raise ValueError("no key or kind")
    places = entry.get("slice"), entry.get("frame")
    if not isinstance(plane, str) or any(type(place) is not int for place in places):
        raise ValueError("no place")
    points = entry.get("points")
    if not isinstance(points, list) or len(points) > 3:
        raise ValueError("no points")
    return {
        "key": key,
        "kind": kind,
        "points": tuple(_point(point) for point in points),
        "plane": plane,
        "slice": places[0],
        "frame": places[1],
    }


def _point(given: object) -> Point:
    if not isinstance(given, list) or len(given) != 2:
        raise ValueError("no point")
    if any(type(number) not in (int, float) for number in given):
        raise ValueError("no numbers")
    return float(given[0]), float(given[1])


def _measured(volume: Volume, drawing: dict[str, Any]) -> Measurement:
    return measurement(
        volume.stack(),
        cast(Kind, drawing["kind"]),
        drawing["points"],
        plane=drawing["plane"],
        frame=drawing["slice"],
        time=drawing["frame"],
        key=drawing["key"],
    )
