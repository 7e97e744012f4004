"""What the reader may compare besides all variants: any two of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from rarl.inference.engine import Arm


def with_pairs(choices: Sequence[tuple[str, str]], arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Labels and values of a selector, with every pair of whole variants added.

    Args:
        choices: what it offers already; pairs come before the variants that stand alone.
        arms: on offer.

    >>> arms = [Arm(name, name.upper(), "") for name in ("base", "sft", "rl")]
    >>> with_pairs([("Compare all 3", "base,sft,rl"), ("RL alone", "rl")], arms)[1]
    ('Compare BASE and SFT', 'base,sft')
    """
    whole = [arm for arm in arms if arm.mode is None]
    known = {value for _, value in choices}
    pairs = [
        (f"Compare {first.label} and {second.label}", f"{first.name},{second.name}")
        for first, second in combinations(whole, 2)
    ]
    pairs = [(label, value) for label, value in pairs if value not in known]
    alone = {arm.name for arm in whole}
    several = [choice for choice in choices if choice[1] not in alone]
    return [*several, *pairs, *(choice for choice in choices if choice[1] in alone)]
