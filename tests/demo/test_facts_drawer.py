"""The facts under an answer: what was measured of these weights on this kind of question."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image

from demo.context import Parts
from demo.pages.facts import FactsLabels
from demo.pages.results import Evaluations
from demo.services.downloads import Downloads
from demo.services.engine_loader import EngineLoader
from demo.services.flagging import Desk
from demo.services.kept_sessions import Keep, KeptSessions
from demo.services.uploads import Uploads
from demo.session import Asked
from rarl.errors import QuestionError
from rarl.inference.engine import Answer, Decoding, NamedImage, Question
from rarl.records import Shown
from rarl.response import parse_response
from rarl.scans import Scan
from tests.demo.measured import measure, write_set
from tests.evaluation.scripted_engine import ScriptedEngine


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of the scripted engine: four open questions about brain MR."""
    folder = tmp_path_factory.mktemp("facts")
    return measure(write_set(folder / "sets"), folder / "run")


def labels(folder: Path, runs: list[Path], loaded: bool = True) -> FactsLabels:
    loader = EngineLoader(ScriptedEngine)
    if loaded:
        loader.load_here()
    keeper = KeptSessions(folder / "sessions", Keep(0))
    parts = Parts(loader, Desk(), {}, folder, Uploads(folder), Downloads(folder), keeper)
    return FactsLabels(parts, Evaluations(runs, shipped=None))


def asked(text: str) -> Asked:
    picture = Image.new("L", (32, 32), 90)
    arms = [arm for arm in ScriptedEngine.arms if arm.name in ("sft", "rl")]
    question = Question((NamedImage(picture),), text, ("sft", "rl"), decoding=Decoding())
    answers = tuple(
        Answer(arm.name, parse_response("<answer>no</answer>"), 1, 0.1, done=True) for arm in arms
    )
    return Asked(Scan(picture, "PNG"), question, (Shown(),), answers, tuple(arms), "scripted", text)


def test_the_drawer_shows_what_was_measured_and_what_was_not(run: Path, tmp_path: Path) -> None:
    made = labels(tmp_path, [run])
    view = made.view(asked("What is shown?"), ["MR"])
    assert "Accuracy on MRI, open questions" in view
    # SFT was measured, RL was not.
    assert "<td>25.0 %<small>" in view and "brain_tumor_mri: label<small>n 4, 4" in view
    assert "RL: Not measured." in view and "SFT: Not measured." not in view
    assert "Not recorded." in view and "Any use in the care of a patient" in view
    card = unquote(view.split('href="data:application/xml;charset=utf-8,', 1)[1].split('"', 1)[0])
    assert card.startswith("<?xml") and "<ModelName>scripted, SFT</ModelName>" in card
    # Another kind of question, another kind of picture, or none that is known: no figure.
    for text, modalities in (
        ("Is there a mass?", ["MR"]), ("What is shown?", ["CT"]), ("What is shown?", [None]),
        ("What is shown?", ["MR", "CT"]),
    ):  # fmt: skip
        view = made.view(asked(text), modalities)
        assert "SFT: Not measured." in view and "25.0 %" not in view, (text, modalities)


def test_programs_get_the_same_as_json(run: Path, tmp_path: Path) -> None:
    made = labels(tmp_path, [run])
    content: dict[str, Any] = made.plain("sft", "reason", "", "", "json")
    (line,) = content["measured"]
    assert (line["modality"], line["kind"], line["n"], line["images"]) == ("MRI", "open", 4, 4)
    assert content["variant"] == "sft" and "chai" not in content
    assert made.plain("sft", "reason", "CT", "", "json")["measured"] == []
    assert made.plain("sft", "answer", "", "", "json")["measured"] == []
    last = made.plain("", "reason", "mri", "open", "chai")
    assert last["variant"] == "rarl" and last["chai"].startswith("<?xml")
    assert len(last["measured"]) == 1
    with pytest.raises(QuestionError, match="choose from base, sft, rl, rarl"):
        made.plain("theirs", "reason", "", "", "json")
    with pytest.raises(QuestionError, match="still loading"):
        labels(tmp_path, [run], loaded=False).plain("", "reason", "", "", "json")


def test_figures_of_other_weights_are_not_shown(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    summary = (run / "summary.json").read_text("utf-8")
    (other / "summary.json").write_text(summary.replace("sft000000000", "0" * 12), "utf-8")
    (other / "rows.parquet").write_bytes((run / "rows.parquet").read_bytes())
    assert labels(tmp_path, [other]).plain("sft", "reason", "", "", "json")["measured"] == []
