"""A variant's accuracy on held-out questions, by modality and kind of question."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from rarl.checks import modality_group
from rarl.data.example import KINDS, Kind
from rarl.evaluation.metrics import BASICS, HELD_OUT, TASKS
from rarl.response import Mode
from rarl.stats.bootstrap import clustered_mean

# Of one variant, sets and modalities make some thirty lines, each with an interval.
_RESAMPLES = 1000
KIND_WORDS: dict[str, str] = {
    "closed": "yes/no or choice",
    "open": "open",
    "choice": "multiple choice",
    "report": "report",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """Accuracy on one group of held-out questions.

    Attributes:
        modality: as `rarl.checks.modality_group` names it, or as annotated where that knows none.
        kind: of the questions.
        questions: which, in words.
        by_people: whether people wrote them; a set's own task asks every image the same.
        value: share of exact matches after normalisation, 0 to 1.
        low: lower end of its 95 % interval, None with fewer than two images.
        high: upper end, None likewise.
        n: questions.
        images: images among them; whole images are resampled.
    """

    modality: str
    kind: Kind
    questions: str
    by_people: bool
    value: float
    low: float | None
    high: float | None
    n: int
    images: int

    @property
    def percent(self) -> str:
        """The figure with its interval, for people.

        >>> Measured("MRI", "open", "people's", True, 0.25, 0.1, 0.4, 40, 20).percent
        '25.0 % (95 % interval 10.0 to 40.0 %)'
        """
        if self.low is None or self.high is None:
            return f"{100 * self.value:.1f} % (too few images for an interval)"
        return (
            f"{100 * self.value:.1f} % (95 % interval {100 * self.low:.1f} to "
            f"{100 * self.high:.1f} %)"
        )


def held_out_accuracy(rows: pd.DataFrame, revision: str, mode: Mode) -> tuple[Measured, ...]:
    """How often the weights of one revision are right, by modality and kind of question.

    Questions that training rows nearly repeat are left out. Those that people wrote come first;
    each task of a set, which asks every image the same, is a line of its own.

    Args:
        rows: of a run, see `rarl.evaluation.rows.Row`; greedy answers about scans are taken.
        revision: of the variant's weights. Nothing is measured where it is "".
        mode: inference mode.
    """
    if not revision:
        return ()
    taken = rows[
        (rows["condition"] == "scan")
        & (rows["draw"] == 0)
        & (rows["mode"] == mode)
        & rows["split"].isin(HELD_OUT)
        & ~rows["reworded"].astype(bool)
        & rows["modality"].notna()
        & (rows["revision"] == revision)
    ]
    if taken.empty:
        return ()
    task = taken["category"].where(taken["category"].isin((*TASKS, *BASICS)), "")
    people = "questions that people wrote"
    taken = taken.assign(
        modality=[modality_group(name) or name for name in taken["modality"]],
        questions=[
            f"{source}: {name}" if name else people
            for source, name in zip(taken["source"], task, strict=True)
        ],
    )
    lines = [
        _line(str(modality), kind, str(questions), questions == people, part)
        for (modality, kind, questions), part in taken.groupby(["modality", "kind", "questions"])
    ]
    order = {kind: place for place, kind in enumerate(KINDS)}
    lines.sort(key=lambda line: (line.modality, order[line.kind], not line.by_people, -line.n))
    return tuple(lines)


def _line(
    modality: str, kind: Kind, questions: str, by_people: bool, part: pd.DataFrame
) -> Measured:
    images = part["image"].tolist()
    share = clustered_mean(
        part["exact"].astype(float).tolist(), images, seed=0, resamples=_RESAMPLES
    )
    return Measured(
        modality, kind, questions, by_people, share.value, share.low, share.high,
        len(part), len(set(images)),
    )  # fmt: skip
