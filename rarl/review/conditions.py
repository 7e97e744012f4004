"""What a reader of a study is shown of the AI, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Condition = Literal[
    "no-ai",
    "answer-only",
    "full-reasoning",
    "answer-only+heat-map",
    "full-reasoning+heat-map",
    "read-first/answer-only",
    "read-first/full-reasoning",
    "read-first/answer-only+heat-map",
    "read-first/full-reasoning+heat-map",
]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
USUAL: tuple[Condition, ...] = ("no-ai", "answer-only", "full-reasoning")
"""What a study compares where its owner chooses nothing."""

_READ_FIRST = "read-first/"
_HEAT_MAP = "+heat-map"


@dataclass(frozen=True, slots=True)
class Presentation:
    """A condition taken apart.

    Attributes:
        ai: whether the AI's answer is shown at all.
        read_first: whether the reader commits an answer before it is shown.
        reasoning: whether its reasoning is shown as well.
        heat_map: whether a map of where the model looked is shown as well.
    """

    ai: bool
    read_first: bool
    reasoning: bool
    heat_map: bool

    @property
    def label(self) -> str:
        """As people read it.

        >>> presentation("read-first/answer-only+heat-map").label
        'AI after a first read: answer, heat map'
        """
        if not self.ai:
            return "No AI"
        parts = ["answer and reasoning" if self.reasoning else "answer"]
        if self.heat_map:
            parts.append("heat map")
        return ("AI after a first read: " if self.read_first else "AI first: ") + ", ".join(parts)


def presentation(condition: Condition) -> Presentation:
    """Take a condition apart.

    >>> presentation("full-reasoning")
    Presentation(ai=True, read_first=False, reasoning=True, heat_map=False)
    """
    shown = condition.removeprefix(_READ_FIRST).removesuffix(_HEAT_MAP)
    return Presentation(
        ai=shown != "no-ai",
        read_first=condition.startswith(_READ_FIRST),
        reasoning=shown == "full-reasoning",
        heat_map=condition.endswith(_HEAT_MAP),
    )
