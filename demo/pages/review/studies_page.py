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
from demo.pages.review.queue_page import QueuePage
from demo.pages.review.study_views import (
    EXPERIENCE,
    debriefing,
    heat_map,
    joining,
    loaded_engine,
    reliance_view,
)
from demo.services.asking import steps
from demo.services.downloads import Downloads
from demo.services.identity import doubts
from demo.session import Session
from rarl.errors import ReviewError
from rarl.records import Region
from rarl.review import COMMENT_LIMIT, Queue, ReviewStore
from rarl.review.conditions import CONDITIONS, USUAL, presentation
from rarl.review.roles import may

if TYPE_CHECKING:
    from rarl.review.reader_metrics import Outcome
    from rarl.review.study_tasks import Study, TaskView
    from rarl.stats.bootstrap import Interval

_CONDITIONS = tuple((presentation(one).label, one) for one in CONDITIONS)
_SOURCES = (
    ("Another variant’s wrong answer", "variant"),
    ("A wrong answer sampled from a model (after review measure)", "sample"),
    ("The settled answer turned round", "flip"),
)
_NOTHING = Markup("")
_STEPS = {
    "only": "Save and next",
    "first": "Keep my answer and show the AI’s",
    "final": "Save and next",
}
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


def studies_page(
    parts: Parts,
    session: gr.State,
    tab: gr.Tab,
    tabs: gr.Tabs,
    queue: QueuePage,
    downloads: Downloads,
) -> None:
    """Lay out the studies and wire them."""
    taking = gr.State(Taking())
    with gr.Column(elem_id="studies"):
        listed = panel(
            elem_id="study-list",
            events=("take", "judge", "show", "save", "debrief", "withdraw"),
        )
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
                marks = gr.Checkbox(
                    label="Readers may mark a place on the picture", elem_id="draw-marks"
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
            valued = gr.Checkbox(
                label="Audit: most worth judging first; one answer in five by chance gives the "
                "rates",
                elem_id="draw-worth",
            )
            draw = gr.Button("Draw", variant="primary", elem_id="draw-go")
    with gr.Column(visible=False, elem_id="join-page") as joiner:
        asked = panel(elem_id="join-text")
        experience = gr.Radio(list(EXPERIENCE), label="Your experience", elem_id="join-experience")
        agrees = gr.Checkbox(label="I have read this and agree", elem_id="join-agrees")
        join_trouble = panel(elem_id="join-trouble")
        begin = gr.Button("Begin", variant="primary", elem_id="join-go")
        not_now = gr.Button("Not now", elem_id="join-leave")
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
            place = gr.Textbox(visible="hidden", elem_id="task-region")
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
        from rarl.review.studies import Studies
        from rarl.review.wrong_advice import SOURCES, WrongAdvice

        held: Session = data[session]

        def work() -> Update:
            if doubts("\n".join(data[one] or "" for one in (title, instructions, consent)), held):
                raise ReviewError("Write title and texts without names or dates.")
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
                    data[title],
                    number,
                    names_in(data[readers]),
                    arms=data[arms] or None,
                    by_worth=bool(data[valued]),
                    **common,
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
                    wrong=WrongAdvice(
                        int(data[wrong_share]) / 100,
                        tuple(one for one in SOURCES if one in data[wrong_sources]),
                    )
                    if data[wrong_share]
                    else None,
                    consent=data[consent] or "",
                    marks_region=bool(data[marks]),
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
        from rarl.review.reliance import reliance
        from rarl.review.studies import Studies

        def work() -> Update:
            studies = Studies(parts.desk.for_request(request))
            study = studies.study(str(getattr(event, "study", "")))
            measured = studies.outcomes(study.id)
            reliance_html = reliance_view(reliance(studies, study.id)) if measured else ""
            return {shown: outcomes_view(study, measured) + reliance_html}

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
                joiner: gr.Column(visible=False),
                taking: at,
                **overview(store),
                shown: debriefing(study, studies.debrief(study.id)),
                trouble: render.sentence(f"“{study.title}” is done. Thank you.", "done"),
            }
        first_read = view.first
        looked = _NOTHING
        if view.heat_map:
            shown_advice = studies.shown_advice(study.id, view.position)
            looked = heat_map(loaded_engine(parts.loader), shown_advice)
        at.position, at.key, at.step = view.position, uuid4().hex, view.step
        done, whole = studies.done(study.id).get(store.person or "", (0, 0))
        return {
            taker: gr.Row(visible=True),
            joiner: gr.Column(visible=False),
            task: task_view(view, looked, study.marks_region),
            where: _where(study, done + 1, whole, view),
            answer: "" if first_read is None else first_read.answer,
            sure: 50
            if first_read is None or first_read.confidence is None
            else first_read.confidence,
            comment: gr.Textbox("", visible=view.step != "first"),
            place: "",
            send: _STEPS[view.step],
            told: "",
            taking: at,
        }

    def taken(request: gr.Request, event: gr.EventData, data: Data) -> Update:
        def work() -> Update:
            from rarl.review.studies import Studies

            at: Taking = data[taking]
            at.study_id = str(getattr(event, "study", ""))
            store = parts.desk.for_request(request)
            studies = Studies(store)
            study = studies.study(at.study_id)
            if asks(study) and studies.enrolment(study.id) is None:
                return {
                    joiner: gr.Column(visible=True),
                    asked: joining(study),
                    experience: None,
                    agrees: gr.Checkbox(False, visible=bool(study.consent)),
                    join_trouble: "",
                    taking: at,
                }
            return next_task(store, at)

        return guarded(trouble, "take part", work)

    def joined(request: gr.Request, data: Data) -> Update:
        from rarl.review.studies import Studies

        def work() -> Update:
            at: Taking = data[taking]
            store = parts.desk.for_request(request)
            if at.study_id is None:
                raise ReviewError("Open the study again.")
            if not data[experience]:
                raise ReviewError("Choose your experience.")
            Studies(store).enrol(at.study_id, data[experience], agrees=bool(data[agrees]))
            return next_task(store, at)

        return guarded(join_trouble, "join", work)

    def debriefed(request: gr.Request, event: gr.EventData) -> Update:
        from rarl.review.studies import Studies

        def work() -> Update:
            studies = Studies(parts.desk.for_request(request))
            study = studies.study(str(getattr(event, "study", "")))
            return {shown: debriefing(study, studies.debrief(study.id))}

        return guarded(trouble, "debrief", work)

    def withdrew(request: gr.Request, event: gr.EventData) -> Update:
        from rarl.review.studies import Studies

        def work() -> Update:
            store = parts.desk.for_request(request)
            Studies(store).withdraw(str(getattr(event, "study", "")))
            notice = "You have withdrawn: your answers leave what is exported from now on."
            return {**overview(store), trouble: render.sentence(notice, "done")}

        return guarded(trouble, "withdraw", work)

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
            studies = Studies(store)
            common: dict[str, Any] = {
                "confidence": int(data[sure]),
                "seconds": data[seconds],
                "key": at.key,
                "region": _marked(data[place]),
            }
            if at.step == "first":
                studies.commit_first(at.study_id, at.position, data[answer], **common)
            else:
                studies.respond(
                    at.study_id, at.position, data[answer], comment=data[comment], **common
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
            joiner: gr.Column(visible=False),
            **guarded(trouble, "studies", lambda: overview(parts.desk.for_request(request))),
        }

    page: list[Any] = [listed, drawing, trouble]
    running = [
        taker, task, where, answer, sure, comment, place, send, told, taking, shown, joiner, asked,
        experience, agrees, join_trouble, *page,
    ]  # fmt: skip
    sending = {session, taking, answer, sure, comment, seconds, place}
    tab.select(arrived, None, page, **QUIET)
    draw.click(
        drawn,
        {session, kind, title, readers, instructions, arms, conditions, cases, size, seed,
         deadline, wrong_share, wrong_sources, consent, marks, valued, *queue.filters},
        [title, instructions, *page],
        **QUIET,
    )  # fmt: skip
    listed.take(taken, {taking}, running, **QUIET)
    listed.save(saved, None, trouble, **QUIET)
    listed.show(outcomes, None, [shown, trouble], **QUIET).then(
        js="() => document.querySelector('#study-outcomes').scrollIntoView({block: 'nearest'})",
        **NOW,
    )
    listed.debrief(debriefed, None, [shown, trouble], **QUIET).then(
        js="() => document.querySelector('#study-outcomes').scrollIntoView({block: 'nearest'})",
        **NOW,
    )
    listed.withdraw(withdrew, None, page, **QUIET)
    begin.click(joined, {taking, experience, agrees}, running, **QUIET)
    not_now.click(left, {taking}, [taker, joiner, *page], **NOW)
    listed.judge(judged, None, [tabs, *queue.filters], **QUIET).then(
        queue.refresh, queue.inputs, queue.outputs, **QUIET
    )
    send.click(
        None,
        None,
        [seconds, place],
        js="() => [RarlReview.seconds(), RarlReview.marked()]",
        **NOW,
    ).then(sent, sending, running, **QUIET)
    told.keep(kept, sending, running, **QUIET)
    told.retype(None, None, None, js=FOCUS % "#task-answer textarea", **NOW)
    leave.click(left, {taking}, [taker, joiner, *page], **NOW)


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
    if study.by_worth:
        facts.append("most worth judging first; rates from one in five by chance")
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
    elif whole:
        buttons += _button("debrief", study, "What it showed me")
    if may_export and study.kind == "study":
        buttons += _button("show", study, "What it shows")
        buttons += _button("save", study, "Save responses as CSV")
    if study.kind == "study" and whole:
        buttons += Markup(
            '<details class="withdraw"><summary>Withdraw</summary><p>Your answers of this study '
            "then leave exports and training data, and you see no more of it.</p>{}</details>"
        ).format(_button("withdraw", study, "Withdraw my answers"))
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


