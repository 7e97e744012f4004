"""The smallest difference between two variants that a planned comparison would detect.

The comparison is paired: both variants answer the same questions, several about one image, and
several seeds of each are trained. A question's difference d is right(first) - right(second): -1, 0
or 1. Its mean over n questions has the variance

    v / n * (1 + (m - 1) * rho) + s ** 2 / seeds

with v the variance of d, m the mean number of questions about the image of a question, rho the
correlation of d within an image (Kish, "Survey Sampling", 1965, design effect), and s the standard
deviation of the mean difference from one pair of seeds to another. A two-sided test at 5 % has the
power p for a difference of (z(0.975) + z(p)) standard errors, where v stays what it was.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm


@dataclass(frozen=True, slots=True)
class Spread:
    """How much paired differences vary.

    Attributes:
        variance: of a question's difference, at most 1.
        correlation: of two questions about one image, 0 to 1.
        questions: that this was estimated from.
        images: that they are about.
    """

    variance: float
    correlation: float
    questions: int
    images: int


def spread(differences: Sequence[float], images: Sequence[Hashable]) -> Spread:
    """Estimate the spread of paired differences, the correlation by one-way analysis of variance.

    Where no image has two questions, the correlation cannot be estimated and counts as 0; a
    negative estimate counts as 0 too.

    Args:
        differences: one for each question.
        images: what each question is about, in the same order.

    Raises:
        ValueError: fewer than two images, or lengths that differ.
    """
    if len(differences) != len(images):
        raise ValueError("There must be an image for each difference.")
    values = np.asarray(differences, float)
    places = {image: place for place, image in enumerate(dict.fromkeys(images))}
    groups = np.array([places[image] for image in images])
    count = len(places)
    if count < 2:
        raise ValueError("At least two images are needed.")
    sizes = np.bincount(groups)
    total = len(values)
    variance = float(values.var(ddof=1))
    if total == count or not variance:
        return Spread(variance, 0.0, total, count)
    means = np.bincount(groups, values) / sizes
    within = float(((values - means[groups]) ** 2).sum() / (total - count))
    between = float((sizes * (means - values.mean()) ** 2).sum() / (count - 1))
    typical = (total - (sizes**2).sum() / total) / (count - 1)
    of_images = max(0.0, (between - within) / typical)
    whole = of_images + within
    return Spread(variance, float(of_images / whole) if whole else 0.0, total, count)


def cluster_size(images: Sequence[Hashable]) -> float:
    """The mean number of questions about the image of a question.

    >>> cluster_size(["a", "a", "a", "b"])
    2.5
    """
    sizes = np.unique(np.asarray([str(image) for image in images]), return_counts=True)[1]
    return float((sizes**2).sum() / sizes.sum())


def standard_error(
    known: Spread, questions: int, size: float, seeds: int = 1, seed_deviation: float = 0.0
) -> float:
    """Of the mean difference in a planned comparison.

    Args:
        known: see `spread`.
        questions: planned.
        size: see `cluster_size`, of the planned questions.
        seeds: of each variant.
        seed_deviation: standard deviation of the mean difference between pairs of seeds.
    """
    effect = 1 + (size - 1) * known.correlation
    return math.sqrt(known.variance / questions * effect + seed_deviation**2 / seeds)


def detectable(error: float, power: float = 0.8) -> float:
    """The smallest difference found with this power by a two-sided test at 5 %.

    >>> round(detectable(0.01), 4)
    0.028
    """
    return float((norm.ppf(0.975) + norm.ppf(power)) * error)
