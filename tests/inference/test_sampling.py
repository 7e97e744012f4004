"""Sampled answers: grouped by what they say, the same again for the same question."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from rarl.errors import QuestionError
from rarl.inference import self_consistency
from rarl.inference.engine import Answer, Question
from rarl.inference.local import LocalEngine
from rarl.inference.self_consistency import Sampled, grouped, sample_answers
from rarl.response import parse_response

Ask = Callable[..., Question]


def said(text: str) -> Answer:
    return Answer("rarl", parse_response(f"<answer>{text}</answer>"), 3, 0.1, done=True)


def test_the_examples_hold() -> None:
    found = doctest.testmod(self_consistency)
    assert found.attempted and not found.failed


def test_what_says_the_same_counts_together() -> None:
    sampled = Sampled(
        "rarl", 0.7, tuple(said(text) for text in ("", "two", "an MRI", "2", "Two.", "MR"))
    )
    assert [(group.answer, group.count) for group in sampled.groups] == [
        ("two", 3),
        ("an MRI", 2),
        ("", 1),
    ]
    assert sum(group.share for group in sampled.groups) == pytest.approx(1)
    assert sampled.consistency("It is 2") == 0
    assert sampled.consistency("2") == 0.5
    assert grouped([]) == ()


def test_samples_differ_but_come_again(engine: LocalEngine, ask: Ask) -> None:
    question = ask(tokens=12)
    sampled = sample_answers(engine, question, "rl", samples=6, temperature=1.0)
    texts = [answer.response.text for answer in sampled.answers]
    assert len(texts) == 6
    assert len(set(texts)) > 1
    assert {answer.arm for answer in sampled.answers} == {"rl"}
    again = sample_answers(engine, question, "rl", samples=6, temperature=1.0)
    assert [answer.response for answer in again.answers] == [a.response for a in sampled.answers]
    # One of them alone is the same: no sample depends on those beside it.
    alone = replace(question.decoding, temperature=1.0, seed=question.decoding.seed + 3)
    (answers,) = engine.answer_batch([replace(question, arms=("rl",), decoding=alone)])
    assert answers[0].response.text == texts[2]


@pytest.mark.parametrize("samples", [1, 33])
def test_too_few_or_too_many_are_refused(engine: LocalEngine, ask: Ask, samples: int) -> None:
    with pytest.raises(QuestionError, match="2 to 32"):
        sample_answers(engine, ask(), "rl", samples)


def test_the_page_may_import_it_without_torch() -> None:
    code = "import sys, rarl.inference.self_consistency; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
