"""The table of rewards. A new reward is one function and one line here.

A recipe names the rewards that it weighs. Logs, curves and the table of completions show them
under these names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from rarl.errors import ModelError
from rarl.rewards.accuracy import accuracy_reward
from rarl.rewards.form import format_reward
from rarl.rewards.likelihood import likelihood_reward
from rarl.rewards.reasoning import reasoning_reward

if TYPE_CHECKING:
    from rarl.judge import Judge

RewardFunction = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class RewardSettings:
    """Settings of rewards besides the columns of a row.

    Attributes:
        contradictions: whether stating what annotations deny costs the reasoning reward.
        judge: scores reasoning, or None.
    """

    contradictions: bool = True
    judge: Judge | None = None


def _reasoning(settings: RewardSettings) -> RewardFunction:
    return partial(reasoning_reward, contradictions=settings.contradictions)


def _judge(settings: RewardSettings) -> RewardFunction:
    if settings.judge is None:
        raise ModelError(
            "The recipe weighs a judge's score: name one with --judge URL --judge-model NAME, "
            "or set rewards.judge=0."
        )
    from rarl.rewards.judged import judge_reward_of  # needs the client of an endpoint

    return judge_reward_of(settings.judge)


REWARDS: Mapping[str, Callable[[RewardSettings], RewardFunction]] = {
    "accuracy": lambda settings: accuracy_reward,
    "format": lambda settings: format_reward,
    "reasoning": _reasoning,
    "judge": _judge,
    "likelihood": lambda settings: likelihood_reward,
}


def reward_functions(
    weights: Mapping[str, float], settings: RewardSettings
) -> dict[RewardFunction, float]:
    """The functions of the rewards with a weight above 0, each named as in the table.

    Raises:
        ModelError: a reward needs something that the settings lack.

    >>> [function.__name__ for function in reward_functions({"format": 0.5}, RewardSettings())]
    ['format']
    """
    functions = {}
    for name, weight in weights.items():
        if weight:
            functions[_named(REWARDS[name](settings), name)] = weight
    return functions


def _named(function: RewardFunction, name: str) -> RewardFunction:
    """A plain function under the table's name, by which TRL logs it.

    TRL names a `functools.partial` by the function inside.
    """
    named: RewardFunction
    if iscoroutinefunction(function):

        async def run_async(*args: Any, **columns: Any) -> Any:
            return await function(*args, **columns)

        named = run_async
    else:

        def run(*args: Any, **columns: Any) -> Any:
            return function(*args, **columns)

        named = run
    named.__name__ = name
    return named
