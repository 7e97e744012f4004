"""Read uploads and delete their files as soon as Gradio allows.

Gradio writes an upload into its cache before any handler runs. So the page sends files under
neutral names, the cache is a private folder, and a file is deleted as soon as it was read. A folder
that a crashed run left behind is swept when the next run starts.

`Uploads` is the one place where an argument becomes a file: by the name that its uploader was
given, and for that uploader alone. No argument is ever read as a path or an address.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import monotonic

from filelock import FileLock, Timeout

from demo.services.fair_queue import current_share
from demo.serving.caller import Caller
from demo.session import ROLES
from rarl.errors import ScanError
from rarl.scans import Opened, decoding_for, open_apart
from rarl.settings import read_settings

_PREFIX = "rarl-"
_LOCK = ".in-use"
# More files than a question can have scans are the files of one series.
_FEW = len(ROLES)
# What nobody has used by then was interrupted.
_KEPT_SECONDS = 3600.0
_NOT_ARRIVED = "The upload did not arrive; please try again."


def max_upload_bytes() -> int:
    """Bytes of the largest file, as the site sets it now.

    Raises:
        SettingError: a setting cannot be used.
    """
    return read_settings().limit.file_bytes


def private_cache() -> Path:
    """Make Gradio's cache a folder that only this user can enter, gone when the app ends.

    Call it before any component is built.
    """
    sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))  # mkdtemp: mode 0700
    lock = FileLock(folder / _LOCK)
    lock.acquire()  # the system lets go of it when this process dies, however it dies
    os.environ["GRADIO_TEMP_DIR"] = str(folder)

    def end() -> None:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return folder


def sweep(parent: Path) -> int:
    """Remove the caches of runs that ended without doing so themselves; returns how many."""
    swept = 0
    for folder in parent.glob(f"{_PREFIX}*"):
        lock = folder / _LOCK
        try:
            # Only what was made here and by this user, never through a link of somebody else's.
            mine = folder.lstat().st_uid == parent_user() and not folder.is_symlink()
            if not mine or not lock.is_file() or lock.is_symlink():
                continue
            with FileLock(lock, timeout=0):
                pass
            shutil.rmtree(folder)
            swept += 1
        except (OSError, Timeout):
            continue  # in use, or gone meanwhile
    return swept


def parent_user() -> int:
    """The user that this process runs as; 0 where the system has no such numbers (Windows)."""
    return os.getuid() if os.name == "posix" else 0


@dataclass(frozen=True, slots=True)
class _Upload:
    file: Path
    marks: frozenset[str]
    until: float


class Uploads:
    """Uploaded files by unguessable name, each for whoever sent it.

    Args:
        cache: the private folder that Gradio writes uploads into.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache.resolve()
        self._lock = Lock()
        self._uploads: dict[str, _Upload] = {}

    def admit(self, path: str, caller: Caller) -> str:
        """Take over a file that Gradio has written; returns the name that its sender may use.

        The file moves into a folder of its own: Gradio gives equal bytes one path, and two people
        may send the same picture.

        Raises:
            ScanError: the file is not there.
        """
        file = Path(path).resolve()
        if not file.is_relative_to(self._cache):
            raise ScanError(_NOT_ARRIVED)
        self.sweep()
        folder = Path(tempfile.mkdtemp(prefix="upload-", dir=self._cache))
        try:
            moved = file.rename(folder / file.name)
        except OSError:
            folder.rmdir()
            raise ScanError(_NOT_ARRIVED) from None
        _forget_folder(file.parent)
        name = f"upload-{secrets.token_urlsafe(24)}"
        with self._lock:
            self._uploads[name] = _Upload(moved, caller.marks, monotonic() + _KEPT_SECONDS)
        return name

    def find(self, name: str, caller: Caller) -> Path | None:
        """The file that this caller uploaded under this name; None for any other argument."""
        upload = self._uploads.get(name)
        if upload is None or not upload.marks & caller.marks:
            return None
        return upload.file

    def name_of(self, file: str, caller: Caller) -> str | None:
        """The name of an uploaded file that the guard has put in a name's place."""
        with self._lock:
            names = [name for name, upload in self._uploads.items() if str(upload.file) == file]
        return next((name for name in names if self.find(name, caller)), None)

    def read(self, names: Sequence[str], caller: Caller) -> list[bytes]:
        """Read uploads and delete them.

        Raises:
            ScanError: one is not this caller's, or gone.
        """
        files = [self.file(name, caller) for name in names]
        if not files:
            raise ScanError(_NOT_ARRIVED)
        try:
            return [file.read_bytes() for file in files]
        except OSError as error:
            raise ScanError(_NOT_ARRIVED) from error
        finally:
            for file in files:
                self.forget(file)

    def file(self, name: str, caller: Caller) -> Path:
        """An upload's file, by its name or by what the guard has put in its place.

        Raises:
            ScanError: it is not this caller's, or gone.
        """
        file = self.find(name, caller)
        if file is None:
            file = self.find(self.name_of(name, caller) or "", caller)
        if file is None:
            raise ScanError(_NOT_ARRIVED)
        return file

    def forget(self, file: Path) -> None:
        """Delete an upload."""
        with self._lock:
            for name in [name for name, upload in self._uploads.items() if upload.file == file]:
                del self._uploads[name]
        file.unlink(missing_ok=True)
        _forget_folder(file.parent)

    def sweep(self) -> None:
        """Delete what nobody has used within the hour."""
        now = monotonic()
        with self._lock:
            late = [upload.file for upload in self._uploads.values() if upload.until < now]
        for file in late:
            self.forget(file)


def open_uploads(contents: Sequence[bytes]) -> tuple[Opened, ...]:
    """Open the bytes of uploaded files: one series, what an archive holds, or a few scans.

    Raises:
        ScanError: none of them can be opened; the sentence says why.
    """
    with decoding_for(current_share()):
        return open_apart(contents, _FEW)


def _forget_folder(folder: Path) -> None:
    """Gradio gives each upload a folder of its own; leave no trace of that either."""
    with suppress(OSError):
        folder.rmdir()
