"""The widgets of the review queue: filters and list, case, verdict, and what administers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any
from uuid import uuid4

import gradio as gr

from demo.pages.components import bare_textbox, panel
from demo.pages.review.common import STATUS_WORDS, WAITING, Chosen, Data, Place, select_box
from demo.templating import render_template
from rarl.errors import ReviewError
from rarl.records import checked
from rarl.records.queue import ORDERS, Order
from rarl.review import COMMENT_LIMIT, Judgement, Verdict
from rarl.review.dismissals import REASON_LIMIT

CHOOSE = "Choose an answer to see the case as it was."
_WORK = "Flagged answers"
# The judge's own scale, see `rarl.judge`.
_CORRECTNESS = (("0 wrong", 0), ("1 partly", 1), ("2 minor error", 2), ("3 right", 3))
_EXPLANATION = (("0 misleading", 0), ("1 poor", 1), ("2 minor error", 2), ("3 sound", 3))
_AGREES = (("Agree", "yes"), ("Disagree", "no"))
_SORTED: tuple[tuple[str, Order], ...] = (
    ("Oldest first", "oldest"),
    ("Newest first", "newest"),
    ("Most severe first", "severity"),
    ("Disputes first", "disagreement"),
    ("Most worth judging first", "worth"),
)

Typed = tuple[Any, ...]
"""The six fields of the form for a verdict."""


@dataclass(frozen=True, slots=True)
class FilterBoxes:
    """The filters; each is named as the attribute of `Chosen` that it holds."""

    work: gr.Dropdown
    status: gr.Dropdown
    text: gr.Textbox
    arm: gr.Dropdown
    category: gr.Dropdown
    severity: gr.Dropdown
    modality: gr.Dropdown
    reader: gr.Dropdown
    assigned: gr.Dropdown
    since: gr.Textbox
    until: gr.Textbox

    def all(self) -> tuple[Any, ...]:
        """All of them, in the order of `Chosen`."""
        return tuple(getattr(self, each.name) for each in fields(Chosen))

    def offered(self) -> tuple[Any, ...]:
        """Those whose choices depend on the store."""
        return (self.work, self.arm, self.category, self.severity, self.modality, self.reader,
                self.assigned)  # fmt: skip

    def chosen(self, data: Data) -> Chosen:
        """What a handler was given."""
        return Chosen(*(data[box] or "" for box in self.all()))


@dataclass(frozen=True, slots=True)
class ListSide:
    """The filters and the answers that pass them.

    Attributes:
        filters: what is listed.
        trouble: sentences about the filters, beside them.
        order: how the list is sorted.
        shape: rows or pictures.
        total: how many pass.
        rows: the list.
        progress: how far each reader is.
    """

    filters: FilterBoxes
    trouble: gr.HTML
    order: gr.Dropdown
    shape: gr.Radio
    total: gr.HTML
    rows: gr.HTML
    progress: gr.HTML

    def sorted_as(self, data: Data) -> Order:
        """How a handler is to sort the list."""
        return next((order for order in ORDERS if order == data[self.order]), ORDERS[0])


@dataclass(frozen=True, slots=True)
class VerdictForm:
    """The form in which a verdict is written.

    Attributes:
        column: all of it.
        title: what the verdict does.
        correctness: of the answer, from 0 to 3.
        explanation: likewise.
        agrees: whether the flag is right: "yes", "no" or None.
        comment: free text.
        answer: what would be right.
        why: and why.
        seconds: for how long the case was looked at.
        save: sends it.
    """

    column: gr.Column
    title: gr.HTML
    correctness: gr.Radio
    explanation: gr.Radio
    agrees: gr.Radio
    comment: gr.Textbox
    answer: gr.Textbox
    why: gr.Textbox
    seconds: gr.Number
    save: gr.Button

    def boxes(self) -> tuple[Any, ...]:
        """The fields that a reader fills, in the order of `Typed`."""
        return (self.correctness, self.explanation, self.agrees, self.comment, self.answer,
                self.why)  # fmt: skip

    def typed(self, data: Data) -> Typed | None:
        """What stands in the form, None where nothing does."""
        values = tuple(data[box] for box in self.boxes())
        return values if any(value not in (None, "") for value in values) else None

    def text(self, data: Data) -> str:
        """All free text in the form."""
        return "\n".join(data[box] or "" for box in (self.comment, self.answer, self.why))

    def judgement(self, data: Data) -> Judgement:
        """The verdict as a record.

        Raises:
            ReviewError: a grade is missing, or a value cannot be kept.
        """
        if data[self.correctness] is None or data[self.explanation] is None:
            raise ReviewError("Choose correctness and explanation, each from 0 to 3.")
        return checked(
            Judgement,
            correctness=int(data[self.correctness]),
            explanation=int(data[self.explanation]),
            agrees={"yes": True, "no": False}.get(data[self.agrees] or ""),
            corrected_answer=data[self.answer] or "",
            corrected_explanation=data[self.why] or "",
            comment=data[self.comment] or "",
            seconds=data[self.seconds],
        )


@dataclass(frozen=True, slots=True)
class Administration:
    """What is done with answers besides judging them, each in an accordion of its own.

    Attributes:
        ticked: places in the list, with commas between.
        assigning: the accordion.
        names: whom answers are given to.
        assign_open: gives the open answer.
        assign_ticked: gives those ticked in the list.
        assign_all: gives all that pass the filters.
        take_open: takes the open answer back.
        take_ticked: takes those ticked back.
        dismissing: the accordion.
        dismiss_reason: for all flags that are dismissed or restored.
        dismiss_open: dismisses the flags of the open answer.
        dismiss_ticked: dismisses those of the ticked ones.
        restore_open: takes the dismissal back.
        restore_ticked: likewise.
        deleting: the accordion.
        delete_reason: for the tombstone.
        delete: removes the open case for good.
    """

    ticked: gr.Textbox
    assigning: gr.Accordion
    names: gr.Textbox
    assign_open: gr.Button
    assign_ticked: gr.Button
    assign_all: gr.Button
    take_open: gr.Button
    take_ticked: gr.Button
    dismissing: gr.Accordion
    dismiss_reason: gr.Textbox
    dismiss_open: gr.Button
    dismiss_ticked: gr.Button
    restore_open: gr.Button
    restore_ticked: gr.Button
    deleting: gr.Accordion
    delete_reason: gr.Textbox
    delete: gr.Button


@dataclass(frozen=True, slots=True)
class QueueWidgets:
    """All widgets of the queue.

    Attributes:
        place: where the page stands, see `Place`.
        side: filters and list.
        case: the open case.
        next: opens the next answer for this reader.
        state: how the open answer stands.
        form: the verdict.
        trouble: sentences about the verdict.
        administration: assignment, dismissal and deletion.
    """

    place: gr.State
    side: ListSide
    case: gr.HTML
    next: gr.Button
    state: gr.HTML
    form: VerdictForm
    trouble: gr.HTML
    administration: Administration

    @property
    def listing(self) -> set[Any]:
        """What the list depends on."""
        return {*self.side.filters.all(), self.side.order, self.side.shape, self.place}

    @property
    def turning(self) -> set[Any]:
        """What is read where another case is opened: what was typed about this one is kept."""
        return {*self.listing, *self.form.boxes()}

    @property
    def whole_list(self) -> list[Any]:
        """What `QueueView.listing` fills."""
        side = self.side
        return [side.rows, side.total, side.progress, self.trouble, side.trouble,
                self.administration.dismissing]  # fmt: skip

    @property
    def everything(self) -> list[Any]:
        """What `QueueView.case` and `QueueView.listing` fill."""
        form, administration = self.form, self.administration
        return [self.case, self.state, form.column, form.title, *form.boxes(), form.save,
                administration.assigning, administration.deleting, self.place,
                *self.whole_list]  # fmt: skip


def queue_layout() -> QueueWidgets:
    """Lay the queue out; nothing is wired yet."""
    place = gr.State(Place(None, None, uuid4().hex, None, False, (), 1, {}))
    with gr.Row(elem_id="queue-page"):
        with gr.Column(elem_id="queue-side"):
            side = _list_side()
        with gr.Column(elem_id="case-side"):
            case = panel(no_case(CHOOSE), elem_id="case", events=("correct", "report"))
        with gr.Column(elem_id="verdict-side"):
            following = gr.Button("Next for me", variant="primary", elem_id="queue-next")
            state = panel(elem_id="verdict-state")
            form = _verdict_form()
            trouble = panel(elem_id="queue-trouble", events=("keep", "retype"))
            administration = _administration()
    return QueueWidgets(place, side, case, following, state, form, trouble, administration)


def _list_side() -> ListSide:
    with gr.Row(elem_classes="filters"):
        work = select_box(_WORK, [], "filter-work")
        status = select_box(
            "Any status",
            [("Waits for me", WAITING), *((word, key) for key, word in STATUS_WORDS.items())],
            "filter-status",
        )
    text = bare_textbox("Find", "Find in comments, questions and answers", "filter-text")
    with (
        gr.Accordion("More filters", open=False, elem_id="more-filters"),
        gr.Row(elem_classes="filters"),
    ):
        filters = FilterBoxes(
            work,
            status,
            text,
            arm=select_box("All variants", [], "filter-arm"),
            category=select_box("All kinds", [], "filter-category"),
            severity=select_box("Any severity", [], "filter-severity"),
            modality=select_box("Any modality", [], "filter-modality"),
            reader=select_box("Flagged by", [], "filter-reader"),
            assigned=select_box("Given to", [], "filter-assigned"),
            since=_date_box("From", "filter-since"),
            until=_date_box("To", "filter-until"),
        )
    # Beside the fields that it speaks of.
    trouble = panel(elem_id="filter-trouble")
    with gr.Row(elem_id="list-head"):
        order = gr.Dropdown(
            list(_SORTED),
            value="oldest",
            label="Sort",
            show_label=False,
            container=False,
            filterable=False,
            elem_id="list-order",
            min_width=100,
        )
        shape = gr.Radio(
            [("List", "list"), ("Gallery", "gallery")],
            value="list",
            show_label=False,
            container=False,
            elem_id="list-shape",
        )
        total = panel(elem_id="list-total", events=("clear",))
    return ListSide(
        filters,
        trouble,
        order,
        shape,
        total,
        rows=panel(elem_id="flag-list", events=("open", "more")),
        progress=panel(elem_id="queue-progress"),
    )


def _verdict_form() -> VerdictForm:
    with gr.Column(visible=False, elem_id="verdict-form") as column:
        title = panel(elem_id="verdict-title")
        correctness = _scale(_CORRECTNESS, "Correctness", "verdict-correctness")
        explanation = _scale(_EXPLANATION, "Explanation", "verdict-explanation")
        agrees = gr.Radio(
            list(_AGREES), label="The flag", elem_id="verdict-agrees", elem_classes="scale"
        )
        comment = _text("Comment", "verdict-comment", 2)
        with gr.Accordion("What would be right", open=False, elem_id="verdict-right"):
            answer = _text("The right answer", "verdict-answer", 1)
            why = _text("And why", "verdict-why", 2)
        # Filled by the page's script, read when a verdict is saved.
        seconds = gr.Number(visible="hidden", elem_id="verdict-seconds")
        save = gr.Button("Save and next", variant="primary", elem_id="verdict-save")
        panel(render_template("review/verdict_keys.html"), elem_id="verdict-keys")
    return VerdictForm(
        column, title, correctness, explanation, agrees, comment, answer, why, seconds, save
    )


def _administration() -> Administration:
    # Filled by the page's script.
    ticked = gr.Textbox(visible="hidden", elem_id="assign-ticked")
    with gr.Accordion("Assign to readers", open=False, visible=False,
                      elem_id="assign") as assigning:  # fmt: skip
        names = gr.Textbox(
            label="Readers", placeholder="Names, with commas between", elem_id="assign-names"
        )
        with gr.Row():
            assign_open = _button("Assign this answer", "assign-one")
            assign_ticked = _button("Assign those ticked", "assign-some")
            assign_all = _button("Assign all listed", "assign-all")
            take_open = _button("Take this back", "assign-back")
            take_ticked = _button("Take those ticked back", "assign-some-back")
    with gr.Accordion("Dismiss flags", open=False, visible=False,
                      elem_id="dismiss") as dismissing:  # fmt: skip
        dismiss_reason = gr.Textbox(
            label="Why",
            info="One reason for all, such as a slip of the mouse or the same flag twice. "
            "Do not name the patient. The flags stay and can be restored; answers that "
            "somebody has judged are left out.",
            elem_id="dismiss-reason",
            max_length=REASON_LIMIT,
        )
        with gr.Row():
            dismiss_open = _button("Dismiss for this answer", "dismiss-one")
            dismiss_ticked = _button("Dismiss for those ticked", "dismiss-some")
            restore_open = _button("Restore for this answer", "restore-one")
            restore_ticked = _button("Restore for those ticked", "restore-some")
    with gr.Accordion("Delete this case for good", open=False, visible=False,
                      elem_id="delete") as deleting:  # fmt: skip
        delete_reason = gr.Textbox(
            label="Why",
            info="Such as a request under privacy law. Do not name the patient. All that "
            "was said about the case goes with it; exports made before stay.",
            elem_id="delete-reason",
        )
        delete = gr.Button("Delete for good", variant="stop", elem_id="delete-go")
    return Administration(
        ticked, assigning, names, assign_open, assign_ticked, assign_all, take_open, take_ticked,
        dismissing, dismiss_reason, dismiss_open, dismiss_ticked, restore_open, restore_ticked,
        deleting, delete_reason, delete,
    )  # fmt: skip


def no_case(sentence: str) -> str:
    """A sentence in place of a case."""
    return render_template("review/no_case.html", sentence=sentence)


def written(verdict: Verdict) -> Typed:
    """A verdict as the form holds it."""
    judgement = verdict.judgement
    agrees = {True: "yes", False: "no", None: None}[judgement.agrees]
    return (
        judgement.correctness, judgement.explanation, agrees, judgement.comment,
        judgement.corrected_answer, judgement.corrected_explanation,
    )  # fmt: skip


def _button(label: str, elem_id: str) -> gr.Button:
    return gr.Button(label, elem_id=elem_id, min_width=110)


def _scale(choices: Sequence[tuple[str, int]], label: str, elem_id: str) -> gr.Radio:
    return gr.Radio(list(choices), label=label, elem_id=elem_id, elem_classes="scale")


def _text(label: str, elem_id: str, lines: int) -> gr.Textbox:
    return gr.Textbox(
        label=label, lines=lines, max_lines=6, max_length=COMMENT_LIMIT, elem_id=elem_id
    )


def _date_box(word: str, elem_id: str) -> gr.Textbox:
    return bare_textbox(f"{word}, as 2026-11-30", f"{word} date", elem_id, min_width=100)
