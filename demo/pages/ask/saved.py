"""Named sessions on the Ask page: save what is open, and open or delete it later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gradio as gr
from markupsafe import Markup

from demo.context import NOW, QUIET, Parts, Update
from demo.pages import render
from demo.pages.components import panel
from demo.services.asking import log_fault
from demo.services.fair_queue import current_session
from demo.services.identity import doubts
from demo.services.saved_sessions import NAME_LIMIT, Saved, SavedSessions
from demo.serving.caller import Caller, caller_of
from demo.session import Session
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

        def listed(caller: Caller) -> Update:
            others = self.saved.of_others(caller) if may(caller.role, "users") else ()
            return {self.rows: saved_list(self.saved.of(caller), others, self.saved.days)}

        def entered(request: gr.Request) -> Update:
            caller = caller_of(request)
            if not self.saved.offered(caller):
                return {self.frame: gr.Accordion(visible=False)}
            self.saved.sweep()
            return {self.frame: gr.Accordion(visible=True), **listed(caller)}

        def guarded(work: Callable[[], Update]) -> Update:
            try:
                return {self.trouble: "", **work()}
            except RarlError as error:
                return {self.trouble: render.sentence(str(error))}
            except Exception as error:
                log_fault("saved session", error)
                return {self.trouble: render.sentence(_FAULT)}

        def saved(name: str, held: Session, request: gr.Request) -> Update:
            def done() -> Update:
                if doubts(name or "", held):
                    raise QuestionError("The name looks like somebody’s identity; choose another.")
                caller = caller_of(request)
                left_out = len(held.scans)
                record = self.saved.save(held, caller, name or "")
                left_out -= record.scans
                words = f"Saved as “{record.name}”."
                if left_out:
                    words += (
                        " Left out: scans that have covers, or on which writing was found and not "
                        "yet decided on."
                    )
                return {
                    **listed(caller), self.name: "",
                    self.trouble: render.sentence(words, "done"),
                }  # fmt: skip

            return guarded(done)

        def opened(event: gr.EventData, held: Session, choice: str, request: gr.Request) -> Update:
            def done() -> Update:
                if held.stop is not None:
                    raise QuestionError("Answers are still coming; stop them or wait.")
                parts = self.parts
                parts.pages.admit(held)
                record = self.saved.open(
                    held, caller_of(request), str(getattr(event, "id", "")), parts.frames,
                    parts.budget, current_session(),
                )  # fmt: skip
                if held.place is not None:
                    parts.keeper.clear(held.place)  # what the tab held before
                    parts.keeper.save(held, held.place)
                words = render.sentence(f"“{record.name}” is open.", "done")
                return {**come_back(held, choice), self.trouble: words}

            return guarded(done)

        def deleted(event: gr.EventData, request: gr.Request) -> Update:
            def done() -> Update:
                caller = caller_of(request)
                record = self.saved.delete(caller, str(getattr(event, "id", "")))
                words = render.sentence(f"“{record.name}” is deleted.", "done")
                return {**listed(caller), self.trouble: words}

            return guarded(done)

        mine = [self.rows, self.trouble]
        app.load(entered, None, [self.frame, self.rows], **NOW)
        saving: dict[str, Any] = {"inputs": [self.name, session], "outputs": [*mine, self.name]}
        gr.on([self.save.click, self.name.submit], saved, **saving, **QUIET)
        self.rows.open(opened, [session, arms], [*page, self.trouble], **QUIET)
        self.rows.delete(deleted, None, mine, **QUIET)


def saved_panel(parts: Parts) -> SavedPanel | None:
    """Lay it out; None where the site saves no sessions."""
    if parts.saved is None:
        return None
    with gr.Accordion("Saved sessions", open=False, visible=False, elem_id="saved") as frame:
        with gr.Row(elem_id="saved-line"):
            name = gr.Textbox(
                label="Name of this session",
                show_label=False,
                container=False,
                placeholder="Name this session; no patient’s name",
                max_length=NAME_LIMIT,
                elem_id="saved-name",
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
    rows = Markup().join(
        Markup(
            '<li><button type="button" class="link" data-event="open" data-id="{}">{}</button>'
            "<small>{} · {} · until {}</small>"
            '<button type="button" class="link" data-event="delete" data-id="{}" '
            'aria-label="Delete {}">Delete</button></li>'
        ).format(
            one.id, one.name, _count(one.questions), _day(one.created),
            _day(one.created + days * _DAY), one.id, one.name,
        )
        for one in mine
    )  # fmt: skip
    html = Markup("<ul>{}</ul>").format(rows) if rows else Markup("<p>None saved yet.</p>")
    html += Markup(
        "<p><small>Encrypted; only this browser can open them. Covers are not kept.</small></p>"
    )
    if others:
        html += Markup(
            "<details><summary>Of other people and browsers</summary><ul>{}</ul></details>"
        ).format(
            Markup().join(
                Markup("<li>{}<small>{} · {}</small></li>").format(
                    one.name, one.person or "nobody named", _day(one.created)
                )
                for one in others
            )
        )
    return html


def _count(questions: int) -> str:
    return f"{questions} question{'' if questions == 1 else 's'}"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
