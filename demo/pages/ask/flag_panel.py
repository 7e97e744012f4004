"""The panel in which a reader flags an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from demo.context import FOCUS, NOW, QUIET, Parts, Update
from demo.pages import render
from demo.pages.components import panel
from demo.pages.flag_fields import FlagFields, FlagTyped, flag_fields
from demo.services.asking import log_fault
from demo.services.flagging import draft_from_browser
from demo.services.identity import doubts, keep
from demo.session import Asked, Session
from demo.viewer import REPORT, take_report
from rarl.errors import RarlError, ReviewError, StoreError
from rarl.records import FlagDraft, Region, new_key

# Seconds between attempts to send what the store could not take.
_AGAIN_SECONDS = 10
_NOT_SAVED = "The flag could not be saved. What you typed is still here; press Save again."
_SHOW_NOTE = "() => document.querySelector('#note').scrollIntoView({block: 'nearest'})"


@dataclass(frozen=True, slots=True)
class Draft:
    """What is being flagged, from the moment the panel opens: the page may be asked on meanwhile.

    Attributes:
        asked: the exchange.
        arm: whose answer.
        key: of the flag, so that a second press on Save stores nothing twice.
        case_id: of the case, where it is none yet.
        before: one's own flag that this one corrects, or None.
    """

    asked: Asked
    arm: str
    key: str = field(default_factory=new_key)
    case_id: str = field(default_factory=new_key)
    before: FlagDraft | None = None

    def reasoning(self) -> str:
        """Of the flagged answer."""
        return next(
            answer.response.reasoning for answer in self.asked.answers if answer.arm == self.arm
        )


@dataclass(frozen=True, slots=True)
class FlagPanel:
    """The widgets in which an answer is flagged.

    Attributes:
        draft: what is being flagged, see `Draft`.
        last: the flag saved last and the exchange that it is about: it can be corrected.
        kept_here: in the browser's own storage, the words of flags that the store could not take;
            no pixels.
        again: the clock by which these are sent once more.
        drawer: the panel.
        heading: whose answer is flagged.
        fields: the form.
        trouble: sentences about the form.
        cancel: closes the panel.
        save: sends the flag.
    """

    draft: gr.State
    last: gr.State
    kept_here: gr.BrowserState
    again: gr.Timer
    drawer: gr.Column
    heading: gr.HTML
    fields: FlagFields
    trouble: gr.HTML
    cancel: gr.Button
    save: gr.Button


def flag_panel(
    parts: Parts,
    session: gr.State,
    board: gr.HTML,
    note: gr.HTML,
    arms: gr.Dropdown,
    redrawn: Callable[[Session, str], Update],
) -> None:
    """Lay out the panel beside the answers in which one of them is flagged, and wire it.

    Args:
        parts: shared by all handlers.
        session: of the page.
        board: the answers.
        note: where sentences stand.
        arms: the selector of variants.
        redrawn: draws the answers anew, from the session and the choice of variants.
    """
    FlagEvents(parts, _layout(), board, note, redrawn).wire(session, arms)


def _layout() -> FlagPanel:
    draft, last = gr.State(None), gr.State(None)
    kept_here = gr.BrowserState([], storage_key="rarl-flags", secret="rarl-flags-here")
    again = gr.Timer(_AGAIN_SECONDS)
    with gr.Column(elem_id="flag-panel", elem_classes="flag-drawer", visible=False) as drawer:
        heading = panel(elem_id="flag-heading")
        fields = flag_fields(
            "flag",
            "The region drawn on the scan shows where",
            "Draw it with Region (R) in the viewer, now or before.",
        )
        trouble = panel(elem_id="flag-trouble", events=("keep", "retype"))
        with gr.Row(elem_classes="flag-actions"):
            cancel = gr.Button("Cancel", elem_classes="flag-cancel", elem_id="flag-cancel")
            save = gr.Button("Save flag", variant="primary", elem_id="flag-save")
    return FlagPanel(draft, last, kept_here, again, drawer, heading, fields, trouble, cancel, save)


@dataclass(frozen=True, slots=True)
class FlagEvents:
    """The handlers of the panel.

    Attributes:
        parts: shared by all handlers.
        panel: the widgets.
        board: the answers.
        note: where sentences stand.
        redrawn: draws the answers anew, from the session and the choice of variants.
    """

    parts: Parts
    panel: FlagPanel
    board: gr.HTML
    note: gr.HTML
    redrawn: Callable[[Session, str], Update]

    def wire(self, session: gr.State, arms: gr.Dropdown) -> None:
        """Listen to the answers and to the form.

        Args:
            session: of the page.
            arms: the selector of variants.
        """
        widgets, note = self.panel, self.note
        form = widgets.fields.listed()
        opening = [widgets.draft, widgets.drawer, widgets.heading, *form, widgets.trouble, note]
        self.board.flagged(self.opened, session, opening, **NOW)
        note.correct(self.reopened, [widgets.last, session], opening, **NOW)
        # The trouble's place among the inputs is the report's: the script puts it there.
        inputs = [widgets.draft, *form, widgets.trouble, widgets.kept_here, arms, session]
        report_at = 1 + len(form)
        saving: dict[str, Any] = {
            "inputs": inputs,
            "outputs": [widgets.drawer, widgets.draft, widgets.last, widgets.trouble, note,
                        widgets.kept_here, widgets.again, self.board],
            "js": f"async (...inputs) => {{ inputs[{report_at}] = {REPORT}; return inputs; }}",
            **QUIET,
        }  # fmt: skip
        pressed = (
            widgets.save.click(self.saved, **saving),
            widgets.trouble.keep(self.confirmed, **saving),
        )
        for event in pressed:
            # On a phone the confirmation may stand above what is in sight.
            event.then(js=_SHOW_NOTE, **NOW)
        widgets.trouble.retype(None, None, None, js=FOCUS % "#flag-comment textarea", **NOW)
        widgets.cancel.click(self.closed, session, [widgets.drawer, widgets.draft], **NOW)
        widgets.again.tick(
            self.sent_again, widgets.kept_here, [widgets.kept_here, widgets.again, note], **QUIET
        )

    def opened(self, event: gr.EventData, session: Session) -> Update:
        """Open the panel for an answer."""
        asked, arm = session.asked, str(getattr(event, "arm", ""))
        if asked is None or arm not in {answer.arm for answer in asked.answers}:
            return {self.note: render.sentence("There is no answer to flag yet; ask first.")}
        return self._filled(Draft(asked, arm), session)

    def reopened(self, saved: tuple[FlagDraft, Asked] | None, session: Session) -> Update:
        """Open the panel again for the flag that was saved last."""
        if saved is None or not saved[1].is_same(session.asked):
            sentence = (
                "The page has moved on; open the question again under Asked, and flag it anew."
            )
            return {self.note: render.sentence(sentence)}
        before, asked = saved
        return self._filled(
            Draft(asked, before.arm, case_id=before.case_id, before=before), session
        )

    def _filled(self, draft: Draft, session: Session) -> Update:
        session.flagging = draft.arm
        widgets = self.panel
        return {
            widgets.draft: draft,
            widgets.drawer: gr.Column(visible=True),
            widgets.heading: render.flag_heading(session, corrects=draft.before is not None),
            **widgets.fields.filled(draft.before, draft.reasoning(), self.parts.desk.taxonomy()),
            widgets.trouble: "",
            self.note: "",
        }

    # Gradio fills the request in where it stands among the named arguments, so before the others.
    def saved(self, request: gr.Request, draft: Draft | None, *inputs: Any) -> Update:
        """Send the flag: the form, the viewer's report, flags kept here, choice and session."""
        *values, report, waiting, choice, session = inputs
        return self._sent(request, draft, FlagTyped(*values), report, waiting, choice, session)

    def confirmed(self, request: gr.Request, *inputs: Any) -> Update:
        """Send it although something looks like an identity."""
        session: Session = inputs[-1]
        keep(session)
        return self.saved(request, *inputs)

    def _sent(
        self,
        request: gr.Request,
        draft: Draft | None,
        typed: FlagTyped,
        report: Any,
        waiting: Any,
        choice: str,
        session: Session,
    ) -> Update:
        widgets = self.panel
        if draft is None:
            sentence = "There is no answer to flag yet; ask first."
            return {widgets.trouble: render.sentence(sentence)}
        text = typed.text()
        if text not in session.kept and (sentences := doubts(text, session)):
            session.doubted = text
            return {widgets.trouble: render.doubt(sentences, "what you typed")}
        session.note_measurements()
        same = draft.asked.is_same(session.asked)
        asked = session.asked if same and session.asked else draft.asked
        case_id = session.case_id if same and session.case_id is not None else draft.case_id
        try:
            record = typed.draft(
                reasoning=draft.reasoning(),
                case_id=case_id,
                arm=draft.arm,
                region=_region(draft, session, report) if typed.with_region else None,
                key=draft.key,
                replaces=draft.before.key if draft.before else None,
            )
            flag = self.parts.desk.flag(record, asked, request)
        except StoreError as error:
            return self._kept_here(record, waiting, error)
        except RarlError as error:
            return {widgets.trouble: render.sentence(str(error))}
        except Exception as error:
            log_fault("flag", error)
            return {widgets.trouble: render.sentence(_NOT_SAVED)}
        if same:
            session.case_id = case_id
        session.flagging = None
        session.note_flag(draft.asked, draft.arm)
        return {
            widgets.drawer: gr.Column(visible=False),
            widgets.draft: None,
            self.board: self.redrawn(session, choice)[self.board],
            widgets.last: (record, draft.asked),
            self.note: render.flag_saved(flag, correctable=True),
        }

    def _kept_here(self, record: FlagDraft, waiting: Any, error: StoreError) -> Update:
        """A flag that the store could not take waits in the browser."""
        sentence = f"{error} Your flag stays in this browser (your words, no picture) until then."
        return {
            self.panel.drawer: gr.Column(visible=False),
            self.panel.kept_here: [*_listed(waiting), record.plain()],
            self.panel.again: gr.Timer(active=True),
            self.note: render.sentence(sentence),
        }

    def sent_again(self, waiting: Any, request: gr.Request) -> Update:
        """Send once more what an earlier failure left in the browser."""
        left, saved, lost = [], 0, ""
        for plain in _listed(waiting):
            try:
                self.parts.desk.send(draft_from_browser(plain), request)
                saved += 1
            except StoreError:
                left.append(plain)
            except RarlError as error:
                lost = f"A flag that waited in this browser cannot be stored: {error}"
            except Exception as error:
                log_fault("send", error)
                left.append(plain)
        update: Update = {self.panel.again: gr.Timer(active=bool(left))}
        if len(left) != len(_listed(waiting)):
            update[self.panel.kept_here] = left
        if lost:
            update[self.note] = render.sentence(lost)
        elif saved:
            some = "The flag" if saved == 1 else f"{saved} flags"
            sentence = f"{some} kept in this browser now saved."
            update[self.note] = render.sentence(sentence, "done")
        return update

    def closed(self, session: Session) -> Update:
        """Close the panel; nothing is stored."""
        session.flagging = None
        return {self.panel.drawer: gr.Column(visible=False), self.panel.draft: None}


def _listed(waiting: Any) -> list[Any]:
    return waiting if isinstance(waiting, list) else []


def _region(draft: Draft, session: Session, report: Any) -> Region:
    """The region on the stage, as a place on the picture that was asked about.

    Raises:
        QuestionError: the page is out of step.
        ReviewError: no region is drawn, or it is on another picture.
    """
    take_report(session, report)
    scan = session.active
    if scan is None or scan.region is None:
        raise ReviewError("Draw the region on the scan first, or take the mark away.")
    several = len(session.scans) > 1
    name = scan.role if several else "scan"
    view = scan.view
    for picture, (image, shown) in enumerate(
        zip(draft.asked.question.images, draft.asked.shown, strict=True)
    ):
        place = (shown.plane, shown.frame, shown.time)
        if image.name == name and place == (view.plane, view.frame, view.time):
            box = scan.region
            return Region(picture, (box.left, box.top, box.right, box.bottom))
    raise ReviewError(
        "The region is on another slice or scan than the one that was asked about; go back to that "
        "one and draw it there, or take the mark away."
    )
