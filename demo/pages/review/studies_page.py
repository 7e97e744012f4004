"""Random audits and reader studies: create, take part, read the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import gradio as gr
from markupsafe import Markup

from demo.context import FOCUS, NOW, QUIET, Parts, Update
from demo.pages import render
from demo.pages.components import panel
from demo.pages.review.common import Chosen, Data, day, guarded, names_in, nothing, stage, when
from demo.pages.review.queue_page import QueueWidgets
from demo.services.asking import steps
from demo.services.downloads import Downloads
from demo.services.identity import doubts
from demo.session import Session
from rarl.errors import ReviewError
from rarl.review import COMMENT_LIMIT, Queue, ReviewStore
from rarl.review.roles import may

if TYPE_CHECKING:
    from rarl.review.reader_metrics import Outcome
    from rarl.review.studies import Study, TaskView
    from rarl.stats.bootstrap import Interval

_CONDITIONS = (
    ("No AI", "no-ai"),
    ("Answer only", "answer-only"),
    ("Full reasoning", "full-reasoning"),
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
    """

    study_id: str | None = None
    position: int = 0
    key: str = ""


def studies_page(
    parts: Parts,
    session: gr.State,
    tab: gr.Tab,
    tabs: gr.Tabs,
    queue: QueueWidgets,
    downloads: Downloads,
) -> None:
    """Lay out the studies and wire them."""
    taking = gr.State(Taking())
    with gr.Column(elem_id="studies"):
        listed = panel(elem_id="study-list", events=("take", "judge", "show", "save"))
        shown = panel(elem_id="study-outcomes")
        trouble = panel(elem_id="study-trouble")
        with gr.Accordion("Start an audit or a reader study", open=False, visible=False,
                          elem_id="draw") as drawing:  # fmt: skip
            kind = gr.Radio(list(_KINDS), value="audit", label="What", elem_id="draw-kind")
            with gr.Row():
                title = gr.Textbox(label="Title, as readers see it", elem_id="draw-title")
                readers = gr.Textbox(
                    label="Readers",
                    placeholder="Names, with commas between",
                    elem_id="draw-readers",
                )
            instructions = gr.Textbox(
                label="Instructions", lines=2, max_lines=8, elem_id="draw-instructions"
            )
            with gr.Row():
                arms = gr.CheckboxGroup(
                    [(arm.label, arm.name) for arm in parts.arms()],
                    label="Variants (none: all)",
                    elem_id="draw-arms",
                )
                conditions = gr.CheckboxGroup(
                    list(_CONDITIONS),
                    value=[key for _, key in _CONDITIONS],
                    label="What readers of a study see",
                    elem_id="draw-conditions",
                )
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
            draw = gr.Button("Draw", variant="primary", elem_id="draw-go")
    with gr.Row(visible=False, elem_id="task-page") as taker:
        with gr.Column(elem_id="task-side"):
            task = panel(elem_id="task")
        with gr.Column(elem_id="answer-form"):
            where = panel(elem_id="task-where")
            answer = gr.Textbox(
                label="Your answer", lines=2, max_lines=6, max_length=COMMENT_LIMIT,
                elem_id="task-answer",
            )  # fmt: skip
            sure = gr.Slider(0, 100, value=50, step=5, label="How sure, in %", elem_id="task-sure")
            comment = gr.Textbox(
                label="Comment", lines=2, max_lines=6, max_length=COMMENT_LIMIT,
                elem_id="task-comment",
            )  # fmt: skip
            seconds = gr.Number(visible="hidden", elem_id="task-seconds")
            told = panel(elem_id="task-trouble", events=("keep", "retype"))
            send = gr.Button("Save and next", variant="primary", elem_id="task-send")
            leave = gr.Button("Leave; go on later", elem_id="task-leave")

    def overview(store: ReviewStore) -> Update:
        from rarl.review.studies import Studies  # which loads scipy

        studies = Studies(store)
        found = studies.all()
        done = {
            one.id: {p.reader: (p.judged, p.assigned) for p in Queue(store, one.id).progress()}
            if one.kind == "audit"
            else studies.done(one.id)
            for one in found
        }
        return {
            listed: study_list(
                [(one, done[one.id]) for one in found],
                store.person,
                may_export=may(store.role, "export"),
            ),
            drawing: gr.Accordion(visible=may(store.role, "assign")),
        }

    def arrived(request: gr.Request) -> Update:
        return guarded(trouble, "studies", lambda: overview(parts.desk.for_request(request)))

    def drawn(request: gr.Request, data: Data) -> Update:
        from rarl.review.reader_metrics import CONDITIONS
        from rarl.review.studies import Studies

        held: Session = data[session]

        def work() -> Update:
            if doubts("\n".join(data[one] or "" for one in (title, instructions)), held):
                raise ReviewError("Write title and instructions without names or dates.")
            store = parts.desk.for_request(request)
            studies = Studies(store)
            last = day(data[deadline] or "")
            chosen = [one for one in CONDITIONS if one in data[conditions]]
            common: dict[str, Any] = {
                "seed": int(data[seed] or 0),
                "instructions": data[instructions],
                "deadline": last and last + timedelta(days=1),
            }
            number = int(data[size] or 0) or None
            if data[kind] == "audit":
                if number is None:
                    raise ReviewError("Say how many answers the audit shall draw.")
                made = studies.draw_audit(
                    data[title], number, names_in(data[readers]), arms=data[arms] or None, **common
                )
            else:
                wanted = None
                if data[cases] == "queue":
                    filters = Chosen(*(data[one] or "" for one in queue.filters))
                    places = Queue(store, filters.study_id).places(filters.queue())
                    wanted = list(dict.fromkeys(case_id for case_id, _ in places))
                made = studies.draw_study(
                    data[title],
                    names_in(data[readers]),
                    arms=data[arms] or [arm.name for arm in parts.arms() if arm.name != "base"],
                    cases=wanted,
                    size=number,
                    conditions=chosen,
                    **common,
                )
            said = f"“{made.title}” is drawn: its readers find it here."
            return {
                **overview(store),
                title: "",
                instructions: "",
                trouble: render.sentence(said, "done"),
            }

        return guarded(trouble, "draw", work)

    def judged(event: gr.EventData) -> Update:
        values = [str(getattr(event, "study", "")), *[""] * (len(queue.filters) - 1)]
        return {tabs: gr.Tabs(selected="queue"), **dict(zip(queue.filters, values, strict=True))}

    def saved(request: gr.Request, event: gr.EventData) -> Update:
        from rarl.review.studies import Studies

        def work() -> Update:
            studies = Studies(parts.desk.for_request(request))
            file = downloads.room() / "rarl-study.csv"
            with file.open("w", encoding="utf-8", newline="") as opened_file:
                studies.export_csv(str(getattr(event, "study", "")), opened_file)
            return {trouble: downloads.offer(file)}

        return guarded(trouble, "study export", work)

    def outcomes(request: gr.Request, event: gr.EventData) -> Update:
        from rarl.review.studies import Studies

        def work() -> Update:
            studies = Studies(parts.desk.for_request(request))
            study = studies.study(str(getattr(event, "study", "")))
            return {shown: outcomes_view(study, studies.outcomes(study.id))}

        return guarded(trouble, "outcomes", work)

    def next_task(store: ReviewStore, at: Taking) -> Update:
        from rarl.review.studies import Studies

        assert at.study_id is not None
        studies = Studies(store)
        study, view = studies.study(at.study_id), studies.next(at.study_id)
        if view is None:
            at.study_id = None
            return {
                taker: gr.Row(visible=False),
                taking: at,
                **overview(store),
                trouble: render.sentence(f"“{study.title}” is done. Thank you.", "done"),
            }
        at.position, at.key = view.position, uuid4().hex
        done, whole = studies.done(study.id).get(store.person or "", (0, 0))
        return {
            taker: gr.Row(visible=True),
            task: task_view(view),
            where: _where(study, done + 1, whole),
            answer: "",
            sure: 50,
            comment: "",
            told: "",
            taking: at,
        }

    def taken(request: gr.Request, event: gr.EventData, data: Data) -> Update:
        def work() -> Update:
            at: Taking = data[taking]
            at.study_id = str(getattr(event, "study", ""))
            return next_task(parts.desk.for_request(request), at)

        return guarded(trouble, "take part", work)

    def sent(request: gr.Request, data: Data) -> Update:
        from rarl.review.studies import Studies

        held: Session = data[session]
        words = "\n".join(data[one] or "" for one in (answer, comment))
        found = () if words in held.kept else doubts(words, held)
        if found:
            held.doubted = words
            return {told: render.doubt(found, "what you typed")}

        def work() -> Update:
            store, at = parts.desk.for_request(request), data[taking]
            if at.study_id is None:
                raise ReviewError("Open the study again.")
            Studies(store).respond(
                at.study_id,
                at.position,
                data[answer],
                confidence=int(data[sure]),
                comment=data[comment],
                seconds=data[seconds],
                key=at.key,
            )
            return next_task(store, at)

        return guarded(told, "respond", work)

    def kept(request: gr.Request, data: Data) -> Update:
        data[session].kept.add(data[session].doubted)
        return sent(request, data)

    def left(request: gr.Request, data: Data) -> Update:
        data[taking].study_id = None
        return {
            taker: gr.Row(visible=False),
            **guarded(trouble, "studies", lambda: overview(parts.desk.for_request(request))),
        }

    page: list[Any] = [listed, drawing, trouble]
    running = [taker, task, where, answer, sure, comment, told, taking, *page]
    sending = {session, taking, answer, sure, comment, seconds}
    tab.select(arrived, None, page, **QUIET)
    draw.click(
        drawn,
        {session, kind, title, readers, instructions, arms, conditions, cases, size, seed,
         deadline, *queue.filters},
        [title, instructions, *page],
        **QUIET,
    )  # fmt: skip
    listed.take(taken, {taking}, running, **QUIET)
    listed.save(saved, None, trouble, **QUIET)
    listed.show(outcomes, None, [shown, trouble], **QUIET).then(
        js="() => document.querySelector('#study-outcomes').scrollIntoView({block: 'nearest'})",
        **NOW,
    )
    listed.judge(judged, None, [tabs, *queue.filters], **QUIET).then(
        queue.refresh, queue.inputs, queue.outputs, **QUIET
    )
    send.click(None, None, seconds, js="() => RarlReview.seconds()", **NOW).then(
        sent, sending, running, **QUIET
    )
    told.keep(kept, sending, running, **QUIET)
    told.retype(None, None, None, js=FOCUS % "#task-answer textarea", **NOW)
    leave.click(left, {taking}, [taker, *page], **NOW)


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
    return Markup().join(_card(study, done, person, may_export) for study, done in studies)


