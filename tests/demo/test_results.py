"""The Results page over the files of a real run, without a model."""

import json
import subprocess
import sys
from pathlib import Path

import gradio as gr
import pandas as pd
import pytest

from demo.flagging import Desk
from demo.results import Results, results_page
from demo.results.html import case, drawings, figure_lines, listing, opening, tables, titled
from demo.results.page import flag_answer
from rarl.errors import DataError, ReviewError
from rarl.review import open_store
from tests.demo.measured import LABEL, measure, write_set

KEY = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("sets"))


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measure(root, tmp_path_factory.mktemp("run"))


@pytest.fixture
def results(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.setenv("RARL_DATA", str(root))
    return Results(folder)


def test_a_filter_leads_to_the_very_answers(results: Results) -> None:
    total, (shown,) = results.chosen("reason", LABEL, "beats", "rarl", "sft", 9)
    assert total == 1
    assert [(row["arm"], row["answer"], row["exact"]) for row in shown.rows] == [
        ("base", "no tumor", False),
        ("sft", "no tumor", False),
        ("rarl", "a glioma", True),
    ]
    assert shown.question == "Which type of tumor is shown, if any?"
    assert (shown.reference, shown.has_pixels) == ("glioma", True)
    listed = listing(total, [shown], "")
    assert "1 question<" in listed and f'data-example="{shown.id}"' in listed
    html = case(shown)
    assert "data:image/png;base64," in html and "a glioma" in html and "It is rarl." in html
    assert results.chosen("reason", LABEL, "beats", "sft", "rarl", 9)[0] == 0
    assert results.chosen("reason", LABEL, "wrong", "sft", "sft", 9)[0] == 3
    assert results.chosen("reason", LABEL, "form", "base", "sft", 9)[0] == 4
    assert results.chosen("reason", LABEL, "all", "sft", "sft", 9)[0] == 4
    assert results.chosen("reason", LABEL, "hedged", "sft", "sft", 9)[0] == 0


def test_reasoning_and_answer_are_told_apart(folder: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(folder / "rows.parquet")
    (tmp_path / "summary.json").write_bytes((folder / "summary.json").read_bytes())
    sft = (frame["arm"] == "sft") & (frame["category"] == "label") & (frame["condition"] == "scan")
    frame["facts"], frame["facts_covered"], frame["facts_contradicted"] = 3, 0, 0
    frame.loc[sft & frame["exact"], "facts_contradicted"] = 1
    frame.loc[sft & ~frame["exact"], "facts_covered"] = 2
    frame.to_parquet(tmp_path / "rows.parquet")
    results = Results(tmp_path)
    assert results.chosen("reason", LABEL, "lucky", "sft", "sft", 9)[0] == 1
    assert results.chosen("reason", LABEL, "unlucky", "sft", "sft", 9)[0] == 3
    assert results.chosen("reason", LABEL, "lucky", "rarl", "sft", 9)[0] == 0


def test_a_flag_keeps_the_case_with_every_arm(results: Results, tmp_path: Path) -> None:
    store = open_store(tmp_path / "home")
    _, (shown,) = results.chosen("reason", LABEL, "beats", "rarl", "sft", 9)
    for choices, sentence in (
        ((None, "minor"), "what is wrong"),
        (("other", None), "how much"),
    ):
        with pytest.raises(ReviewError, match=sentence):
            flag_answer(store, shown, "sft", *choices, "", KEY)
    said = ("sft", "missed-finding", "major", "There is a glioma.", KEY)
    flag = flag_answer(store, shown, *said)
    assert flag_answer(store, shown, *said).id == flag.id  # pressed twice
    assert (flag.arm, flag.comment, flag.answer) == ("sft", "There is a glioma.", "no tumor")
    kept = store.case(flag.case_id)
    assert [answer.arm for answer in kept.answers] == ["base", "sft", "rarl"]
    assert kept.answers[2].text == shown.rows[2]["text"]
    assert (kept.question, kept.model) == (shown.question, "scripted")
    assert kept.decoding.max_new_tokens == 256
    red, green, _ = kept.pictures[0].image().getpixel((0, 0))  # type: ignore[misc]
    assert (red, green) == (200, 20)  # a JPEG, so the third may be off by one
    store.close()


def test_without_the_set_the_answers_stay_and_the_pixels_are_missed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("RARL_DATA", str(tmp_path / "empty"))
    results = Results(folder)
    _, (shown,) = results.chosen("reason", LABEL, "beats", "rarl", "sft", 9)
    assert not shown.has_pixels
    html = case(shown)
    assert "not at hand on this machine" in html and "a glioma" in html
    with pytest.raises(ReviewError, match="not at hand on this machine"):
        flag_answer(open_store(tmp_path), shown, "sft", "other", "minor", "", KEY)


def test_what_a_model_says_is_escaped(folder: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(folder / "rows.parquet")
    (tmp_path / "summary.json").write_bytes((folder / "summary.json").read_bytes())
    frame["answer"] = "<img src=x onerror=alert(1)>"
    frame.to_parquet(tmp_path / "rows.parquet")
    found = Results(tmp_path).chosen("reason", LABEL, "all", "sft", "sft", 9)
    assert "<img src=x" not in listing(*found, "") + case(found[1][0])


def test_drawings_and_missing_files(folder: Path, tmp_path: Path) -> None:
    summary = Results(folder).summary()
    drawn = drawings(summary, "reason", LABEL)
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
    assert ("What scripted gets right" in said) is measured
    assert ("Nothing has been measured yet" in said) is not measured


def test_lines_show_intervals_and_what_was_not_measured_is_told(folder: Path) -> None:
    summary = Results(folder).summary()
    lines = figure_lines(summary, "reason", LABEL)
    assert "Brain tumour MRI, official test, label" in lines and "with a blank picture" in lines
    assert "<b>50.0</b> <small>0.0–100.0</small>" in lines  # rarl has two of four right
    assert "In 3 of 3 comparisons" in opening(summary)
    assert "Self-consistency as a confidence" in tables(summary, "reason")
    # As a run without pictures that stand in, without samples and of a single arm leaves it.
    older = {
        **{key: summary[key] for key in ("model", "arms", "interval")},
        "figures": [one for one in summary["figures"] if one["condition"] == "scan"],
        "differences": [],
    }
    assert "with a blank picture" not in figure_lines(older, "reason", LABEL)
    assert "need the image was not measured" in opening(older)
    drawn = drawings(older, "reason", LABEL)
    assert "<svg" not in drawn and "not asked again" in drawn and "No answers were sampled" in drawn
    assert "Self-consistency as a confidence" not in tables(older, "reason")


def test_groups_have_names_for_people() -> None:
    assert titled("vqa_rad test closed") == "VQA-RAD, official test, closed"
    assert (
        titled("vqa_rad image-disjoint open, not reworded in training")
        == "VQA-RAD, image-disjoint, open, not reworded in training"
    )
    assert titled("modality and organ") == "Modality and organ"
    assert titled("a_site test overall") == "a_site test overall"


def test_the_page_loads_no_torch() -> None:
    script = "import demo.results, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
