"""Bradley-Terry ratings of models from readers' votes, with intervals.

A vote for an arm counts as that arm's win over each of the others that were shown; a tie as half a
win each way; "all bad" prefers nobody and only counts as a vote. Whole cases are resampled, since
votes on one case are about the same answers.

References:
    Bradley and Terry, Rank analysis of incomplete block designs, Biometrika 39 (1952).
    Hunter, MM algorithms for generalized Bradley-Terry models, Ann. Stat. 32 (2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rarl.stats.bootstrap import LEVEL

RESAMPLES = 2_000
# Half a win each way for every pair: an arm that has never lost is not infinitely strong.
_PRIOR = 0.5
_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Ballot:
    """One vote.

    Attributes:
        case: the case it is about; votes on one case are not independent.
        arms: what was compared, at least two.
        preferred: the better arm, or None.
        tie: whether all were called equally good; with neither, all were bad.
    """

    case: str
    arms: tuple[str, ...]
    preferred: str | None
    tie: bool = False


@dataclass(frozen=True, slots=True)
class Rating:
    """The rating of an arm.

    Attributes:
        arm: its name.
        chance: of winning against an average arm, from 0 to 1; 0.5 where all are alike.
        low: lower end of the interval, or None with fewer than two cases.
        high: upper end, or None likewise.
        best: votes for it.
        votes: votes on comparisons that it was part of, "all bad" included.
    """

    arm: str
    chance: float
    low: float | None
    high: float | None
    best: int
    votes: int


def bradley_terry(
    ballots: Sequence[Ballot], seed: int = 0, resamples: int = RESAMPLES
) -> tuple[Rating, ...]:
    """Ratings, best first; empty without votes.

    Args:
        ballots: the votes.
        seed: of the bootstrap.
        resamples: how many.

    >>> votes = [Ballot(str(n), ("sft", "rarl"), "rarl") for n in range(8)]
    >>> [(one.arm, one.chance > 0.5, one.best) for one in bradley_terry(votes)]
    [('rarl', True, 8), ('sft', False, 0)]
    """
    arms = list(dict.fromkeys(arm for ballot in ballots for arm in ballot.arms))
    cases = list(dict.fromkeys(ballot.case for ballot in ballots))
    if not arms:
        return ()
    # Wins of row over column, by case.
    wins = np.zeros((len(cases), len(arms), len(arms)))
    for ballot in ballots:
        place = cases.index(ballot.case)
        numbers = [arms.index(arm) for arm in ballot.arms]
        for player in numbers:
            for other in numbers:
                if player == other:
                    continue
                if ballot.tie:
                    wins[place, player, other] += 0.5
                elif ballot.preferred == arms[player]:
                    wins[place, player, other] += 1
    chances = _chances(wins.sum(axis=0)[None])[0]
    low = high = None
    if len(cases) > 1:
        draws = np.random.default_rng(seed).multinomial(
            len(cases), np.full(len(cases), 1 / len(cases)), size=resamples
        )
        tail = 100 * (1 - LEVEL) / 2
        low, high = np.percentile(
            _chances(np.einsum("rc,cij->rij", draws, wins)), [tail, 100 - tail], axis=0
        )
    ratings = [
        Rating(
            arm,
            float(chances[number]),
            None if low is None else float(low[number]),
            None if high is None else float(high[number]),
            sum(ballot.preferred == arm for ballot in ballots),
            sum(arm in ballot.arms for ballot in ballots),
        )
        for number, arm in enumerate(arms)
    ]
    return tuple(sorted(ratings, key=lambda rating: -rating.chance))


def _chances(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chance against an average arm (tables x arms) from wins (tables x arms x arms)."""
    arms = wins.shape[-1]
    wins = wins + _PRIOR * (1 - np.eye(arms))
    games = wins + wins.swapaxes(1, 2)
    won = wins.sum(axis=2)
    strength = np.ones(won.shape)
    for _ in range(_ROUNDS):
        both = strength[:, :, None] + strength[:, None, :]
        strength = won / (games / both).sum(axis=2)
        # Only ratios count; the average arm has strength 1.
        strength /= np.exp(np.log(strength).mean(axis=1, keepdims=True))
    chances: NDArray[np.float64] = strength / (strength + 1)
    return chances
