"""Checks of the embedded model that need more than one row or more than a share."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from rarl.data.example import Example
from rarl.evaluation.rows import Row
from rarl.stats.agreement import cohen_kappa
from rarl.stats.bootstrap import Interval

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_GRADES = range(5)


def words_of(texts: Iterable[str]) -> list[str]:
    """The words of texts in lower case, in order, repeated as they are.

    >>> words_of(["Left-sided; 12 mm.", "the patient's"])
    ['left-sided', 'mm', 'the', "patient's"]
    """
    return [word.lower() for text in texts for word in _WORD.findall(text)]


def training_words(examples: Iterable[Example]) -> frozenset[str]:
    """Every word of training questions, answers and explanations, in all their wordings."""
    texts: list[str] = []
    for row in examples:
        texts += [row.question, row.answer, row.explanation or "", *row.wordings]
        texts += [*row.explanations, *(fact.statement for fact in row.facts)]
        texts += [row.modality or "", row.organ or ""]
    return frozenset(words_of(texts))


def unknown_words(texts: Iterable[str], known: Collection[str]) -> tuple[int, int, list[str]]:
    """Words that are neither known nor joined from known parts.

    Returns:
        How many of the words are unknown, how many words there are, and the unknown ones, each
        once, in the order of the alphabet.
    """
    total, unknown = 0, []
    for word in words_of(texts):
        total += 1
        if word not in known and not all(part in known for part in re.split(r"['’-]", word)):
            unknown.append(word)
    return len(unknown), total, sorted(set(unknown))


def grade_kappa(rows: Sequence[Row], seed: int = 0) -> Interval | None:
    """Quadratically weighted kappa of stated and annotated Kellgren-Lawrence grades (0 to 4).

    Args:
        rows: answers to the question for the grade. An answer that states no grade counts as the
            grade farthest from the annotated one.
        seed: of the interval, whose resamples take whole pictures.
    """
    stated, annotated = [], []
    for row in rows:
        reference = int(row.reference)
        numbers = [int(number) for number in re.findall(r"\d+", row.answer)]
        fits = len(numbers) == 1 and numbers[0] in _GRADES
        farthest = max(_GRADES, key=lambda grade: abs(grade - reference))
        stated.append(numbers[0] if fits else farthest)
        annotated.append(reference)
    pictures = [row.image for row in rows]
    return cohen_kappa(annotated, stated, pictures, categories=_GRADES, seed=seed)
