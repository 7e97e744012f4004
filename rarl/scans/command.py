"""`python -m rarl scan FILE... [--json]`: what the app would make of each file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rarl.errors import ScanError
from rarl.scans.opening import open_scan_file
from rarl.scans.scan import Scan

HELP = "Open scans (DICOM, PNG, JPEG) and show what is kept of them."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a scan")
    parser.add_argument("--json", action="store_true", help="one JSON list, one object per file")


def run(arguments: argparse.Namespace) -> int:
    """Open every file, then print; files are named by position, since names may name people.

    Returns:
        The exit status, 0.

    Raises:
        ScanError: a file cannot be opened; with several files, the sentence says which.
    """
    files: list[Path] = arguments.files
    found: list[dict[str, Any]] = []
    for number, path in enumerate(files, 1):
        try:
            found.append({"file": number, **_described(open_scan_file(path))})
        except ScanError as error:
            where = f"File {number} of {len(files)}: " if len(files) > 1 else ""
            raise ScanError(f"{where}{error}") from None
    if arguments.json:
        print(json.dumps(found))
        return 0
    for entry in found:
        print(
            f"{entry['file']}: {entry['format']} {entry['modality'] or '-'} "
            f"{entry['width']} x {entry['height']} pixels"
        )
        for keyword, text in entry["attributes"].items():
            print(f"   {keyword}: {text}")
        for sentence in entry["warnings"]:
            print(f"   ! {sentence}")
    return 0


def _described(scan: Scan) -> dict[str, Any]:
    return {
        "format": scan.format,
        "modality": scan.modality,
        "width": scan.image.width,
        "height": scan.image.height,
        "attributes": dict(scan.attributes),
        "warnings": list(scan.warnings),
    }
