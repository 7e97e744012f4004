"""What a failing database means for the person who was typing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from rarl.errors import ReviewError, StoreError

_KEPT = "nothing typed was lost"

GONE = (
    f"The review store is gone or cannot be opened; {_KEPT}: restore it or set RARL_HOME to "
    "another folder, and start again."
)

BUSY = f"The review store is busy; {_KEPT}: wait a moment and try again."
FULL = f"The disk of the review store is full; {_KEPT}: free some space and try again."
READ_ONLY = (
    f"The review store is read-only; {_KEPT}: make it writable or set RARL_HOME to a folder that "
    "is, and try again."
)

# By primary result code (https://sqlite.org/rescode.html), not by message.
_SENTENCES: dict[int, str] = {
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_IOERR: (
        f"The disk of the review store cannot be written or read; {_KEPT}: "
        "check its free space and its connection and try again."
    ),
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: GONE,
    sqlite3.SQLITE_NOTADB: (
        f"The review store is damaged; {_KEPT}: restore it from a copy and start again."
    ),
    sqlite3.SQLITE_CORRUPT: (
        f"The review store is damaged; {_KEPT}: restore it from a copy and start again."
    ),
}

_UNREACHABLE = (
    f"The review database cannot be used; {_KEPT}: check that it runs and that "
    "RARL_DATABASE_URL is right, and try again."
)

_CLASH = (
    f"This does not fit what the review store holds already; {_KEPT}: load the page or the file "
    "again and try once more."
)

# By SQLSTATE, or by its first two characters, the class
# (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_SQLSTATES: dict[str, str] = {
    "55P03": BUSY,  # lock_not_available
    "40001": BUSY,  # serialization_failure
    "40P01": BUSY,  # deadlock_detected
    "53300": BUSY,  # too_many_connections
    "57014": BUSY,  # query_canceled, by a time limit
    "53100": FULL,  # disk_full
    "25006": (
        f"The review database takes no changes now (it is read-only); {_KEPT}: wait until it does, "
        "or set RARL_DATABASE_URL to one that does, and try again."
    ),
    "42501": (
        f"The account in RARL_DATABASE_URL may not do this; {_KEPT}: give it the right to make and "
        "fill tables, and try again."
    ),
    "23": _CLASH,
}


@contextmanager
def as_review_error() -> Iterator[None]:
    """Turn a database error into one sentence.

    `from None`: the driver's message quotes the statement with everything typed in it.

    Raises:
        StoreError: the database, or the way to it, fails.
        ReviewError: what was written does not fit what is there.
    """
    try:
        yield
    except IntegrityError:
        raise ReviewError(_CLASH) from None
    except SQLAlchemyError as error:
        sentence = _sentence(error)
        raise (ReviewError if sentence == _CLASH else StoreError)(sentence) from None
    except sqlite3.Error as error:
        raise StoreError(_by_code(error)) from None


def _sentence(error: SQLAlchemyError) -> str:
    if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error):
        return _by_code(error.orig)
    # psycopg is optional, so its errors are known by their SQLSTATE.
    if isinstance(error, DBAPIError) and hasattr(error.orig, "sqlstate"):
        state: str = getattr(error.orig, "sqlstate", None) or ""
        return _SQLSTATES.get(state, _SQLSTATES.get(state[:2], _UNREACHABLE))
    return _UNREACHABLE


def _by_code(error: sqlite3.Error) -> str:
    # The driver sets the code only on errors that come from SQLite itself.
    code = vars(error).get("sqlite_errorcode", 0) & 0xFF
    return _SENTENCES.get(
        code,
        f"The review store could not do this; {_KEPT}: start again, and if it happens again "
        "restore the store from a copy.",
    )
