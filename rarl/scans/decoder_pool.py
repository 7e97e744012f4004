"""Decode files in separate processes that can be killed and may crash.

Decoders are C and Rust; on hostile bytes they hang or take the process with them, and a thread
cannot be stopped. So every file goes through a worker: kept warm, at most two at a time. Turns go
round among the people who send files, see `decoding_for`, and a file that takes long is stopped
early where somebody else waits. A worker is a plain child process rather than one of
`multiprocessing`: that would import the app's main module again and is forbidden in a daemonic
process, in which some hosts run the app.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import monotonic
from typing import IO, Any

import numpy as np

from rarl.errors import ScanError
from rarl.fairness import TooManyError, Turns
from rarl.limits import Limits
from rarl.scans.decoded_file import LeftOut, Part
from rarl.scans.decoder_process import LENGTH, TIMED_OUT
from rarl.scans.windowing import Values
from rarl.settings import read_settings

log = logging.getLogger(__name__)

_AT_ONCE = 2
_MOST_WAITING = 8  # files of one person
_FILES_EACH = 1000  # then a fresh one: what decoders leak or fragment stays bounded
_owner: ContextVar[str] = ContextVar("owner", default="")
_GRACE_SECONDS = 10.0
_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path[:] = {path!r}; from rarl.scans.decoder_process import main; main()"
_CRASHED = (
    "The file is damaged in a way that stopped the decoder; send it again, or export it "
    "uncompressed or as PNG."
)
# All that a reply may be made of, whatever a decoder did to the worker.
_KNOWN = {
    ("rarl.scans.decoded_file", "Part"),
    ("rarl.scans.decoded_file", "Frame"),
    ("rarl.scans.scale", "Scale"),
    ("rarl.scans.decoded_file", "LeftOut"),
    ("rarl.scans.decoded_file", "Lut"),
    ("rarl.scans.windowing", "Window"),
    ("builtins", "frozenset"),
}


def decode(data: bytes, limits: Limits, secret: bytes) -> tuple[list[Part], list[LeftOut]]:
    """Decode a file in a worker process; thread-safe. See `rarl.scans.reading.read`.

    Raises:
        ScanError: the file is refused, takes longer than `limits` allow, or crashes its decoder.
    """
    pool = _pool(os.getpid())
    owner = _owner.get()
    try:
        with pool.turns.turn(owner, crowded=lambda: pool.hurry(owner, limits)):
            worker = pool.take(owner)
            try:
                answer = worker.ask(data, limits, secret)
            except (OSError, EOFError, ValueError, pickle.UnpicklingError):
                raise worker.failure(limits) from None
            except BaseException:
                worker.end()  # interrupted between request and reply
                raise
            finally:
                pool.forget(worker)
            pool.give_back(worker)
    except TooManyError:
        raise ScanError(
            f"More than {_MOST_WAITING} of your files wait to be opened; send the next one when "
            "some are open."
        ) from None
    if isinstance(answer, ScanError):
        raise answer
    parts, left_out = answer
    return _without_uids(parts), left_out


def _without_uids(parts: list[Part]) -> list[Part]:
    """The parts without their UIDs, which go among the attributes where the site keeps them."""
    if not read_settings().keep_uids:
        return [replace(part, uids={}) for part in parts]
    return [replace(part, attributes={**part.attributes, **part.uids}, uids={}) for part in parts]


@contextmanager
def decoding_for(owner: str) -> Iterator[None]:
    """Count the files that are opened within this block as one person's.

    Args:
        owner: a name or an address; "" for nobody in particular, who may use all workers.
    """
    before = _owner.set(owner)
    try:
        yield
    finally:
        _owner.reset(before)


class _Pool:
    """The workers of one process."""

    def __init__(self) -> None:
        self.turns = Turns(_AT_ONCE, reserved=1, most_waiting=_MOST_WAITING)
        self._idle: list[_Worker] = []
        # Worker to whom it works for, and since when.
        self._busy: dict[_Worker, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def take(self, owner: str) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.alive():
                    break
            else:
                worker = _Worker()
            self._busy[worker] = (owner, monotonic())
        return worker

    def forget(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.pop(worker, None)

    def hurry(self, owner: str, limits: Limits) -> None:
        """Stop the work that has taken longest, where it is another's and takes too long."""
        with self._lock:
            others = [
                (since, worker) for worker, (whose, since) in self._busy.items() if whose != owner
            ]
            if not others:
                return
            since, worker = min(others, key=lambda pair: pair[0])
            if monotonic() - since > limits.crowded_seconds:
                worker.hurried = True
                worker.kill()

    def give_back(self, worker: _Worker) -> None:
        if worker.asked >= _FILES_EACH:
            worker.retire()
            return
        with self._lock:
            self._idle.append(worker)


