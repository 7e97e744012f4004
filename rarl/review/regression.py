"""Did a new adapter mend what readers found wrong, and did it break anything?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Regression:
    """Regression cases by what became of them, each a tuple of ids in order.

    Attributes:
        fixed: wrong before, right now.
        still_wrong: wrong before and now.
        newly_wrong: right before, wrong now.
        still_right: right before and now.
    """

    fixed: tuple[str, ...]
    still_wrong: tuple[str, ...]
    newly_wrong: tuple[str, ...]
    still_right: tuple[str, ...]


def compare(before: Mapping[str, bool], after: Mapping[str, bool]) -> Regression:
    """Sort the cases that both runs asked, by whether each run was right.

    Args:
        before: id of each case to whether the older arm was right.
        after: the same of the newer arm.

    >>> compare({"a": False, "b": True}, {"a": True, "b": False}).newly_wrong
    ('b',)
    """
    asked = sorted(before.keys() & after.keys())

    def those(was: bool, now: bool) -> tuple[str, ...]:
        return tuple(one for one in asked if (before[one], after[one]) == (was, now))

    return Regression(
        fixed=those(False, True),
        still_wrong=those(False, False),
        newly_wrong=those(True, False),
        still_right=those(True, True),
    )
