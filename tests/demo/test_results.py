"""The Results page over the files of a real run, without a model."""

import json
import subprocess
import sys
from pathlib import Path

import gradio as gr
import pandas as pd
import pytest
from PIL import Image

from demo.flagging import Desk
from demo.results import Results, _case, _list, flag_answer, results_page
from rarl.data.root import SPLIT_FILES
from rarl.errors import DataError, ReviewError
from rarl.evaluation.conditions import ALTERED
from rarl.evaluation.output import write_run
from rarl.evaluation.run import evaluate, select, summarise
from rarl.review import open_store
from tests.evaluation.scripted_engine import ScriptedEngine

LABEL = "brain_tumor_mri test label"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four test images of brain_tumor_mri; the glioma is red."""
    root = tmp_path_factory.mktemp("sets")
    folder = root / "brain_tumor_mri"
    listed = json.loads((SPLIT_FILES / "brain_tumor_mri.json").read_text("utf-8"))["images"]
    lines = []
    for image, label in zip(
        listed["test"][:4], ("glioma", "notumor", "meningioma", "pituitary"), strict=True
    ):
        path = folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = (200, 20, 20) if label == "glioma" else (20, 200, 20)
        Image.new("RGB", (64, 64), colour).save(path)
        lines.append(json.dumps({"image": image, "label": label, "split": "test"}))
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return root


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RARL_DATA", str(root))
        out = tmp_path_factory.mktemp("run")
        labels = [one for one in select("brain_tumor_mri").examples if one.category == "label"]
        rows = evaluate(
            ScriptedEngine(), labels, arms=("base", "sft", "rarl"),
            modes=("reason",), out=out / "answers", altered=lambda example: ALTERED, draws=lambda example: 2,
            progress=False,
        )  # fmt: skip
    # Without words, as a run is published: the page takes them from the set.
    write_run(out, summarise(ScriptedEngine(), rows, []), rows, [], words=False)
    return out


@pytest.fixture
def results(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.setenv("RARL_DATA", str(root))
    return Results(folder)


def test_a_filter_leads_to_the_very_answers(results: Results) -> None:
    total, (shown,) = results.chosen("reason", LABEL, "beats", "rarl", "sft")
    assert total == 1
    assert [(row["arm"], row["answer"], row["exact"]) for row in shown.rows] == [
        ("base", "no tumor", False),
        ("sft", "no tumor", False),
        ("rarl", "a glioma", True),
    ]
    assert shown.question == "Which type of tumor is shown, if any?"
    assert (shown.reference, shown.has_pixels) == ("glioma", True)
    listed = _list((total, [shown]))
    assert "1 answers" in listed and f'data-example="{shown.id}"' in listed
    html = _case(shown)
    assert "data:image/png;base64," in html and "a glioma" in html and "It is rarl." in html
    assert results.chosen("reason", LABEL, "beats", "sft", "rarl")[0] == 0
    assert results.chosen("reason", LABEL, "wrong", "sft", "sft")[0] == 3
    assert results.chosen("reason", LABEL, "form", "base", "sft")[0] == 4
    assert results.chosen("reason", LABEL, "all", "sft", "sft")[0] == 4
    assert results.chosen("reason", LABEL, "hedged", "sft", "sft")[0] == 0


def test_reasoning_and_answer_are_told_apart(folder: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(folder / "rows.parquet")
    (tmp_path / "summary.json").write_bytes((folder / "summary.json").read_bytes())
    sft = (frame["arm"] == "sft") & (frame["category"] == "label") & (frame["condition"] == "scan")
    frame["facts"], frame["facts_covered"], frame["facts_contradicted"] = 3, 0, 0
    frame.loc[sft & frame["exact"], "facts_contradicted"] = 1
    frame.loc[sft & ~frame["exact"], "facts_covered"] = 2
    frame.to_parquet(tmp_path / "rows.parquet")
    results = Results(tmp_path)
    assert results.chosen("reason", LABEL, "lucky", "sft", "sft")[0] == 1
    assert results.chosen("reason", LABEL, "unlucky", "sft", "sft")[0] == 3
    assert results.chosen("reason", LABEL, "lucky", "rarl", "sft")[0] == 0


def test_a_flag_keeps_the_case_with_every_arm(results: Results, tmp_path: Path) -> None:
    desk = Desk(open_store(tmp_path / "home"))
    _, (shown,) = results.chosen("reason", LABEL, "beats", "rarl", "sft")
    for choices, sentence in (
        ((None, "other", "minor"), "whose answer"),
        (("sft", None, "minor"), "what is wrong"),
        (("sft", "other", None), "how much"),
    ):
        with pytest.raises(ReviewError, match=sentence):
            flag_answer(desk, shown, *choices, "")
    flag = flag_answer(desk, shown, "sft", "missed-finding", "major", "There is a glioma.")
    store = desk.open()
    found = store.flag(flag.id)
    case = store.case(found.case_id)
    assert (found.arm, found.comment, found.answer) == ("sft", "There is a glioma.", "no tumor")
    assert [answer.arm for answer in case.answers] == ["base", "sft", "rarl"]
    assert case.answers[2].text == shown.rows[2]["text"]
    assert (case.question, case.model) == (shown.question, "scripted")
    assert case.decoding.max_new_tokens == 256
    red, green, _ = case.pictures[0].image().getpixel((0, 0))  # type: ignore[misc]
    assert (red, green) == (200, 20)  # a JPEG, so the third may be off by one
    desk.open().close()


def test_without_the_set_the_answers_stay_and_the_pixels_are_missed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("RARL_DATA", str(tmp_path / "empty"))
    results = Results(folder)
    _, (shown,) = results.chosen("reason", LABEL, "beats", "rarl", "sft")
    assert not shown.has_pixels
    html = _case(shown)
    assert "not at hand on this machine" in html and "a glioma" in html
    with pytest.raises(ReviewError, match="not at hand on this machine"):
        flag_answer(Desk(), shown, "sft", "other", "minor", "")


def test_what_a_model_says_is_escaped(folder: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(folder / "rows.parquet")
    (tmp_path / "summary.json").write_bytes((folder / "summary.json").read_bytes())
    frame["answer"] = "<img src=x onerror=alert(1)>"
    frame.to_parquet(tmp_path / "rows.parquet")
    found = Results(tmp_path).chosen("reason", LABEL, "all", "sft", "sft")
    assert "<img src=x" not in _list(found) + _case(found[1][0])


def test_drawings_and_missing_files(folder: Path, tmp_path: Path) -> None:
    drawn = Results(folder).drawings("reason", LABEL)
    assert drawn.count("<svg") == 3 and "Reliance on the image" in drawn
    with pytest.raises(DataError, match="Nothing has been measured yet"):
        Results(tmp_path).summary()
    (tmp_path / "summary.json").write_bytes((folder / "summary.json").read_bytes())
    with pytest.raises(DataError, match="not on this machine"):
        Results(tmp_path).rows()
    (tmp_path / "summary.json").write_text("{", "utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        Results(tmp_path).summary()


@pytest.mark.parametrize("measured", [True, False])
def test_the_page_builds_from_files_alone(folder: Path, tmp_path: Path, measured: bool) -> None:
    with gr.Blocks() as app, gr.Tabs(), gr.Tab("Results") as tab:
        results_page(Desk(), tab, folder if measured else tmp_path)
    said = json.dumps(app.get_config_file(), default=str)
    assert ("What was measured of scripted" in said) is measured
    assert ("Nothing has been measured yet" in said) is not measured


def test_the_page_loads_no_torch() -> None:
    script = "import demo.results, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
