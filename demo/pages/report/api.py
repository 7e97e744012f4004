"""The report API: `report` and `report_save` over Gradio's API.

Their descriptions, which clients show, are the docstrings below. No `annotations` import here:
Gradio reads the types themselves.
"""

from typing import Any, Literal

import gradio as gr
from gradio.events import api

from demo.api import guarded
from demo.services.reporting import ReportService

Form = Literal["json", "text", "pdf", "sr", "gsps", "fhir"]


def add_report_api(service: ReportService) -> None:
    """Add the endpoints to the page that is being built; each asks for its right."""

    def report(
        request: gr.Request,
        case: str,
        form: Form = "json",
        report: str = "",
        template: str = "",
        arm: str = "",
    ) -> dict[str, Any]:
        """Read the report on a case, or begin one from a model's answer. Takes a reader.

        Args:
            request: who asks; Gradio fills it in.
            case: its id, as `flag` and `review_list` give it, or the `exchange` that `ask` gave.
            form: "json"; for a file "text", "pdf", "sr" (DICOM SR), "gsps" (DICOM presentation
                state of what was measured) or "fhir" (R4 bundle).
            report: its id; "" for the newest on the case.
            template: its name begins a new report from that template; "" for none.
            arm: this variant's answer begins a new report; "" for none.

        Returns:
            `report`: its `sections` of `sentences`, each with `origin` (ai, header, reader),
            `state` (proposed, kept, edited, deleted), `text` and `proposed`, the text that the
            model wrote; `version`, `signed`, `reader` and `created`. With another form than json
            `address`, from the app's own, that gives the file once, within ten minutes.
        """
        return guarded(lambda: service.report(request, case, form, report, template, arm))

    def report_save(
        request: gr.Request,
        report: dict[str, Any],
        sign: bool = False,
        copy: bool = False,
        checked: bool = False,
    ) -> dict[str, Any]:
        """Store a changed report as its next version, and sign it if wanted. Takes a reader.

        Args:
            request: who saves; Gradio fills it in.
            report: whole, as `report` gave it, with changes; deleted sentences stay in it.
            sign: True signs it: every proposed sentence must be kept, edited or deleted before.
            copy: True stores it as a report of its own, as after a conflict.
            checked: True says that no word of it names a person.

        Returns:
            `report` as it is stored now. Where somebody else saved it first, nothing is stored:
            `conflict` says so in a sentence, and `report` is theirs.
        """
        return guarded(lambda: service.save(request, report, sign, copy, checked))

    for endpoint in (report, report_save):
        api(endpoint, api_name=endpoint.__name__)
