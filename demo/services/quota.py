"""How much visitors may add to the review store."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from rarl.errors import ReviewError

_HOUR = 3600.0
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Quota:
    """What one visitor, and all of them together, may add within an hour.

    Attributes:
        flags: of one visitor.
        size: bytes of pictures of one visitor.
        all_size: bytes of pictures of all visitors.
    """

    flags: int = 300
    size: int = 200_000_000
    all_size: int = 1_000_000_000


class Quotas:
    """Counts what visitors add. People with a role on the site's list are not counted.

    Args:
        quota: what may be added.
    """

    def __init__(self, quota: Quota | None = None) -> None:
        self._quota = quota or Quota()
        self._lock = Lock()
        # Owner to when how many bytes were added; "" for all together.
        self._added: OrderedDict[str, deque[tuple[float, int]]] = OrderedDict()

    def take(self, owner: str, size: int) -> None:
        """Count a flag.

        Args:
            owner: name or address of the visitor.
            size: bytes of the case that comes with it.

        Raises:
            ReviewError: this visitor, or all together, have added as much as they may.
        """
        with self._lock:
            mine, everybody = self._within_the_hour(owner), self._within_the_hour("")
            bytes_of = [sum(bytes_ for _, bytes_ in added) for added in (mine, everybody)]
            if len(mine) >= self._quota.flags or bytes_of[0] + size > self._quota.size:
                raise ReviewError(
                    "You have flagged as much as a visitor may within an hour; what you typed is "
                    "still here: try again later, or ask for a role on this site."
                )
            if bytes_of[1] + size > self._quota.all_size:
                raise ReviewError(
                    "Visitors have flagged as much as the store takes within an hour; what you "
                    "typed is still here: try again later."
                )
            for added in (mine, everybody):
                added.append((monotonic(), size))

    def _within_the_hour(self, owner: str) -> deque[tuple[float, int]]:
        added = self._added.setdefault(owner, deque())
        self._added.move_to_end(owner)
        while len(self._added) > _REMEMBERED:
            self._added.popitem(last=False)
        while added and added[0][0] < monotonic() - _HOUR:
            added.popleft()
        return added
