"""Copy the store to a private dataset repository on the Hub, for hosts without a lasting disk.

On a Space without a database, what the repository holds is read back when the app starts, and what
is new is committed soon after. Rows are only ever added, so that several copies of the app may use
one repository: each imports what the others said before it commits.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from sqlalchemy import func, select

from rarl.errors import ReviewError
from rarl.review._tables import ROWS, TombstoneRow, WithdrawalRow
from rarl.review.store import ReviewStore
from rarl.review.transfer.importer import import_from
from rarl.review.transfer.writer import export
from rarl.settings import read_settings

log = logging.getLogger(__name__)

FILE = "review.jsonl"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the copy is kept.

    Attributes:
        repository: "owner/name" of a dataset; made where it is missing, and private.
        pixels: whether pictures go along, or only their hashes.
    """

    repository: str
    pixels: bool = False


def read_place(environment: Mapping[str, str] | None = None) -> Place | None:
    """RARL_FLAGS_REPO and RARL_FLAGS_PIXELS ("hash", or "keep"); None where there is no copy.

    Args:
        environment: all environment variables; `os.environ` where None.

    Raises:
        SettingError: a setting cannot be used.
    """
    settings = read_settings(environment)
    if settings.flags_repo is None:
        return None
    return Place(settings.flags_repo, settings.flags_pixels == "keep")


class HubCopy:
    """Keeps a repository on the Hub and the store alike, in a thread of its own.

    Args:
        store: of the program itself.
        place: where the copy is kept; the token is huggingface_hub's own (HF_TOKEN).
        every: seconds between two looks at what is new.
    """

    def __init__(self, store: ReviewStore, place: Place, every: float = 60.0) -> None:
        self._store = store
        self._place = place
        self._every = every
        self._sent: tuple[int, ...] | None = None
        self._over = Event()
        self._thread = Thread(target=self._run, name="rarl-hub-copy", daemon=True)

    def start(self) -> None:
        """Read back what is there, and begin to look for what is new."""
        self._thread.start()

    def stop(self) -> None:
        """Look a last time, and end; `wait` waits for it."""
        self._over.set()

    def wait(self, seconds: float) -> None:
        """Give the last look so much time."""
        self._thread.join(seconds)

    def sync(self) -> None:
        """Import what is there and commit what is new; nothing is asked of the Hub without need.

        Raises:
            ReviewError: the Hub cannot be reached or refuses, the repository is public, or what is
                there cannot be read.
        """
        from httpx2 import HTTPError  # what huggingface_hub itself raises where nobody answers
        from huggingface_hub import HfApi
        from huggingface_hub.errors import EntryNotFoundError, HFValidationError

        if self._sent == self._counted():
            return
        api, name = HfApi(), self._place.repository
        try:
            api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
            head = api.repo_info(name, repo_type="dataset")
            if not head.private:
                raise ReviewError(
                    f"{name} is public on the Hub; make it private, or name "
                    "another in RARL_FLAGS_REPO."
                )
            with tempfile.TemporaryDirectory(prefix="rarl-") as folder:
                try:
                    there = api.hf_hub_download(
                        name, FILE, repo_type="dataset", revision=head.sha, local_dir=folder
                    )
                    import_from(self._store, Path(there))
                except EntryNotFoundError:
                    pass  # the first time
                counted = self._counted()
                here = Path(folder) / "here"
                # With names, or nobody would find their own flags again.
                export(self._store, here, "jsonl", pixels=self._place.pixels, names=True)
                # Refused where another copy of the app was faster: then it is tried again.
                api.upload_file(
                    repo_id=name,
                    repo_type="dataset",
                    path_or_fileobj=here,
                    path_in_repo=FILE,
                    parent_commit=head.sha,
                    commit_message="What was said since",
                )
            gone = [ROWS.index(row) for row in (TombstoneRow, WithdrawalRow)]
            if self._sent is not None and any(counted[n] > self._sent[n] for n in gone):
                # What was deleted for good or withdrawn is not to be found in older commits.
                api.super_squash_history(name, repo_type="dataset")
        except (HTTPError, HFValidationError, OSError):
            raise ReviewError(
                "The flags could not be copied to the Hub; check RARL_FLAGS_REPO and its token. "
                "They are kept here, and it is tried again."
            ) from None
        self._sent = counted

    def _run(self) -> None:
        while True:
            last = self._over.is_set()
            try:
                self.sync()
            except Exception as error:
                reason = str(error) if isinstance(error, ReviewError) else type(error).__name__
                log.error("flags not copied: %s", reason)
            if last:
                return
            self._over.wait(self._every)

    def _counted(self) -> tuple[int, ...]:
        """Rows of each table: since rows are only ever added, other numbers mean other content."""
        with self._store.reading() as session:
            return tuple(session.scalar(select(func.count()).select_from(row)) or 0 for row in ROWS)
