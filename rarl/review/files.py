"""Exports that stand whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rarl.errors import ReviewError


@contextmanager
def written_whole(out: Path) -> Iterator[Path]:
    """A place beside `out` for a file or a folder, which is moved there once it is written.

    What stands at `out` is replaced: a file, or an empty folder. Its owner alone can read it.

    Raises:
        ReviewError: the place cannot be written.
    """
    try:
        beside = Path(tempfile.mkdtemp(dir=out.parent, prefix=".rarl-export-"))
        try:
            part = beside / "part"
            yield part
            part.chmod(0o700 if part.is_dir() else 0o600)
            if part.is_dir() and out.is_dir():
                out.rmdir()
            os.replace(part, out)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError:
        raise ReviewError(
            "The export cannot be written; choose another place with --out, or free some space."
        ) from None
