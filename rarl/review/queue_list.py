"""The queue's list: which answers wait, which is the next one, and how far the readers are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from sqlalchemy import Select, SQLColumnExpression, exists, func, not_, select, tuple_
from sqlalchemy.orm import Session, aliased

from rarl.errors import ReviewError
from rarl.records import STATUSES, Flag, Status
from rarl.records.queue import Item, Order, Progress, QueueFilter, QueueItem
from rarl.review._queue_index import batches
from rarl.review._queue_statements import Listed, QueueStatements, order_of, sorted_by
from rarl.review._tables import (
    AnswerRow,
    CaseRow,
    FlagRow,
    QueueItemRow,
    QueuePersonRow,
    StudyRow,
)
from rarl.review.repositories.flags import as_flag, current_flags, filtered
from rarl.review.store import ReviewStore
from rarl.review.worth import Worth, by_worth, worth_of


class QueueList:
    """The answers of one queue, as one person sees them."""

    def __init__(self, store: ReviewStore, study_id: str | None = None) -> None:
        """Look at the queue.

        Args:
            store: with the person whose work this is, see `ReviewStore.for_person`.
            study_id: of an audit, for its answers; those with flags where not given.
        """
        self._store = store
        self._study = study_id
        self._of = QueueStatements(study_id, store.person)

    def items(
        self,
        chosen: QueueFilter | None = None,
        limit: int | None = None,
        offset: int = 0,
        order: Order = "oldest",
    ) -> tuple[QueueItem, ...]:
        """The answers that pass the filter: oldest flag first, or in the audit's order.

        Another order breaks its ties by that one; in that of worth, each says why it stands there.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        chosen = chosen or QueueFilter()
        with self._store.reading() as session:
            statement, position = self._of.listed(chosen)
            if order == "worth":
                listed = statement.order_by(*order_of(position))
                page = self._page_by_worth(session, listed, chosen, limit, offset)
                self._store.note(session, "list", "case", [item.case_id for item in page])
                return tuple(page)
            severities = [key for key, _ in self._store.taxonomy.severities]
            ordered = statement.order_by(*sorted_by(order, position, severities))
            ordered = ordered.limit(limit).offset(offset)
            page = self._filled(session, session.execute(ordered).all(), chosen)
            self._store.note(session, "list", "case", [item.case_id for item in page])
        return tuple(page)

    def places(self, chosen: QueueFilter | None = None) -> tuple[Item, ...]:
        """Which answers `items` would list; nothing of them is read, so the audit notes nothing.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        statement, position = self._of.listed(chosen or QueueFilter())
        with self._store.reading() as session:
            listed_rows = session.execute(statement.order_by(*order_of(position)))
            return tuple((case_id, arm) for case_id, arm, _, _ in listed_rows)

    def count(self, chosen: QueueFilter | None = None) -> int:
        """How many answers pass the filter.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        statement, _ = self._of.listed(chosen or QueueFilter())
        with self._store.reading() as session:
            return session.scalar(statement.with_only_columns(func.count())) or 0

    def statuses(self, chosen: QueueFilter | None = None) -> Mapping[Status, int]:
        """How many of the answers that pass the filter have each status that occurs.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        statement, _ = self._of.listed(chosen or QueueFilter())
        counted = statement.with_only_columns(QueueItemRow.status, func.count())
        with self._store.reading() as session:
            counts = dict(session.execute(counted.group_by(QueueItemRow.status)).all())
        return {status: counts[status] for status in STATUSES if status in counts}

    def item(self, case_id: str, arm: str) -> QueueItem:
        """One answer of this queue.

        Raises:
            ReviewError: it is not in this queue, the person may not, or the database cannot be
                read.
        """
        self._store.need("queue")
        statement, _ = self._of.listed(QueueFilter())
        statement = statement.where(QueueItemRow.case_id == case_id, QueueItemRow.arm == arm)
        with self._store.reading() as session:
            rows = session.execute(statement).all()
            if rows:
                return self._filled(session, rows, QueueFilter())[0]
        raise ReviewError("This answer is no longer in the queue; load the list again.")

    def next(
        self,
        chosen: QueueFilter | None = None,
        after: Item | None = None,
        order: Order = "oldest",
    ) -> QueueItem | None:
        """The next answer this person should judge; so work resumes where it was left.

        Those assigned to the person come first, then those nobody was given. Answers that have
        two readings, or this person's, are passed over.

        Args:
            chosen: of which answers; all where not given.
            after: skip to what follows this one, if anything does.
            order: "worth" for the one that is most worth judging; the list's own otherwise. An
                audit that is worked by worth knows no other.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("judge")
        unread: list[SQLColumnExpression[bool]] = [
            QueueItemRow.is_open,
            not_(self._of.judged()),
        ]
        given = [QueueItemRow.assigned > 0, self._of.given()]
        ranks = [[*unread, *given], [*unread, QueueItemRow.assigned == 0]]
        if order == "worth" or (self._study is not None and self.is_by_worth()):
            return self._worthiest(chosen or QueueFilter(), ranks, after)
        return self._first(chosen or QueueFilter(), ranks, after)

    def next_to_settle(
        self, chosen: QueueFilter | None = None, after: Item | None = None
    ) -> QueueItem | None:
        """The next answer on which two readers differ and of which this person is neither.

        Args:
            chosen: of which answers; all where not given.
            after: skip to what follows this one, if anything does.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("adjudicate")
        differ = [QueueItemRow.status == "differs", not_(self._of.judged())]
        return self._first(chosen or QueueFilter(), [differ], after)

    def progress(self) -> tuple[Progress, ...]:
        """How far each reader is, by name.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        person, other = QueuePersonRow, aliased(QueuePersonRow)
        read = exists().where(
            other.case_id == person.case_id,
            other.arm == person.arm,
            other.queue == person.queue,
            other.person == person.person,
            other.part == "reader",
        )
        dismissed = exists().where(
            QueueItemRow.case_id == person.case_id,
            QueueItemRow.arm == person.arm,
            QueueItemRow.queue == person.queue,
            QueueItemRow.status == "dismissed",
        )
        left = func.count().filter(not_(read), not_(dismissed))
        given = select(person.person, func.count(), left).where(
            person.queue == self._of.name, person.part == "assigned"
        )
        readings = select(person).where(person.queue == self._of.name, person.part == "reader")
        # An import may hold two readings of one answer by one person.
        answers = readings.with_only_columns(person.person, person.case_id, person.arm).distinct()
        names = answers.subquery().c.person
        with self._store.reading() as session:
            assigned = {
                name: (count, left)
                for name, count, left in session.execute(given.group_by(person.person))
            }
            judged: dict[str, int] = dict(
                session.execute(select(names, func.count()).group_by(names)).all()
            )
            seconds = {
                name: _median(session, readings.where(person.person == name)) for name in judged
            }
        return tuple(
            Progress(
                reader=name,
                assigned=assigned.get(name, (0, 0))[0],
                judged=judged.get(name, 0),
                left=assigned.get(name, (0, 0))[1],
                seconds=seconds.get(name),
            )
            for name in sorted({*assigned, *judged})
        )

    def _first(
        self,
        chosen: QueueFilter,
        ranks: Sequence[Sequence[SQLColumnExpression[bool]]],
        after: Item | None,
    ) -> QueueItem | None:
        """The first answer of the first rank that has any, or the one that follows `after`.

        Where nothing follows `after`, the first other one. What is passed over was shown to nobody,
        and is not in the audit.
        """
        listed, position = self._of.listed(chosen)
        order = order_of(position)
        statements = [listed.where(*rank).order_by(*order).limit(1) for rank in ranks]
        tried = statements
        with self._store.reading() as session:
            if after is not None:
                is_after = (QueueItemRow.case_id == after[0]) & (QueueItemRow.arm == after[1])
                tried = [statement.where(not_(is_after)) for statement in statements]
                for rank, statement in enumerate(statements):
                    row = session.execute(statement.where(is_after)).first()
                    if row is not None:
                        place = (row[3], row[0], row[1])
                        later = statement.where(tuple_(*order) > tuple_(*place))
                        tried = [later, *statements[rank + 1 :], *tried]
                        break
            for statement in tried:
                rows = session.execute(statement).all()
                if rows:
                    (entry,) = self._filled(session, rows, chosen)
                    self._store.note(session, "list", "case", [entry.case_id])
                    return entry
        return None

    def is_by_worth(self) -> bool:
        """Whether readers may work in the order of worth: among flags, and where an audit says so.

        Rates and agreement then come from the random share alone.

        Raises:
            ReviewError: the database cannot be read.
        """
        if self._study is None:
            return True
        with self._store.reading() as session:
            study = session.get(StudyRow, self._study)
            return study is not None and bool(study.by_worth)

    def _worthiest(
        self,
        chosen: QueueFilter,
        ranks: Sequence[Sequence[SQLColumnExpression[bool]]],
        after: Item | None,
    ) -> QueueItem | None:
        """The answer most worth judging of the first rank that has any other than `after`."""
        listed, position = self._of.listed(chosen)
        ordered = listed.order_by(*order_of(position))
        with self._store.reading() as session:
            # Over the whole list, so that the places by chance stay where they are.
            worth = worth_of(session, [(row[0], row[1]) for row in session.execute(ordered)])
            places = {item: place for place, item in enumerate(by_worth(worth))}
            for rank in ranks:
                rows = {(row[0], row[1]): row for row in session.execute(ordered.where(*rank))}
                waiting = sorted(rows, key=lambda item: places[item])
                for item in [candidate for candidate in waiting if candidate != after] or waiting:
                    (entry,) = self._filled(session, [rows[item]], chosen)
                    self._store.note(session, "list", "case", [entry.case_id])
                    return _with_worth(entry, worth[item])
        return None

    def _page_by_worth(
        self,
        session: Session,
        listed: Listed,
        chosen: QueueFilter,
        limit: int | None,
        offset: int,
    ) -> list[QueueItem]:
        rows = {(row[0], row[1]): row for row in session.execute(listed)}
        worth = worth_of(session, list(rows))
        end = None if limit is None else offset + limit
        page = self._filled(session, [rows[item] for item in by_worth(worth)[offset:end]], chosen)
        return [_with_worth(entry, worth[entry.case_id, entry.arm]) for entry in page]

    def _filled(
        self,
        session: Session,
        rows: Sequence[tuple[str, str, str, int | None]],
        chosen: QueueFilter,
    ) -> list[QueueItem]:
        """These answers with what is shown of them."""
        shown: dict[Item, tuple[str, str | None, str, str]] = {}
        flags: dict[Item, list[Flag]] = defaultdict(list)
        people: dict[Item, list[tuple[str, str]]] = defaultdict(list)
        for batch in batches(list(dict.fromkeys(row[0] for row in rows))):
            about = (
                select(
                    AnswerRow.case_id, AnswerRow.arm, AnswerRow.label, CaseRow.modality,
                    CaseRow.question, AnswerRow.answer,
                )
                .join(CaseRow, CaseRow.id == AnswerRow.case_id)
                .where(AnswerRow.case_id.in_(batch))
            )  # fmt: skip
            for case_id, arm, label, modality, question, answer in session.execute(about):
                shown[case_id, arm] = (label, modality, question, answer)
            if self._study is None:
                passing = filtered(current_flags(), chosen.flags).where(FlagRow.case_id.in_(batch))
                for row in session.execute(passing.order_by(FlagRow.id)):
                    flag = as_flag(row)
                    flags[flag.case_id, flag.arm].append(flag)
            parts = (
                select(
                    QueuePersonRow.queue, QueuePersonRow.case_id, QueuePersonRow.arm,
                    QueuePersonRow.person, QueuePersonRow.part,
                )
                .where(QueuePersonRow.case_id.in_(batch))
                .order_by(QueuePersonRow.id)
            )  # fmt: skip
            for queue, case_id, arm, person, part in session.execute(parts):
                # Not in the statement, or SQLite would read all people of the queue.
                if queue == self._of.name:
                    people[case_id, arm].append((person, part))
        items = []
        for case_id, arm, status, _ in rows:
            label, modality, question, answer = shown[case_id, arm]
            involved = people[case_id, arm]
            items.append(
                QueueItem(
                    case_id=case_id,
                    arm=arm,
                    label=label,
                    modality=modality,
                    question=question,
                    answer=answer,
                    status=next(known for known in STATUSES if known == status),
                    flags=tuple(flags[case_id, arm]),
                    assigned=tuple(person for person, part in involved if part == "assigned"),
                    judged_by_me=any(
                        person == self._store.person and part != "assigned"
                        for person, part in involved
                    ),
                )
            )
        return items


def _with_worth(item: QueueItem, worth: Worth) -> QueueItem:
    return item.model_copy(update={"reason": worth.reason, "by_chance": worth.by_chance})


def _median(session: Session, readings: Select[QueuePersonRow]) -> float | None:
    """Median seconds on task of these readings; None where none was measured."""
    seconds = QueuePersonRow.seconds
    timed = readings.with_only_columns(seconds).where(seconds.is_not(None))
    count = session.scalar(timed.with_only_columns(func.count())) or 0
    middle = timed.order_by(seconds).offset(max(0, count - 1) // 2).limit(2 - count % 2)
    middle_seconds = [value for value in session.scalars(middle) if value is not None]
    return median(middle_seconds) if middle_seconds else None
