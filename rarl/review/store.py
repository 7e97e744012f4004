"""The store of cases, flags and votes, in SQLite or PostgreSQL."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, get_args
from uuid import uuid4

from platformdirs import user_data_path
from sqlalchemy import URL, Row, Select, delete, func, insert, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased, selectinload, undefer

from rarl.errors import ReviewError
from rarl.inference.engine import Decoding
from rarl.review._database import AuditValues, Database
from rarl.review._queue_index import forget, is_current, refresh
from rarl.review._tables import (
    AnswerRow,
    AssignmentRow,
    AuditRow,
    CaseRow,
    FlagRow,
    PictureRow,
    ResponseRow,
    TaskRow,
    TombstoneRow,
    VerdictRow,
    VoteRow,
)
from rarl.review.case import (
    ArmAnswer,
    CaseSnapshot,
    Flag,
    FlagFilter,
    Outcome,
    Picture,
    Pixels,
    Region,
    Shown,
    Vote,
)
from rarl.review.export import write_csv
from rarl.review.records import AuditEntry, Tombstone
from rarl.review.roles import Right, Role, canonical_name, require
from rarl.review.taxonomy import COMMENT_LIMIT, Taxonomy, read_taxonomy

if TYPE_CHECKING:
    _Rows = Select[FlagRow, str, str | None, str, str]
    _Found = Row[FlagRow, str, str | None, str, str]

log = logging.getLogger(__name__)

By = Literal["category", "arm", "modality", "severity", "reader"]

NAME_LIMIT = 200
TEXT_LIMIT = 20_000
_KEY = re.compile(r"[0-9a-f]{32}")
# Children before parents, since the database checks.
_OF_A_CASE = (
    ResponseRow,
    TaskRow,
    AssignmentRow,
    VerdictRow,
    VoteRow,
    FlagRow,
    AnswerRow,
    PictureRow,
)
_DELETED = "This case was deleted for good on request; its answers can be asked for anew."


@dataclass(frozen=True, slots=True)
class Count:
    """How many flags share something. A count, not a rate: nobody knows what was not flagged.

    Attributes:
        values: one for each column that was asked for; None where the case does not say.
        flags: how many.
    """

    values: tuple[str | None, ...]
    flags: int


def store_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """RARL_HOME, or the platform's folder for user data."""
    named = environment.get("RARL_HOME")
    return Path(named).expanduser() if named else user_data_path("rarl")


def open_store(home: Path | None = None, url: str | None = None) -> ReviewStore:
    """Open the store, make it where there is none, and bring its tables up to date.

    Settings: RARL_HOME, RARL_DATABASE_URL, RARL_PIXELS ("keep", or "hash" to store only the hash of
    each picture), and `taxonomy.yaml` in RARL_HOME (see `read_taxonomy`).

    Args:
        home: folder of `review.sqlite3`; RARL_HOME, or the platform's folder for user data. Made
            with mode 0700 where it is missing: flags may say things about patients.
        url: SQLAlchemy database URL; RARL_DATABASE_URL where neither `home` nor this is given.

    Raises:
        ReviewError: the folder, the database or a setting cannot be used.
    """
    if home is None and url is None:
        url = os.environ.get("RARL_DATABASE_URL") or None
    pixels = os.environ.get("RARL_PIXELS") or "keep"
    if pixels not in ("keep", "hash"):
        raise ReviewError("RARL_PIXELS must be keep or hash; correct or unset it and start again.")
    folder = home or store_folder()
    own = folder / "taxonomy.yaml"
    taxonomy = read_taxonomy(own) if own.is_file() else Taxonomy()
    if url is not None:
        return ReviewStore(url, taxonomy=taxonomy, keep_pixels=pixels == "keep")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _keep_private(folder)
    except OSError:
        raise ReviewError(
            "The folder of the review store cannot be made; set RARL_HOME to a folder that may be "
            "written and start again."
        ) from None
    # Not as text: a folder's name may hold what means something in an address.
    address = URL.create("sqlite", database=str(folder.absolute() / "review.sqlite3"))
    return ReviewStore(address, taxonomy=taxonomy, keep_pixels=pixels == "keep")


