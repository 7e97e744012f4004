"""A memory budget for open scans: pixels of the least recently used scans are dropped.

A file of some kilobytes can hold a gigabyte of pixels. Each scan keeps its compressed original, so
that its pixels can be decoded again when they are next needed.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock, RLock
from time import monotonic
from weakref import WeakSet

from rarl.errors import ScanError
from rarl.records import Measurement
from rarl.scans import Stack, open_series

log = logging.getLogger(__name__)

_GONE = "The server has let go of this scan to make room for others; open it again."


class Originals:
    """The bytes of the files that one or more scans were opened from.

    Args:
        contents: each file whole.
    """

    def __init__(self, contents: Sequence[bytes]) -> None:
        self.contents = tuple(contents)

    @property
    def size(self) -> int:
        """In bytes; 0 once they were let go."""
        return sum(map(len, self.contents))

    def drop(self) -> None:
        """Let go of them, for all scans that came from them."""
        self.contents = ()


class Volume:
    """One scan: its stack while there is room for it, and the bytes that it came from.

    Args:
        stack: as it was opened.
        files: what it was opened from, which several scans may share; () for one that always
            stays, such as an example.
        budget: whose bytes its pixels take; None for one that always stays.
        owner: the page that it is open on.
        series: which of the series in the files it is, from 0; the largest where None.
        again: opens it again where it did not come from files; None where that cannot be.

    Attributes:
        shown: whether the page shows it; one that was removed can be brought back, and no frame of
            it is served meanwhile.
        measurements: what is drawn on it, in the order in which it was drawn.
    """

    def __init__(
        self,
        stack: Stack,
        files: Sequence[bytes] | Originals = (),
        budget: Budget | None = None,
        owner: str = "",
        series: int | None = None,
        again: Callable[[], Stack | None] | None = None,
    ) -> None:
        self._stack: Stack | None = stack
        self.originals = files if isinstance(files, Originals) else Originals(files)
        self._series = series
        self._again = again
        self._budget = budget if self.originals.size or again else None
        self._opening = RLock()
        self.owner = owner
        self.shown = True
        self.measurements: tuple[Measurement, ...] = ()
        self.decoded = stack.nbytes
        self.used = monotonic()
        if self._budget is not None:
            self._budget.admit(self)

    @property
    def resident(self) -> int:
        """Bytes of pixels in memory now."""
        return self.decoded if self._stack is not None else 0

    def stack(self) -> Stack:
        """The stack, decoded again where its pixels were let go.

        Raises:
            ScanError: there was no room for its original either.
        """
        self.used = monotonic()
        stack = self._stack
        if stack is not None:
            return stack
        with self._opening:
            if self._stack is None:
                self._stack = self._opened_again()
            stack = self._stack
        if self._budget is not None:
            self._budget.make_room(self)
        return stack

    def _opened_again(self) -> Stack:
        if self._again is not None:
            stack = self._again()
            if stack is None:
                raise ScanError(_GONE)
            return stack
        if not self.originals.size:
            raise ScanError(_GONE)
        opened = open_series(self.originals.contents)
        return opened.stack() if self._series is None else opened.series[self._series].stack()

    def let_go(self) -> None:
        """Drop the pixels; the original stays."""
        if self._budget is not None:
            self._stack = None

    def drop(self) -> None:
        """Drop the original too: the scan has to be opened again by its owner."""
        self.let_go()
        if self._budget is not None:
            self.originals.drop()


class Budget:
    """How many bytes of pixels, and of their originals, the app holds at once.

    Args:
        decoded: bytes of pixels of all pages together.
        each: bytes of pixels of one page; its last used scan stays whatever its size.
        originals: bytes of originals of all pages together.
    """

    def __init__(
        self,
        decoded: int = 2_000_000_000,
        each: int = 1_000_000_000,
        originals: int = 2_000_000_000,
    ) -> None:
        self._decoded = decoded
        self._each = each
        self._originals = originals
        self._lock = Lock()
        self._volumes: WeakSet[Volume] = WeakSet()

    @property
    def resident(self) -> int:
        """Bytes of pixels in memory now."""
        with self._lock:
            return sum(volume.resident for volume in self._volumes)

    def admit(self, volume: Volume) -> None:
        """Count a volume from now on, and make room for it."""
        with self._lock:
            self._volumes.add(volume)
        self.make_room(volume)

    def make_room(self, newest: Volume) -> None:
        """Let go of the least recently used until all limits hold; never of the newest."""
        with self._lock:
            others = sorted(
                (volume for volume in self._volumes if volume is not newest),
                key=lambda volume: volume.used,
            )
        mine = [volume for volume in others if volume.owner == newest.owner]
        freed = _let_go(mine, newest.resident, self._each)
        freed |= _let_go(others, newest.resident, self._decoded)
        freed |= _drop(others, newest.originals, self._originals)
        if freed:
            return_memory()

    def leave(self, owner: str) -> None:
        """Let go of the pixels of a page that nobody looks at any more."""
        with self._lock:
            volumes = [volume for volume in self._volumes if volume.owner == owner]
        for volume in volumes:
            volume.let_go()
        return_memory()

    def idle_since(self, owner: str) -> float:
        """When a page last used one of its scans, as `monotonic` counts; 0.0 for one without."""
        with self._lock:
            return max(
                (volume.used for volume in self._volumes if volume.owner == owner), default=0.0
            )

    def forget(self, owner: str) -> None:
        """Let go of the originals as well."""
        with self._lock:
            volumes = [volume for volume in self._volumes if volume.owner == owner]
        for volume in volumes:
            volume.drop()
        return_memory()


def _let_go(volumes: Sequence[Volume], held_bytes: int, most: int) -> bool:
    """Let go of pixels, oldest first, until all fit; whether any had to go."""
    size = held_bytes + sum(volume.resident for volume in volumes)
    freed = False
    for volume in volumes:
        if size <= most:
            break
        size -= volume.resident
        volume.let_go()
        freed = True
    return freed


def _drop(volumes: Sequence[Volume], kept: Originals, most: int) -> bool:
    """Drop originals, oldest first, until all fit; whether any had to go."""
    oldest_first = {id(volume.originals): volume.originals for volume in volumes}
    oldest_first.pop(id(kept), None)
    size = kept.size + sum(originals.size for originals in oldest_first.values())
    freed = False
    for originals in oldest_first.values():
        if size <= most:
            break
        size -= originals.size
        originals.drop()
        for volume in volumes:
            if volume.originals is originals:
                volume.let_go()
        freed = True
    return freed


def return_memory() -> None:
    """Give freed memory back to the system, which glibc keeps otherwise."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
