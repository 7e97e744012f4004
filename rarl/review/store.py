"""The store of cases, flags and votes, in SQLite or PostgreSQL."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from platformdirs import user_data_path
from sqlalchemy import URL

from rarl.errors import ReviewError
from rarl.records import FlagFilter
from rarl.review.repositories.audit import Audit
from rarl.review.repositories.flags import Flags
from rarl.review.repositories.votes import Votes
from rarl.review.roles import Role
from rarl.review.taxonomy import Taxonomy, read_taxonomy
from rarl.review.transfer.table import write_csv
from rarl.settings import read_settings

log = logging.getLogger(__name__)


def store_folder(environment: Mapping[str, str] | None = None) -> Path:
    """RARL_HOME, or the platform's folder for user data.

    Args:
        environment: all environment variables; `os.environ` where None.

    Raises:
        SettingError: a setting cannot be used.
    """
    return read_settings(environment).home or user_data_path("rarl")


def open_store(home: Path | None = None, url: str | None = None) -> ReviewStore:
    """Open the store, make it where there is none, and bring its tables up to date.

    Settings: RARL_HOME, RARL_DATABASE_URL, RARL_PIXELS ("keep", or "hash" to store only the hash of
    each picture), `taxonomy.yaml` in RARL_HOME (see `read_taxonomy`), and `consent.txt` there: what
    readers of every study agree to.

    Args:
        home: folder of `review.sqlite3`; RARL_HOME, or the platform's folder for user data. Made
            with mode 0700 where it is missing: flags may say things about patients.
        url: SQLAlchemy database URL; RARL_DATABASE_URL where neither `home` nor this is given.

    Raises:
        ReviewError: the folder or the database cannot be used.
        SettingError: a setting cannot be used.
    """
    settings = read_settings()
    if home is None and url is None:
        url = settings.database_url
    pixels = settings.pixels
    folder = home or store_folder()
    own = folder / "taxonomy.yaml"
    taxonomy = read_taxonomy(own) if own.is_file() else Taxonomy()
    consent = _consent(folder / "consent.txt")
    if url is not None:
        return ReviewStore(url, taxonomy=taxonomy, keep_pixels=pixels == "keep", consent=consent)
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
    return ReviewStore(address, taxonomy=taxonomy, keep_pixels=pixels == "keep", consent=consent)


def _consent(file: Path) -> str:
    if not file.is_file():
        return ""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ReviewError(
            "consent.txt in RARL_HOME cannot be read as UTF-8 text; correct it and start again."
        ) from None


def _keep_private(folder: Path) -> None:
    """Take the rights of other users from the folder, also where it was there before."""
    if os.name != "posix" or not folder.stat().st_mode & 0o077:
        return
    with suppress(PermissionError):  # somebody else's, or read-only
        folder.chmod(0o700)
    if folder.stat().st_mode & 0o077:
        log.warning("the folder of the review store can be entered by other users of this machine")


class ReviewStore(Flags, Votes, Audit):
    """Cases and what people say about them; all of it is only ever added.

    A correction is a new row that names the one it replaces; only `delete_case` takes anything
    away, and leaves a tombstone. Safe to use from many threads and processes.
    """

    def for_person(self, person: str | None, role: Role | None) -> ReviewStore:
        """The same store, with one person's rights, and every access in the audit by name."""
        return ReviewStore(
            self._database,
            taxonomy=self.taxonomy,
            keep_pixels=self._keep_pixels,
            person=person,
            role=role,
            consent=self.consent,
        )

    def export_csv(
        self, file: TextIO, chosen: FlagFilter | None = None, names: bool = False
    ) -> int:
        """Write one row a flag, safe to open in a spreadsheet. See `write_csv`.

        Args:
            file: opened with `newline=""`.
            chosen: all flags where not given.
            names: whether readers keep their names; otherwise they are pseudonyms.

        Returns:
            How many flags were written.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        return write_csv(file, self.flagged(chosen, names), self.taxonomy)
