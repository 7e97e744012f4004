"""`python -m rarl scan`, through the real command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rarl.cli import main

Find = Callable[[str], Path]


def test_json(packaged: Find, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(packaged("MR_small.dcm")), str(packaged("examples_ybr_color.dcm"))]
    assert main(["scan", *files, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["format"], first["modality"], first["width"]) == ("dicom", "MR", 64)
    assert first["attributes"]["WindowCenter"] == "600" and first["warnings"] == []
    assert (second["file"], second["height"]) == (2, 240)
    assert (second["frames"], second["size"], second["window"]) == (30, [320, 240], None)
    assert first["window"] == {"center": 600, "width": 1600}
    assert (first["spacing"], first["orientation"]) == ([0.3125, 0.3125], "RLAP")


def test_text(packaged: Find, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(packaged("MR_small.dcm"))]) == 0
    assert capsys.readouterr().out.startswith("1: dicom MR 64 x 64 pixels\n")


def test_bad_input(packaged: Find, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "Mustermann.dcm"
    bad.write_text("not a scan")
    assert main(["scan", str(packaged("MR_small.dcm")), str(bad)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Mustermann" not in captured.err
    assert captured.err == (
        "File 2 of 2: This is a text file, not a scan; "
        "export the picture as DICOM, NIfTI, PNG or JPEG.\n"
    )
