"""Cases: kept, read, and deleted for good."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload, undefer

from rarl.errors import ReviewError
from rarl.records import (
    ArmAnswer,
    CaseSnapshot,
    Decoding,
    Measurement,
    Picture,
    Shown,
    Tombstone,
    cleaned,
    storable,
)
from rarl.review._queue_index import forget
from rarl.review._tables import (
    AdviceRow,
    AnswerRow,
    AssignmentRow,
    CaseRow,
    DismissalRow,
    FirstReadRow,
    FlagRow,
    MeasurementRow,
    PictureRow,
    ReportRow,
    ResponseRow,
    SampleRow,
    TaskRow,
    TombstoneRow,
    VerdictRow,
    VoteRow,
)
from rarl.review.repositories.base import Repository, columns_of

# Children before parents, since the database checks.
_OF_A_CASE = (
    ReportRow,
    ResponseRow,
    FirstReadRow,
    AdviceRow,
    MeasurementRow,
    SampleRow,
    TaskRow,
    AssignmentRow,
    VerdictRow,
    VoteRow,
    DismissalRow,
    FlagRow,
    AnswerRow,
    PictureRow,
)
# Key of the column `shown`; a table of its own would be one more to export.
_DRAWN = "measurements"
_DELETED = "This case was deleted for good on request; its answers can be asked for anew."


class Cases(Repository):
    """The cases of a store."""

    def add_case(self, case: CaseSnapshot) -> str:
        """Store a case; a case whose id is stored already is left as it is.

        Returns:
            The case's id.

        Raises:
            ReviewError: the case was deleted for good, or the database cannot be written.
        """
        self.need("flag")
        with self.writing() as session:
            if session.get(CaseRow, case.id) is not None:
                return case.id
            if session.get(TombstoneRow, case.id) is not None:
                raise ReviewError(_DELETED)
            session.add(_case_row(case, self._keep_pixels))
            try:
                session.flush()
                self.note(session, "write", "case", [case.id])
            except IntegrityError:
                # Where writers do not queue (PostgreSQL), another was quicker with this case.
                session.rollback()
                if session.get(CaseRow, case.id) is None:
                    raise
        return case.id

    def case(self, case_id: str) -> CaseSnapshot:
        """A stored case with its pixels.

        Raises:
            ReviewError: there is none, it was deleted, its pixels are damaged, or the database
                cannot be read.
        """
        self.need("queue")
        with self.reading() as session:
            row = session.get(
                CaseRow,
                case_id,
                options=[selectinload(CaseRow.pictures).options(undefer(PictureRow.png))],
            )
            if row is None:
                if session.get(TombstoneRow, case_id) is not None:
                    raise ReviewError(_DELETED)
                raise ReviewError("There is no such case; `review list` shows those with flags.")
            self.note(session, "read", "case", [case_id])
            case = _snapshot(row)
        for picture in case.pictures:
            png = picture.png
            if png is not None and hashlib.sha256(png).hexdigest() != picture.sha256:
                raise ReviewError(
                    "The picture of this case is damaged in the review store; "
                    "restore it from a copy."
                )
        return case

    def picture_hashes(self, case_ids: Iterable[str]) -> dict[str, str]:
        """SHA-256 of the first picture of each case: answers that share it are one cluster.

        Raises:
            ReviewError: the database cannot be read.
        """
        statement = select(PictureRow.case_id, PictureRow.sha256).where(
            PictureRow.position == 0, PictureRow.case_id.in_(list(case_ids))
        )
        with self._database.reading() as session:
            return {row[0]: row[1] for row in session.execute(statement)}

    def first_pictures(self, case_ids: Iterable[str]) -> dict[str, bytes]:
        """PNG of the first picture of each case whose pixels were kept, for a gallery.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self.need("queue")
        wanted = list(dict.fromkeys(case_ids))
        statement = select(PictureRow.case_id, PictureRow.png).where(
            PictureRow.position == 0, PictureRow.case_id.in_(wanted), PictureRow.png.is_not(None)
        )
        with self.reading() as session:
            png_by_case = {
                row[0]: row[1] for row in session.execute(statement) if row[1] is not None
            }
            self.note(session, "read", "case", png_by_case)
        return png_by_case

    def delete_case(self, case_id: str, reason: str) -> Tombstone:
        """Delete a case for good, with all that was said about it; its tombstone stays.

        Copies made before (exports, backups, what was trained on it) are the site's to deal with.

        Args:
            case_id: which.
            reason: such as "request under privacy law"; names no patient.

        Raises:
            ReviewError: there is no such case, no reason is given, the person may not, or the
                database cannot be written.
        """
        self.need("delete")
        reason = cleaned(reason, 400, "The reason")
        if not reason:
            raise ReviewError("Say why the case is deleted, without naming the patient.")
        with self.writing() as session:
            if session.get(CaseRow, case_id) is None:
                raise ReviewError("There is no such case; `review list` shows those with flags.")
            tombstone = TombstoneRow(
                case_id=case_id, created=datetime.now(UTC), person=self.person, reason=reason
            )
            session.add(tombstone)
            session.flush()
            forget(session, [case_id])
            for table in _OF_A_CASE:
                session.execute(delete(table).where(table.case_id == case_id))
            session.execute(delete(CaseRow).where(CaseRow.id == case_id))
            self.note(session, "delete", "case", [case_id])
        self._database.forget_deleted()
        return _tombstone(tombstone)

    def tombstones(self) -> tuple[Tombstone, ...]:
        """Of every case deleted for good, oldest first.

        Raises:
            ReviewError: the database cannot be read.
        """
        self.need("delete")
        with self.reading() as session:
            rows = session.scalars(select(TombstoneRow).order_by(TombstoneRow.created)).all()
        return tuple(_tombstone(row) for row in rows)

    def compared(self, case_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The arms of each case whose names were hidden, as its columns stood.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self.need("queue")
        statement = select(CaseRow.id, CaseRow.shown_order).where(
            CaseRow.id.in_(list(case_ids)), CaseRow.blind
        )
        with self.reading() as session:
            return {row[0]: tuple(row[1]) for row in session.execute(statement)}

    def answer_in(self, session: Session, case_id: str, arm: str) -> AnswerRow:
        """The answer that is spoken of, for the other modules of this package.

        Raises:
            ReviewError: there is none, or its case was deleted.
        """
        answer = session.get(AnswerRow, (case_id, arm))
        if answer is None:
            if session.get(TombstoneRow, case_id) is not None:
                raise ReviewError(_DELETED)
            raise ReviewError(
                "The answer that was flagged is not in the review store; "
                "ask the question again and flag the new answer."
            )
        return answer


def _tombstone(row: TombstoneRow) -> Tombstone:
    return Tombstone(**columns_of(row))


def _by_picture(
    looks: Sequence[Mapping[str, Any]], measurements: Sequence[Measurement]
) -> list[list[dict[str, Any]]]:
    """The measurements of each picture, as JSON; a region has those of its whole picture.

    Args:
        looks: how each picture was looked at.
        measurements: of all.
    """
    wholes = [position for position, shown in enumerate(looks) if shown.get("crop") is None] or [0]
    drawn: list[list[dict[str, Any]]] = [[] for _ in looks]
    for made in measurements:
        drawn[wholes[min(made.series, len(wholes) - 1)]].append(made.plain())
    return drawn


def _case_row(case: CaseSnapshot, keep_pixels: bool) -> CaseRow:
    looks = [asdict(picture.shown) for picture in case.pictures]
    return CaseRow(
        id=case.id,
        created=case.created,
        app_version=case.app_version,
        modality=case.modality or None,
        attributes=dict(case.attributes),
        question=storable(case.question),
        mode=case.mode,
        model=case.model,
        prompt_hash=case.prompt_hash,
        decoding=asdict(case.decoding),
        shown_order=list(case.shown_order),
        blind=case.blind,
        sampled=case.sampled,
        pictures=[
            PictureRow(
                position=position,
                name=picture.name,
                png=picture.png if keep_pixels else None,
                sha256=picture.sha256,
                width=picture.width,
                height=picture.height,
                shown={**asdict(picture.shown), _DRAWN: drawn},
            )
            for position, (picture, drawn) in enumerate(
                zip(case.pictures, _by_picture(looks, case.measurements), strict=True)
            )
        ],
        answers=[
            AnswerRow(
                position=position,
                arm=answer.arm,
                label=answer.label,
                revision=answer.revision,
                reasoning=storable(answer.reasoning),
                answer=storable(answer.answer),
                problems=list(answer.problems),
                text=storable(answer.text),
                tokens=answer.tokens,
                seconds=answer.seconds,
                stopped=answer.stopped,
                note=answer.note or None,
            )
            for position, answer in enumerate(case.answers)
        ],
    )


def _snapshot(row: CaseRow) -> CaseSnapshot:
    pictures = [
        Picture(
            png=picture.png,
            sha256=picture.sha256,
            width=picture.width,
            height=picture.height,
            name=picture.name,
            shown=Shown.of_row(picture.shown),
        )
        for picture in row.pictures
    ]
    answers = [
        ArmAnswer(
            **{name: getattr(answer, name) for name in ArmAnswer.model_fields if name != "note"},
            note=answer.note or "",
        )
        for answer in row.answers
    ]
    of_row = {**columns_of(row), "decoding": Decoding.of_row(row.decoding)}
    return CaseSnapshot(
        **of_row,
        pictures=tuple(pictures),
        answers=tuple(answers),
        measurements=tuple(
            Measurement(**made)
            for picture in row.pictures
            for made in picture.shown.get(_DRAWN, ())
        ),
    )
