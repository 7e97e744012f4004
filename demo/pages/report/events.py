"""What happens on the report page: a report is opened, changed, signed, saved and sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.context import NOW, QUIET, Parts, Update
from demo.pages import render
from demo.pages.report.view import ReportView
from demo.pages.review.common import OUR_FAULT
from demo.services.asking import log_fault
from demo.services.report_editing import Change, DoubtError, ReportEditing
from demo.session import Session
from demo.templating import render_template
from rarl.errors import RarlError, ReviewError
from rarl.reports.forms import written_as
from rarl.review.roles import may
from rarl.settings import read_settings

_SENT = {
    "pacs": "The report was sent to the PACS.",
    "fhir": "The report was sent to the FHIR server.",
}


@dataclass(frozen=True, slots=True)
class ReportEvents:
    """The handlers.

    Attributes:
        parts: of the app.
        view: draws the page.
        editing: reads and changes reports.
    """

    parts: Parts
    view: ReportView
    editing: ReportEditing

    def wire(self, session: gr.State) -> None:
        """Listen to the page.

        Args:
            session: of the page.
        """
        widgets = self.view.widgets
        whole = widgets.whole
        # One change follows another's answer; what is sent again after a lost one must arrive.
        each: dict[str, Any] = {"trigger_mode": "multiple"}
        widgets.text.open(self.opened, None, whole, **each, **NOW)
        widgets.text.begin(self.begun, None, whole, **each, **NOW)
        widgets.text.revise(self.changed, session, whole, **each, **NOW)
        widgets.text.make(self.made, None, widgets.note, **each, **QUIET)
        widgets.text.send(self.sent, None, widgets.note, **each, **QUIET)

    def opened(self, event: gr.EventData, request: gr.Request) -> Update:
        """Show a report, or the list of reports where none is named."""
        given = _given(event)
        wanted = str(given.get("report") or "")
        person = self.parts.desk.person(request)
        if not may(person.role, "report"):
            return {**self.view.closed(person, _serial(given)), **self._note(given, "done")}

        def work() -> Update:
            reports = self.editing.reports(request)
            if not wanted:
                return {**self.view.listing(reports, _serial(given)), **self._note(given, "done")}
            report = reports.report(wanted)
            case = self.editing.case(request, report.case_id)
            shown = self.view.page(reports, case, report, _serial(given))
            return {**shown, **self._note(given, "done")}

        def instead(sentence: str) -> Update:
            shown = self.view.listing(self.editing.reports(request), _serial(given))
            return {**shown, **self._note(given, "done", render.sentence(sentence))}

        try:
            return self._guarded("open", given, work, instead)
        except RarlError as error:  # the store itself cannot be used
            return self._note(given, "same", render.sentence(str(error)))

    def begun(self, event: gr.EventData, request: gr.Request) -> Update:
        """Begin another report on the case that is open."""
        given = _given(event)

        def work() -> Update:
            reports = self.editing.reports(request)
            case_id = reports.report(str(given.get("report") or "")).case_id
            arm = str(given.get("key") or "")
            report = self.editing.begun(request, case_id, arm, another=True)
            case = self.editing.case(request, case_id)
            shown = self.view.page(reports, case, report, _serial(given))
            return {**shown, **self._note(given, "done")}

        return self._guarded("begin", given, work)

    def changed(self, event: gr.EventData, session: Session, request: gr.Request) -> Update:
        """Make a change, store it, and show the report as it is then."""
        given = _given(event)

        def work() -> Update:
            outcome = self.editing.change(request, Change.of(given), session)
            body = ""
            if outcome.sentence or outcome.undo:
                body = render_template("report/outcome.html", outcome=outcome)
            shown = self.view.report(self.editing.reports(request), outcome.report, _serial(given))
            return {**shown, **self._note(given, "done", body)}

        return self._guarded("change", given, work)

    def made(self, event: gr.EventData, request: gr.Request) -> Update:
        """Make a file of the report and hand it to the browser."""
        given = _given(event)

        def work() -> Update:
            report = self.editing.reports(request).report(str(given.get("report") or ""))
            form = str(given.get("key") or "")
            name, content = written_as(form, report, self.editing.case(request, report.case_id))
            file = self.parts.downloads.room() / name
            file.write_bytes(content)
            return self._note(given, "same", self.parts.downloads.offer(file))

        return self._guarded("report file", given, work)

    def sent(self, event: gr.EventData, request: gr.Request) -> Update:
        """Send the report to a server that the site has set."""
        given = _given(event)

        def work() -> Update:
            # Here, since it loads highdicom or fhir.resources.
            from rarl.reports.sending import send_to_fhir, send_to_pacs

            report = self.editing.reports(request).report(str(given.get("report") or ""))
            where = str(given.get("key") or "")
            if where not in _SENT:
                raise ReviewError("A report is sent to the PACS or to the FHIR server; choose one.")
            send = send_to_pacs if where == "pacs" else send_to_fhir
            send(report, self.editing.case(request, report.case_id), read_settings())
            return self._note(given, "same", render.sentence(_SENT[where], "done"))

        return self._guarded("report sent", given, work)

    def _guarded(
        self,
        where: str,
        given: Mapping[str, Any],
        work: Callable[[], Update],
        instead: Callable[[str], Update] | None = None,
    ) -> Update:
        """Do something for the page; what fails becomes a sentence on it.

        Args:
            where: for the log.
            given: what the page sent.
            work: what to do.
            instead: shows something else with the sentence; where None, nothing changes.
        """
        try:
            return work()
        except DoubtError as doubt:
            body = render_template("report/doubt.html", sentences=doubt.sentences)
            return self._note(given, "doubt", body)
        except RarlError as error:
            sentence = str(error)
        except Exception as error:
            log_fault(where, error)
            sentence = OUR_FAULT
        if instead is not None:
            return instead(sentence)
        return self._note(given, "same", render.sentence(sentence))

    def _note(self, given: Mapping[str, Any], result: str, body: str = "") -> Update:
        return self.view.note(_serial(given), result, body)


def _given(event: gr.EventData) -> Mapping[str, Any]:
    """What the page sent with an event."""
    names = ("serial", "do", "report", "version", "key", "section", "text", "checked")
    return {name: getattr(event, name) for name in names if hasattr(event, name)}


def _serial(given: Mapping[str, Any]) -> str:
    serial = str(given.get("serial") or "")
    return serial if serial.isdecimal() and len(serial) < 12 else "0"