def _card(
    study: Study, done: dict[str, tuple[int, int]], person: str | None, may_export: bool
) -> str:
    over = study.deadline is not None and study.deadline < datetime.now(UTC)
    facts = ["Audit" if study.kind == "audit" else "Reader study", f"drawn {when(study.created)}"]
    if study.deadline is not None:
        facts.append(("ended " if over else "until ") + when(study.deadline - timedelta(minutes=1)))
    facts.append(f"from {study.population} {'answers' if study.kind == 'audit' else 'cases'}")
    bars = Markup().join(
        Markup(
            '<div class="bar"><span>{}</span><i><b '
            'style="width:{:.0f}%"></b></i><em>{} of {}</em></div>'
        ).format(reader, 100 * part / max(1, whole), part, whole)
        for reader, (part, whole) in done.items()
    )
    buttons = ""
    part, whole = done.get(person or "", (0, 0))
    if study.kind == "audit":
        buttons += _button("judge", study, "Judge in the queue")
    elif part < whole and not over:
        buttons += _button("take", study, "Go on" if part else "Take part")
    if may_export and study.kind == "study":
        buttons += _button("show", study, "What it shows")
        buttons += _button("save", study, "Save responses as CSV")
    return Markup(
        '<article class="study"><h3>{}</h3><p class="facts">{}</p><p '
        'class="instructions">{}</p>{}<div>{}</div></article>'
    ).format(
        study.title,
        Markup().join(Markup("<span>{}</span>").format(word) for word in facts),
        study.instructions,
        bars,
        buttons,
    )


