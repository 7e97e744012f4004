"""Calibration: whether the stated confidence of answers matches their accuracy.

The confidence of an answer is self-consistency: the share of answers sampled for the same question
that say the same (Wang et al., ICLR 2023). Calibration error is taken over bins of equal width
(Guo et al., ICML 2017); selective accuracy is the accuracy over the most confident share of the
questions (El-Yaniv and Wiener, JMLR 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a reliability diagram.

    Attributes:
        low: lowest confidence of the bin; the last bin includes 1.
        high: where the next bin begins.
        confidence: mean confidence of its answers.
        accuracy: share of them that is right.
        n: answers.
    """

    low: float
    high: float
    confidence: float
    accuracy: float
    n: int


@dataclass(frozen=True, slots=True)
class Point:
    """Accuracy where only the most confident questions are answered.

    Attributes:
        answered: share of the questions that are answered.
        accuracy: share of those answers that is right.
    """

    answered: float
    accuracy: float


def self_consistency(answer: str, drawn: Sequence[str]) -> float:
    """Share of the sampled answers that equal an answer; all of them normalised.

    Raises:
        ValueError: nothing was sampled.

    >>> self_consistency("yes", ["yes", "no", "yes", "yes"])
    0.75
    """
    if not drawn:
        raise ValueError("there is no sampled answer to compare with")
    return sum(other == answer for other in drawn) / len(drawn)


def reliability(
    confidences: Sequence[float], rights: Sequence[bool], bins: int = BINS
) -> list[Bin]:
    """The bins of a reliability diagram that hold an answer.

    >>> reliability([0.2, 0.3, 1.0], [False, True, True], bins=2)[0]
    Bin(low=0.0, high=0.5, confidence=0.25, accuracy=0.5, n=2)
    """
    confidence, right = np.asarray(confidences, dtype=float), np.asarray(rights, dtype=float)
    if len(confidence) != len(right):
        raise ValueError(f"{len(confidence)} confidences but {len(right)} answers")
    # Round first: floating-point error could put k/10 in the lower bin.
    place = np.minimum(np.round(confidence * bins, 9).astype(int), bins - 1)
    return [
        Bin(
            low=index / bins,
            high=(index + 1) / bins,
            confidence=float(confidence[place == index].mean()),
            accuracy=float(right[place == index].mean()),
            n=int((place == index).sum()),
        )
        for index in range(bins)
        if (place == index).any()
    ]


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Mean distance of confidence and accuracy over the bins, each weighed by its answers.

    >>> expected_calibration_error([Bin(0, 0.5, 0.25, 0.5, 2), Bin(0.5, 1, 1.0, 1.0, 2)])
    0.125
    """
    answers = sum(item.n for item in bins)
    return sum(item.n * abs(item.confidence - item.accuracy) for item in bins) / answers


def selective_accuracy(confidences: Sequence[float], rights: Sequence[bool]) -> list[Point]:
    """Accuracy against the share answered, most confident first.

    Answers of equal confidence are taken together, since nothing orders them.

    >>> selective_accuracy([0.9, 0.5, 0.5], [True, True, False])[0].accuracy
    1.0
    """
    confidence, right = np.asarray(confidences, dtype=float), np.asarray(rights, dtype=float)
    points = []
    for least in np.unique(confidence)[::-1]:
        given = confidence >= least
        points.append(Point(float(given.mean()), float(right[given].mean())))
    return points


@dataclass(frozen=True, slots=True)
class RiskPoint:
    """One point of a risk-coverage curve.

    Attributes:
        coverage: share of the questions that are answered.
        risk: share of those answers that is wrong.
    """

    coverage: float
    risk: float


def risk_coverage(
    confidence: Sequence[float], right: Sequence[bool], given: Sequence[bool]
) -> list[RiskPoint]:
    """Risk where only the most confident questions are answered, one point for each confidence.

    Args:
        confidence: of each question's answer.
        right: whether it is right.
        given: whether an answer was given at all; an abstention is never covered.

    >>> risk_coverage([1.0, 1.0, 0.5, 0.5], [True, False, False, True], [True, True, True, False])
    [RiskPoint(coverage=0.5, risk=0.5), RiskPoint(coverage=0.75, risk=0.6666666666666666)]
    """
    answered = sorted(
        (
            (sure, good)
            for sure, good, is_given in zip(confidence, right, given, strict=True)
            if is_given
        ),
        key=lambda pair: -pair[0],
    )
    points = []
    wrong = 0
    for place, (sure, good) in enumerate(answered, 1):
        wrong += not good
        if place == len(answered) or answered[place][0] != sure:
            points.append(RiskPoint(place / len(given), wrong / place))
    return points


def area_under(points: Sequence[RiskPoint]) -> float | None:
    """Mean risk over all coverages up to the largest one; None without a point.

    >>> area_under([RiskPoint(0.5, 0.25), RiskPoint(1.0, 0.5)])
    0.375
    """
    if not points:
        return None
    before = [0.0, *(point.coverage for point in points[:-1])]
    total = sum(
        (point.coverage - start) * point.risk for point, start in zip(points, before, strict=True)
    )
    return total / points[-1].coverage
