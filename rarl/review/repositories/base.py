"""What all repositories share: the database, the person, their rights and the audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import URL, insert, select
from sqlalchemy.orm import Session

from rarl.errors import ReviewError
from rarl.records import storable
from rarl.review._database import AuditValues, Database
from rarl.review._tables import AuditRow, Base, FlagRow, ResponseRow, VerdictRow, VoteRow
from rarl.review.roles import Right, Role, canonical_name, require
from rarl.review.taxonomy import Taxonomy

NAME_LIMIT = 200
"""Longest name of a person, in characters."""


class Repository:
    """A part of the store, with one person's rights. Safe to use from many threads."""

    def __init__(
        self,
        database: str | URL | Database,
        busy_seconds: float = 15.0,
        *,
        taxonomy: Taxonomy | None = None,
        keep_pixels: bool = True,
        person: str | None = None,
        role: Role | None = "admin",
        consent: str = "",
    ) -> None:
        """Open or make the tables.

        Args:
            database: SQLAlchemy database URL, or one that is open.
            busy_seconds: how long a write waits for another one.
            taxonomy: what flags may say.
            keep_pixels: False stores only the hash of each picture.
            person: who works with this store, for the audit; None for the program itself.
            role: what that person may do.
            consent: what the site asks readers of every study to agree to.

        Raises:
            ReviewError: the database cannot be used; no sentence repeats the URL, which may hold
                a password.
        """
        self._database = (
            database if isinstance(database, Database) else Database(database, busy_seconds)
        )
        self.taxonomy = taxonomy or Taxonomy()
        self._keep_pixels = keep_pixels
        self.person = person_name(person)
        self.role = role
        self.consent = consent

    def close(self) -> None:
        """Let go of all connections."""
        self._database.close()

    def need(self, right: Right) -> None:
        """Refuse what the person may not do.

        Raises:
            ReviewError: the role lacks the right.
        """
        require(self.role, right)

    @contextmanager
    def reading(self, snapshot: bool = False) -> Iterator[Session]:
        """A session for queries, which writes nothing itself.

        What is noted in it goes into the audit when the block ends, before its caller sees
        anything. Where the audit cannot be written now, it is logged and written later.

        Raises:
            ReviewError: the database fails.
        """
        with self._database.reading(snapshot) as session:
            yield session
            rows: list[AuditValues] = session.info.pop("noted", [])
        self._database.note(rows)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction: after the block, what was written stays.

        Raises:
            ReviewError: the database fails; then nothing of the block was written.
        """
        with self._database.writing() as session:
            yield session

    def note(
        self, session: Session, action: str, what: str, case_ids: Iterable[str | None]
    ) -> None:
        """Put accesses by a named person into the audit, with the transaction where it writes."""
        if self.person is None:
            return
        now = datetime.now(UTC)
        rows = [
            {
                "created": now, "person": self.person, "action": action, "what": what,
                "case_id": case_id,
            }
            for case_id in dict.fromkeys(case_ids)
        ]  # fmt: skip
        if session.info.get("writes"):
            if rows:
                session.execute(insert(AuditRow), rows)
        else:
            session.info.setdefault("noted", []).extend(rows)

    def check(self) -> None:
        """See whether a flag could be stored now.

        Raises:
            StoreError: it could not; the sentence says why.
        """
        self._database.check()


def check_replaced(
    session: Session,
    table: type[FlagRow] | type[VoteRow] | type[VerdictRow] | type[ResponseRow],
    replaces: str,
    same: bool,
    whose: str | None,
    reader: str | None,
) -> None:
    """Let a correction pass that replaces one's own, newest word on the same thing.

    Raises:
        ReviewError: it is somebody else's, about something else, or corrected already.
    """
    if not same or whose != reader:
        raise ReviewError("Only what you said yourself, about this answer, can be corrected.")
    if session.scalar(select(table.id).where(table.replaces == replaces)) is not None:
        raise ReviewError("This was corrected already; load it again and correct the newest one.")


def person_name(person: str | None) -> str | None:
    """The canonical name, or None where nobody is named.

    Raises:
        ReviewError: it is too long.
    """
    name = canonical_name(storable(person or "")) or ""
    if len(name) > NAME_LIMIT:
        raise ReviewError(f"The reader's name is longer than {NAME_LIMIT} characters; shorten it.")
    return name or None


def columns_of(row: Base) -> dict[str, Any]:
    """The columns of a row that are loaded, by name."""
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}
