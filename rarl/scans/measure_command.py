"""`python -m rarl measure FILE... --ruler X,Y,X,Y`: measure on a scan."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from math import isfinite
from pathlib import Path

from rarl.arguments import whole_number
from rarl.errors import ScanError
from rarl.records.report import Kind
from rarl.scans.opening import open_series_files
from rarl.scans.shapes import measure_shapes
from rarl.settings import read_settings

HELP = (
    "Measure on a scan: lengths, angles, areas and values. Points are column and row in pixels of "
    "the stored picture, from its upper left corner."
)
_POINTS: dict[Kind, tuple[int, str]] = {
    "ruler": (2, "from end to end"),
    "angle": (3, "end, corner and end"),
    "rectangle": (2, "two opposite corners: area, and values of the pixels within"),
    "ellipse": (2, "two opposite corners of the box around it: area and values"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a scan, or the folder of a series"
    )
    for kind, (count, words) in _POINTS.items():
        parser.add_argument(
            f"--{kind}",
            dest="shapes",
            action="append",
            type=_shape(kind, count),
            metavar=",".join(["X,Y"] * count),
            help=f"{words} (several times for several)",
        )
    parser.add_argument("--plane", default="", help="acquired, axial, coronal or sagittal")
    parser.add_argument(
        "--slice", type=whole_number(1), default=1, metavar="N", help="of the plane, from 1 (1)"
    )
    parser.add_argument(
        "--frame", type=whole_number(1), default=1, metavar="N", help="time point, from 1 (1)"
    )
    parser.add_argument(
        "--series", type=whole_number(1), metavar="N",
        help="of several in a folder or zip, the one with this number (default: the largest)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON list, one object per shape")


def run(arguments: argparse.Namespace) -> int:
    """Open the scan, measure, and print.

    Returns:
        The exit status, 0.

    Raises:
        ScanError: the scan cannot be opened, or a shape cannot be measured on it.
    """
    if not arguments.shapes:
        raise ScanError("Say what to measure, such as --ruler 10,10,40,50.")
    opened = open_series_files(arguments.files, read_settings().limit)
    number = arguments.series
    if number is not None and number > len(opened.series):
        raise ScanError(
            f"There is no series {number}; choose from 1 to {len(opened.series)} with --series."
        )
    stack = opened.stack() if number is None else opened.stack(number - 1)
    place = {"plane": arguments.plane, "slice": arguments.slice, "frame": arguments.frame}
    measured = measure_shapes(stack, [{**shape, **place} for shape in arguments.shapes])
    if arguments.json:
        print(json.dumps(measured))
        return 0
    for one in measured:
        print(one["text"])
        for sentence in one["notes"]:
            print(f"   ! {sentence}")
    return 0


def _shape(kind: Kind, count: int) -> Callable[[str], dict[str, object]]:
    """The type of a shape's argument: so many points, as numbers between commas."""

    def read(text: str) -> dict[str, object]:
        try:
            numbers = [float(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != 2 * count or not all(map(isfinite, numbers)):
            example = ",".join(["X,Y"] * count)
            raise argparse.ArgumentTypeError(
                f"needs {2 * count} numbers between commas, {example}: column and row of each point"
            )
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        return {"kind": kind, "points": points}

    return read
