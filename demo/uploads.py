"""Uploaded bytes touch the disk for as short a time as Gradio allows, where nobody else can look.

Gradio writes an upload into its cache before any handler runs, and serves its cache to whoever
knows an address. So the page sends files under neutral names, the cache is a private folder, and
a file is deleted as soon as it was read. A folder that a crashed run left behind is swept when the
next run starts.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from demo.session import ROLES
from rarl.errors import ScanError
from rarl.scans import Limits, Stack, open_stack

MAX_UPLOAD_BYTES = Limits().file_bytes

_PREFIX = "rarl-"
_LOCK = ".in-use"
# More files than a question can have scans are the files of one series.
_FEW = len(ROLES)


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


def take_uploads(paths: Sequence[str], cache: Path) -> list[Stack]:
    """Read uploaded files, delete them, and open them.

    Several files are one series where they belong together, and otherwise (a few) a scan each;
    those that cannot be opened are left out, and a warning of the first scan says so.

    Args:
        paths: where Gradio put them, as the page reports it.
        cache: the folder that they must lie in.

    Raises:
        ScanError: none of them can be opened; the sentence says why.
    """
    files = [Path(path).resolve() for path in paths]
    home = cache.resolve()
    if not files or not all(file.is_relative_to(home) for file in files):
        raise ScanError("The upload did not arrive; please try again.")
    contents = []
    try:
        contents = [file.read_bytes() for file in files]
    except OSError as error:
        raise ScanError("The upload did not arrive; please try again.") from error
    finally:
        for file in files:
            _forget(file)
    if 1 < len(contents) <= _FEW:
        single: dict[int, Stack] = {}
        for number, content in enumerate(contents):
            with suppress(ScanError):  # one bad file does not cost the others
                single[number] = open_stack([content])
        if len(single) > 1 and not _one_series(list(single.values())):
            first = min(single)
            bad = [content for number, content in enumerate(contents) if number not in single]
            if bad:  # opened along with one of them, so that its warnings tell
                single[first] = open_stack([contents[first], *bad])
            return list(single.values())
    return [open_stack(contents)]


def _one_series(stacks: Sequence[Stack]) -> bool:
    """Whether these belong into one stack: slices do, two projections do not."""
    series = {(stack.series, stack.attributes.get("ViewPosition")) for stack in stacks}
    return len(series) == 1 and stacks[0].series is not None


def _forget(file: Path) -> None:
    file.unlink(missing_ok=True)
    # Gradio gives each upload a folder of its own; leave no trace of that either.
    if file.parent.is_dir() and not any(file.parent.iterdir()):
        file.parent.rmdir()
