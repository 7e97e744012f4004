"""What the report page does to a report: one change at a time, each stored as a version.

The page sends the report's id, the version that it shows and the change, so that neither a reload
nor a restart of the server makes a difference. A change that is sent twice is stored once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from demo.services.flagging import Desk, Who
from demo.services.identity import doubts, keep
from demo.session import Session
from rarl.errors import ReviewError
from rarl.records import CaseSnapshot, Measurement, Report, Sentence
from rarl.reports import (
    ReportConflict,
    Reports,
    measurement_sentence,
    templates,
    with_deleted,
    with_inserted,
    with_kept,
    with_known,
    with_measurement,
    with_sentence,
    with_template,
    with_text,
)

Action = Literal[
    "write", "keep", "keep-section", "delete", "restore", "measure", "template", "sign", "amend"
]
_OUT_OF_STEP = "This page is out of step with the app; reload it."
_NOTHING_TO_RESTORE = "There is nothing to restore; reload the page to see the report as it is."


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a reader does.

    Attributes:
        action: what.
        report: id of the report.
        version: that the page shows.
        key: of the sentence, section, measurement or template.
        section: of a sentence that is new.
        text: that was typed.
        checked: whether the reader has looked for names in it.
    """

    action: Action
    report: str
    version: int
    key: str = ""
    section: str = ""
    text: str = ""
    checked: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Change:
        """A change as the page sends it.

        Raises:
            ReviewError: it is none.
        """
        action = next((one for one in get_args(Action) if one == given.get("do")), None)
        version = str(given.get("version", ""))
        texts = {name: given.get(name, "") for name in ("report", "key", "section", "text")}
        typed = all(isinstance(text, str) for text in texts.values())
        if action is None or not typed or not version.isdecimal() or len(version) > 9:
            raise ReviewError(_OUT_OF_STEP)
        return cls(action, version=int(version), checked=given.get("checked") is True, **texts)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change.

    Attributes:
        report: to be shown from now on.
        sentence: what the reader is told, or "".
        told: whether somebody else's work stood in the way.
        other: id of the report that the reader's was parted from, or "".
        undo: key of a sentence that was just deleted, or "".
    """

    report: Report
    sentence: str = ""
    told: bool = False
    other: str = ""
    undo: str = ""


class DoubtError(ReviewError):
    """What was typed may name a person; the reader is asked before it is stored.

    Attributes:
        sentences: what was found.
    """

    def __init__(self, sentences: tuple[str, ...]) -> None:
        super().__init__(" ".join(sentences))
        self.sentences = sentences


class ReportEditing:
    """Reports for the page.

    Args:
        desk: the review store.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def reports(self, who: Who) -> Reports:
        """The reports, with the rights of whoever asks.

        Raises:
            ReviewError: the person may not, or the store cannot be opened.
        """
        store = self._desk.for_request(who)
        store.need("report")
        return Reports(store)

    def case(self, who: Who, case_id: str) -> CaseSnapshot:
        """A case with its pictures.

        Raises:
            ReviewError: there is none, or the person may not.
        """
        return self._desk.for_request(who).case(case_id)

    def begun(
        self,
        who: Who,
        case_id: str,
        arm: str,
        measurements: tuple[Measurement, ...] = (),
        another: bool = False,
    ) -> Report:
        """The report on a case from a variant's answer: the one at hand, or a new one.

        Args:
            who: asks.
            case_id: the case.
            arm: whose answer prefills it.
            measurements: taken since the case was kept.
            another: whether a new one is begun though there is one.

        Raises:
            ReviewError: there is no such case or answer, or as for `reports`.
        """
        reports = self.reports(who)
        known = () if another else reports.of_case(case_id)
        mine = [one for one in known if one.arm == arm]
        # A draft goes on; where there is none, the signed one says that it can be amended.
        report = next((one for one in mine if not one.signed), next(iter(mine), None))
        if report is None:
            report = reports.begin(case_id, arm=arm)
        if report.signed:
            return report
        return reports.save(with_known(report, measurements))

    def change(self, who: Who, change: Change, session: Session) -> Outcome:
        """Make a change and store it.

        Args:
            who: makes it.
            change: what.
            session: of the page: what a reader keeps once is not asked again.

        Raises:
            DoubtError: what was typed may name a person.
            ReviewError: it cannot be made, or as for `Reports.save`.
        """
        reports = self.reports(who)
        if change.action == "amend":
            return self._amended(reports, change)
        if change.action == "write":
            _check_words(change, session)
        newest = reports.report(change.report)
        signs = change.action == "sign"
        if newest.version != change.version:
            person = self._desk.person(who).name
            if signs and newest.signed and newest.reader == person:
                return Outcome(newest)
            if not signs and _is_made(reports, newest, change):
                return Outcome(newest)  # the reply to the first try was lost
            base = reports.report(change.report, change.version)
        else:
            base = newest
        changed = base if signs else _edited(reports, base, change)
        try:
            stored = reports.sign(changed) if signs else reports.save(changed)
        except ReportConflict as conflict:
            return self._refused(who, conflict.newest, changed, change)
        return Outcome(stored, undo=change.key if change.action == "delete" else "")

    def _amended(self, reports: Reports, change: Change) -> Outcome:
        signed = reports.report(change.report)
        known = [one for one in reports.of_case(signed.case_id) if one.amends == signed.id]
        draft = next((one for one in known if not one.signed), None)
        return Outcome(draft or reports.amend(signed.id))

    def _refused(self, who: Who, newest: Report, changed: Report, change: Change) -> Outcome:
        """Somebody was quicker: what was typed is kept as a copy, a click is asked for again."""
        name = newest.reader or "Somebody else"
        if newest.reader == self._desk.person(who).name:
            name = "You have another page open, which"
        did = "signed" if newest.signed else "saved"
        if change.action != "write":
            again = "" if newest.signed else " Do it again if it still holds."
            sentence = f"{name} {did} this report meanwhile. It is shown as it is now.{again}"
            return Outcome(newest, sentence, told=True)
        sentence = (
            f"{name} {did} this report while you wrote. Your text is kept in a copy of your own, "
            "which is open here."
        )
        copy = self.reports(who).copy(changed)
        return Outcome(copy, sentence, told=True, other=newest.id)


