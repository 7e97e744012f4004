"""The queue's index: how far the review of each answer is, and who has a part in it.

Both tables are derived from flags, dismissals, verdicts, assignments and tasks, which alone are
exported. Each change of those derives the rows of its cases anew in the same transaction, so that a
page of the queue reads a page of the index and not all verdicts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import ColumnElement, case, delete, func, insert, select
from sqlalchemy.orm import Session, aliased

from rarl.records import Status
from rarl.review._tables import (
    AssignmentRow,
    CaseRow,
    DismissalRow,
    FlagRow,
    QueueItemRow,
    QueuePersonRow,
    TaskRow,
    VerdictRow,
    VoteRow,
)

_T = TypeVar("_T")

READINGS = 2
FLAGGED = ""
"""Name of the queue of flagged answers; an audit's is its id."""

# Below SQLite's limit of values in one statement.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Score:
    """What the status of an answer depends on, of one verdict."""

    reader: str
    adjudicates: bool
    correctness: int
    explanation: int


@dataclass(slots=True)
class _Answer:
    """What is known of one answer in one queue."""

    position: int | None = None
    dismissed: bool = False
    scores: list[Score] = field(default_factory=list)
    # Person and part to seconds on task, in the order of the interface.
    parts: list[tuple[str, str, float | None]] = field(default_factory=list)


def status_of(scores: Sequence[Score]) -> Status:
    """How far the review of one answer is, from its current verdicts.

    Readers agree where both scales are the same.
    """
    if any(score.adjudicates for score in scores):
        return "adjudicated"
    # Of different people: an import may hold two of one person.
    if len({score.reader for score in scores}) < READINGS:
        return "one-reader" if scores else "new"
    distinct = {(score.correctness, score.explanation) for score in scores}
    return "agreed" if len(distinct) == 1 else "differs"


def batches(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Parts of a sequence, each short enough for one statement."""
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]


def is_current(
    row: type[FlagRow]
    | type[DismissalRow]
    | type[VoteRow]
    | type[VerdictRow]
    | type[AssignmentRow],
) -> ColumnElement[bool]:
    """The condition that no later row replaces this one."""
    later = aliased(row)
    return ~select(later.id).where(later.replaces == row.key).exists()


def is_dismissed() -> ColumnElement[bool]:
    """The condition that a flag is dismissed now."""
    row = DismissalRow
    latest = select(row.id).where(row.flag_key == FlagRow.key, row.given, is_current(row))
    return latest.exists()


def lock(session: Session, case_ids: Sequence[str]) -> None:
    """Let writers of the same cases wait for each other, so that each sees what the others wrote.

    SQLite has one writer anyway. Foreign keys to the case may be added meanwhile.
    """
    rows = select(CaseRow.id).where(CaseRow.id.in_(case_ids)).order_by(CaseRow.id)
    session.execute(rows.with_for_update(key_share=True))


def refresh(session: Session, case_ids: Iterable[str]) -> None:
    """Derive the index of these cases anew, within the transaction that changed them."""
    session.flush()
    for batch in batches(sorted(set(case_ids))):
        lock(session, batch)
        forget(session, batch)
        _derive(session, batch)


def rebuild(session: Session) -> None:
    """Derive the whole index anew."""
    refresh(session, session.scalars(select(CaseRow.id)).all())


def forget(session: Session, case_ids: Sequence[str]) -> None:
    """Take these cases out of the index."""
    for table in (QueuePersonRow, QueueItemRow):
        session.execute(delete(table).where(table.case_id.in_(case_ids)))


def _derive(session: Session, case_ids: Sequence[str]) -> None:
    known: defaultdict[tuple[str, str, str], _Answer] = defaultdict(_Answer)
    flags = (
        select(
            FlagRow.case_id,
            FlagRow.arm,
            func.min(FlagRow.id),
            func.min(case((is_dismissed(), 1), else_=0)),
        )
        .where(FlagRow.case_id.in_(case_ids), is_current(FlagRow))
        .group_by(FlagRow.case_id, FlagRow.arm)
    )
    for case_id, arm, first, dismissed in session.execute(flags):
        answer = known[FLAGGED, case_id, arm]
        answer.position, answer.dismissed = first, bool(dismissed)
    tasks = select(TaskRow.study_id, TaskRow.case_id, TaskRow.arm, TaskRow.reader, TaskRow.position)
    tasks = tasks.where(TaskRow.case_id.in_(case_ids)).order_by(TaskRow.reader)
    for study_id, case_id, arm, reader, position in session.execute(tasks):
        answer = known[study_id, case_id, arm]
        earlier = answer.position
        answer.position = position if earlier is None else min(earlier, position)
        answer.parts.append((reader, "assigned", None))
    assignments = select(
        AssignmentRow.study_id, AssignmentRow.case_id, AssignmentRow.arm, AssignmentRow.reader
    ).where(AssignmentRow.case_id.in_(case_ids), AssignmentRow.given, is_current(AssignmentRow))
    for queue, case_id, arm, reader in session.execute(assignments.order_by(AssignmentRow.id)):
        answer = known[queue or FLAGGED, case_id, arm]
        if (reader, "assigned", None) not in answer.parts:
            answer.parts.append((reader, "assigned", None))
    verdicts = select(
        VerdictRow.study_id, VerdictRow.case_id, VerdictRow.arm, VerdictRow.reader,
        VerdictRow.role, VerdictRow.correctness, VerdictRow.explanation, VerdictRow.seconds,
    ).where(VerdictRow.case_id.in_(case_ids), is_current(VerdictRow))  # fmt: skip
    for queue, case_id, arm, reader, role, correctness, explanation, seconds in session.execute(
        verdicts.order_by(VerdictRow.id)
    ):
        answer = known[queue or FLAGGED, case_id, arm]
        adjudicates = role == "adjudicator"
        answer.scores.append(Score(reader, adjudicates, correctness, explanation))
        answer.parts.append((reader, "adjudicator" if adjudicates else "reader", seconds))
    _insert(session, known)


def _insert(session: Session, known: dict[tuple[str, str, str], _Answer]) -> None:
    items, people = [], []
    for (queue, case_id, arm), answer in known.items():
        key = {"queue": queue, "case_id": case_id, "arm": arm}
        status = status_of(answer.scores)
        if answer.dismissed and status == "new":
            status = "dismissed"
        items.append(
            {
                **key,
                "position": answer.position,
                "status": status,
                "is_open": status in ("new", "one-reader"),
                "assigned": sum(part == "assigned" for _, part, _ in answer.parts),
            }
        )
        people += [
            {**key, "person": person, "part": part, "seconds": seconds}
            for person, part, seconds in answer.parts
        ]
    if items:
        session.execute(insert(QueueItemRow), items)
    if people:
        session.execute(insert(QueuePersonRow), people)
