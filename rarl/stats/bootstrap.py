"""Confidence intervals of measured means, and tests of whether two conditions differ.

Questions about one image are not independent: they share the picture, and often the mistake. So
every interval here resamples whole images (clusters), never single questions.

References:
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13.
    Field and Welsh, Bootstrapping clustered data, J. R. Stat. Soc. B 69 (2007).
    Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979).
    McNemar, Note on the sampling error of the difference between correlated proportions,
    Psychometrika 12 (1947); exact form: Fagerland, Lydersen and Laake, BMC Med. Res. Methodol. 13
    (2013).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

RESAMPLES = 10_000
LEVEL = 0.95
_BATCH = 500  # resamples held in memory at once


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        value: the mean over all rows, in the rows' own unit.
        low: lower end of the interval, or None where there are fewer than two clusters.
        high: upper end, or None likewise.
        n: rows.
        clusters: images.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    clusters: int


@dataclass(frozen=True, slots=True)
class McNemar:
    """Rows on which exactly one of two conditions is right.

    Attributes:
        only_first: rows that only the first has right.
        only_second: rows that only the second has right.
        p: exact two-sided p-value of the hypothesis that both are right equally often; 1 where they
            never differ.
    """

    only_first: int
    only_second: int
    p: float


def clustered_mean(
    values: Sequence[float],
    clusters: Sequence[str],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Mean with a percentile bootstrap interval over clusters.

    A resample draws as many clusters as there are, with replacement, and takes the mean over all
    rows of the drawn clusters, so that a cluster weighs as many rows as it has. The percentile
    interval carries no small-sample correction: with C clusters it is too narrow by about
    sqrt((C - 1) / C).

    Args:
        values: one number a row, say 1 for right and 0 for wrong.
        clusters: the image of each row.
        seed: the same seed gives the same interval, whatever the order of the rows.
        resamples: bootstrap resamples.
        level: share of resamples that the interval holds.

    Raises:
        ValueError: there is no row, or the two lists differ in length.

    >>> clustered_mean([1, 1, 0, 0], ["a", "a", "b", "b"], seed=0)
    Interval(value=0.5, low=0.0, high=1.0, n=4, clusters=2)
    """
    rows = np.asarray(values, dtype=np.float64)
    (interval,) = clustered_means(
        rows[:, None], clusters, seed=seed, resamples=resamples, level=level
    )
    return interval


def clustered_means(
    values: NDArray[np.float64],
    clusters: Sequence[str],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> list[Interval]:
    """`clustered_mean` of several columns, all from the same resamples.

    Args:
        values: rows x columns; NaN where a column has no value for a row, which then counts for
            that column neither in its mean nor in its n.
        clusters: the image of each row.
        seed: as for `clustered_mean`.
        resamples: as for `clustered_mean`.
        level: as for `clustered_mean`.

    Returns:
        One interval for each column.

    Raises:
        ValueError: there is no row, a column has no value at all, or the lengths differ.
    """
    if not len(values):
        raise ValueError("there is no row to take the mean of")
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values but {len(clusters)} clusters")
    known = ~np.isnan(values)
    if not known.any(axis=0).all():
        raise ValueError("a column has no row to take the mean of")
    # Clusters come sorted by name, so that the order of the rows cannot move the interval.
    names, of_row = np.unique(np.asarray(clusters), return_inverse=True)
    count = len(names)
    sums = np.zeros((count, values.shape[1]))
    sizes = np.zeros_like(sums)
    np.add.at(sums, of_row, np.where(known, values, 0.0))
    np.add.at(sizes, of_row, known)
    means = sums.sum(axis=0) / sizes.sum(axis=0)
    counts = (sizes > 0).sum(axis=0)
    low = high = np.full(len(means), np.nan)
    if counts.max() >= 2:
        with np.errstate(invalid="ignore"):
            drawn = np.concatenate(
                [
                    (times @ sums) / (times @ sizes)
                    for times in _resampled(count, resamples, np.random.default_rng(seed))
                ]
            )
        low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [
        Interval(
            value=float(means[column]),
            low=float(low[column]) if counts[column] >= 2 else None,
            high=float(high[column]) if counts[column] >= 2 else None,
            n=int(known[:, column].sum()),
            clusters=int(counts[column]),
        )
        for column in range(len(means))
    ]


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Exact McNemar test over rows.

    It takes the rows as independent; where images have many rows, trust the interval of
    `clustered_mean` of the differences more.

    Args:
        first: whether each row is right under the first condition.
        second: the same rows under the second.

    Raises:
        ValueError: the lists differ in length.

    >>> mcnemar([True] * 6 + [False], [False] * 6 + [False])
    McNemar(only_first=6, only_second=0, p=0.03125)
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} rows cannot be paired")
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return McNemar(only_first, only_second, p)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for multiple comparisons (Holm's step-down procedure).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(np.asarray(p), kind="stable")
    corrected = np.empty(len(p))
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = highest
    return corrected.tolist()


def _resampled(
    count: int, resamples: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Counts of each cluster in each resample (resamples x clusters), in parts.

    The indices are drawn as `scipy.stats.bootstrap` draws them. Times are kept instead of copies,
    so that all columns take one matrix product.
    """
    for first in range(0, resamples, _BATCH):
        rows = min(_BATCH, resamples - first)
        chosen = rng.integers(0, count, (rows, count))
        chosen += count * np.arange(rows)[:, None]
        yield (
            np.bincount(chosen.ravel(), minlength=rows * count)
            .reshape(rows, count)
            .astype(np.float64)
        )
