"""The store of cases and flags, in SQLite or any database SQLAlchemy speaks to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from platformdirs import user_data_path
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    NullPool,
    Row,
    Select,
    create_engine,
    event,
    func,
    make_url,
    or_,
    select,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError
from sqlalchemy.orm import Session, undefer
from sqlalchemy.pool import ConnectionPoolEntry

from rarl.errors import ReviewError
from rarl.inference.engine import Decoding
from rarl.review._failures import GONE, as_review_error
from rarl.review._tables import AnswerRow, Base, CaseRow, FlagRow
from rarl.review.case import ArmAnswer, CaseSnapshot, Flag, FlagFilter
from rarl.review.export import write_csv, write_jsonl
from rarl.review.taxonomy import CATEGORIES, COMMENT_LIMIT, SEVERITIES

if TYPE_CHECKING:
    _Rows = Select[FlagRow, str, str | None, str, str]
    _Found = Row[FlagRow, str, str | None, str, str]


def open_store(home: Path | None = None, url: str | None = None) -> ReviewStore:
    """Open the store, and make it where there is none.

    Args:
        home: folder of `review.sqlite3`; RARL_HOME, or the platform's folder for user data. Made
            with mode 0700 where it is missing: flags may say things about patients.
        url: SQLAlchemy database URL; RARL_DATABASE_URL where neither `home` nor this is given.

    Raises:
        ReviewError: the folder or the database cannot be used.
    """
    if home is None and url is None:
        url = os.environ.get("RARL_DATABASE_URL") or None
    if url is not None:
        return ReviewStore(url)
    named = os.environ.get("RARL_HOME")
    folder = home or (Path(named).expanduser() if named else user_data_path("rarl"))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        raise ReviewError(
            "The folder of the review store cannot be made; set RARL_HOME to a folder that may be "
            "written and start again."
        ) from None
    # Not as text: a folder's name may hold what means something in an address.
    return ReviewStore(URL.create("sqlite", database=str(folder.absolute() / "review.sqlite3")))


class ReviewStore:
    """Cases and flags; both are only ever added. Safe to use from many threads and processes.

    SQLite runs in WAL mode, so that readers never wait for the one writer. Each operation opens
    its own connection: that costs a fraction of a millisecond, survives a fork, and notices when
    the file is gone instead of writing into a deleted one.
    """

    def __init__(self, url: str | URL, busy_seconds: float = 15.0) -> None:
        """Open or make the tables at `url`.

        Args:
            url: SQLAlchemy database URL.
            busy_seconds: how long a write waits for another one (SQLite).

        Raises:
            ReviewError: the database cannot be used; no sentence repeats the URL, which may hold
                a password.
        """
        try:
            address = make_url(url)
            file_based = address.get_backend_name() == "sqlite"
            if file_based and address.database in (None, "", ":memory:"):
                raise ReviewError(
                    "The review store needs a file, or every flag would be gone after a restart; "
                    "set RARL_HOME to a folder."
                )
            self._engine = (
                create_engine(address, poolclass=NullPool, connect_args={"timeout": busy_seconds})
                if file_based
                else create_engine(address, pool_pre_ping=True)
            )
        except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
            raise ReviewError(
                "RARL_DATABASE_URL is not a database address that can be used here; correct it or "
                "install the database's driver."
            ) from None
        plain_path = file_based and not str(address.database).startswith("file:")
        self._file = Path(str(address.database)) if plain_path else None
        self._writer = self._engine.execution_options(rarl_write=True)
        if file_based:
            _set_up_sqlite(self._engine)
        with as_review_error():
            if file_based:
                with self._engine.connect() as connection:
                    # Lasting, so once is enough; it cannot be set inside a transaction.
                    raw = connection.connection.driver_connection
                    if raw is not None:
                        raw.execute("PRAGMA journal_mode=WAL")
            with self._writer.begin() as connection:
                Base.metadata.create_all(connection)

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def add_case(self, case: CaseSnapshot) -> str:
        """Store a case; a case whose id is stored already is left as it is.

        Returns:
            The case's id.

        Raises:
            ReviewError: the database cannot be written.
        """
        with self._session(self._writer) as session:
            if session.get(CaseRow, case.id) is not None:
                return case.id
            session.add(_case_row(case))
            try:
                session.commit()
            except IntegrityError:
                # Where writers do not queue (PostgreSQL), another was quicker with the same case.
                session.rollback()
                if session.get(CaseRow, case.id) is None:
                    raise
        return case.id

    def add_flag(
        self,
        case_id: str,
        arm: str,
        category: str,
        severity: str,
        comment: str = "",
        reader: str | None = None,
    ) -> Flag:
        """Store a flag on one arm's answer in a stored case.

        Args:
            case_id: what `add_case` returned.
            arm: name of an arm that answered.
            category: key of `CATEGORIES`.
            severity: key of `SEVERITIES`.
            comment: at most `COMMENT_LIMIT` characters.
            reader: at most 200 characters.

        Raises:
            ReviewError: something is missing, unknown or too long, or the database cannot be
                written.
        """
        if category not in dict(CATEGORIES):
            raise ReviewError("Choose what is wrong before the flag is sent.")
        if severity not in dict(SEVERITIES):
            raise ReviewError("Choose how much it matters before the flag is sent.")
        comment = _storable(comment).strip()
        if len(comment) > COMMENT_LIMIT:
            raise ReviewError(
                f"The comment has {len(comment)} characters; shorten it to {COMMENT_LIMIT}."
            )
        name = _storable(reader or "").strip()
        if len(name) > 200:
            raise ReviewError("The reader's name is longer than 200 characters; shorten it.")
        row = FlagRow(
            case_id=case_id,
            arm=arm,
            category=category,
            severity=severity,
            comment=comment,
            created=datetime.now(UTC),
            reader=name or None,
        )
        with self._session(self._writer) as session:
            if session.get(AnswerRow, (case_id, arm)) is None:
                raise ReviewError(
                    "The answer that was flagged is not in the review store; "
                    "ask the question again and flag the new answer."
                )
            session.add(row)
            session.flush()
            stored = session.execute(_rows().where(FlagRow.id == row.id)).one()
            flag = _flag(stored)
            session.commit()
        return flag

    def flag(self, number: int) -> Flag:
        """One flag by its number.

        Raises:
            ReviewError: there is none, or the database cannot be read.
        """
        with self._session(self._engine) as session:
            found = session.execute(_rows().where(FlagRow.id == number)).one_or_none()
            if found is None:
                raise ReviewError("There is no such flag; `review list` shows those there are.")
            return _flag(found)

    def flags(
        self, chosen: FlagFilter | None = None, limit: int | None = None, offset: int = 0
    ) -> tuple[Flag, ...]:
        """The flags that pass the filter, newest first.

        Args:
            chosen: all where not given.
            limit: at most so many; all where None.
            offset: how many of the newest to leave out.

        Raises:
            ReviewError: the database cannot be read.
        """
        statement = _filtered(_rows(), chosen or FlagFilter()).order_by(FlagRow.id.desc())
        with self._session(self._engine) as session:
            found = session.execute(statement.limit(limit).offset(offset))
            return tuple(_flag(row) for row in found)

    def flags_of(self, case_id: str) -> tuple[Flag, ...]:
        """All flags of one case, newest first.

        Raises:
            ReviewError: the database cannot be read.
        """
        statement = _rows().where(FlagRow.case_id == case_id).order_by(FlagRow.id.desc())
        with self._session(self._engine) as session:
            return tuple(_flag(row) for row in session.execute(statement))

    def count(self, chosen: FlagFilter | None = None) -> int:
        """How many flags pass the filter.

        Raises:
            ReviewError: the database cannot be read.
        """
        inner = _filtered(_rows(), chosen or FlagFilter()).with_only_columns(FlagRow.id).subquery()
        with self._session(self._engine) as session:
            return session.scalar(select(func.count()).select_from(inner)) or 0

    def case(self, case_id: str) -> CaseSnapshot:
        """A stored case with its pixels.

        Raises:
            ReviewError: there is none, its pixels are damaged, or the database cannot be read.
        """
        with self._session(self._engine) as session:
            row = session.get(CaseRow, case_id, options=[undefer(CaseRow.png)])
            if row is None:
                raise ReviewError("There is no such case; `review list` shows those with flags.")
            case = _snapshot(row)
        if hashlib.sha256(case.png).hexdigest() != case.sha256:
            raise ReviewError(
                "The picture of this case is damaged in the review store; restore it from a copy."
            )
        return case

    def flagged(self, chosen: FlagFilter | None = None) -> Iterator[tuple[Flag, CaseSnapshot]]:
        """Flags that pass the filter with their cases, oldest first, one case in memory at a time.

        Oldest first, so that today's export begins with yesterday's.

        Raises:
            ReviewError: the database cannot be read.
        """
        statement = _filtered(_rows(), chosen or FlagFilter()).with_only_columns(FlagRow.id)
        with self._session(self._engine) as session:
            numbers = session.scalars(statement.order_by(FlagRow.id)).all()
        case: CaseSnapshot | None = None
        for number in numbers:
            flag = self.flag(number)
            if case is None or case.id != flag.case_id:
                case = self.case(flag.case_id)
            yield flag, case

    def export_jsonl(
        self, file: TextIO, chosen: FlagFilter | None = None, pixels: bool = True
    ) -> int:
        """Write one JSON object a line: a flag and its whole case. See `write_jsonl`.

        Returns:
            How many flags were written.

        Raises:
            ReviewError: the database cannot be read.
        """
        return write_jsonl(file, self.flagged(chosen), pixels)

    def export_csv(self, file: TextIO, chosen: FlagFilter | None = None) -> int:
        """Write one row a flag, safe to open in a spreadsheet. See `write_csv`.

        Args:
            file: opened with `newline=""`.
            chosen: all flags where not given.

        Returns:
            How many flags were written.

        Raises:
            ReviewError: the database cannot be read.
        """
        return write_csv(file, self.flagged(chosen))

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        """One session; rows stay readable after it is closed."""
        if self._file is not None and not self._file.is_file():
            # SQLite would make an empty one in its place.
            raise ReviewError(GONE)
        with as_review_error(), Session(engine, expire_on_commit=False) as session:
            yield session


def _set_up_sqlite(engine: Engine) -> None:
    """Foreign keys on, and transactions that SQLAlchemy begins rather than the driver.

    A write takes the lock at its beginning: a reader that becomes a writer midway would be
    refused at once, without waiting.
    """

    @event.listens_for(engine, "connect")
    def _connected(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        write = connection.get_execution_options().get("rarl_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _rows() -> _Rows:
    """Flags with what they show of their case."""
    return (
        select(FlagRow, AnswerRow.label, CaseRow.modality, CaseRow.question, AnswerRow.answer)
        .join(CaseRow, CaseRow.id == FlagRow.case_id)
        .join(AnswerRow, (AnswerRow.case_id == FlagRow.case_id) & (AnswerRow.arm == FlagRow.arm))
    )


def _filtered(statement: _Rows, chosen: FlagFilter) -> _Rows:
    for column, value in (
        (FlagRow.arm, chosen.arm),
        (FlagRow.category, chosen.category),
        (FlagRow.severity, chosen.severity),
        (CaseRow.modality, chosen.modality),
    ):
        if value:
            statement = statement.where(column == value)
    text = _storable(chosen.text).strip()
    if text:
        searched = (FlagRow.comment, CaseRow.question, AnswerRow.reasoning, AnswerRow.answer)
        statement = statement.where(
            or_(*(column.icontains(text, autoescape=True) for column in searched))
        )
    return statement


def _flag(found: _Found) -> Flag:
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
    )


def _case_row(case: CaseSnapshot) -> CaseRow:
    return CaseRow(
        id=case.id,
        created=case.created,
        app_version=case.app_version,
        png=case.png,
        sha256=case.sha256,
        width=case.width,
        height=case.height,
        modality=case.modality,
        attributes=dict(case.attributes),
        question=_storable(case.question),
        mode=case.mode,
        model=case.model,
        prompt_hash=case.prompt_hash,
        decoding=asdict(case.decoding),
        shown_order=list(case.shown_order),
        answers=[
            AnswerRow(
                position=position,
                arm=answer.arm,
                label=answer.label,
                revision=answer.revision,
                reasoning=_storable(answer.reasoning),
                answer=_storable(answer.answer),
                problems=list(answer.problems),
                text=_storable(answer.text),
                tokens=answer.tokens,
                seconds=answer.seconds,
                stopped=answer.stopped,
            )
            for position, answer in enumerate(case.answers)
        ],
    )


def _snapshot(row: CaseRow) -> CaseSnapshot:
    return CaseSnapshot(
        id=row.id,
        created=row.created,
        app_version=row.app_version,
        png=row.png,
        sha256=row.sha256,
        width=row.width,
        height=row.height,
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
            )
            for answer in row.answers
        ),
    )


def _decoding(stored: dict[str, Any]) -> Decoding:
    """Settings of another version that this one does not know are left out."""
    known = {field.name for field in fields(Decoding)}
    return Decoding(**{name: value for name, value in stored.items() if name in known})


def _storable(text: str) -> str:
    """What every database takes: no NUL, and no half of a surrogate pair from a browser."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
