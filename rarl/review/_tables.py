"""The tables behind the store; nobody else sees these rows.

What each column means stands here once (`doc`): exports take their data dictionary from it. The
schema itself is made by `rarl.review.migrations`; a test holds the two together.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    JSON,
    ColumnElement,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    func,
    type_coerce,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from rarl.review.roles import canonical_name

CASE_DOC = "The case it belongs to."
READER_DOC = "Who; empty where nobody was named."
KEY_DOC = "32 hex digits, unique over all stores: sending it twice stores it once."
REPLACES_DOC = "Key of the earlier one that this corrects; that one stays, but counts no more."
CREATED_DOC = "When it was stored, UTC."
NUMBER_DOC = "Counts up in the order of storing; may differ after an import."
REGION_DOC = "Place on the scan: picture (from 0), left, top, right, bottom in its pixels."
STUDY_DOC = "Study or audit it was given in; empty for the queue of flags."


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC, also where the database (SQLite) knows no time zones."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC without its zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


class PersonName(TypeDecorator[str]):
    """The canonical name of a person, whatever spelling is written, sought or was stored before.

    Rows are never changed, so that those of earlier versions keep their spelling: it is folded when
    they are read, and their letter case is left aside when they are sought.
    """

    impl = String(200)
    cache_ok = True

    class Comparator(TypeDecorator.Comparator[str]):
        """Compares without regard to case."""

        def __eq__(self, other: Any) -> ColumnElement[bool]:  # type: ignore[override]
            if not isinstance(other, str):
                return cast(ColumnElement[bool], super().__eq__(other))
            name = canonical_name(other)
            stored: ColumnElement[bool] = func.lower(type_coerce(self.expr, String)) == name
            return stored

    comparator_factory = Comparator

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Write the canonical name."""
        return canonical_name(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Read the canonical name."""
        return canonical_name(value)


class Base(DeclarativeBase):
    """All tables of the store."""


# A number is never given twice.
NUMBERED = {"sqlite_autoincrement": True}


def number_column() -> Mapped[int]:
    """The place of a row in the order of storing."""
    return mapped_column(primary_key=True, doc=NUMBER_DOC)


def key_column() -> Mapped[str]:
    """What makes a row the same in every store."""
    return mapped_column(String(32), unique=True, index=True, doc=KEY_DOC)


def case_column() -> Mapped[str]:
    """The case that a row is about."""
    return mapped_column(ForeignKey("cases.id"), index=True, doc=CASE_DOC)


def of_an_answer() -> ForeignKeyConstraint:
    """The answer that a row is about."""
    return ForeignKeyConstraint(["case_id", "arm"], ["answers.case_id", "answers.arm"])


def region_column() -> Mapped[dict[str, int] | None]:
    """A place on the scan, or none."""
    return mapped_column(JSON(none_as_null=True), doc=REGION_DOC)


def created_column() -> Mapped[datetime]:
    """When a row was stored."""
    return mapped_column(UtcDateTime, doc=CREATED_DOC)


def replaces_column() -> Mapped[str | None]:
    """The earlier row that a row corrects, or none."""
    return mapped_column(String(32), unique=True, index=True, doc=REPLACES_DOC)


class CaseRow(Base):
    """`CaseSnapshot` without its pictures and answers."""

    __tablename__ = "cases"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, doc="32 hex digits.")
    created: Mapped[datetime] = mapped_column(UtcDateTime, doc="When the case was made, UTC.")
    app_version: Mapped[str] = mapped_column(String(40), doc="Version of this program.")
    modality: Mapped[str | None] = mapped_column(
        String(16), index=True, doc="DICOM Modality (0008,0060), such as CT."
    )
    attributes: Mapped[dict[str, str]] = mapped_column(
        JSON, doc="What the scan kept of its header: DICOM keyword to text."
    )
    question: Mapped[str] = mapped_column(Text, doc="As the person typed it.")
    mode: Mapped[str] = mapped_column(
        String(40), doc="Inference mode: reason, answer or answer-then-reason."
    )
    model: Mapped[str] = mapped_column(Text, doc="Name of the base model, for all arms.")
    prompt_hash: Mapped[str] = mapped_column(
        String(128), doc="Changes when the wording of the prompt changes, for all arms."
    )
    decoding: Mapped[dict[str, Any]] = mapped_column(
        JSON, doc="How text was drawn, the seed included, for all arms."
    )
    shown_order: Mapped[list[str]] = mapped_column(JSON, doc="Arms as shown, left to right.")
    blind: Mapped[bool] = mapped_column(doc="Whether the names of the arms were hidden.")
    sampled: Mapped[bool] = mapped_column(
        doc="Whether chance kept the case, not a complaint: only these can give rates."
    )
    pictures: Mapped[list[PictureRow]] = relationship(order_by="PictureRow.position")
    answers: Mapped[list[AnswerRow]] = relationship(order_by="AnswerRow.position")


class PictureRow(Base):
    """`Picture`."""

    __tablename__ = "pictures"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True, doc=CASE_DOC)
    position: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, doc="From 0, as the prompt shows them."
    )
    name: Mapped[str] = mapped_column(
        String(80), doc="What the prompt calls it, such as current; empty for a single picture."
    )
    # Not read with every flag in a list: a picture may have megabytes.
    png: Mapped[bytes | None] = mapped_column(
        LargeBinary, deferred=True, doc="The pixels as shown, de-identified; or only their hash."
    )
    sha256: Mapped[str] = mapped_column(String(64), index=True, doc="Of the PNG file.")
    width: Mapped[int] = mapped_column(doc="Pixels.")
    height: Mapped[int] = mapped_column(doc="Pixels.")
    shown: Mapped[dict[str, Any]] = mapped_column(
        JSON,
        doc="How it was looked at: plane, frame and time (from 0), window (centre, width), invert, "
        "crop, region and masks (left, top, right, bottom in pixels of the plane), and the "
        "measurements drawn on it.",
    )


class AnswerRow(Base):
    """`ArmAnswer`."""

    __tablename__ = "answers"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True, doc=CASE_DOC)
    arm: Mapped[str] = mapped_column(String(80), primary_key=True, doc="Name of the arm.")
    position: Mapped[int] = mapped_column(doc="From 0, as asked.")
    label: Mapped[str] = mapped_column(Text, doc="What the interface called the arm.")
    revision: Mapped[str] = mapped_column(
        String(80), doc="Twelve hex digits of the weights that answered."
    )
    reasoning: Mapped[str] = mapped_column(Text, doc="Text of the think block.")
    answer: Mapped[str] = mapped_column(Text, doc="Text of the answer block.")
    problems: Mapped[list[str]] = mapped_column(JSON, doc="What is wrong with the form.")
    text: Mapped[str] = mapped_column(Text, doc="The raw text.")
    tokens: Mapped[int] = mapped_column(doc="Completion tokens.")
    seconds: Mapped[float] = mapped_column(doc="From the question to this arm's end.")
    stopped: Mapped[bool] = mapped_column(doc="Whether the person ended it.")
    note: Mapped[str | None] = mapped_column(
        Text, doc="Why it broke off, or what else must be known of it, such as too little memory."
    )


class FlagRow(Base):
    """`Flag` without what it shows of its case."""

    __tablename__ = "flags"
    __table_args__ = (
        of_an_answer(),
        NUMBERED,
    )

    id: Mapped[int] = number_column()
    key: Mapped[str] = key_column()
    case_id: Mapped[str] = mapped_column(String(32), index=True, doc=CASE_DOC)
    arm: Mapped[str] = mapped_column(String(80), doc="Whose answer.")
    category: Mapped[str] = mapped_column(String(40), index=True, doc="Key of the taxonomy.")
    severity: Mapped[str] = mapped_column(
        String(40), index=True, doc="By clinical consequence, key of the taxonomy."
    )
    comment: Mapped[str] = mapped_column(Text, doc="Free text.")
    sentence: Mapped[str] = mapped_column(Text, doc="The part of the reasoning that is wrong.")
    sentence_start: Mapped[int | None] = mapped_column(
        doc="Where it begins in the reasoning, in characters from 0."
    )
    region: Mapped[dict[str, int] | None] = region_column()
    corrected_answer: Mapped[str] = mapped_column(Text, doc="What would have been right.")
    corrected_explanation: Mapped[str] = mapped_column(Text, doc="And why.")
    created: Mapped[datetime] = created_column()
    reader: Mapped[str | None] = mapped_column(PersonName, doc=READER_DOC)
    replaces: Mapped[str | None] = replaces_column()


class DismissalRow(Base):
    """That a flag is set aside without a verdict, or no longer is; the latest row counts."""

    __tablename__ = "dismissals"
    __table_args__ = (NUMBERED,)

    id: Mapped[int] = number_column()
    key: Mapped[str] = key_column()
    case_id: Mapped[str] = case_column()
    flag_key: Mapped[str] = mapped_column(
        ForeignKey("flags.key"), index=True, doc="Key of the flag."
    )
    given: Mapped[bool] = mapped_column(doc="False where the dismissal is taken back.")
    reason: Mapped[str] = mapped_column(Text, doc="Why, as typed.")
    created: Mapped[datetime] = created_column()
    reader: Mapped[str | None] = mapped_column(PersonName, doc=READER_DOC)
    replaces: Mapped[str | None] = replaces_column()


class VoteRow(Base):
    """`Vote`."""

    __tablename__ = "votes"
    __table_args__ = (NUMBERED,)

    id: Mapped[int] = number_column()
    key: Mapped[str] = key_column()
    case_id: Mapped[str] = case_column()
    outcome: Mapped[str] = mapped_column(String(20), doc="better, tie, all-good or all-bad.")
    preferred: Mapped[str | None] = mapped_column(String(80), doc="The better arm.")
    reason: Mapped[str] = mapped_column(Text, doc="Free text.")
    own_answer: Mapped[str] = mapped_column(
        Text, doc="What the reader answered before the columns were shown."
    )
    created: Mapped[datetime] = created_column()
    reader: Mapped[str | None] = mapped_column(PersonName, doc=READER_DOC)
    replaces: Mapped[str | None] = replaces_column()


class VerdictRow(Base):
    """`Verdict`."""

    __tablename__ = "verdicts"
    __table_args__ = (
        of_an_answer(),
        NUMBERED,
    )

    id: Mapped[int] = number_column()
    key: Mapped[str] = key_column()
    case_id: Mapped[str] = case_column()
    arm: Mapped[str] = mapped_column(String(80), doc="Whose answer.")
    study_id: Mapped[str | None] = mapped_column(String(32), index=True, doc=STUDY_DOC)
    role: Mapped[str] = mapped_column(String(20), doc="reader or adjudicator.")
    correctness: Mapped[int] = mapped_column(doc="0 (wrong) to 3 (right).")
    explanation: Mapped[int] = mapped_column(doc="0 (misleading) to 3 (sound and complete).")
    agrees: Mapped[bool | None] = mapped_column(doc="With the flags on this answer.")
    corrected_answer: Mapped[str] = mapped_column(Text, doc="What would have been right.")
    corrected_explanation: Mapped[str] = mapped_column(Text, doc="And why.")
    comment: Mapped[str] = mapped_column(Text, doc="Free text.")
    seconds: Mapped[float | None] = mapped_column(doc="Time on task.")
    created: Mapped[datetime] = created_column()
    reader: Mapped[str] = mapped_column(PersonName, index=True, doc="Who.")
    replaces: Mapped[str | None] = replaces_column()


class AssignmentRow(Base):
    """Who shall judge an answer, or no longer shall; the latest row counts."""

    __tablename__ = "assignments"
    __table_args__ = (
        of_an_answer(),
        NUMBERED,
    )

    id: Mapped[int] = number_column()
    key: Mapped[str] = key_column()
    case_id: Mapped[str] = case_column()
    arm: Mapped[str] = mapped_column(String(80), doc="Whose answer.")
    study_id: Mapped[str | None] = mapped_column(String(32), index=True, doc=STUDY_DOC)
    reader: Mapped[str] = mapped_column(PersonName, index=True, doc="Who shall judge.")
    given: Mapped[bool] = mapped_column(doc="False where it is taken back.")
    assigned_by: Mapped[str | None] = mapped_column(PersonName, doc="Who assigned.")
    created: Mapped[datetime] = created_column()
    replaces: Mapped[str | None] = replaces_column()


class StudyRow(Base):
    """`Study` without its tasks."""

    __tablename__ = "studies"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, doc="32 hex digits.")
    created: Mapped[datetime] = created_column()
    kind: Mapped[str] = mapped_column(String(20), doc="study or audit.")
    title: Mapped[str] = mapped_column(Text, doc="As readers see it.")
    instructions: Mapped[str] = mapped_column(Text, doc="As readers see them.")
    seed: Mapped[int] = mapped_column(doc="Of the draw and of the order.")
    conditions: Mapped[list[str]] = mapped_column(
        JSON,
        doc="What readers are shown, such as no-ai, answer-only or read-first/full-reasoning.",
    )
    readers: Mapped[list[str]] = mapped_column(JSON, doc="Who takes part.")
    population: Mapped[int] = mapped_column(doc="How many there were to draw from.")
    deadline: Mapped[datetime | None] = mapped_column(UtcDateTime, doc="UTC.")
    drawn_by: Mapped[str | None] = mapped_column(PersonName, doc=READER_DOC)
    wrong_share: Mapped[float | None] = mapped_column(
        doc="Share of the tasks with AI that show wrong advice on purpose; empty for none."
    )
    consent: Mapped[str | None] = mapped_column(
        Text, doc="What readers agree to before they begin; empty where nothing is asked."
    )
    marks_region: Mapped[bool | None] = mapped_column(
        doc="Whether readers may mark a place on the picture."
    )
    by_worth: Mapped[bool | None] = mapped_column(
        doc="Whether an audit is worked by expected value: only its random share gives rates."
    )


class TaskRow(Base):
    """`Task`."""

    __tablename__ = "tasks"

    study_id: Mapped[str] = mapped_column(
        ForeignKey("studies.id"), primary_key=True, doc="The study."
    )
    reader: Mapped[str] = mapped_column(PersonName, primary_key=True, doc="Who.")
    position: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, doc="From 0, as this reader sees them."
    )
    case_id: Mapped[str] = case_column()
    arm: Mapped[str] = mapped_column(String(80), doc="Whose answer.")
    condition: Mapped[str] = mapped_column(String(40), doc="What the reader is shown.")


class ResponseRow(Base):
    """`StudyResponse`."""

    __tablename__ = "responses"
    __table_args__ = (NUMBERED,)

    id: Mapped[int] = number_column()
    key: Mapped[str] = key_column()
    case_id: Mapped[str] = case_column()
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), doc="The study.")
    reader: Mapped[str] = mapped_column(PersonName, doc="Who.")
    answer: Mapped[str] = mapped_column(Text, doc="The reader's own answer.")
    confidence: Mapped[int | None] = mapped_column(doc="0 to 100.")
    comment: Mapped[str] = mapped_column(Text, doc="Free text.")
    seconds: Mapped[float | None] = mapped_column(
        doc="Time on task; of the second step where there are two."
    )
    created: Mapped[datetime] = created_column()
    replaces: Mapped[str | None] = replaces_column()
    region: Mapped[dict[str, int] | None] = region_column()


class FirstReadRow(Base):
    """`FirstRead`: what a reader committed before the AI's answer appeared."""

    __tablename__ = "first_reads"
    __table_args__ = (NUMBERED,)

    id: Mapped[int] = number_column()
    key: Mapped[str] = key_column()
    case_id: Mapped[str] = case_column()
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), doc="The study.")
    reader: Mapped[str] = mapped_column(PersonName, doc="Who.")
    answer: Mapped[str] = mapped_column(Text, doc="The reader's own, before the AI's was shown.")
    confidence: Mapped[int | None] = mapped_column(doc="0 to 100.")
    region: Mapped[dict[str, int] | None] = region_column()
    seconds: Mapped[float | None] = mapped_column(doc="Time on task, of the first step.")
    created: Mapped[datetime] = created_column()


