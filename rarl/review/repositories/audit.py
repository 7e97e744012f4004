"""The audit: who did what, by name."""

from __future__ import annotations

from sqlalchemy import select

from rarl.records import AuditEntry
from rarl.review._tables import AuditRow
from rarl.review.repositories.base import Repository, columns_of


class Audit(Repository):
    """The audit of a store; `Repository.note` writes it."""

    def audit(
        self, case_id: str | None = None, person: str | None = None
    ) -> tuple[AuditEntry, ...]:
        """Who did what by name, oldest first.

        Args:
            case_id: only this case; also one that was deleted.
            person: only this person.

        Raises:
            ReviewError: the person may not see it, or the database cannot be read.
        """
        self.need("users")
        statement = select(AuditRow).order_by(AuditRow.id)
        if case_id:
            statement = statement.where(AuditRow.case_id == case_id)
        if person:
            statement = statement.where(AuditRow.person == person)
        with self._database.reading() as session:
            return tuple(AuditEntry(**columns_of(row)) for row in session.scalars(statement))