def _keep_private(folder: Path) -> None:
    """Take the rights of other users from the folder, also where it was there before."""
    if os.name != "posix" or not folder.stat().st_mode & 0o077:
        return
    with suppress(PermissionError):  # somebody else's, or read-only
        folder.chmod(0o700)
    if folder.stat().st_mode & 0o077:
        log.warning("the folder of the review store can be entered by other users of this machine")


class ReviewStore:
    """Cases and what people say about them; all of it is only ever added.

    A correction is a new row that names the one it replaces; only `delete_case` takes anything
    away, and leaves a tombstone. Safe to use from many threads and processes.
    """

    def __init__(
        self,
        database: str | URL | Database,
        busy_seconds: float = 15.0,
        *,
        taxonomy: Taxonomy | None = None,
        keep_pixels: bool = True,
        person: str | None = None,
        role: Role | None = "admin",
    ) -> None:
        """Open or make the tables.

        Args:
            database: SQLAlchemy database URL, or one that is open.
            busy_seconds: how long a write waits for another one.
            taxonomy: what flags may say.
            keep_pixels: False stores only the hash of each picture.
            person: who works with this store, for the audit; None for the program itself.
            role: what that person may do.

        Raises:
            ReviewError: the database cannot be used; no sentence repeats the URL, which may hold
                a password.
        """
        self._database = (
            database if isinstance(database, Database) else Database(database, busy_seconds)
        )
        self.taxonomy = taxonomy or Taxonomy()
        self._keep_pixels = keep_pixels
        self.person = _name(person)
        self.role = role

    def for_person(self, person: str | None, role: Role | None) -> ReviewStore:
        """The same store, with one person's rights, and every access in the audit by name."""
        return ReviewStore(
            self._database,
            taxonomy=self.taxonomy,
            keep_pixels=self._keep_pixels,
            person=person,
            role=role,
        )

    def close(self) -> None:
        """Let go of all connections."""
        self._database.close()

    # --- for the other modules of this package -----------------------------------------------

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

    # --- cases -------------------------------------------------------------------------------

    def add_case(self, case: CaseSnapshot) -> str:
        """Store a case; a case whose id is stored already is left as it is.

        Returns:
            The case's id.

        Raises:
            ReviewError: the case was deleted for good, or the database cannot be written.
        """
        self.need("flag")
        with self.writing() as session:
            if session.get(CaseRow, case.id) is not None:
                return case.id
            if session.get(TombstoneRow, case.id) is not None:
                raise ReviewError(_DELETED)
            session.add(_case_row(case, self._keep_pixels))
            try:
                session.flush()
                self.note(session, "write", "case", [case.id])
            except IntegrityError:
                # Where writers do not queue (PostgreSQL), another was quicker with this case.
                session.rollback()
                if session.get(CaseRow, case.id) is None:
                    raise
        return case.id

    def case(self, case_id: str) -> CaseSnapshot:
        """A stored case with its pixels.

        Raises:
            ReviewError: there is none, it was deleted, its pixels are damaged, or the database
                cannot be read.
        """
        self.need("queue")
        with self.reading() as session:
            row = session.get(
                CaseRow,
                case_id,
                options=[selectinload(CaseRow.pictures).options(undefer(PictureRow.png))],
            )
            if row is None:
                if session.get(TombstoneRow, case_id) is not None:
                    raise ReviewError(_DELETED)
                raise ReviewError("There is no such case; `review list` shows those with flags.")
            self.note(session, "read", "case", [case_id])
            case = _snapshot(row)
        for picture in case.pictures:
            png = picture.png
            if png is not None and hashlib.sha256(png).hexdigest() != picture.sha256:
                raise ReviewError(
                    "The picture of this case is damaged in the review store; "
                    "restore it from a copy."
                )
        return case

    def picture_hashes(self, case_ids: Iterable[str]) -> dict[str, str]:
        """SHA-256 of the first picture of each case: answers that share it are one cluster.

        Raises:
            ReviewError: the database cannot be read.
        """
        statement = select(PictureRow.case_id, PictureRow.sha256).where(
            PictureRow.position == 0, PictureRow.case_id.in_(list(case_ids))
        )
        with self._database.reading() as session:
            return {row[0]: row[1] for row in session.execute(statement)}

    def first_pictures(self, case_ids: Iterable[str]) -> dict[str, bytes]:
        """PNG of the first picture of each case whose pixels were kept, for a gallery.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self.need("queue")
        wanted = list(dict.fromkeys(case_ids))
        statement = select(PictureRow.case_id, PictureRow.png).where(
            PictureRow.position == 0, PictureRow.case_id.in_(wanted), PictureRow.png.is_not(None)
        )
        with self.reading() as session:
            found = {row[0]: row[1] for row in session.execute(statement) if row[1] is not None}
            self.note(session, "read", "case", found)
        return found

    def delete_case(self, case_id: str, reason: str) -> Tombstone:
        """Delete a case for good, with all that was said about it; its tombstone stays.

        Copies made before (exports, backups, what was trained on it) are the site's to deal with.

        Args:
            case_id: which.
            reason: such as "request under privacy law"; names no patient.

        Raises:
            ReviewError: there is no such case, no reason is given, the person may not, or the
                database cannot be written.
        """
        self.need("delete")
        reason = cleaned(reason, 400, "The reason")
        if not reason:
            raise ReviewError("Say why the case is deleted, without naming the patient.")
        with self.writing() as session:
            if session.get(CaseRow, case_id) is None:
                raise ReviewError("There is no such case; `review list` shows those with flags.")
            tombstone = TombstoneRow(
                case_id=case_id, created=datetime.now(UTC), person=self.person, reason=reason
            )
            session.add(tombstone)
            session.flush()
            forget(session, [case_id])
            for table in _OF_A_CASE:
                session.execute(delete(table).where(table.case_id == case_id))
            session.execute(delete(CaseRow).where(CaseRow.id == case_id))
            self.note(session, "delete", "case", [case_id])
        self._database.forget_deleted()
        return Tombstone(case_id, tombstone.created, tombstone.person, reason)

    def tombstones(self) -> tuple[Tombstone, ...]:
        """Of every case deleted for good, oldest first.

        Raises:
            ReviewError: the database cannot be read.
        """
        self.need("delete")
        with self.reading() as session:
            rows = session.scalars(select(TombstoneRow).order_by(TombstoneRow.created)).all()
        return tuple(Tombstone(row.case_id, row.created, row.person, row.reason) for row in rows)

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
            return tuple(
                AuditEntry(row.id, row.created, row.person, row.action, row.what, row.case_id)
                for row in session.scalars(statement)
            )

    # --- flags -------------------------------------------------------------------------------

    def add_flag(
        self,
        case_id: str,
        arm: str,
        category: str,
        severity: str,
        comment: str = "",
        reader: str | None = None,
        *,
        key: str | None = None,
        sentence: str = "",
        sentence_start: int | None = None,
        region: Region | None = None,
        corrected_answer: str = "",
        corrected_explanation: str = "",
        replaces: str | None = None,
    ) -> Flag:
        """Store a flag on one arm's answer in a stored case. When this returns, it is kept.

        Args:
            case_id: what `add_case` returned.
            arm: name of an arm that answered.
            category: key of the taxonomy.
            severity: key of the taxonomy.
            comment: at most `COMMENT_LIMIT` characters.
            reader: at most 200 characters; the person this store is for, where not given.
            key: 32 hex digits made by the sender, so that sending again stores nothing twice.
            sentence: the part of the reasoning that is wrong.
            sentence_start: where it begins; found where not given.
            region: a place on a picture of the case.
            corrected_answer: what would have been right.
            corrected_explanation: and why.
            replaces: key of one's own flag that this one corrects.

        Raises:
            ReviewError: something is missing, unknown or too long, or the database cannot be
                written.
        """
        self.need("flag")
        for chosen, offered, what in (
            (category, self.taxonomy.categories, "what is wrong"),
            (severity, self.taxonomy.severities, "how much it matters"),
        ):
            if chosen not in dict(offered):
                keys = ", ".join(key for key, _ in offered)
                raise ReviewError(f"Choose {what} before the flag is sent: one of {keys}.")
        row = FlagRow(
            key=sent_key(key),
            case_id=case_id,
            arm=arm,
            category=category,
            severity=severity,
            comment=cleaned(comment, COMMENT_LIMIT, "The comment"),
            sentence=storable(sentence),
            sentence_start=sentence_start,
            region=None if region is None else _region_row(region),
            corrected_answer=cleaned(corrected_answer, COMMENT_LIMIT, "The corrected answer"),
            corrected_explanation=cleaned(
                corrected_explanation, TEXT_LIMIT, "The corrected explanation"
            ),
            created=datetime.now(UTC),
            reader=_name(reader) or self.person,
            replaces=replaces,
        )
        with self.writing() as session:
            known = session.scalar(select(FlagRow).where(FlagRow.key == row.key))
            if known is None:
                answer = self.answer_in(session, case_id, arm)
                _place_sentence(row, answer.reasoning)
                _check_region(session, case_id, region)
                if replaces is not None:
                    old = session.scalar(select(FlagRow).where(FlagRow.key == replaces))
                    same = old is not None and (old.case_id, old.arm) == (case_id, arm)
                    check_replaced(
                        session, FlagRow, replaces, same, old.reader if old else None, row.reader
                    )
                session.add(row)
                refresh(session, [case_id])
                self.note(session, "write", "flag", [case_id])
            elif (known.case_id, known.arm, known.reader) != (case_id, arm, row.reader):
                raise ReviewError("Another flag was sent under this key; send it under a new one.")
            stored = session.execute(_rows().where(FlagRow.key == row.key)).one()
            flag = as_flag(stored)
        return flag

    def flag(self, number: int) -> Flag:
        """One flag by its number.

        Raises:
            ReviewError: there is none, or the database cannot be read.
        """
        self.need("queue")
        with self.reading() as session:
            found = session.execute(_rows().where(FlagRow.id == number)).one_or_none()
            if found is None:
                raise ReviewError("There is no such flag; `review list` shows those there are.")
            self.note(session, "read", "flag", [found[0].case_id])
            return as_flag(found)

    def flags(
        self, chosen: FlagFilter | None = None, limit: int | None = None, offset: int = 0
    ) -> tuple[Flag, ...]:
        """The flags that pass the filter, newest first, without those that were corrected.

        Args:
            chosen: all where not given.
            limit: at most so many; all where None.
            offset: how many of the newest to leave out.

        Raises:
            ReviewError: the database cannot be read.
        """
        self.need("queue")
        statement = filtered(_current(_rows()), chosen or FlagFilter()).order_by(FlagRow.id.desc())
        with self.reading() as session:
            found = session.execute(statement.limit(limit).offset(offset)).all()
            self.note(session, "list", "flag", [row[0].case_id for row in found])
            return tuple(as_flag(row) for row in found)

    def flags_of(self, case_id: str, corrected: bool = False) -> tuple[Flag, ...]:
        """All flags of one case, newest first.

        Args:
            case_id: the case.
            corrected: whether to include those that a later one replaces.

        Raises:
            ReviewError: the database cannot be read.
        """
        self.need("queue")
        statement = _rows() if corrected else _current(_rows())
        statement = statement.where(FlagRow.case_id == case_id).order_by(FlagRow.id.desc())
        with self.reading() as session:
            found = session.execute(statement).all()
            self.note(session, "read", "flag", [case_id] if found else [])
            return tuple(as_flag(row) for row in found)

    def count(self, chosen: FlagFilter | None = None) -> int:
        """How many flags pass the filter, without those that were corrected.

        Raises:
            ReviewError: the database cannot be read.
        """
        statement = filtered(_current(_rows()), chosen or FlagFilter())
        inner = statement.with_only_columns(FlagRow.id).subquery()
        with self._database.reading() as session:
            return session.scalar(select(func.count()).select_from(inner)) or 0

    def counts(self, by: Sequence[By], chosen: FlagFilter | None = None) -> tuple[Count, ...]:
        """How many flags there are of each kind, most first, for charts.

        Args:
            by: one or more of category, arm, modality, severity and reader.
            chosen: all flags where not given.

        Raises:
            ReviewError: the database cannot be read.
        """
        self.need("queue")
        columns = {
            "category": FlagRow.category,
            "arm": FlagRow.arm,
            "modality": CaseRow.modality,
            "severity": FlagRow.severity,
            "reader": FlagRow.reader,
        }
        wanted = [columns[name] for name in by]
        statement = filtered(_current(_rows()), chosen or FlagFilter())
        grouped = statement.with_only_columns(*wanted, func.count()).group_by(*wanted)
        with self._database.reading() as session:
            found = [
                Count(tuple(row)[:-1], int(tuple(row)[-1])) for row in session.execute(grouped)
            ]
        return tuple(sorted(found, key=lambda one: (-one.flags, [v or "" for v in one.values])))

    def flagged(self, chosen: FlagFilter | None = None) -> Iterator[tuple[Flag, CaseSnapshot]]:
        """Flags that pass the filter with their cases, oldest first, one case in memory at a time.

        Oldest first, so that today's export begins with yesterday's.

        Raises:
            ReviewError: the database cannot be read.
        """
        self.need("export")
        statement = filtered(_current(_rows()), chosen or FlagFilter())
        numbers_only = statement.with_only_columns(FlagRow.id).order_by(FlagRow.id)
        with self._database.reading() as session:
            numbers = session.scalars(numbers_only).all()
        case: CaseSnapshot | None = None
        for number in numbers:
            flag = self.flag(number)
            if case is None or case.id != flag.case_id:
                case = self.case(flag.case_id)
            yield flag, case

    # --- votes -------------------------------------------------------------------------------

    def add_vote(
        self,
        case_id: str,
        outcome: Outcome,
        preferred: str | None = None,
        *,
        reason: str = "",
        own_answer: str = "",
        reader: str | None = None,
        key: str | None = None,
        replaces: str | None = None,
    ) -> Vote:
        """Store which arm answered best. When this returns, it is kept.

        Args:
            case_id: what `add_case` returned.
            outcome: "better", with `preferred`; "tie", "all-good" or "all-bad", without.
            preferred: an arm that answered.
            reason: at most `COMMENT_LIMIT` characters.
            own_answer: what the reader answered before the columns were shown.
            reader: the person this store is for, where not given.
            key: see `add_flag`.
            replaces: key of one's own vote that this one corrects.

        Raises:
            ReviewError: something does not fit, or the database cannot be written.
        """
        self.need("vote")
        if outcome not in get_args(Outcome):
            raise ReviewError("Choose one answer, a tie, all good or all bad, then vote.")
        if (outcome == "better") != (preferred is not None):
            raise ReviewError("A vote for the better arm names it, and no other vote does.")
        row = VoteRow(
            key=sent_key(key),
            case_id=case_id,
            outcome=outcome,
            preferred=preferred,
            reason=cleaned(reason, COMMENT_LIMIT, "The reason"),
            own_answer=cleaned(own_answer, COMMENT_LIMIT, "The answer"),
            created=datetime.now(UTC),
            reader=_name(reader) or self.person,
            replaces=replaces,
        )
        with self.writing() as session:
            known = session.scalar(select(VoteRow).where(VoteRow.key == row.key))
            if known is not None:
                if (known.case_id, known.reader) != (case_id, row.reader):
                    raise ReviewError(
                        "Another vote was sent under this key; send it under a new one."
                    )
                return _vote(known)
            arms = session.scalars(select(AnswerRow.arm).where(AnswerRow.case_id == case_id)).all()
            if not arms or preferred not in (None, *arms):
                raise ReviewError(
                    "The answers that were compared are not in the review store; ask the question "
                    "again and vote on the new answers."
                )
            if replaces is not None:
                old = session.scalar(select(VoteRow).where(VoteRow.key == replaces))
                same = old is not None and old.case_id == case_id
                check_replaced(
                    session, VoteRow, replaces, same, old.reader if old else None, row.reader
                )
            session.add(row)
            session.flush()
            self.note(session, "write", "vote", [case_id])
        return _vote(row)

    def votes(self, case_id: str | None = None) -> tuple[Vote, ...]:
        """Votes, oldest first, without those that were corrected.

        Args:
            case_id: of this case alone; of all where None.

        Raises:
            ReviewError: the database cannot be read.
        """
        self.need("queue")
        later = aliased(VoteRow)
        statement = select(VoteRow).where(
            ~select(later.id).where(later.replaces == VoteRow.key).exists()
        )
        if case_id is not None:
            statement = statement.where(VoteRow.case_id == case_id)
        with self.reading() as session:
            found = session.scalars(statement.order_by(VoteRow.id)).all()
            self.note(session, "list", "vote", [row.case_id for row in found])
            return tuple(_vote(row) for row in found)

    def compared(self, case_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The arms of each case whose names were hidden, as its columns stood.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self.need("queue")
        statement = select(CaseRow.id, CaseRow.shown_order).where(
            CaseRow.id.in_(list(case_ids)), CaseRow.blind
        )
        with self.reading() as session:
            return {row[0]: tuple(row[1]) for row in session.execute(statement)}

    # --- exports -----------------------------------------------------------------------------

    def export_csv(self, file: TextIO, chosen: FlagFilter | None = None) -> int:
        """Write one row a flag, safe to open in a spreadsheet. See `write_csv`.

        Args:
            file: opened with `newline=""`.
            chosen: all flags where not given.

        Returns:
            How many flags were written.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        return write_csv(file, self.flagged(chosen), self.taxonomy)

    def answer_in(self, session: Session, case_id: str, arm: str) -> AnswerRow:
        """The answer that is spoken of, for the other modules of this package.

        Raises:
            ReviewError: there is none, or its case was deleted.
        """
        answer = session.get(AnswerRow, (case_id, arm))
        if answer is None:
            if session.get(TombstoneRow, case_id) is not None:
                raise ReviewError(_DELETED)
            raise ReviewError(
                "The answer that was flagged is not in the review store; "
                "ask the question again and flag the new answer."
            )
        return answer


