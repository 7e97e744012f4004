"""The review queue: filters and list on the left, case in the middle, verdict on the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import uuid4

import gradio as gr
from markupsafe import Markup

from demo.context import FOCUS, NOW, QUIET, Parts, Update
from demo.pages import render
from demo.pages.components import panel
from demo.pages.review.common import (
    STATUS_WORDS,
    WAITING,
    Chosen,
    Data,
    Labels,
    Place,
    guarded,
    names_in,
    select_box,
)
from demo.pages.review.correction import flag_correction
from demo.pages.review.queue_html import case_view, flag_list, list_head, progress_table, standing
from demo.services.identity import doubts
from demo.session import Session
from rarl.errors import ReviewError
from rarl.records import Item, checked
from rarl.records.queue import ORDERS, Order
from rarl.review import (
    COMMENT_LIMIT,
    Flag,
    Judgement,
    Queue,
    QueueFilter,
    QueueItem,
    ReviewStore,
    Verdict,
)
from rarl.review.dismissals import REASON_LIMIT, Dismissals
from rarl.review.roles import may

_ROWS, _CARDS = 50, 24
_WORK = "Flagged answers"
_NONE_YET = (
    "Nothing flagged yet",
    "When an answer on the Ask page is wrong or unsafe, press Flag under it. It is kept here with "
    "its scan, its question and the answers of all variants.",
)
_ALL_DONE = ("Nothing waits for you", "Choose another status to see what is done.")
_NO_MATCH = ("Nothing matches", "Loosen the filters to see more.")
_NO_CASE = Markup(
    '<div class="nothing quiet"><p>Choose an answer to see the case as it was.</p></div>'
)
_KEYS = Markup(
    '<p class="keys"><kbd>N</kbd> next <kbd>0</kbd>–<kbd>3</kbd> correctness '
    "<kbd>Shift</kbd>+<kbd>0</kbd>–<kbd>3</kbd> explanation <kbd>A</kbd> agree "
    "<kbd>D</kbd> disagree <kbd>C</kbd> comment <kbd>S</kbd> save</p>"
)
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
_READ, _CORRECT, _SETTLE = "Your verdict", "Correct your verdict", "Adjudicate"


Typed = tuple[Any, ...]
"""The six fields of the form."""


@dataclass(frozen=True, slots=True)
class QueueWidgets:
    """What the other pages reach into.

    Attributes:
        filters: in the order of `Chosen`.
        choices: those among them whose choices depend on the store: work, arm, category, severity,
            modality, reader, assigned.
        refresh: lists anew; takes `inputs`, fills `outputs`.
        inputs: the filters, the shape of the list, and the place.
        outputs: what `refresh` fills.
    """

    filters: tuple[Any, ...]
    choices: tuple[Any, ...]
    refresh: Callable[[gr.Request, Data], Update]
    inputs: set[Any]
    outputs: list[Any]


def queue_page(parts: Parts, session: gr.State) -> QueueWidgets:
    """Lay out the queue and wire it."""
    place = gr.State(_fresh())
    with gr.Row(elem_id="queue-page"):
        with gr.Column(elem_id="queue-side"):
            with gr.Row(elem_classes="filters"):
                work = select_box(_WORK, [], "filter-work")
                status = select_box(
                    "Any status",
                    [("Waits for me", WAITING), *((w, key) for key, w in STATUS_WORDS.items())],
                    "filter-status",
                )
            text = gr.Textbox(
                label="Find",
                show_label=False,
                container=False,
                placeholder="Find in comments, questions and answers",
                elem_id="filter-text",
            )
            with (
                gr.Accordion("More filters", open=False, elem_id="more-filters"),
                gr.Row(elem_classes="filters"),
            ):
                arm = select_box("All variants", [], "filter-arm")
                category = select_box("All kinds", [], "filter-category")
                severity = select_box("Any severity", [], "filter-severity")
                modality = select_box("Any modality", [], "filter-modality")
                reader = select_box("Flagged by", [], "filter-reader")
                assigned = select_box("Given to", [], "filter-assigned")
                since = _date_box("From", "filter-since")
                until = _date_box("To", "filter-until")
            # Beside the fields that it speaks of.
            narrowing = panel(elem_id="filter-trouble")
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
            rows = panel(elem_id="flag-list", events=("open", "more"))
            progress = panel(elem_id="queue-progress")
        with gr.Column(elem_id="case-side"):
            case = panel(_NO_CASE, elem_id="case", events=("correct",))
        with gr.Column(elem_id="verdict-side"):
            resume = gr.Button("Next for me", variant="primary", elem_id="queue-next")
            state = panel(elem_id="verdict-state")
            with gr.Column(visible=False, elem_id="verdict-form") as form:
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
                panel(_KEYS, elem_id="verdict-keys")
            trouble = panel(elem_id="queue-trouble", events=("keep", "retype"))
            # Filled by the page's script: places in the list, with commas between.
            ticked = gr.Textbox(visible="hidden", elem_id="assign-ticked")
            with gr.Accordion("Assign to readers", open=False, visible=False,
                              elem_id="assign") as assigning:  # fmt: skip
                names = gr.Textbox(
                    label="Readers",
                    placeholder="Names, with commas between",
                    elem_id="assign-names",
                )
                with gr.Row():
                    give_one = gr.Button("Assign this answer", elem_id="assign-one", min_width=110)
                    give_some = gr.Button(
                        "Assign those ticked", elem_id="assign-some", min_width=110
                    )
                    give_all = gr.Button("Assign all listed", elem_id="assign-all", min_width=110)
                    take = gr.Button("Take this back", elem_id="assign-back", min_width=110)
                    take_some = gr.Button(
                        "Take those ticked back", elem_id="assign-some-back", min_width=110
                    )
            with gr.Accordion("Dismiss flags", open=False, visible=False,
                              elem_id="dismiss") as dismissing:  # fmt: skip
                excuse = gr.Textbox(
                    label="Why",
                    info="One reason for all, such as a slip of the mouse or the same flag twice. "
                    "Do not name the patient. The flags stay and can be restored; answers that "
                    "somebody has judged are left out.",
                    elem_id="dismiss-reason",
                    max_length=REASON_LIMIT,
                )
                with gr.Row():
                    dismiss_one = gr.Button(
                        "Dismiss for this answer", elem_id="dismiss-one", min_width=110
                    )
                    dismiss_some = gr.Button(
                        "Dismiss for those ticked", elem_id="dismiss-some", min_width=110
                    )
                    restore_one = gr.Button(
                        "Restore for this answer", elem_id="restore-one", min_width=110
                    )
                    restore_some = gr.Button(
                        "Restore for those ticked", elem_id="restore-some", min_width=110
                    )
            with gr.Accordion("Delete this case for good", open=False, visible=False,
                              elem_id="delete") as deleting:  # fmt: skip
                reason = gr.Textbox(
                    label="Why",
                    info="Such as a request under privacy law. Do not name the patient. All that "
                    "was said about the case goes with it; exports made before stay.",
                    elem_id="delete-reason",
                )
                remove = gr.Button("Delete for good", variant="stop", elem_id="delete-go")

    filters = (work, status, text, arm, category, severity, modality, reader, assigned, since,
               until)  # fmt: skip
    written = (correctness, explanation, agrees, comment, answer, why)
    whole_list = [rows, total, progress, trouble, narrowing, dismissing]
    whole_case = [case, state, form, title, *written, save, assigning, deleting, place]

    def sorted_as(data: Data) -> Order:
        return next((each for each in ORDERS if each == data[order]), ORDERS[0])

    def listing(store: ReviewStore, chosen: Chosen, data: Data, at: Place) -> Update:
        queue = Queue(store, chosen.study_id)
        cards = data[shape] == "gallery"
        most = at.shown * (_CARDS if cards else _ROWS)
        found = queue.items(chosen.queue(), most, order=sorted_as(data))
        number = queue.count(chosen.queue())
        pictures = store.first_pictures(one.case_id for one in found) if cards else None
        waits = queue.count(QueueFilter(waiting=True))
        settles = may(store.role, "adjudicate")
        disputes = queue.count(QueueFilter(status="differs")) if settles else 0
        narrow = chosen != Chosen(chosen.work, chosen.status)
        at.listed = tuple((one.case_id, one.arm) for one in found)
        empty = _NO_MATCH if narrow else _ALL_DONE if chosen.status else _NONE_YET
        return {
            rows: flag_list(
                found,
                at.item if at.study_id == chosen.study_id else None,
                more=number > len(found),
                empty=empty,
                blind=chosen.study_id is not None,
                labels=Labels.of(store.taxonomy),
                pictures=pictures,
            ),
            total: list_head(str(number), chosen, Labels.of(store.taxonomy), parts.labels()),
            progress: progress_table(queue.progress(), store.person, waits, disputes),
            dismissing: gr.Accordion(
                visible=chosen.study_id is None and bool(found) and may(store.role, "dismiss")
            ),
        }

    def showing(
        store: ReviewStore, chosen: Chosen, at: Place, item: QueueItem, typed: Typed | None
    ) -> Update:
        """The case, and the form as this person may fill it."""
        if at.item is not None and typed is not None:
            at.drafts[at.study_id, at.item] = typed
        queue = Queue(store, chosen.study_id)
        verdicts = queue.verdicts(item.case_id, item.arm)
        mine = next((v for v in verdicts if v.reader == store.person and v.role == "reader"), None)
        heading = _heading(store, item, mine)
        audit = chosen.study_id is not None
        opened_now = (chosen.study_id, (item.case_id, item.arm))
        if opened_now != (at.study_id, at.item):
            at.key = uuid4().hex  # the page's clock starts anew with it
        at.study_id, at.item = opened_now
        at.replaces = mine.key if heading == _CORRECT and mine is not None else None
        at.adjudicates = heading == _SETTLE
        draft = at.drafts.get((at.study_id, at.item))
        if draft is None and heading == _CORRECT and mine is not None:
            draft = _written(mine)
        values: Typed = draft or (None, None, None, "", "", "")
        return {
            case: case_view(
                item,
                store.case(item.case_id),
                item.flags,
                place=at.key,
                blind=audit,
                labels=Labels.of(store.taxonomy),
                me=store.person,
                earlier=_corrected(store, item),
                dismissed={
                    one.flag_key: one for one in Dismissals(store).of(item.case_id, item.arm)
                },
            ),
            state: standing(item, verdicts, mine),
            form: gr.Column(visible=bool(heading)),
            title: Markup("<h2>{}</h2>").format(heading),
            **dict(zip(written, values, strict=True)),
            agrees: gr.Radio(value=values[2], visible=bool(item.flags)),
            save: gr.Button("Correct and next" if heading == _CORRECT else "Save and next"),
            assigning: gr.Accordion(visible=may(store.role, "assign")),
            deleting: gr.Accordion(visible=may(store.role, "delete")),
            place: at,
        }

    def cleared(at: Place, words: str) -> Update:
        at.item = None
        return {
            case: Markup('<div class="nothing quiet"><p>{}</p></div>').format(words),
            state: "",
            form: gr.Column(visible=False),
            assigning: gr.Accordion(visible=False),
            deleting: gr.Accordion(visible=False),
            place: at,
        }

    def refresh(request: gr.Request, data: Data) -> Update:
        def done() -> Update:
            store = parts.desk.for_request(request)
            return listing(store, chosen_in(data), data, data[place])

        return guarded(narrowing, "list", done)

    def narrowed(request: gr.Request, data: Data) -> Update:
        data[place].shown = 1
        return refresh(request, data)

    def more_rows(request: gr.Request, data: Data) -> Update:
        data[place].shown += 1
        return refresh(request, data)

    def opened(request: gr.Request, event: gr.EventData, data: Data) -> Update:
        def done() -> Update:
            store, chosen, at = parts.desk.for_request(request), chosen_in(data), data[place]
            number = str(getattr(event, "number", ""))
            if not number.isdecimal() or int(number) >= len(at.listed):
                raise ReviewError("The list has changed; choose again.")
            item = Queue(store, chosen.study_id).item(*at.listed[int(number)])
            shown = showing(store, chosen, at, item, typed_in(data))
            return {**shown, **listing(store, chosen, data, at)}

        return guarded(trouble, "open", done)

    def go_on(
        store: ReviewStore, chosen: Chosen, at: Place, typed: Typed | None, sort: Order
    ) -> Update:
        item, queue = None, Queue(store, chosen.study_id)
        wanted = replace(chosen, status="").queue()
        if may(store.role, "adjudicate"):
            # Only an adjudicator can settle what readers differ on.
            item = queue.next_to_settle(wanted, at.item)
        if item is None:
            item = queue.next(wanted, at.item, sort)
        if item is None:
            return cleared(at, "Nothing waits for you here. Choose an answer to look at it again.")
        return showing(store, chosen, at, item, typed)

    def advanced(request: gr.Request, data: Data) -> Update:
        def done() -> Update:
            store, chosen, at = parts.desk.for_request(request), chosen_in(data), data[place]
            shown = go_on(store, chosen, at, typed_in(data), sorted_as(data))
            return {**shown, **listing(store, chosen, data, at)}

        return guarded(trouble, "next", done)

    def saved(request: gr.Request, data: Data) -> Update:
        held: Session = data[session]
        words = "\n".join(data[one] or "" for one in (comment, answer, why))
        found = () if words in held.kept else doubts(words, held)
        if found:
            held.doubted = words
            return {trouble: render.doubt(found, "what you typed")}

        def done() -> Update:
            store, chosen, at = parts.desk.for_request(request), chosen_in(data), data[place]
            if at.item is None:
                raise ReviewError("Choose an answer first.")
            if data[correctness] is None or data[explanation] is None:
                raise ReviewError("Choose correctness and explanation, each from 0 to 3.")
            judgement = checked(
                Judgement,
                correctness=int(data[correctness]),
                explanation=int(data[explanation]),
                agrees={"yes": True, "no": False}.get(data[agrees] or ""),
                corrected_answer=data[answer] or "",
                corrected_explanation=data[why] or "",
                comment=data[comment] or "",
                seconds=data[seconds],
            )
            queue = Queue(store, at.study_id)
            case_id, whose = at.item
            if at.adjudicates:
                queue.adjudicate(case_id, whose, judgement, key=at.key)
            else:
                queue.judge(case_id, whose, judgement, key=at.key, replaces=at.replaces)
            at.drafts.pop((at.study_id, at.item), None)
            return {
                **go_on(store, chosen, at, None, sorted_as(data)),
                **listing(store, chosen, data, at),
            }

        return guarded(trouble, "judge", done)

    def kept(request: gr.Request, data: Data) -> Update:
        data[session].kept.add(data[session].doubted)
        return saved(request, data)

    def assigner(
        given: bool, which: Literal["open", "ticked", "all"]
    ) -> Callable[[gr.Request, Data], Update]:
        def work(request: gr.Request, data: Data) -> Update:
            def done() -> Update:
                store, chosen, at = parts.desk.for_request(request), chosen_in(data), data[place]
                queue = Queue(store, chosen.study_id)
                wanted = ticked_in(data) if which == "ticked" else open_in(data)
                if which == "all":
                    wanted = list(queue.places(chosen.queue()))
                people = names_in(data[names])
                if not wanted or not people:
                    raise ReviewError(
                        "Choose answers of the list, and name the readers who shall judge them."
                    )
                changed = sum(queue.assign(wanted, name, given) for name in people)
                said = f"{changed} assignment{'' if changed == 1 else 's'} changed."
                return {
                    **listing(store, chosen, data, at),
                    trouble: render.sentence(said, "done"),
                }

            return guarded(trouble, "assign", done)

        return work

    def dismisser(
        given: bool, which: Literal["open", "ticked"]
    ) -> Callable[[gr.Request, Data], Update]:
        def work(request: gr.Request, data: Data) -> Update:
            def done() -> Update:
                wanted = ticked_in(data) if which == "ticked" else open_in(data)
                if data[place].study_id is not None or chosen_in(data).study_id is not None:
                    raise ReviewError("Only flagged answers are dismissed, not those of an audit.")
                if not wanted:
                    raise ReviewError("Tick answers of the list, or open one, first.")
                if doubts(data[excuse] or "", data[session]):
                    raise ReviewError("The reason stays: write it without names or dates.")
                dismissals = Dismissals(parts.desk.for_request(request))
                if given:
                    changed = dismissals.dismiss(wanted, data[excuse] or "")
                    words = f"Flags of {_answers(changed)} dismissed."
                    if changed < len(wanted):
                        words += (
                            f" {_answers(len(wanted) - changed)} left as they are: judged, or "
                            "dismissed before."
                        )
                else:
                    changed = dismissals.restore(wanted, data[excuse] or "")
                    words = f"Flags of {_answers(changed)} restored."
                return {
                    excuse: "",
                    **redrawn(request, data),
                    trouble: render.sentence(words, "done"),
                }

            return guarded(trouble, "dismiss", done)

        return work

    def deleted(request: gr.Request, data: Data) -> Update:
        def done() -> Update:
            store, chosen, at = parts.desk.for_request(request), chosen_in(data), data[place]
            if at.item is None:
                raise ReviewError("Choose an answer of the case first.")
            if doubts(data[reason], data[session]):
                raise ReviewError("The reason stays for good: write it without names or dates.")
            store.delete_case(at.item[0], data[reason])
            gone = "The case is deleted for good; a tombstone says when, by whom and why."
            return {
                reason: "",
                **cleared(at, "Choose an answer to see the case as it was."),
                **listing(store, chosen, data, at),
                trouble: render.sentence(gone, "done"),
            }

        return guarded(trouble, "delete", done)

    def loosened(request: gr.Request, data: Data) -> Update:
        """Every filter but whose work it is."""
        empty: Update = dict.fromkeys(filters[1:], "")
        return {**refresh(request, {**data, **empty}), **empty}

    def redrawn(request: gr.Request, data: Data) -> Update:
        """The open answer and the list, after its flag was corrected."""
        store, chosen, at = parts.desk.for_request(request), chosen_in(data), data[place]
        shown: Update = {}
        if at.item is not None:
            item = Queue(store, at.study_id).item(*at.item)
            work_of = replace(chosen, work=at.study_id or "")
            shown = showing(store, work_of, at, item, typed_in(data))
        return {**shown, **listing(store, chosen, data, at)}

    def chosen_in(data: Data) -> Chosen:
        return Chosen(*(data[one] or "" for one in filters))

    def ticked_in(data: Data) -> list[Item]:
        """The answers that are ticked in the list."""
        listed_now = data[place].listed
        numbers = [int(word) for word in (data[ticked] or "").split(",") if word.isdecimal()]
        return [listed_now[number] for number in numbers if number < len(listed_now)]

    def open_in(data: Data) -> list[Item]:
        """The answer that is open."""
        return [data[place].item] if data[place].item else []

    def typed_in(data: Data) -> Typed | None:
        """What stands in the form, where anything does."""
        found = tuple(data[one] for one in written)
        return found if any(one not in (None, "") for one in found) else None

    listed: set[Any] = {*filters, order, shape, place}
    turning: set[Any] = {*listed, *written}
    everything = [*whole_case, *whole_list]
    gr.on(
        [
            *(one.input for one in (*filters[:2], *filters[3:9], order, shape)),
            text.change,  # pasted words are no input to Gradio
            *(event for box in (since, until) for event in (box.submit, box.blur)),
        ],
        narrowed, listed, whole_list, trigger_mode="always_last", **NOW,
    )  # fmt: skip
    total.clear(loosened, listed, [*filters[1:], *whole_list], **NOW)
    rows.more(more_rows, listed, whole_list, **NOW)
    rows.open(opened, turning, everything, **NOW)
    resume.click(advanced, turning, everything, **NOW)
    # Seconds that this case was being looked at come with the verdict.
    clock: dict[str, Any] = {"fn": None, "outputs": seconds, "js": "() => RarlReview.seconds()"}
    saving: set[Any] = {*turning, session, seconds}
    save.click(**clock, **NOW).then(saved, saving, everything, **QUIET)
    trouble.keep(kept, saving, everything, **QUIET)
    trouble.retype(None, None, None, js=FOCUS % "#verdict-comment textarea", **NOW)
    for button, work_of in (
        (give_one, assigner(True, "open")),
        (give_some, assigner(True, "ticked")),
        (give_all, assigner(True, "all")),
        (take, assigner(False, "open")),
        (take_some, assigner(False, "ticked")),
    ):
        button.click(None, None, ticked, js="() => RarlReview.ticked()", **NOW).then(
            work_of, listed | {names, ticked}, whole_list, **NOW
        )
    for button, work_of in (
        (dismiss_one, dismisser(True, "open")),
        (dismiss_some, dismisser(True, "ticked")),
        (restore_one, dismisser(False, "open")),
        (restore_some, dismisser(False, "ticked")),
    ):
        button.click(None, None, ticked, js="() => RarlReview.ticked()", **NOW).then(
            work_of, turning | {excuse, ticked, session}, [excuse, *everything], **NOW
        )
    remove.click(deleted, listed | {reason, session}, [reason, *everything], **QUIET)
    flag_correction(parts, session, place, case, trouble, redrawn, turning, everything)
    choices = (work, arm, category, severity, modality, reader, assigned)
    return QueueWidgets(filters, choices, refresh, listed, whole_list)


def _heading(store: ReviewStore, item: QueueItem, mine: Verdict | None) -> str:
    """What this person may do with the form; "" for nothing."""
    if item.status in ("new", "one-reader"):
        if mine is not None:
            return _CORRECT
        given = not item.assigned or store.person in item.assigned
        return _READ if given and may(store.role, "judge") else ""
    settles = mine is None and item.status != "dismissed"
    return _SETTLE if settles and may(store.role, "adjudicate") else ""


def _answers(count: int) -> str:
    return f"{count} answer{'' if count == 1 else 's'}"


def _corrected(store: ReviewStore, item: QueueItem) -> dict[str, Flag]:
    """By key, the flags on an answer that a later one replaces."""
    if not any(flag.replaces for flag in item.flags):
        return {}
    current = {flag.key for flag in item.flags}
    found = store.flags_of(item.case_id, corrected=True)
    return {one.key: one for one in found if one.arm == item.arm and one.key not in current}


def _written(verdict: Verdict) -> Typed:
    said = verdict.judgement
    agrees = {True: "yes", False: "no", None: None}[said.agrees]
    return (
        said.correctness, said.explanation, agrees, said.comment, said.corrected_answer,
        said.corrected_explanation,
    )  # fmt: skip


def _scale(choices: Sequence[tuple[str, int]], label: str, elem_id: str) -> gr.Radio:
    return gr.Radio(list(choices), label=label, elem_id=elem_id, elem_classes="scale")


def _text(label: str, elem_id: str, lines: int) -> gr.Textbox:
    return gr.Textbox(
        label=label, lines=lines, max_lines=6, max_length=COMMENT_LIMIT, elem_id=elem_id
    )


def _date_box(word: str, elem_id: str) -> gr.Textbox:
    return gr.Textbox(
        label=f"{word}, as 2026-11-30",
        show_label=False,
        container=False,
        placeholder=f"{word} date",
        elem_id=elem_id,
        min_width=100,
    )


def _fresh() -> Place:
    return Place(None, None, uuid4().hex, None, False, (), 1, {})
