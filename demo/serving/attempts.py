"""Limit password attempts by name and by address, with growing delays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic

_REMEMBERED = 20_000
_FORGOTTEN_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How failures are answered.

    Attributes:
        free: failures without a delay.
        longest: seconds that the delay, which doubles with each failure, grows to.
    """

    free: int
    longest: float

    def delay(self, failures: int) -> float:
        """Seconds until the next attempt after so many failures.

        >>> [Patience(2, 10).delay(failures) for failures in (1, 2, 3, 4, 5, 6, 7)]
        [0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 10.0]
        """
        over = failures - self.free
        return 0.0 if over <= 0 else min(self.longest, 2.0 ** min(over - 1, 30))


# A name is held back for a minute at most, so that guessing cannot lock its owner out for long.
_NAME = Patience(free=5, longest=60)
_ADDRESS = Patience(free=20, longest=900)


@dataclass(slots=True)
class _Count:
    failures: int
    until: float
    last: float


class Attempts:
    """Counts failures by name and by address.

    An attempt counts as a failure from its beginning, so that many at once gain nothing.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def begin(self, name: str, address: str) -> float:
        """Count an attempt; returns the seconds to wait instead, 0 where it may go on."""
        now = self._clock()
        with self._lock:
            keys = ((f"name:{name}", _NAME), (f"address:{address}", _ADDRESS))
            counts = [self._count(key, now) for key, _ in keys]
            wait = max(count.until - now for count in counts)
            if wait > 0:
                return wait
            for count, (_, patience) in zip(counts, keys, strict=True):
                count.failures += 1
                count.until = now + patience.delay(count.failures)
            return 0.0

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name, and the attempt that was counted for its address."""
        with self._lock:
            self._counts.pop(f"name:{name}", None)
            count = self._counts.get(f"address:{address}")
            if count is not None:
                count.failures -= 1
                count.until = 0.0

    def _count(self, key: str, now: float) -> _Count:
        count = self._counts.pop(key, None)
        if count is None or now - max(count.last, count.until) > _FORGOTTEN_SECONDS:
            count = _Count(0, 0.0, now)
        count.last = now
        self._counts[key] = count
        while len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)
        return count
