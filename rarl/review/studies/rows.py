"""From rows of the database to the records of studies."""

from __future__ import annotations

from rarl.records import Region
from rarl.review._tables import (
    AdviceRow,
    EnrolmentRow,
    FirstReadRow,
    ResponseRow,
    StudyRow,
    TaskRow,
)
from rarl.review.conditions import CONDITIONS
from rarl.review.roles import canonical_name
from rarl.review.studies.records import (
    EXPERIENCES,
    Enrolment,
    Experience,
    FirstRead,
    Study,
    StudyResponse,
    Task,
)
from rarl.review.wrong_advice import SOURCES, Advice


def advice_of(row: AdviceRow | None) -> Advice | None:
    """Stored wrong advice; None for none."""
    if row is None:
        return None
    return Advice(
        next(source for source in SOURCES if source == row.source), row.answer, row.reasoning
    )


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
    condition = next(name for name in CONDITIONS if name == row.condition)
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


def enrolment_of(row: EnrolmentRow) -> Enrolment:
    """A stored enrolment."""
    known: Experience = next((level for level in EXPERIENCES if level == row.experience), "other")
    return Enrolment(row.study_id, row.reader, known, row.consent_sha256, row.created)
