"""What happens on the right half of the Ask page: questions are asked, stopped and reopened."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import sleep
from typing import Any

import gradio as gr

from demo.context import FOCUS, NOW, QUIET, Parts, Update
from demo.pages import answer_html, render
from demo.pages.ask.view import AskView
from demo.services.asking import ask, option_list
from demo.services.burned_in import picture_doubts
from demo.services.identity import doubts, keep
from demo.session import Session
from demo.viewer import REPORT, take_report
from rarl.errors import QuestionError
from rarl.response import Mode

_QUEUE_POLL_SECONDS = 0.05
_TO_QUESTION = FOCUS % "#question textarea"


@dataclass(frozen=True, slots=True)
class QuestionEvents:
    """Handlers of questions and answers.

    Attributes:
        parts: shared by all handlers.
        view: draws the page.
    """

    parts: Parts
    view: AskView

    def wire(self, session: gr.State) -> None:
        """Listen to the right half, without the buttons under the answers.

        Args:
            session: of the page.
        """
        widgets, composer = self.view.widgets, self.view.widgets.composer
        right = widgets.answer_side
        # The next thing a reader does is press Enter.
        composer.chips.suggest(_suggested, None, composer.question, **NOW).then(
            js=_TO_QUESTION, **NOW
        )
        inputs = [composer.question, composer.options, composer.choice, composer.mode,
                  composer.variants, composer.follow, composer.blind, widgets.scan_side.viewer,
                  session]  # fmt: skip
        viewer_at = inputs.index(widgets.scan_side.viewer)
        asking: dict[str, Any] = {
            "inputs": inputs,
            "outputs": [widgets.note, *right],
            # What is on the stage, once files on their way are open, is what is asked about.
            "js": "async (...inputs) => { await pageModules; await RarlViewer.settled();"
            f" inputs[{viewer_at}] = {REPORT}; return inputs; }}",
            **QUIET,
        }
        # "multiple": a question sent while another is being answered is queued, never dropped.
        sent = [composer.ask.click, composer.question.submit]
        gr.on(sent, self.asked, trigger_mode="multiple", **asking)
        composer.choice.change(
            lambda ticked: gr.Textbox(visible=ticked), composer.choice, composer.options, **NOW
        )
        widgets.note.keep(self.confirmed, **asking)
        widgets.note.retype(None, None, None, js=_TO_QUESTION, **NOW)
        composer.stop.click(self.stopped, session, None, **NOW)
        # Also where the model, once it is loaded, offers other variants than were shown.
        composer.variants.change(self.columns_for, [composer.variants, session], right, **NOW)
        widgets.board.alone(self.alone, [session, composer.variants], widgets.board, **NOW)
        reopening = [widgets.scan_side.viewer, widgets.scan_side.facts, composer.question,
                     composer.options, composer.choice, widgets.note, *right]  # fmt: skip
        for source in (composer.history, widgets.board):
            source.reopen(self.reopened, [session, composer.variants], reopening, **NOW)
        widgets.reading.wire(
            self.parts, session, composer.variants, self.view.answers, [widgets.note, *right]
        )

    def asked(
        self,
        text: str,
        typed_options: str,
        has_options: bool,
        mode: Mode,
        choice: str,
        follows: bool,
        blind: bool,
        report: Any,
        session: Session,
    ) -> Iterator[Update]:
        """Ask a question, and show its answers as they come.

        Args:
            text: the question.
            typed_options: of a multiple-choice question, one a line.
            has_options: whether they count.
            mode: form of the answer.
            choice: value of the selector of variants.
            follows: whether earlier turns are sent along.
            blind: whether the reader answers first.
            report: how the page shows each open scan, see `take_report`.
            session: of the page.
        """
        note = self.view.widgets.note
        self.parts.pages.admit(session)
        options = option_list(typed_options) if has_options else ()
        words = "\n".join((text, *options))
        if words not in session.kept and (sentences := doubts(words, session)):
            session.doubted = words
            yield {note: render.doubt(sentences, "the question")}
            return
        report_taken = False
        with suppress(QuestionError):  # a page that is out of step is told so by `ask`
            take_report(session, report)
            report_taken = True
            sentences, key = picture_doubts(session)
            if sentences:
                session.doubted = key
                yield {note: render.doubt(sentences, "the picture")}
                return
        if session.stop is not None:
            if not (yield from self._turn(text.strip(), session)):
                return
            report_taken = False  # meanwhile the page may have told what else it shows
        session.running = text.strip()
        self.view.keep(session)
        before = session.asked
        yield from self._answered(
            ask(
                self.parts.loader, session, text, mode, choice, report,
                follow=follows, blind=blind, taken=report_taken, options=options,
            ),
            session,
        )  # fmt: skip
        if session.asked is not None and not session.asked.is_same(before):
            self.parts.desk.sample(session)
        yield {self.view.widgets.composer.history: self.view.history(session)}
        if session.stop is None:  # else the next question runs already
            session.running = ""
        self.view.keep(session)

    def _turn(self, text: str, session: Session) -> Generator[Update, None, bool]:
        """Wait until the question that runs has ended; returns whether this one is the next."""
        if text == session.running and session.queued is None:
            return False  # the same press twice
        note = self.view.widgets.note
        ticket = session.queued = object()
        yield {note: render.sentence(f"Queued: “{text}” is asked next.", "calm")}
        while session.stop is not None and session.queued is ticket:
            sleep(_QUEUE_POLL_SECONDS)
        if session.queued is not ticket:
            if session.queued is None:
                yield {note: render.sentence(f"Stopped; “{text}” was not asked.")}
            return False
        session.queued = None
        return True

    def _answered(self, stream: Iterator[Any], session: Session) -> Iterator[Update]:
        """The answers as they come; the rest of the right half when the stage changes."""
        widgets = self.view.widgets
        first, stage = True, session.stage
        for progress in stream:
            update: Update = {widgets.board: self.view.board(session, progress)}
            if first or session.stage != stage or not progress.running:
                stage = session.stage
                update |= {
                    widgets.after: answer_html.after(session, progress.running),
                    **widgets.reading.shown(session),
                }
            if first:
                update |= {widgets.note: "", **widgets.reading.begun(len(progress.arms))}
                first = False
            yield update

    def confirmed(self, *inputs: Any) -> Iterator[Update]:
        """Ask although something looks like an identity."""
        # Only the words that were shown: what was typed since is looked at again.
        session: Session = inputs[-1]
        keep(session)
        yield from self.asked(*inputs)

    def stopped(self, session: Session) -> None:
        """End the answers that are coming, and forget the question that waits."""
        session.queued = None
        if session.stop is not None:
            session.stop.set()

    def columns_for(self, choice: str, session: Session) -> Update:
        """Columns for the chosen variants."""
        if session.stop is not None:  # the running answers keep their columns
            return {self.view.widgets.board: gr.skip()}
        # The answers stay within reach under "Asked".
        session.asked, session.alone, session.stage = None, None, ""
        return self.view.answers(session, choice)

    def alone(self, event: gr.EventData, session: Session, choice: str) -> Update:
        """Show one column by itself, or all again."""
        arm = str(getattr(event, "arm", ""))
        session.alone = None if session.alone == arm else arm
        return self.view.board_alone(session, choice)

    def reopened(self, event: gr.EventData, session: Session, choice: str) -> Update:
        """Show the answers to an earlier question."""
        view, widgets = self.view, self.view.widgets
        number = str(getattr(event, "number", ""))
        if session.stop is not None:
            return view.sentence("Answers are still coming; stop them or wait.")
        if session.stage and session.asked is not None and number == str(session.asked.number):
            return {
                **view.question(session.asked.typed, session.asked.question.options),
                widgets.note: "",
            }
        before = session.scans
        exchange = session.reopen(int(number)) if number.isdigit() else None
        if exchange is None:
            return view.sentence("This question is no longer kept; ask it again.")
        update: Update = {
            **view.answers(session, choice),
            **view.question(exchange.typed, exchange.question.options),
            widgets.note: "",
        }
        if session.scans != before:
            spec = {**view.viewer(session), "recall": list(exchange.views)}
            update |= {
                widgets.scan_side.viewer: spec,
                widgets.scan_side.facts: view.facts(session),
            }
        if not session.about_open_scans(exchange):
            update |= view.sentence(
                "These answers are about a scan that is no longer held; open it again to ask more."
            )
        return update


def _suggested(event: gr.EventData) -> str:
    """The text of the chip that was pressed."""
    return str(getattr(event, "text", ""))
