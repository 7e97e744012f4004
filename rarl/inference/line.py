"""A lock that is served in order of arrival and that waiters can give up on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock

# How soon a waiter notices that it no longer wants its turn, in seconds.
_GLANCE = 0.05


class Line:
    """Callers stand in line for one thing; Python's own lock may let a newcomer jump ahead."""

    def __init__(self) -> None:
        self._mutex = Lock()
        # The first in line holds the turn; an event is set when its owner becomes the first.
        self._standing: deque[Event] = deque()

    @property
    def length(self) -> int:
        """How many hold or await a turn."""
        return len(self._standing)

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
            self._standing.append(mine)
            self._standing[0].set()
        try:
            while not mine.wait(_GLANCE):
                if given_up():
                    break
            yield mine.is_set()
        finally:
            with self._mutex:
                self._standing.remove(mine)
                if self._standing:
                    self._standing[0].set()
