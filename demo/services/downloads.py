"""Serve exports to the browser, each at an address that works once."""

from __future__ import annotations

import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock, Timer

from markupsafe import Markup
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

ADDRESS = "/review/export"

_SECONDS = 600
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class _Ready:
    file: Path
    until: float


class Downloads:
    """Files that were made for one person, each handed out once and then deleted.

    Gradio serves its cache to whoever knows an address. An address here works once, within ten
    minutes, and cannot be guessed (256 random bits).
    """

    def __init__(self, folder: Path, seconds: float = _SECONDS) -> None:
        """Keep the files in a private folder, each for so many seconds."""
        self._seconds = seconds
        self._folder = folder
        self._ready: dict[str, _Ready] = {}
        # Rooms to when they are cleared, whether or not a file in them was ever made ready.
        self._rooms: dict[Path, float] = {}
        self._lock = Lock()

    def room(self) -> Path:
        """A new private folder to make a file in."""
        self.sweep()
        room = Path(mkdtemp(prefix="export-", dir=self._folder))
        with self._lock:
            self._rooms[room] = time.monotonic() + self._seconds
        # Nothing else may ever be exported, so that the next call cannot be waited for.
        timer = Timer(self._seconds + 0.1, self.sweep)
        timer.daemon = True
        timer.start()
        return room

    def address(self, file: Path) -> str:
        """Make a file that lies in a `room` ready; returns where, from where the app lives."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._ready[token] = _Ready(file, time.monotonic() + self._seconds)
        # Without a slash in front: the app may live under a path of its own.
        return f"{ADDRESS[1:]}/{token}"

    def offer(self, file: Path) -> str:
        """The same, as the link that the page presses."""
        return Markup(
            '<p class="done" role="status" data-sent="{} was sent to your browser.">Ready. <a '
            'class="download" download href="{}">Save {}</a></p>'
        ).format(file.name, self.address(file), file.name)

    def sweep(self) -> None:
        """Delete what nobody fetched."""
        now = time.monotonic()
        with self._lock:
            late = [token for token, ready in self._ready.items() if ready.until < now]
            for token in late:
                del self._ready[token]
            rooms = [room for room, until in self._rooms.items() if until < now]
            for room in rooms:
                del self._rooms[room]
        for room in rooms:
            shutil.rmtree(room, ignore_errors=True)

    def route(self) -> Route:
        """`GET /review/export/TOKEN`; 404 for one that is unknown, used or late."""
        return Route(f"{ADDRESS}/{{token}}", self._answer, methods=["GET"])

    def _answer(self, request: Request) -> Response:
        self.sweep()
        with self._lock:
            ready = self._ready.pop(request.path_params["token"], None)
        if ready is None:
            return PlainTextResponse(
                "This export was fetched already; make it anew.", 404, _HEADERS
            )
        return FileResponse(
            ready.file,
            headers=_HEADERS,
            filename=ready.file.name,
            background=BackgroundTask(_forget, ready.file),
        )


def _forget(file: Path) -> None:
    shutil.rmtree(file.parent, ignore_errors=True)
