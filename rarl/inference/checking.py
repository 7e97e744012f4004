"""Attach checks to finished answers, for page, API and command line alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rarl.checks import HeaderFacts, check_answer
from rarl.inference.engine import Answer, Arm, Engine, KnowsPictures, Question
from rarl.inference.self_consistency import Sampled
from rarl.response import Check
from rarl.text.choice import in_words


def check_answers(
    answers: Sequence[Answer],
    question: str,
    facts: HeaderFacts,
    arms: Iterable[Arm] = (),
    unfamiliar: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> tuple[Answer, ...]:
    """The answers, each with its checks; those that have not ended or that failed are left alone.

    Args:
        answers: one per variant.
        question: as it was typed.
        facts: of the pictures that were asked about.
        arms: at least those that answered, for the languages that they read.
        unfamiliar: from `unfamiliar_pictures`.
        options: of a multiple-choice question; an answer that names one is read as its words.
    """
    english = {arm.name for arm in arms if arm.english_only}
    unknown = {
        arm: (Check("unfamiliar-picture", sentence),)
        for arm, sentence in (unfamiliar or {}).items()
    }
    return tuple(
        replace(
            answer,
            checks=(
                *unknown.get(answer.arm, ()),
                *check_answer(
                    question,
                    in_words(answer.response.answer, options),
                    answer.response.reasoning,
                    facts,
                    english_only=answer.arm in english,
                    has_options=bool(options),
                ),
            ),
        )
        if answer.done and not answer.stopped and answer.response.text
        else answer
        for answer in answers
    )


def unfamiliar_pictures(engine: Engine, question: Question) -> Mapping[str, str]:
    """What the engine knows of the pictures before it answers; see `KnowsPictures.unfamiliar`.

    Raises:
        QuestionError: as for `Engine.stream`.
    """
    if not isinstance(engine, KnowsPictures) or not engine.measures_pictures:
        return {}
    return engine.unfamiliar(question)


def minority_check(sampled: Sampled, answer: str) -> Check | None:
    """A check for an answer that the model itself mostly does not give when asked again.

    Args:
        sampled: what it said then.
        answer: the one that is shown.

    Returns:
        None where no other answer was given more often.
    """
    share, most = sampled.consistency(answer), sampled.groups[0]
    if share >= most.share:
        return None
    count = round(share * len(sampled.answers))
    return Check(
        "minority-answer",
        f"Asked {len(sampled.answers)} more times, the model gave this answer in {count} and "
        f"“{most.answer or 'no answer'}” in {most.count} of them.",
    )


def with_checks(
    answers: Iterable[Answer], checks_by_arm: Mapping[str, Check]
) -> tuple[Answer, ...]:
    """The answers with one more check each, in the place of an earlier one of the same name.

    Args:
        answers: one per variant.
        checks_by_arm: name of a variant to its check.
    """
    return tuple(
        replace(
            answer,
            checks=(
                *(check for check in answer.checks if check.name != checks_by_arm[answer.arm].name),
                checks_by_arm[answer.arm],
            ),
        )
        if answer.arm in checks_by_arm
        else answer
        for answer in answers
    )
