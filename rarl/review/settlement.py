"""What two agreeing readers or an adjudicator have decided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from rarl.records import Opinion, Settled, Status, Verdict
from rarl.records.queue import Item
from rarl.review._queue_index import Score, is_current, status_of
from rarl.review._tables import FlagRow, VerdictRow
from rarl.review.privacy import Withdrawn
from rarl.review.queue_list import QueueList
from rarl.review.repositories.flags import counted_flags


class Settlement(QueueList):
    """The verdicts of a queue, taken together."""

    def readings(self) -> Mapping[Item, Mapping[str, Opinion]]:
        """The independent readings of each answer that has all of them, by reader.

        What agreement is computed from; an answer with one reading is left out, so that a reader
        cannot learn the first one from here.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            known = self._by_answer(session)
        return {
            item: {
                verdict.reader: verdict.judgement
                for verdict in verdicts
                if verdict.role == "reader"
            }
            for item, verdicts in known.items()
            if status_from(verdicts) not in ("new", "one-reader")
        }

    def settled(self, withdrawn: bool = True) -> tuple[Settled, ...]:
        """What is decided, in the order of the first verdicts.

        The correction is the adjudicator's; where the adjudicator agrees with the flags and gives
        none, the newest flag's. Where two readers agree and nobody had to adjudicate, it is theirs
        if they give the same one.

        Args:
            withdrawn: whether what readers said counts who have withdrawn since.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            left = Withdrawn(frozenset(), frozenset()) if withdrawn else Withdrawn.of(session)
            known = self._by_answer(session, left)
            statement = counted_flags().order_by(FlagRow.id)
            flagged = {
                (row[0].case_id, row[0].arm): row[0]
                for row in session.execute(statement)
                if row[0].corrected_answer and not left.holds(row[0].reader)
            }
        results = []
        for item, verdicts in known.items():
            status = status_from(verdicts)
            if status not in ("agreed", "adjudicated"):
                continue
            final = next(
                (verdict for verdict in verdicts if verdict.role == "adjudicator"), verdicts[0]
            )
            given = final.judgement
            corrected = (given.corrected_answer, given.corrected_explanation)
            if status == "agreed":
                words = {verdict.judgement.corrected_answer.casefold() for verdict in verdicts}
                if len(words) > 1:
                    corrected = ("", "")
            elif given.agrees and not given.corrected_answer and item in flagged:
                flag = flagged[item]
                corrected = (flag.corrected_answer, flag.corrected_explanation)
            results.append(
                Settled(
                    case_id=item[0],
                    arm=item[1],
                    study_id=self._study,
                    adjudicated=status == "adjudicated",
                    correctness=given.correctness,
                    explanation=given.explanation,
                    corrected_answer=corrected[0],
                    corrected_explanation=corrected[1],
                )
            )
        return tuple(results)

    def _current(self) -> Select[VerdictRow]:
        return (
            select(VerdictRow)
            .where(is_current(VerdictRow), VerdictRow.study_id.is_not_distinct_from(self._study))
            .order_by(VerdictRow.id)
        )

    def _by_answer(
        self, session: Session, left: Withdrawn | None = None
    ) -> dict[Item, list[Verdict]]:
        known: dict[Item, list[Verdict]] = defaultdict(list)
        for row in session.scalars(self._current()):
            if left is not None and left.holds(row.reader, row.study_id):
                continue
            known[row.case_id, row.arm].append(verdict_of(row))
        return known


def status_from(verdicts: Sequence[Verdict]) -> Status:
    """How far the review of one answer is, see `status_of`."""
    return status_of(
        [
            Score(
                verdict.reader,
                verdict.role == "adjudicator",
                verdict.judgement.correctness,
                verdict.judgement.explanation,
            )
            for verdict in verdicts
        ]
    )


def verdict_of(row: VerdictRow) -> Verdict:
    """A stored verdict."""
    return Verdict(
        id=row.id,
        key=row.key,
        case_id=row.case_id,
        arm=row.arm,
        study_id=row.study_id,
        role="adjudicator" if row.role == "adjudicator" else "reader",
        judgement=Opinion(
            correctness=row.correctness,
            explanation=row.explanation,
            agrees=row.agrees,
            corrected_answer=row.corrected_answer,
            corrected_explanation=row.corrected_explanation,
            comment=row.comment,
            seconds=row.seconds,
        ),
        created=row.created,
        reader=row.reader,
        replaces=row.replaces,
    )