def _button(event: str, study: Study, words: str) -> str:
    return Markup(
        '<button type="button" class="ghost edged" data-event="{}" data-study="{}">{}</button>'
    ).format(event, study.id, words)


def outcomes_view(study: Study, found: Sequence[Outcome]) -> str:
    """How readers did under each condition, side by side.

    Args:
        study: whose readers.
        found: of the responses so far.
    """
    if not found:
        return Markup('<p class="hint">Nobody has answered a case of “{}” yet.</p>').format(
            study.title
        )
    names = {key: name for name, key in _CONDITIONS}
    head = Markup().join(
        Markup('<th scope="col">{}</th>').format(names[one.condition]) for one in found
    )
    rows: tuple[tuple[str, str, Callable[[Outcome], Interval | None], float, str], ...] = (
        ("Right", "agreement with the settled answer", lambda one: one.right, 100, "%"),
        ("As the AI", "agreement with its answer, seen or not", lambda one: one.like_ai, 100, "%"),
        ("Misled", "the same, where the AI is not right", lambda one: one.misled, 100, "%"),
        ("How sure", "mean", lambda one: one.confidence, 1, "%"),
        ("Time", "geometric mean", lambda one: one.seconds, 1, "s"),
    )
    body = Markup().join(
        Markup('<tr><th scope="row">{}<small>{}</small></th>').format(name, meaning)
        + Markup().join(
            Markup("<td>{}</td>").format(_figure(value(one), scale, unit)) for one in found
        )
        + Markup("</tr>")
        for name, meaning, value, scale, unit in rows
    )
    counts = Markup().join(
        Markup("<td>{}<small>of {} reader{}</small></td>").format(
            one.responses, one.readers, "s" if one.readers > 1 else ""
        )
        for one in found
    )
    return Markup(
        '<h3>What “{}” shows so far</h3><p class="hint">95 % intervals are over '
        "pictures, for these readers. Where they overlap widely, the conditions "
        "may be equally good. The settled answer of a case comes from the queue "
        "and from audits; cases without one do not count for the first and third "
        'line.</p><table class="outcomes"><thead><tr><th></th>{}</tr></thead><tbody'
        '>{}<tr><th scope="row">Responses</th>{}</tr></tbody></table>'
    ).format(study.title, head, body, counts)