class AdviceRow(Base):
    """`Advice`: wrong advice that a task shows on purpose instead of the variant's answer."""

    __tablename__ = "advice"

    study_id: Mapped[str] = mapped_column(
        ForeignKey("studies.id"), primary_key=True, doc="The study."
    )
    reader: Mapped[str] = mapped_column(PersonName, primary_key=True, doc="Who sees it.")
    position: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, doc="Of the task, from 0."
    )
    case_id: Mapped[str] = case_column()
    source: Mapped[str] = mapped_column(
        String(20), doc="variant, sample or flip: where the wrong answer comes from."
    )
    answer: Mapped[str] = mapped_column(Text, doc="Shown as the AI's answer; known to be wrong.")
    reasoning: Mapped[str] = mapped_column(Text, doc="Shown as its reasoning; empty for none.")
    created: Mapped[datetime] = created_column()


class EnrolmentRow(Base):
    """`Enrolment`: that a reader takes part, and has agreed where a consent is asked."""

    __tablename__ = "enrolments"
    __table_args__ = (NUMBERED,)

    id: Mapped[int] = number_column()
    key: Mapped[str] = key_column()
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), doc="The study.")
    reader: Mapped[str] = mapped_column(PersonName, doc="Who.")
    experience: Mapped[str] = mapped_column(
        String(20), doc="student, trainee, specialist or other, as the reader says."
    )
    consent_sha256: Mapped[str | None] = mapped_column(
        String(64), doc="Of the text that the reader agreed to; empty where none was asked."
    )
    created: Mapped[datetime] = created_column()