def storable(text: str) -> str:
    """What every database takes: no NUL, and no half of a surrogate pair from a browser."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def cleaned(text: str, limit: int, what: str) -> str:
    """Storable text without space around it.

    Raises:
        ReviewError: it has more than `limit` characters.
    """
    text = storable(text).strip()
    if len(text) > limit:
        raise ReviewError(f"{what} has {len(text)} characters; shorten it to {limit}.")
    return text


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


def filtered(statement: _Rows, chosen: FlagFilter) -> _Rows:
    """The statement with the filter's conditions; it joins flags, answers and cases."""
    for column, value in (
        (FlagRow.arm, chosen.arm),
        (FlagRow.category, chosen.category),
        (FlagRow.severity, chosen.severity),
        (CaseRow.modality, chosen.modality),
        (FlagRow.reader, canonical_name(chosen.reader)),
    ):
        if value:
            statement = statement.where(column == value)
    if chosen.since is not None:
        statement = statement.where(FlagRow.created >= chosen.since)
    if chosen.until is not None:
        statement = statement.where(FlagRow.created < chosen.until)
    text = storable(chosen.text).strip()
    if text:
        searched = (FlagRow.comment, CaseRow.question, AnswerRow.reasoning, AnswerRow.answer)
        statement = statement.where(
            or_(*(column.icontains(text, autoescape=True) for column in searched))
        )
    return statement