def _figure(found: Interval | None, scale: float, unit: str) -> str:
    if found is None:
        return Markup("&ndash;")
    between = ""
    if found.low is not None and found.high is not None:
        between = Markup("<small>{:.0f}–{:.0f}</small>").format(
            scale * found.low, scale * found.high
        )
    return Markup("<b>{:.0f} {}</b>{}").format(scale * found.value, unit, between)


def task_view(view: TaskView) -> str:
    """What a reader sees of a task: no arm, no model."""
    # An invented name would tell too much; the stage only needs an index.
    pictures = Markup().join(stage(one, number) for number, one in enumerate(view.pictures))
    said = ""
    if view.answer is not None:
        said = Markup(
            '<article class="said-by"><h3>What the AI answers</h3><p class="judged-answer">{}</p>'
        ).format(view.answer or Markup("&ndash;"))
        if view.reasoning is not None:
            said += Markup("<ol>{}</ol>").format(
                Markup().join(Markup("<li>{}</li>").format(one) for one in steps(view.reasoning))
            )
        said += Markup("</article>")
    return Markup(
        '<div class="case" data-place="task-{}"><div '
        'class="stages">{}</div><div><h4 '
        'class="eyebrow">Question</h4><h2>{}</h2></div>{}</div>'
    ).format(view.position, pictures, view.question, said)


def _where(study: Study, number: int, whole: int) -> str:
    words = (
        Markup('<p class="instructions">{}</p>').format(study.instructions)
        if study.instructions
        else ""
    )
    return Markup('<h2>{}</h2><p class="count" role="status">Case {} of {}</p>{}').format(
        study.title, number, whole, words
    )
