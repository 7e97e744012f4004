"""A reader's tasks: the next one, and answers before and after the advice."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from rarl.errors import ReviewError
from rarl.records import COMMENT_LIMIT, Region, cleaned, sent_key
from rarl.review._tables import AdviceRow, FirstReadRow, ResponseRow, TaskRow
from rarl.review.conditions import presentation
from rarl.review.repositories.base import check_replaced
from rarl.review.repositories.flags import check_region
from rarl.review.studies.access import StudyAccess
from rarl.review.studies.records import FirstRead, ShownAdvice, StudyResponse, TaskView
from rarl.review.studies.rows import advice_of, first_read_of, response_of, task_of
from rarl.review.wrong_advice import Advice


class StudyTaking(StudyAccess):
    """The tasks of one reader."""

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
            wrong = advice_of(session.get(AdviceRow, (study_id, task.reader, task.position)))
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
                same = any(response.key == replaces for response in earlier)
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
            wrong = advice_of(session.get(AdviceRow, (study_id, task.reader, position)))
        return ShownAdvice(self._store.case(task.case_id), task.arm, wrong)

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
