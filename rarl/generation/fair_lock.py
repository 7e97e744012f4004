"""A first-come, first-served lock whose waiters can give up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock

# How soon a waiter notices that it no longer wants its turn, in seconds.
_GLANCE = 0.05


class FairLock:
    """Callers get one resource in order of arrival; Python's own lock may prefer a newcomer."""

    def __init__(self) -> None:
        self._mutex = Lock()
        # The first in the queue holds the turn; its event is set when it becomes the first.
        self._waiting: deque[Event] = deque()

    @property
    def length(self) -> int:
        """The number of holders and waiters."""
        return len(self._waiting)

    @contextmanager
    def turn(self, given_up: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Wait for a turn and hold it.

        Args:
            given_up: asked while waiting; True ends the wait.

        Yields:
            Whether the turn came; False where the wait was given up.
        """
        mine = Event()
        with self._mutex:
            self._waiting.append(mine)
            self._waiting[0].set()
        try:
            while not mine.wait(_GLANCE):
                if given_up():
                    break
            yield mine.is_set()
        finally:
            with self._mutex:
                self._waiting.remove(mine)
                if self._waiting:
                    self._waiting[0].set()
