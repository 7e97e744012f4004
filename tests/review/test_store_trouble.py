"""A store that is full, read-only, or on a file system without shared memory maps."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rarl.review import CaseSnapshot, open_store

MakeCase = Callable[..., CaseSnapshot]

# The folder is a disk of 1 MB in a namespace of its own.
_SMALL_DISK = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
               'mount -t tmpfs -o size=1m tmpfs "$1" && cp -p "$2"/* "$1" && shift 2 && exec "$@"',
               "sh"]  # fmt: skip
_FULL = """
import sys
from pathlib import Path
from rarl.errors import ReviewError
from rarl.review import Queue, open_store
store = open_store(home=Path(sys.argv[1]))
(Path(sys.argv[1]) / "filler").write_bytes(b"")
with open(Path(sys.argv[1]) / "filler", "ab", 0) as filler:
    try:
        while filler.write(bytes(512)):
            pass
    except OSError:
        pass
mine = store.for_person("Dr. A", "admin")
for read in (lambda: mine.case(sys.argv[2]).question, lambda: len(mine.flags()),
             lambda: Queue(mine).next().arm):
    print(read())
for write in (lambda: mine.add_flag(sys.argv[2], "sft", "other", "none", "x" * 4000), store.check):
    try:
        write()
        print("written")
    except ReviewError as error:
        print(str(error).partition(";")[0])
(Path(sys.argv[1]) / "filler").unlink()
mine.add_flag(sys.argv[2], "sft", "other", "none")
print(sorted({(entry.action, entry.what) for entry in store.audit()}))
"""


def test_a_full_disk_can_be_read_and_says_so(tmp_path: Path, make_case: MakeCase) -> None:
    case = make_case()
    before, disk = tmp_path / "before", tmp_path / "disk"
    disk.mkdir()
    store = open_store(home=before)
    store.add_case(case)
    store.add_flag(case.id, "sft", "style", "none")
    store.close()
    words = [*_SMALL_DISK, str(disk), str(before), sys.executable, "-c", _FULL, str(disk), case.id]
    done = subprocess.run(words, capture_output=True, text=True)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no disk can be mounted here: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    *shown, entries = done.stdout.splitlines()
    assert shown == [
        case.question, "1", "sft",
        "The disk of the review store is full", "The disk of the review store is full",
    ]  # fmt: skip
    # What was read while the disk was full is in the audit once it has room.
    assert "('read', 'case')" in entries and "('write', 'flag')" in entries


def test_a_read_only_store_is_read_and_called_so(tmp_path: Path, make_case: MakeCase) -> None:
    case, home = make_case(), tmp_path / "home"
    store = open_store(home=home)
    store.add_case(case)
    store.close()
    code = (
        "import sys; from pathlib import Path; from rarl.review import open_store;"
        "from rarl.errors import ReviewError;"
        "store = open_store(home=Path(sys.argv[1])); print(store.case(sys.argv[2]).question)\n"
        "try: store.add_flag(sys.argv[2], 'sft', 'style', 'none')\n"
        "except ReviewError as error: print(error)"
    )
    mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", str(home),
             sys.executable, "-c", code, str(home), case.id]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr[-200:]}")
    question, sentence = done.stdout.splitlines()
    assert question == case.question
    assert sentence.startswith("The review store is read-only; nothing typed was lost")


def test_other_users_see_nothing(tmp_path: Path, make_case: MakeCase) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        home.chmod(0o755)
        sqlite3.connect(home / "review.sqlite3").close()
        (home / "review.sqlite3").chmod(0o666)
        store = open_store(home=home)
        store.add_case(make_case())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}, modes
    store.close()


_NO_MAPS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static void *refused(void *at, size_t size, int rights, int flags, int file, off_t from) {
    static void *(*real)(void *, size_t, int, int, int, off_t);
    if (!real) real = dlsym(RTLD_NEXT, "mmap");
    if (file >= 0 && (flags & MAP_SHARED)) {
        char link[64], path[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length > 0) {
            path[length] = 0;
            if (strstr(path, getenv("NO_MAPS"))) { errno = ENODEV; return MAP_FAILED; }
        }
    }
    return real(at, size, rights, flags, file, from);
}
void *mmap(void *a, size_t s, int r, int f, int d, off_t o) { return refused(a, s, r, f, d, o); }
void *mmap64(void *a, size_t s, int r, int f, int d, off_t o) { return refused(a, s, r, f, d, o); }
"""
_FLAGS = """
import sqlite3, sys, threading
from pathlib import Path
from rarl.review import open_store
home, case = Path(sys.argv[1]), sys.argv[2]
store = open_store(home=home)
def flags():
    while True:
        print(store.add_flag(case, "sft", "style", "none").key, flush=True)
for _ in range(3):
    threading.Thread(target=flags).start()
"""


def test_a_bucket_without_shared_maps_loses_nothing_to_a_kill(
    tmp_path: Path, make_case: MakeCase
) -> None:
    """As on storage that is mounted through FUSE: no file of the folder can be mapped shared."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler to take shared maps away with")
    source, library, home = tmp_path / "maps.c", tmp_path / "maps.so", tmp_path / "bucket"
    source.write_text(_NO_MAPS)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "NO_MAPS": str(home)}
    case = make_case()
    store = open_store(home=home)  # begun on a disk, and then copied onto a bucket
    store.add_case(case)
    store.close()
    kept: list[str] = []
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", _FLAGS, str(home), case.id],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        confirmed = [process.stdout.readline().strip() for _ in range(5)]
        assert all(confirmed), process.stderr.read()
        process.send_signal(signal.SIGKILL)
        confirmed += [line.strip() for line in process.stdout if len(line) == 33]
        kept += confirmed
        process.wait()
    with sqlite3.connect(home / "review.sqlite3") as database:
        stored = {row[0] for row in database.execute("SELECT key FROM flags")}
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert len(kept) >= 15 and set(kept) <= stored
