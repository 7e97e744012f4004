"""Flags that are set aside without a verdict, such as a mistaken click or the same one twice.

A dismissal is a row of its own, which another takes back; the flag itself is never changed. A
dismissed flag counts in no statistic and waits for nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from rarl.errors import ReviewError
from rarl.records import Dismissal, cleaned
from rarl.records.queue import Item
from rarl.review._queue_index import FLAGGED, is_current, lock, refresh
from rarl.review._tables import DismissalRow, FlagRow, QueueItemRow
from rarl.review.repositories.base import columns_of
from rarl.review.store import ReviewStore

REASON_LIMIT = 400
"""Longest reason, in characters."""


class Dismissals:
    """Dismiss flags and take that back.

    Args:
        store: with the person whose work this is.
    """

    def __init__(self, store: ReviewStore) -> None:
        self._store = store

    def dismiss(self, items: Iterable[Item], reason: str) -> int:
        """Dismiss the flags on answers that nobody has judged.

        Answers with a reading stay as they are: their readers have begun.

        Args:
            items: the answers.
            reason: one for all; names no patient.

        Returns:
            How many of the answers have no flag left that waits.

        Raises:
            ReviewError: there is no reason, an answer is unknown, the person may not, or the
                database cannot be written.
        """
        return self._set(items, reason, given=True)

    def restore(self, items: Iterable[Item], reason: str = "") -> int:
        """Take the dismissals of these answers' flags back.

        Args:
            items: the answers.
            reason: may be left out.

        Returns:
            How many answers have a flag again.

        Raises:
            ReviewError: an answer is unknown, the person may not, or the database cannot be
                written.
        """
        return self._set(items, reason, given=False)

    def of(self, case_id: str, arm: str) -> tuple[Dismissal, ...]:
        """The dismissals of an answer's flags that hold now, oldest first.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        statement = (
            select(DismissalRow)
            .join(FlagRow, FlagRow.key == DismissalRow.flag_key)
            .where(
                FlagRow.case_id == case_id,
                FlagRow.arm == arm,
                is_current(DismissalRow),
                DismissalRow.given,
            )
            .order_by(DismissalRow.id)
        )
        with self._store.reading() as session:
            rows = session.scalars(statement).all()
            self._store.note(session, "read", "dismissal", [case_id] if rows else [])
            return tuple(Dismissal(**columns_of(row)) for row in rows)

    def _set(self, items: Iterable[Item], reason: str, given: bool) -> int:
        self._store.need("dismiss")
        text = cleaned(reason, REASON_LIMIT, "The reason") or ""
        if given and not text:
            raise ReviewError("Say why these flags are dismissed, without naming the patient.")
        wanted = list(dict.fromkeys(items))
        cases = sorted({case_id for case_id, _ in wanted})
        changed: set[Item] = set()
        with self._store.writing() as session:
            for case_id, arm in wanted:
                self._store.answer_in(session, case_id, arm)
            lock(session, cases)  # a reading that comes in now is seen
            waiting = _waiting(session, cases) if given else None
            flags = _current_flags(session, cases)
            for item in wanted:
                if waiting is not None and item not in waiting:
                    continue
                for flag_key, latest in flags[item]:
                    if (latest is not None and latest.given) == given:
                        continue
                    changed.add(item)
                    session.add(
                        DismissalRow(
                            key=uuid4().hex,
                            case_id=item[0],
                            flag_key=flag_key,
                            given=given,
                            reason=text,
                            created=datetime.now(UTC),
                            reader=self._store.person,
                            replaces=None if latest is None else latest.key,
                        )
                    )
            touched = sorted({case_id for case_id, _ in changed})
            refresh(session, touched)
            self._store.note(session, "write", "dismissal", touched)
        return len(changed)


def _waiting(session: Session, case_ids: list[str]) -> set[Item]:
    """The flagged answers of these cases without a reading."""
    rows = session.execute(
        select(QueueItemRow.case_id, QueueItemRow.arm).where(
            QueueItemRow.case_id.in_(case_ids),
            QueueItemRow.queue == FLAGGED,
            QueueItemRow.status.in_(("new", "dismissed")),
        )
    )
    return {(case_id, arm) for case_id, arm in rows}


def _current_flags(
    session: Session, case_ids: list[str]
) -> defaultdict[Item, list[tuple[str, DismissalRow | None]]]:
    """Key and latest dismissal of each current flag, by answer."""
    rows = session.execute(
        select(FlagRow.case_id, FlagRow.arm, FlagRow.key, DismissalRow)
        .outerjoin(DismissalRow, (DismissalRow.flag_key == FlagRow.key) & is_current(DismissalRow))
        .where(FlagRow.case_id.in_(case_ids), is_current(FlagRow))
        .order_by(FlagRow.id)
    )
    flags: defaultdict[Item, list[tuple[str, DismissalRow | None]]] = defaultdict(list)
    for case_id, arm, key, latest in rows:
        flags[case_id, arm].append((key, latest))
    return flags
