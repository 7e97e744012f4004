"""HTML of the studies page: the list, what a study shows so far, and a task of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from demo.pages.review.common import nothing, stage, when
from demo.services.asking import steps
from demo.templating import render_template
from rarl.review.conditions import CONDITIONS, presentation

if TYPE_CHECKING:
    from rarl.review.reader_metrics import Outcome
    from rarl.review.studies.records import Study, TaskView
    from rarl.stats.bootstrap import Interval

CONDITION_CHOICES = tuple((presentation(condition).label, condition) for condition in CONDITIONS)
_NOTHING = Markup("")
# Name, meaning, the figure of an outcome, its scale and its unit.
_ROWS: tuple[tuple[str, str, Callable[[Outcome], Interval | None], float, str], ...] = (
    ("Right", "agreement with the settled answer", lambda outcome: outcome.right, 100, "%"),
    ("As the AI", "agreement with its answer, seen or not",
     lambda outcome: outcome.like_ai, 100, "%"),
    ("Misled", "the same, where the AI is not right", lambda outcome: outcome.misled, 100, "%"),
    ("How sure", "mean", lambda outcome: outcome.confidence, 1, "%"),
    ("Time", "geometric mean", lambda outcome: outcome.seconds, 1, "s"),
)  # fmt: skip
_STEP_SENTENCES = {
    "first": "First your own answer; it cannot be changed once the AI’s is shown.",
    "final": "The AI’s answer is shown. Keep your answer or change it.",
    "only": "",
}


def study_list(
    studies: Sequence[tuple[Study, dict[str, tuple[int, int]]]],
    person: str | None,
    *,
    may_export: bool,
) -> str:
    """Audits and studies as cards.

    Args:
        studies: each with how much each reader has done, and of how much.
        person: whose page it is.
        may_export: whether responses may be saved.
    """
    if not studies:
        return nothing(
            "No study yet",
            "An audit draws answers at random and says how often each variant is wrong. A reader "
            "study shows people cases with and without AI.",
        )
    cards = [_card(study, progress, person, may_export) for study, progress in studies]
    return render_template("review/study_list.html", cards=cards)


def _card(
    study: Study, progress: dict[str, tuple[int, int]], person: str | None, may_export: bool
) -> dict[str, Any]:
    """What the list shows of a study."""
    done, assigned = progress.get(person or "", (0, 0))
    over = study.deadline is not None and study.deadline < datetime.now(UTC)
    return {
        "study_id": study.id,
        "title": study.title,
        "facts": _facts(study, over),
        "instructions": study.instructions,
        "bars": [
            (reader, part, whole, f"{100 * part / max(1, whole):.0f}")
            for reader, (part, whole) in progress.items()
        ],
        "buttons": _buttons(study, done, assigned, over, may_export),
        "may_withdraw": study.kind == "study" and assigned > 0,
    }


def _facts(study: Study, over: bool) -> list[str]:
    facts = ["Audit" if study.kind == "audit" else "Reader study", f"drawn {when(study.created)}"]
    if study.deadline is not None:
        facts.append(("ended " if over else "until ") + when(study.deadline - timedelta(minutes=1)))
    if study.by_worth:
        facts.append("most worth judging first; rates from one in five by chance")
    facts.append(f"from {study.population} {'answers' if study.kind == 'audit' else 'cases'}")
    return facts


def _buttons(
    study: Study, done: int, assigned: int, over: bool, may_export: bool
) -> list[tuple[str, str]]:
    """Event and label of each button of a card."""
    buttons = []
    if study.kind == "audit":
        buttons.append(("judge", "Judge in the queue"))
    elif done < assigned and not over:
        buttons.append(("take", "Go on" if done else "Take part"))
    elif assigned:
        buttons.append(("debrief", "What it showed me"))
    if may_export and study.kind == "study":
        buttons += [("show", "What it shows"), ("save", "Save responses as CSV")]
    return buttons


def outcomes_view(study: Study, outcomes: Sequence[Outcome]) -> str:
    """How readers did under each condition, side by side.

    Args:
        study: whose readers.
        outcomes: of the responses so far.
    """
    if not outcomes:
        text = f"Nobody has answered a case of “{study.title}” yet."
        return render_template("hint.html", text=text)
    labels = {condition: label for label, condition in CONDITION_CHOICES}
    return render_template(
        "review/study_outcomes.html",
        title=study.title,
        conditions=[labels[outcome.condition] for outcome in outcomes],
        rows=[
            (name, meaning, [_figure(value(outcome), scale, unit) for outcome in outcomes])
            for name, meaning, value, scale, unit in _ROWS
        ],
        counts=[(outcome.responses, outcome.readers) for outcome in outcomes],
    )


def _figure(interval: Interval | None, scale: float, unit: str) -> tuple[str, str] | None:
    """A mean, and its interval or ""; None where it is unknown."""
    if interval is None:
        return None
    between = ""
    if interval.low is not None and interval.high is not None:
        between = f"{scale * interval.low:.0f}–{scale * interval.high:.0f}"
    return f"{scale * interval.value:.0f} {unit}", between


def task_view(view: TaskView, heat_map: Markup = _NOTHING, marks: bool = False) -> str:
    """What a reader sees of a task: no arm, no model.

    Args:
        view: the task.
        heat_map: of the shown answer, as HTML.
        marks: whether a place may be marked.
    """
    return render_template(
        "review/study_task.html",
        position=view.position,
        step=view.step,
        marks=marks,
        sizes=" ".join(f"{picture.width}x{picture.height}" for picture in view.pictures),
        # An invented name would tell too much; the stage only needs an index.
        pictures=[stage(picture, number) for number, picture in enumerate(view.pictures)],
        question=view.question,
        answer=view.answer,
        reasoning=None if view.reasoning is None else list(steps(view.reasoning)),
        heat_map=heat_map,
    )


def task_head(study: Study, number: int, total: int, view: TaskView) -> str:
    """How far a reader is, and what is asked now.

    Args:
        study: the study.
        number: of the case, from 1.
        total: how many cases this reader has.
        view: the task.
    """
    return render_template(
        "review/study_task_head.html",
        title=study.title,
        number=number,
        total=total,
        instructions=study.instructions,
        step=_STEP_SENTENCES[view.step],
    )
