"""`python -m rarl scan FILE... [--json]`: show how each file opens.

`--study` takes a study of the PACS instead, one series at a time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rarl.arguments import whole_number
from rarl.errors import PacsError, RarlError, ScanError
from rarl.limits import Limits
from rarl.scans.burned_in_text import proposed_masks
from rarl.scans.opening import open_series, open_series_files
from rarl.scans.series import Opened
from rarl.scans.stack import Stack
from rarl.settings import read_settings

HELP = (
    "Open scans (DICOM, NIfTI, MetaImage, NRRD, MGH, PNG, JPEG, TIFF, WebP, BMP, AVIF; a folder or "
    "zip) and show what is kept of them."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="a scan, or the folder of a series"
    )
    parser.add_argument(
        "--study",
        metavar="NUMBER",
        help="accession number or study UID: open its series from the PACS at RARL_DICOMWEB",
    )
    parser.add_argument(
        "--series",
        type=whole_number(1),
        metavar="N",
        help="of several in a folder or zip, the one with this number (default: the largest)",
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON list, one object per file or series"
    )


def run(arguments: argparse.Namespace) -> int:
    """Open every file, then print; files are named by position, since names may name people.

    Returns:
        The exit status, 0.

    Raises:
        ScanError: a file cannot be opened; with several files, the sentence says which.
        PacsError: the PACS cannot be asked, or has no such study.
    """
    limits = read_settings().limit
    what, opened = "file", _from_files(arguments.files, limits)
    if arguments.study:
        what, opened = "series", _from_pacs(arguments.study, limits)
    if bool(arguments.study) == bool(arguments.files):
        raise ScanError("Say which files, or --study with a number, and not both.")
    entries: list[dict[str, Any]] = [
        {what: number, **_described(_chosen(together, arguments.series)), **_contents(together)}
        for number, together in enumerate(opened, 1)
    ]
    if arguments.json:
        print(json.dumps(entries))
        return 0
    for entry in entries:
        print(_line(entry[what], entry))
        for keyword, text in entry["attributes"].items():
            print(f"   {keyword}: {text}")
        for sentence in entry["warnings"]:
            print(f"   ! {sentence}")
        if len(entry["choices"]) > 1:
            print("   Series, for --series:")
            for series in entry["choices"]:
                print(f"   {series['number']}: {series['title']}")
    return 0


def _from_files(paths: list[Path], limits: Limits) -> Iterator[Opened]:
    for number, path in enumerate(paths, 1):
        with _placed("File", number, len(paths)):
            yield open_series_files([path], limits)


def _from_pacs(study: str, limits: Limits) -> Iterator[Opened]:
    from rarl.scans.dicomweb import SETTING, Pacs  # the packages of the extra `pacs`

    pacs = Pacs.from_settings(read_settings())
    if pacs is None:
        raise PacsError(f"No PACS is set; put the address of its DICOMweb service in {SETTING}.")
    studies = pacs.search(study)
    for number, series in enumerate(studies, 1):
        with _placed("Series", number, len(studies)):
            yield open_series(list(pacs.files(series, limits)), limits)


@contextmanager
def _placed(what: str, number: int, count: int) -> Iterator[None]:
    """Say of several which it was."""
    try:
        yield
    except RarlError as error:
        where = f"{what} {number} of {count}: " if count > 1 else ""
        raise type(error)(f"{where}{error}") from None


def _chosen(opened: Opened, number: int | None) -> Stack:
    """The series with a number, from 1; the largest where None.

    Raises:
        ScanError: there is none.
    """
    if number is None:
        return opened.stack()
    if not 1 <= number <= len(opened.series):
        raise ScanError(
            f"There is no series {number}; choose from 1 to {len(opened.series)} with --series."
        )
    return opened.stack(number - 1)


def _contents(opened: Opened) -> dict[str, Any]:
    """All series that were opened together, and the files that belong to none."""
    return {
        "choices": [
            {
                "number": number,
                "title": series.title,
                "description": series.description,
                "modality": series.modality,
                "pictures": series.pictures,
                "size": list(series.size),
            }
            for number, series in enumerate(opened.series, 1)
        ],
        "left_out": [{"name": file.name, "kind": file.kind} for file in opened.left_out],
    }


def _described(stack: Stack) -> dict[str, Any]:
    """A stack as JSON; sizes in pixels, spacing in mm (rows, columns) as displayed."""
    height, width = stack.shape()
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


def _line(number: int, entry: dict[str, Any]) -> str:
    frames = f", {entry['frames']} frames" if entry["frames"] > 1 else ""
    times = f", {entry['times']} time points" if entry["times"] > 1 else ""
    return (
        f"{number}: {entry['format']} {entry['modality'] or '-'} "
        f"{entry['width']} x {entry['height']} pixels{frames}{times}"
    )
