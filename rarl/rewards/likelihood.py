"""The reference answer's likelihood as a reward (RLPR, arXiv 2506.18254; VeriFree, 2505.21493).

The trainer measures, under the frozen base, the mean probability of the reference answer's tokens
behind the reasoning and behind none (`rarl.training.likelihood`); this module turns them into
credit. It needs no second model and no list of words, so it works for any language.
"""

from __future__ import annotations

from collections.abc import Sequence

from rarl.rewards.completions import Completion

# What the trainer measured for each completion: with the reasoning, and without; or nothing.
Measured = tuple[float, float] | None
COLUMN = "answer_probabilities"


def likelihood_reward(
    prompts: Sequence[object],
    completions: Sequence[Completion],
    answer_probabilities: Sequence[Measured],
    **columns: object,
) -> list[float | None]:
    """The share of what could be gained in probability that the reasoning gains, in [0, 1].

    None, which TRL leaves out of the sum, where nothing was measured: no reasoning is asked for
    before the answer, or the row has no short answer.

    >>> likelihood_reward([""] * 3, [""] * 3, [(0.8, 0.6), (0.5, 0.6), None])
    [0.5, 0.0, None]
    """
    return [None if pair is None else _gain(*pair) for pair in answer_probabilities]


def _gain(reasoned: float, plain: float) -> float:
    if plain >= 1:
        return 0.0
    return round(min(max((reasoned - plain) / (1 - plain), 0.0), 1.0), 6)
