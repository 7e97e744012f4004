"""What can give rates: audits drawn at random, and reader studies.

Flags are self-selected: their counts say what was noticed, not how often an arm errs. An audit
draws answers at random from the cases that chance kept (`CaseSnapshot.sampled`), whether or not
anybody complained. A reader study shows readers the same cases without AI, with answers, or with
full reasoning, balanced by seed, and asks for their own answer.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO
from uuid import uuid4

from sqlalchemy import distinct, func, select
from sqlalchemy.orm import Session, aliased

from rarl.errors import ReviewError
from rarl.records import COMMENT_LIMIT, SCALE, TEXT_LIMIT, Picture, cleaned, sent_key
from rarl.review._queue_index import refresh
from rarl.review._tables import AnswerRow, CaseRow, ResponseRow, StudyRow, TaskRow
from rarl.review.queue import READINGS, Item, Queue
from rarl.review.reader_metrics import (
    CONDITIONS,
    Condition,
    Outcome,
    Reading,
    agreement_with,
    outcomes,
    share,
)
from rarl.review.repositories.base import NAME_LIMIT, check_replaced
from rarl.review.roles import canonical_name
from rarl.review.store import ReviewStore
from rarl.review.transfer.table import harmless
from rarl.stats.bootstrap import Interval

WRONG_UP_TO = 1
"""Highest correctness (0-3) that counts as wrong in a rate."""


@dataclass(frozen=True, slots=True)
class Study:
    """An audit or a reader study.

    Attributes:
        id: 32 hex digits.
        created: when it was drawn, UTC.
        kind: "audit" (readers judge the arms) or "study" (readers answer themselves).
        title: as readers see it.
        instructions: as readers see them.
        seed: of the draw and the order; the same seed over the same cases draws the same tasks.
        conditions: what readers are shown; empty for an audit.
        readers: who takes part.
        population: how many answers (audit) or cases (study) there were to draw from.
        deadline: UTC, or None.
    """

    id: str
    created: datetime
    kind: Literal["audit", "study"]
    title: str
    instructions: str
    seed: int
    conditions: tuple[str, ...]
    readers: tuple[str, ...]
    population: int
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Task:
    """One case for one reader.

    Attributes:
        reader: who.
        position: from 0, as this reader sees them.
        case_id: see `CaseSnapshot`.
        arm: whose answer is shown; the reader is not told.
        condition: what of it is shown.
    """

    reader: str
    position: int
    case_id: str
    arm: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class TaskView:
    """What a reader may see of a task: no arm, no model, nobody else's answer.

    Attributes:
        position: from 0.
        pictures: of the case.
        question: of the case.
        answer: the arm's, or None where the condition hides it.
        reasoning: the arm's, or None where the condition hides it.
    """

    position: int
    pictures: tuple[Picture, ...]
    question: str
    answer: str | None
    reasoning: str | None


@dataclass(frozen=True, slots=True)
class StudyResponse:
    """What a reader answered in a study. Responses are never changed or removed.

    Attributes:
        id: counts up in the order of storing.
        key: 32 hex digits; the same key sent again stores nothing.
        study_id: the study.
        case_id: see `CaseSnapshot`.
        reader: who.
        answer: the reader's own.
        confidence: 0 to 100, or None.
        comment: free text.
        seconds: time on task, or None.
        created: when it was stored, UTC.
        replaces: key of the response that this one corrects, or None.
    """

    id: int
    key: str
    study_id: str
    case_id: str
    reader: str
    answer: str
    confidence: int | None
    comment: str
    seconds: float | None
    created: datetime
    replaces: str | None


@dataclass(frozen=True, slots=True)
class Rate:
    """How often an arm errs, from an audit.

    Attributes:
        arm: whose answers.
        wrong: share of settled answers with correctness at most `WRONG_UP_TO`, over pictures.
        unsettled: drawn answers that are not settled; a rate is only final where this is 0.
    """

    arm: str
    wrong: Interval
    unsettled: int


def allocate(
    cases: Sequence[str],
    readers: Sequence[str],
    arms: Sequence[str],
    conditions: Sequence[Condition],
    seed: int,
) -> tuple[Task, ...]:
    """Balanced, blinded tasks: every reader sees every case once, in an order of their own.

    Conditions and arms rotate over cases and readers (a Latin square over a shuffled order), so
    that for each reader the conditions differ in number by at most one, and for each case likewise
    over the readers; over any `len(conditions) * len(arms)` cases of a reader, each condition meets
    each arm once.

    >>> tasks = allocate("abcdef", ["A"], ["sft"], ["no-ai", "answer-only"], seed=1)
    >>> sorted(task.condition for task in tasks)[:3]
    ['answer-only', 'answer-only', 'answer-only']
    """
    shuffled = sorted(cases)
    draw = random.Random(seed)
    draw.shuffle(shuffled)
    turn = list(conditions)
    draw.shuffle(turn)
    tasks = []
    for number, reader in enumerate(readers):
        order = list(range(len(shuffled)))
        draw.shuffle(order)
        for position, place in enumerate(order):
            tasks.append(
                Task(
                    reader=reader,
                    position=position,
                    case_id=shuffled[place],
                    arm=arms[(place // len(turn) + number) % len(arms)],
                    condition=turn[(place + number) % len(turn)],
                )
            )
    return tuple(tasks)


class Studies:
    """Drawing audits and studies, working through them, and what they show."""

    def __init__(self, store: ReviewStore) -> None:
        """Look at a store, with the person whose work this is."""
        self._store = store

    def draw_audit(
        self,
        title: str,
        size: int,
        readers: Sequence[str],
        *,
        seed: int,
        arms: Sequence[str] | None = None,
        instructions: str = "",
        deadline: datetime | None = None,
    ) -> Study:
        """Draw answers at random and give each to two readers; `Queue(store, study.id)` holds them.

        Every answer of the chosen arms in a sampled case is equally likely.

        Args:
            title: as readers see it.
            size: how many answers, at most as many as there are.
            readers: two or more, balanced.
            seed: of the draw.
            arms: only theirs; all where not given.
            instructions: as readers see them.
            deadline: aware.

        Raises:
            ReviewError: there are too few sampled answers or readers, the person may not, or the
                database cannot be written.
        """
        names = _readers(readers, READINGS)
        with self._drawing() as session:
            statement = (
                select(AnswerRow.case_id, AnswerRow.arm)
                .join(CaseRow, CaseRow.id == AnswerRow.case_id)
                .where(CaseRow.sampled)
                .order_by(AnswerRow.case_id, AnswerRow.arm)
            )
            if arms:
                statement = statement.where(AnswerRow.arm.in_(arms))
            population: list[Item] = [(row[0], row[1]) for row in session.execute(statement)]
            if not 0 < size <= len(population):
                raise ReviewError(
                    f"There are {len(population)} answers that chance kept; draw between 1 and "
                    "that many, or let the app keep a random share of its cases."
                )
            draw = random.Random(seed)
            drawn = draw.sample(population, size)
            tasks = [
                Task(names[(place + turn) % len(names)], place, *item, condition="full-reasoning")
                for place, item in enumerate(drawn)
                for turn in range(READINGS)
            ]
            return self._store_study(
                session, "audit", title, instructions, seed, (), names, len(population), deadline,
                tasks,
            )  # fmt: skip

    def draw_study(
        self,
        title: str,
        readers: Sequence[str],
        *,
        seed: int,
        arms: Sequence[str],
        cases: Sequence[str] | None = None,
        size: int | None = None,
        conditions: Sequence[Condition] = CONDITIONS,
        instructions: str = "",
        deadline: datetime | None = None,
    ) -> Study:
        """Make a reader study, see `allocate`.

        Args:
            title: as readers see it.
            readers: who takes part.
            seed: of the draw and the balance.
            arms: whose answers are shown; each case must have them.
            cases: ids; all that have these arms where not given.
            size: draw so many of them at random; all where not given.
            conditions: what readers are shown.
            instructions: as readers see them.
            deadline: aware.

        Raises:
            ReviewError: something does not fit, the person may not, or the database cannot be
                written.
        """
        names = _readers(readers, 1)
        if not arms or not conditions or not set(conditions) <= set(CONDITIONS):
            raise ReviewError(
                f"A study needs an arm and conditions; choose from {', '.join(CONDITIONS)}."
            )
        with self._drawing() as session:
            having = select(AnswerRow.case_id, AnswerRow.arm).where(AnswerRow.arm.in_(arms))
            held: dict[str, set[str]] = {}
            for case_id, arm in session.execute(having):
                held.setdefault(case_id, set()).add(arm)
            usable = sorted(case_id for case_id, found in held.items() if found == set(arms))
            listed = usable if cases is None else sorted(set(cases))
            if not listed or not set(listed) <= set(usable):
                raise ReviewError(
                    "Not every case has an answer of every arm of the study; choose other cases "
                    "or fewer arms."
                )
            if size is not None and not 0 < size <= len(listed):
                raise ReviewError(f"There are {len(listed)} cases; draw between 1 and that many.")
            drawn = listed if size is None else random.Random(seed).sample(listed, size)
            tasks = allocate(drawn, names, list(dict.fromkeys(arms)), list(conditions), seed)
            return self._store_study(
                session, "study", title, instructions, seed, conditions, names, len(listed),
                deadline, tasks,
            )  # fmt: skip

    def all(self) -> tuple[Study, ...]:
        """Audits and studies, newest first.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            rows = session.scalars(select(StudyRow).order_by(StudyRow.created.desc())).all()
        return tuple(_study(row) for row in rows)

    def study(self, study_id: str) -> Study:
        """One of them.

        Raises:
            ReviewError: there is none, the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            return _study(self._row(session, study_id))

    def tasks(self, study_id: str) -> tuple[Task, ...]:
        """All tasks with their arms: for whoever runs the study, not for its readers.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("assign")
        statement = select(TaskRow).where(TaskRow.study_id == study_id)
        with self._store.reading() as session:
            rows = session.scalars(statement.order_by(TaskRow.reader, TaskRow.position)).all()
        return tuple(_task(row) for row in rows)

    def done(self, study_id: str) -> dict[str, tuple[int, int]]:
        """For each reader of a study, how many tasks are answered, and of how many.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        tasks = select(TaskRow.reader, func.count()).where(TaskRow.study_id == study_id)
        answered = select(ResponseRow.reader, func.count(distinct(ResponseRow.case_id))).where(
            ResponseRow.study_id == study_id
        )
        with self._store.reading() as session:
            given = session.execute(tasks.group_by(TaskRow.reader)).all()
            found = session.execute(answered.group_by(ResponseRow.reader)).all()
        part = {row[0]: row[1] for row in found}
        return {row[0]: (part.get(row[0], 0), row[1]) for row in given}

    def next(self, study_id: str) -> TaskView | None:
        """This person's first task without a response, or None when all are done.

        Raises:
            ReviewError: the person does not take part or may not, or the database cannot be read.
        """
        self._store.need("judge")
        with self._store.reading() as session:
            readers = self._row(session, study_id).readers
            if self._store.person not in {canonical_name(reader) for reader in readers}:
                raise ReviewError("You do not take part in this study; ask whoever runs it.")
            done = select(ResponseRow.case_id).where(
                ResponseRow.study_id == study_id, ResponseRow.reader == self._store.person
            )
            task = session.scalar(
                select(TaskRow)
                .where(
                    TaskRow.study_id == study_id,
                    TaskRow.reader == self._store.person,
                    TaskRow.case_id.not_in(done),
                )
                .order_by(TaskRow.position)
                .limit(1)
            )
        return None if task is None else self._view(task)

    def respond(
        self,
        study_id: str,
        position: int,
        answer: str,
        *,
        confidence: int | None = None,
        comment: str = "",
        seconds: float | None = None,
        key: str | None = None,
        replaces: str | None = None,
    ) -> StudyResponse:
        """Store this person's answer to a task. When this returns, it is kept.

        Raises:
            ReviewError: there is no such task, it is answered, the deadline has passed, something
                is off its scale, or the database cannot be written.
        """
        self._store.need("judge")
        person = self._store.person
        if confidence is not None and not 0 <= confidence <= 100:
            raise ReviewError("Confidence goes from 0 to 100; choose again.")
        words = cleaned(answer, COMMENT_LIMIT, "The answer")
        if not words:
            raise ReviewError("Write your answer before it is sent.")
        with self._store.writing() as session:
            known = session.scalar(select(ResponseRow).where(ResponseRow.key == sent_key(key)))
            if known is not None and (known.study_id, known.reader) == (study_id, person):
                return _response(known)
            study = self._row(session, study_id)
            task = session.get(TaskRow, (study_id, person or "", position))
            if study.kind != "study" or task is None or person is None:
                raise ReviewError("This task is not yours; open the study again.")
            if study.deadline is not None and study.deadline < datetime.now(UTC):
                raise ReviewError("The deadline of this study has passed; ask whoever runs it.")
            earlier = session.scalars(
                select(ResponseRow).where(
                    ResponseRow.study_id == study_id,
                    ResponseRow.reader == person,
                    ResponseRow.case_id == task.case_id,
                )
            ).all()
            if replaces is not None:
                same = any(one.key == replaces for one in earlier)
                whose = person if same else None
                check_replaced(session, ResponseRow, replaces, same, whose, person)
            elif earlier:
                raise ReviewError("You have answered this task; correct that answer instead.")
            row = ResponseRow(
                key=sent_key(key),
                case_id=task.case_id,
                study_id=study_id,
                reader=person,
                answer=words,
                confidence=confidence,
                comment=cleaned(comment, COMMENT_LIMIT, "The comment"),
                seconds=seconds,
                created=datetime.now(UTC),
                replaces=replaces,
            )
            session.add(row)
            session.flush()
            self._store.note(session, "write", "response", [task.case_id])
        return _response(row)

    def responses(self, study_id: str) -> tuple[tuple[Task, StudyResponse], ...]:
        """The current responses with their tasks, for whoever runs the study.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        return self._responses(study_id, "export")

    def _responses(self, study_id: str, action: str) -> tuple[tuple[Task, StudyResponse], ...]:
        self._store.need("export")
        later = aliased(ResponseRow)
        statement = (
            select(TaskRow, ResponseRow)
            .join(
                ResponseRow,
                (ResponseRow.study_id == TaskRow.study_id)
                & (ResponseRow.reader == TaskRow.reader)
                & (ResponseRow.case_id == TaskRow.case_id),
            )
            .where(
                TaskRow.study_id == study_id,
                ~select(later.id).where(later.replaces == ResponseRow.key).exists(),
            )
            .order_by(TaskRow.reader, TaskRow.position)
        )
        with self._store.reading() as session:
            found = session.execute(statement).all()
            self._store.note(session, action, "response", [task.case_id for task, _ in found])
            return tuple((_task(task), _response(row)) for task, row in found)

    def export_csv(self, study_id: str, file: TextIO) -> int:
        """Write one row a response, with what it is held against, safe to open in a spreadsheet.

        `ai_answer` is the arm's, shown or not; `reference` what was settled, see `outcomes`;
        `right` and `like_ai` say how far the response agrees with each, 0 to 1.

        Args:
            study_id: the study.
            file: opened with `newline=""`.

        Returns:
            How many responses were written.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        found = self.responses(study_id)
        answers = self._answers([task.case_id for task, _ in found])
        settled = self._references(answers)
        writer = csv.writer(file)
        writer.writerow(
            ["reader", "position", "case_id", "arm", "condition", "answer", "confidence", "comment",
             "seconds", "created", "ai_answer", "reference", "right", "like_ai"]
        )  # fmt: skip
        for task, said in found:
            shown, wanted = answers[task.case_id, task.arm], settled.get(task.case_id)
            cells = (
                task.reader, task.position, task.case_id, task.arm, task.condition, said.answer,
                said.confidence, said.comment, said.seconds, said.created.isoformat(), shown,
                wanted, wanted and agreement_with(said.answer, wanted),
                agreement_with(said.answer, shown),
            )  # fmt: skip
            writer.writerow(harmless("" if cell is None else str(cell)) for cell in cells)
        return len(found)

    def outcomes(self, study_id: str) -> tuple[Outcome, ...]:
        """How readers did under each condition, from the responses so far.

        They are held against the settled answer of each case: a correction (the adjudicator's
        before two readers'), else an answer that was judged right. Cases without one count for
        everything but `right` and `misled`.

        Raises:
            ReviewError: it is no reader study, the person may not, or the database cannot be read.
        """
        study = self.study(study_id)
        if study.kind != "study":
            raise ReviewError("Only a reader study has conditions to compare; choose one.")
        found = self._responses(study_id, "read")
        answers = self._answers([task.case_id for task, _ in found])
        settled = self._references(answers)
        pictures = self._store.picture_hashes(task.case_id for task, _ in found)
        readings = []
        for task, said in found:
            shown, wanted = answers[task.case_id, task.arm], settled.get(task.case_id)
            readings.append(
                Reading(
                    condition=task.condition,
                    reader=task.reader,
                    picture=pictures[task.case_id],
                    right=None if wanted is None else agreement_with(said.answer, wanted),
                    like_ai=agreement_with(said.answer, shown),
                    ai_right=None if wanted is None else agreement_with(shown, wanted),
                    confidence=said.confidence,
                    seconds=said.seconds,
                )
            )
        return outcomes(readings, study.seed)

    def rates(self, study_id: str) -> tuple[Rate, ...]:
        """How often each arm errs, from an audit, with intervals over pictures.

        Raises:
            ReviewError: it is no audit, the person may not, or the database cannot be read.
        """
        study = self.study(study_id)
        if study.kind != "audit":
            raise ReviewError("Rates come from an audit, not a study; draw one and have it judged.")
        queue = Queue(self._store, study_id)
        drawn = queue.places()
        settled = {(one.case_id, one.arm): one for one in queue.settled()}
        picture = self._store.picture_hashes(case_id for case_id, _ in settled)
        rates = []
        for arm in sorted({arm for _, arm in drawn}):
            known = [settled[item] for item in drawn if item[1] == arm and item in settled]
            if known:
                wrong = share(
                    [one.correctness <= WRONG_UP_TO for one in known],
                    [picture[one.case_id] for one in known],
                    study.seed,
                )
                left = sum(item[1] == arm and item not in settled for item in drawn)
                rates.append(Rate(arm, wrong, left))
        return tuple(rates)

    # --- inside ------------------------------------------------------------------------------

    def _answers(self, case_ids: Sequence[str]) -> dict[Item, str]:
        """What each arm answered in these cases."""
        statement = select(AnswerRow.case_id, AnswerRow.arm, AnswerRow.answer).where(
            AnswerRow.case_id.in_(set(case_ids))
        )
        with self._store.reading() as session:
            return {(row[0], row[1]): row[2] for row in session.execute(statement)}

    def _references(self, answers: Mapping[Item, str]) -> dict[str, str]:
        """The settled answer of each case that has one."""
        queues = [None, *(one.id for one in self.all() if one.kind == "audit")]
        settled = [one for work in queues for one in Queue(self._store, work).settled()]
        found = {}
        # The better founded come last, and stay.
        for one in sorted(settled, key=lambda one: (bool(one.corrected_answer), one.adjudicated)):
            answer = one.corrected_answer
            if not answer and one.correctness == max(SCALE):
                answer = answers.get((one.case_id, one.arm), "")
            if answer.strip():
                found[one.case_id] = answer.strip()
        return found

    def _drawing(self) -> AbstractContextManager[Session]:
        self._store.need("assign")
        return self._store.writing()

    def _store_study(
        self,
        session: Session,
        kind: Literal["audit", "study"],
        title: str,
        instructions: str,
        seed: int,
        conditions: Sequence[Condition],
        readers: Sequence[str],
        population: int,
        deadline: datetime | None,
        tasks: Sequence[Task],
    ) -> Study:
        words = cleaned(title, 200, "The title")
        if not words:
            raise ReviewError("Give the study a title that its readers will know it by.")
        if deadline is not None and deadline.tzinfo is None:
            raise ReviewError("The deadline needs a time zone; add one.")
        row = StudyRow(
            id=uuid4().hex,
            created=datetime.now(UTC),
            kind=kind,
            title=words,
            instructions=cleaned(instructions, TEXT_LIMIT, "The text of instructions"),
            seed=seed,
            conditions=list(conditions),
            readers=list(readers),
            population=population,
            deadline=deadline,
            drawn_by=self._store.person,
        )
        session.add(row)
        session.flush()
        session.add_all(
            TaskRow(
                study_id=row.id,
                reader=task.reader,
                position=task.position,
                case_id=task.case_id,
                arm=task.arm,
                condition=task.condition,
            )
            for task in tasks
        )
        refresh(session, (task.case_id for task in tasks))
        self._store.note(session, "write", "study", [None])
        return _study(row)

    def _row(self, session: Session, study_id: str) -> StudyRow:
        row = session.get(StudyRow, study_id)
        if row is None:
            raise ReviewError("There is no such study; choose one from the list of studies.")
        return row

    def _view(self, task: TaskRow) -> TaskView:
        case = self._store.case(task.case_id)
        shown = next(answer for answer in case.answers if answer.arm == task.arm)
        return TaskView(
            position=task.position,
            pictures=case.pictures,
            question=case.question,
            answer=None if task.condition == "no-ai" else shown.answer,
            reasoning=shown.reasoning if task.condition == "full-reasoning" else None,
        )


def _readers(readers: Sequence[str], least: int) -> list[str]:
    cleaned_names = [cleaned(reader, NAME_LIMIT, "The reader's name") for reader in readers]
    names = [canonical_name(name) for name in cleaned_names]
    distinct = list(dict.fromkeys(name for name in names if name is not None))
    if len(distinct) < least:
        raise ReviewError(f"Name at least {least} reader{'s' if least > 1 else ''}.")
    return distinct


def _study(row: StudyRow) -> Study:
    return Study(
        id=row.id,
        created=row.created,
        kind="audit" if row.kind == "audit" else "study",
        title=row.title,
        instructions=row.instructions,
        seed=row.seed,
        conditions=tuple(row.conditions),
        readers=tuple(canonical_name(reader) or "" for reader in row.readers),
        population=row.population,
        deadline=row.deadline,
    )


def _task(row: TaskRow) -> Task:
    condition = next(one for one in CONDITIONS if one == row.condition)
    return Task(row.reader, row.position, row.case_id, row.arm, condition)


def _response(row: ResponseRow) -> StudyResponse:
    return StudyResponse(
        id=row.id,
        key=row.key,
        study_id=row.study_id,
        case_id=row.case_id,
        reader=row.reader,
        answer=row.answer,
        confidence=row.confidence,
        comment=row.comment,
        seconds=row.seconds,
        created=row.created,
        replaces=row.replaces,
    )