def asks(study: Study) -> bool:
    """Whether a study asks something of its readers before they begin."""
    return bool(
        study.consent
        or study.wrong_share
        or any(presentation(one).read_first for one in CONDITIONS if one in study.conditions)
    )


def _marked(place: str | None) -> Region | None:
    """The place that was marked on the picture: "picture left top right bottom", in its pixels."""
    parts = (place or "").split()
    if len(parts) != 5 or not all(part.isdecimal() for part in parts):
        return None
    picture, left, top, right, bottom = map(int, parts)
    return Region(picture, (left, top, right, bottom))


def task_view(view: TaskView, looked: Markup = _NOTHING, marks: bool = False) -> str:
    """What a reader sees of a task: no arm, no model.

    Args:
        view: the task.
        looked: a heat map, as HTML.
        marks: whether a place may be marked.
    """
    # An invented name would tell too much; the stage only needs an index.
    pictures = Markup().join(stage(one, number) for number, one in enumerate(view.pictures))
    html = ""
    if view.answer is not None:
        html = Markup(
            '<article class="said-by"><h3>What the AI answers</h3><p class="judged-answer">{}</p>'
        ).format(view.answer or Markup("&ndash;"))
        if view.reasoning is not None:
            html += Markup("<ol>{}</ol>").format(
                Markup().join(Markup("<li>{}</li>").format(one) for one in steps(view.reasoning))
            )
        html += looked + Markup("</article>")
    sizes = " ".join(f"{one.width}x{one.height}" for one in view.pictures)
    hint = (
        Markup('<p class="hint">Hold Shift and drag over the picture to mark a place.</p>')
        if marks
        else Markup("")
    )
    return Markup(
        '<div class="case" data-place="task-{}-{}"{}><div '
        'class="stages">{}</div>{}<div><h4 '
        'class="eyebrow">Question</h4><h2>{}</h2></div>{}</div>'
    ).format(
        view.position,
        view.step,
        Markup(' data-marks="{}"').format(sizes) if marks else "",
        pictures,
        hint,
        view.question,
        html,
    )


def _where(study: Study, number: int, whole: int, view: TaskView) -> str:
    steps = {
        "first": "First your own answer; it cannot be changed once the AI’s is shown.",
        "final": "The AI’s answer is shown. Keep your answer or change it.",
        "only": "",
    }
    words = (
        Markup('<p class="instructions">{}</p>').format(study.instructions)
        if study.instructions
        else ""
    )
    if steps[view.step]:
        words += Markup('<p class="step">{}</p>').format(steps[view.step])
    return Markup('<h2>{}</h2><p class="count" role="status">Case {} of {}</p>{}').format(
        study.title, number, whole, words
    )
