"""Sessions of open pages, and their clean-up when a page is closed."""

from __future__ import annotations

from threading import Timer
from time import monotonic
from weakref import WeakValueDictionary

import gradio as gr

from demo.services.fair_queue import current_session
from demo.services.volumes import Budget
from demo.session import Session

GRACE_SECONDS = 120.0
"""A page whose connection breaks comes back within this time, or is gone."""


class Pages:
    """Lets go of what a page holds once nobody looks at it.

    Its running answer ends and its pixels go at once, since both can be had again; its scans,
    questions and answers go when it has not come back for a while.

    Args:
        grace: how long, in seconds.
    """

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        self._grace = grace
        self._open: WeakValueDictionary[str, Session] = WeakValueDictionary()

    def admit(self, session: Session) -> None:
        """Know the session of the page whose event is being handled."""
        if page := current_session():
            self._open[page] = session

    def before(self, session: Session) -> Session | None:
        """The session of the same tab before it was reloaded, while it is still held."""
        if session.place is None:
            return None
        for other in list(self._open.values()):
            if other is not session and other.place and other.place.folder == session.place.folder:
                return other
        return None

    def left(self, request: gr.Request, budget: Budget) -> None:
        """Note that a page was closed, or its connection lost."""
        page = str(request.session_hash or "")
        since = monotonic()
        budget.leave(page)
        session = self._open.get(page)
        if session is not None and session.stop is not None:
            session.stop.set()  # nobody reads the answer that is being given

        def end() -> None:
            if budget.idle_since(page) > since:
                return  # it came back
            session = self._open.pop(page, None)
            if session is not None:
                session.leave()
            budget.forget(page)

        timer = Timer(self._grace, end)
        timer.daemon = True
        timer.start()
