"""A fair queue: one user with many requests delays only their own.

Gradio serves its queue in order of arrival, and refuses everybody once it is full. Here each person
(by name, else by address) may fill what others leave free, and turns go round. Where several
browsers share an address, each takes part in it alike. Cookies cost nothing, so that a browser has
no part of its own beside its address.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import gradio as gr

from demo.compat import Event, Queue, current_request, use_queue
from demo.serving.caller import caller_of

_AT_ONCE = 16
_PLACES = 128
# Running events that one person leaves to others, of each kind.
_LEFT_FREE = 2
_WAIT = (
    "Several requests of yours still wait, and others have theirs; this one was not taken. "
    "Try again when some are answered."
)


def current_share() -> str:
    """Whose share the event that is being handled takes; "" outside of events."""
    request = current_request()
    return caller_of(request).share if request is not None else ""


def current_session() -> str:
    """The hash of the page whose event is being handled; "" outside of events."""
    request = current_request()
    return str(getattr(request, "session_hash", None) or "")


def share_queue(app: gr.Blocks) -> None:
    """Let the events of an app wait in a queue that is shared out; before it is launched."""
    app.queue(default_concurrency_limit=_AT_ONCE, max_size=_PLACES)
    use_queue(app, FairQueue)


class FairQueue(Queue):
    """Gradio's queue with places and turns by share."""

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Take an event, unless its owner or its browser has too many waiting.

        An owner may have as many waiting as there are places left. So one owner alone can fill half
        of the queue, a second one half of the rest, and there is a place for a newcomer for as long
        as there are fewer owners than the queue halves. A browser may fill half of what its owner
        may.
        """
        if self.max_size is not None:
            share, browser = _share_of(request), _browser_of(request)
            waiting = [event.request for event in self._waiting_events()]
            owned = [other for other in waiting if _share_of(other) == share]
            own = sum(_browser_of(other) == browser for other in owned)
            free = self.max_size - len(self)
            if len(owned) >= free or 2 * own >= free - (len(owned) - own):
                return False, _WAIT, "queue_full"
        return await super().push(body, request, username)

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """The event whose owner, then browser, has the fewest running; of these the first."""
        requests = [event.request for job in self.active_jobs if job for event in job]
        running = Counter(_share_of(request) for request in requests)
        browsers = Counter((_share_of(request), _browser_of(request)) for request in requests)
        best: tuple[tuple[int, int, float], Event] | None = None
        for waiting in self.event_queue_per_concurrency_id.values():
            limit = waiting.concurrency_limit
            if limit is not None and waiting.current_concurrency >= limit:
                continue
            each = self.max_thread_count - _LEFT_FREE
            if limit is not None and limit > _LEFT_FREE:
                each = min(each, limit - _LEFT_FREE)
            for event in waiting.queue:
                share, browser = _share_of(event.request), _browser_of(event.request)
                rank = (running[share], browsers[share, browser], event.enqueue_time)
                if rank[0] < each and (best is None or rank < best[0]):
                    best = rank, event
        if best is None:
            return None
        event = best[1]
        self.event_queue_per_concurrency_id[event.concurrency_id].queue.remove(event)
        # None of this app's events are batched by Gradio: the engine batches.
        return [event], False, event.concurrency_id

    def _waiting_events(self) -> list[Event]:
        return [
            event
            for waiting in self.event_queue_per_concurrency_id.values()
            for event in waiting.queue
        ]


def _share_of(request: Any) -> str:
    return caller_of(request).share


def _browser_of(request: Any) -> str:
    return caller_of(request).browser
