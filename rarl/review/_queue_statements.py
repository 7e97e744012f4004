"""Statements that find the answers of a queue, for one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    SQLColumnExpression,
    Subquery,
    case,
    exists,
    func,
    not_,
    or_,
    select,
)

from rarl.records import FlagFilter, Status, storable
from rarl.records.queue import Order, QueueFilter
from rarl.review._queue_index import FLAGGED, is_current
from rarl.review._tables import AnswerRow, CaseRow, FlagRow, QueueItemRow, QueuePersonRow
from rarl.review.repositories.flags import current_flags, filtered
from rarl.review.roles import canonical_name

Position = SQLColumnExpression[int | None]
Listed = Select[str, str, str, int | None]
"""Case, arm, status and position of each answer."""

_BY_DISAGREEMENT: tuple[Status, ...] = (
    "differs",
    "one-reader",
    "new",
    "agreed",
    "adjudicated",
    "dismissed",
)


@dataclass(frozen=True, slots=True)
class QueueStatements:
    """The statements of one queue.

    Attributes:
        study_id: of an audit; None for the queue of flagged answers.
        person: who works with it, or None.
    """

    study_id: str | None
    person: str | None

    @property
    def name(self) -> str:
        """Of the queue in the index."""
        return self.study_id or FLAGGED

    def listed(self, chosen: QueueFilter) -> tuple[Listed, Position]:
        """The answers that pass the filter, with status and place, and the place to sort by."""
        item = QueueItemRow
        position: Position = item.position
        flags: Subquery | None = None
        if self.study_id is None and chosen.flags != FlagFilter():
            # The first flag that passes, which need not be the answer's first.
            passing = filtered(current_flags(), chosen.flags).with_only_columns(
                FlagRow.case_id, FlagRow.arm, func.min(FlagRow.id).label("position")
            )
            flags = passing.group_by(FlagRow.case_id, FlagRow.arm).subquery()
            position = flags.c.position
        statement = select(item.case_id, item.arm, item.status, position).where(
            item.queue == self.name, item.position.is_not(None)
        )
        if flags is not None:
            statement = statement.join(
                flags, (flags.c.case_id == item.case_id) & (flags.c.arm == item.arm)
            )
        if self.study_id is not None:
            statement = _about_an_audit(statement, chosen.flags)
        if chosen.status is not None:
            statement = statement.where(item.status == chosen.status)
        if chosen.reader:
            statement = statement.where(_given_to(canonical_name(chosen.reader)))
        if chosen.waiting:
            statement = statement.where(
                item.is_open,
                not_(self.judged()),
                or_(item.assigned == 0, self.given()),
            )
        return statement, position

    def judged(self) -> ColumnElement[bool]:
        """Whether this person has a current verdict on the answer."""
        return _has_part(self.person, QueuePersonRow.part != "assigned")

    def given(self) -> ColumnElement[bool]:
        """Whether the answer is given to this person."""
        return _given_to(self.person)


def sorted_by(
    order: Order, position: Position, severities: Sequence[str]
) -> tuple[SQLColumnExpression[Any], ...]:
    """The columns that an order sorts by; ties stand oldest first.

    Args:
        order: see `Order`.
        position: of the answers.
        severities: keys of the site's taxonomy, the gravest last.
    """
    usual = order_of(position)
    if order == "newest":
        return tuple(column.desc() for column in usual)
    if order == "severity":
        grades = {key: number for number, key in enumerate(severities)}
        gravest = (
            select(func.max(case(grades, value=FlagRow.severity, else_=-1)))
            .where(
                FlagRow.case_id == QueueItemRow.case_id,
                FlagRow.arm == QueueItemRow.arm,
                is_current(FlagRow),
            )
            .correlate(QueueItemRow)
            .scalar_subquery()
        )
        return func.coalesce(gravest, -1).desc(), *usual
    if order == "disagreement":
        ranks: dict[str, int] = {status: number for number, status in enumerate(_BY_DISAGREEMENT)}
        return case(ranks, value=QueueItemRow.status), *usual
    return usual


def order_of(position: Position) -> tuple[SQLColumnExpression[Any], ...]:
    """No two answers stand at the same place."""
    return position, QueueItemRow.case_id, QueueItemRow.arm


def _given_to(person: str | None) -> ColumnElement[bool]:
    return _has_part(person, QueuePersonRow.part == "assigned")


def _has_part(person: str | None, part: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(
        QueuePersonRow.case_id == QueueItemRow.case_id,
        QueuePersonRow.arm == QueueItemRow.arm,
        QueuePersonRow.queue == QueueItemRow.queue,
        QueuePersonRow.person == (person or ""),
        part,
    )


def _about_an_audit(statement: Listed, chosen: FlagFilter) -> Listed:
    """The filter's conditions on answer and case; nobody need have flagged."""
    words = storable(chosen.text).strip()
    if chosen.arm:
        statement = statement.where(QueueItemRow.arm == chosen.arm)
    if not words and not chosen.modality:
        return statement
    statement = statement.join(CaseRow, CaseRow.id == QueueItemRow.case_id).join(
        AnswerRow,
        (AnswerRow.case_id == QueueItemRow.case_id) & (AnswerRow.arm == QueueItemRow.arm),
    )
    if chosen.modality:
        statement = statement.where(CaseRow.modality == chosen.modality)
    if words:
        searched = (CaseRow.question, AnswerRow.reasoning, AnswerRow.answer)
        statement = statement.where(
            or_(*(column.icontains(words, autoescape=True) for column in searched))
        )
    return statement
