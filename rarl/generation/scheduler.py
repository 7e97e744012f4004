"""Continuous batching of requests from several callers.

A request joins the batch between two steps, as soon as there is room, and each of its rows leaves
when it has ended. So no request waits for another's answer to end, and a request that is stopped,
or whose image cannot be read, does not affect the others. The worker thread lives while there are
requests: a forked process starts with no thread of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock, Thread
from time import perf_counter
from typing import Generic, Protocol, TypeVar

import torch

from rarl.generation.decoder import Batch, Rows
from rarl.generation.fair_lock import FairLock


class Row(Protocol):
    """The scheduler's record of a row."""

    @property
    def max_new_tokens(self) -> int:
        """Tokens that the row may write."""
        ...


RowT = TypeVar("RowT", bound=Row)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one step.

    Attributes:
        written: number of the row in its request, and its token.
        at: time of the step (`perf_counter`, in seconds).
    """

    written: tuple[tuple[int, int], ...]
    at: float


@dataclass(frozen=True, slots=True)
class Place:
    """A request's place in the queue; 1 is next."""

    number: int


# The last event of a request is None, or the error that ended it.
Event = Tokens | Place | Exception | None


@dataclass(frozen=True, slots=True, eq=False)
class Request(Generic[RowT]):
    """One question, for several variants or several samples.

    Attributes:
        rows: they differ in variant and sampling alone, and those of one variant stand together.
        put: gets the events, in the worker thread.
        over: called before every step; True ends the request as it is.
        bulk: whether it gives way to requests that are not.
        alone: whether no other request is decoded meanwhile, to spare memory.
    """

    rows: tuple[RowT, ...]
    put: Callable[[Event], None]
    over: Callable[[], bool]
    bulk: bool = False
    alone: bool = False


class NoRoomError(Exception):
    """Memory did not suffice for a request. It holds no frames, which would keep tensors alive."""


@dataclass(slots=True, eq=False)
class _Live(Generic[RowT]):
    """A row of the batch."""

    request: Request[RowT]
    number: int
    tokens: int = 0
    ended: bool = False

    @property
    def row(self) -> RowT:
        return self.request.rows[self.number]


class Scheduler(Generic[RowT]):
    """Runs the model for all callers.

    Args:
        read: reads a request's prompts and writes the first token of its rows.
        start: gives a batch that was just read the path on which it goes on.
        model: held while the model runs.
        end_ids: tokens that end a row.
        most_rows: rows in the batch; a request with more runs alone.
    """

    def __init__(
        self,
        read: Callable[[Request[RowT]], Batch],
        start: Callable[[Batch], Rows],
        model: FairLock,
        end_ids: Sequence[int],
        most_rows: int,
    ) -> None:
        self._read = read
        self._start = start
        self._model = model
        self._end_ids = frozenset(end_ids)
        self._most_rows = most_rows
        self._mutex = Lock()
        # Under the mutex: the queues (people first, then bulk), and the worker thread.
        self._queues: tuple[deque[Request[RowT]], deque[Request[RowT]]] = (deque(), deque())
        self._arrived = False
        self._pending = 0
        self._thread: Thread | None = None
        # Of the worker thread alone.
        self._batch: Rows | None = None
        self._live: list[_Live[RowT]] = []
        self._ended: list[tuple[Request[RowT], Exception | None]] = []

    @property
    def pending(self) -> int:
        """The number of requests that are decoded or wait."""
        return self._pending

    def submit(self, request: Request[RowT]) -> None:
        """Queue a request; its events begin to arrive."""
        with self._mutex:
            self._queues[request.bulk].append(request)
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
        """Let requests join that have room; False where there is none left: the thread ends."""
        with self._mutex:
            self._arrived = False
            rows = sum(self._room(request) for request in {live.request for live in self._live})
            joining: list[Request[RowT]] = []
            for queue in self._queues:
                while queue and (not rows or rows + self._room(queue[0]) <= self._most_rows):
                    joining.append(queue.popleft())
                    rows += self._room(joining[-1])
                if queue:
                    break
            if not rows:
                self._thread = None
                return False
            waiting = list(self._queues[0])
        for number, request in enumerate(waiting, 1):
            request.put(Place(number))
        for request in joining:
            self._join(request)
            self._report()
        return True

    def _room(self, request: Request[RowT]) -> int:
        """The number of rows of the batch that it takes."""
        return self._most_rows if request.alone else len(request.rows)

    def _join(self, request: Request[RowT]) -> None:
        if request.over():
            self._end(request)
            return
        try:
            with self._model.turn():
                new = self._read(request)
                live = [_Live(request, number) for number in range(len(request.rows))]
                self._hand_out(live, new.tokens)
                going = [place for place, row in enumerate(live) if not row.ended]
                if not going:
                    return
                new.take(going)
                if self._batch is None:
                    self._batch = self._start(new)
                else:
                    self._batch.join(new)
            self._live += [live[place] for place in going]
        except Exception as error:
            self._end(request, error)

    def _step_on(self) -> None:
        """Step until rows leave, or a request has arrived."""
        batch = self._batch
        if batch is None:
            return
        with self._model.turn(), batch.running():
            while not self._leave() and not self._arrived and self._model.length == 1:
                for tokens in batch.step():
                    self._hand_out(self._live, tokens)

    def _hand_out(self, rows: Sequence[_Live[RowT]], tokens: Sequence[int]) -> None:
        """Tell each request what its rows have written, and which have ended."""
        now = perf_counter()
        written: dict[Request[RowT], list[tuple[int, int]]] = {}
        for live, token in zip(rows, tokens, strict=True):
            if not live.ended:
                written.setdefault(live.request, []).append((live.number, token))
                live.tokens += 1
                live.ended = token in self._end_ids or live.tokens >= live.row.max_new_tokens
        going = {live.request for live in rows if not live.ended}
        for request, tokens_of in written.items():
            request.put(Tokens(tuple(tokens_of), now))
            if request not in going:
                self._end(request)

    def _leave(self) -> bool:
        """Drop rows that have ended or are over; True where rows have left."""
        over = {live.request for live in self._live if not live.ended and live.request.over()}
        for live in self._live:
            live.ended |= live.request in over
        for request in over:
            self._end(request)
        with self._mutex:
            expired = [request for queue in self._queues for request in queue if request.over()]
            for request in expired:
                self._queues[request.bulk].remove(request)
        for request in expired:
            self._end(request)
        ended = sum(live.ended for live in self._live)
        # Dropping a row moves all others, which a few idle rows are not worth.
        if not over and 4 * ended < len(self._live):
            return False
        self._keep_going()
        return True

    def _shed(self, error: Exception) -> None:
        """Evict the most recent request.

        A step that failed can be taken again, and most likely memory did not suffice for all.
        """
        while True:
            last = next(live.request for live in self._live[::-1] if not live.ended)
            self._end(last, error)
            for live in self._live:
                live.ended |= live.request is last
            try:
                self._keep_going()
            except Exception as another:  # no memory even to drop rows
                error = another
            else:
                return

    def _keep_going(self) -> None:
        """Drop the rows that have ended."""
        kept = [place for place, live in enumerate(self._live) if not live.ended]
        if self._batch is not None and kept:
            self._batch.take(kept)
        elif self._batch is not None:
            self._batch.close()
            self._batch = None
        self._live = [self._live[place] for place in kept]

    def _end(self, request: Request[RowT], error: Exception | None = None) -> None:
        if error is not None and is_out_of_memory(error):
            error = NoRoomError()
        self._ended.append((request, error))

    def _report(self) -> None:
        """Send the last events; outside the model's turn, so that it is free when they arrive."""
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
