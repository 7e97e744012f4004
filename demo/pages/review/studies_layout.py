"""The widgets of the studies page: the list, the form that draws a study, and a reader's part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.pages.components import panel
from demo.pages.review.common import Data
from demo.pages.review.studies_html import CONDITION_CHOICES
from demo.pages.review.taking_part_html import EXPERIENCE
from rarl.inference.engine import Arm
from rarl.records import Region
from rarl.review import COMMENT_LIMIT
from rarl.review.conditions import CONDITIONS, USUAL, Condition

if TYPE_CHECKING:
    from rarl.review.wrong_advice import WrongAdvice

_SOURCES = (
    ("Another variant’s wrong answer", "variant"),
    ("A wrong answer sampled from a model (after review measure)", "sample"),
    ("The settled answer turned round", "flip"),
)
_KINDS = (
    ("Audit: readers judge answers drawn at random", "audit"),
    ("Reader study: readers answer, with and without AI", "study"),
)
_CASES = (("All cases with these variants", "all"), ("Those that the queue shows", "queue"))


@dataclass
class Taking:
    """Where a reader is in a study.

    Attributes:
        study_id: the study, or None.
        position: of the task that is shown.
        key: of the response, so that a second press on Save stores nothing twice.
        step: of the task, see `TaskView`.
    """

    study_id: str | None = None
    position: int = 0
    key: str = ""
    step: str = "only"


@dataclass(frozen=True, slots=True)
class StudyBoxes:
    """What is chosen for a reader study alone.

    Attributes:
        conditions: what readers see.
        wrong_share: of the answers with AI, in %, that are wrong on purpose.
        wrong_sources: what the wrong advice is.
        consent: what readers agree to.
        marks: whether readers may mark a place.
    """

    conditions: gr.CheckboxGroup
    wrong_share: gr.Slider
    wrong_sources: gr.CheckboxGroup
    consent: gr.Textbox
    marks: gr.Checkbox

    def boxes(self) -> tuple[Any, ...]:
        """All of them."""
        return (self.conditions, self.wrong_share, self.wrong_sources, self.consent, self.marks)

    def chosen_conditions(self, data: Data) -> list[Condition]:
        """The conditions that a handler was given, in their usual order."""
        return [condition for condition in CONDITIONS if condition in data[self.conditions]]

    def wrong_advice(self, data: Data) -> WrongAdvice | None:
        """The wrong advice on purpose, None where there is none.

        Raises:
            ReviewError: no source is chosen.
        """
        from rarl.review.wrong_advice import SOURCES, WrongAdvice

        if not data[self.wrong_share]:
            return None
        sources = tuple(source for source in SOURCES if source in data[self.wrong_sources])
        return WrongAdvice(int(data[self.wrong_share]) / 100, sources)


@dataclass(frozen=True, slots=True)
class DrawForm:
    """The form that draws an audit or a reader study.

    Attributes:
        accordion: all of it.
        kind: "audit" or "study".
        title: as readers see it.
        readers: names, with commas between.
        instructions: as readers see them.
        arms: whose answers; none for all.
        study: what is chosen for a reader study alone.
        cases: "all", or "queue" for those that pass the queue's filters.
        size: how many; 0 for all of a study's.
        seed: of the draw.
        deadline: the last day, YYYY-MM-DD, UTC.
        by_worth: whether an audit shows what is most worth judging first.
        draw: draws.
    """

    accordion: gr.Accordion
    kind: gr.Radio
    title: gr.Textbox
    readers: gr.Textbox
    instructions: gr.Textbox
    arms: gr.CheckboxGroup
    study: StudyBoxes
    cases: gr.Radio
    size: gr.Number
    seed: gr.Number
    deadline: gr.Textbox
    by_worth: gr.Checkbox
    draw: gr.Button

    def boxes(self) -> tuple[Any, ...]:
        """All fields."""
        return (self.kind, self.title, self.readers, self.instructions, self.arms,
                *self.study.boxes(), self.cases, self.size, self.seed, self.deadline,
                self.by_worth)  # fmt: skip

    def text(self, data: Data) -> str:
        """All free text that readers see."""
        boxes = (self.title, self.instructions, self.study.consent)
        return "\n".join(data[box] or "" for box in boxes)


@dataclass(frozen=True, slots=True)
class JoinForm:
    """What is asked of a reader before the first case.

    Attributes:
        column: all of it.
        text: what the study is about.
        experience: of the reader.
        agrees: whether the reader agrees to the text.
        trouble: sentences on what went wrong.
        begin: opens the first case.
        not_now: goes back.
    """

    column: gr.Column
    text: gr.HTML
    experience: gr.Radio
    agrees: gr.Checkbox
    trouble: gr.HTML
    begin: gr.Button
    not_now: gr.Button


@dataclass(frozen=True, slots=True)
class TaskForm:
    """A case of a study, and the form for its answer.

    Attributes:
        row: all of it.
        case: the case.
        head: how far the reader is.
        answer: of the reader.
        confidence: in %.
        comment: free text.
        seconds: for how long the case was looked at.
        place: that was marked on the picture.
        trouble: sentences on what went wrong.
        send: saves the answer.
        leave: goes back.
    """

    row: gr.Row
    case: gr.HTML
    head: gr.HTML
    answer: gr.Textbox
    confidence: gr.Slider
    comment: gr.Textbox
    seconds: gr.Number
    place: gr.Textbox
    trouble: gr.HTML
    send: gr.Button
    leave: gr.Button

    def boxes(self) -> tuple[Any, ...]:
        """All fields."""
        return (self.answer, self.confidence, self.comment, self.seconds, self.place)

    def text(self, data: Data) -> str:
        """All free text in the form."""
        return "\n".join(data[box] or "" for box in (self.answer, self.comment))

    def region(self, data: Data) -> Region | None:
        """The marked place: "picture left top right bottom", in pixels of the picture."""
        parts = (data[self.place] or "").split()
        if len(parts) != 5 or not all(part.isdecimal() for part in parts):
            return None
        picture, left, top, right, bottom = map(int, parts)
        return Region(picture, (left, top, right, bottom))


@dataclass(frozen=True, slots=True)
class StudiesWidgets:
    """All widgets of the page.

    Attributes:
        taking: where the reader is, see `Taking`.
        listed: all studies.
        shown: what one of them shows.
        trouble: sentences on what went wrong or is done.
        draw_form: draws a study.
        join_form: asked before the first case.
        task_form: a case of the study.
    """

    taking: gr.State
    listed: gr.HTML
    shown: gr.HTML
    trouble: gr.HTML
    draw_form: DrawForm
    join_form: JoinForm
    task_form: TaskForm

    @property
    def overview(self) -> list[Any]:
        """What `StudiesView.overview` fills, and the trouble."""
        return [self.listed, self.draw_form.accordion, self.trouble]

    @property
    def reading(self) -> list[Any]:
        """What `StudiesView.joining` and `StudiesView.next_task` fill."""
        task, join = self.task_form, self.join_form
        return [task.row, task.case, task.head, task.answer, task.confidence, task.comment,
                task.place, task.send, task.trouble, self.taking, self.shown, join.column,
                join.text, join.experience, join.agrees, join.trouble,
                *self.overview]  # fmt: skip


def studies_layout(arms: Sequence[Arm]) -> StudiesWidgets:
    """Lay the page out; nothing is wired yet.

    Args:
        arms: those that a study may be drawn from.
    """
    taking = gr.State(Taking())
    with gr.Column(elem_id="studies"):
        listed = panel(
            elem_id="study-list",
            events=("take", "judge", "show", "save", "debrief", "withdraw"),
        )
        shown = panel(elem_id="study-outcomes")
        trouble = panel(elem_id="study-trouble")
        draw_form = _draw_form(arms)
    return StudiesWidgets(taking, listed, shown, trouble, draw_form, _join_form(), _task_form())


def _draw_form(arms: Sequence[Arm]) -> DrawForm:
    with gr.Accordion("Start an audit or a reader study", open=False, visible=False,
                      elem_id="draw") as accordion:  # fmt: skip
        kind = gr.Radio(list(_KINDS), value="audit", label="What", elem_id="draw-kind")
        with gr.Row():
            title = gr.Textbox(label="Title, as readers see it", elem_id="draw-title")
            readers = gr.Textbox(
                label="Readers", placeholder="Names, with commas between", elem_id="draw-readers"
            )
        instructions = gr.Textbox(
            label="Instructions", lines=2, max_lines=8, elem_id="draw-instructions"
        )
        with gr.Row():
            arm_boxes = gr.CheckboxGroup(
                [(arm.label, arm.name) for arm in arms],
                label="Variants (none: all)",
                elem_id="draw-arms",
            )
        study = _study_boxes()
        with gr.Row():
            cases = gr.Radio(list(_CASES), value="all", label="Cases of a study",
                             elem_id="draw-cases")  # fmt: skip
            size = gr.Number(
                label="How many (0: all of a study’s)", precision=0, value=0, minimum=0,
                elem_id="draw-size",
            )  # fmt: skip
            seed = gr.Number(label="Seed", value=1, precision=0, elem_id="draw-seed")
            deadline = gr.Textbox(
                label="Last day", placeholder="2026-11-30, UTC", elem_id="draw-deadline"
            )
        by_worth = gr.Checkbox(
            label="Audit: most worth judging first; one answer in five by chance gives the rates",
            elem_id="draw-worth",
        )
        draw = gr.Button("Draw", variant="primary", elem_id="draw-go")
    return DrawForm(
        accordion, kind, title, readers, instructions, arm_boxes, study, cases, size, seed,
        deadline, by_worth, draw,
    )  # fmt: skip


def _study_boxes() -> StudyBoxes:
    conditions = gr.CheckboxGroup(
        list(CONDITION_CHOICES),
        value=list(USUAL),
        label="What readers of a study see",
        elem_id="draw-conditions",
    )
    with gr.Row():
        wrong_share = gr.Slider(
            0, 50, value=0, step=5, elem_id="draw-wrong",
            label="Wrong advice on purpose, in % of the answers with AI",
        )  # fmt: skip
        wrong_sources = gr.CheckboxGroup(
            list(_SOURCES),
            value=[key for _, key in _SOURCES],
            label="What the wrong advice is",
            elem_id="draw-sources",
        )
    with gr.Row():
        consent = gr.Textbox(
            label="What readers agree to before they begin (empty: nothing)",
            lines=2, max_lines=12, elem_id="draw-consent",
        )  # fmt: skip
        marks = gr.Checkbox(label="Readers may mark a place on the picture", elem_id="draw-marks")
    return StudyBoxes(conditions, wrong_share, wrong_sources, consent, marks)


def _join_form() -> JoinForm:
    with gr.Column(visible=False, elem_id="join-page") as column:
        text = panel(elem_id="join-text")
        experience = gr.Radio(list(EXPERIENCE), label="Your experience", elem_id="join-experience")
        agrees = gr.Checkbox(label="I have read this and agree", elem_id="join-agrees")
        trouble = panel(elem_id="join-trouble")
        begin = gr.Button("Begin", variant="primary", elem_id="join-go")
        not_now = gr.Button("Not now", elem_id="join-leave")
    return JoinForm(column, text, experience, agrees, trouble, begin, not_now)


def _task_form() -> TaskForm:
    with gr.Row(visible=False, elem_id="task-page") as row:
        with gr.Column(elem_id="task-side"):
            case = panel(elem_id="task")
        with gr.Column(elem_id="answer-form"):
            head = panel(elem_id="task-where")
            answer = gr.Textbox(
                label="Your answer", lines=2, max_lines=6, max_length=COMMENT_LIMIT,
                elem_id="task-answer",
            )  # fmt: skip
            confidence = gr.Slider(
                0, 100, value=50, step=5, label="How sure, in %", elem_id="task-sure"
            )
            comment = gr.Textbox(
                label="Comment", lines=2, max_lines=6, max_length=COMMENT_LIMIT,
                elem_id="task-comment",
            )  # fmt: skip
            # Both are filled by the page's script, and read when an answer is saved.
            seconds = gr.Number(visible="hidden", elem_id="task-seconds")
            place = gr.Textbox(visible="hidden", elem_id="task-region")
            trouble = panel(elem_id="task-trouble", events=("keep", "retype"))
            send = gr.Button("Save and next", variant="primary", elem_id="task-send")
            leave = gr.Button("Leave; go on later", elem_id="task-leave")
    return TaskForm(
        row, case, head, answer, confidence, comment, seconds, place, trouble, send, leave
    )
