"""A reader's side of a study: agree, answer before and after the advice, be debriefed, withdraw."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from rarl.errors import ReviewError
from rarl.records import (
    COMMENT_LIMIT,
    CaseSnapshot,
    Picture,
    Region,
    cleaned,
    new_key,
    sent_key,
)
from rarl.review._tables import (
    AdviceRow,
    EnrolmentRow,
    FirstReadRow,
    ResponseRow,
    StudyRow,
    TaskRow,
    WithdrawalRow,
)
from rarl.review.conditions import CONDITIONS, Condition, presentation
from rarl.review.privacy import Withdrawn
from rarl.review.repositories.base import check_replaced, person_name
from rarl.review.repositories.flags import check_region
from rarl.review.roles import canonical_name
from rarl.review.settled_answers import answers_of, settled_answers
from rarl.review.store import ReviewStore
from rarl.review.wrong_advice import SOURCES, Advice, Source

Experience = Literal["student", "trainee", "specialist", "other"]
EXPERIENCES: tuple[Experience, ...] = get_args(Experience)


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
        wrong_share: of the tasks with AI, how many show wrong advice on purpose; 0 for none.
        consent: what readers agree to before they begin; empty where nothing is asked.
        marks_region: whether readers may mark a place on the picture.
        by_worth: whether an audit is worked by expected value, see `rarl.review.worth`.
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
    wrong_share: float = 0.0
    consent: str = ""
    marks_region: bool = False
    by_worth: bool = False


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
        answer: the advice, or None where the condition hides it or hides it still.
        reasoning: that of the advice, or None likewise.
        step: "only"; or "first", before the advice is shown, and then "final".
        heat_map: whether a map of where the model looked is shown now.
        first: what the reader has committed, in step "final".
    """

    position: int
    pictures: tuple[Picture, ...]
    question: str
    answer: str | None
    reasoning: str | None
    step: Literal["only", "first", "final"] = "only"
    heat_map: bool = False
    first: FirstRead | None = None


@dataclass(frozen=True, slots=True)
class FirstRead:
    """What a reader committed before the advice appeared. It is never changed.

    Attributes:
        key: 32 hex digits; the same key sent again stores nothing.
        study_id: the study.
        case_id: see `CaseSnapshot`.
        reader: who.
        answer: the reader's own.
        confidence: 0 to 100, or None.
        region: marked on the picture, or None.
        seconds: time on the first step, or None.
        created: when it was stored, UTC.
    """

    key: str
    study_id: str
    case_id: str
    reader: str
    answer: str
    confidence: int | None
    region: Region | None
    seconds: float | None
    created: datetime


@dataclass(frozen=True, slots=True)
class Enrolment:
    """That a reader takes part in a study.

    Attributes:
        study_id: the study.
        reader: who.
        experience: as the reader says.
        consent_sha256: of the text that the reader agreed to; None where none was asked.
        created: when it was stored, UTC.
    """

    study_id: str
    reader: str
    experience: Experience
    consent_sha256: str | None
    created: datetime


@dataclass(frozen=True, slots=True)
class Debriefed:
    """What a reader learns of one of their tasks when the study is over for them.

    Attributes:
        position: of the task, from 0.
        question: of the case.
        picture: of the case, or None where pixels are not kept.
        condition: what was shown.
        first: the reader's answer before the advice, or None where there was one step.
        final: the reader's answer.
        advice: what was shown as the AI's answer, or None.
        wrong_on_purpose: where wrong advice came from; None where the variant's own was shown.
        reference: the settled answer, or None.
    """

    position: int
    question: str
    picture: Picture | None
    condition: Condition
    first: str | None
    final: str | None
    advice: str | None
    wrong_on_purpose: Source | None
    reference: str | None


@dataclass(frozen=True, slots=True)
class ShownAdvice:
    """What the app needs to draw a heat map of advice; nothing of it is for the reader.

    Attributes:
        case: with all its answers.
        arm: whose answer the task shows.
        wrong: the wrong advice that is shown instead, or None.
    """

    case: CaseSnapshot
    arm: str
    wrong: Advice | None


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
        seconds: time on task, of the second step where there are two; or None.
        created: when it was stored, UTC.
        replaces: key of the response that this one corrects, or None.
        region: marked on the picture, or None.
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
    region: Region | None = None


