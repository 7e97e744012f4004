"""Whether a part of the rows differs from the rest, where rows come in clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t


@dataclass(frozen=True, slots=True)
class Excess:
    """Mean of a part minus the mean of the rest.

    Attributes:
        value: the difference, in the rows' own unit.
        low: lower end of its interval, or None where there are fewer than two clusters.
        high: upper end, or None likewise.
        p: two-sided, of the hypothesis that both means are equal; 1 likewise.
    """

    value: float
    low: float | None
    high: float | None
    p: float


def clustered_excess(
    values: Sequence[float],
    inside: Sequence[bool],
    clusters: Sequence[str],
    level: float = 0.95,
) -> Excess:
    """Difference between a part and the rest, with a cluster-robust interval.

    The variance sums each cluster's influence (Liang and Zeger, Biometrika 73 (1986)) with the
    usual factor C / (C - 1), and is held against Student's t with C - 1 degrees of freedom. A
    cluster may have rows on both sides.

    Args:
        values: one number a row, say 1 for wrong and 0 for right.
        inside: whether each row belongs to the part.
        clusters: the image of each row.
        level: of the interval.

    Raises:
        ValueError: the part or the rest is empty, or the lists differ in length.

    >>> both = clustered_excess([1, 1, 0, 0], [True, True, False, False], ["a", "b", "c", "d"])
    >>> both.value, both.p
    (1.0, 0.0)
    """
    if not len(values) == len(inside) == len(clusters):
        raise ValueError("values, inside and clusters differ in length")
    numbers, part = np.asarray(values, np.float64), np.asarray(inside, bool)
    if part.all() or not part.any():
        raise ValueError("the part or the rest is empty")
    here, there = numbers[part].mean(), numbers[~part].mean()
    influence = np.where(part, (numbers - here) / part.sum(), -(numbers - there) / (~part).sum())
    _, of_row = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(of_row, weights=influence)
    count = len(sums)
    value = float(here - there)
    if count < 2:
        return Excess(value, None, None, 1.0)
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum()))
    reach = error * float(t.ppf((1 + level) / 2, count - 1))
    # Without any spread the means differ for sure, or not at all.
    p = float(2 * t.sf(abs(value) / error, count - 1)) if error else float(not value)
    return Excess(value, value - reach, value + reach, p)
