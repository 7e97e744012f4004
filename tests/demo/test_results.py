"""The Results page over the files of a real run, without a model."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import gradio as gr
import pandas as pd
import pytest

from demo.context import Parts
from demo.pages.results import Evaluations, Loaded, Results, results_page
from demo.pages.results.flagging import flag_answer
from demo.pages.results.html import (
    case,
    drawings,
    failures,
    figure_lines,
    listing,
    opening,
    pairs,
    tables,
    titled,
    unmeasured,
)
from demo.pages.results.made import made
from demo.pages.results.run import RESULTS
from demo.services.downloads import Downloads
from demo.services.engine_loader import EngineLoader
from demo.services.flagging import Desk
from demo.services.kept_sessions import Keep, KeptSessions
from demo.services.uploads import Uploads
from rarl.errors import DataError, ReviewError, SettingError
from rarl.inference.engine import Arm
from rarl.models.making import Making, adapter_revision, read_making, variant_folders
from rarl.review import open_store
from tests.demo.measured import LABEL, measure, write_set
from tests.evaluation.scripted_engine import ScriptedEngine

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
    frame["facts"], frame["facts_contradicted"] = 3, 0
    frame["claims"], frame["claims_covered"] = 2, 1
    frame.loc[sft & frame["exact"], "facts_contradicted"] = 1
    frame.loc[sft & ~frame["exact"], "claims_covered"] = 2
    frame.to_parquet(tmp_path / "rows.parquet")
    results = Results(tmp_path)
    assert results.chosen("reason", LABEL, "lucky", "sft", "sft", 9)[0] == 1
    assert results.chosen("reason", LABEL, "unlucky", "sft", "sft", 9)[0] == 3
    assert results.chosen("reason", LABEL, "lucky", "rarl", "sft", 9)[0] == 0


def failing(folder: Path, tmp_path: Path) -> Results:
    """The run with a part in which sft is always wrong, and its pictures of two sizes."""
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    part = {
        "group": LABEL, "arm": "sft", "mode": "reason", "field": "size",
        "stratum": "under 256 pixels", "n": 30, "images": 30, "wrong": 0.9, "low": 0.8,
        "high": 1.0, "rest": 0.1, "excess": 0.8, "excess_low": 0.6, "excess_high": 1.0,
        "p": 0.0001, "p_holm": 0.001,
    }  # fmt: skip
    chance = part | {"field": "length", "stratum": "no reasoning", "excess": 0.1, "p_holm": 1.0}
    better = part | {"stratum": "512 to 1023 pixels", "excess": -0.8}
    summary["failures"] = [part, chance, better]
    (tmp_path / "summary.json").write_text(json.dumps(summary), "utf-8")
    frame = pd.read_parquet(folder / "rows.parquet")
    first = frame["id"] == frame.loc[frame["category"] == "label", "id"].iloc[0]
    frame["picture_side"] = [200 if small else 600 for small in first]
    frame.to_parquet(tmp_path / "rows.parquet")
    return Results(tmp_path)


def test_a_part_that_fails_leads_to_its_answers(
    root: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RARL_DATA", str(root))
    results = failing(folder, tmp_path)
    html = failures(results.summary(), "reason", LABEL)
    assert 'data-field="size" data-stratum="under 256 pixels" data-arm="sft"' in html
    sure, doubtful = html.split("1 part whose difference may be chance")
    assert "under 256 pixels" in sure and "no reasoning" in doubtful
    assert "512 to 1023" not in html
    assert "90.0 [80.0, 100.0]" in html and "+80.0 [+60.0, +100.0]" in html
    assert "reasoning right, answer wrong" in html and 'data-kind="unlucky"' in html
    assert "<table" not in failures(results.summary(), "reason", LABEL, "base,rarl")
    part = ("size", "under 256 pixels")
    total, shown = results.chosen("reason", LABEL, "all", "sft", "sft", 9, part)
    assert total == 1 and len(shown[0].rows) == 3
    assert results.chosen("reason", LABEL, "all", "sft", "sft", 9)[0] == 4
    listed = listing(total, shown, "", part)
    assert "Size of the picture: under 256 pixels" in listed and 'data-event="widen"' in listed
    assert "widen" not in listing(total, shown, "")


def test_a_flag_keeps_the_case_with_every_arm(results: Results, tmp_path: Path) -> None:
    store = open_store(tmp_path / "home")
    _, (shown,) = results.chosen("reason", LABEL, "beats", "rarl", "sft", 9)
    for choices, sentence in (
        ((None, "minor"), "what is wrong"),
        (("other", None), "how much"),
    ):
        with pytest.raises(ReviewError, match=sentence):
            flag_answer(store, shown, "sft", *choices, "", KEY)
    expected = ("sft", "missed-finding", "major", "There is a glioma.", KEY)
    flag = flag_answer(store, shown, *expected)
    assert flag_answer(store, shown, *expected).id == flag.id  # pressed twice
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


@pytest.mark.parametrize("measured", [True, False], ids=["measured", "not measured"])
def test_the_page_builds_from_files_alone(folder: Path, tmp_path: Path, measured: bool) -> None:
    evaluations = Evaluations([folder] if measured else [], shipped=None)
    with gr.Blocks() as app, gr.Tabs(), gr.Tab("Results") as tab:
        results_page(parts(tmp_path), tab, evaluations, lambda: None)
    arrived = next(
        each for each in app.fns.values() if each.fn is not None and each.fn.__name__ == "arrived"
    )
    update = str(arrived.fn("", False, ""))
    assert ("What scripted gets right" in update) is measured
    assert ("Nothing has been measured yet" in update) is not measured


def parts(folder: Path) -> Parts:
    loader = EngineLoader(ScriptedEngine)
    keeper = KeptSessions(folder / "sessions", Keep(0))
    return Parts(loader, Desk(), {}, folder, Uploads(folder), Downloads(folder), keeper)


def loaded(*names: str, model: str = "") -> Loaded:
    """A model whose variants have the revisions that the run measured."""
    arms = tuple(Arm(name, name.upper(), f"{name:0<12}") for name in names)
    return Loaded("scripted", model, arms)


def test_the_evaluation_of_the_loaded_model_is_chosen(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "runs" / "first")
    other = json.loads((folder / "summary.json").read_text("utf-8"))
    other["model"] = "another"
    for arm in other["arms"]:
        arm["revision"] = arm["revision"][::-1]
    (tmp_path / "runs" / "second").mkdir()
    (tmp_path / "runs" / "second" / "summary.json").write_text(json.dumps(other), "utf-8")
    (tmp_path / "runs" / "third").mkdir()
    (tmp_path / "runs" / "third" / "summary.json").write_text('{"figures": [1]}', "utf-8")
    evaluations = Evaluations([tmp_path / "runs"])
    labels = [each.label for each in evaluations.listed()]
    assert len(labels) == 3 and labels[2].endswith("shipped with the app")
    fitting = evaluations.fitting(loaded("base", "rarl"))
    assert fitting is not None and fitting.label.endswith(", first")
    # Neither the base's figures nor those of weights of the same name are a new variant's own.
    assert evaluations.fitting(loaded("base", "mine")) is None
    assert "has no evaluation" in unmeasured(loaded("base", "mine"), several=True)
    assert "--model runs/2b --data" in unmeasured(loaded("base", model="runs/2b"), several=False)


def test_figures_of_another_model_are_marked(folder: Path) -> None:
    summary = Results(folder).summary()
    assert "These are figures of the loaded model." in opening(summary, loaded("base", "rarl"))
    assert "RARL <code>rarl00000000</code>" in opening(summary)
    assert "not loaded: SFT." in opening(summary, loaded("base", "rarl"))
    assert "not measured here: MINE." in opening(summary, loaded("base", "rarl", "mine"))
    assert "not the figures of the loaded model" in opening(summary, loaded("mine"))
    assert "not loaded · how" in figure_lines(summary, "reason", LABEL, "", loaded("mine"))


def test_two_variants_stand_beside_each_other_with_their_difference(folder: Path) -> None:
    summary = Results(folder).summary()
    assert ("SFT and RARL", "sft,rarl") in pairs(summary)
    lines = figure_lines(summary, "reason", LABEL, "sft,rarl")
    assert "data-arm='base'" not in lines and "data-arm='sft'" in lines
    assert '<td data-arm="Difference" class="apart"><b>+25.0</b>' in lines
    assert "RARL − SFT; right alone: RARL 1, SFT 0" in lines
    drawn = drawings(summary, "reason", LABEL, "sft,rarl")
    assert "rarl − sft" in drawn and "rarl − base" not in drawn


def test_an_evaluation_is_added_from_its_files_or_a_zip(folder: Path, tmp_path: Path) -> None:
    evaluations = Evaluations([], tmp_path / "added", shipped=None)
    files = [(folder / name).read_bytes() for name in ("rows.parquet", "summary.json")]
    first = evaluations.add(files)
    archive = shutil.make_archive(str(tmp_path / "run"), "zip", folder)
    assert evaluations.add([Path(archive).read_bytes()]).key == first.key  # the same run
    (again,) = Evaluations([], tmp_path / "added", shipped=None).listed()
    assert again.results.chosen("reason", LABEL, "beats", "rarl", "sft", 9)[0] == 1
    for wrong in (
        [files[1]],
        [b"PK\x03\x04 no archive"],
        [b"{}", files[0]],
        [b'{"figures": [{}]}', files[0]],
    ):
        with pytest.raises(DataError, match="This is no evaluation"):
            evaluations.add(wrong)
    assert len(list((tmp_path / "added").iterdir())) == 1


def test_a_column_leads_to_how_its_variant_was_made(folder: Path) -> None:
    results = Results(RESULTS)
    tiny = load_offered("tiny")
    making = tiny.making(revision_of(tiny, "rarl"))
    shown = made(results, "rarl", making, True)
    for words in (
        "RARL (GRPO)", "9,863 rows about 2,101 images of vqa_rad", "<dt>Seed</dt><dd>1</dd>",
        "busi_breast_us: CC-BY-4.0", "<h3>Selection</h3>", "<td>77.7</td>", "loaded now",
        "learning_rate: 0.001",
    ):  # fmt: skip
        assert words in shown, words
    missing = "its training curves (metrics.jsonl), a model card of its own (README.md)"
    assert f"Not among the files of these weights: {missing}." in shown
    assert "not at hand" in made(Results(folder), "rarl", Making(), False)
    assert not tiny.making("0" * 12)


def test_the_variants_of_the_embedded_model_come_with_all_that_made_them() -> None:
    pocket = load_offered("pocket")
    for name in ("sft", "rl", "rarl"):
        making = pocket.making(revision_of(pocket, name))
        shown = made(Results(RESULTS), name, making, True)
        assert "Not among the files" not in shown, name
        assert "knee_oa:B" in shown and "<h3>Selection</h3>" in shown


def revision_of(loaded: Loaded, name: str) -> str:
    return {arm.name: arm.revision for arm in loaded.arms}[name]


def load_offered(model: str) -> Loaded:
    """A model of the checkout as the app has it loaded, without loading it."""
    folders = variant_folders(model)
    arms = tuple(
        Arm(name, name.upper(), adapter_revision(folder) or "b" * 12)
        for name, folder in folders.items()
    )
    return Loaded(model, model, arms)


def test_an_evaluation_carries_what_its_variants_were_made_of(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("seed: 7\n", "utf-8")
    (tmp_path / "rarl.json").write_text('{"recipe": "<b>", "data": 3}', "utf-8")
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 5, "loss": 2.0, "rewards": {"accuracy": 0.5}}\n{"step": 10, "loss": 1.5}\n{',
        "utf-8",
    )
    making = Making.from_plain(json.loads(json.dumps(read_making(tmp_path).plain())))
    assert [row["step"] for row in making.curve] == [5, 10]
    shown = made(Results(RESULTS), "rarl", making, False)
    assert "Training curves" in shown and "<svg" in shown and "seed: 7" in shown
    assert "<b>" not in shown
    assert Making.from_plain({"record": 3, "curve": "x"}) == Making()


@pytest.mark.parametrize("value", ["missing", ""], ids=["missing", "unset"])
def test_the_folder_of_evaluations_must_be_one(tmp_path: Path, value: str) -> None:
    environment = {"RARL_HOME": str(tmp_path), "RARL_RESULTS": value and str(tmp_path / value)}
    if not value:
        assert Evaluations.from_environment(environment).takes_more
        return
    with pytest.raises(SettingError, match="RARL_RESULTS must be a folder"):
        Evaluations.from_environment(environment)


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
    script = "import demo.pages.results, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
