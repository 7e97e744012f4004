"""What a reader learns when a study is over for them."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select

from rarl.errors import ReviewError
from rarl.review._tables import AdviceRow, FirstReadRow, ResponseRow, TaskRow
from rarl.review.conditions import presentation
from rarl.review.settled_answers import answers_of, settled_answers
from rarl.review.studies.access import StudyAccess
from rarl.review.studies.records import Debriefed
from rarl.review.studies.rows import advice_of, task_of


class StudyDebriefing(StudyAccess):
    """Which advice was wrong on purpose."""

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
            instead = advice_of(wrong.get(task.position))
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
