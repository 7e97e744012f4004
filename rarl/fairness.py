"""Fair turns at a resource that few can use at once."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

# How soon a waiter looks whether it still wants its turn, in seconds.
_GLANCE = 0.1
_REMEMBERED = 10_000


class TooManyError(Exception):
    """An owner waits for more turns than one owner may."""


class Turns:
    """Turns that go round among owners, so that one with many requests delays only itself.

    The next turn goes to the owner with the fewest turns in progress, among these to the one that
    was served least recently, and within an owner in order of arrival.

    Args:
        at_once: how many turns may be in progress.
        reserved: how many of these one owner leaves to others; the owner "" (nobody in
            particular) may take all.
        most_waiting: how many turns one named owner may wait for.
    """

    def __init__(self, at_once: int, reserved: int = 1, most_waiting: int | None = None) -> None:
        self._at_once = at_once
        self._each = max(1, at_once - reserved)
        self._most_waiting = most_waiting
        self._changed = Condition()
        self._waiting: list[tuple[str, object]] = []
        self._running: Counter[str] = Counter()
        # Owner to nothing, the one served last at the end.
        self._served: OrderedDict[str, None] = OrderedDict()

    @contextmanager
    def turn(
        self,
        owner: str,
        given_up: Callable[[], bool] = lambda: False,
        crowded: Callable[[], None] = lambda: None,
    ) -> Iterator[bool]:
        """Wait for a turn and hold it.

        Args:
            owner: who it counts for.
            given_up: asked while waiting; True ends the wait.
            crowded: called while this is the next to have a turn and all are in progress.

        Yields:
            Whether the turn came; False where the wait was given up.

        Raises:
            TooManyError: the owner waits for too many already.
        """
        ticket = (owner, object())
        with self._changed:
            waiting = sum(other == owner for other, _ in self._waiting)
            if owner and self._most_waiting is not None and waiting >= self._most_waiting:
                raise TooManyError
            self._waiting.append(ticket)
            try:
                came = self._wait(ticket, given_up, crowded)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            if came:
                self._running[owner] += 1
                self._served[owner] = None
                self._served.move_to_end(owner)
                if len(self._served) > _REMEMBERED:
                    self._served.popitem(last=False)
        try:
            yield came
        finally:
            if came:
                with self._changed:
                    self._running -= Counter([owner])
                    self._changed.notify_all()

    def _wait(
        self, ticket: tuple[str, object], given_up: Callable[[], bool], crowded: Callable[[], None]
    ) -> bool:
        while True:
            if given_up():
                return False
            first = self._next()
            if first is ticket:
                if self._running.total() < self._at_once:
                    return True
                crowded()
            self._changed.wait(_GLANCE)

    def _next(self) -> tuple[str, object] | None:
        """The waiter that gets the next turn; None where all have taken their share."""
        order = {owner: place for place, owner in enumerate(self._served)}
        able = [
            ticket
            for ticket in self._waiting
            if not ticket[0] or self._running[ticket[0]] < self._each
        ]
        return min(
            able,
            key=lambda ticket: (self._running[ticket[0]], order.get(ticket[0], -1)),
            default=None,
        )
