"""Flags: kept, found and counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Row, Select, func, not_, or_, select
from sqlalchemy.orm import Session

from rarl.errors import ReviewError
from rarl.records import CaseSnapshot, Flag, FlagDraft, FlagFilter, Region, storable
from rarl.review._queue_index import is_current, is_dismissed, refresh
from rarl.review._tables import AnswerRow, CaseRow, FlagRow, PictureRow
from rarl.review.privacy import Pseudonyms, Withdrawn
from rarl.review.repositories.base import check_replaced, columns_of, person_name
from rarl.review.repositories.cases import Cases
from rarl.review.roles import canonical_name

if TYPE_CHECKING:
    _Rows = Select[FlagRow, str, str | None, str, str]
    _Found = Row[FlagRow, str, str | None, str, str]

By = Literal["category", "arm", "modality", "severity", "reader"]


@dataclass(frozen=True, slots=True)
class Count:
    """How many flags share something. A count, not a rate: nobody knows what was not flagged.

    Attributes:
        values: one for each column that was asked for; None where the case does not say.
        flags: how many.
    """

    values: tuple[str | None, ...]
    flags: int


class Flags(Cases):
    """The flags of a store, on its cases."""

    def add_flag(
        self,
        case_id: str,
        arm: str,
        category: str,
        severity: str,
        comment: str = "",
        reader: str | None = None,
        **more: Any,
    ) -> Flag:
        """Make a flag and store it, see `FlagDraft` and `keep_flag`.

        Raises:
            ReviewError: something is missing, unknown or too long, or the database cannot be
                written.
        """
        draft = FlagDraft.checked(
            case_id=case_id,
            arm=arm,
            category=category,
            severity=severity,
            comment=comment,
            **{name: given for name, given in more.items() if name != "key" or given is not None},
        )
        return self.keep_flag(draft, reader)

    def keep_flag(self, draft: FlagDraft, reader: str | None = None) -> Flag:
        """Store a flag on one variant's answer in a stored case. When this returns, it is kept.

        Args:
            draft: what was sent; where its sentence begins is found if it does not say.
            reader: at most 200 characters; the person this store is for, where not given.

        Raises:
            ReviewError: something is unknown or does not fit the case, or the database cannot be
                written.
        """
        self.need("flag")
        for chosen, offered, what in (
            (draft.category, self.taxonomy.categories, "what is wrong with the answer"),
            (draft.severity, self.taxonomy.severities, "how much it would matter"),
        ):
            if chosen not in dict(offered):
                keys = ", ".join(key for key, _ in offered)
                raise ReviewError(f"Choose {what}: one of {keys}.")
        region = draft.region
        row = FlagRow(
            **draft.model_dump(exclude={"region"}),
            region=None if region is None else region.row(),
            created=datetime.now(UTC),
            reader=person_name(reader) or self.person,
        )
        with self.writing() as session:
            known = session.scalar(select(FlagRow).where(FlagRow.key == row.key))
            if known is None:
                answer = self.answer_in(session, draft.case_id, draft.arm)
                _place_sentence(row, answer.reasoning)
                check_region(session, draft.case_id, region)
                if draft.replaces is not None:
                    old = session.scalar(select(FlagRow).where(FlagRow.key == draft.replaces))
                    same = old is not None and (old.case_id, old.arm) == (row.case_id, row.arm)
                    whose = old.reader if old else None
                    check_replaced(session, FlagRow, draft.replaces, same, whose, row.reader)
                session.add(row)
                refresh(session, [row.case_id])
                self.note(session, "write", "flag", [row.case_id])
            elif (known.case_id, known.arm, known.reader) != (row.case_id, row.arm, row.reader):
                raise ReviewError("Another flag was sent under this key; send it under a new one.")
            stored = session.execute(_rows().where(FlagRow.key == row.key)).one()
            flag = as_flag(stored)
        return flag

    def flag(self, number: int) -> Flag:
        """One flag by its number.

        Raises:
            ReviewError: there is none, or the database cannot be read.
        """
        self.need("queue")
        with self.reading() as session:
            row = session.execute(_rows().where(FlagRow.id == number)).one_or_none()
            if row is None:
                raise ReviewError("There is no such flag; `review list` shows those there are.")
            self.note(session, "read", "flag", [row[0].case_id])
            return as_flag(row)

    def flags(
        self, chosen: FlagFilter | None = None, limit: int | None = None, offset: int = 0
    ) -> tuple[Flag, ...]:
        """The flags that pass the filter, newest first, without those corrected or dismissed.

        Args:
            chosen: all where not given.
            limit: at most so many; all where None.
            offset: how many of the newest to leave out.

        Raises:
            ReviewError: the database cannot be read.
        """
        self.need("queue")
        statement = filtered(_counted(_rows()), chosen or FlagFilter()).order_by(FlagRow.id.desc())
        with self.reading() as session:
            rows = session.execute(statement.limit(limit).offset(offset)).all()
            self.note(session, "list", "flag", [row[0].case_id for row in rows])
            return tuple(as_flag(row) for row in rows)

    def flags_of(self, case_id: str, corrected: bool = False) -> tuple[Flag, ...]:
        """All flags of one case, newest first, dismissed ones included.

        Args:
            case_id: the case.
            corrected: whether to include those that a later one replaces.

        Raises:
            ReviewError: the database cannot be read.
        """
        self.need("queue")
        statement = _rows() if corrected else _current(_rows())
        statement = statement.where(FlagRow.case_id == case_id).order_by(FlagRow.id.desc())
        with self.reading() as session:
            rows = session.execute(statement).all()
            self.note(session, "read", "flag", [case_id] if rows else [])
            return tuple(as_flag(row) for row in rows)

    def count(self, chosen: FlagFilter | None = None) -> int:
        """How many flags pass the filter, without those that were corrected or dismissed.

        Raises:
            ReviewError: the database cannot be read.
        """
        statement = filtered(_counted(_rows()), chosen or FlagFilter())
        inner = statement.with_only_columns(FlagRow.id).subquery()
        with self._database.reading() as session:
            return session.scalar(select(func.count()).select_from(inner)) or 0

    def counts(self, by: Sequence[By], chosen: FlagFilter | None = None) -> tuple[Count, ...]:
        """How many flags there are of each kind, most first, for charts; none that was dismissed.

        Args:
            by: one or more of category, arm, modality, severity and reader.
            chosen: all flags where not given.

        Raises:
            ReviewError: the database cannot be read.
        """
        self.need("queue")
        columns = {
            "category": FlagRow.category,
            "arm": FlagRow.arm,
            "modality": CaseRow.modality,
            "severity": FlagRow.severity,
            "reader": FlagRow.reader,
        }
        wanted = [columns[name] for name in by]
        statement = filtered(_counted(_rows()), chosen or FlagFilter())
        grouped = statement.with_only_columns(*wanted, func.count()).group_by(*wanted)
        with self._database.reading() as session:
            counted = [
                Count(tuple(row)[:-1], int(tuple(row)[-1])) for row in session.execute(grouped)
            ]
        return tuple(
            sorted(counted, key=lambda count: (-count.flags, [v or "" for v in count.values]))
        )

    def flagged(
        self, chosen: FlagFilter | None = None, names: bool = False
    ) -> Iterator[tuple[Flag, CaseSnapshot]]:
        """Flags that pass the filter with their cases, oldest first, one case in memory at a time.

        Oldest first, so that today's export begins with yesterday's. Those that were corrected or
        dismissed, and those of readers who have withdrawn, are left out.

        Args:
            chosen: all flags where not given.
            names: whether readers keep their names; otherwise they are pseudonyms.

        Raises:
            ReviewError: the database cannot be read.
        """
        self.need("export")
        statement = filtered(_counted(_rows()), chosen or FlagFilter())
        numbers_only = statement.with_only_columns(FlagRow.id).order_by(FlagRow.id)
        with self._database.reading() as session:
            numbers = session.scalars(numbers_only).all()
            withdrawn, pseudonyms = Withdrawn.of(session), Pseudonyms.of(session)
        case: CaseSnapshot | None = None
        for number in numbers:
            flag = self.flag(number)
            if withdrawn.holds(flag.reader):
                continue
            if not names:
                flag = flag.model_copy(update={"reader": pseudonyms.of_name(flag.reader)})
            if case is None or case.id != flag.case_id:
                case = self.case(flag.case_id)
            yield flag, case


def filtered(statement: _Rows, chosen: FlagFilter) -> _Rows:
    """The statement with the filter's conditions; it joins flags, answers and cases."""
    for column, value in (
        (FlagRow.arm, chosen.arm),
        (FlagRow.category, chosen.category),
        (FlagRow.severity, chosen.severity),
        (CaseRow.modality, chosen.modality),
        (FlagRow.reader, canonical_name(chosen.reader)),
    ):
        if value:
            statement = statement.where(column == value)
    if chosen.since is not None:
        statement = statement.where(FlagRow.created >= chosen.since)
    if chosen.until is not None:
        statement = statement.where(FlagRow.created < chosen.until)
    text = storable(chosen.text).strip()
    if text:
        searched = (FlagRow.comment, CaseRow.question, AnswerRow.reasoning, AnswerRow.answer)
        statement = statement.where(
            or_(*(column.icontains(text, autoescape=True) for column in searched))
        )
    return statement


