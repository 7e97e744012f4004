"""The queue: two readers judge each answer independently, an adjudicator settles what differs.

The second reader is blind to the first. A reader sees another's verdict only once two readings are
in, and from then on no reading can be corrected: what was seen cannot be unseen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import median
from typing import Literal
from uuid import uuid4

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased

from rarl.errors import ReviewError
from rarl.review._tables import AnswerRow, AssignmentRow, CaseRow, FlagRow, TaskRow, VerdictRow
from rarl.review.case import Flag, FlagFilter
from rarl.review.records import SCALE, Judgement, Settled, Status, Verdict
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
)
from rarl.review.taxonomy import COMMENT_LIMIT

READINGS = 2
Item = tuple[str, str]
"""Id of a case and name of an arm: the answer that is judged."""


Order = Literal["oldest", "newest", "severity", "disagreement"]
"""Of a list: by the first flag's age, by the gravest flag, or what readers differ on first."""
ORDERS: tuple[Order, ...] = ("oldest", "newest", "severity", "disagreement")
_BY_DISAGREEMENT: tuple[Status, ...] = ("differs", "one-reader", "new", "agreed", "adjudicated")


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


@dataclass
class _Answers:
    """Verdicts and assignments by answer."""

    verdicts: dict[Item, list[Verdict]] = field(default_factory=lambda: defaultdict(list))
    assigned: dict[Item, list[str]] = field(default_factory=lambda: defaultdict(list))


def status_of(verdicts: Sequence[Verdict]) -> Status:
    """How far the review of one answer is, from its current verdicts.

    Readers agree where both scales are the same.
    """
    if any(verdict.role == "adjudicator" for verdict in verdicts):
        return "adjudicated"
    # Of different people: an import may hold two of one person.
    if len({verdict.reader for verdict in verdicts}) < READINGS:
        return "one-reader" if verdicts else "new"
    scores = {(one.judgement.correctness, one.judgement.explanation) for one in verdicts}
    return "agreed" if len(scores) == 1 else "differs"