class StudyTasks:
    """The tasks of one reader."""

    def __init__(self, store: ReviewStore) -> None:
        """Look at a store, with the person whose work this is."""
        self._store = store

    def enrolment(self, study_id: str) -> Enrolment | None:
        """This person's own, or None.

        Raises:
            ReviewError: the database cannot be read.
        """
        self._store.need("judge")
        with self._store.reading() as session:
            row = self._enrolled(session, study_id)
        return None if row is None else _enrolment(row)

    def enrol(self, study_id: str, experience: Experience, *, agrees: bool) -> Enrolment:
        """Take part. A second time changes nothing.

        Args:
            study_id: the study.
            experience: as the reader says.
            agrees: with the study's consent text.

        Raises:
            ReviewError: the person does not take part, does not agree, or may not; or the database
                cannot be written.
        """
        self._store.need("judge")
        if experience not in EXPERIENCES:
            raise ReviewError(f"Choose your experience: {', '.join(EXPERIENCES)}.")
        with self._store.writing() as session:
            study = self._own(session, study_id)
            known = self._enrolled(session, study_id)
            if known is not None:
                return _enrolment(known)
            if study.consent and not agrees:
                raise ReviewError("Agree to the text above to take part, or leave the study.")
            row = EnrolmentRow(
                key=new_key(),
                study_id=study_id,
                reader=self._store.person or "",
                experience=experience,
                consent_sha256=_sha256(study.consent) if study.consent else None,
                created=datetime.now(UTC),
            )
            session.add(row)
            self._store.note(session, "write", "enrolment", [None])
        return _enrolment(row)

    def withdraw(self, study_id: str | None = None, reader: str | None = None) -> None:
        """Withdraw from a study, or from everything: the rows leave exports and training data.

        Args:
            study_id: from this study alone; from everything where not given.
            reader: for somebody else, which takes the right to manage people; oneself otherwise.

        Raises:
            ReviewError: nobody is named, there is no such study, the person may not, or the
                database cannot be written.
        """
        self._store.need("judge")
        person = self._store.person if reader is None else person_name(reader)
        if person is None:
            raise ReviewError("Name the reader who withdraws.")
        if person != self._store.person:
            self._store.need("users")
        with self._store.writing() as session:
            if study_id is not None:
                self._row(session, study_id)
            left = Withdrawn.of(session)
            if person in left.wholly or (study_id, person) in left.from_study:
                return
            session.add(
                WithdrawalRow(
                    key=new_key(), reader=person, study_id=study_id, created=datetime.now(UTC)
                )
            )
            self._store.note(session, "write", "withdrawal", [None])

    def next(self, study_id: str) -> TaskView | None:
        """This person's first task without a response, or None when all are done.

        Where the person has committed a first read of it, the view shows the advice.

        Raises:
            ReviewError: the person does not take part, has not agreed, has withdrawn or may not, or
                the database cannot be read.
        """
        self._store.need("judge")
        with self._store.reading() as session:
            study = self._own(session, study_id)
            if study.consent and self._enrolled(session, study_id) is None:
                raise ReviewError("Read what the study asks of you and agree before you begin.")
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
            if task is None:
                return None
            first = self._first(session, task)
            wrong = _advice(session.get(AdviceRow, (study_id, task.reader, task.position)))
        return self._view(task, first, wrong)

    def commit_first(
        self,
        study_id: str,
        position: int,
        answer: str,
        *,
        confidence: int | None = None,
        region: Region | None = None,
        seconds: float | None = None,
        key: str | None = None,
    ) -> FirstRead:
        """Store this person's answer before the advice is shown. It cannot be corrected.

        Raises:
            ReviewError: the task has no first step or it is done, something is off its scale, or
                the database cannot be written.
        """
        self._store.need("judge")
        words = _checked(answer, confidence)
        with self._store.writing() as session:
            known = session.scalar(select(FirstReadRow).where(FirstReadRow.key == sent_key(key)))
            if known is not None and (known.study_id, known.reader) == (
                study_id,
                self._store.person,
            ):
                return first_read_of(known)
            task = self._open_task(session, study_id, position)
            if not presentation(task_of(task).condition).read_first:
                raise ReviewError("This case has one step; save your answer.")
            if self._first(session, task) is not None:
                raise ReviewError("Your first answer is kept already; open the study again.")
            check_region(session, task.case_id, region)
            row = FirstReadRow(
                key=sent_key(key),
                case_id=task.case_id,
                study_id=study_id,
                reader=task.reader,
                answer=words,
                confidence=confidence,
                region=None if region is None else region.row(),
                seconds=seconds,
                created=datetime.now(UTC),
            )
            session.add(row)
            session.flush()
            self._store.note(session, "write", "response", [task.case_id])
        return first_read_of(row)

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
        region: Region | None = None,
    ) -> StudyResponse:
        """Store this person's answer to a task, the last step of it. When this returns, it is kept.

        Raises:
            ReviewError: there is no such task, it is answered or its first step is not, the
                deadline has passed, something is off its scale, or the database cannot be written.
        """
        self._store.need("judge")
        person = self._store.person
        words = _checked(answer, confidence)
        with self._store.writing() as session:
            known = session.scalar(select(ResponseRow).where(ResponseRow.key == sent_key(key)))
            if known is not None and (known.study_id, known.reader) == (study_id, person):
                return response_of(known)
            task = self._open_task(session, study_id, position)
            read_first = presentation(task_of(task).condition).read_first
            if read_first and self._first(session, task) is None:
                raise ReviewError("Commit your own answer first; then the AI's is shown.")
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
            check_region(session, task.case_id, region)
            row = ResponseRow(
                key=sent_key(key),
                case_id=task.case_id,
                study_id=study_id,
                reader=task.reader,
                answer=words,
                confidence=confidence,
                comment=cleaned(comment, COMMENT_LIMIT, "The comment"),
                seconds=seconds,
                created=datetime.now(UTC),
                replaces=replaces,
                region=None if region is None else region.row(),
            )
            session.add(row)
            session.flush()
            self._store.note(session, "write", "response", [task.case_id])
        return response_of(row)

    def shown_advice(self, study_id: str, position: int) -> ShownAdvice:
        """For the app, which draws the heat map of what is shown now.

        Raises:
            ReviewError: nothing is shown of this task now, it is not this person's, or the database
                cannot be read.
        """
        self._store.need("judge")
        with self._store.reading() as session:
            task = session.get(TaskRow, (study_id, self._store.person or "", position))
            if task is None:
                raise ReviewError("This task is not yours; open the study again.")
            shown = presentation(task_of(task).condition)
            if not shown.heat_map or (shown.read_first and self._first(session, task) is None):
                raise ReviewError("This step shows no heat map.")
            wrong = _advice(session.get(AdviceRow, (study_id, task.reader, position)))
        return ShownAdvice(self._store.case(task.case_id), task.arm, wrong)

    def debrief(self, study_id: str) -> tuple[Debriefed, ...]:
        """Which advice was wrong on purpose, once this person has done all tasks or time is up.

        Raises:
            ReviewError: tasks are left, the person does not take part or may not, or the database
                cannot be read.
        """
        self._store.need("judge")
        person = self._store.person
        with self._store.reading() as session:
            study = self._own(session, study_id)
            mine = (TaskRow.study_id == study_id, TaskRow.reader == person)
            tasks = session.scalars(select(TaskRow).where(*mine).order_by(TaskRow.position)).all()
            last_answers: dict[str, str] = {}
            for row in session.scalars(
                select(ResponseRow)
                .where(ResponseRow.study_id == study_id, ResponseRow.reader == person)
                .order_by(ResponseRow.id)
            ):
                last_answers[row.case_id] = row.answer  # corrections come later
            first = {
                row.case_id: row.answer
                for row in session.scalars(
                    select(FirstReadRow).where(
                        FirstReadRow.study_id == study_id, FirstReadRow.reader == person
                    )
                )
            }
            wrong = {
                row.position: row
                for row in session.scalars(
                    select(AdviceRow).where(
                        AdviceRow.study_id == study_id, AdviceRow.reader == person
                    )
                )
            }
        over = study.deadline is not None and study.deadline < datetime.now(UTC)
        if not over and not {task.case_id for task in tasks} <= last_answers.keys():
            raise ReviewError("The study tells what it showed once you have answered every case.")
        answers = answers_of(self._store, [task.case_id for task in tasks])
        settled = settled_answers(self._store, answers)
        debriefed = []
        for task in tasks:
            case = self._store.case(task.case_id)
            condition = task_of(task).condition
            instead = _advice(wrong.get(task.position))
            shown = instead.answer if instead else answers.get((task.case_id, task.arm))
            debriefed.append(
                Debriefed(
                    position=task.position,
                    question=case.question,
                    picture=case.pictures[0] if case.pictures else None,
                    condition=condition,
                    first=first.get(task.case_id),
                    final=last_answers.get(task.case_id),
                    advice=shown if presentation(condition).ai else None,
                    wrong_on_purpose=None if instead is None else instead.source,
                    reference=settled.get(task.case_id),
                )
            )
        return tuple(debriefed)

    # --- inside ------------------------------------------------------------------------------

    def _row(self, session: Session, study_id: str) -> StudyRow:
        row = session.get(StudyRow, study_id)
        if row is None:
            raise ReviewError("There is no such study; choose one from the list of studies.")
        return row

    def _own(self, session: Session, study_id: str) -> StudyRow:
        """A study in which this person takes part."""
        row = self._row(session, study_id)
        if self._store.person not in {canonical_name(reader) for reader in row.readers}:
            raise ReviewError("You do not take part in this study; ask whoever runs it.")
        if Withdrawn.of(session).holds(self._store.person, study_id):
            raise ReviewError("You have withdrawn from this study; nothing of it is used.")
        return row

    def _open_task(self, session: Session, study_id: str, position: int) -> TaskRow:
        study = self._row(session, study_id)
        task = session.get(TaskRow, (study_id, self._store.person or "", position))
        if study.kind != "study" or task is None or self._store.person is None:
            raise ReviewError("This task is not yours; open the study again.")
        self._own(session, study_id)
        if study.consent and self._enrolled(session, study_id) is None:
            raise ReviewError("Read what the study asks of you and agree before you begin.")
        if study.deadline is not None and study.deadline < datetime.now(UTC):
            raise ReviewError("The deadline of this study has passed; ask whoever runs it.")
        return task

    def _enrolled(self, session: Session, study_id: str) -> EnrolmentRow | None:
        return session.scalars(
            select(EnrolmentRow)
            .where(EnrolmentRow.study_id == study_id, EnrolmentRow.reader == self._store.person)
            .limit(1)
        ).first()

    def _first(self, session: Session, task: TaskRow) -> FirstReadRow | None:
        return session.scalars(
            select(FirstReadRow)
            .where(
                FirstReadRow.study_id == task.study_id,
                FirstReadRow.reader == task.reader,
                FirstReadRow.case_id == task.case_id,
            )
            .order_by(FirstReadRow.id)
            .limit(1)
        ).first()

    def _view(self, task: TaskRow, first: FirstReadRow | None, wrong: Advice | None) -> TaskView:
        case = self._store.case(task.case_id)
        own = next(answer for answer in case.answers if answer.arm == task.arm)
        shown = presentation(task_of(task).condition)
        visible = shown.ai and (first is not None or not shown.read_first)
        answer = own.answer if wrong is None else wrong.answer
        reasoning = own.reasoning if wrong is None else wrong.reasoning
        return TaskView(
            position=task.position,
            pictures=case.pictures,
            question=case.question,
            answer=answer if visible else None,
            reasoning=reasoning if visible and shown.reasoning else None,
            step="only" if not shown.read_first else "final" if first is not None else "first",
            heat_map=visible and shown.heat_map,
            first=None if first is None else first_read_of(first),
        )


