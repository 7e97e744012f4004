"""Ownership of sessions, events and uploads.

A page's session is known by a random word that its own scripts choose. Whoever learns the word must
not thereby read the page: it belongs to whoever used it first, by name or by a cookie that scripts
cannot read.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from demo.serving.caller import Caller

_EACH = 2000
_CALLERS = 20_000


class Owners:
    """Words and the callers that they belong to. The oldest of a caller's words are forgotten."""

    def __init__(self, each: int = _EACH, callers: int = _CALLERS) -> None:
        self._each = each
        self._callers = callers
        self._lock = Lock()
        self._marks: dict[str, frozenset[str]] = {}
        # By whose share they were claimed, so that nobody can make others' words be forgotten.
        self._claimed: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def claim(self, word: str, caller: Caller) -> bool:
        """Whether a word is this caller's; one that nobody has used becomes so."""
        with self._lock:
            marks = self._marks.get(word)
            if marks is not None:
                return bool(marks & caller.marks)
            self._marks[word] = caller.marks
            share = next(iter(sorted(caller.marks)))
            mine = self._claimed.setdefault(share, OrderedDict())
            self._claimed.move_to_end(share)
            mine[word] = None
            while len(mine) > self._each:
                self._marks.pop(mine.popitem(last=False)[0], None)
            while len(self._claimed) > self._callers:
                for old in self._claimed.popitem(last=False)[1]:
                    self._marks.pop(old, None)
            return True
