"""Compare the answers of several variants: different answers, and findings that some deny.

A pointer for the eye and no judgement: it reads words, not meaning, and a difference that is
phrased in other words is missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from rarl.inference.engine import Answer
from rarl.rewards.reasoning import Statement, read_statements
from rarl.text.normalise import tokens

Kind = Literal["modality", "organ", "side", "finding"]

_SIDES = frozenset({"left", "right"})
_WORD = re.compile(r"[\w-]+")
# Two statements are about one thing where they share more than this part of the shorter one.
_SAME_THING = 0.5


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that arms say differently.

    Attributes:
        kind: what is said differently.
        words: the words that differ, in their normal form.
        arms: the arms that speak of it, in the order of the columns.
    """

    kind: Kind
    words: frozenset[str]
    arms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Said:
    arm: str
    statements: tuple[Statement, ...]
    answer: frozenset[str] = field(default=frozenset())

    def union(self, name: Literal["modalities", "organs"]) -> frozenset[str]:
        if name == "modalities":
            return frozenset(word for statement in self.statements for word in statement.modalities)
        return frozenset(word for statement in self.statements for word in statement.organs)


def differences(answers: Sequence[Answer]) -> tuple[Difference, ...]:
    """What the arms say differently of modality, organ, side and findings.

    Args:
        answers: whole ones, in the order of the columns.
    """
    by_variant = [
        _Said(
            answer.arm,
            read_statements(answer.response.reasoning),
            frozenset(tokens(answer.response.answer)),
        )
        for answer in answers
    ]
    differing: dict[tuple[Kind, frozenset[str]], dict[str, None]] = {}
    for own, other in combinations(by_variant, 2):
        for kind, words in _between(own, other):
            differing.setdefault((kind, words), {}).update({own.arm: None, other.arm: None})
    order = [answer.arm for answer in answers]
    return tuple(
        Difference(kind, words, tuple(sorted(arms, key=order.index)))
        for (kind, words), arms in differing.items()
    )


def marked(text: str, words: frozenset[str]) -> list[tuple[str, bool]]:
    """A text in pieces, and whether each is one of the words.

    >>> marked("No nodules here.", frozenset({"nodule"}))
    [('No ', False), ('nodules', True), (' here.', False)]
    """
    pieces: list[tuple[str, bool]] = []
    end = 0
    for match in _WORD.finditer(text):
        normal = tokens(match[0])
        if any(word in words or word.removesuffix("s") in words for word in normal):
            pieces += [(text[end : match.start()], False), (match[0], True)]
            end = match.end()
    pieces.append((text[end:], False))
    return [(piece, is_word) for piece, is_word in pieces if piece]


def words_of(differing: Iterable[Difference], arm: str) -> frozenset[str]:
    """The words to mark in an arm's column."""
    return frozenset(
        word for difference in differing if arm in difference.arms for word in difference.words
    )


def in_words(differing: Sequence[Difference], labels: Mapping[str, str]) -> str:
    """One sentence on what differs, or "".

    >>> side = Difference("side", frozenset({"left", "right"}), ("sft", "rl"))
    >>> in_words([side], {"sft": "SFT", "rl": "RL"})
    'They disagree on the side: left, right (SFT, RL).'
    """
    if not differing:
        return ""
    parts = []
    for difference in differing:
        arms = ", ".join(labels.get(arm, arm) for arm in difference.arms)
        parts.append(f"the {difference.kind}: {', '.join(sorted(difference.words))} ({arms})")
    return f"They disagree on {'; on '.join(parts)}."


def _between(own: _Said, other: _Said) -> Iterable[tuple[Kind, frozenset[str]]]:
    kinds: tuple[tuple[Kind, Literal["modalities", "organs"]], ...] = (
        ("modality", "modalities"),
        ("organ", "organs"),
    )
    for kind, name in kinds:
        first, second = own.union(name), other.union(name)
        if first and second and not first & second:
            yield kind, first | second
    if (
        _one_side(own.answer)
        and _one_side(other.answer)
        and _sides_differ(own.answer, other.answer)
    ):
        yield "side", _SIDES
        return
    for first_one in own.statements:
        for second_one in other.statements:
            yield from _of_pair(first_one, second_one)


def _of_pair(own: Statement, other: Statement) -> Iterable[tuple[Kind, frozenset[str]]]:
    # Of what both deny, too: only one of them may have looked on the side in question.
    sides = [each.sides or each.denied & _SIDES for each in (own, other)]
    opposed = all(len(each) == 1 for each in sides) and sides[0] != sides[1]
    if opposed and _alike(own.words - _SIDES, other.words - _SIDES):
        yield "side", _SIDES
    for denied, affirmed in ((own.denied, other.affirmed), (other.denied, own.affirmed)):
        shared = _alike(denied, affirmed)
        if shared:
            yield "finding", shared - _SIDES or shared


def _alike(words: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """The words that two statements share, where that makes them about one thing."""
    shared = words & other
    return shared if len(shared) > _SAME_THING * min(len(words), len(other)) else frozenset()


def _one_side(words: frozenset[str]) -> bool:
    return len(words & _SIDES) == 1


def _sides_differ(words: frozenset[str], other: frozenset[str]) -> bool:
    return words & _SIDES != other & _SIDES
