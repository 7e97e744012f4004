"""The queue: two readers judge each answer independently, an adjudicator settles what differs.

The second reader is blind to the first. A reader sees another's verdict only once two readings are
in, and from then on no reading can be corrected: what was seen cannot be unseen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any, Literal
from uuid import uuid4

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
    tuple_,
)
from sqlalchemy.orm import Session, aliased

from rarl.errors import ReviewError
from rarl.review._queue_index import (
    FLAGGED,
    READINGS,
    Score,
    batches,
    is_current,
    lock,
    refresh,
    status_of,
)
from rarl.review._tables import (
    AnswerRow,
    AssignmentRow,
    CaseRow,
    FlagRow,
    QueueItemRow,
    QueuePersonRow,
    VerdictRow,
)
from rarl.review.case import Flag, FlagFilter
from rarl.review.records import SCALE, STATUSES, Judgement, Settled, Status, Verdict
from rarl.review.roles import canonical_name
from rarl.review.store import (
    NAME_LIMIT,
    TEXT_LIMIT,
    ReviewStore,
    as_flag,
    check_replaced,
    cleaned,
    current_flags,
    filtered,
    sent_key,
    storable,
)
from rarl.review.taxonomy import COMMENT_LIMIT

__all__ = ["ORDERS", "READINGS", "Item", "Order", "Progress", "Queue", "QueueFilter", "QueueItem"]

Item = tuple[str, str]
"""Id of a case and name of an arm: the answer that is judged."""
Order = Literal["oldest", "newest", "severity", "disagreement"]
"""Of a list: by the first flag's age, by the gravest flag, or what readers differ on first."""
ORDERS: tuple[Order, ...] = ("oldest", "newest", "severity", "disagreement")
_BY_DISAGREEMENT: tuple[Status, ...] = ("differs", "one-reader", "new", "agreed", "adjudicated")
_Listed = Select[str, str, str, int | None]


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which answers are meant; None and "" leave everything in.

    Attributes:
        flags: at least one flag on the answer passes this (in an audit, only `arm`, `modality` and
            `text` count: nobody need have flagged).
        status: exactly this.
        reader: assigned to this person, or drawn for this person in an audit.
        waiting: only what the person whom the store is for can read now: fewer than two readings,
            none of this person's, and not given to others alone.
    """

    flags: FlagFilter = field(default_factory=FlagFilter)
    status: Status | None = None
    reader: str | None = None
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One answer that waits for a verdict, or has one.

    Attributes:
        case_id: see `CaseSnapshot`.
        arm: whose answer.
        label: what the interface called the arm.
        modality: of the scan, or None.
        question: of the case.
        answer: of the arm.
        status: how far its review is.
        flags: its current flags, oldest first.
        assigned: who shall judge it.
        judged_by_me: whether the person whom the store is for has.
    """

    case_id: str
    arm: str
    label: str
    modality: str | None
    question: str
    answer: str
    status: Status
    flags: tuple[Flag, ...]
    assigned: tuple[str, ...]
    judged_by_me: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one reader is.

    Attributes:
        reader: who.
        assigned: answers this reader was given.
        judged: answers this reader has judged, assigned or not.
        left: assigned answers without this reader's verdict.
        seconds: median time on task, or None where none was measured.
    """

    reader: str
    assigned: int
    judged: int
    left: int
    seconds: float | None


class Queue:
    """The answers that wait for verdicts: those with flags, or those an audit has drawn."""

    def __init__(self, store: ReviewStore, study_id: str | None = None) -> None:
        """Look at the queue.

        Args:
            store: with the person whose work this is, see `ReviewStore.for_person`.
            study_id: of an audit, for its answers; those with flags where not given.
        """
        self._store = store
        self._study = study_id
        self._name = study_id or FLAGGED

    def items(
        self,
        chosen: QueueFilter | None = None,
        limit: int | None = None,
        offset: int = 0,
        order: Order = "oldest",
    ) -> tuple[QueueItem, ...]:
        """The answers that pass the filter: oldest flag first, or in the audit's order.

        Another order breaks its ties by that one.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        chosen = chosen or QueueFilter()
        with self._store.reading() as session:
            statement, position = self._listed(chosen)
            sorting = self._sorting(order, position)
            ordered = statement.order_by(*sorting).limit(limit).offset(offset)
            page = self._filled(session, session.execute(ordered).all(), chosen)
            self._store.note(session, "list", "case", [item.case_id for item in page])
        return tuple(page)

    def places(self, chosen: QueueFilter | None = None) -> tuple[Item, ...]:
        """Which answers `items` would list; nothing of them is read, so the audit notes nothing.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        statement, position = self._listed(chosen or QueueFilter())
        with self._store.reading() as session:
            found = session.execute(statement.order_by(*_order(position)))
            return tuple((case_id, arm) for case_id, arm, _, _ in found)

    def count(self, chosen: QueueFilter | None = None) -> int:
        """How many answers pass the filter.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        statement, _ = self._listed(chosen or QueueFilter())
        with self._store.reading() as session:
            return session.scalar(statement.with_only_columns(func.count())) or 0

    def statuses(self, chosen: QueueFilter | None = None) -> Mapping[Status, int]:
        """How many of the answers that pass the filter have each status that occurs.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        statement, _ = self._listed(chosen or QueueFilter())
        counted = statement.with_only_columns(QueueItemRow.status, func.count())
        with self._store.reading() as session:
            found = dict(session.execute(counted.group_by(QueueItemRow.status)).all())
        return {status: found[status] for status in STATUSES if status in found}

    def item(self, case_id: str, arm: str) -> QueueItem:
        """One answer of this queue.

        Raises:
            ReviewError: it is not in this queue, the person may not, or the database cannot be
                read.
        """
        self._store.need("queue")
        statement, _ = self._listed(QueueFilter())
        statement = statement.where(QueueItemRow.case_id == case_id, QueueItemRow.arm == arm)
        with self._store.reading() as session:
            rows = session.execute(statement).all()
            if rows:
                return self._filled(session, rows, QueueFilter())[0]
        raise ReviewError("This answer is no longer in the queue; load the list again.")

    def next(
        self, chosen: QueueFilter | None = None, after: Item | None = None
    ) -> QueueItem | None:
        """The next answer this person should judge; so work resumes where it was left.

        Those assigned to the person come first, then those nobody was given. Answers that have
        two readings, or this person's, are passed over.

        Args:
            chosen: of which answers; all where not given.
            after: skip to what follows this one, if anything does.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("judge")
        unread: list[SQLColumnExpression[bool]] = [QueueItemRow.is_open, not_(self._judged())]
        given = [QueueItemRow.assigned > 0, self._given()]
        ranks = [[*unread, *given], [*unread, QueueItemRow.assigned == 0]]
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
        differ = [QueueItemRow.status == "differs", not_(self._judged())]
        return self._first(chosen or QueueFilter(), [differ], after)

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
            ReviewError: a score is off the scale, two readings are in, the person has judged this
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
            found = self._verdicts(session, case_id, arm)
            self._store.note(session, "read", "verdict", [case_id] if found else [])
        if _status(found) in ("new", "one-reader"):
            return tuple(one for one in found if one.reader == self._store.person)
        return tuple(found)

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
        given = select(person.person, func.count(), func.count().filter(not_(read))).where(
            person.queue == self._name, person.part == "assigned"
        )
        readings = select(person).where(person.queue == self._name, person.part == "reader")
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

    def readings(self) -> Mapping[Item, Mapping[str, Judgement]]:
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
            item: {one.reader: one.judgement for one in verdicts if one.role == "reader"}
            for item, verdicts in known.items()
            if _status(verdicts) not in ("new", "one-reader")
        }

    def settled(self) -> tuple[Settled, ...]:
        """What is decided, in the order of the first verdicts.

        The correction is the adjudicator's; where the adjudicator agrees with the flags and gives
        none, the newest flag's. Where two readers agree and nobody had to adjudicate, it is theirs
        if they give the same one.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            known = self._by_answer(session)
            statement = current_flags().order_by(FlagRow.id)
            flagged = {
                (row[0].case_id, row[0].arm): row[0]
                for row in session.execute(statement)
                if row[0].corrected_answer
            }
        found = []
        for item, verdicts in known.items():
            status = _status(verdicts)
            if status not in ("agreed", "adjudicated"):
                continue
            final = next((one for one in verdicts if one.role == "adjudicator"), verdicts[0])
            given = final.judgement
            corrected = (given.corrected_answer, given.corrected_explanation)
            if status == "agreed":
                words = {one.judgement.corrected_answer.casefold() for one in verdicts}
                if len(words) > 1:
                    corrected = ("", "")
            elif given.agrees and not given.corrected_answer and item in flagged:
                flag = flagged[item]
                corrected = (flag.corrected_answer, flag.corrected_explanation)
            found.append(
                Settled(
                    *item,
                    study_id=self._study,
                    adjudicated=status == "adjudicated",
                    correctness=given.correctness,
                    explanation=given.explanation,
                    corrected_answer=corrected[0],
                    corrected_explanation=corrected[1],
                )
            )
        return tuple(found)

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
        if judgement.correctness not in SCALE or judgement.explanation not in SCALE:
            raise ReviewError("Correctness and explanation are each 0, 1, 2 or 3; choose both.")
        seconds = judgement.seconds
        if seconds is not None and not 0 <= seconds < 1e7:
            raise ReviewError("The time on task is no time; leave it out.")
        row = VerdictRow(
            key=sent_key(key),
            case_id=case_id,
            arm=arm,
            study_id=self._study,
            role=role,
            correctness=judgement.correctness,
            explanation=judgement.explanation,
            agrees=judgement.agrees,
            corrected_answer=cleaned(
                judgement.corrected_answer, COMMENT_LIMIT, "The corrected answer"
            ),
            corrected_explanation=cleaned(
                judgement.corrected_explanation, TEXT_LIMIT, "The corrected explanation"
            ),
            comment=cleaned(judgement.comment, COMMENT_LIMIT, "The comment"),
            seconds=seconds,
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
                return _verdict(known)
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
        return _verdict(row)

    def _check_reading(
        self, session: Session, row: VerdictRow, standing: Sequence[Verdict]
    ) -> None:
        if _status(standing) not in ("new", "one-reader"):
            raise ReviewError(
                "Two readings of this answer are in; what differs goes to an adjudicator."
            )
        mine = [one for one in standing if one.reader == row.reader]
        if row.replaces is not None:
            same = any(one.key == row.replaces for one in mine)
            whose = row.reader if same else None
            check_replaced(session, VerdictRow, row.replaces, same, whose, row.reader)
        elif mine:
            raise ReviewError("You have judged this answer already; correct that verdict instead.")
        given = (QueueItemRow.case_id == row.case_id, QueueItemRow.arm == row.arm)
        to_others = select(QueueItemRow.arm).where(
            QueueItemRow.queue == self._name, *given, QueueItemRow.assigned > 0, not_(self._given())
        )
        if session.scalar(to_others) is not None:
            raise ReviewError("This answer is assigned to others; take the next one in the queue.")

    def _check_adjudication(self, row: VerdictRow, standing: Sequence[Verdict]) -> None:
        if _status(standing) in ("new", "one-reader"):
            raise ReviewError(
                "Two independent readings come first; judge this answer as a reader, or wait."
            )
        if any(one.reader == row.reader and one.role == "reader" for one in standing):
            raise ReviewError("You gave one of the two readings; somebody else adjudicates.")
        decided = [one for one in standing if one.role == "adjudicator"]
        row.replaces = decided[-1].key if decided else None

    def _verdicts(self, session: Session, case_id: str, arm: str) -> list[Verdict]:
        statement = self._current().where(VerdictRow.case_id == case_id, VerdictRow.arm == arm)
        return [_verdict(row) for row in session.scalars(statement)]

    def _current(self) -> Select[VerdictRow]:
        return (
            select(VerdictRow)
            .where(is_current(VerdictRow), VerdictRow.study_id.is_not_distinct_from(self._study))
            .order_by(VerdictRow.id)
        )

    def _by_answer(self, session: Session) -> dict[Item, list[Verdict]]:
        known: dict[Item, list[Verdict]] = defaultdict(list)
        for row in session.scalars(self._current()):
            known[row.case_id, row.arm].append(_verdict(row))
        return known

    def _listed(self, chosen: QueueFilter) -> tuple[_Listed, SQLColumnExpression[int | None]]:
        """The answers that pass the filter, with status and place, and the place to sort by."""
        item = QueueItemRow
        position: SQLColumnExpression[int | None] = item.position
        flags: Subquery | None = None
        if self._study is None and chosen.flags != FlagFilter():
            # The first flag that passes, which need not be the answer's first.
            passing = filtered(current_flags(), chosen.flags).with_only_columns(
                FlagRow.case_id, FlagRow.arm, func.min(FlagRow.id).label("position")
            )
            flags = passing.group_by(FlagRow.case_id, FlagRow.arm).subquery()
            position = flags.c.position
        statement = select(item.case_id, item.arm, item.status, position).where(
            item.queue == self._name, item.position.is_not(None)
        )
        if flags is not None:
            statement = statement.join(
                flags, (flags.c.case_id == item.case_id) & (flags.c.arm == item.arm)
            )
        if self._study is not None:
            statement = _about_an_audit(statement, chosen.flags)
        if chosen.status is not None:
            statement = statement.where(item.status == chosen.status)
        if chosen.reader:
            statement = statement.where(_given_to(canonical_name(chosen.reader)))
        if chosen.waiting:
            statement = statement.where(
                item.is_open,
                not_(self._judged()),
                or_(item.assigned == 0, self._given()),
            )
        return statement, position

    def _sorting(
        self, order: Order, position: SQLColumnExpression[int | None]
    ) -> tuple[SQLColumnExpression[Any], ...]:
        """What the answers of a list are sorted by."""
        item, oldest = QueueItemRow, _order(position)
        if order == "newest":
            return position.desc(), item.case_id, item.arm
        if order == "severity":
            keys = [key for key, _ in self._store.taxonomy.severities]
            grades = {key: grade for grade, key in enumerate(keys)}
            gravest = (
                current_flags()
                .with_only_columns(func.max(case(grades, value=FlagRow.severity, else_=-1)))
                .where(FlagRow.case_id == item.case_id, FlagRow.arm == item.arm)
                .correlate(item)
                .scalar_subquery()
            )
            return func.coalesce(gravest, -1).desc(), *oldest
        if order == "disagreement":
            ranks = {status: rank for rank, status in enumerate(_BY_DISAGREEMENT)}
            return case(ranks, value=item.status, else_=len(ranks)), *oldest
        return oldest

    def _judged(self) -> ColumnElement[bool]:
        """Whether this person has a current verdict on the answer."""
        return _has_part(self._store.person, QueuePersonRow.part != "assigned")

    def _given(self) -> ColumnElement[bool]:
        """Whether the answer is given to this person."""
        return _given_to(self._store.person)

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
        listed, position = self._listed(chosen)
        order = _order(position)
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
                    (found,) = self._filled(session, rows, chosen)
                    self._store.note(session, "list", "case", [found.case_id])
                    return found
        return None

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
                if queue == self._name:
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


def _status(verdicts: Sequence[Verdict]) -> Status:
    """See `status_of`."""
    return status_of(
        [
            Score(
                one.reader,
                one.role == "adjudicator",
                one.judgement.correctness,
                one.judgement.explanation,
            )
            for one in verdicts
        ]
    )


def _median(session: Session, readings: Select[QueuePersonRow]) -> float | None:
    """Median seconds on task of these readings; None where none was measured."""
    seconds = QueuePersonRow.seconds
    timed = readings.with_only_columns(seconds).where(seconds.is_not(None))
    count = session.scalar(timed.with_only_columns(func.count())) or 0
    middle = timed.order_by(seconds).offset((count - 1) // 2).limit(2 - count % 2)
    return median(session.scalars(middle).all()) if count else None


def _order(position: SQLColumnExpression[int | None]) -> tuple[SQLColumnExpression[Any], ...]:
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


def _about_an_audit(statement: _Listed, chosen: FlagFilter) -> _Listed:
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


def _verdict(row: VerdictRow) -> Verdict:
    return Verdict(
        id=row.id,
        key=row.key,
        case_id=row.case_id,
        arm=row.arm,
        study_id=row.study_id,
        role="adjudicator" if row.role == "adjudicator" else "reader",
        judgement=Judgement(
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
