"""HTML of what a reader is asked before a study, and learns after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from demo.pages import render
from demo.templating import render_template

if TYPE_CHECKING:
    from rarl.review.studies import Study
    from rarl.review.studies.records import Debriefed

EXPERIENCE = (
    ("Student", "student"),
    ("In training", "trainee"),
    ("Specialist", "specialist"),
    ("Other", "other"),
)
_SOURCES = {
    "variant": "another variant’s answer",
    "sample": "an answer sampled from a model",
    "flip": "the settled answer turned round",
}


def joining(study: Study) -> str:
    """What a reader is asked before the first case."""
    in_two_steps = any(condition.startswith("read-first/") for condition in study.conditions)
    return render_template("review/study_joining.html", study=study, in_two_steps=in_two_steps)


def debriefing(study: Study, tasks: Sequence[Debriefed]) -> str:
    """Which advice was wrong on purpose, and what this reader made of it.

    Args:
        study: that the reader has done.
        tasks: of the reader.
    """
    advised = [task for task in tasks if task.advice is not None]
    wrong = [task for task in advised if task.wrong_on_purpose is not None]
    known = [task for task in tasks if task.reference is not None]
    if wrong:
        taken = sum(_same(task.final, task.advice) for task in wrong)
        sentence = (
            f"Of {len(advised)} answers of the AI that you saw, {len(wrong)} were wrong on "
            f"purpose. You took over {taken} of them."
        )
    else:
        sentence = "No answer that you saw was wrong on purpose."
    return render_template(
        "review/study_debriefing.html",
        title=study.title,
        sentence=sentence,
        tasks=[_debriefed(task) for task in tasks],
        unsettled=len(known) < len(tasks),
    )


def _debriefed(task: Debriefed) -> dict[str, str | None]:
    """What the table shows of a task."""
    picture = None
    if task.picture is not None and task.picture.png is not None:
        picture = render.picture_url(task.picture.image(), side=160)
    wrong = task.wrong_on_purpose
    return {
        "picture": picture,
        "question": task.question,
        "first": task.first,
        "advice": task.advice,
        "wrong_on_purpose": None if wrong is None else _SOURCES[wrong],
        "final": task.final,
        "reference": task.reference,
    }


def _same(answer: str | None, other: str | None) -> bool:
    from rarl.review.reader_metrics import agreement_with  # which loads scipy

    return bool(answer and other) and agreement_with(answer or "", other or "") == 1
