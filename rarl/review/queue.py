"""The queue: two readers judge each answer independently, an adjudicator settles what differs.

The second reader is blind to the first. A reader sees another's verdict only once two readings are
in, and from then on no reading can be corrected: what was seen cannot be unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import not_, select
from sqlalchemy.orm import Session

from rarl.errors import ReviewError
from rarl.records import Judgement, Verdict, cleaned, sent_key
from rarl.records.queue import ORDERS, Item, Order, Progress, QueueFilter, QueueItem
from rarl.review._queue_index import READINGS, lock, refresh
from rarl.review._tables import AssignmentRow, QueueItemRow, VerdictRow
from rarl.review.repositories.base import NAME_LIMIT, check_replaced
from rarl.review.roles import canonical_name
from rarl.review.settlement import Settlement, status_from, verdict_of

__all__ = ["ORDERS", "READINGS", "Item", "Order", "Progress", "Queue", "QueueFilter", "QueueItem"]


class Queue(Settlement):
    """The answers that wait for verdicts: those with flags, or those an audit has drawn."""

    def judge(
        self,
        case_id: str,
        arm: str,
        judgement: Judgement,
        *,
        key: str | None = None,
        replaces: str | None = None,
    ) -> Verdict:
        """Store this person's own verdict. When this returns, it is kept.

        Args:
            case_id: see `QueueItem`.
            arm: see `QueueItem`.
            judgement: what the person thinks.
            key: 32 hex digits made by the sender, so that sending again stores nothing twice.
            replaces: key of this person's verdict that this one corrects, while the other reading
                has not come in.

        Raises:
            ReviewError: two readings are in, the person has judged this
                before, was not assigned, or may not; or the database cannot be written.
        """
        self._store.need("judge")
        return self._add(case_id, arm, "reader", judgement, key, replaces)

    def adjudicate(
        self, case_id: str, arm: str, judgement: Judgement, *, key: str | None = None
    ) -> Verdict:
        """Store the verdict that settles an answer; a later one by an adjudicator replaces it.

        Raises:
            ReviewError: two readings are not yet in, the person gave one of them, or may not; or
                the database cannot be written.
        """
        self._store.need("adjudicate")
        return self._add(case_id, arm, "adjudicator", judgement, key, None)

    def verdicts(self, case_id: str, arm: str) -> tuple[Verdict, ...]:
        """The current verdicts on an answer that this person may see, oldest first.

        Before two readings are in, a person sees none but their own: an adjudicator, too, may
        still be the second reader.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            verdicts = self._verdicts(session, case_id, arm)
            self._store.note(session, "read", "verdict", [case_id] if verdicts else [])
        if status_from(verdicts) in ("new", "one-reader"):
            return tuple(verdict for verdict in verdicts if verdict.reader == self._store.person)
        return tuple(verdicts)

    def assign(self, items: Iterable[Item], reader: str, given: bool = True) -> int:
        """Give answers to a reader, or take them back.

        Returns:
            How many assignments changed.

        Raises:
            ReviewError: an answer is unknown, the person may not, or the database cannot be
                written.
        """
        self._store.need("assign")
        name = canonical_name(cleaned(reader, NAME_LIMIT, "The reader's name"))
        if name is None:
            raise ReviewError("Name the reader who shall judge these answers.")
        wanted = list(dict.fromkeys(items))
        changed = 0
        with self._store.writing() as session:
            for case_id, arm in wanted:
                self._store.answer_in(session, case_id, arm)
                latest = session.scalar(
                    select(AssignmentRow)
                    .where(
                        AssignmentRow.case_id == case_id,
                        AssignmentRow.arm == arm,
                        AssignmentRow.reader == name,
                        AssignmentRow.study_id.is_not_distinct_from(self._study),
                    )
                    .order_by(AssignmentRow.id.desc())
                    .limit(1)
                )
                if (latest is not None and latest.given) == given:
                    continue
                changed += 1
                session.add(
                    AssignmentRow(
                        key=uuid4().hex,
                        case_id=case_id,
                        arm=arm,
                        study_id=self._study,
                        reader=name,
                        given=given,
                        assigned_by=self._store.person,
                        created=datetime.now(UTC),
                        replaces=None if latest is None else latest.key,
                    )
                )
            refresh(session, (case_id for case_id, _ in wanted))
            self._store.note(session, "write", "assignment", [case_id for case_id, _ in wanted])
        return changed

    # --- inside ------------------------------------------------------------------------------

    def _add(
        self,
        case_id: str,
        arm: str,
        role: str,
        judgement: Judgement,
        key: str | None,
        replaces: str | None,
    ) -> Verdict:
        person = self._store.person
        if person is None:
            raise ReviewError("A verdict needs a name; sign in and judge again.")
        row = VerdictRow(
            key=sent_key(key),
            case_id=case_id,
            arm=arm,
            study_id=self._study,
            role=role,
            correctness=judgement.correctness,
            explanation=judgement.explanation,
            agrees=judgement.agrees,
            corrected_answer=judgement.corrected_answer,
            corrected_explanation=judgement.corrected_explanation,
            comment=judgement.comment,
            seconds=judgement.seconds,
            created=datetime.now(UTC),
            reader=person,
            replaces=replaces,
        )
        with self._store.writing() as session:
            known = session.scalar(select(VerdictRow).where(VerdictRow.key == row.key))
            if known is not None:
                if (known.case_id, known.arm, known.reader) != (case_id, arm, person):
                    raise ReviewError(
                        "Another verdict was sent under this key; send it under a new one."
                    )
                return verdict_of(known)
            self._store.answer_in(session, case_id, arm)
            # Two readings at the same time must see each other.
            lock(session, [case_id])
            standing = self._verdicts(session, case_id, arm)
            if role == "reader":
                self._check_reading(session, row, standing)
            else:
                self._check_adjudication(row, standing)
            session.add(row)
            refresh(session, [case_id])
            self._store.note(session, "write", "verdict", [case_id])
        return verdict_of(row)

    def _check_reading(
        self, session: Session, row: VerdictRow, standing: Sequence[Verdict]
    ) -> None:
        if status_from(standing) not in ("new", "one-reader"):
            raise ReviewError(
                "Two readings of this answer are in; what differs goes to an adjudicator."
            )
        mine = [verdict for verdict in standing if verdict.reader == row.reader]
        if row.replaces is not None:
            same = any(verdict.key == row.replaces for verdict in mine)
            whose = row.reader if same else None
            check_replaced(session, VerdictRow, row.replaces, same, whose, row.reader)
        elif mine:
            raise ReviewError("You have judged this answer already; correct that verdict instead.")
        given = (QueueItemRow.case_id == row.case_id, QueueItemRow.arm == row.arm)
        to_others = select(QueueItemRow.arm).where(
            QueueItemRow.queue == self._of.name,
            *given,
            QueueItemRow.assigned > 0,
            not_(self._of.given()),
        )
        if session.scalar(to_others) is not None:
            raise ReviewError("This answer is assigned to others; take the next one in the queue.")

    def _check_adjudication(self, row: VerdictRow, standing: Sequence[Verdict]) -> None:
        if status_from(standing) in ("new", "one-reader"):
            raise ReviewError(
                "Two independent readings come first; judge this answer as a reader, or wait."
            )
        if any(verdict.reader == row.reader and verdict.role == "reader" for verdict in standing):
            raise ReviewError("You gave one of the two readings; somebody else adjudicates.")
        decided = [verdict for verdict in standing if verdict.role == "adjudicator"]
        row.replaces = decided[-1].key if decided else None

    def _verdicts(self, session: Session, case_id: str, arm: str) -> list[Verdict]:
        statement = self._current().where(VerdictRow.case_id == case_id, VerdictRow.arm == arm)
        return [verdict_of(row) for row in session.scalars(statement)]
