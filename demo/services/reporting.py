"""Reports for the page, the programming interface and MCP, with the rights of whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from demo.context import Parts
from demo.services.ask import AskService
from demo.services.flagging import Who
from rarl.errors import QuestionError, RarlError
from rarl.records import Report
from rarl.reports import ReportConflict, Reports, report_of
from rarl.reports.forms import chosen_report, written_as
from rarl.scans import Identifiers, identity_in_text

CHECKED = "Look again and say that you have checked it, or take it out."


def doubts(report: Report, identifiers: Sequence[Identifiers] = ()) -> list[str]:
    """Sentences on what in the words of readers may name a person.

    Args:
        report: with what readers typed.
        identifiers: of the scans, where they are still open.
    """
    typed = [sentence.text for sentence in report.sentences() if sentence.origin == "reader" or
             sentence.state == "edited"]  # fmt: skip
    labels = [measurement.label for measurement in report.measurements]
    return list(identity_in_text("\n".join([report.title, *typed, *labels]), identifiers))


class ReportService:
    """Reports by their case, or by the exchange that `ask` has returned.

    Args:
        parts: of the app.
        exchanges: what was asked over the interface lately.
    """

    def __init__(self, parts: Parts, exchanges: AskService) -> None:
        self._parts = parts
        self._exchanges = exchanges

    def report(
        self,
        who: Who,
        case: str,
        form: str = "json",
        report: str = "",
        template: str = "",
        arm: str = "",
    ) -> dict[str, Any]:
        """A report, begun where the case has none, and where its file can be fetched.

        Args:
            who: asks.
            case: its id, or an exchange.
            form: of the file; "json" makes none.
            report: its id; "" for the newest on the case.
            template: begins a new one from it.
            arm: begins a new one from this variant's answer.

        Returns:
            `report`, and `address` of the file, which works once.

        Raises:
            ReviewError: there is no such case, report, template, answer or form, the person may
                not, or the store cannot be used.
        """
        store = self._parts.desk.for_request(who)
        store.need("report")
        case_id = case
        if case:
            try:
                kept = self._exchanges.exchanged(case)
            except RarlError:
                pass  # it is a stored case
            else:
                case_id = store.add_case(kept)
        chosen = chosen_report(Reports(store), case_id, report, template, arm)
        reply: dict[str, Any] = {"report": chosen.plain()}
        if form != "json":
            name, content = written_as(form, chosen, store.case(chosen.case_id))
            file = self._parts.downloads.room() / name
            file.write_bytes(content)
            reply["address"] = self._parts.downloads.address(file)
        return reply

    def save(
        self, who: Who, given: Any, sign: bool = False, copy: bool = False, checked: bool = False
    ) -> dict[str, Any]:
        """Store a changed report.

        Args:
            who: saves.
            given: the report, whole.
            sign: whether it is signed too.
            copy: whether it becomes a report of its own, beside the one it was loaded from.
            checked: whether somebody has looked for names in the words.

        Returns:
            `report`, as stored. Where somebody else was quicker, `conflict`, a sentence, and
            `report`, theirs.

        Raises:
            ReviewError: it is no report, or as for `Reports.save`.
            QuestionError: its words may name a person.
        """
        changed = report_of(given)
        warnings = [] if checked else doubts(changed)
        if warnings:
            raise QuestionError(f"{warnings[0]} {CHECKED}")
        reports = Reports(self._parts.desk.for_request(who))
        keep = reports.copy if copy else reports.sign if sign else reports.save
        try:
            return {"report": keep(changed).plain()}
        except ReportConflict as conflict:
            return {"report": conflict.newest.plain(), "conflict": str(conflict)}
