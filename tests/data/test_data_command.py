"""`python -m rarl data`, through the command line's own entry."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from rarl.cli import main

ROWS = [
    {"image": "images/a.png", "label": "benign"},
    {"image": "images/b.png", "label": "normal"},
    {"image": "images/c.png", "label": "malignant"},
]


@pytest.fixture
def busi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three drawn images in the form of BUSI, two with the same pixels."""
    images = tmp_path / "busi_breast_us" / "images"
    images.mkdir(parents=True)
    ramp = Image.linear_gradient("L")
    for name, image in (("a", ramp), ("b", ramp), ("c", ramp.rotate(90))):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        (images / f"{name}.png").write_bytes(buffer.getvalue())
    text = "\n".join(json.dumps(row) for row in ROWS)
    (tmp_path / "busi_breast_us" / "labels.jsonl").write_text(text)
    monkeypatch.setattr(
        "rarl.data.labelled.read_split_file", lambda source: {"test": ["images/b.png"]}
    )
    monkeypatch.setenv("RARL_DATA", str(tmp_path))
    return tmp_path


def test_all_sets_at_hand_are_listed(busi: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == "set split rows closed open images modality licence".split()
    assert lines[1].split() == "busi_breast_us train 10 6 4 2 ultrasound CC-BY-4.0".split()
    assert lines[2].split() == "test 4 2 2 1 ultrasound CC-BY-4.0".split()
    shared = next(line for line in lines if line.startswith("busi_breast_us  busi_breast_us test"))
    assert shared.split()[-4:] == ["0", "1", "0", "0"]


def test_json_is_one_object(busi: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "busi_breast_us", "busi_breast_us", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (only,) = report["sets"]
    assert only["splits"]["test"] == {
        "rows": 4,
        "closed": 2,
        "open": 2,
        "images": 1,
        "images_seen_in_training": 0,
        "licences": {"CC-BY-4.0": 4},
        "modalities": {"ultrasound": 4},
    }
    (overlap,) = report["shared"]
    assert (overlap["images"], overlap["identical"], overlap["near"]) == (0, 1, 0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing"], "There is no data set 'nothing'"),
        (["none.yaml"], "none.yaml cannot be read"),
        (["bccd_blood"], "bccd_blood is not at hand"),
    ],
)
def test_bad_input_is_one_sentence(
    busi: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["data", *words]) == 2
    captured = capsys.readouterr()
    assert (
        captured.out == "" and captured.err.startswith(sentence) and captured.err.count("\n") == 1
    )


def test_no_set_at_hand_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RARL_DATA", str(tmp_path))
    assert main(["data"]) == 2
    assert "No data set is at hand: set RARL_DATA" in capsys.readouterr().err


def test_vqa_rad_says_that_its_test_images_are_seen(
    local_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "vqa_rad", "vqa_med_2019_mini", "slake"]) == 0
    output = capsys.readouterr().out
    assert "test (images seen)   451     272   179     203" in output
    assert "Unseen, so they train nothing: vqa_med_2019_mini\n" in output
    assert "slake: Questions alone, without their images." in output
