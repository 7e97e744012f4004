"""Remember the page's HTML and its configuration for a short time.

Gradio copies its whole configuration and draws a template for each load of the page. People who
load it at once take that time from each other, and from the model.
"""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.serving.caller import caller_of

_PATHS = frozenset({"/", "/config"})
_SECONDS = 30.0
_PAGES, _PAGE_BYTES = 64, 4_000_000
# What an answer depends on besides the name: the address that it is asked at, and how it is packed.
_ASKED_BY = (
    "host",
    "accept-encoding",
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-gradio-server",
)

_Key = tuple[object, ...]


class PageCache:
    """Answers `GET /` and `GET /config` from memory where the same was asked for lately.

    Requests with a query are passed on.

    Args:
        app: makes them. In front of this stands the guard, which decides who may see it and
            sets cookies.
        seconds: how long a page is remembered.
    """

    def __init__(self, app: ASGIApp, seconds: float = _SECONDS) -> None:
        self._app = app
        self._seconds = seconds
        self._pages: OrderedDict[_Key, tuple[float, list[Message]]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        asked = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in _PATHS
        if not asked or scope.get("query_string"):
            await self._app(scope, receive, send)
            return
        key = _key(scope)
        kept = self._pages.get(key)
        if kept is not None and monotonic() - kept[0] < self._seconds:
            self._pages.move_to_end(key)
            for message in kept[1]:
                await send(dict(message))
            return
        messages: list[Message] = []

        async def noted(message: Message) -> None:
            # A copy, since whoever sends it on may change it.
            messages.append({**message, "headers": list(message.get("headers", ()))})
            await send(message)

        drawn_at = monotonic()
        await self._app(scope, receive, noted)
        if messages and _may_be_kept(messages):
            self._pages[key] = drawn_at, messages
            self._pages.move_to_end(key)
            while len(self._pages) > _PAGES:
                self._pages.popitem(last=False)


def _key(scope: Scope) -> _Key:
    headers = Headers(scope=scope)
    words = tuple(headers.get(name, "") for name in _ASKED_BY)
    name = caller_of(scope).name
    return scope["path"], name, scope.get("scheme"), scope.get("root_path"), *words


def _may_be_kept(messages: list[Message]) -> bool:
    """Whether an answer is whole and sets no cookie."""
    start, *parts = messages
    names = {bytes(name).lower() for name, _ in start["headers"]}
    size = sum(len(part.get("body", b"")) for part in parts)
    ended = bool(parts) and not parts[-1].get("more_body", False)
    return (
        start.get("status") == 200 and b"set-cookie" not in names and ended and size <= _PAGE_BYTES
    )
