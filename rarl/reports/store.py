"""Reports in the review store. Each save is a new version, and an earlier one is never changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from rarl.errors import ReviewError
from rarl.records import Report, ReportContent, storable
from rarl.records.report import Sentence
from rarl.reports.prefill import prefilled
from rarl.review._tables import CaseRow, ReportRow
from rarl.review.repositories.base import columns_of
from rarl.review.store import ReviewStore

_NONE = "There is no such report; begin one on the case."
_SIGNED = "This report is signed and stays as it is; amend it to correct something."


class ReportConflict(ReviewError):  # noqa: N818 - nothing is broken
    """Somebody saved the report first. What was refused is the caller's still, and may be copied.

    Attributes:
        newest: the version that holds.
    """

    def __init__(self, newest: Report) -> None:
        who = newest.reader or "Somebody else"
        what = "signed" if newest.signed else "saved"
        super().__init__(
            f"{who} {what} this report while you wrote (version {newest.version}), so yours was "
            "not saved over it; save yours as a copy, or load theirs."
        )
        self.newest = newest


class Reports:
    """The reports of a store.

    Args:
        store: with the person whose work this is.
    """

    def __init__(self, store: ReviewStore) -> None:
        self._store = store

    def begin(self, case_id: str, template: str = "", arm: str = "") -> Report:
        """Store a first version, prefilled from an answer: see `prefilled`.

        Args:
            case_id: the case.
            template: its name; chosen by modality and body part where "".
            arm: whose answer; the last one where "".

        Raises:
            ReviewError: there is no such case, template or answer, the person may not, or the
                database cannot be written.
        """
        self._store.need("report")
        content = prefilled(self._store.case(case_id), template, arm)
        return self._begun(case_id, content)

    def of_case(self, case_id: str) -> tuple[Report, ...]:
        """The newest version of each report on a case, begun last first.

        Raises:
            ReviewError: the person may not, a report is damaged, or the database cannot be read.
        """
        self._store.need("report")
        newest = (
            select(func.max(ReportRow.id))
            .where(ReportRow.case_id == case_id)
            .group_by(ReportRow.report_id)
        )
        first = (
            select(ReportRow.report_id, func.min(ReportRow.id).label("first"))
            .where(ReportRow.case_id == case_id)
            .group_by(ReportRow.report_id)
            .subquery()
        )
        statement = (
            select(ReportRow)
            .join(first, first.c.report_id == ReportRow.report_id)
            .where(ReportRow.id.in_(newest))
            .order_by(first.c.first.desc())
        )
        with self._store.reading() as session:
            rows = session.scalars(statement).all()
            self._store.note(session, "read", "report", [case_id] if rows else [])
            return tuple(_report(row) for row in rows)

    def recent(self, most: int = 30) -> tuple[tuple[Report, str], ...]:
        """The newest version of the reports that were changed last, newest first.

        Args:
            most: how many.

        Returns:
            Each with the question of its case.

        Raises:
            ReviewError: the person may not, a report is damaged, or the database cannot be read.
        """
        self._store.need("report")
        newest = select(func.max(ReportRow.id)).group_by(ReportRow.report_id)
        statement = (
            select(ReportRow, CaseRow.question)
            .join(CaseRow, CaseRow.id == ReportRow.case_id)
            .where(ReportRow.id.in_(newest))
            .order_by(ReportRow.id.desc())
            .limit(most)
        )
        with self._store.reading() as session:
            rows = session.execute(statement).all()
            self._store.note(session, "read", "report", [row.case_id for row, _ in rows])
            return tuple((_report(row), str(question)) for row, question in rows)

    def report(self, report_id: str, version: int = 0) -> Report:
        """A report.

        Args:
            report_id: which.
            version: which one; 0 for the newest.

        Raises:
            ReviewError: there is none, the person may not, it is damaged, or the database cannot be
                read.
        """
        return self._versions(report_id, version)[-1]

    def versions(self, report_id: str) -> tuple[Report, ...]:
        """All versions of a report, oldest first: what was changed, by whom and when.

        Raises:
            ReviewError: as for `report`.
        """
        return self._versions(report_id)

    def save(self, report: Report) -> Report:
        """Store what has been changed, as the next version.

        Args:
            report: as it was loaded, with changes; its version is the one that it changes.

        Returns:
            The new version; the stored one where nothing was changed.

        Raises:
            ReportConflict: somebody else has saved or signed since.
            ReviewError: there is no such report, it is signed, a proposed text is missing or
                changed, the person may not, or the database cannot be written.
        """
        return self._next(report, signed=False)

    def copy(self, report: Report) -> Report:
        """Store a report as a new one beside it, so that nothing of a refused save is lost.

        Raises:
            ReviewError: there is no such report, or as for `save`.
        """
        self._store.need("report")
        stored = self.report(report.id)
        _check_proposals(stored, report)
        return self._begun(stored.case_id, report.content(), stored.amends)

    def sign(self, report: Report) -> Report:
        """Store what has been changed and sign it; from now on the report stays as it is.

        Raises:
            ReportConflict: somebody else has saved or signed since.
            ReviewError: a sentence is still proposed, nobody is named who could sign, or as for
                `save`.
        """
        return self._next(report, signed=True)

    def amend(self, report_id: str) -> Report:
        """Begin a report that corrects a signed one, with all that stands in it.

        Raises:
            ReviewError: there is no such report, it is not signed, the person may not, or the
                database cannot be written.
        """
        signed = self.report(report_id)
        if not signed.signed:
            raise ReviewError("Only a signed report is amended; change this one itself.")
        return self._begun(signed.case_id, signed.content(), signed.id)

    def _versions(self, report_id: str, version: int = 0) -> tuple[Report, ...]:
        self._store.need("report")
        statement = (
            select(ReportRow).where(ReportRow.report_id == report_id).order_by(ReportRow.version)
        )
        if version:
            statement = statement.where(ReportRow.version == version)
        with self._store.reading() as session:
            rows = session.scalars(statement).all()
            if not rows:
                raise ReviewError(_NONE)
            self._store.note(session, "read", "report", [rows[0].case_id])
            return tuple(_report(row) for row in rows)

    def _begun(self, case_id: str, content: ReportContent, amends: str | None = None) -> Report:
        self._store.need("report")
        with self._store.writing() as session:
            row = self._row(uuid4().hex, case_id, 1, content, amends=amends)
            session.add(row)
            session.flush()
            self._store.note(session, "write", "report", [case_id])
        return _report(row)

    def _next(self, report: Report, signed: bool) -> Report:
        self._store.need("report")
        if signed and self._store.person is None:
            raise ReviewError("Nobody is signed in, so nobody can sign; sign in and try again.")
        undecided = len(report.undecided())
        if signed and undecided:
            proposals = "1 sentence is" if undecided == 1 else f"{undecided} sentences are"
            raise ReviewError(
                f"{proposals} still as proposed; keep, edit or delete each before you sign."
            )
        with self._store.writing() as session:
            stored = _report(_newest(session, report.id))
            if stored.version == report.version + 1 and self._is_stored(stored, report, signed):
                return stored  # the reply to the first try was lost
            if stored.version != report.version:
                raise ReportConflict(stored)
            if stored.signed:
                raise ReviewError(_SIGNED)
            _check_proposals(stored, report)
            if not signed and stored.content() == report.content():
                return stored
            row = self._row(
                stored.id, stored.case_id, stored.version + 1, report.content(),
                signed=signed, amends=stored.amends,
            )  # fmt: skip
            session.add(row)
            try:
                session.flush()
            except IntegrityError:
                # Where writers do not queue (PostgreSQL), another was quicker.
                session.rollback()
                raise ReportConflict(_report(_newest(session, report.id))) from None
            self._store.note(session, "write", "report", [stored.case_id])
        return _report(row)

    def _is_stored(self, stored: Report, report: Report, signed: bool) -> bool:
        mine = (self._store.person, signed, report.content())
        return (stored.reader, stored.signed, stored.content()) == mine

    def _row(
        self,
        report_id: str,
        case_id: str,
        version: int,
        content: ReportContent,
        *,
        signed: bool = False,
        amends: str | None = None,
    ) -> ReportRow:
        return ReportRow(
            key=uuid4().hex,
            case_id=case_id,
            report_id=report_id,
            version=version,
            content=content.plain(),
            created=datetime.now(UTC),
            reader=self._store.person,
            signed=signed,
            amends=amends,
        )


def report_of(given: Any) -> Report:
    """A report as a browser or a program sends it, checked.

    Raises:
        ReviewError: it is no report; the sentence says which part cannot be taken.
    """
    if not isinstance(given, dict):
        raise ReviewError("A report is an object with sections; load it again and send it whole.")
    return Report.checked(**{storable(str(name)): value for name, value in given.items()})


def _newest(session: Session, report_id: str) -> ReportRow:
    statement = select(ReportRow).where(ReportRow.report_id == report_id)
    row = session.scalar(statement.order_by(ReportRow.version.desc()).limit(1))
    if row is None:
        raise ReviewError(_NONE)
    return row


def _report(row: ReportRow) -> Report:
    columns = columns_of(row)
    try:
        return Report(
            id=columns["report_id"],
            **{name: columns[name] for name in ("case_id", "version", "created", "reader",
                                                "signed", "amends")},
            **columns["content"],
        )  # fmt: skip
    except (ValidationError, TypeError):
        raise ReviewError(
            "This report is damaged in the review store; restore it from a copy."
        ) from None


def _check_proposals(stored: Report, sent: Report) -> None:
    """See that what was proposed is all there, unchanged, and that nothing is proposed anew.

    Raises:
        ReviewError: it is not.
    """
    if _proposals(stored) != _proposals(sent) or (stored.arm, stored.revision, stored.label) != (
        sent.arm, sent.revision, sent.label
    ):  # fmt: skip
        raise ReviewError(
            "What the model had proposed is missing or changed; load the report again and delete "
            "sentences instead of leaving them out."
        )


def _proposals(report: ReportContent) -> dict[str, tuple[str, str]]:
    proposed = [one for one in report.sentences() if _is_proposal(one)]
    return {sentence.key: (sentence.origin, sentence.proposed) for sentence in proposed}


def _is_proposal(sentence: Sentence) -> bool:
    return sentence.origin != "reader"