class WithdrawalRow(Base):
    """That a reader has withdrawn: their rows leave exports and training data."""

    __tablename__ = "withdrawals"
    __table_args__ = (NUMBERED,)

    id: Mapped[int] = number_column()
    key: Mapped[str] = key_column()
    reader: Mapped[str] = mapped_column(PersonName, index=True, doc="Who.")
    study_id: Mapped[str | None] = mapped_column(
        String(32), doc="From this study alone; empty for everything."
    )
    created: Mapped[datetime] = created_column()


class MeasurementRow(Base):
    """A number that says how much an answer is worth judging."""

    __tablename__ = "measurements"
    __table_args__ = (
        of_an_answer(),
        NUMBERED,
    )

    id: Mapped[int] = number_column()
    key: Mapped[str] = key_column()
    case_id: Mapped[str] = case_column()
    arm: Mapped[str] = mapped_column(String(80), doc="Whose answer.")
    name: Mapped[str] = mapped_column(String(20), doc="consistency or needs-picture.")
    value: Mapped[float] = mapped_column(
        doc="Share of sampled answers that say the same; 0 where the picture is not needed, else 1."
    )
    created: Mapped[datetime] = created_column()


class SampleRow(Base):
    """A text sampled from the variant of an answer; no variant's answer itself."""

    __tablename__ = "samples"
    __table_args__ = (
        of_an_answer(),
        NUMBERED,
    )

    id: Mapped[int] = number_column()
    key: Mapped[str] = key_column()
    case_id: Mapped[str] = case_column()
    arm: Mapped[str] = mapped_column(String(80), doc="Whose answer was sampled again.")
    text: Mapped[str] = mapped_column(Text, doc="Whole text; a study may show it as wrong advice.")
    created: Mapped[datetime] = created_column()


