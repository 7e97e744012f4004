"""The widgets of the report page: the scan and what was measured on it, beside the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.pages.components import panel

# The names in quotes are what handlers listen to; `demo/static/js/report/main.js` sends them.
_ON_LOAD = """
pageModules.then(() => RarlReport.mount(trigger, ["open", "begin", "revise", "make", "send"]));
"""


@dataclass(frozen=True, slots=True)
class ReportWidgets:
    """All widgets of the page.

    Attributes:
        scan: the pictures of the case, and its question.
        measures: what was measured on them.
        note: what became of the last change; it ends the page's waiting for it.
        text: the report, or the list of reports. Its events are "open", "begin", "revise", "make"
            and "send".
    """

    scan: gr.HTML
    measures: gr.HTML
    note: gr.HTML
    text: gr.HTML

    @property
    def whole(self) -> list[Any]:
        """What `ReportView.page` fills."""
        return [self.scan, self.measures, self.text, self.note]


def report_layout() -> ReportWidgets:
    """Lay the page out; nothing is wired yet."""
    with gr.Row(elem_id="report-page"):
        with gr.Column(elem_id="report-scan-side"):
            scan = panel(elem_id="report-scan")
            measures = panel(elem_id="report-measures")
        with gr.Column(elem_id="report-text-side"):
            note = panel(elem_id="report-note")
            text = gr.HTML(
                "",
                html_template="${value}",
                js_on_load=_ON_LOAD,
                apply_default_css=False,
                elem_id="report-text",
            )
    return ReportWidgets(scan, measures, note, text)
