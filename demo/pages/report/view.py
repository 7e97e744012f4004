"""What the report page shows, as updates of its widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from demo.authentication import Person
from demo.context import Update
from demo.pages.report.layout import ReportWidgets
from demo.pages.review.common import stage, when
from demo.pages.review.queue_html import plain_question
from demo.templating import render_template
from rarl.records import CaseSnapshot, Report, Section, Sentence
from rarl.records.report import SENTENCE_LIMIT
from rarl.reports import Reports, measurement_sentence, templates
from rarl.settings import read_settings

FORMS = (
    ("text", "Text"),
    ("pdf", "PDF"),
    ("sr", "DICOM SR"),
    ("gsps", "DICOM drawings"),
    ("fhir", "FHIR"),
)
"""Files that a report can be saved as, with the words on their buttons."""

_ORIGINS = {"ai": "Written by AI", "header": "From the file", "reader": "Reader"}
_STATES = {"proposed": "undecided", "kept": "kept", "edited": "edited", "deleted": "deleted"}


@dataclass(frozen=True, slots=True)
class ReportView:
    """Draws a report.

    Attributes:
        widgets: of the page.
    """

    widgets: ReportWidgets

    def page(self, reports: Reports, case: CaseSnapshot, report: Report, serial: str) -> Update:
        """The whole page.

        Args:
            reports: with the rights of whoever looks.
            case: of the report.
            report: to show.
            serial: number of the change that this answers, as the page sent it.
        """
        return {self.widgets.scan: scan(case), **self.report(reports, report, serial)}

    def report(self, reports: Reports, report: Report, serial: str) -> Update:
        """The text and the measurements of a report."""
        others = [one for one in reports.of_case(report.case_id) if one.id != report.id]
        return {
            self.widgets.measures: measures(report),
            self.widgets.text: text(report, others, serial),
        }

    def listing(self, reports: Reports, serial: str) -> Update:
        """The reports that were changed last."""
        rows = [
            {
                "report": report,
                "question": plain_question(question),
                "standing": standing(report),
                "undecided": len(report.undecided()),
            }
            for report, question in reports.recent()
        ]
        return {
            self.widgets.scan: "",
            self.widgets.measures: "",
            self.widgets.text: render_template("report/list.html", rows=rows, serial=serial),
        }

    def closed(self, person: Person, serial: str) -> Update:
        """What somebody sees who may not write reports."""
        page = render_template("report/closed.html", name=person.name, serial=serial)
        return {self.widgets.scan: "", self.widgets.measures: "", self.widgets.text: page}

    def note(self, serial: str, result: str, body: str = "") -> Update:
        """What became of a change.

        Args:
            serial: number of the change, as the page sent it.
            result: "done" where the report is drawn anew; "same" where it is as it was; "doubt"
                where a reader is asked about what was typed.
            body: HTML.
        """
        page = render_template("report/note.html", serial=serial, result=result, body=body)
        return {self.widgets.note: page}


def scan(case: CaseSnapshot) -> Markup:
    """The pictures of a case with the question that was asked about them."""
    words = [case.modality or "", case.attributes.get("BodyPartExamined", "").capitalize()]
    words.append(f"asked {when(case.created)}")
    return render_template(
        "report/scan.html",
        pictures=[stage(picture, number, ()) for number, picture in enumerate(case.pictures)],
        question=plain_question(case.question),
        facts=[word for word in words if word],
        answers=case.answers,
    )


def measures(report: Report) -> Markup:
    """What was measured on the pictures of a case, with whether the report states it."""
    stated = {one.key for one in report.stated()}
    rows = [
        {"key": one.key, "words": measurement_sentence(one), "stated": one.key in stated}
        for one in report.measurements
    ]
    return render_template("report/measures.html", rows=rows, signed=report.signed)


def text(report: Report, others: Sequence[Report], serial: str) -> Markup:
    """The report with all that can be done with it.

    Args:
        report: to show.
        others: the other reports on its case.
        serial: number of the change that this answers.
    """
    settings = read_settings()
    undecided = len(report.undecided())
    return render_template(
        "report/text.html",
        report=report,
        serial=serial,
        standing=standing(report),
        sections=[_section(section) for section in report.sections],
        undecided=undecided,
        total=len(report.sentences()),
        why_not=_why_not(report, undecided),
        templates=[(name, one.title) for name, one in templates().items()],
        others=[(one, standing(one)) for one in others],
        # Without a drawing that the report states there is nothing to draw.
        forms=[form for form in FORMS if form[0] != "gsps" or report.stated()],
        servers=[
            (where, words)
            for where, words, is_set in (
                ("pacs", "Send to the PACS", settings.dicomweb),
                ("fhir", "Send to the FHIR server", settings.fhir_server),
            )
            if is_set
        ],
        limit=SENTENCE_LIMIT,
    )


def standing(report: Report) -> str:
    """Whether a report is a draft, and who stored it last."""
    who = f" by {report.reader}" if report.reader else ""
    if report.signed:
        return f"Signed{who}, {when(report.created)}"
    kind = "Amendment, not signed" if report.amends else "Draft"
    return f"{kind}, saved{who} at {when(report.created)}"


def _why_not(report: Report, undecided: int) -> str:
    """Why a report cannot be signed, or ""."""
    if undecided:
        what = "1 sentence is" if undecided == 1 else f"{undecided} sentences are"
        return f"{what} undecided: keep, edit or delete each, then sign."
    if not any(section.standing() for section in report.sections):
        return "The report has no sentence; write one, then sign."
    return ""


def _section(section: Section) -> dict[str, Any]:
    return {
        "key": section.key,
        "title": section.title,
        "stands": bool(section.standing()),
        "undecided": sum(one.state == "proposed" for one in section.sentences),
        "sentences": [
            {
                "key": one.key,
                "text": one.text,
                "state": one.state,
                "origin": one.origin,
                "mark": _mark(one),
                "was": one.proposed if one.state == "edited" else "",
                "who": _ORIGINS[one.origin],
            }
            for one in section.sentences
        ],
    }


def _mark(sentence: Sentence) -> str:
    """Who wrote a sentence, and what was decided on it, in a few words."""
    if sentence.origin == "reader" and sentence.state == "kept":
        return "Measured" if sentence.measurement else _ORIGINS["reader"]
    return f"{_ORIGINS[sentence.origin]}, {_STATES[sentence.state]}"
