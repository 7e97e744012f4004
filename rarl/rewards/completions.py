"""Read completions, given as text or as chat turns."""

from __future__ import annotations

from collections.abc import Sequence

Completion = str | Sequence[dict[str, str]]


def completion_text(completion: Completion) -> str:
    """The text of a completion, be it plain or a list with one assistant turn.

    >>> completion_text([{"role": "assistant", "content": "<answer>no</answer>"}])
    '<answer>no</answer>'
    """
    if isinstance(completion, str):
        return completion
    return "".join(turn["content"] for turn in completion)
