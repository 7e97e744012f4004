"""`python -m rarl scan FILE... [--json]`: what the app would make of each file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rarl.errors import ScanError
from rarl.scans.banner import proposed_masks
from rarl.scans.limits import Limits
from rarl.scans.opening import open_stack_file
from rarl.scans.stack import Stack

HELP = (
    "Open scans (DICOM, NIfTI, PNG, JPEG, TIFF, WebP, BMP; a folder or zip of one series) and show "
    "what is kept of them."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a scan, or the folder of a series"
    )
    parser.add_argument("--json", action="store_true", help="one JSON list, one object per file")


def run(arguments: argparse.Namespace) -> int:
    """Open every file, then print; files are named by position, since names may name people.

    Returns:
        The exit status, 0.

    Raises:
        ScanError: a file cannot be opened; with several files, the sentence says which.
    """
    files: list[Path] = arguments.files
    limits = Limits.from_environment()
    found: list[dict[str, Any]] = []
    for number, path in enumerate(files, 1):
        try:
            found.append({"file": number, **_described(open_stack_file([path], limits))})
        except ScanError as error:
            where = f"File {number} of {len(files)}: " if len(files) > 1 else ""
            raise ScanError(f"{where}{error}") from None
    if arguments.json:
        print(json.dumps(found))
        return 0
    for entry in found:
        print(_line(entry))
        for keyword, text in entry["attributes"].items():
            print(f"   {keyword}: {text}")
        for sentence in entry["warnings"]:
            print(f"   ! {sentence}")
    return 0


def _described(stack: Stack) -> dict[str, Any]:
    """What is known of a stack; sizes in pixels, spacing in mm (rows, columns) as displayed."""
    height, width = stack.values().shape[:2]
    letters = stack.letters()
    shown = None if stack.color else stack.own_window()
    return {
        "format": stack.format,
        "modality": stack.modality,
        "frames": stack.frames(),
        "times": stack.times,
        "width": width,
        "height": height,
        "size": [width, height],
        "planes": {plane: stack.frames(plane) for plane in stack.planes},
        "spacing": stack.spacing(),
        "orientation": "".join(letters) if letters else None,
        "unit": stack.unit,
        "overlay": stack.overlaid,
        "window": {"center": shown[0].center, "width": shown[0].width} if shown else None,
        "windows": [
            {"center": window.center, "width": window.width, "name": window.name}
            for window in stack.windows
        ],
        "proposed_masks": [
            [box.left, box.top, box.right, box.bottom] for box in proposed_masks(stack)
        ],
        "attributes": dict(stack.attributes),
        "warnings": list(stack.warnings),
    }


def _line(entry: dict[str, Any]) -> str:
    frames = f", {entry['frames']} frames" if entry["frames"] > 1 else ""
    times = f", {entry['times']} time points" if entry["times"] > 1 else ""
    return (
        f"{entry['file']}: {entry['format']} {entry['modality'] or '-'} "
        f"{entry['width']} x {entry['height']} pixels{frames}{times}"
    )
