"""One database, SQLite or PostgreSQL: connections, the schema's version, transactions."""

from __future__ import annotations

import logging
import mmap
import os
import shutil
import sqlite3
import stat
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    NullPool,
    create_engine,
    event,
    insert,
    make_url,
    text,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from rarl.errors import ReviewError, StoreError
from rarl.review._database_errors import BUSY, FULL, GONE, READ_ONLY, as_review_error
from rarl.review._queue_index import rebuild
from rarl.review._tables import AuditRow

log = logging.getLogger(__name__)

# Alembic keeps the change that is running in a module of its own: one at a time in a process.
# Processes wait for each other in the database.
_MIGRATING = Lock()
# Audit entries that wait for a disk with room.
_MOST_UNWRITTEN = 10_000
# Of its index alone, SQLite writes so many bytes.
_LEAST_ROOM = 65_536
# What a flag may need, with its picture: bytes.
_ROOM = 4_000_000
# Any number that no other program on the same server uses: "RARL" in ASCII.
_ADVISORY_LOCK = 0x5241524C
AuditValues = dict[str, Any]
"""The columns of an audit entry."""
_NOT_AN_ADDRESS = (
    "RARL_DATABASE_URL is not a database address that can be used here; correct it or install the "
    "database's driver."
)


class Database:
    """Where the rows are. Safe to use from many threads, and from many processes each its own.

    SQLite runs in WAL mode, so that readers never wait for the one writer, and syncs every commit,
    so that what was acknowledged survives even a power cut. There each operation opens its own
    connection: that costs a fraction of a millisecond, survives a fork, and notices when the file
    is gone instead of writing into a deleted one.

    WAL mode needs memory that processes share through a file. Where the folder does not offer it,
    as on a mounted storage bucket, a rollback journal is used instead (https://sqlite.org/wal.html,
    section 8). A store that is read-only, or on a full disk, can still be read.
    """

    def __init__(self, url: str | URL, busy_seconds: float = 15.0) -> None:
        """Open the database at `url` and bring its tables up to date.

        Args:
            url: SQLAlchemy database URL; `postgres://`, as hosts hand it out, works as well.
            busy_seconds: how long a write waits for another one.

        Raises:
            ReviewError: the database cannot be used; no sentence repeats the URL, which may hold
                a password.
        """
        try:
            address = make_url(url)
            if address.drivername in ("postgres", "postgresql"):
                address = address.set(drivername="postgresql+psycopg")
            self.is_sqlite = address.get_backend_name() == "sqlite"
            if self.is_sqlite and address.database in (None, "", ":memory:"):
                raise ReviewError(
                    "The review store needs a file, or every flag would be gone after a restart; "
                    "set RARL_HOME to a folder."
                )
            if not self.is_sqlite and address.get_backend_name() != "postgresql":
                raise ReviewError(
                    "The review store works with SQLite and PostgreSQL; give RARL_DATABASE_URL "
                    "the address of one of these."
                )
            self._engine = (
                _sqlite_engine(address, busy_seconds)
                if self.is_sqlite
                else _postgresql_engine(address, busy_seconds)
            )
        except ModuleNotFoundError:
            raise ReviewError(
                "PostgreSQL needs the package psycopg, which is not installed: "
                "pip install 'rarl[postgres]'"
            ) from None
        except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
            raise ReviewError(_NOT_AN_ADDRESS) from None
        plain_path = self.is_sqlite and not str(address.database).startswith("file:")
        self._file = Path(str(address.database)) if plain_path else None
        self._writer: Engine = self._engine.execution_options(rarl_write=True)
        self._frozen = _frozen_engine(self._file, busy_seconds) if self._file is not None else None
        # What could not be written into the audit yet, oldest first.
        self._unwritten: deque[AuditValues] = deque(maxlen=_MOST_UNWRITTEN)
        # SQLite lets waiting writers guess when it is their turn, and some guess wrong for long:
        # the threads of a process queue here.
        self._turn = Lock() if self.is_sqlite else None
        self._busy_seconds = busy_seconds
        with as_review_error():
            if self._file is not None and _is_read_only(self._file):
                self._engine = self._writer = self._frozen or self._engine
            elif self._file is not None:
                _keep_private(self._file)
                _choose_journal(self._engine, self._file)
            self._upgrade()
            if self._file is not None:
                _keep_private(self._file)

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self, snapshot: bool = False) -> Iterator[Session]:
        """One session for queries; rows stay readable after it is closed.

        Args:
            snapshot: whether all queries shall see one moment (they always do in SQLite).

        Raises:
            ReviewError: the database fails.
        """
        engine = self._engine
        if snapshot and not self.is_sqlite:
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with self._session(engine) as session:
            if self._frozen is not None and self._cannot_be_opened(session):
                session.bind = self._frozen
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction, committed at the end of the block: after it, what was written stays.

        Raises:
            ReviewError: the database fails; then nothing of the block was written.
        """
        if self._turn is not None and not self._turn.acquire(timeout=self._busy_seconds):
            raise StoreError(BUSY)
        try:
            with self._session(self._writer) as session:
                session.info["writes"] = True
                yield session
                late = list(self._unwritten)
                if late:
                    session.execute(insert(AuditRow), late)
                session.commit()
                for _ in late:
                    self._unwritten.popleft()
        finally:
            if self._turn is not None:
                self._turn.release()

    def note(self, rows: list[AuditValues]) -> None:
        """Write into the audit what was read; where that fails, log it and write it later.

        A full or read-only disk must not keep people from reading.
        """
        if not rows:
            return
        try:
            with self.writing() as session:
                session.execute(insert(AuditRow), rows)
        except StoreError:
            self._unwritten.extend(rows)
            for row in rows:
                facts = {name: row[name] for name in ("person", "action", "what")}
                facts["case"] = row["case_id"]
                log.warning("audit entry not written yet", extra={"facts": facts})

    def check(self) -> None:
        """See whether a flag could be written now.

        Raises:
            StoreError: it could not; the sentence says why.
        """
        with self.reading() as session:
            session.execute(text("SELECT 1"))
        if self._file is None:
            if not self.is_sqlite:
                with self.reading() as session:
                    if session.scalar(text("SHOW transaction_read_only")) == "on":
                        raise StoreError(READ_ONLY)
            return
        if _is_read_only(self._file):
            raise StoreError(READ_ONLY)
        try:
            with tempfile.TemporaryFile(dir=self._file.parent) as probe:
                os.posix_fallocate(probe.fileno(), 0, _ROOM)
        except OSError:
            raise StoreError(FULL) from None

    def forget_deleted(self) -> None:
        """Overwrite what deleted rows leave behind in SQLite's log (its file has no traces).

        PostgreSQL reclaims dead rows by itself (autovacuum); backups are the site's.
        """
        if self.is_sqlite:
            with as_review_error(), self._engine.connect() as connection:
                raw = connection.connection.driver_connection
                if raw is not None:
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        if self._file is not None and not self._file.is_file():
            # SQLite would make an empty one in its place.
            raise StoreError(GONE)
        try:
            with as_review_error(), Session(engine, expire_on_commit=False) as session:
                yield session
        except StoreError as error:
            # SQLite cannot open its log beside a database in a folder that is read-only.
            if str(error) == GONE and self._file is not None and self._file.is_file():
                raise StoreError(READ_ONLY) from None
            # On a full disk SQLite may fail before it writes, and then does not say why.
            if self._file is not None and self._file.is_file() and _is_full(self._file.parent):
                raise StoreError(FULL) from None
            raise

    def _cannot_be_opened(self, session: Session) -> bool:
        """Whether SQLite cannot make the log and its index that readers share.

        Then nobody has either open, and the file alone is all there is.
        """
        try:
            session.execute(text("SELECT 1 FROM sqlite_master LIMIT 1")).all()
        except OperationalError:
            session.rollback()
            assert self._file is not None
            return not _size(self._file.with_name(f"{self._file.name}-wal"))
        return False

    def _upgrade(self) -> None:
        with _MIGRATING:
            folder = str(Path(__file__).with_name("migrations"))
            config = Config()
            config.set_main_option("script_location", folder.replace("%", "%%"))
            head = ScriptDirectory.from_config(config).get_current_head()
            with self._engine.connect() as connection:
                # Asked first, so that a store that is read-only can still be read.
                if MigrationContext.configure(connection).get_current_revision() == head:
                    return
            with self._writer.begin() as connection:
                if not self.is_sqlite:
                    connection.execute(
                        text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK}
                    )
                config.attributes["connection"] = connection
                try:
                    command.upgrade(config, "head")
                except CommandError:
                    raise ReviewError(
                        "The review store was written by a newer version of this program; install "
                        "that version, or set RARL_HOME to another folder."
                    ) from None
                with Session(connection) as session:
                    rebuild(session)
                    session.flush()


def _is_full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < _LEAST_ROOM


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _is_read_only(file: Path) -> bool:
    """Whether neither the file nor anything beside it can be written; of a missing file, no."""
    if not file.is_file():
        return False
    try:
        mounted = os.statvfs(file).f_flag & getattr(os, "ST_RDONLY", 1)
    except (OSError, AttributeError):
        mounted = 0
    return bool(mounted) or not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))


def _keep_private(file: Path) -> None:
    """Let the owner alone read the database: SQLite gives its log and journal the same mode."""
    if os.name != "posix":
        return
    with suppress(OSError):  # it is there, or SQLite says why it cannot be made
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    for name in ("", "-wal", "-shm", "-journal"):
        part = file.with_name(file.name + name)
        with suppress(FileNotFoundError):
            if stat.S_IMODE(part.stat().st_mode) & 0o077:
                with suppress(PermissionError):
                    part.chmod(0o600)
                if stat.S_IMODE(part.stat().st_mode) & 0o077:
                    log.warning("the review store can be read by other users of this machine")


def _choose_journal(engine: Engine, file: Path) -> None:
    """WAL where processes can share memory through a file beside the database, else a journal."""
    if _maps_memory(file.parent):
        with engine.connect() as connection:
            raw = connection.connection.driver_connection
            if raw is not None:
                # Lasting, so once is enough; it cannot be set inside a transaction.
                raw.execute("PRAGMA journal_mode=WAL")
        return
    log.info("the review store keeps a rollback journal: its folder shares no memory maps")
    # A database in WAL mode can be opened here by one connection alone, and only if that is said
    # before anything is read.
    with closing(sqlite3.connect(file, isolation_level=None)) as alone:
        if _size(file):
            alone.execute("PRAGMA locking_mode=EXCLUSIVE")
            alone.execute("PRAGMA journal_mode=DELETE")


def _maps_memory(folder: Path) -> bool:
    """Whether a file in a folder can be mapped into memory that processes share."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.truncate(mmap.PAGESIZE)
            with mmap.mmap(probe.fileno(), mmap.PAGESIZE) as mapped:
                mapped[0] = 1
    except OSError:
        return False
    return True


def _frozen_engine(file: Path, busy_seconds: float) -> Engine:
    """For a database that nobody can write: read without a lock, a log or a journal."""
    query = {"mode": "ro", "immutable": "1", "uri": "true"}
    name = quote(str(file.absolute()))
    return _sqlite_engine(URL.create("sqlite", database=f"file:{name}", query=query), busy_seconds)


def _postgresql_engine(address: URL, busy_seconds: float) -> Engine:
    wait = max(1, int(busy_seconds * 1000))
    return create_engine(
        address,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10, "options": f"-c lock_timeout={wait}"},
    )


def _sqlite_engine(address: URL, busy_seconds: float) -> Engine:
    """Foreign keys on, and transactions that SQLAlchemy begins rather than the driver.

    A write takes the lock at its beginning: a reader that becomes a writer midway would be
    refused at once, without waiting.
    """
    engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": busy_seconds})

    @event.listens_for(engine, "connect")
    def _connected(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        # EXTRA also syncs the folder after a rollback journal is deleted; in WAL mode it is FULL.
        cursor.execute("PRAGMA synchronous=EXTRA")
        # A case that is deleted for good leaves no pixels in free pages.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        write = connection.get_execution_options().get("rarl_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
