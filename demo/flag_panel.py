"""The panel beside the answers in which one of them is flagged."""

from __future__ import annotations

import gradio as gr

from demo import render
from demo.asking import log_fault
from demo.components import panel
from demo.identity import doubts
from demo.parts import FOCUS, NOW, QUIET, Parts, Update, labelled
from demo.session import Session
from rarl.errors import RarlError
from rarl.review import CATEGORIES, COMMENT_LIMIT, SEVERITIES


def flag_panel(parts: Parts, session: gr.State, board: gr.HTML, note: gr.HTML) -> None:
    """The panel beside the answers in which one of them is flagged."""
    with gr.Column(elem_id="flag-panel", visible=False) as drawer:
        heading = panel(elem_id="flag-heading")
        category = gr.Radio(labelled(CATEGORIES), label="What is wrong?", elem_id="flag-category")
        severity = gr.Radio(
            labelled(SEVERITIES), label="How much would it matter?", elem_id="flag-severity"
        )
        comment = gr.Textbox(
            label="Comment",
            placeholder="What should it have said? No names or dates.",
            lines=3,
            max_lines=6,
            max_length=COMMENT_LIMIT,
            elem_id="flag-comment",
        )
        trouble = panel(elem_id="flag-trouble", events=("keep", "retype"))
        with gr.Row(elem_id="flag-actions"):
            cancel = gr.Button("Cancel", elem_id="flag-cancel")
            save = gr.Button("Save flag", variant="primary", elem_id="flag-save")

    def opened(event: gr.EventData, held: Session) -> Update:
        if held.asked is None:
            return {note: render.sentence("There is no answer to flag yet; ask first.")}
        held.flagging = str(getattr(event, "arm", ""))
        return {
            drawer: gr.Column(visible=True),
            heading: render.flag_heading(held),
            category: None,
            severity: None,
            comment: "",
            trouble: "",
            note: "",
        }

    def saved(kind: str | None, weight: str | None, words: str, held: Session) -> Update:
        found = () if words in held.kept else doubts(words, held)
        if found:
            held.doubted = words
            return {trouble: render.doubt(found, "the comment")}
        try:
            flag = parts.desk.flag(held, kind, weight, words)
        except RarlError as error:
            return {trouble: render.sentence(str(error))}
        except Exception as error:
            log_fault("flag", error)
            kept = "The flag could not be saved. What you typed is still here; press Save again."
            return {trouble: render.sentence(kept)}
        held.flagging = None
        return {drawer: gr.Column(visible=False), note: render.flag_saved(flag)}

    def kept(kind: str | None, weight: str | None, words: str, held: Session) -> Update:
        held.kept.add(held.doubted)
        return saved(kind, weight, words, held)

    def closed(held: Session) -> Update:
        held.flagging = None
        return {drawer: gr.Column(visible=False)}

    board.flagged(
        opened,
        session,
        [drawer, heading, category, severity, comment, trouble, note],
        **NOW,
    )
    told = [category, severity, comment, session]
    save.click(saved, told, [drawer, trouble, note], **QUIET)
    trouble.keep(kept, told, [drawer, trouble, note], **QUIET)
    trouble.retype(None, None, None, js=FOCUS % "#flag-comment textarea", **NOW)
    cancel.click(closed, session, [drawer], **NOW)
