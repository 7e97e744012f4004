"""The Ask page: scan on the left, question and answers on the right.

Handlers return `{widget: update}`; a widget that is left out stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from time import sleep
from typing import Any

import gradio as gr

from demo.context import FOCUS, NOW, QUIET, Parts, Update
from demo.pages import render
from demo.pages.ask import side_panels
from demo.pages.ask.answer_tools import EVENTS, wire_after
from demo.pages.ask.blind_panel import blind_panel
from demo.pages.ask.flag_panel import flag_panel
from demo.pages.ask.onboarding import tour
from demo.pages.ask.pacs import pacs_row
from demo.pages.ask.saved import saved_panel
from demo.pages.components import panel
from demo.services.asking import (
    COMPARE,
    MODE_LABELS,
    Progress,
    ask,
    chosen_arms,
    log_fault,
    seen,
    suggestions,
)
from demo.services.asking import arm_choices as choices_for
from demo.services.burned_in import picture_doubts
from demo.services.choosing import Upload, hold, upload_of
from demo.services.fair_queue import current_session
from demo.services.identity import doubts
from demo.services.identity import keep as keep_words
from demo.services.uploads import MAX_UPLOAD_BYTES, open_uploads
from demo.serving.caller import caller_of
from demo.session import ROLES, Session
from demo.viewer import REPORT, open_scan, page_spec, take_report, viewer_panel
from rarl.errors import QuestionError, RarlError
from rarl.response import Mode

UPLOAD_PROBLEMS = {
    "empty": "The file is empty (0 bytes): the transfer failed. Export the scan again.",
    "nothing": "No file that could be a scan was chosen.",
    "large": f"A file is larger than {MAX_UPLOAD_BYTES // 1_000_000} MB; export a single picture "
    "or a shorter series.",
    "lost": "The upload did not arrive. Check the connection and try again.",
}
"""What the page reports of files that it did not send, by its own name for the problem."""

_QUEUE_POLL_SECONDS = 0.05


def ask_page(parts: Parts, session: gr.State, app: gr.Blocks) -> tuple[gr.Dropdown, gr.Checkbox]:
    """Scan on the left, question and answers on the right.

    Args:
        parts: shared by all handlers.
        session: of the page.
        app: that is being built.

    Returns:
        The arm selector, and the switch for follow-up questions.
    """
    with gr.Row(elem_id="ask-page"):
        with gr.Column(elem_id="scan-side"):
            viewer = viewer_panel(MAX_UPLOAD_BYTES)
            pacs = pacs_row(parts.pacs) if parts.pacs else None
            facts = panel(elem_id="scan-facts")
            strip = panel(
                render.example_strip(parts.examples.values()), elem_id="examples", events=("pick",)
            )
            named = saved_panel(parts)
        with gr.Column(elem_id="answer-side"):
            with gr.Column(elem_id="composer"):
                with gr.Row(elem_id="ask-line"):
                    question = gr.Textbox(
                        label="Question",
                        show_label=False,
                        container=False,
                        placeholder="Ask about the scan. Enter sends.",
                        lines=1,
                        max_lines=3,
                        elem_id="question",
                        scale=1,
                    )
                    # The style sheet shows one of the two, by whether the board is running.
                    go = gr.Button("Ask", variant="primary", elem_id="ask", scale=0)
                    halt = gr.Button("Stop", elem_id="stop", scale=0)
                with gr.Row(elem_id="suggest-line"):
                    history = panel(elem_id="history", events=("reopen",))
                    chips = panel(
                        render.chips(suggestions(None)), elem_id="chips", events=("suggest",)
                    )
                with gr.Row(elem_id="choices"):
                    mode = gr.Dropdown(
                        list(MODE_LABELS),
                        value="reason",
                        label="Form of the answer",
                        show_label=False,
                        container=False,
                        elem_id="mode",
                        filterable=False,
                        scale=0,
                        min_width=190,
                    )
                    choices = choices_for(parts.arms())
                    arms = gr.Dropdown(
                        choices,
                        value=COMPARE,
                        label="Variants",
                        show_label=False,
                        container=False,
                        elem_id="arms",
                        filterable=False,
                        scale=0,
                        min_width=250,
                    )
                    follow = gr.Checkbox(
                        False, label="Follow-up", elem_id="follow", container=False, visible=False,
                        scale=0, min_width=90,
                    )  # fmt: skip
                    blind = gr.Checkbox(
                        False, label="Blind", elem_id="blind", container=False, scale=0,
                        min_width=70,
                    )  # fmt: skip
            note = panel(elem_id="note", events=("keep", "retype", "correct", "undo"))
            reading = blind_panel()
            board = panel(
                render.board(render.default_progress(), Session(), parts.labels()),
                elem_id="board",
                events=("flagged", "alone", "reopen"),
            )
            after = panel(render.after(Session()), elem_id="after", events=EVENTS)
    inside = panel(elem_id="seen", events=("close",))
    guide = panel(tour(list(parts.examples.values())[:4]), elem_id="tour", events=("pick",))
    serials = count(1)

    def spec(held: Session) -> dict[str, Any]:
        told = page_spec(held.scans, held.active, next(serials))
        upload = upload_of(held)
        return {**told, "upload": upload.spec(held) if upload else None}

    def chats() -> bool:
        return any(arm.chats for arm in parts.arms())

    def told_of(held: Session, sentence: str = "") -> str:
        engine = parts.loader.engine
        return render.facts(held, sentence, engine is not None and not chats())

    def drawn(held: Session, progress: Progress) -> str:
        asked = held.asked
        worth = ""
        if asked is not None and not progress.running and not held.stage:
            worth = parts.agreement.sentence(
                progress.answers, asked.arms, asked.typed, asked.question.mode
            )
        return render.board(progress, held, parts.labels(), worth)

    def answers(held: Session, choice: str) -> Update:
        """The right-hand side as the session has it; empty columns where nothing was asked."""
        asked = held.asked
        progress = (
            Progress(asked.question.arms, asked.answers, running=held.stop is not None)
            if asked
            else Progress(chosen_arms(choice))
        )
        return {
            board: drawn(held, progress),
            history: render.history(held, chats()),
            after: render.after(held, progress.running),
            **reading.shown(held),
        }

    def keep(held: Session) -> None:
        if held.place is not None:
            parts.keeper.save(held, held.place)

    def entered(told: Any, held: Session, choice: str, request: gr.Request) -> Update:
        """Put back what this tab held before it was reloaded."""
        tab = told if isinstance(told, dict) else {}
        parts.keeper.sweep()
        held.place = parts.keeper.place(caller_of(request), tab.get("tab"))
        if held.place is None or tab.get("again") is not True or held.scans:
            return {viewer: gr.skip()}
        parts.pages.admit(held)
        try:
            if not parts.keeper.restore(
                held, held.place, parts.frames, parts.budget, current_session()
            ):
                return {viewer: gr.skip()}
        except Exception as error:
            log_fault("kept session", error)
            return {viewer: gr.skip()}
        before = parts.pages.before(held)
        upload = upload_of(before) if before else None
        if before is not None and upload is not None:
            upload.move_to(held, current_session())
            before.upload = None
        return come_back(held, choice)

    def come_back(held: Session, choice: str) -> Update:
        """The whole page, after a session was put on it."""
        looked = [scan.looked_at() for scan in held.scans]
        update: Update = {
            **answers(held, choice),
            viewer: {**spec(held), "recall": looked},
            facts: told_of(held),
            chips: render.chips(suggestions(held.active.modality if held.active else None)),
        }
        typed = held.running or (held.asked.typed if held.asked else "")
        return {**update, question: typed, note: ""}

    def shown(held: Session, choice: str) -> Update:
        """The whole page, after the open scans have changed."""
        keep(held)
        return {
            viewer: spec(held),
            facts: told_of(held),
            chips: render.chips(suggestions(held.active.modality if held.active else None)),
            note: render.scans_closed() if held.can_undo else "",
            **answers(held, choice),
        }

    def refused(held: Session, sentence: str) -> Update:
        """The page after a file that could not be opened: what is shown is not that file."""
        if held.scans:
            sentence += " The scan shown here is the one that was open before."
        return {viewer: spec(held), facts: told_of(held, sentence)}

    def check_room(held: Session, more: int) -> None:
        if not held.has_room(more):
            raise QuestionError(
                f"A question takes {len(ROLES)} scans at most; remove one before you add."
            )

    def take(held: Session, upload: Upload, beside: bool) -> None:
        first = upload.first()
        if beside:
            check_room(held, len(first))
        parts.pages.admit(held)
        held.upload = upload
        for choice in first:
            held.show(choice.opened(parts.frames), beside)
            beside = True

    def opened(event: gr.EventData, held: Session, choice: str, request: gr.Request) -> Update:
        paths = [str(path) for path in getattr(event, "paths", ())]
        beside = bool(getattr(event, "add", False)) and bool(held.scans)
        problem = UPLOAD_PROBLEMS.get(str(getattr(event, "problem", "")))
        if problem is not None:
            return refused(held, problem)
        try:
            contents = parts.uploads.read(paths, caller_of(request))
            upload = hold(open_uploads(contents), contents, parts.budget, "Your scan")
            take(held, upload, beside)
        except RarlError as error:
            return refused(held, str(error))
        except Exception as error:
            log_fault("upload", error)
            return refused(held, "The scan could not be opened because of an error in the app.")
        return shown(held, choice)

    def chosen(event: gr.EventData, held: Session, choice: str) -> Update:
        upload, index = upload_of(held), getattr(event, "index", None)
        known = upload is not None and getattr(event, "name", None) == upload.name
        if (
            not known
            or upload is None
            or not isinstance(index, int)
            or index not in range(len(upload.choices))
        ):
            return refused(held, "These series are no longer held; open the files again.")
        beside = bool(getattr(event, "add", False))
        try:
            if beside:
                check_room(held, 1)
            upload.choose(held, upload.choices[index], parts.frames, beside)
        except RarlError as error:
            return refused(held, str(error))
        except Exception as error:
            log_fault("series", error)
            return refused(held, "The series could not be opened because of an error in the app.")
        return shown(held, choice)

    def picked(event: gr.EventData, held: Session, choice: str) -> Update:
        found = parts.examples.get(str(getattr(event, "key", "")))
        if found is None:
            return {facts: told_of(held, "This example is no longer there; reload the page.")}
        example = found.example
        held.upload = None
        held.show(
            open_scan(
                found.stack(),
                parts.frames,
                f"Example: {example.source}",
                modality=example.modality,
                reference=example.reference,
                checked=True,  # ours: nobody's name is in it
            )
        )
        return {**shown(held, choice), question: example.question}

    def removed(event: gr.EventData, held: Session, choice: str) -> Update:
        token = getattr(event, "token", None)
        held.change(*(scan for scan in held.scans if scan.token != token))
        return shown(held, choice)

    def undone(held: Session, choice: str) -> Update:
        if not held.undo():
            return {note: render.sentence("This scan is no longer held; open it again.")}
        return shown(held, choice)

    def activated(event: gr.EventData, held: Session) -> Update:
        token = getattr(event, "token", None)
        held.active = next((scan for scan in held.scans if scan.token == token), held.active)
        modality = held.active.modality if held.active else None
        return {facts: told_of(held), chips: render.chips(suggestions(modality))}

    def looked(event: gr.EventData, held: Session) -> Update:
        try:
            take_report(held, getattr(event, "report", None))
            return {inside: side_panels.inside(seen(parts.loader, held))}
        except RarlError as error:
            return {inside: side_panels.inside((), str(error))}
        except Exception as error:
            log_fault("seen", error)
            sentence = "This went wrong on our side; the scan is still here. Close this, try again."
            return {inside: side_panels.inside((), sentence)}

    def asked(
        text: str, form: Mode, choice: str, follows: bool, hidden: bool, report: Any, held: Session
    ) -> Iterator[Update]:
        parts.pages.admit(held)
        found = () if text in held.kept else doubts(text, held)
        if found:
            held.doubted = text
            yield {note: render.doubt(found, "the question")}
            return
        taken = False
        with suppress(QuestionError):  # a page that is out of step is told so by `ask`
            take_report(held, report)
            taken = True
            found, key = picture_doubts(held)
            if found:
                held.doubted = key
                yield {note: render.doubt(found, "the picture")}
                return
        if held.stop is not None:
            if text.strip() == held.running and held.queued is None:
                return  # the same press twice
            ticket = held.queued = object()
            yield {note: render.sentence(f"Queued: “{text.strip()}” is asked next.", "calm")}
            while held.stop is not None and held.queued is ticket:
                sleep(_QUEUE_POLL_SECONDS)
            if held.queued is not ticket:
                if held.queued is None:
                    yield {note: render.sentence(f"Stopped; “{text.strip()}” was not asked.")}
                return
            held.queued = None
            taken = False  # meanwhile the page may have told what else it shows
        held.running = text.strip()
        keep(held)
        first, stage, before = True, held.stage, held.asked
        stream = ask(
            parts.loader, held, text, form, choice, report,
            follow=follows, blind=hidden, taken=taken,
        )  # fmt: skip
        for progress in stream:
            update: Update = {board: drawn(held, progress)}
            if first or held.stage != stage or not progress.running:
                stage = held.stage
                update |= {after: render.after(held, progress.running), **reading.shown(held)}
            if first:
                update |= {note: "", **reading.begun(len(progress.arms))}
                first = False
            yield update
        if held.asked is not before:
            parts.desk.sample(held)
        yield {history: render.history(held, chats())}
        if held.stop is None:  # else the next question runs already
            held.running = ""
        keep(held)

    def kept(*told: Any) -> Iterator[Update]:
        # Only the words that were shown: what was typed since is looked at again.
        held: Session = told[-1]
        keep_words(held)
        yield from asked(*told)

    def stopped(held: Session) -> None:
        held.queued = None
        if held.stop is not None:
            held.stop.set()

    def columns_for(choice: str, held: Session) -> Update:
        if held.stop is not None:  # the running answers keep their columns
            return {board: gr.skip()}
        # The answers stay within reach under "Asked".
        held.asked, held.alone, held.stage = None, None, ""
        return answers(held, choice)

    def alone(event: gr.EventData, held: Session, choice: str) -> Update:
        arm = str(getattr(event, "arm", ""))
        held.alone = None if held.alone == arm else arm
        return {board: answers(held, choice)[board]}

    def reopened(event: gr.EventData, held: Session, choice: str) -> Update:
        number = str(getattr(event, "number", ""))
        if held.stop is not None:
            return {note: render.sentence("Answers are still coming; stop them or wait.")}
        if held.stage and held.asked is not None and number == str(held.asked.number):
            return {question: held.asked.typed, note: ""}
        before = held.scans
        exchange = held.reopen(int(number)) if number.isdigit() else None
        if exchange is None:
            return {note: render.sentence("This question is no longer kept; ask it again.")}
        update: Update = {**answers(held, choice), question: exchange.typed, note: ""}
        if held.scans != before:
            update |= {viewer: {**spec(held), "recall": list(exchange.views)}, facts: told_of(held)}
        if not held.about_open_scans(exchange):
            update[note] = render.sentence(
                "These answers are about a scan that is no longer held; open it again to ask more."
            )
        return update

    right = [board, history, after, *reading.widgets]
    page = [viewer, facts, chips, note, *right]
    app.load(
        entered,
        [viewer, session, arms],
        [*page, question],
        js="(...told) => { told[0] = RarlPage.tab(); return told; }",
        **NOW,
    )
    if named is not None:
        named.wire(app, session, arms, come_back, [*page, question])
    viewer.opened(opened, [session, arms], page, **QUIET)
    if pacs is not None:
        pacs.wire(parts, session, arms, take, shown, page)
    viewer.chosen(chosen, [session, arms], page, **QUIET)
    viewer.removed(removed, [session, arms], page, **NOW)
    viewer.activated(activated, session, [facts, chips], **NOW)
    viewer.see(looked, session, [inside], **QUIET)
    strip.pick(picked, [session, arms], [*page, question], **QUIET)
    guide.pick(picked, [session, arms], [*page, question], **QUIET)
    # The next thing a reader does is press Enter.
    chips.suggest(_suggested, None, question, **NOW).then(js=FOCUS % "#question textarea", **NOW)
    asking: dict[str, Any] = {
        "inputs": [question, mode, arms, follow, blind, viewer, session],
        "outputs": [note, *right],
        # What is on the stage at this moment is what is asked about.
        "js": f"(...told) => {{ told[5] = {REPORT}; return told; }}",
        **QUIET,
    }
    # "multiple": a question sent while another is being answered is queued, never dropped.
    gr.on([go.click, question.submit], asked, trigger_mode="multiple", **asking)
    note.keep(kept, **asking)
    note.retype(None, None, None, js=FOCUS % "#question textarea", **NOW)
    halt.click(stopped, session, None, **NOW)
    # Also where the model, once it is loaded, offers other arms than were shown.
    arms.change(columns_for, [arms, session], right, **NOW)
    board.alone(alone, [session, arms], board, **NOW)
    for source in (history, board):
        source.reopen(reopened, [session, arms], [viewer, facts, question, note, *right], **NOW)
    note.undo(undone, [session, arms], page, **NOW)
    reading.wire(parts, session, arms, answers, [note, *right])

    def redrawn(held: Session, choice: str) -> Update:
        keep(held)
        return {board: answers(held, choice)[board]}

    opening = wire_after(parts, session, after, inside, board, arms, redrawn)
    # What is still being worked out would open its drawer again.
    inside.close(lambda: "", None, inside, cancels=opening, **NOW)
    flag_panel(parts, session, board, note, arms, redrawn)
    return arms, follow


def _suggested(event: gr.EventData) -> str:
    """The text of the chip that was pressed."""
    return str(getattr(event, "text", ""))