def current_flags() -> _Rows:
    """Flags that no later one replaces, with what they show of their case."""
    return _current(_rows())


def _name(person: str | None) -> str | None:
    name = canonical_name(storable(person or "")) or ""
    if len(name) > NAME_LIMIT:
        raise ReviewError(f"The reader's name is longer than {NAME_LIMIT} characters; shorten it.")
    return name or None


def sent_key(key: str | None) -> str:
    """The key that was sent, or a new one.

    Raises:
        ReviewError: it is no key.
    """
    if key is None:
        return uuid4().hex
    if not _KEY.fullmatch(key):
        raise ReviewError("A key has 32 hex digits; make a new one and send it again.")
    return key


def _place_sentence(row: FlagRow, reasoning: str) -> None:
    """Check the marked sentence against the reasoning, and find where it begins."""
    if not row.sentence:
        row.sentence_start = None
        return
    start = row.sentence_start
    if start is None:
        start = reasoning.find(row.sentence)
    if start < 0 or reasoning[start : start + len(row.sentence)] != row.sentence:
        raise ReviewError("The marked words are not in the reasoning; mark them again.")
    row.sentence_start = start


def _check_region(session: Session, case_id: str, region: Region | None) -> None:
    if region is None:
        return
    picture = session.get(PictureRow, (case_id, region.picture))
    left, top, right, bottom = region.box
    if picture is None or not (
        0 <= left < right <= picture.width and 0 <= top < bottom <= picture.height
    ):
        raise ReviewError("The marked region is not on the picture; draw it again.")


