"""Intervals for answers that many readers gave on the same cases.

Answers that share the reader or the case are alike, so that a study of few readers says little of
other readers. The variance of a mean is therefore taken over both: the part between readers, plus
the part between cases, less the part of single answers, which both contain (Cameron, Gelbach and
Miller, J. Bus. Econ. Stat. 29 (2011)). It is what a bootstrap over readers, one over cases and one
over single answers give together; a bootstrap that draws both at once counts the chance of single
answers three times (Owen, Ann. Appl. Stat. 1 (2007)) and covers too much.

The interval uses Student's t with Satterthwaite's degrees of freedom, for a share on the logit
scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, t

LEVEL = 0.95
# Share of the smaller of both parts that is left at least: of several the one with which
# simulated intervals cover best.
_LEAST = 0.7
# Share of a mean's rows above which a reader or case counts as having this share.
_MOST = 0.9
Scale = Literal["share", "difference", "log-ratio"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure of a reader study with its interval over readers and cases.

    Attributes:
        value: a share or a difference of shares; for a ratio, the ratio.
        low: lower end, or None where there are fewer than two readers or cases.
        high: upper end, or None likewise.
        n: answers it rests on.
        readers: how many gave them.
        cases: on how many cases.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    readers: int
    cases: int


def codes(names: Sequence[str]) -> NDArray[np.int64]:
    """A number for each name, from 0, in the order of the names."""
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1].astype(np.int64)


def two_way_mean(
    parts: Sequence[tuple[float, Floats]],
    readers: NDArray[np.int64],
    cases: NDArray[np.int64],
    scale: Scale,
    level: float = LEVEL,
) -> Estimate | None:
    """A weighted sum of means over parts of the rows, with its interval.

    Args:
        parts: weight and values of each mean, (rows,); NaN where a row does not count for it.
        readers: number of each row's reader, from 0.
        cases: number of each row's case, from 0.
        scale: "share" for one mean of 0 and 1, "difference", or "log-ratio" for a sum of means of
            logarithms, which gives a ratio.
        level: of the interval.

    Returns:
        None where a part has no row.

    >>> rows = np.array([1.0, 0, 1, 1, 0, 1])
    >>> found = two_way_mean([(1, rows)], np.array([0, 0, 0, 1, 1, 1]),
    ...                      np.array([0, 1, 2, 0, 1, 2]), "share")
    >>> round(found.value, 3), found.n, found.readers, found.cases
    (0.667, 6, 2, 3)
    """
    value = 0.0
    influences: list[tuple[Floats, NDArray[np.bool_]]] = []
    counted = np.zeros(len(readers), dtype=bool)
    for weight, values in parts:
        rows = ~np.isnan(values)
        if not rows.any():
            return None
        mean = float(values[rows].mean())
        value += weight * mean
        influence = np.zeros(len(readers))
        influence[rows] = weight * (values[rows] - mean) / rows.sum()
        influences.append((influence, rows))
        counted |= rows
    reader, case = readers[counted], cases[counted]
    own = [(influence[counted], rows[counted]) for influence, rows in influences]
    reader_count, case_count = len(np.unique(reader)), len(np.unique(case))
    counts = {"n": int(counted.sum()), "readers": reader_count, "cases": case_count}
    shown = math.exp(value) if scale == "log-ratio" else value
    if reader_count < 2 or case_count < 2:
        return Estimate(shown, None, None, **counts)
    if scale == "share" and value in (0.0, 1.0):
        # Nothing varies: each case as one trial (Clopper and Pearson, 1934).
        exact = binomtest(round(value * case_count), case_count).proportion_ci(level)
        return Estimate(shown, float(exact.low), float(exact.high), **counts)
    deviation, freedom = _deviation(own, reader, case)
    reach = float(t.ppf((1 + level) / 2, freedom)) * deviation
    if scale == "share":
        logit = math.log(value / (1 - value))
        reach /= value * (1 - value)
        low, high = (1 / (1 + math.exp(-(logit + side))) for side in (-reach, reach))
    elif scale == "log-ratio":
        low, high = math.exp(value - reach), math.exp(value + reach)
    else:
        low, high = value - reach, value + reach
    return Estimate(shown, low, high, **counts)


def _deviation(
    influences: Sequence[tuple[Floats, NDArray[np.bool_]]],
    readers: NDArray[np.int64],
    cases: NDArray[np.int64],
) -> tuple[float, float]:
    """Standard error, and its degrees of freedom."""

    def between(groups: NDArray[np.int64]) -> tuple[float, int]:
        own, place = np.unique(groups, return_inverse=True)
        changes = np.zeros(len(own))
        for influence, rows in influences:
            share = np.bincount(place, weights=rows) / rows.sum()
            # How the mean changes without the group (the jackknife): groups differ in size.
            changes += np.bincount(place, weights=influence) / (1 - np.minimum(share, _MOST))
        return float(np.square(changes).sum()) * (len(own) - 1) / len(own), len(own)

    by_reader, reader_count = between(readers)
    by_case, case_count = between(cases)
    single, _ = between(readers * (int(cases.max()) + 1) + cases)
    variance = by_reader + by_case - single
    # By chance the difference of small studies may come near 0, and below it.
    variance = max(variance, _LEAST * min(by_reader, by_case))
    if not variance:  # all alike: no answer differs from the mean
        return 0.0, 1.0
    freedom = variance**2 / (by_reader**2 / (reader_count - 1) + by_case**2 / (case_count - 1))
    return math.sqrt(variance), max(freedom, min(reader_count, case_count) - 1.0)
