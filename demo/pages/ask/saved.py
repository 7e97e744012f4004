"""Named sessions on the Ask page: save what is open, and open or delete it later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from demo.context import NOW, QUIET, Parts, Update
from demo.pages import render
from demo.pages.components import bare_textbox, panel
from demo.services.asking import log_fault
from demo.services.fair_queue import current_session
from demo.services.identity import doubts
from demo.services.saved_sessions import NAME_LIMIT, Saved, SavedSessions
from demo.serving.caller import Caller, caller_of
from demo.session import Session
from demo.templating import render_template
from rarl.errors import QuestionError, RarlError
from rarl.review.roles import may

_DAY = 24 * 3600
_FAULT = "Something went wrong on our side; nothing was lost. Please try again."


@dataclass(frozen=True, slots=True)
class SavedPanel:
    """The panel, and how it is wired once the rest of the page stands."""

    parts: Parts
    saved: SavedSessions
    frame: gr.Accordion
    name: gr.Textbox
    save: gr.Button
    trouble: gr.HTML
    rows: gr.HTML

    def wire(
        self,
        app: gr.Blocks,
        session: gr.State,
        arms: gr.Dropdown,
        come_back: Callable[[Session, str], Update],
        page: list[Any],
    ) -> None:
        """Listen to its buttons.

        Args:
            app: that is being built.
            session: of the page.
            arms: the variant selector.
            come_back: what the page shows after a session was put on it.
            page: what `come_back` fills.
        """
        mine, events = [self.rows, self.trouble], SavedEvents(self, come_back)
        app.load(events.entered, None, [self.frame, self.rows], **NOW)
        saving: dict[str, Any] = {"inputs": [self.name, session], "outputs": [*mine, self.name]}
        gr.on([self.save.click, self.name.submit], events.saved, **saving, **QUIET)
        self.rows.open(events.opened, [session, arms], [*page, self.trouble], **QUIET)
        self.rows.delete(events.deleted, None, mine, **QUIET)


@dataclass(frozen=True, slots=True)
class SavedEvents:
    """The handlers of the panel.

    Attributes:
        panel: the widgets.
        come_back: what the page shows after a session was put on it.
    """

    panel: SavedPanel
    come_back: Callable[[Session, str], Update]

    def entered(self, request: gr.Request) -> Update:
        """Show the panel to whoever may save sessions."""
        caller = caller_of(request)
        if not self.panel.saved.offered(caller):
            return {self.panel.frame: gr.Accordion(visible=False)}
        self.panel.saved.sweep()
        return {self.panel.frame: gr.Accordion(visible=True), **self._listed(caller)}

    def saved(self, name: str, session: Session, request: gr.Request) -> Update:
        """Save what is open under a name."""

        def done() -> Update:
            if doubts(name or "", session):
                raise QuestionError("The name looks like somebody’s identity; choose another.")
            caller = caller_of(request)
            scans = len(session.scans)
            record = self.panel.saved.save(session, caller, name or "")
            sentence = f"Saved as “{record.name}”."
            if scans > record.scans:
                sentence += (
                    " Left out: scans that have covers, or on which writing was found and not "
                    "yet decided on."
                )
            shown = {self.panel.trouble: render.sentence(sentence, "done")}
            return {**self._listed(caller), self.panel.name: "", **shown}

        return self._guarded(done)

    def opened(
        self, event: gr.EventData, session: Session, choice: str, request: gr.Request
    ) -> Update:
        """Put a saved session on the page."""
        parts = self.panel.parts

        def done() -> Update:
            if session.stop is not None:
                raise QuestionError("Answers are still coming; stop them or wait.")
            parts.pages.admit(session)
            record = self.panel.saved.open(
                session, caller_of(request), str(getattr(event, "id", "")), parts.frames,
                parts.budget, current_session(),
            )  # fmt: skip
            if session.place is not None:
                parts.keeper.clear(session.place)  # what the tab held before
                parts.keeper.save(session, session.place)
            sentence = render.sentence(f"“{record.name}” is open.", "done")
            return {**self.come_back(session, choice), self.panel.trouble: sentence}

        return self._guarded(done)

    def deleted(self, event: gr.EventData, request: gr.Request) -> Update:
        """Delete a saved session."""

        def done() -> Update:
            caller = caller_of(request)
            record = self.panel.saved.delete(caller, str(getattr(event, "id", "")))
            sentence = render.sentence(f"“{record.name}” is deleted.", "done")
            return {**self._listed(caller), self.panel.trouble: sentence}

        return self._guarded(done)

    def _listed(self, caller: Caller) -> Update:
        saved = self.panel.saved
        others = saved.of_others(caller) if may(caller.role, "users") else ()
        return {self.panel.rows: saved_list(saved.of(caller), others, saved.days)}

    def _guarded(self, work: Callable[[], Update]) -> Update:
        try:
            return {self.panel.trouble: "", **work()}
        except RarlError as error:
            return {self.panel.trouble: render.sentence(str(error))}
        except Exception as error:
            log_fault("saved session", error)
            return {self.panel.trouble: render.sentence(_FAULT)}


def saved_panel(parts: Parts) -> SavedPanel | None:
    """Lay it out; None where the site saves no sessions."""
    if parts.saved is None:
        return None
    with gr.Accordion("Saved sessions", open=False, visible=False, elem_id="saved") as frame:
        with gr.Row(elem_id="saved-line"):
            name = bare_textbox(
                "Name of this session",
                "Name this session; no patient’s name",
                "saved-name",
                max_length=NAME_LIMIT,
                scale=1,
            )
            save = gr.Button("Save", elem_id="saved-save", scale=0, min_width=90)
        trouble = panel(elem_id="saved-trouble")
        rows = panel(elem_id="saved-list", events=("open", "delete"))
    return SavedPanel(parts, parts.saved, frame, name, save, trouble, rows)


def saved_list(mine: Sequence[Saved], others: Sequence[Saved], days: float) -> str:
    """The list of named sessions.

    Args:
        mine: those that this browser can open.
        others: names of everybody else's, for an admin.
        days: how long each is kept.
    """
    return render_template(
        "ask/saved_sessions.html",
        sessions=mine,
        others=others,
        kept_seconds=days * _DAY,
        day=_day,
    )


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