def _region_row(region: Region) -> dict[str, int]:
    left, top, right, bottom = region.box
    return {
        "picture": region.picture, "left": left, "top": top, "right": right, "bottom": bottom
    }  # fmt: skip


def _region(stored: dict[str, int] | None) -> Region | None:
    if stored is None:
        return None
    box = (stored["left"], stored["top"], stored["right"], stored["bottom"])
    return Region(stored["picture"], box)


def _rows() -> _Rows:
    """Flags with what they show of their case."""
    return (
        select(FlagRow, AnswerRow.label, CaseRow.modality, CaseRow.question, AnswerRow.answer)
        .join(CaseRow, CaseRow.id == FlagRow.case_id)
        .join(AnswerRow, (AnswerRow.case_id == FlagRow.case_id) & (AnswerRow.arm == FlagRow.arm))
    )


def _current(statement: _Rows) -> _Rows:
    return statement.where(is_current(FlagRow))


def as_flag(found: _Found) -> Flag:
    """A row of `current_flags`, for the other modules of this package."""
    row, label, modality, question, answer = found
    return Flag(
        id=row.id,
        case_id=row.case_id,
        arm=row.arm,
        category=row.category,
        severity=row.severity,
        comment=row.comment,
        created=row.created,
        reader=row.reader,
        label=label,
        modality=modality,
        question=question,
        answer=answer,
        key=row.key,
        sentence=row.sentence,
        sentence_start=row.sentence_start,
        region=_region(row.region),
        corrected_answer=row.corrected_answer,
        corrected_explanation=row.corrected_explanation,
        replaces=row.replaces,
    )


