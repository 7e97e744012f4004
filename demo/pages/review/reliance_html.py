"""HTML of how readers relied on advice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from demo.pages.review.taking_part_html import EXPERIENCE
from demo.templating import render_template

if TYPE_CHECKING:
    from rarl.review.reliance import Reliance
    from rarl.stats.two_way import Estimate

# Differences of shares.
_IN_POINTS = {"gain", "automation_bias", "lost_to_wrong_advice", "anchoring"}


def reliance_view(groups: Sequence[Reliance]) -> str:
    """How readers relied on the advice: all of them, and by experience side by side.

    Args:
        groups: all readers first.
    """
    from rarl.review.reliance import WORDS

    names = {key: name for name, key in EXPERIENCE}
    figures = []
    for key, (name, meaning) in WORDS.items():
        estimates = [group.figures.get(key) for group in groups]
        if any(estimate is not None for estimate in estimates):
            unit = "points" if key in _IN_POINTS else "%"
            cells = [_estimate(estimate, unit) for estimate in estimates]
            figures.append((name, meaning, cells))
    return render_template(
        "review/study_reliance.html",
        groups=[names.get(group.group, "All readers") for group in groups],
        figures=figures,
    )


def _estimate(estimate: Estimate | None, unit: str) -> tuple[str, str] | None:
    """A figure, and its interval with the number of answers; None where it is unknown."""
    if estimate is None:
        return None
    between = f"{estimate.n} answers"
    if estimate.low is not None and estimate.high is not None:
        between = f"{100 * estimate.low:.0f} to {100 * estimate.high:.0f}, {estimate.n} answers"
    value = f"{100 * estimate.value:.0f} {unit}"
    return value.replace("-", "−"), between.replace("-", "−")
