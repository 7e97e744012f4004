"""Labelled pairs of reference and candidate reasoning, for measuring rewards.

`tests/rewards/references.jsonl` holds one reference a line with its written candidates; the other
relations (shuffled words, hedge, echo, unrelated) are made from it. A file of finished pairs has
one candidate a line with `item`, `question`, `answer`, `explanation`, `reasoning`, `said` and
`relation`.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rarl.errors import DataError

HEDGES = (
    "Several explanations are possible; the image might show something or might be normal, and a"
    " specialist could decide.",
    "Perhaps there is a lesion, perhaps not; it could be anything.",
    "It may be one of many things, and follow-up could help if symptoms persist.",
    "This could possibly be disease, or it could be a normal variant.",
)
UNRELATED = (
    "The bowel loops of this cat are normal and the tail is straight.",
    "The weather is fine today and the train leaves at noon.",
    "Fundoscopy of the horse shows a normal tapetum.",
    "The quarterly report shows rising sales in all regions.",
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reasoning with the answer that goes with it."""

    reasoning: str
    answer: str


@dataclass(frozen=True, slots=True)
class Reference:
    """An explanation with written candidates.

    Attributes:
        organ: part of the body.
        modality: kind of image.
        question: as asked.
        answer: the short answer.
        explanation: the reference.
        paraphrases: the same in other words.
        partial: some of it.
        negated: the opposite of every finding.
        wrong: another diagnosis of the same organ.
        side: the right findings on the wrong side, or None where no side is named.
    """

    organ: str
    modality: str
    question: str
    answer: str
    explanation: str
    paraphrases: tuple[str, ...]
    partial: str
    negated: Candidate
    wrong: str
    side: Candidate | None


@dataclass(frozen=True, slots=True)
class Pair:
    """A candidate against a reference.

    Attributes:
        relation: how the candidate relates to the reference.
        candidate: the reasoning.
        reference: the explanation.
        question: as asked.
        answer: the short reference answer.
        given: the answer that goes with the reasoning.
        item: number of the reference.
    """

    relation: str
    candidate: str
    reference: str
    question: str = ""
    answer: str = ""
    given: str = ""
    item: int = 0


def read_references(path: Path) -> list[Reference]:
    """Read references.

    Raises:
        DataError: a line is not a reference.
    """
    return [_reference(line, number, path) for number, line in _lines(path)]


def development(references: Sequence[Reference]) -> list[Reference]:
    """Those that may be looked at while the reward is made."""
    hidden = _held_out(references)
    return [reference for reference in references if _digest(reference) not in hidden]


def held_out(references: Sequence[Reference]) -> list[Reference]:
    """The third of the references, by hash, that fits and decides nothing."""
    hidden = _held_out(references)
    return [reference for reference in references if _digest(reference) in hidden]


def pairs_of(reference: Reference, item: int = 0) -> list[Pair]:
    """The reference's candidates, the made ones included."""
    rng = random.Random(reference.explanation)
    rows = [
        ("verbatim", reference.explanation, reference.answer),
        *(("paraphrase", text, reference.answer) for text in reference.paraphrases),
        ("partial", reference.partial, reference.answer),
        ("negated", reference.negated.reasoning, reference.negated.answer),
        ("wrong", reference.wrong, "other"),
        ("bag", shuffled(reference.explanation, rng), reference.answer),
        ("hedge", rng.choice(HEDGES), reference.answer),
        ("echo", reference.question, reference.answer),
        ("unrelated", rng.choice(UNRELATED), reference.answer),
    ]
    if reference.side is not None:
        rows.append(("side", reference.side.reasoning, reference.side.answer))
    return [
        Pair(
            relation, text, reference.explanation, reference.question, reference.answer, given, item
        )
        for relation, text, given in rows
    ]


def read_pairs(path: Path) -> list[Pair]:
    """Read a file of finished pairs.

    Raises:
        DataError: a line is not a pair.
    """
    pairs = []
    for number, line in _lines(path):
        try:
            pairs.append(
                Pair(
                    relation=line["relation"],
                    candidate=line["reasoning"],
                    reference=line["explanation"],
                    question=line["question"],
                    answer=line["answer"],
                    given=line["said"],
                    item=line["item"],
                )
            )
        except (KeyError, TypeError) as error:
            raise DataError(f"{path}, line {number}: not a labelled pair ({error}).") from error
    return pairs


def shuffled(text: str, rng: random.Random) -> str:
    """The words of a text in random order."""
    words = text.replace("-", " ").replace(",", "").split()
    rng.shuffle(words)
    return " ".join(words)


def _lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text("utf-8").splitlines()
        return [(number, json.loads(line)) for number, line in enumerate(lines, 1) if line.strip()]
    except OSError as error:
        raise DataError(f"{path} could not be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path} is not a JSON Lines file.") from error


def _reference(line: dict[str, Any], number: int, path: Path) -> Reference:
    try:
        side = line.get("side")
        return Reference(
            **{
                **line,
                "paraphrases": tuple(line["paraphrases"]),
                "negated": Candidate(**line["negated"]),
                "side": None if side is None else Candidate(**side),
            }
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}, line {number}: not a reference ({error}).") from error


def _digest(reference: Reference) -> str:
    return hashlib.sha256(reference.explanation.encode()).hexdigest()


def _held_out(references: Sequence[Reference]) -> frozenset[str]:
    digests = sorted(map(_digest, references))
    return frozenset(digests[: -(-len(digests) // 3)])
