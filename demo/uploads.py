"""Uploaded bytes touch the disk for as short a time as Gradio allows, where nobody else can look.

Gradio writes an upload into its cache before any handler runs, and serves its cache to whoever
knows an address. So the cache is a private folder, and a file is deleted as soon as it was read.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from rarl.errors import ScanError
from rarl.scans import Limits, open_scan
from rarl.scans.scan import Scan

MAX_UPLOAD_BYTES = Limits().file_bytes


def private_cache() -> Path:
    """Make Gradio's cache a folder that only this user can enter, gone when the app ends.

    Call it before any component is built.
    """
    folder = Path(tempfile.mkdtemp(prefix="rarl-"))  # mkdtemp: mode 0700
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def take_upload(path: str | Path) -> Scan:
    """Read an uploaded file, delete it, and open it as a scan.

    Raises:
        ScanError: it cannot be opened as a scan; the sentence says why.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ScanError("The upload did not arrive; please try again.") from error
    finally:
        file.unlink(missing_ok=True)
        # Gradio gives each upload a folder of its own; leave no trace of that either.
        if file.parent.is_dir() and not any(file.parent.iterdir()):
            file.parent.rmdir()
    return open_scan(data)
