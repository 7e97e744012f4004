"""The form in which a reader corrects their own flag; the earlier version is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import gradio as gr
from markupsafe import Markup

from demo.context import FOCUS, NOW, QUIET, Parts, Update
from demo.pages import render
from demo.pages.components import panel
from demo.pages.flag_fields import flag_fields, step_at
from demo.pages.review.common import Data, Place, guarded
from demo.services.identity import doubts
from demo.session import Session
from rarl.errors import ReviewError
from rarl.records import Flag, FlagDraft
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
    begun = gr.State(None)
    with gr.Column(elem_id="correction", elem_classes="flag-drawer", visible=False) as drawer:
        heading = panel(elem_id="correction-heading")
        fields = flag_fields("correction", "The region that was drawn shows where")
        told = panel(elem_id="correction-trouble", events=("keep", "retype"))
        with gr.Row(elem_classes="flag-actions"):
            cancel = gr.Button("Cancel", elem_classes="flag-cancel")
            save = gr.Button("Save correction", variant="primary", elem_id="correction-save")

    def opened(request: gr.Request, event: gr.EventData, data: Data) -> Update:
        def work() -> Update:
            store = parts.desk.for_request(request)
            at: Place = data[place]
            flags = Queue(store, at.study_id).item(*at.item).flags if at.item else ()
            number = str(getattr(event, "number", ""))
            flag = next((one for one in flags if str(one.id) == number), None)
            if flag is None or store.person is None or flag.reader != store.person:
                raise ReviewError(
                    "Only the newest flag of your own can be corrected; open the case again."
                )
            said = next(one for one in store.case(flag.case_id).answers if one.arm == flag.arm)
            quoted = (
                Markup("<blockquote>{}</blockquote>").format(said.answer) if said.answer else ""
            )
            return {
                begun: Begun(flag, said.reasoning, uuid4().hex),
                drawer: gr.Column(visible=True),
                heading: Markup(
                    '<h2 id="correction-title">Correct your flag {} on {}’s answer</h2>{}'
                ).format(flag.id, flag.label, quoted),
                **fields.filled(flag, said.reasoning, store.taxonomy),
                fields.where: gr.Checkbox(flag.region is not None, visible=flag.region is not None),
                told: "",
            }

        return guarded(trouble, "correct", work)

    def saved(request: gr.Request, data: Data) -> Update:
        held: Session = data[session]
        words, right, why = data[fields.comment], data[fields.answer], data[fields.explanation]
        typed = "\n".join(one or "" for one in (words, right, why))
        found = () if typed in held.kept else doubts(typed, held)
        if found:
            held.doubted = typed
            return {told: render.doubt(found, "what you typed")}

        def work() -> Update:
            about: Begun | None = data[begun]
            if about is None:
                raise ReviewError("Open the flag again to correct it.")
            flag = about.flag
            sentence, start = step_at(about.reasoning, data[fields.step])
            draft = FlagDraft.checked(
                case_id=flag.case_id,
                arm=flag.arm,
                category=data[fields.category],
                severity=data[fields.severity],
                comment=words or "",
                sentence=sentence,
                sentence_start=start,
                region=flag.region if data[fields.where] else None,
                corrected_answer=right or "",
                corrected_explanation=why or "",
                key=about.key,
                replaces=flag.key,
            )
            parts.desk.send(draft, request)
            return {drawer: gr.Column(visible=False), begun: None, **again(request, data)}

        return guarded(told, "correct", work)

    def kept(request: gr.Request, data: Data) -> Update:
        data[session].kept.add(data[session].doubted)
        return saved(request, data)

    form = fields.listed()
    case.correct(opened, {place}, [begun, drawer, heading, *form, told, trouble], **NOW)
    saving = {*inputs, *form, begun, session}
    done = [drawer, begun, told, *outputs]
    save.click(saved, saving, done, **QUIET)
    told.keep(kept, saving, done, **QUIET)
    told.retype(None, None, None, js=FOCUS % "#correction-comment textarea", **NOW)
    cancel.click(lambda: {drawer: gr.Column(visible=False), begun: None}, None, [drawer, begun],
                 **NOW)  # fmt: skip
