"""The widgets of the Ask page: scan on the left, question and answers on the right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.context import Parts
from demo.pages import answer_html, render
from demo.pages.ask.answer_tools import EVENTS
from demo.pages.ask.blind_panel import BlindPanel, blind_panel
from demo.pages.ask.onboarding import tour
from demo.pages.ask.pacs import PacsRow, pacs_row
from demo.pages.ask.saved import SavedPanel, saved_panel
from demo.pages.components import bare_textbox, panel
from demo.services.asking import COMPARE, MODE_LABELS, arm_choices, suggestions
from demo.services.uploads import max_upload_bytes
from demo.session import Session
from demo.viewer import viewer_panel


@dataclass(frozen=True, slots=True)
class ScanSide:
    """The left half.

    Attributes:
        viewer: the open scans.
        pacs: the search in the PACS, None where the site has set up none.
        facts: what the header says of the active scan.
        examples: the scans on offer.
        saved: the named sessions, None where the site saves none.
    """

    viewer: gr.HTML
    pacs: PacsRow | None
    facts: gr.HTML
    examples: gr.HTML
    saved: SavedPanel | None


@dataclass(frozen=True, slots=True)
class Composer:
    """Where a question is written and the form of its answer is chosen.

    Attributes:
        question: its text.
        options: of a multiple-choice question, one a line; shown where `choice` is ticked.
        choice: whether the question has options.
        ask: sends it.
        stop: ends the answers that are still coming.
        history: the earlier questions about these scans.
        chips: suggested questions.
        mode: form of the answer.
        variants: which models answer.
        follow: whether earlier turns are sent along.
        blind: whether the reader answers first.
    """

    question: gr.Textbox
    options: gr.Textbox
    choice: gr.Checkbox
    ask: gr.Button
    stop: gr.Button
    history: gr.HTML
    chips: gr.HTML
    mode: gr.Dropdown
    variants: gr.Dropdown
    follow: gr.Checkbox
    blind: gr.Checkbox


@dataclass(frozen=True, slots=True)
class AskWidgets:
    """All widgets of the page.

    Attributes:
        scan_side: the left half.
        composer: the top of the right half.
        note: where sentences stand.
        reading: the steps of a blind reading.
        board: the answers.
        after: the buttons under them.
        drawer: where these open what they have found.
        tour: the first steps, in front of the page.
    """

    scan_side: ScanSide
    composer: Composer
    note: gr.HTML
    reading: BlindPanel
    board: gr.HTML
    after: gr.HTML
    drawer: gr.HTML
    tour: gr.HTML

    @property
    def answer_side(self) -> list[Any]:
        """What `AskView.answers` fills."""
        return [self.board, self.composer.history, self.after, *self.reading.widgets]

    @property
    def page(self) -> list[Any]:
        """What `AskView.scans_changed` fills."""
        side = self.scan_side
        return [side.viewer, side.facts, self.composer.chips, self.note, *self.answer_side]


def ask_layout(parts: Parts) -> AskWidgets:
    """Lay the page out; nothing is wired yet."""
    with gr.Row(elem_id="ask-page"):
        with gr.Column(elem_id="scan-side"):
            scan_side = _scan_side(parts)
        with gr.Column(elem_id="answer-side"):
            with gr.Column(elem_id="composer"):
                composer = _composer(parts)
            note = panel(elem_id="note", events=("keep", "retype", "correct", "undo"))
            reading = blind_panel()
            board = panel(
                answer_html.board(answer_html.default_progress(), Session(), parts.labels()),
                elem_id="board",
                events=("flagged", "report", "alone", "reopen"),
            )
            after = panel(answer_html.after(Session()), elem_id="after", events=EVENTS)
    drawer = panel(elem_id="seen", events=("close",))
    first_steps = panel(
        tour(list(parts.examples.values())[:4]), elem_id="tour", events=("pick",)
    )  # fmt: skip
    return AskWidgets(scan_side, composer, note, reading, board, after, drawer, first_steps)


def _scan_side(parts: Parts) -> ScanSide:
    return ScanSide(
        viewer=viewer_panel(max_upload_bytes()),
        pacs=pacs_row(parts.pacs) if parts.pacs else None,
        facts=panel(elem_id="scan-facts"),
        examples=panel(
            render.example_strip(parts.examples.values()), elem_id="examples", events=("pick",)
        ),
        saved=saved_panel(parts),
    )


def _composer(parts: Parts) -> Composer:
    with gr.Row(elem_id="ask-line"):
        question = bare_textbox(
            "Question",
            "Ask about the scan. Enter sends.",
            "question",
            lines=1,
            max_lines=3,
            scale=1,
        )
        # The style sheet shows one of the two, by whether the board is running.
        ask = gr.Button("Ask", variant="primary", elem_id="ask", scale=0)
        stop = gr.Button("Stop", elem_id="stop", scale=0)
    options = gr.Textbox(
        label="Options, one a line",
        placeholder="liver",
        lines=2,
        max_lines=10,
        visible=False,
        elem_id="options",
    )
    with gr.Row(elem_id="suggest-line"):
        history = panel(elem_id="history", events=("reopen",))
        chips = panel(render.chips(suggestions(None)), elem_id="chips", events=("suggest",))
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
        variants = gr.Dropdown(
            arm_choices(parts.arms()),
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
            False, label="Follow-up", elem_id="follow", container=False, visible=False, scale=0,
            min_width=90,
        )  # fmt: skip
        blind = gr.Checkbox(
            False, label="Blind", elem_id="blind", container=False, scale=0, min_width=70
        )
        choice = gr.Checkbox(
            False, label="Options", elem_id="has-options", container=False, scale=0, min_width=80
        )
    return Composer(
        question, options, choice, ask, stop, history, chips, mode, variants, follow, blind
    )
