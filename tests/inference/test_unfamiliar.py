"""A picture of a kind that the model never saw is told before the answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from holding import picture

from rarl.checks import HeaderFacts
from rarl.cli import main
from rarl.inference.checking import (
    check_answers,
    minority_check,
    unfamiliar_pictures,
    with_checks,
)
from rarl.inference.composite import Side, SideBySide
from rarl.inference.engine import Answer, Question
from rarl.inference.local import LocalEngine
from rarl.inference.self_consistency import Sampled
from rarl.models.familiarity import FILE, Familiarity
from rarl.models.loader import LoadedModel
from rarl.response import parse_response, problem_sentence


def measure(loaded: LoadedModel, limit: float) -> Familiarity:
    """A measure to which everything is unfamiliar, or nothing."""
    width = 2 * loaded.base.config.vision_config.embed_dim
    axes = torch.eye(width)[:, :2]
    return Familiarity(
        loaded.revision, ("x-ray of the chest",), torch.zeros(width), torch.ones(width), axes,
        torch.eye(2), torch.zeros(1, 2), torch.ones(1), 1.0, limit,
    )  # fmt: skip


def said(text: str, arm: str = "rarl") -> Answer:
    return Answer(arm, parse_response(f"<answer>{text}</answer>"), 3, 0.1, done=True)


def test_an_unfamiliar_picture_is_told_for_each_variant(
    tiny_loaded: LoadedModel, ask: Callable[..., Question]
) -> None:
    question = ask()
    strict = LocalEngine(replace(tiny_loaded, familiarity=measure(tiny_loaded, 0.0)))
    pictures = unfamiliar_pictures(strict, question)
    assert set(pictures) == {"sft", "rl", "rarl"}
    assert "unlike anything the model was trained on" in pictures["rl"]
    lenient = LocalEngine(replace(tiny_loaded, familiarity=measure(tiny_loaded, 1e9)))
    assert unfamiliar_pictures(lenient, question) == {}
    assert unfamiliar_pictures(LocalEngine(tiny_loaded), question) == {}
    # Beside other engines, under the names that stand on the page.
    arms = {arm.name: arm for arm in strict.arms}
    both = SideBySide(
        [
            Side(strict, ((replace(arms["sft"], name="mine"), "sft"),)),
            Side(lenient, ((arms["rl"], "rl"),)),
        ],
        "two",
    )
    assert set(unfamiliar_pictures(both, ask(arms=("mine", "rl")))) == {"mine"}


def test_the_marks_travel_with_the_answers() -> None:
    answers = (said("yes", "sft"), said("no", "rarl"))
    marked = check_answers(answers, "Mass?", HeaderFacts(), (), {"rarl": "Unlike."})
    assert [[check.name for check in one.checks] for one in marked] == [[], ["unfamiliar-picture"]]
    drawn = Sampled("rarl", 0.7, tuple(said(text) for text in ("yes", "yes", "no")))
    check = minority_check(drawn, "no")
    assert check is not None and "this answer in 1 and “yes” in 2 of them" in check.sentence
    assert minority_check(drawn, "Yes.") is None
    for _ in range(2):  # found out twice, marked once
        marked = with_checks(marked, {"rarl": check})
    assert marked[1].problems[-2:] == ("unfamiliar-picture", "minority-answer")
    for name in ("unfamiliar-picture", "minority-answer", "window-dependent"):
        assert problem_sentence(name) != name


def test_the_command_tells_it_first(
    tiny_model: Path, tiny_loaded: LoadedModel, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model, scan = tmp_path / "model", tmp_path / "scan.png"
    shutil.copytree(tiny_model, model)
    measure(tiny_loaded, 0.0).save(model / FILE)
    picture().save(scan)
    words = ["ask", str(scan), "Mass?", "--model", str(model), "--max-new-tokens", "4"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.count("unlike anything") == 1 and out.index("unlike anything") < out.index("Answer")
    assert main([*words, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("unfamiliar-picture") == 3 and out.count("unlike anything") == 3