def _check_words(change: Change, session: Session) -> None:
    if change.checked:
        session.doubted = change.text
        keep(session)
    elif change.text not in session.kept and (sentences := doubts(change.text, session)):
        raise DoubtError(sentences)


def _is_made(reports: Reports, newest: Report, change: Change) -> bool:
    """Whether a change has been made already."""
    try:
        return _edited(reports, newest, change).content() == newest.content()
    except ReviewError:
        return False


def _edited(reports: Reports, report: Report, change: Change) -> Report:
    """The report with a change made."""
    match change.action:
        case "write":
            known = {sentence.key for sentence in report.sentences()}
            if change.key in known:
                return with_text(report, change.key, change.text)
            return with_inserted(report, change.section, change.text, key=change.key)
        case "keep":
            return with_kept(report, change.key)
        case "keep-section":
            section = next((one for one in report.sections if one.key == change.key), None)
            if section is None:
                raise ReviewError("The report has no such section; load it again.")
            for sentence in section.sentences:
                if sentence.state == "proposed":
                    report = with_kept(report, sentence.key)
            return report
        case "delete":
            return with_deleted(report, change.key)
        case "restore":
            return with_sentence(report, _before_deletion(reports, report, change.key))
        case "measure":
            return _with_measurement(report, change.key)
        case "template":
            return with_template(report, change.key)
    raise ReviewError(_OUT_OF_STEP)


def _before_deletion(reports: Reports, report: Report, key: str) -> Sentence:
    """A deleted sentence as it was last; one that stands stays as it is.

    A proposed one is a proposal again: nobody has decided to keep it.
    """
    for version in (report, *reversed(reports.versions(report.id))):
        for sentence in version.sentences():
            if sentence.key == key and sentence.state != "deleted":
                return sentence
    raise ReviewError(_NOTHING_TO_RESTORE)


def _with_measurement(report: Report, key: str) -> Report:
    """The report with a sentence on a measurement, unless there is one."""
    measurement = next((one for one in report.measurements if one.key == key), None)
    if measurement is None:
        raise ReviewError("The report has no such measurement; load it again.")
    if measurement in report.stated():
        return report
    known = templates().get(report.template)
    if known is not None:
        section = known.section_for("findings", measurement_sentence(measurement)).key
        if section in {part.key for part in report.sections}:
            return with_measurement(report, section, measurement)
    parts = [part.key for part in report.sections if part.heading == "findings"]
    if not parts:
        raise ReviewError("The report has no section for findings; choose another template.")
    return with_measurement(report, parts[-1], measurement)
