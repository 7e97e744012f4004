"""One model, many callers: what they ask is answered together.

A request joins the batch between two steps, as soon as there is room, and each of its rows leaves
when it has ended. So nobody waits for another's answer to end, and one who stops, or whose picture
cannot be read, leaves the others alone. The thread that does the work lives while there is some:
a forked process begins with none of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Lock, Thread
from time import perf_counter

import torch

from rarl.inference.decoding import Writing
from rarl.inference.line import Line
from rarl.inference.rows import Row


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a step has written.

    Attributes:
        written: number of the row in its request, and its token.
        at: when (`perf_counter`, in seconds).
    """

    written: tuple[tuple[int, int], ...]
    at: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request stands in line; 1 is next."""

    number: int


# Last comes None, or what went wrong.
News = Tokens | Place | Exception | None


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One question, for several arms or several times over.

    Attributes:
        rows: they differ in arm and decoding alone, and those of one arm stand together.
        put: gets the news, in the thread that does the work.
        over: asked before every step; True ends the request where it stands.
        bulk: whether it gives way to those that are not.
        alone: whether nobody else is answered meanwhile, to spare memory.
    """

    rows: tuple[Row, ...]
    put: Callable[[News], None]
    over: Callable[[], bool]
    bulk: bool = False
    alone: bool = False


class NoRoomError(Exception):
    """There was no room for a request. It holds no frames, whose tensors would take room too."""


@dataclass(slots=True, eq=False)
class _Live:
    """A row of the batch."""

    request: Request
    number: int
    tokens: int = 0
    ended: bool = False

    @property
    def row(self) -> Row:
        return self.request.rows[self.number]


class Batcher:
    """Runs the model for whoever asks.

    Args:
        begin: reads a request's prompts; its rows have written their first token then.
        adapters: a context in which the model runs batches of these rows.
        model: whose turn it is to use the model; held while it runs.
        end_ids: tokens that end a row.
        most_rows: rows in the batch; a request with more runs alone.
    """

    def __init__(
        self,
        begin: Callable[[Request], Writing],
        adapters: Callable[[Sequence[Row]], AbstractContextManager[None]],
        model: Line,
        end_ids: Sequence[int],
        most_rows: int,
    ) -> None:
        self._begin = begin
        self._adapters = adapters
        self._model = model
        self._end_ids = frozenset(end_ids)
        self._most_rows = most_rows
        self._mutex = Lock()
        # Under the mutex: those in line (people first, then bulk), and who works.
        self._lines: tuple[deque[Request], deque[Request]] = (deque(), deque())
        self._arrived = False
        self._pending = 0
        self._thread: Thread | None = None
        # Of the working thread alone.
        self._writing: Writing | None = None
        self._live: list[_Live] = []
        self._ended: list[tuple[Request, Exception | None]] = []

    @property
    def pending(self) -> int:
        """How many requests are being answered or wait for room."""
        return self._pending

    def submit(self, request: Request) -> None:
        """Take a request in line; its news begin to come."""
        with self._mutex:
            self._lines[request.bulk].append(request)
            self._arrived = True
            self._pending += 1
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._work, name="rarl-answer")
                self._thread.start()

    def _work(self) -> None:
        with torch.inference_mode():
            while self._admit():
                try:
                    self._step_on()
                except Exception as error:
                    self._shed(error)
                self._report()

    def _admit(self) -> bool:
        """Let join who has room; False where there is nothing to do, and the thread ends."""
        with self._mutex:
            self._arrived = False
            rows = sum(self._room(request) for request in {live.request for live in self._live})
            joining: list[Request] = []
            for line in self._lines:
                while line and (not rows or rows + self._room(line[0]) <= self._most_rows):
                    joining.append(line.popleft())
                    rows += self._room(joining[-1])
                if line:
                    break
            if not rows:
                self._thread = None
                return False
            waiting = list(self._lines[0])
        for number, request in enumerate(waiting, 1):
            request.put(Place(number))
        for request in joining:
            self._join(request)
            self._report()
        return True

    def _room(self, request: Request) -> int:
        """How many of the batch's rows it takes up."""
        return self._most_rows if request.alone else len(request.rows)

    def _join(self, request: Request) -> None:
        if request.over():
            self._end(request)
            return
        try:
            with self._model.turn():
                new = self._begin(request)
            live = [_Live(request, number) for number in range(len(request.rows))]
            self._hand_out(live, new.tokens)
            going = [place for place, row in enumerate(live) if not row.ended]
            if not going:
                return
            new.take(going)
            if self._writing is None:
                self._writing = new
            else:
                self._writing.join(new)
            self._live += [live[place] for place in going]
        except Exception as error:
            self._end(request, error)

    def _step_on(self) -> None:
        """Step until rows leave, or someone has come."""
        if self._writing is None:
            return
        with self._model.turn(), self._adapters([live.row for live in self._live]):
            while not self._leave() and not self._arrived and self._model.length == 1:
                self._writing.step()
                self._hand_out(self._live, self._writing.tokens)

    def _hand_out(self, rows: Sequence[_Live], tokens: Sequence[int]) -> None:
        """Tell each request what its rows have written, and which have ended."""
        now = perf_counter()
        written: dict[Request, list[tuple[int, int]]] = {}
        for live, token in zip(rows, tokens, strict=True):
            if not live.ended:
                written.setdefault(live.request, []).append((live.number, token))
                live.tokens += 1
                live.ended = (
                    token in self._end_ids
                    or live.tokens >= live.row.question.decoding.max_new_tokens
                )
        going = {live.request for live in rows if not live.ended}
        for request, news in written.items():
            request.put(Tokens(tuple(news), now))
            if request not in going:
                self._end(request)

    def _leave(self) -> bool:
        """Leave out what has ended or is over; True where rows have left."""
        over = {live.request for live in self._live if not live.ended and live.request.over()}
        for live in self._live:
            live.ended |= live.request in over
        for request in over:
            self._end(request)
        with self._mutex:
            tired = [request for line in self._lines for request in line if request.over()]
            for request in tired:
                self._lines[request.bulk].remove(request)
        for request in tired:
            self._end(request)
        ended = sum(live.ended for live in self._live)
        # Leaving out a row moves all others, which a few idle ones do not pay for.
        if not over and 4 * ended < len(self._live):
            return False
        self._keep_going()
        return True

    def _shed(self, error: Exception) -> None:
        """Go on without the last to come.

        A step that failed can be taken again, and most likely the room did not suffice for all.
        """
        while True:
            last = next(live.request for live in self._live[::-1] if not live.ended)
            self._end(last, error)
            for live in self._live:
                live.ended |= live.request is last
            try:
                self._keep_going()
            except Exception as another:  # no room even to leave some out
                error = another
            else:
                return

    def _keep_going(self) -> None:
        """Leave out the rows that have ended."""
        kept = [place for place, live in enumerate(self._live) if not live.ended]
        if self._writing is not None and kept:
            self._writing.take(kept)
        else:
            self._writing = None
        self._live = [self._live[place] for place in kept]

    def _end(self, request: Request, error: Exception | None = None) -> None:
        if error is not None and is_out_of_memory(error):
            error = NoRoomError()
        self._ended.append((request, error))

    def _report(self) -> None:
        """Tell who has ended; outside its turn, so that the model is free when they hear."""
        ended, self._ended = self._ended, []
        with self._mutex:
            self._pending -= len(ended)
        for request, error in ended:
            request.put(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether PyTorch or NumPy found no memory; on a CPU PyTorch has no error of its own for it.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: ..."))
    True
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("can't allocate memory", "not enough memory", "bad_alloc")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