@cache
def _pool(process: int) -> _Pool:
    """The pool of a process; a forked child has its parent's id no longer, and starts anew."""
    return _Pool()


class _Worker:
    """One child process."""

    def __init__(self) -> None:
        path = [str(_ROOT), *(entry for entry in sys.path if entry)]
        environment = {
            name: value
            for name, value in os.environ.items()
            # Enough to run Python; no token or address of a database.
            if name.upper() in _ENVIRONMENT or name.upper().startswith(("LC_", "PYTHON"))
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(path=path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=1 << 20,
            env={**environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to: IO[bytes] = self._process.stdin
        self._from: IO[bytes] = self._process.stdout
        self.asked = 0
        self.hurried = False

    def kill(self) -> None:
        self._process.kill()

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, data: bytes, limits: Limits, secret: bytes
    ) -> tuple[list[Part], list[LeftOut]] | ScanError:
        self.asked += 1
        # The worker ends itself in time; this is for one that cannot any more.
        watch = threading.Timer(limits.open_seconds + _GRACE_SECONDS, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            for message in (pickle.dumps((limits, secret)), data):
                self._to.write(LENGTH.pack(len(message)))
                self._to.write(message)
            self._to.flush()
            (size,) = LENGTH.unpack(self._exactly(LENGTH.size))
            reply: Any = _Careful(io.BytesIO(self._exactly(size))).load()
            if len(reply) == 2:
                return ScanError(*reply)
            if len(reply) == 1:
                # Not foreseen by the reader: a fault of ours. The type's name tells no more.
                log.warning("decoder raised %.40s", reply[0])
                return ScanError(_CRASHED)
            bare, shapes, left_out = reply
            return [
                replace(part, pixels=tuple(self._array(*known) for known in arrays))
                for part, arrays in zip(bare, shapes, strict=True)
            ], list(left_out)
        finally:
            watch.cancel()

    def failure(self, limits: Limits) -> ScanError:
        """End it, and say why it ended where it did so by itself."""
        timed_out = self.end() == TIMED_OUT
        if self.hurried:
            log.warning("decoder stopped: others wait")
            return ScanError(
                f"Decoding the file took longer than {limits.crowded_seconds:g} seconds while "
                "others waited, and was stopped; try again later, or export it uncompressed."
            )
        log.warning("decoder %s", "stopped: too slow" if timed_out else "ended unexpectedly")
        if timed_out:
            return ScanError(
                f"Decoding the file took longer than {limits.decode_seconds:g} seconds and was "
                "stopped; export it uncompressed, or fewer frames of it."
            )
        return ScanError(_CRASHED)

    def end(self) -> int:
        """End it; the exit status."""
        self._from.close()
        try:
            status = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        with suppress(OSError):  # what was still to be written has nobody to read it
            self._to.close()
        return status

    def retire(self) -> None:
        """Let it finish; it must be idle."""
        self._to.close()
        self.end()

    def _exactly(self, size: int) -> bytes:
        data = self._from.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _array(self, dtype: str, shape: tuple[int, ...]) -> Values:
        array = np.empty(shape, dtype)
        view = array.data.cast("B")
        if self._from.readinto(view) < len(view):  # type: ignore[attr-defined]
            raise EOFError
        array.flags.writeable = False
        return array


_ENVIRONMENT = frozenset(
    "PATH HOME LANG TMPDIR TEMP TMP SYSTEMROOT LD_LIBRARY_PATH DYLD_LIBRARY_PATH "
    "VIRTUAL_ENV".split()
)


class _Careful(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(name)
        return super().find_class(module, name)
