"""One database, SQLite or PostgreSQL: connections, the schema's version, transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from rarl.errors import ReviewError, StoreError
from rarl.review._failures import BUSY, GONE, as_review_error

# Alembic keeps the change that is running in a module of its own: one at a time in a process.
# Processes wait for each other in the database.
_MIGRATING = Lock()
# Any number that no other program on the same server uses: "RARL" in ASCII.
_ADVISORY_LOCK = 0x5241524C
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
        self._writer = self._engine.execution_options(rarl_write=True)
        # SQLite lets waiting writers guess when it is their turn, and some guess wrong for long:
        # the threads of a process queue here.
        self._turn = Lock() if self.is_sqlite else None
        self._busy_seconds = busy_seconds
        with as_review_error():
            if self.is_sqlite:
                with self._engine.connect() as connection:
                    # Lasting, so once is enough; it cannot be set inside a transaction.
                    raw = connection.connection.driver_connection
                    if raw is not None:
                        raw.execute("PRAGMA journal_mode=WAL")
            self._upgrade()

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
                yield session
                session.commit()
        finally:
            if self._turn is not None:
                self._turn.release()

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
        with as_review_error(), Session(engine, expire_on_commit=False) as session:
            yield session

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
        cursor.execute("PRAGMA synchronous=FULL")
        # A case that is deleted for good leaves no pixels in free pages.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        write = connection.get_execution_options().get("rarl_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
