"""The Report page: the scan on the left, the report on the right."""

from __future__ import annotations

import gradio as gr

from demo.context import Parts
from demo.pages.report.events import ReportEvents
from demo.pages.report.layout import report_layout
from demo.pages.report.view import ReportView
from demo.services.report_editing import ReportEditing


def report_page(parts: Parts, session: gr.State) -> None:
    """Lay out the page and wire it; what a person may not do is refused by the store itself."""
    view = ReportView(report_layout())
    ReportEvents(parts, view, ReportEditing(parts.desk)).wire(session)
