"""Which studies there are, and which of them are this person's."""

from __future__ import annotations

from sqlalchemy import distinct, func, select
from sqlalchemy.orm import Session

from rarl.errors import ReviewError
from rarl.review._tables import EnrolmentRow, FirstReadRow, ResponseRow, StudyRow, TaskRow
from rarl.review.privacy import Withdrawn
from rarl.review.roles import canonical_name
from rarl.review.store import ReviewStore
from rarl.review.studies.records import Study, Task
from rarl.review.studies.rows import study_of, task_of


class StudyAccess:
    """Reads of studies that every part of `Studies` needs."""

    def __init__(self, store: ReviewStore) -> None:
        """Look at a store, with the person whose work this is."""
        self._store = store

    def all(self) -> tuple[Study, ...]:
        """Audits and studies, newest first.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            rows = session.scalars(select(StudyRow).order_by(StudyRow.created.desc())).all()
        return tuple(study_of(row) for row in rows)

    def study(self, study_id: str) -> Study:
        """One of them.

        Raises:
            ReviewError: there is none, the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            return study_of(self._row(session, study_id))

    def tasks(self, study_id: str) -> tuple[Task, ...]:
        """All tasks with their arms: for whoever runs the study, not for its readers.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("assign")
        statement = select(TaskRow).where(TaskRow.study_id == study_id)
        with self._store.reading() as session:
            rows = session.scalars(statement.order_by(TaskRow.reader, TaskRow.position)).all()
        return tuple(task_of(row) for row in rows)

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
            task_counts = session.execute(tasks.group_by(TaskRow.reader)).all()
            answered_counts = session.execute(answered.group_by(ResponseRow.reader)).all()
        done = {row[0]: row[1] for row in answered_counts}
        return {row[0]: (done.get(row[0], 0), row[1]) for row in task_counts}

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
