"""Attach checks to ended answers: one function for the page, the API and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rarl.checks import HeaderFacts, check_answer
from rarl.inference.engine import Answer


def check_answers(
    answers: Sequence[Answer],
    question: str,
    facts: HeaderFacts,
    english_only: Mapping[str, bool] | None = None,
) -> tuple[Answer, ...]:
    """The answers, each with its checks; those that have not ended or that failed are left alone.

    Args:
        answers: one per variant.
        question: as it was typed.
        facts: of the pictures that were asked about.
        english_only: variant name to whether it reads no language but English.
    """
    english = english_only or {}
    return tuple(
        replace(
            answer,
            checks=check_answer(
                question,
                answer.response.answer,
                answer.response.reasoning,
                facts,
                english_only=english.get(answer.arm, False),
            ),
        )
        if answer.done and not answer.stopped and answer.response.text
        else answer
        for answer in answers
    )
