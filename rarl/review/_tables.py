"""The tables behind the store; nobody else sees these rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    DDL,
    JSON,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    event,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


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


class Base(DeclarativeBase):
    """All tables of the store."""


class CaseRow(Base):
    """`CaseSnapshot` without its answers."""

    __tablename__ = "cases"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    app_version: Mapped[str] = mapped_column(String(40))
    # Not read with every flag in a list: a picture may have megabytes.
    png: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    sha256: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]
    height: Mapped[int]
    modality: Mapped[str | None] = mapped_column(String(16), index=True)
    attributes: Mapped[dict[str, str]] = mapped_column(JSON)
    question: Mapped[str] = mapped_column(Text)
    mode: Mapped[str] = mapped_column(String(40))
    model: Mapped[str] = mapped_column(Text)
    prompt_hash: Mapped[str] = mapped_column(String(128))
    decoding: Mapped[dict[str, Any]] = mapped_column(JSON)
    shown_order: Mapped[list[str]] = mapped_column(JSON)
    answers: Mapped[list[AnswerRow]] = relationship(order_by="AnswerRow.position")


class AnswerRow(Base):
    """`ArmAnswer`."""

    __tablename__ = "answers"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    arm: Mapped[str] = mapped_column(String(80), primary_key=True)
    position: Mapped[int]
    label: Mapped[str] = mapped_column(Text)
    revision: Mapped[str] = mapped_column(String(80))
    reasoning: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text)
    problems: Mapped[list[str]] = mapped_column(JSON)
    text: Mapped[str] = mapped_column(Text)
    tokens: Mapped[int]
    seconds: Mapped[float]
    stopped: Mapped[bool]


class FlagRow(Base):
    """`Flag` without what it shows of its case."""

    __tablename__ = "flags"
    __table_args__ = (
        ForeignKeyConstraint(["case_id", "arm"], ["answers.case_id", "answers.arm"]),
        {"sqlite_autoincrement": True},  # a number is never given twice
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(String(32), index=True)
    arm: Mapped[str] = mapped_column(String(80))
    category: Mapped[str] = mapped_column(String(40), index=True)
    severity: Mapped[str] = mapped_column(String(40), index=True)
    comment: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    reader: Mapped[str | None] = mapped_column(String(200))


# The database itself refuses changes, so that no later program can quietly rewrite a review.
for _table in Base.metadata.sorted_tables:
    for _action in ("UPDATE", "DELETE"):
        event.listen(
            _table,
            "after_create",
            DDL(  # type: ignore[no-untyped-call]  # the library leaves it unannotated
                f"CREATE TRIGGER {_table.name}_no_{_action.lower()} BEFORE {_action} "
                f"ON {_table.name} BEGIN SELECT RAISE(ABORT, 'append only'); END"
            ).execute_if(dialect="sqlite"),
        )
