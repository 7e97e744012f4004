"""The format reward: each block that a mode asks for is present once and in order."""

from __future__ import annotations

from collections.abc import Sequence

from rarl.response import Mode, parse_response
from rarl.rewards.completions import Completion, completion_text


def format_reward(
    prompts: Sequence[object],
    completions: Sequence[Completion],
    mode: Sequence[Mode],
    **columns: object,
) -> list[float]:
    """1 for a completion whose form has no problem in its mode, else 0.

    >>> texts = ["<think>Clear.</think><answer>no</answer>", "<answer>no</answer>"]
    >>> format_reward([""] * 2, texts, mode=["reason", "reason"])
    [1.0, 0.0]
    >>> format_reward([""] * 2, texts, mode=["answer", "answer"])
    [0.0, 1.0]
    """
    return [
        float(parse_response(completion_text(completion), asked).well_formed)
        for completion, asked in zip(completions, mode, strict=True)
    ]