def _waits_for(person: str | None, item: QueueItem) -> bool:
    return (
        item.status in ("new", "one-reader")
        and not item.judged_by_me
        and (not item.assigned or person in item.assigned)
    )


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
        with self._store.reading() as session:
            passed = self._ordered(self._passed(session, chosen or QueueFilter()), order)
            page = passed[offset:] if limit is None else passed[offset : offset + limit]
            self._store.note(session, "list", "case", [item.case_id for item in page])
        return tuple(page)

    def count(self, chosen: QueueFilter | None = None) -> int:
        """How many answers pass the filter.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            return len(self._passed(session, chosen or QueueFilter()))

    def item(self, case_id: str, arm: str) -> QueueItem:
        """One answer of this queue.

        Raises:
            ReviewError: it is not in this queue, the person may not, or the database cannot be
                read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            for item in self._found(session, QueueFilter()):
                if (item.case_id, item.arm) == (case_id, arm):
                    return item
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
        me = self._store.person
        with self._store.reading() as session:
            passed = self._passed(session, replace(chosen or QueueFilter(), waiting=True))
            waiting = sorted(passed, key=lambda item: me not in item.assigned)
            places = [(item.case_id, item.arm) for item in waiting]
            found: QueueItem | None
            if after in places and places.index(after) + 1 < len(places):
                found = waiting[places.index(after) + 1]
            else:
                others = (item for item in waiting if (item.case_id, item.arm) != after)
                found = next(others, None)
            # The others were looked through, and shown to nobody.
            self._store.note(session, "list", "case", [found.case_id] if found else [])
        return found

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
        if status_of(found) in ("new", "one-reader"):
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
            self._store.note(session, "write", "assignment", [case_id for case_id, _ in wanted])
        return changed

    def progress(self) -> tuple[Progress, ...]:
        """How far each reader is, by name.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            known = self._answers(session)
        given: dict[str, set[Item]] = defaultdict(set)
        judged: dict[str, set[Item]] = defaultdict(set)
        seconds: dict[str, list[float]] = defaultdict(list)
        for item, names in known.assigned.items():
            for name in names:
                given[name].add(item)
        for item, verdicts in known.verdicts.items():
            for verdict in verdicts:
                if verdict.role == "reader":
                    judged[verdict.reader].add(item)
                    if verdict.judgement.seconds is not None:
                        seconds[verdict.reader].append(verdict.judgement.seconds)
        return tuple(
            Progress(
                reader=name,
                assigned=len(given[name]),
                judged=len(judged[name]),
                left=len(given[name] - judged[name]),
                seconds=median(seconds[name]) if seconds[name] else None,
            )
            for name in sorted({*given, *judged})
        )

    def statuses(self) -> Mapping[Item, Status]:
        """How far the review of each answer in this queue is.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            return {
                (item.case_id, item.arm): item.status
                for item in self._passed(session, QueueFilter())
            }

    def readings(self) -> Mapping[Item, Mapping[str, Judgement]]:
        """The independent readings of each answer that has all of them, by reader.

        What agreement is computed from; an answer with one reading is left out, so that a reader
        cannot learn the first one from here.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            known = self._answers(session)
        return {
            item: {one.reader: one.judgement for one in verdicts if one.role == "reader"}
            for item, verdicts in known.verdicts.items()
            if status_of(verdicts) not in ("new", "one-reader")
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
            known = self._answers(session)
            statement = current_flags().order_by(FlagRow.id)
            flagged = {
                (row[0].case_id, row[0].arm): row[0]
                for row in session.execute(statement)
                if row[0].corrected_answer
            }
        found = []
        for item, verdicts in known.verdicts.items():
            status = status_of(verdicts)
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
            # Two readings at the same time must see each other (SQLite has one writer anyway).
            session.execute(select(CaseRow.id).where(CaseRow.id == case_id).with_for_update())
            standing = self._verdicts(session, case_id, arm)
            if role == "reader":
                self._check_reading(session, row, standing)
            else:
                self._check_adjudication(row, standing)
            session.add(row)
            session.flush()
            self._store.note(session, "write", "verdict", [case_id])
        return _verdict(row)

    def _check_reading(
        self, session: Session, row: VerdictRow, standing: Sequence[Verdict]
    ) -> None:
        if status_of(standing) not in ("new", "one-reader"):
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
        assigned = self._answers(session).assigned[row.case_id, row.arm]
        if assigned and row.reader not in assigned:
            raise ReviewError("This answer is assigned to others; take the next one in the queue.")

    def _check_adjudication(self, row: VerdictRow, standing: Sequence[Verdict]) -> None:
        if status_of(standing) in ("new", "one-reader"):
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
        later = aliased(VerdictRow)
        return (
            select(VerdictRow)
            .where(
                ~select(later.id).where(later.replaces == VerdictRow.key).exists(),
                VerdictRow.study_id.is_not_distinct_from(self._study),
            )
            .order_by(VerdictRow.id)
        )

    def _answers(self, session: Session) -> _Answers:
        known = _Answers()
        for row in session.scalars(self._current()):
            known.verdicts[row.case_id, row.arm].append(_verdict(row))
        if self._study is not None:
            tasks = select(TaskRow).where(TaskRow.study_id == self._study)
            for task in session.scalars(tasks.order_by(TaskRow.reader)):
                known.assigned[task.case_id, task.arm].append(task.reader)
        later = aliased(AssignmentRow)
        assignments = select(AssignmentRow).where(
            ~select(later.id).where(later.replaces == AssignmentRow.key).exists(),
            AssignmentRow.study_id.is_not_distinct_from(self._study),
        )
        for given in session.scalars(assignments.order_by(AssignmentRow.id)):
            names = known.assigned[given.case_id, given.arm]
            if given.given and given.reader not in names:
                names.append(given.reader)
        return known

    def _ordered(self, items: list[QueueItem], order: Order) -> list[QueueItem]:
        if order == "newest":
            return items[::-1]
        if order == "severity":
            grades = [key for key, _ in self._store.taxonomy.severities]

            def gravest(item: QueueItem) -> int:
                known = [grades.index(f.severity) for f in item.flags if f.severity in grades]
                return -max(known, default=-1)

            return sorted(items, key=gravest)
        if order == "disagreement":
            return sorted(items, key=lambda item: _BY_DISAGREEMENT.index(item.status))
        return items

    def _passed(self, session: Session, chosen: QueueFilter) -> list[QueueItem]:
        return [
            item
            for item in self._found(session, chosen)
            if chosen.status in (None, item.status)
            and (not chosen.reader or canonical_name(chosen.reader) in item.assigned)
            and (not chosen.waiting or _waits_for(self._store.person, item))
        ]

    def _found(self, session: Session, chosen: QueueFilter) -> Iterator[QueueItem]:
        """The answers that pass the filter's part about flags."""
        known = self._answers(session)
        me = self._store.person
        for item, (about, flags) in self._universe(session, chosen).items():
            yield QueueItem(
                *about,
                status=status_of(known.verdicts[item]),
                flags=tuple(flags),
                assigned=tuple(known.assigned[item]),
                judged_by_me=any(one.reader == me for one in known.verdicts[item]),
            )

    def _universe(
        self, session: Session, chosen: QueueFilter
    ) -> dict[Item, tuple[tuple[str, str, str, str | None, str, str], list[Flag]]]:
        """Each answer with what is shown of it and its flags."""
        found: dict[Item, tuple[tuple[str, str, str, str | None, str, str], list[Flag]]] = {}
        if self._study is None:
            for row in session.execute(
                filtered(current_flags(), chosen.flags).order_by(FlagRow.id)
            ):
                flag = as_flag(row)
                item = (flag.case_id, flag.arm)
                about = (*item, flag.label, flag.modality, flag.question, flag.answer)
                found.setdefault(item, (about, []))[1].append(flag)
            return found
        words = chosen.flags.text.strip().casefold()
        statement = (
            select(TaskRow, AnswerRow, CaseRow)
            .join(
                AnswerRow, (AnswerRow.case_id == TaskRow.case_id) & (AnswerRow.arm == TaskRow.arm)
            )
            .join(CaseRow, CaseRow.id == TaskRow.case_id)
            .where(TaskRow.study_id == self._study)
            .order_by(TaskRow.position, TaskRow.reader)
        )
        for task, shown, case in session.execute(statement):
            if chosen.flags.arm not in (None, "", task.arm):
                continue
            if chosen.flags.modality not in (None, "", case.modality):
                continue
            text = f"{case.question}\n{shown.reasoning}\n{shown.answer}".casefold()
            if words and words not in text:
                continue
            item = (task.case_id, task.arm)
            about = (*item, shown.label, case.modality, case.question, shown.answer)
            found.setdefault(item, (about, []))
        return found


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