def current_flags() -> _Rows:
    """Flags that no later one replaces, with what they show of their case."""
    return _current(_rows())


def counted_flags() -> _Rows:
    """Those of `current_flags` that nobody has dismissed."""
    return _counted(_rows())


def _place_sentence(row: FlagRow, reasoning: str) -> None:
    """Check the marked sentence against the reasoning, and find where it begins."""
    if not row.sentence:
        row.sentence_start = None
        return
    start = row.sentence_start
    if start is None:
        start = reasoning.find(row.sentence)
    if start < 0 or reasoning[start : start + len(row.sentence)] != row.sentence:
        raise ReviewError("The marked words are not in the reasoning; mark them again.")
    row.sentence_start = start


def check_region(session: Session, case_id: str, region: Region | None) -> None:
    """Let a place pass that lies on a picture of the case, or none.

    Raises:
        ReviewError: it does not.
    """
    if region is None:
        return
    picture = session.get(PictureRow, (case_id, region.picture))
    left, top, right, bottom = region.box
    if picture is None or not (
        0 <= left < right <= picture.width and 0 <= top < bottom <= picture.height
    ):
        raise ReviewError("The marked region is not on the picture; draw it again.")


def _rows() -> _Rows:
    """Flags with what they show of their case."""
    return (
        select(FlagRow, AnswerRow.label, CaseRow.modality, CaseRow.question, AnswerRow.answer)
        .join(CaseRow, CaseRow.id == FlagRow.case_id)
        .join(AnswerRow, (AnswerRow.case_id == FlagRow.case_id) & (AnswerRow.arm == FlagRow.arm))
    )


def _current(statement: _Rows) -> _Rows:
    return statement.where(is_current(FlagRow))


def _counted(statement: _Rows) -> _Rows:
    return _current(statement).where(not_(is_dismissed()))


def as_flag(flag_row: _Found) -> Flag:
    """A row of `current_flags`, for the other modules of this package."""
    row, label, modality, question, answer = flag_row
    region = None if row.region is None else Region.of_row(row.region)
    of_case = {"label": label, "modality": modality, "question": question, "answer": answer}
    return Flag(**{**columns_of(row), **of_case, "region": region})
