"""Attach checks to finished answers, for page, API and command line alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rarl.checks import HeaderFacts, check_answer
from rarl.inference.engine import Answer, Arm


def check_answers(
    answers: Sequence[Answer],
    question: str,
    facts: HeaderFacts,
    arms: Iterable[Arm] = (),
) -> tuple[Answer, ...]:
    """The answers, each with its checks; those that have not ended or that failed are left alone.

    Args:
        answers: one per variant.
        question: as it was typed.
        facts: of the pictures that were asked about.
        arms: at least those that answered, for the languages that they read.
    """
    english = {arm.name for arm in arms if arm.english_only}
    return tuple(
        replace(
            answer,
            checks=check_answer(
                question,
                answer.response.answer,
                answer.response.reasoning,
                facts,
                english_only=answer.arm in english,
            ),
        )
        if answer.done and not answer.stopped and answer.response.text
        else answer
        for answer in answers
    )
