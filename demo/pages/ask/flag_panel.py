"""The panel in which a reader flags an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from demo.context import FOCUS, NOW, QUIET, Parts, Update
from demo.pages import render
from demo.pages.components import panel
from demo.pages.flag_fields import flag_fields, step_at
from demo.services.asking import log_fault
from demo.services.flagging import draft_from_browser
from demo.services.identity import doubts, keep
from demo.session import Asked, Session
from demo.viewer import REPORT, take_report
from rarl.errors import RarlError, ReviewError, StoreError
from rarl.records import FlagDraft, Region, new_key

# Seconds between attempts to send what the store could not take.
_AGAIN_SECONDS = 10
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
        return next(one.response.reasoning for one in self.asked.answers if one.arm == self.arm)


def flag_panel(
    parts: Parts,
    session: gr.State,
    board: gr.HTML,
    note: gr.HTML,
    arms: gr.Dropdown,
    redrawn: Callable[[Session, str], Update],
) -> None:
    """The panel beside the answers in which one of them is flagged.

    Args:
        parts: shared by all handlers.
        session: of the page.
        board: the answers.
        note: where sentences stand.
        arms: the arm selector.
        redrawn: draws the answers anew, from the session and the choice of arms.
    """
    draft = gr.State(None)
    # The flag saved last and the exchange that it is about: it can be corrected.
    last = gr.State(None)
    # In the browser's own storage: the words of a flag that the store could not take, no pixels.
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

    def opened(event: gr.EventData, held: Session) -> Update:
        asked, arm = held.asked, str(getattr(event, "arm", ""))
        if asked is None or arm not in {one.arm for one in asked.answers}:
            return {note: render.sentence("There is no answer to flag yet; ask first.")}
        return filled(Draft(asked, arm), held)

    def reopened(saved_last: tuple[FlagDraft, Asked] | None, held: Session) -> Update:
        if saved_last is None or saved_last[1] is not held.asked:
            told = "The page has moved on; open the question again under Asked, and flag it anew."
            return {note: render.sentence(told)}
        before, asked = saved_last
        return filled(Draft(asked, before.arm, case_id=before.case_id, before=before), held)

    def filled(begun: Draft, held: Session) -> Update:
        held.flagging = begun.arm
        return {
            draft: begun,
            drawer: gr.Column(visible=True),
            heading: render.flag_heading(held, corrects=begun.before is not None),
            **fields.filled(begun.before, begun.reasoning(), parts.desk.taxonomy()),
            trouble: "",
            note: "",
        }

    def saved(
        about: Draft | None,
        kind: str | None,
        weight: str | None,
        words: str,
        wrong_step: int | None,
        with_region: bool,
        right: str,
        why: str,
        report: Any,
        waiting: Any,
        choice: str,
        held: Session,
        request: gr.Request,
    ) -> Update:
        if about is None:
            return {trouble: render.sentence("There is no answer to flag yet; ask first.")}
        typed = "\n".join((words, right, why))
        found = () if typed in held.kept else doubts(typed, held)
        if found:
            held.doubted = typed
            return {trouble: render.doubt(found, "what you typed")}
        same = held.asked is about.asked
        case_id = held.case_id if same and held.case_id is not None else about.case_id
        try:
            sentence, start = step_at(about.reasoning(), wrong_step)
            region = _region(about, held, report) if with_region else None
            replaces = about.before.key if about.before else None
            sent_draft = FlagDraft.checked(
                case_id=case_id,
                arm=about.arm,
                category=kind,
                severity=weight,
                comment=words or "",
                sentence=sentence,
                sentence_start=start,
                region=region,
                corrected_answer=right or "",
                corrected_explanation=why or "",
                key=about.key,
                replaces=replaces,
            )
            flag = parts.desk.flag(sent_draft, about.asked, request)
        except StoreError as error:
            told = f"{error} Your flag stays in this browser (your words, no picture) until then."
            return {
                drawer: gr.Column(visible=False),
                kept_here: [*_listed(waiting), sent_draft.plain()],
                again: gr.Timer(active=True),
                note: render.sentence(told),
            }
        except RarlError as error:
            return {trouble: render.sentence(str(error))}
        except Exception as error:
            log_fault("flag", error)
            sentence = (
                "The flag could not be saved. What you typed is still here; press Save again."
            )
            return {trouble: render.sentence(sentence)}
        if same:
            held.case_id = case_id
        held.flagging = None
        held.note_flag(about.asked, about.arm)
        return {
            drawer: gr.Column(visible=False),
            draft: None,
            board: redrawn(held, choice)[board],
            last: (sent_draft, about.asked),
            note: render.flag_saved(flag, correctable=True),
        }

    # Gradio fills the request in where it stands among the named arguments, so before the others.
    def kept(request: gr.Request, *told: Any) -> Update:
        held: Session = told[-1]
        keep(held)
        return saved(*(*told, request))

    def sent(waiting: Any, request: gr.Request) -> Update:
        """What an earlier failure left in the browser, once more."""
        left, done, lost = [], 0, ""
        for plain in _listed(waiting):
            try:
                parts.desk.send(draft_from_browser(plain), request)
                done += 1
            except StoreError:
                left.append(plain)
            except RarlError as error:
                lost = f"A flag that waited in this browser cannot be stored: {error}"
            except Exception as error:
                log_fault("send", error)
                left.append(plain)
        update: Update = {again: gr.Timer(active=bool(left))}
        if len(left) != len(_listed(waiting)):
            update[kept_here] = left
        if lost:
            update[note] = render.sentence(lost)
        elif done:
            some = "The flag" if done == 1 else f"{done} flags"
            update[note] = render.sentence(f"{some} kept in this browser now saved.", "done")
        return update

    def closed(held: Session) -> Update:
        held.flagging = None
        return {drawer: gr.Column(visible=False), draft: None}

    form = fields.listed()
    opening = [draft, drawer, heading, *form, trouble, note]
    board.flagged(opened, session, opening, **NOW)
    note.correct(reopened, [last, session], opening, **NOW)
    saving: dict[str, Any] = {
        # The kept flags stand in for the report too: the script puts it in their place.
        "inputs": [draft, *form, trouble, kept_here, arms, session],
        "outputs": [drawer, draft, last, trouble, note, kept_here, again, board],
        "js": f"(...all) => {{ all[{len(form) + 1}] = {REPORT}; return all; }}",
        **QUIET,
    }
    for pressed in (save.click(saved, **saving), trouble.keep(kept, **saving)):
        # On a phone the confirmation may stand above what is in sight.
        pressed.then(js=_SHOW_NOTE, **NOW)
    trouble.retype(None, None, None, js=FOCUS % "#flag-comment textarea", **NOW)
    cancel.click(closed, session, [drawer, draft], **NOW)
    again.tick(sent, kept_here, [kept_here, again, note], **QUIET)


def _listed(waiting: Any) -> list[Any]:
    return waiting if isinstance(waiting, list) else []


def _region(about: Draft, held: Session, report: Any) -> Region:
    """The region on the stage, as a place on the picture that was asked about.

    Raises:
        QuestionError: the page is out of step.
        ReviewError: no region is drawn, or it is on another picture.
    """
    take_report(held, report)
    scan = held.active
    if scan is None or scan.region is None:
        raise ReviewError("Draw the region on the scan first, or take the mark away.")
    several = len(held.scans) > 1
    name = scan.role if several else "scan"
    view = scan.view
    for picture, (image, shown) in enumerate(
        zip(about.asked.question.images, about.asked.shown, strict=True)
    ):
        place = (shown.plane, shown.frame, shown.time)
        if image.name == name and place == (view.plane, view.frame, view.time):
            box = scan.region
            return Region(picture, (box.left, box.top, box.right, box.bottom))
    raise ReviewError(
        "The region is on another slice or scan than the one that was asked about; go back to that "
        "one and draw it there, or take the mark away."
    )
