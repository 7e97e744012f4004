"""A report in each of its forms, as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rarl.errors import ReviewError
from rarl.records import CaseSnapshot, Report
from rarl.reports.store import Reports

FORMS: Mapping[str, str] = {
    "json": "report.json",
    "text": "report.txt",
    "pdf": "report.pdf",
    "sr": "report.dcm",
    "gsps": "drawings.dcm",
    "fhir": "report.fhir.json",
}
"""Each form's file name."""


def written_as(form: str, report: Report, case: CaseSnapshot) -> tuple[str, bytes]:
    """A report as a file.

    Args:
        form: one of `FORMS`.
        report: to write.
        case: that it is on.

    Returns:
        Its name and its content.

    Raises:
        ReviewError: there is no such form.
    """
    # Each loads a library of its own.
    if form == "json":
        return FORMS[form], json.dumps(report.plain(), ensure_ascii=False, indent=1).encode("utf-8")
    if form == "text":
        from rarl.reports.text import as_text

        return FORMS[form], as_text(report, case).encode("utf-8")
    if form == "pdf":
        from rarl.reports.text import as_pdf

        return FORMS[form], as_pdf(report, case)
    if form == "sr":
        from rarl.reports.dicom_sr import as_sr

        return FORMS[form], as_sr(report, case)
    if form == "gsps":
        from rarl.reports.dicom_gsps import as_presentation_state

        return FORMS[form], as_presentation_state(report, case)
    if form == "fhir":
        from rarl.reports.fhir import as_bundle

        return FORMS[form], as_bundle(report, case).encode("utf-8")
    raise ReviewError(f"There is no form of this name; choose one of {', '.join(FORMS)}.")


def chosen_report(
    reports: Reports, case_id: str, report_id: str = "", template: str = "", arm: str = ""
) -> Report:
    """The report that is meant: the one named, else the newest on the case, else a new one.

    Args:
        reports: of the store.
        case_id: the case.
        report_id: of the report; "" for the newest.
        template: of a new one; naming it, or a variant, begins a new one.
        arm: whose answer prefills a new one.

    Raises:
        ReviewError: there is no such case, report, template or answer, the person may not, or the
            database fails.
    """
    if report_id:
        report = reports.report(report_id)
        if report.case_id != case_id:
            raise ReviewError("This report is on another case; give the case that it is on.")
        return report
    known = () if template or arm else reports.of_case(case_id)
    return known[0] if known else reports.begin(case_id, template, arm)
