"""Simulated readers with known bias: do the intervals cover, and how large must a study be?

A reader answers right with the probability sigmoid(a + reader + case), with normal terms for how
able the reader and how hard the case is. Half of the tasks of a reader have two steps, a quarter no
advice and a quarter advice from the start. Advice that differs from the reader's own answer is
taken over with another such probability, in which the reader's trust in advice is a normal term.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rarl.stats.reliance import FIGURES, Figure, Rows, figures, values

_POPULATION = 400_000
# Enough to find a wished difference to within a hundredth.
_TRIED = 60_000


@dataclass(frozen=True, slots=True)
class Readers:
    """What is known of the readers and the cases.

    Attributes:
        accuracy: of a middling reader on a middling case, without advice.
        takes_right: probability that such a reader takes over right advice that differs.
        takes_wrong: the same of wrong advice.
        anchored: added to both, on the logit scale, where advice is seen from the start.
        wrong_share: of the advice that is wrong.
        reader_spread: standard deviation of ability, on the logit scale.
        case_spread: standard deviation of difficulty.
        trust_spread: standard deviation of trust in advice, between readers and between cases.
        saved: share of the time that advice from the start saves.
    """

    accuracy: float = 0.75
    takes_right: float = 0.6
    takes_wrong: float = 0.4
    anchored: float = 0.5
    wrong_share: float = 0.3
    reader_spread: float = 0.5
    case_spread: float = 1.0
    trust_spread: float = 0.5
    saved: float = 0.2


def simulate(known: Readers, readers: int, cases: int, rng: np.random.Generator) -> Rows:
    """One study in which every reader sees every case once.

    Args:
        known: of the readers.
        readers: how many.
        cases: how many.
        rng: of all that is drawn.
    """
    reader, case = (each.ravel() for each in np.indices((readers, cases)))
    able, trust = (
        _drawn(known.reader_spread, readers, rng),
        _drawn(known.trust_spread, readers, rng),
    )
    hard, plain = _drawn(known.case_spread, cases, rng), _drawn(known.trust_spread, cases, rng)
    # As `rarl.review.studies.allocate`: conditions rotate over cases and readers.
    place = (case + reader) % 4
    timing = np.choose(place, [0, 1, 2, 2])
    wrong = np.zeros(len(reader), dtype=bool)
    for number in range(readers):
        for step in (timing == 1, timing == 2):
            own = np.flatnonzero((reader == number) & step)
            start = rng.random()
            turns = np.floor(np.arange(len(own) + 1) * known.wrong_share + start)
            wrong[rng.permutation(own)] = np.diff(turns) > 0
    return _answered(
        known, reader, case, timing, wrong, able[reader], hard[case], trust[reader] + plain[case],
        rng,
    )  # fmt: skip


def truth(known: Readers, seed: int = 0, count: int = _POPULATION) -> Mapping[Figure, float]:
    """What the figures are over all readers and cases, from a very large sample of both."""
    rng = np.random.default_rng(seed)
    indices = np.arange(count)
    rows = _answered(
        known, indices, indices, np.choose(indices % 4, [0, 1, 2, 2]),
        rng.random(count) < known.wrong_share,
        _drawn(known.reader_spread, count, rng), _drawn(known.case_spread, count, rng),
        _drawn(known.trust_spread, count, rng) + _drawn(known.trust_spread, count, rng), rng,
    )  # fmt: skip
    return values(rows)


def coverage(
    known: Readers, readers: int, cases: int, studies: int, seed: int = 0
) -> Mapping[Figure, float]:
    """Share of simulated studies in which the interval of each figure holds the truth.

    Args:
        known: of the readers.
        readers: of each study.
        cases: of each study.
        studies: how many.
        seed: of all that is drawn.
    """
    true = truth(known, seed)
    rng = np.random.default_rng(seed + 1)
    hits: dict[Figure, list[bool]] = {name: [] for name in FIGURES}
    for _ in range(studies):
        for name, estimate in figures(simulate(known, readers, cases, rng)).items():
            if estimate is not None and estimate.low is not None and estimate.high is not None:
                hits[name].append(estimate.low <= true[name] <= estimate.high)
    return {name: sum(answers) / len(answers) for name, answers in hits.items() if answers}


@dataclass(frozen=True, slots=True)
class Power:
    """How often a study of one size finds a difference that is there.

    Attributes:
        readers: of the study.
        cases: of the study.
        power: share of simulated studies whose interval leaves out 0.
        width: median width of the interval.
    """

    readers: int
    cases: int
    power: float
    width: float


def power(
    known: Readers,
    figure: Figure,
    readers: Sequence[int],
    cases: Sequence[int],
    studies: int,
    seed: int = 0,
    watch: Callable[[Power], None] | None = None,
) -> tuple[Power, ...]:
    """The power of studies of several sizes, smallest first.

    Args:
        known: of the readers, see `with_difference`.
        figure: whose difference from 0 is sought.
        readers: sizes to try.
        cases: sizes to try.
        studies: simulated of each size.
        seed: of all that is drawn.
        watch: gets each as soon as it is known.
    """
    sizes = sorted(((r, c) for r in readers for c in cases), key=lambda size: size[0] * size[1])
    powers = []
    for number, (reader_count, case_count) in enumerate(sizes):
        rng = np.random.default_rng([seed, number])
        seen, widths = 0, []
        for _ in range(studies):
            estimate = figures(simulate(known, reader_count, case_count, rng))[figure]
            if estimate is not None and estimate.low is not None and estimate.high is not None:
                seen += estimate.low > 0 or estimate.high < 0
                widths.append(estimate.high - estimate.low)
        width = float(np.median(widths)) if widths else math.inf
        powers.append(Power(reader_count, case_count, seen / studies, width))
        if watch is not None:
            watch(powers[-1])
    return tuple(powers)


def with_difference(known: Readers, figure: Figure, wished: float, seed: int = 0) -> Readers:
    """Readers whose figure has the wished value: how readily they take advice over is changed.

    Args:
        known: everything else.
        figure: "gain", "automation_bias", "lost_to_wrong_advice" or "anchoring".
        wished: its value, a share of answers.
        seed: of the sample that the value is measured on.

    Raises:
        ValueError: no readiness gives that value; the message says which values can be.
    """
    changes: Mapping[str, Callable[[float], Readers]] = {
        "gain": lambda x: replace(known, takes_right=x),
        "automation_bias": lambda x: replace(known, takes_wrong=x),
        "lost_to_wrong_advice": lambda x: replace(known, takes_wrong=x, anchored=0.0),
        "anchoring": lambda x: replace(known, anchored=12 * x - 6),
    }
    if figure not in changes:
        raise ValueError(f"choose from {', '.join(changes)}")
    change = changes[figure]
    low, high = 0.001, 0.999
    ends = [truth(change(end), seed, _TRIED)[figure] for end in (low, high)]
    if not ends[0] <= wished <= ends[1]:
        raise ValueError(f"{figure} lies between {ends[0]:.2f} and {ends[1]:.2f} here")
    for _ in range(11):
        middle = (low + high) / 2
        if truth(change(middle), seed, _TRIED)[figure] < wished:
            low = middle
        else:
            high = middle
    return change((low + high) / 2)


def _drawn(spread: float, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0.0, spread, count)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    shares: np.ndarray = 1 / (1 + np.exp(-x))
    return shares


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _answered(
    known: Readers,
    reader: np.ndarray,
    case: np.ndarray,
    timing: np.ndarray,
    wrong: np.ndarray,
    able: np.ndarray,
    hard: np.ndarray,
    trust: np.ndarray,
    rng: np.random.Generator,
) -> Rows:
    count = len(reader)
    own = rng.random(count) < _sigmoid(_logit(known.accuracy) + able - hard)
    taken = np.where(wrong, _logit(known.takes_wrong), _logit(known.takes_right)) + trust
    taken = taken + np.where(timing == 1, known.anchored, 0.0)
    takes = (timing > 0) & (rng.random(count) < _sigmoid(taken))
    # The question is closed: whoever differs from wrong advice is right.
    last = np.where(takes, ~wrong, own)
    after = timing == 2
    seconds = 3.5 + 0.3 * able + 0.3 * hard + rng.normal(0, 0.4, count)
    seconds = seconds + np.where(timing == 1, math.log(1 - known.saved), 0.0)

    def only(values: np.ndarray, which: np.ndarray) -> np.ndarray:
        return np.where(which, values.astype(np.float64), np.nan)

    advised = timing > 0
    return Rows(
        readers=reader.astype(np.int64),
        cases=case.astype(np.int64),
        timing=timing.astype(np.int64),
        advice_right=only(~wrong, advised),
        first_right=only(own, after),
        right=last.astype(np.float64),
        first_like=only(own != wrong, after),
        like=only(last != wrong, advised),
        log_seconds=seconds,
        groups=np.full(count, "other"),
    )
