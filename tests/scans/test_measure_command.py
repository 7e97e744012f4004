"""`python -m rarl measure`, and what programs may send to be measured."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from drawn import drawn, saved

from rarl.cli import main
from rarl.errors import ScanError
from rarl.scans import Stack, open_stack
from rarl.scans.shapes import measure_shapes

Find = Callable[[str], Path]
RULER = {"kind": "ruler", "points": [[10, 10], [40, 50]]}


@pytest.fixture(scope="module")
def stack() -> Stack:
    volume = np.random.default_rng(4).integers(0, 900, (3, 60, 60)).astype(np.int16)
    return open_stack([saved(drawn(volume, NumberOfFrames=3, FrameTime=5.0))])


def test_json(packaged: Find, capsys: pytest.CaptureFixture[str]) -> None:
    file = packaged("CT_small.dcm")
    shapes = ["--ruler", "10,10,40,50", "--rectangle=20,30,40.0,50", "--angle", "1,1,9,9,9,1"]
    assert main(["measure", str(file), *shapes, "--json"]) == 0
    ruler, rectangle, angle = json.loads(capsys.readouterr().out)
    dataset = pydicom.dcmread(file)
    spacing = float(dataset.PixelSpacing[0])
    (length,) = ruler["values"]
    assert length == {"quantity": "length", "value": pytest.approx(50 * spacing), "unit": "mm"}
    assert (ruler["plane"], ruler["slice"], ruler["at"]) == ("acquired", 1, "patient")
    values = {value["quantity"]: value for value in rectangle["values"]}
    expected = dataset.pixel_array[30:50, 20:40] * 1.0 + float(dataset.RescaleIntercept)
    assert values["mean"] == {
        "quantity": "mean", "value": pytest.approx(expected.mean(), rel=1e-3), "unit": "HU",
    }  # fmt: skip
    assert angle["values"][0]["value"] == pytest.approx(45)


def test_text_says_what_limits_a_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "chest.dcm"
    pixels = np.arange(3600, dtype=np.uint16).reshape(60, 60)
    file.write_bytes(saved(drawn(pixels, Modality="DX", ImagerPixelSpacing=[0.2, 0.2])))
    assert main(["measure", str(file), "--ruler", "10,10,40,50"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "Ruler, slice 1: length 10.0 mm at detector."
    assert second.startswith("   ! Lengths are those at the detector")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Say what to measure, such as --ruler 10,10,40,50."),
        (["--ruler", "10,10,40,50", "--slice", "2"], "There is no slice 2; choose from 1 to 1."),
        (["--ruler", "10,10,40,50", "--frame", "2"], "There is no frame 2"),
        (["--ruler", "10,10,40,50", "--series", "2"], "There is no series 2"),
        (["--ruler", "10,10,40,50", "--plane", "axial"], "no plane axial; choose from acquired"),
        (["--ruler", "10,10,40,50", "--plane", "up"], "The field plane is not usable"),
        (["--ruler", "10,10,10,10"], "Two of the points are at one place"),
        (["--ellipse", "10,10,400,50"], "outside of the picture of 128 by 128 pixels"),
    ],
    ids=["none", "slice", "frame", "series", "plane", "word", "point", "outside"],
)
def test_bad_input(
    packaged: Find, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["measure", str(packaged("CT_small.dcm")), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and sentence in captured.err and captured.err.count("\n") == 1


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,x", "1,2,3,nan", "", "1,2,3,4,5,6"])
def test_points_that_are_none(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["measure", "scan.dcm", f"--ruler={text}"])
    assert ended.value.code == 2
    assert "needs 4 numbers between commas, X,Y,X,Y" in capsys.readouterr().err


def test_slices_count_from_one_as_in_the_viewer(stack: Stack) -> None:
    box = {"kind": "rectangle", "points": [[3, 4], [21, 17]]}
    first, last = measure_shapes(stack, [box, {**box, "slice": 3, "label": "node"}])
    assert (first["slice"], last["slice"], last["frame"]) == (1, 3, 1)
    assert last["text"].startswith("node, slice 3: area ")
    mean = {value["quantity"]: value["value"] for value in last["values"]}["mean"]
    assert mean == pytest.approx(stack.stored("acquired", 2)[4:17, 3:21].mean())


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        ([], "Give 1 to 100 shapes"),
        ([RULER] * 101, "Give 1 to 100 shapes"),
        (["ruler"], "A shape is an object with a kind and points"),
        ([{"kind": "ruler"}], "A shape is an object with a kind and points"),
        ([{**RULER, "kind": "circle"}], "The field kind is not usable"),
        ([{**RULER, "points": [[1, 2], [3]]}], "The field points.1.1 is not usable"),
        ([{**RULER, "points": [[1, 2], [3, "x"]]}], "The field points.1.1 is not usable"),
        ([{**RULER, "points": [[1, 2]]}], "takes 2 points"),
        ([{**RULER, "points": [[1, 2], [float("inf"), 3]]}], "takes 2 points"),
        ([RULER, {**RULER, "slice": 0}], "Shape 2 of 2: There is no slice 0; choose from 1 to 3."),
        ([{**RULER, "frame": 2}], "There is no frame 2"),
        ([{**RULER, "slice": "two"}], "The field slice is not usable"),
        ([{**RULER, "label": "x" * 121}], "shorten it to 120"),
        ([{**RULER, "colour": "red"}], "The field colour is not usable"),
    ],
    ids=range(14),
)
def test_shapes_that_cannot_be_measured(stack: Stack, shapes: list[Any], sentence: str) -> None:
    with pytest.raises(ScanError, match="^[^\n]*" + re.escape(sentence)):
        measure_shapes(stack, shapes)