class ReportRow(Base):
    """One version of a `Report`."""

    __tablename__ = "reports"
    __table_args__ = (
        UniqueConstraint("report_id", "version", name="uq_reports_version"),
        NUMBERED,
    )

    id: Mapped[int] = number_column()
    key: Mapped[str] = key_column()
    case_id: Mapped[str] = case_column()
    report_id: Mapped[str] = mapped_column(
        String(32), doc="32 hex digits, the same for all versions of a report."
    )
    version: Mapped[int] = mapped_column(doc="From 1; the highest one holds.")
    content: Mapped[dict[str, Any]] = mapped_column(
        JSON,
        doc="Sections of sentences, each with its origin, its state, its text and what was "
        "proposed; the template, the variant, and what was measured.",
    )
    created: Mapped[datetime] = created_column()
    reader: Mapped[str | None] = mapped_column(PersonName, doc=READER_DOC)
    signed: Mapped[bool] = mapped_column(doc="Whether this version signs the report.")
    amends: Mapped[str | None] = mapped_column(
        String(32), doc="The signed report that this one corrects."
    )


class StoreKeyRow(Base):
    """A secret of this store, which no export holds."""

    __tablename__ = "store_keys"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(String(64))


class AuditRow(Base):
    """`AuditEntry`. No text that anybody typed, so that it may outlive a deleted case."""

    __tablename__ = "audit"
    __table_args__ = (NUMBERED,)

    id: Mapped[int] = mapped_column(primary_key=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    person: Mapped[str] = mapped_column(PersonName, index=True)
    action: Mapped[str] = mapped_column(String(20))
    what: Mapped[str] = mapped_column(String(20))
    case_id: Mapped[str | None] = mapped_column(String(32), index=True)


class TombstoneRow(Base):
    """That a case was deleted for good."""

    __tablename__ = "tombstones"

    case_id: Mapped[str] = mapped_column(String(32), primary_key=True, doc="The deleted case.")
    created: Mapped[datetime] = mapped_column(UtcDateTime, doc="When it was deleted, UTC.")
    person: Mapped[str | None] = mapped_column(PersonName, doc=READER_DOC)
    reason: Mapped[str] = mapped_column(Text, doc="Such as the kind of request; no names.")


class QueueItemRow(Base):
    """One answer in one queue, derived from the other tables: see `_queue_index`."""

    __tablename__ = "queue_items"
    __table_args__ = (
        Index("ix_queue_items_position", "queue", "position"),
        Index("ix_queue_items_status", "queue", "status", "position"),
        Index("ix_queue_items_open", "queue", "is_open", "assigned", "position"),
    )

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    arm: Mapped[str] = mapped_column(String(80), primary_key=True)
    # Study id of an audit; empty for the flagged answers.
    queue: Mapped[str] = mapped_column(String(32), primary_key=True)
    # First current flag, or place in the audit; empty where it is not in the queue's list.
    position: Mapped[int | None] = mapped_column()
    status: Mapped[str] = mapped_column(String(20))
    # Whether fewer than two readings are in.
    is_open: Mapped[bool] = mapped_column()
    # How many people it is given to.
    assigned: Mapped[int] = mapped_column()


class QueuePersonRow(Base):
    """Who judged an answer or shall judge it, derived from the other tables: see `_queue_index`."""

    __tablename__ = "queue_people"
    __table_args__ = (
        Index("ix_queue_people_answer", "case_id", "arm", "queue", "person"),
        Index("ix_queue_people_person", "queue", "part", "person", "case_id", "arm"),
        Index("ix_queue_people_seconds", "queue", "part", "person", "seconds"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"))
    arm: Mapped[str] = mapped_column(String(80))
    queue: Mapped[str] = mapped_column(String(32))
    # The canonical name.
    person: Mapped[str] = mapped_column(String(200))
    # assigned, reader or adjudicator; one row for each current verdict.
    part: Mapped[str] = mapped_column(String(20))
    # Time on task.
    seconds: Mapped[float | None] = mapped_column()


ROWS: tuple[type[Base], ...] = (
    CaseRow,
    PictureRow,
    AnswerRow,
    FlagRow,
    DismissalRow,
    VoteRow,
    VerdictRow,
    AssignmentRow,
    MeasurementRow,
    SampleRow,
    ReportRow,
    StudyRow,
    TaskRow,
    EnrolmentRow,
    AdviceRow,
    FirstReadRow,
    ResponseRow,
    WithdrawalRow,
    TombstoneRow,
)
"""What an export holds, in an order in which it can be read back."""
