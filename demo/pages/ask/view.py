"""What the Ask page shows of a session, as updates of its widgets.

An update is `{widget: value}`; a widget that is left out stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import gradio as gr

from demo.context import Parts, Update
from demo.pages import answer_html, render
from demo.pages.ask.layout import AskWidgets
from demo.services.asking import Progress, chosen_arms, suggestions
from demo.services.choosing import upload_of
from demo.session import Session
from demo.viewer import page_spec


@dataclass(frozen=True, slots=True)
class AskView:
    """Draws a session.

    Attributes:
        parts: shared by all handlers.
        widgets: of the page.
        serials: numbers of the viewer's states, by which the browser tells an old one.
    """

    parts: Parts
    widgets: AskWidgets
    serials: count[int] = field(default_factory=lambda: count(1))

    def viewer(self, session: Session) -> dict[str, Any]:
        """The open scans, for the viewer's script."""
        spec = page_spec(session.scans, session.active, next(self.serials))
        upload = upload_of(session)
        return {**spec, "upload": upload.spec(session) if upload else None}

    def chats(self) -> bool:
        """Whether any variant reads earlier turns."""
        return any(arm.chats for arm in self.parts.arms())

    def facts(self, session: Session, sentence: str = "") -> str:
        """What the header of the active scan says, under a sentence on what went wrong."""
        engine = self.parts.loader.engine
        return render.facts(session, sentence, engine is not None and not self.chats())

    def chips(self, session: Session) -> str:
        """Questions that suit the active scan."""
        return render.chips(suggestions(session.active.modality if session.active else None))

    def history(self, session: Session) -> str:
        """The questions asked so far."""
        return answer_html.history(session, self.chats())

    def board(self, session: Session, progress: Progress) -> str:
        """The answers, and what it is worth that they agree."""
        asked = session.asked
        worth = ""
        # How often agreement is right was measured on questions without options.
        has_options = asked is not None and bool(asked.question.options)
        if asked is not None and not (progress.running or session.stage or has_options):
            worth = self.parts.agreement.sentence(
                progress.answers, asked.arms, asked.typed, asked.question.mode
            )
        return answer_html.board(progress, session, self.parts.labels(), worth)

    def answers(self, session: Session, choice: str) -> Update:
        """The right-hand side; empty columns where nothing was asked.

        Args:
            session: of the page.
            choice: value of the selector of variants.
        """
        asked, widgets = session.asked, self.widgets
        progress = (
            Progress(asked.question.arms, asked.answers, running=session.stop is not None)
            if asked
            else Progress(chosen_arms(choice))
        )
        return {
            widgets.board: self.board(session, progress),
            widgets.composer.history: self.history(session),
            widgets.after: answer_html.after(session, progress.running),
            **widgets.reading.shown(session),
        }

    def question(self, text: str, options: Sequence[str]) -> Update:
        """A question in the field where it is written, with its options.

        Args:
            text: the question.
            options: of a multiple-choice question; none for another.
        """
        composer = self.widgets.composer
        return {
            composer.question: text,
            composer.choice: bool(options),
            composer.options: gr.Textbox("\n".join(options), visible=bool(options)),
        }

    def board_alone(self, session: Session, choice: str) -> Update:
        """The answers, without the rest of the right-hand side."""
        return {self.widgets.board: self.answers(session, choice)[self.widgets.board]}

    def redrawn(self, session: Session, choice: str) -> Update:
        """The answers, after something was noted on them."""
        self.keep(session)
        return self.board_alone(session, choice)

    def scans_changed(self, session: Session, choice: str) -> Update:
        """The whole page, after the open scans have changed."""
        self.keep(session)
        side = self.widgets.scan_side
        return {
            side.viewer: self.viewer(session),
            side.facts: self.facts(session),
            self.widgets.composer.chips: self.chips(session),
            self.widgets.note: render.scans_closed() if session.can_undo else "",
            **self.answers(session, choice),
        }

    def restored(self, session: Session, choice: str) -> Update:
        """The whole page and the question, after a session was put on it."""
        side = self.widgets.scan_side
        views = [scan.looked_at() for scan in session.scans]
        options = () if session.running or not session.asked else session.asked.question.options
        typed = session.running or (session.asked.typed if session.asked else "")
        return {
            **self.answers(session, choice),
            side.viewer: {**self.viewer(session), "recall": views},
            side.facts: self.facts(session),
            self.widgets.composer.chips: self.chips(session),
            **self.question(typed, options),
            self.widgets.note: "",
        }

    def refused(self, session: Session, sentence: str) -> Update:
        """The page after a file that could not be opened: what is shown is not that file."""
        if session.scans:
            sentence += " The scan shown here is the one that was open before."
        side = self.widgets.scan_side
        return {side.viewer: self.viewer(session), side.facts: self.facts(session, sentence)}

    def sentence(self, text: str) -> Update:
        """A sentence in the page's line for them."""
        return {self.widgets.note: render.sentence(text)}

    def keep(self, session: Session) -> None:
        """Let the session outlive a reload."""
        if session.place is not None:
            self.parts.keeper.save(session, session.place)
