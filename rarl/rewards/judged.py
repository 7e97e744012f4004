"""A judge's score of the reasoning as a reward."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from rarl.judge import HIGHEST, Graded, Judge
from rarl.response import Mode, parse_response
from rarl.rewards.completions import Completion, completion_text
from rarl.rewards.reasoning import repeats


def judge_reward_of(judge: Judge) -> Callable[..., Awaitable[list[float | None]]]:
    """A reward function that asks a judge for all completions at once, while training goes on.

    The explanation's score over its maximum; 0 without asking where reasoning is missing, cut off
    or repeats itself; None, which TRL leaves out of the sum, where none is asked for or the judge
    gave no valid verdict.
    """

    async def judge_reward(
        prompts: Sequence[object],
        completions: Sequence[Completion],
        question: Sequence[str],
        answer: Sequence[str],
        explanation: Sequence[str],
        mode: Sequence[Mode],
        **columns: object,
    ) -> list[float | None]:
        rewards: list[float | None] = [None] * len(completions)
        asked: dict[int, Graded] = {}
        for place, (completion, how) in enumerate(zip(completions, mode, strict=True)):
            if how == "answer":
                continue
            response = parse_response(completion_text(completion), how)
            broken = {"no-think", "empty-think", "unclosed-think", "nested-block", "repeated-block"}
            if broken & set(response.problems) or repeats(response.reasoning):
                rewards[place] = 0.0
                continue
            asked[place] = Graded(
                question=question[place],
                reference=answer[place],
                explanation=explanation[place],
                answer=response.answer,
                reasoning=response.reasoning,
            )
        verdicts = await judge.grade_together(list(asked.values()))
        for place, verdict in zip(asked, verdicts, strict=True):
            if verdict.explanation is not None:
                rewards[place] = verdict.explanation / HIGHEST
        return rewards

    return judge_reward
