"""What readers answered, with all that it is held against, and its CSV."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TextIO

from sqlalchemy import select
from sqlalchemy.orm import aliased

from rarl.records import Region
from rarl.review._tables import AdviceRow, EnrolmentRow, FirstReadRow, ResponseRow, TaskRow
from rarl.review.privacy import Pseudonyms, Withdrawn
from rarl.review.reader_metrics import agreement_with
from rarl.review.settled_answers import answers_of, settled_answers
from rarl.review.studies.access import StudyAccess
from rarl.review.studies.records import EXPERIENCES, Experience, FirstRead, StudyResponse, Task
from rarl.review.studies.rows import first_read_of, response_of, task_of
from rarl.review.transfer.table import harmless
from rarl.review.wrong_advice import SOURCES, Source


@dataclass(frozen=True, slots=True)
class StudyReading:
    """All that is known of one answered task.

    Attributes:
        task: with the variant that a reader is not told.
        response: the reader's last word.
        first: what the reader committed before the advice, or None where there was one step.
        advice: what was, or would have been, shown as the AI's answer.
        wrong_on_purpose: where wrong advice came from; None where it is the variant's own answer.
        reference: the settled answer, or None.
        experience: as the reader says, or None.
    """

    task: Task
    response: StudyResponse
    first: FirstRead | None
    advice: str
    wrong_on_purpose: Source | None
    reference: str | None
    experience: Experience | None

    @property
    def seconds(self) -> float | None:
        """Time on the task, of both steps where there are two; None where one is unknown."""
        if self.first is None or self.response.seconds is None:
            return self.response.seconds
        return None if self.first.seconds is None else self.first.seconds + self.response.seconds


class StudyReadings(StudyAccess):
    """The responses to a study."""

    def responses(self, study_id: str) -> tuple[tuple[Task, StudyResponse], ...]:
        """The current responses with their tasks, for whoever runs the study.

        Those of readers who have withdrawn are left out.

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
            withdrawn = Withdrawn.of(session)
            rows = [
                (task_of(task), response_of(row))
                for task, row in session.execute(statement)
                if not withdrawn.holds(task.reader, study_id)
            ]
            self._store.note(session, action, "response", [task.case_id for task, _ in rows])
        return tuple(rows)

    def readings(self, study_id: str, action: str = "read") -> tuple[StudyReading, ...]:
        """The answered tasks with all that they are held against, for whoever runs the study.

        Args:
            study_id: the study.
            action: what the audit says of it.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        rows = self._responses(study_id, action)
        answers = answers_of(self._store, [task.case_id for task, _ in rows])
        settled = settled_answers(self._store, answers)
        with self._store.reading() as session:
            first = {
                (row.reader, row.case_id): first_read_of(row)
                for row in session.scalars(
                    select(FirstReadRow).where(FirstReadRow.study_id == study_id)
                )
            }
            wrong = {
                (row.reader, row.position): row
                for row in session.scalars(select(AdviceRow).where(AdviceRow.study_id == study_id))
            }
            experience = {
                row.reader: row.experience
                for row in session.scalars(
                    select(EnrolmentRow).where(EnrolmentRow.study_id == study_id)
                )
            }
        readings = []
        for task, response in rows:
            instead = wrong.get((task.reader, task.position))
            readings.append(
                StudyReading(
                    task=task,
                    response=response,
                    first=first.get((task.reader, task.case_id)),
                    advice=instead.answer if instead else answers[task.case_id, task.arm],
                    wrong_on_purpose=None
                    if instead is None
                    else next(source for source in SOURCES if source == instead.source),
                    reference=settled.get(task.case_id),
                    experience=next(
                        (known for known in EXPERIENCES if known == experience.get(task.reader)),
                        None,
                    ),
                )
            )
        return tuple(readings)

    def export_csv(self, study_id: str, file: TextIO, names: bool = False) -> int:
        """Write one row a response, with what it is held against, safe to open in a spreadsheet.

        `ai_answer` is the advice, shown or not; `reference` what was settled, see `outcomes`;
        `right` and `like_ai` say how far the response agrees with each, 0 to 1; `first_answer` and
        its neighbours hold the first of two steps; `wrong_on_purpose` says where wrong advice came
        from.

        Args:
            study_id: the study.
            file: opened with `newline=""`.
            names: whether readers keep their names; otherwise they are pseudonyms.

        Returns:
            How many responses were written.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        readings = self.readings(study_id, "export")
        with self._store.reading() as session:
            pseudonyms = Pseudonyms.of(session)
        writer = csv.writer(file)
        writer.writerow(
            ["reader", "position", "case_id", "arm", "condition", "answer", "confidence", "comment",
             "seconds", "created", "ai_answer", "reference", "right", "like_ai", "experience",
             "region", "first_answer", "first_confidence", "first_region", "first_seconds",
             "first_right", "wrong_on_purpose"]
        )  # fmt: skip
        for reading in readings:
            task, response, first = reading.task, reading.response, reading.first
            reference = reading.reference
            reader = task.reader if names else pseudonyms.of_name(task.reader)
            cells = (
                reader, task.position, task.case_id, task.arm, task.condition, response.answer,
                response.confidence, response.comment, response.seconds,
                response.created.isoformat(), reading.advice, reference,
                reference and agreement_with(response.answer, reference),
                agreement_with(response.answer, reading.advice), reading.experience,
                _place(response.region), first and first.answer, first and first.confidence,
                _place(first.region) if first else None, first and first.seconds,
                first and reference and agreement_with(first.answer, reference),
                reading.wrong_on_purpose,
            )  # fmt: skip
            writer.writerow(harmless("" if cell is None else str(cell)) for cell in cells)
        return len(readings)


def _place(region: Region | None) -> str | None:
    return None if region is None else " ".join(map(str, (region.picture, *region.box)))
