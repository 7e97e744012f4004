"""A heat map shows what the picture did for the words that were said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from holding import picture

from rarl.errors import QuestionError
from rarl.inference.engine import Answer, Looks, NamedImage, Question
from rarl.inference.local import LocalEngine
from rarl.models.loader import LoadedModel
from rarl.response import parse_response

Ask = Callable[..., Question]


def answer(engine: LocalEngine, question: Question, arm: str) -> Answer:
    (answers,) = engine.answer_batch([question])
    return next(one for one in answers if one.arm == arm)


def test_a_map_for_each_picture_and_all_sum_to_one(engine: LocalEngine, ask: Ask) -> None:
    assert isinstance(engine, Looks)
    images = (
        NamedImage(picture(0, (60, 50)), "current"),
        NamedImage(picture(1, (84, 28)), "prior"),
    )
    question = ask(images=images)
    maps = engine.looked(question, answer(engine, question, "rarl"))
    for one, named in zip(maps, images, strict=True):
        assert one.size == engine.seen(named.image).tokens
        assert (one >= 0).all()
        assert one.any()
    assert maps[1].shape[0] < maps[1].shape[1], "as wide as the picture"
    assert sum(one.sum() for one in maps) == pytest.approx(1)


def test_it_changes_with_picture_words_and_arm(engine: LocalEngine, ask: Ask) -> None:
    question = ask()
    answered = answer(engine, question, "rarl")
    (first,) = engine.looked(question, answered)
    (again,) = engine.looked(question, answered)
    np.testing.assert_array_equal(first, again)
    others = [
        engine.looked(replace(question, images=(NamedImage(picture(5)),)), answered),
        engine.looked(question, replace(answered, response=parse_response("<answer>no</answer>"))),
        engine.looked(question, replace(answered, arm="sft")),
        engine.looked(question, replace(answered, arm="base")),
    ]
    for (other,) in others:
        assert np.abs(other - first).max() > 1e-3


def test_a_weight_foretells_what_the_token_does_for_the_words(
    engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The derivative that a weight stands for, by finite differences."""
    question = ask()
    answered = answer(engine, question, "rl")
    seen: list[torch.Tensor] = []
    whole = tiny_loaded.base.forward

    def forward(**inputs: object) -> object:
        outputs = inputs["mm_encoder_outputs"]["image"].pooler_output
        if nudged is not None:
            token, share = nudged
            moved = outputs[0].clone()
            moved[token] += share * (moved.mean(0) - moved[token])
            inputs["mm_encoder_outputs"]["image"].pooler_output = [moved]
        result = whole(**inputs)
        targets = inputs["input_ids"][0, -result.logits.shape[1] + 1 :]
        table = result.logits[0, :-1].log_softmax(-1)
        seen.append(table.gather(-1, targets[:, None]).sum().detach())
        return result

    monkeypatch.setattr(tiny_loaded.base, "forward", forward)
    nudged: tuple[int, float] | None = None
    (weights,) = engine.looked(question, answered)
    losses = []
    for token in range(weights.size):
        for share in (-0.05, 0.05):
            nudged = token, share
            engine.looked(question, answered)
        losses.append(float(seen[-2] - seen[-1]))
    expected = np.clip(losses, 0, None)
    np.testing.assert_allclose(weights.flatten(), expected / expected.sum(), atol=0.02)


def test_what_cannot_be_shown_is_said(engine: LocalEngine, ask: Ask) -> None:
    question = ask()
    silent = replace(answer(engine, question, "rl"), response=parse_response(""))
    with pytest.raises(QuestionError, match="ask first"):
        engine.looked(question, silent)
    with pytest.raises(QuestionError, match="no arm 'ppo'"):
        engine.looked(question, replace(silent, arm="ppo"))
