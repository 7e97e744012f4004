"""One core kept busy by another process, as a browser beside the app keeps one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def busy_core(wanted: bool) -> Iterator[None]:
    """Run a process that computes without end, where it is wanted, until the context ends."""
    if not wanted:
        yield
        return
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()
