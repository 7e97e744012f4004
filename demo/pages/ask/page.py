"""The Ask page: scan on the left, question and answers on the right."""

from __future__ import annotations

import gradio as gr

from demo.context import NOW, Parts
from demo.pages.ask.answer_tools import wire_after
from demo.pages.ask.flag_panel import flag_panel
from demo.pages.ask.layout import ask_layout
from demo.pages.ask.question_events import QuestionEvents
from demo.pages.ask.scan_events import ScanEvents
from demo.pages.ask.view import AskView
from demo.pages.facts import FactsLabels
from demo.pages.report.opening import ReportOpening


def ask_page(
    parts: Parts, session: gr.State, app: gr.Blocks, labels: FactsLabels, reports: ReportOpening
) -> tuple[gr.Dropdown, gr.Checkbox]:
    """Lay out the page and wire it.

    Args:
        parts: shared by all handlers.
        session: of the page.
        app: that is being built.
        labels: the facts labels of the variants.
        reports: begins one from an answer.

    Returns:
        The selector of variants, and the switch for follow-up questions.
    """
    widgets = ask_layout(parts)
    view = AskView(parts, widgets)
    ScanEvents(parts, view).wire(app, session)
    QuestionEvents(parts, view).wire(session)
    variants, drawer = widgets.composer.variants, widgets.drawer
    opening = wire_after(
        parts, session, widgets.after, drawer, widgets.board, variants, view.redrawn, labels
    )
    # What is still being worked out would open its drawer again.
    drawer.close(lambda: "", None, drawer, cancels=opening, **NOW)
    reports.listen_to_answers(widgets.board, widgets.note, session)
    flag_panel(parts, session, widgets.board, widgets.note, variants, view.redrawn)
    return variants, widgets.composer.follow