def _vote(row: VoteRow) -> Vote:
    # What a later version may have written counts as a tie: it prefers nobody.
    outcome: Outcome = next((name for name in get_args(Outcome) if name == row.outcome), "tie")
    return Vote(
        id=row.id,
        key=row.key,
        case_id=row.case_id,
        outcome=outcome,
        preferred=row.preferred,
        reason=row.reason,
        own_answer=row.own_answer,
        created=row.created,
        reader=row.reader,
        replaces=row.replaces,
    )


def _case_row(case: CaseSnapshot, keep_pixels: bool) -> CaseRow:
    return CaseRow(
        id=case.id,
        created=case.created,
        app_version=case.app_version,
        modality=case.modality or None,
        attributes=dict(case.attributes),
        question=storable(case.question),
        mode=case.mode,
        model=case.model,
        prompt_hash=case.prompt_hash,
        decoding=asdict(case.decoding),
        shown_order=list(case.shown_order),
        blind=case.blind,
        sampled=case.sampled,
        pictures=[
            PictureRow(
                position=position,
                name=picture.name,
                png=picture.png if keep_pixels else None,
                sha256=picture.sha256,
                width=picture.width,
                height=picture.height,
                shown=asdict(picture.shown),
            )
            for position, picture in enumerate(case.pictures)
        ],
        answers=[
            AnswerRow(
                position=position,
                arm=answer.arm,
                label=answer.label,
                revision=answer.revision,
                reasoning=storable(answer.reasoning),
                answer=storable(answer.answer),
                problems=list(answer.problems),
                text=storable(answer.text),
                tokens=answer.tokens,
                seconds=answer.seconds,
                stopped=answer.stopped,
                note=answer.note or None,
            )
            for position, answer in enumerate(case.answers)
        ],
    )