def _checked(answer: str, confidence: int | None) -> str:
    if confidence is not None and not 0 <= confidence <= 100:
        raise ReviewError("Confidence goes from 0 to 100; choose again.")
    words = cleaned(answer, COMMENT_LIMIT, "The answer")
    if not words:
        raise ReviewError("Write your answer before it is sent.")
    return words


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _advice(row: AdviceRow | None) -> Advice | None:
    if row is None:
        return None
    return Advice(next(one for one in SOURCES if one == row.source), row.answer, row.reasoning)


def study_of(row: StudyRow) -> Study:
    """A stored study."""
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
        wrong_share=row.wrong_share or 0.0,
        consent=row.consent or "",
        marks_region=bool(row.marks_region),
        by_worth=bool(row.by_worth),
    )


def task_of(row: TaskRow) -> Task:
    """A stored task."""
    condition = next(one for one in CONDITIONS if one == row.condition)
    return Task(row.reader, row.position, row.case_id, row.arm, condition)


def response_of(row: ResponseRow) -> StudyResponse:
    """A stored response."""
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
        region=None if row.region is None else Region.of_row(row.region),
    )


def first_read_of(row: FirstReadRow) -> FirstRead:
    """A stored first read."""
    return FirstRead(
        key=row.key,
        study_id=row.study_id,
        case_id=row.case_id,
        reader=row.reader,
        answer=row.answer,
        confidence=row.confidence,
        region=None if row.region is None else Region.of_row(row.region),
        seconds=row.seconds,
        created=row.created,
    )


def _enrolment(row: EnrolmentRow) -> Enrolment:
    known: Experience = next((one for one in EXPERIENCES if one == row.experience), "other")
    return Enrolment(row.study_id, row.reader, known, row.consent_sha256, row.created)
