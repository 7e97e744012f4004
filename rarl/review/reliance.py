"""What a reader study says of reliance on advice, from the store's readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rarl.errors import ReviewError
from rarl.review.conditions import presentation
from rarl.review.reader_metrics import agreement_with
from rarl.review.studies import Studies, StudyReading
from rarl.stats.reliance import Figure, Rows, Timing, figures, rows_of
from rarl.stats.two_way import Estimate

WORDS: Mapping[Figure, tuple[str, str]] = {
    "accuracy_without": ("Right without AI", "share of answers"),
    "accuracy_ai_first": ("Right with AI from the start", "share of answers"),
    "accuracy_before": ("Right before the advice", "first of two answers"),
    "accuracy_after": ("Right after the advice", "second of two answers"),
    "gain": ("Gain by the advice", "after less before"),
    "switched_to_right": ("Switched to right", "share of two-step answers"),
    "switched_to_wrong": ("Switched to wrong", "share of two-step answers"),
    "rair": (
        "Takes right advice (RAIR)",
        "of first answers that were wrong where the advice was right",
    ),
    "rsr": (
        "Resists wrong advice (RSR)",
        "of first answers that were right where the advice was wrong",
    ),
    "automation_bias": (
        "Automation bias",
        "how much more often the answer is the wrong advice after it was shown than before",
    ),
    "lost_to_wrong_advice": (
        "Lost to wrong advice",
        "right without AI less right with wrong advice from the start",
    ),
    "anchoring": (
        "Anchoring on the AI",
        "how much more often wrong advice is taken when seen first than after a first answer",
    ),
    "time_saved_ai_first": ("Time saved, AI from the start", "against no AI; geometric means"),
    "time_saved_after": ("Time saved, AI after a first read", "against no AI; both steps"),
}
"""Name and meaning of each figure."""


@dataclass(frozen=True, slots=True)
class Reliance:
    """The figures of a study.

    Attributes:
        group: experience of the readers; empty for all of them.
        figures: None where no answer says one.
    """

    group: str
    figures: Mapping[Figure, Estimate | None]


def reliance(studies: Studies, study_id: str) -> tuple[Reliance, ...]:
    """How readers used the advice, over all of them and then by experience.

    Only cases with a settled answer count. An answer is right where it agrees with that wholly.

    Raises:
        ReviewError: it is no reader study, the person may not, or the database cannot be read.
    """
    if studies.study(study_id).kind != "study":
        raise ReviewError("Only a reader study tells of reliance on advice; choose one.")
    rows = study_rows(studies.readings(study_id))
    groups = sorted({str(group) for group in rows.groups} - {""})
    whole = [Reliance("", figures(rows))] if len(rows.readers) else []
    return (*whole, *(Reliance(group, figures(rows.of_group(group))) for group in groups))


def study_rows(readings: Sequence[StudyReading]) -> Rows:
    """The readings whose case has a settled answer, as numbers."""
    answers = []
    for reading in readings:
        if reading.reference is None:
            continue
        shown = presentation(reading.task.condition)
        timing: Timing = "none" if not shown.ai else "after" if shown.read_first else "first"
        first = reading.first.answer if reading.first else None
        answers.append(
            (
                reading.task.reader,
                reading.task.case_id,
                timing,
                _agrees(reading.advice, reading.reference) if shown.ai else None,
                None if first is None else _agrees(first, reading.reference),
                _agrees(reading.response.answer, reading.reference),
                None if first is None else _agrees(first, reading.advice),
                _agrees(reading.response.answer, reading.advice) if shown.ai else None,
                reading.seconds,
                reading.experience or "",
            )
        )
    return rows_of(answers)


def _agrees(answer: str, wanted: str) -> float:
    return float(agreement_with(answer, wanted) == 1)