def _snapshot(row: CaseRow) -> CaseSnapshot:
    return CaseSnapshot(
        id=row.id,
        created=row.created,
        app_version=row.app_version,
        pictures=tuple(
            Picture(
                png=picture.png,
                sha256=picture.sha256,
                width=picture.width,
                height=picture.height,
                name=picture.name,
                shown=_shown(picture.shown),
            )
            for picture in row.pictures
        ),
        modality=row.modality,
        attributes=row.attributes,
        question=row.question,
        mode=row.mode,
        model=row.model,
        prompt_hash=row.prompt_hash,
        decoding=_decoding(row.decoding),
        shown_order=tuple(row.shown_order),
        answers=tuple(
            ArmAnswer(
                arm=answer.arm,
                label=answer.label,
                revision=answer.revision,
                reasoning=answer.reasoning,
                answer=answer.answer,
                problems=tuple(answer.problems),
                text=answer.text,
                tokens=answer.tokens,
                seconds=answer.seconds,
                stopped=answer.stopped,
                note=answer.note or "",
            )
            for answer in row.answers
        ),
        blind=row.blind,
        sampled=row.sampled,
    )


def _decoding(stored: dict[str, Any]) -> Decoding:
    """Settings of another version that this one does not know are left out."""
    known = {field.name for field in fields(Decoding)}
    return Decoding(**{name: value for name, value in stored.items() if name in known})


def _shown(stored: dict[str, Any]) -> Shown:
    """JSON lists back to tuples; a case from before there were views was shown as it came."""
    whole = Shown()

    def box(name: str) -> Pixels | None:
        return _box(stored[name]) if stored.get(name) else None

    window = stored.get("window")
    return Shown(
        plane=stored.get("plane", whole.plane),
        frame=stored.get("frame", whole.frame),
        time=stored.get("time", whole.time),
        window=(window[0], window[1]) if window else None,
        invert=stored.get("invert", whole.invert),
        crop=box("crop"),
        region=box("region"),
        masks=tuple(_box(mask) for mask in stored.get("masks", ())),
    )


def _box(stored: Sequence[int]) -> Pixels:
    left, top, right, bottom = stored
    return left, top, right, bottom
