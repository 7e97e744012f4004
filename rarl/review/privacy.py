"""Pseudonyms of readers in exports, and readers who have withdrawn.

A pseudonym is a keyed hash (HMAC-SHA256) of the canonical name: the same for the same person in
every export of a store, other in another store. The key never leaves the store. Where a store does
not outlast a restart, RARL_PSEUDONYM_KEY holds the key instead.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from rarl.review._tables import ROWS, PersonName, StoreKeyRow, StudyRow, WithdrawalRow
from rarl.review.roles import canonical_name
from rarl.settings import read_settings

_PSEUDONYM = re.compile(r"reader-[0-9a-f]{12}")
_KEY = "pseudonyms"


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Makes the pseudonyms of one store.

    Attributes:
        key: the site's secret, or the store's own.
    """

    key: bytes

    @classmethod
    def of(cls, session: Session) -> Pseudonyms:
        """Those of the store that a session reads.

        Raises:
            SettingError: RARL_PSEUDONYM_KEY cannot be used.
        """
        of_site = read_settings().pseudonym_key
        if of_site is not None:
            return cls(of_site.encode("utf-8"))
        row = session.get(StoreKeyRow, _KEY)
        assert row is not None, "the migration makes the key"
        return cls(bytes.fromhex(row.value))

    def of_name(self, name: str | None) -> str | None:
        """The pseudonym of a person; None for nobody. A pseudonym stays as it is.

        >>> Pseudonyms(b"key").of_name(" Dr. A ") == Pseudonyms(b"key").of_name("dr. a")
        True
        """
        known = canonical_name(name)
        if known is None or _PSEUDONYM.fullmatch(known):
            return known
        digest = hmac.new(self.key, known.encode("utf-8"), hashlib.sha256).hexdigest()
        return f"reader-{digest[:12]}"

    def names(self, session: Session) -> Mapping[str, str]:
        """Pseudonym to name, of all whom this store knows: an export can come home."""
        people: set[str] = set()
        for row in ROWS:
            for column in person_columns(row):
                people |= set(session.scalars(select(getattr(row, column)).distinct())) - {None}
        for readers in session.scalars(select(StudyRow.readers)):
            people |= {name for reader in readers if (name := canonical_name(reader))}
        return {self.of_name(name) or "": name for name in people}


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Who has withdrawn.

    Attributes:
        wholly: from everything.
        from_study: (study, reader).
    """

    wholly: frozenset[str]
    from_study: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, session: Session) -> Withdrawn:
        """Those of the store that a session reads."""
        rows = session.execute(select(WithdrawalRow.reader, WithdrawalRow.study_id)).all()
        return cls(
            frozenset(reader for reader, study in rows if study is None),
            frozenset((study, reader) for reader, study in rows if study is not None),
        )

    def holds(self, reader: str | None, study_id: str | None = None) -> bool:
        """Whether what this reader has said, in a study or elsewhere, leaves."""
        return reader is not None and (
            reader in self.wholly or (study_id or "", reader) in self.from_study
        )

    def leaves(self, table: str, record: Mapping[str, Any]) -> bool:
        """Whether a row leaves exports. That somebody has withdrawn stays."""
        if table == WithdrawalRow.__tablename__ or "reader" not in record:
            return False
        return self.holds(record["reader"], record.get("study_id"))


def person_columns(row: type[Any]) -> list[str]:
    """The columns of a table that name a person."""
    return [
        str(column.key) for column in inspect(row).columns if isinstance(column.type, PersonName)
    ]
