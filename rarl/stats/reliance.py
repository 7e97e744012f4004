"""How readers use advice: helped, misled, and by how much.

Terms: relative AI reliance (RAIR) and relative self-reliance (RSR) after Schemmer et al.,
Appropriate reliance on AI advice, IUI 2023; automation bias and anchoring as `figures` says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rarl.stats.two_way import Estimate, Floats, Scale, codes, two_way_mean

Timing = Literal["none", "first", "after"]
"""When advice is shown: never, from the start, or after a first answer."""
Figure = Literal[
    "accuracy_without",
    "accuracy_ai_first",
    "accuracy_before",
    "accuracy_after",
    "gain",
    "switched_to_right",
    "switched_to_wrong",
    "rair",
    "rsr",
    "automation_bias",
    "lost_to_wrong_advice",
    "anchoring",
    "time_saved_ai_first",
    "time_saved_after",
]
FIGURES: tuple[Figure, ...] = get_args(Figure)


@dataclass(frozen=True, slots=True)
class Rows:
    """The answers of a study, one a row; NaN where something is unknown or does not apply.

    Attributes:
        readers: number of the reader, from 0.
        cases: number of the case, from 0.
        timing: 0 no advice, 1 advice first, 2 advice after a first answer.
        advice_right: whether the advice agrees with the reference, 0 or 1.
        first_right: whether the answer before the advice does.
        right: whether the last answer does.
        first_like: whether the answer before the advice agrees with it.
        like: whether the last answer does.
        log_seconds: natural logarithm of the time on the task.
        groups: such as the reader's experience.
    """

    readers: NDArray[np.int64]
    cases: NDArray[np.int64]
    timing: NDArray[np.int64]
    advice_right: Floats
    first_right: Floats
    right: Floats
    first_like: Floats
    like: Floats
    log_seconds: Floats
    groups: NDArray[np.str_]

    def of_group(self, group: str) -> Rows:
        """The rows of one group."""
        chosen = self.groups == group
        return replace(
            self, **{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__}
        )


def rows_of(
    answers: Sequence[
        tuple[
            str, str, Timing, float | None, float | None, float | None, float | None,
            float | None, float | None, str,
        ]
    ],
) -> Rows:  # fmt: skip
    """Rows from reader, case, timing and then the other attributes of `Rows`; seconds as such."""
    columns = list(zip(*answers, strict=True)) if answers else [()] * 10

    def numbers(place: int) -> Floats:
        return np.array(
            [np.nan if value is None else value for value in columns[place]], dtype=np.float64
        )

    return Rows(
        readers=codes(columns[0]),
        cases=codes(columns[1]),
        timing=np.array([get_args(Timing).index(timing) for timing in columns[2]], dtype=np.int64),
        advice_right=numbers(3),
        first_right=numbers(4),
        right=numbers(5),
        first_like=numbers(6),
        like=numbers(7),
        # The page's clock counts whole seconds.
        log_seconds=np.log(np.maximum(numbers(8), 1.0)),
        groups=np.array(columns[9], dtype=str),
    )


def figures(rows: Rows) -> Mapping[Figure, Estimate | None]:
    """All figures that a study gives; None where no answer says one.

    - accuracy_without, accuracy_ai_first: share right without advice, and with advice from the
      start.
    - accuracy_before, accuracy_after: share right before and after the advice, of two steps; gain:
      their difference.
    - switched_to_right, switched_to_wrong: share of two-step answers that changed so.
    - rair: of those who were wrong and got right advice, how many end right.
    - rsr: of those who were right and got wrong advice, how many stay right.
    - automation_bias: how much more often the last answer is the wrong advice than the first was.
    - lost_to_wrong_advice: accuracy without advice, less that with wrong advice from the start.
    - anchoring: how much more often wrong advice is taken over when it is seen from the start than
      when it is seen after a first answer.
    - time_saved: 1 less the ratio of the geometric mean times, with advice to without.
    """
    estimates: dict[Figure, Estimate | None] = {}
    for name, (scale, parts) in _parts(rows).items():
        estimate = two_way_mean(parts, rows.readers, rows.cases, scale)
        estimates[name] = _saved(estimate) if scale == "log-ratio" else estimate
    return estimates


def values(rows: Rows) -> Mapping[Figure, float]:
    """`figures` without intervals and without those that no answer says."""
    by_figure: dict[Figure, float] = {}
    for name, (scale, parts) in _parts(rows).items():
        if all((~np.isnan(part)).any() for _, part in parts):
            value = sum(weight * float(np.nanmean(part)) for weight, part in parts)
            by_figure[name] = 1 - math.exp(value) if scale == "log-ratio" else value
    return by_figure


def _parts(rows: Rows) -> Mapping[Figure, tuple[Scale, list[tuple[float, Floats]]]]:
    none, first, after = (rows.timing == place for place in range(3))
    wrong, good = rows.advice_right == 0, rows.advice_right == 1
    to_right = _both(rows.first_right == 0, rows.right == 1, rows)
    to_wrong = _both(rows.first_right == 1, rows.right == 0, rows)
    was_right, was_wrong = rows.first_right == 1, rows.first_right == 0

    def of(values: Floats, which: NDArray[np.bool_], weight: float = 1) -> tuple[float, Floats]:
        return weight, np.where(which, values, np.nan)

    gained, moved = rows.right - rows.first_right, rows.like - rows.first_like
    saved = {
        name: [of(rows.log_seconds, which), of(rows.log_seconds, none, -1)]
        for name, which in (("first", first), ("after", after))
    }
    return {
        "accuracy_without": ("share", [of(rows.right, none)]),
        "accuracy_ai_first": ("share", [of(rows.right, first)]),
        "accuracy_before": ("share", [of(rows.first_right, after)]),
        "accuracy_after": ("share", [of(rows.right, after)]),
        "gain": ("difference", [of(gained, after)]),
        "switched_to_right": ("share", [of(to_right, after)]),
        "switched_to_wrong": ("share", [of(to_wrong, after)]),
        "rair": ("share", [of(rows.right, after & good & was_wrong)]),
        "rsr": ("share", [of(rows.right, after & wrong & was_right)]),
        "automation_bias": ("difference", [of(moved, after & wrong)]),
        "lost_to_wrong_advice": (
            "difference",
            [of(rows.right, none), of(rows.right, first & wrong, -1)],
        ),
        "anchoring": (
            "difference",
            [of(rows.like, first & wrong), of(rows.like, after & wrong, -1)],
        ),
        "time_saved_ai_first": ("log-ratio", saved["first"]),
        "time_saved_after": ("log-ratio", saved["after"]),
    }


def _both(first: NDArray[np.bool_], other: NDArray[np.bool_], rows: Rows) -> Floats:
    known = ~np.isnan(rows.first_right) & ~np.isnan(rows.right)
    return np.where(known, (first & other).astype(np.float64), np.nan)


def _saved(ratio: Estimate | None) -> Estimate | None:
    if ratio is None:
        return None
    low, high = (None if end is None else 1 - end for end in (ratio.high, ratio.low))
    return replace(ratio, value=1 - ratio.value, low=low, high=high)
