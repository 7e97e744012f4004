"""A process that is killed while it writes loses nothing that it acknowledged."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

from rarl.review import CaseSnapshot, ReviewStore

MakeCase = Callable[..., CaseSnapshot]

WRITER = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4
from rarl.review import ReviewStore
store = ReviewStore(sys.argv[1], busy_seconds=120)
def write(number):
    key = uuid4().hex
    store.add_flag(sys.argv[2], "sft", "other", "none", f"flag {number}", key=key)
    os.write(1, (key + "\\n").encode())  # one write, so that no acknowledgement is cut
with ThreadPoolExecutor(12) as pool:
    list(pool.map(write, range(1000)))
"""


def test_what_was_acknowledged_survives_kill_9(address: str, make_case: MakeCase) -> None:
    store = ReviewStore(address)
    case_id = store.add_case(make_case())
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, address, case_id], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(300)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in writer.stdout.readlines()]
    assert writer.wait(60) == -signal.SIGKILL
    writer.stdout.close()
    # Killed midway: not before it wrote, not after it was through.
    assert 300 <= len(acknowledged) < 1000 and "" not in acknowledged

    kept = {flag.key for flag in store.flags()}
    assert set(acknowledged) <= kept
    # At most one more a thread: written, but not yet acknowledged.
    assert len(kept) <= len(acknowledged) + 12
    # A sender that never heard back sends again, and nothing is there twice.
    flag = store.add_flag(case_id, "sft", "other", "none", "again", key=acknowledged[0])
    assert flag.comment != "again" and store.count() == len(kept)
    store.close()
