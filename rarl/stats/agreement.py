"""Agreement between readers beyond chance: Cohen's kappa and Krippendorff's alpha.

Answers about one picture are not independent, so every interval resamples whole pictures, as in
`rarl.stats.bootstrap`.

References:
    Cohen, A coefficient of agreement for nominal scales, Educ. Psychol. Meas. 20 (1960), and
    Weighted kappa, Psychol. Bull. 70 (1968).
    Krippendorff, Computing Krippendorff's alpha-reliability (2011).
    Hayes and Krippendorff, Commun. Methods Meas. 1 (2007), on bootstrapping.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rarl.stats.bootstrap import LEVEL, Interval

RESAMPLES = 1_000
Weights = Literal["none", "linear", "quadratic"]
Measurement = Literal["nominal", "ordinal", "interval"]


def cohen_kappa(
    first: Sequence[int],
    second: Sequence[int],
    clusters: Sequence[str],
    *,
    categories: Sequence[int] = range(4),
    weights: Weights = "quadratic",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Cohen's kappa of two readings of the same answers; Cohen 1968 with weights.

    Args:
        first: one score per answer by the first reader.
        second: by the second reader, in the same order.
        clusters: the picture of each answer.
        categories: the scale, in order.
        weights: "none" counts every difference alike; "quadratic" suits a scale of 0-3.
        seed: the same seed gives the same interval.
        resamples: bootstrap resamples; those in which kappa is not defined are left out.

    Returns:
        Kappa with a percentile interval, or None where it is not defined: no answer, or only one
        score used by both readers, so that chance alone would agree.

    Raises:
        ValueError: the lists differ in length, or a score is off the scale.

    >>> cohen_kappa([0, 0, 1, 1], [0, 0, 1, 0], list("abcd"), weights="none").value
    0.5
    """
    if not len(first) == len(second) == len(clusters):
        raise ValueError(f"{len(first)}, {len(second)} and {len(clusters)} rows cannot be paired")
    place = {score: index for index, score in enumerate(categories)}
    if not set(place) >= {*first, *second}:
        raise ValueError("a score is off the scale")
    rows = np.array([place[score] for score in first], dtype=int)
    columns = np.array([place[score] for score in second], dtype=int)
    size = len(place)
    apart = np.abs(np.arange(size)[:, None] - np.arange(size)[None, :])
    cost = {"none": (apart > 0), "linear": apart, "quadratic": apart**2}[weights].astype(float)

    def kappa(chosen: NDArray[np.intp]) -> float:
        table = np.zeros((size, size))
        np.add.at(table, (rows[chosen], columns[chosen]), 1)
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / len(chosen)
        by_chance = float((cost * expected).sum())
        return 1 - float((cost * table).sum()) / by_chance if by_chance else float("nan")

    return _with_interval(kappa, clusters, seed, resamples)


def krippendorff_alpha(
    scores: Sequence[Sequence[int]],
    clusters: Sequence[str],
    *,
    categories: Sequence[int] = range(4),
    measurement: Measurement = "ordinal",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Krippendorff's alpha, for any number of readers, not all of whom judged every answer.

    An answer with fewer than two scores cannot be compared and is left out.

    Args:
        scores: the scores given to each answer; a missing score is left out of its list.
        clusters: the picture of each answer.
        categories: the scale, in order.
        measurement: how far apart two scores are. "nominal": every difference counts alike.
            "ordinal": by the number of scores that lie between the two. "interval": by the square
            of their difference.
        seed: the same seed gives the same interval.
        resamples: bootstrap resamples; those in which alpha is not defined are left out.

    Returns:
        Alpha with a percentile interval, or None where it is not defined: no answer with two
        scores, or one score throughout.

    Raises:
        ValueError: the lists differ in length, or a score is off the scale.

    >>> krippendorff_alpha([[0, 0], [3, 3], [1, 1]], list("abc")).value
    1.0
    """
    if len(scores) != len(clusters):
        raise ValueError(f"{len(scores)} and {len(clusters)} rows cannot be paired")
    place = {score: index for index, score in enumerate(categories)}
    counts = np.zeros((len(scores), len(place)))
    for row, given in enumerate(scores):
        for score in given:
            if score not in place:
                raise ValueError("a score is off the scale")
            counts[row, place[score]] += 1
    scale = np.array(list(place), dtype=float)

    def alpha(chosen: NDArray[np.intp]) -> float:
        return _alpha(counts[chosen], scale, measurement)

    return _with_interval(alpha, clusters, seed, resamples)


def _alpha(counts: NDArray[np.float64], scale: NDArray[np.float64], measurement: str) -> float:
    """Alpha by the coincidence matrix, in the notation of Krippendorff (2011).

    Args:
        counts: how often each answer was given each score (answers x scores).
        scale: the value of each score.
        measurement: as for `krippendorff_alpha`.

    Returns:
        Alpha, or NaN where it is not defined.
    """
    pairable = counts[counts.sum(axis=1) > 1]
    per_answer = pairable.sum(axis=1)
    weighted = pairable / (per_answer[:, None] - 1)
    coincidences = weighted.T @ pairable - np.diag(weighted.sum(axis=0))
    totals = pairable.sum(axis=0)
    if np.count_nonzero(totals) < 2:
        return float("nan")
    distance = _squared_distance(totals, scale, measurement)
    observed = float((coincidences * distance).sum())
    expected = float((np.outer(totals, totals) * distance).sum()) / (totals.sum() - 1)
    return float(1 - observed / expected)


def _squared_distance(
    totals: NDArray[np.float64], scale: NDArray[np.float64], measurement: str
) -> NDArray[np.float64]:
    """Squared difference of every two scores (scores x scores)."""
    if measurement == "nominal":
        return 1.0 - np.eye(len(scale))
    # The ordinal distance of c and k is the number of scores from c to k, both ends counted half:
    # the difference of the mid-ranks.
    position = totals.cumsum() - totals / 2 if measurement == "ordinal" else scale
    squared: NDArray[np.float64] = (position[:, None] - position[None, :]) ** 2
    return squared


def _with_interval(
    estimate: Callable[[NDArray[np.intp]], float],
    clusters: Sequence[str],
    seed: int,
    resamples: int,
) -> Interval | None:
    """The estimate over all rows, with a percentile interval over resampled clusters."""
    if not len(clusters):
        return None
    names, of_row = np.unique(np.asarray(clusters), return_inverse=True)
    value = estimate(np.arange(len(of_row)))
    if np.isnan(value):
        return None
    if len(names) < 2:
        return Interval(float(value), None, None, len(of_row), len(names))
    # Rows sorted by cluster, so that the order in which they come cannot move the interval.
    members = [np.flatnonzero(of_row == index) for index in range(len(names))]
    draws = np.random.default_rng(seed).integers(0, len(names), (resamples, len(names)))
    estimates = np.array(
        [estimate(np.concatenate([members[index] for index in draw])) for draw in draws]
    )
    tail = 50 * (1 - LEVEL)
    low, high = np.nanpercentile(estimates, [tail, 100 - tail])
    return Interval(float(value), float(low), float(high), len(of_row), len(names))
