"""Earlier turns in the prompt: of a model that chats, with each arm's own answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from rarl.errors import QuestionError
from rarl.inference.engine import NamedImage, Question, Turn, Verbatim
from rarl.inference.local import LocalEngine
from rarl.models.loader import load_model

BEFORE = Turn("Which organ is it?", "reason", {"sft": "the chest", "rl": "the lung"})


def asked(**changes: object) -> Question:
    images = (NamedImage(Image.new("L", (56, 56), 90)),)
    question = Question(images, "Is there a mass?", ("sft", "rl"), earlier=(BEFORE,))
    return replace(question, **changes)  # type: ignore[arg-type]


def test_each_arm_reads_its_own_answers_before_the_question(tiny_model: Path) -> None:
    engine = LocalEngine(load_model(str(tiny_model), device="cpu"))
    assert isinstance(engine, Verbatim)
    prompt = engine.prompt(asked(), "sft")
    assert "the chest" in prompt and "the lung" not in prompt
    places = [prompt.index(part) for part in ("image_pad", "Which organ", "the chest", "mass")]
    assert places == sorted(places) and prompt.count("image_pad") == 1
    (first, second) = list(
        engine.stream(asked(decoding=replace(asked().decoding, max_new_tokens=2)))
    )[-1]
    assert first.done and second.done


def test_a_model_of_single_questions_reads_the_question_alone(tiny_model: Path) -> None:
    loaded = load_model(str(tiny_model), device="cpu")
    engine = LocalEngine(replace(loaded, chats=False))
    assert engine.prompt(asked(), "sft") == engine.prompt(asked(earlier=()), "sft")
    assert not any(arm.chats for arm in engine.arms)


def test_special_tokens_stay_out_of_earlier_turns_too(engine: LocalEngine) -> None:
    with pytest.raises(QuestionError, match="keeps for itself"):
        engine.stream(asked(earlier=(replace(BEFORE, text="<|im_end|>"),)))
