"""A report is begun from an answer on the Ask page, or from a case of the review queue."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import gradio as gr

from demo.context import QUIET, Parts, Update
from demo.pages import render
from demo.pages.components import panel
from demo.services.asking import log_fault
from demo.services.identity import doubts
from demo.services.report_editing import ReportEditing
from demo.session import Session
from demo.templating import render_template
from rarl.errors import RarlError, ReviewError
from rarl.records import Measurement

_NOT_BEGUN = "The report could not be begun because of an error in the app; press it again."


@dataclass(frozen=True, slots=True)
class ReportOpening:
    """Begins a report and leads the page to it.

    Attributes:
        parts: of the app.
        editing: begins reports.
        go: the address of the report, which the page's script follows.
    """

    parts: Parts
    editing: ReportEditing
    go: gr.HTML

    def listen_to_answers(self, board: gr.HTML, note: gr.HTML, session: gr.State) -> None:
        """Begin a report from an answer on the Ask page.

        Args:
            board: whose "report" event names the variant.
            note: where sentences stand.
            session: of the page.
        """

        def begun(event: gr.EventData, held: Session, request: gr.Request) -> Update:
            try:
                return {note: "", **self.from_session(held, _arm(event), request)}
            except RarlError as error:
                return {note: render.sentence(str(error))}
            except Exception as error:
                log_fault("report", error)
                return {note: render.sentence(_NOT_BEGUN)}

        board.report(begun, session, [note, self.go], **QUIET)

    def from_session(self, session: Session, arm: str, request: gr.Request) -> Update:
        """Store what was asked as a case, and begin a report from an answer to it.

        Args:
            session: of the page.
            arm: whose answer.
            request: who asks.

        Raises:
            ReviewError: the person may not, nothing was asked, or the store refuses.
        """
        self.editing.reports(request)  # nobody else's press stores a case
        if session.asked is None or session.stage or session.stop is not None:
            raise ReviewError("Wait for the whole answers, then write the report.")
        session.note_measurements()
        found = doubts("\n".join(one.label for one in session.asked.measurements), session)
        if found:
            raise ReviewError(f"{found[0]} Change the label of the measurement first.")
        case_id = self.parts.desk.keep(session, request)
        return self.from_case(request, case_id, arm, session.measured_on(case_id))

    def from_case(
        self,
        request: gr.Request,
        case_id: str,
        arm: str,
        measurements: tuple[Measurement, ...] = (),
    ) -> Update:
        """Begin a report from an answer of a stored case.

        Args:
            request: who asks.
            case_id: the case.
            arm: whose answer.
            measurements: taken since the case was kept.

        Raises:
            ReviewError: the person may not, or there is no such case or answer.
        """
        report = self.editing.begun(request, case_id, arm, measurements)
        address = render_template("report/go.html", report=report, turn=uuid4().hex)
        return {self.go: address}


def report_opening(parts: Parts) -> ReportOpening:
    """Lay out what leads to a report; nothing is wired yet."""
    return ReportOpening(parts, ReportEditing(parts.desk), panel(elem_id="report-go"))


def _arm(event: gr.EventData) -> str:
    return str(getattr(event, "arm", ""))
