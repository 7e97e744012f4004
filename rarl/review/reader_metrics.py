"""What a reader study shows: how readers did without AI, with its answer, with its reasoning.

Intervals are over pictures, the readers taken as they are: they say what to expect of these readers
on other cases, not of other readers (that takes a multi-reader analysis over many of them; the
responses can be saved for it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from scipy.stats import binomtest

from rarl.review.conditions import CONDITIONS, Condition
from rarl.rewards.accuracy import score_answer
from rarl.stats.bootstrap import LEVEL, Interval, clustered_mean
from rarl.text.normalise import tokens


@dataclass(frozen=True, slots=True)
class Reading:
    """One response of a reader beside what it is held against.

    Attributes:
        condition: what the reader was shown.
        reader: who.
        picture: SHA-256 of the case's first picture.
        right: agreement with the settled answer, 0 to 1; None where none is settled.
        like_ai: agreement with the AI's answer (the wrong one where that was shown), 0 to 1.
        ai_right: agreement of the AI's answer with the settled one; None where none is settled.
        confidence: 0 to 100, or None.
        seconds: time on task, or None.
    """

    condition: Condition
    reader: str
    picture: str
    right: float | None
    like_ai: float
    ai_right: float | None
    confidence: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How readers did under one condition; None where no response says it.

    Attributes:
        condition: what they were shown.
        responses: how many.
        readers: how many gave them.
        right: mean agreement with the settled answer, over the responses whose case has one.
        like_ai: mean agreement with the AI's answer. Under "no-ai" nobody saw it: what it is
            higher by under the others, the AI has moved.
        misled: the same, over the responses where the AI was not right.
        confidence: mean, 0 to 100.
        seconds: geometric mean of the time on task.
    """

    condition: Condition
    responses: int
    readers: int
    right: Interval | None
    like_ai: Interval | None
    misled: Interval | None
    confidence: Interval | None
    seconds: Interval | None


def agreement_with(answer: str, wanted: str) -> float:
    """How far a reader's words agree with an answer, 0 to 1.

    Where a yes or no is wanted, the first word decides; else the words that both share count, as in
    `score_answer`.

    >>> agreement_with("Yes, a small one.", "yes"), agreement_with("no", "yes")
    (1.0, 0.0)
    >>> agreement_with("right lower lobe", "left lower lobe")
    0.0
    """
    words = tokens(wanted)
    if words in (["yes"], ["no"]):
        return float(tokens(answer)[:1] == words)
    return score_answer(answer, wanted, "open")


def outcomes(readings: Sequence[Reading], seed: int) -> tuple[Outcome, ...]:
    """One for each condition under which anybody answered, in the order of `CONDITIONS`.

    Args:
        readings: of one study.
        seed: of the resampling.
    """
    results = []
    for condition in CONDITIONS:
        own = [reading for reading in readings if reading.condition == condition]
        if not own:
            continue

        def mean(
            value: Callable[[Reading], float | None],
            of: Iterable[Reading] = own,
            take: Callable[[Sequence[float], Sequence[str], int], Interval] = share,
        ) -> Interval | None:
            valued = [
                (amount, reading.picture)
                for reading in of
                if (amount := value(reading)) is not None
            ]
            return take([v for v, _ in valued], [p for _, p in valued], seed) if valued else None

        results.append(
            Outcome(
                condition=condition,
                responses=len(own),
                readers=len({reading.reader for reading in own}),
                right=mean(lambda reading: reading.right),
                like_ai=mean(lambda reading: reading.like_ai),
                misled=mean(
                    lambda reading: reading.like_ai,
                    [
                        reading
                        for reading in own
                        if reading.ai_right is not None and reading.ai_right < 1
                    ],
                ),
                confidence=mean(lambda reading: reading.confidence, take=_mean),
                seconds=mean(lambda reading: reading.seconds, take=_geometric_mean),
            )
        )
    return tuple(results)


def share(values: Sequence[float], pictures: Sequence[str], seed: int) -> Interval:
    """Mean of numbers from 0 to 1, resampled by picture.

    Where all are 0 or all are 1 there is nothing to resample, and the interval would have no width:
    there it is the exact one of Clopper and Pearson (1934), with each picture as one trial.
    """
    average = _mean(values, pictures, seed)
    if average.value not in (0.0, 1.0):
        return average
    exact = binomtest(int(average.value) * average.clusters, average.clusters).proportion_ci(LEVEL)
    return replace(average, low=float(exact.low), high=float(exact.high))


def _mean(values: Sequence[float], pictures: Sequence[str], seed: int) -> Interval:
    return clustered_mean([float(value) for value in values], pictures, seed=seed)


def _geometric_mean(seconds: Sequence[float], pictures: Sequence[str], seed: int) -> Interval:
    """Times are skewed: one long one must not make the mean. The page's clock counts whole ones."""
    average = _mean([math.log(max(duration, 1.0)) for duration in seconds], pictures, seed)
    low, high = (None if end is None else math.exp(end) for end in (average.low, average.high))
    return replace(average, value=math.exp(average.value), low=low, high=high)
