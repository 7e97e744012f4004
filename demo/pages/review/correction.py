"""The form in which a reader corrects their own flag; the earlier version is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import gradio as gr

from demo.context import FOCUS, NOW, QUIET, Parts, Update
from demo.pages import render
from demo.pages.components import panel
from demo.pages.flag_fields import FlagFields, FlagTyped, flag_fields
from demo.pages.review.common import Data, Place, guarded
from demo.services.identity import doubts
from demo.session import Session
from demo.templating import render_template
from rarl.errors import ReviewError
from rarl.records import Flag
from rarl.review import Queue


@dataclass(frozen=True, slots=True)
class Begun:
    """What is being corrected, from the moment the drawer opens.

    Attributes:
        flag: as it stands.
        reasoning: of the flagged answer.
        key: of the correction, so that a second press on Save stores nothing twice.
    """

    flag: Flag
    reasoning: str
    key: str


@dataclass(frozen=True, slots=True)
class CorrectionDrawer:
    """The widgets.

    Attributes:
        begun: what is being corrected, see `Begun`.
        column: the drawer.
        heading: which flag it is about.
        fields: the form.
        trouble: sentences about the form.
        cancel: closes the drawer.
        save: sends the correction.
    """

    begun: gr.State
    column: gr.Column
    heading: gr.HTML
    fields: FlagFields
    trouble: gr.HTML
    cancel: gr.Button
    save: gr.Button


def flag_correction(
    parts: Parts,
    session: gr.State,
    place: gr.State,
    case: gr.HTML,
    trouble: gr.HTML,
    again: Callable[[gr.Request, Data], Update],
    inputs: set[Any],
    outputs: list[Any],
) -> None:
    """Lay the drawer out and wire it to the case's buttons.

    Args:
        parts: of the app.
        session: of the page.
        place: where the page stands in the queue.
        case: whose "correct" event names a flag by its number.
        trouble: what the queue says.
        again: draws the open case and the list anew.
        inputs: what `again` takes, `place` among them.
        outputs: what `again` fills, `trouble` among them.
    """
    drawer = _layout()
    CorrectionEvents(parts, session, place, drawer, trouble, again).wire(case, inputs, outputs)


def _layout() -> CorrectionDrawer:
    begun = gr.State(None)
    with gr.Column(elem_id="correction", elem_classes="flag-drawer", visible=False) as column:
        heading = panel(elem_id="correction-heading")
        fields = flag_fields("correction", "The region that was drawn shows where")
        trouble = panel(elem_id="correction-trouble", events=("keep", "retype"))
        with gr.Row(elem_classes="flag-actions"):
            cancel = gr.Button("Cancel", elem_classes="flag-cancel")
            save = gr.Button("Save correction", variant="primary", elem_id="correction-save")
    return CorrectionDrawer(begun, column, heading, fields, trouble, cancel, save)


@dataclass(frozen=True, slots=True)
class CorrectionEvents:
    """The handlers of the drawer; for the attributes see `flag_correction`."""

    parts: Parts
    session: gr.State
    place: gr.State
    drawer: CorrectionDrawer
    trouble: gr.HTML
    again: Callable[[gr.Request, Data], Update]

    def wire(self, case: gr.HTML, inputs: set[Any], outputs: list[Any]) -> None:
        """Listen to the case and to the form; for the arguments see `flag_correction`."""
        drawer = self.drawer
        form = drawer.fields.listed()
        opening = [drawer.begun, drawer.column, drawer.heading, *form, drawer.trouble, self.trouble]
        case.correct(self.opened, {self.place}, opening, **NOW)
        saving = {*inputs, *form, drawer.begun, self.session}
        changed = [drawer.column, drawer.begun, drawer.trouble, *outputs]
        drawer.save.click(self.saved, saving, changed, **QUIET)
        drawer.trouble.keep(self.confirmed, saving, changed, **QUIET)
        drawer.trouble.retype(None, None, None, js=FOCUS % "#correction-comment textarea", **NOW)
        drawer.cancel.click(self.closed, None, [drawer.column, drawer.begun], **NOW)

    def opened(self, request: gr.Request, event: gr.EventData, data: Data) -> Update:
        """Open the drawer for a flag of one's own."""
        drawer = self.drawer

        def done() -> Update:
            store = self.parts.desk.for_request(request)
            place: Place = data[self.place]
            flags = Queue(store, place.study_id).item(*place.item).flags if place.item else ()
            number = str(getattr(event, "number", ""))
            flag = next((flag for flag in flags if str(flag.id) == number), None)
            if flag is None or store.person is None or flag.reader != store.person:
                raise ReviewError(
                    "Only the newest flag of your own can be corrected; open the case again."
                )
            answers = store.case(flag.case_id).answers
            answer = next(answer for answer in answers if answer.arm == flag.arm)
            has_region = flag.region is not None
            return {
                drawer.begun: Begun(flag, answer.reasoning, uuid4().hex),
                drawer.column: gr.Column(visible=True),
                drawer.heading: render_template(
                    "review/correction_heading.html", flag=flag, answer=answer.answer
                ),
                **drawer.fields.filled(flag, answer.reasoning, store.taxonomy),
                drawer.fields.where: gr.Checkbox(has_region, visible=has_region),
                drawer.trouble: "",
            }

        return guarded(self.trouble, "correct", done)

    def saved(self, request: gr.Request, data: Data) -> Update:
        """Store the correction."""
        drawer, session = self.drawer, data[self.session]
        typed = FlagTyped(*(data[box] for box in drawer.fields.listed()))
        text = typed.text()
        if text not in session.kept and (sentences := doubts(text, session)):
            session.doubted = text
            return {drawer.trouble: render.doubt(sentences, "what you typed")}

        def done() -> Update:
            begun: Begun | None = data[drawer.begun]
            if begun is None:
                raise ReviewError("Open the flag again to correct it.")
            flag = begun.flag
            record = typed.draft(
                reasoning=begun.reasoning,
                case_id=flag.case_id,
                arm=flag.arm,
                region=flag.region if typed.with_region else None,
                key=begun.key,
                replaces=flag.key,
            )
            self.parts.desk.send(record, request)
            return {**self.closed(), **self.again(request, data)}

        return guarded(drawer.trouble, "correct", done)

    def confirmed(self, request: gr.Request, data: Data) -> Update:
        """Store it although something looks like an identity."""
        session: Session = data[self.session]
        session.kept.add(session.doubted)
        return self.saved(request, data)

    def closed(self) -> Update:
        """Close the drawer."""
        return {self.drawer.column: gr.Column(visible=False), self.drawer.begun: None}
