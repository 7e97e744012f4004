"""A small learned model that turns features of two texts into a score.

Fitted by `scripts/build_reasoning_head` to generated and written examples. Every weight has a sign
that it cannot change: support never lowers a score, conflict never raises one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from rarl.rewards.claims import SUPPORT, Floats, PairFeatures

ALIKE = tuple(SUPPORT.index(name) for name in ("cosine", "stems_back", "soft_back"))


@dataclass(frozen=True, slots=True)
class Head:
    """Learned numbers.

    Attributes:
        support: weights of `claims.SUPPORT`, then a bias.
        conflict: weights of `claims.CONFLICT`, then a bias.
        related: weights of `claims.RELATED`, then a bias.
        alike: weights of cosine, stems and likeness by which a clause of the candidate is taken
            to speak of the claim that it is most like.
        back: weights of the candidate's own support, then a bias.
        order: weight of the word order, of the reference's words out of order, then a bias.
        against: how much the share of contradicted claims costs.
        worst: how much the surest contradiction costs.
        precision: exponent of the share of the candidate that the reference supports.
        supposed: what a supposition is worth against a statement.
        probe: direction of "describes disease" in the embedding, then its offset.
    """

    support: Floats
    conflict: Floats
    related: Floats
    alike: Floats
    back: Floats
    order: Floats
    against: float
    worst: float
    precision: float
    supposed: float
    probe: Floats


@dataclass(frozen=True, slots=True)
class Match:
    """Scores of a candidate against a reference.

    Attributes:
        covered: for each claim of the reference how surely it is stated, 0 to 1.
        contradicted: likewise, how surely it is contradicted.
        supported: for each clause of the candidate how surely the reference speaks of it.
        score: credit, 0 to 1.
    """

    covered: Floats
    contradicted: Floats
    supported: Floats
    score: float


def apply(head: Head, features: PairFeatures, order: Sequence[float]) -> Match:
    """Score features.

    Args:
        head: learned numbers.
        features: of the two texts.
        order: word-order features of the candidate, see `free_text.order_features`.
    """
    supported = _logistic(features.support @ head.support[:-1] + head.support[-1])
    supported = supported * (features.stated + (1 - features.stated) * head.supposed)
    related = _logistic(features.related @ head.related[:-1] + head.related[-1])
    opposed = _logistic(features.conflict @ head.conflict[:-1] + head.conflict[-1])
    against = (related * opposed * _aimed(head, features, opposed.shape[1])).max(1)
    covered = supported.max(1) * (1 - against)
    back = _logistic(features.back @ head.back[:-1] + head.back[-1])
    coverage = float(features.weights @ covered)
    wrong = float(features.weights @ against)
    precise = float(features.own @ back)
    fluent = float(_logistic(np.dot(head.order[:-1], order) + head.order[-1]))
    cost = float(np.exp(-head.against * wrong - head.worst * against.max()))
    score = coverage * cost * precise**head.precision * fluent
    return Match(covered, against, back, min(max(score, 0.0), 1.0))


@lru_cache(maxsize=1)
def shipped_head() -> Head:
    """The head in this package."""
    kept = json.loads(files("rarl.rewards").joinpath("head.json").read_text("utf-8"))
    return head_from(kept)


def head_from(kept: Mapping[str, list[float] | float]) -> Head:
    """A head from its plain form."""
    return Head(
        **{  # type: ignore[arg-type]
            name: np.array(value, np.float32) if isinstance(value, list) else float(value)
            for name, value in kept.items()
        }
    )


def _aimed(head: Head, features: PairFeatures, count: int) -> Floats:
    """How far each clause of the candidate addresses each claim of the reference.

    Args:
        head: learned numbers.
        features: of the two texts.
        count: clauses of the candidate.

    Returns:
        (reference claims, candidate clauses), 1 for the claim that a clause is most like.
    """
    likeness = features.support[:, :count][..., list(ALIKE)] @ head.alike
    result: Floats = np.exp(likeness - likeness.max(0))
    return result


def _logistic(values: Floats | np.floating) -> Floats:
    result: Floats = np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), np.float32)
    return result
