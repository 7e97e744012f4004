"""Votes: which variant answered best."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

from sqlalchemy import select

from rarl.errors import ReviewError
from rarl.records import COMMENT_LIMIT, Outcome, Vote, cleaned, sent_key
from rarl.review._queue_index import is_current
from rarl.review._tables import AnswerRow, VoteRow
from rarl.review.repositories.base import Repository, check_replaced, columns_of, person_name


class Votes(Repository):
    """The votes of a store."""

    def add_vote(
        self,
        case_id: str,
        outcome: Outcome,
        preferred: str | None = None,
        *,
        reason: str = "",
        own_answer: str = "",
        reader: str | None = None,
        key: str | None = None,
        replaces: str | None = None,
    ) -> Vote:
        """Store which arm answered best. When this returns, it is kept.

        Args:
            case_id: what `add_case` returned.
            outcome: "better", with `preferred`; "tie", "all-good" or "all-bad", without.
            preferred: an arm that answered.
            reason: at most `COMMENT_LIMIT` characters.
            own_answer: what the reader answered before the columns were shown.
            reader: the person this store is for, where not given.
            key: see `add_flag`.
            replaces: key of one's own vote that this one corrects.

        Raises:
            ReviewError: something does not fit, or the database cannot be written.
        """
        self.need("vote")
        if outcome not in get_args(Outcome):
            raise ReviewError("Choose one answer, a tie, all good or all bad, then vote.")
        if (outcome == "better") != (preferred is not None):
            raise ReviewError("A vote for the better arm names it, and no other vote does.")
        row = VoteRow(
            key=sent_key(key),
            case_id=case_id,
            outcome=outcome,
            preferred=preferred,
            reason=cleaned(reason, COMMENT_LIMIT, "The reason"),
            own_answer=cleaned(own_answer, COMMENT_LIMIT, "The answer"),
            created=datetime.now(UTC),
            reader=person_name(reader) or self.person,
            replaces=replaces,
        )
        with self.writing() as session:
            known = session.scalar(select(VoteRow).where(VoteRow.key == row.key))
            if known is not None:
                if (known.case_id, known.reader) != (case_id, row.reader):
                    raise ReviewError(
                        "Another vote was sent under this key; send it under a new one."
                    )
                return _vote(known)
            arms = session.scalars(select(AnswerRow.arm).where(AnswerRow.case_id == case_id)).all()
            if not arms or preferred not in (None, *arms):
                raise ReviewError(
                    "The answers that were compared are not in the review store; ask the question "
                    "again and vote on the new answers."
                )
            if replaces is not None:
                old = session.scalar(select(VoteRow).where(VoteRow.key == replaces))
                same = old is not None and old.case_id == case_id
                check_replaced(
                    session, VoteRow, replaces, same, old.reader if old else None, row.reader
                )
            session.add(row)
            session.flush()
            self.note(session, "write", "vote", [case_id])
        return _vote(row)

    def votes(self, case_id: str | None = None) -> tuple[Vote, ...]:
        """Votes, oldest first, without those that were corrected.

        Args:
            case_id: of this case alone; of all where None.

        Raises:
            ReviewError: the database cannot be read.
        """
        self.need("queue")
        statement = select(VoteRow).where(is_current(VoteRow))
        if case_id is not None:
            statement = statement.where(VoteRow.case_id == case_id)
        with self.reading() as session:
            rows = session.scalars(statement.order_by(VoteRow.id)).all()
            self.note(session, "list", "vote", [row.case_id for row in rows])
            return tuple(_vote(row) for row in rows)


def _vote(row: VoteRow) -> Vote:
    # What a later version may have written counts as a tie: it prefers nobody.
    known = row.outcome in get_args(Outcome)
    return Vote(**{**columns_of(row), "outcome": row.outcome if known else "tie"})
