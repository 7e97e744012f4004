"""Which requests get through, and what every answer says to the browser.

Gradio serves more than this app needs: files by path, other hosts' files by address, a proxy, run
histories. Only what the page and the programming interface use passes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.uploads import MAX_UPLOAD_BYTES

_API = "/gradio_api/"
# What the page and clients of the programming interface use of Gradio's own addresses.
_NEEDED = frozenset(
    "api app_id call cancel component_server heartbeat info login_check mcp openapi.json queue "
    "reset run startup-events theme.css token upload upload_progress user".split()
)
_KEPT_IN_BROWSERS = ("/assets/", "/static/", "/theme.css", "/gradio_api/theme.css")

# A form's boundaries and names come on top of its file.
_UPLOAD_BYTES = MAX_UPLOAD_BYTES + 1_000_000
_MESSAGE_BYTES = 4_000_000
_FREE_BYTES = 256_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests that change something one address may send.

    Many people may share one address, and a series of slices is as many uploads.

    Attributes:
        burst: at once.
        per_second: in the long run.
        addresses: how many are remembered.
    """

    burst: float = 6000
    per_second: float = 60
    addresses: int = 10_000


def content_security_policy() -> str:
    """What a browser lets the page do.

    Everything comes from this host alone. Gradio starts from inline scripts and builds components
    from text, so that neither can be forbidden: what people and models write is kept from becoming
    markup where it is rendered. On a Space (`SPACE_ID`) Hugging Face's page may show this one in a
    frame, elsewhere only this host's own.
    """
    ancestors = "https://huggingface.co" if os.environ.get("SPACE_ID") else "'self'"
    return "; ".join(
        [
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            f"frame-ancestors {ancestors}",
        ]
    )


class Guard:
    """ASGI middleware that turns away what is not needed and adds the headers.

    Args:
        app: what is guarded.
        cache: the only folder whose files may be served.
        uploaded: whether a path was uploaded; uploads are read by handlers and served to nobody.
        rate: of requests that change something, per address.
    """

    def __init__(
        self, app: ASGIApp, cache: Path, uploaded: Callable[[str], bool], rate: Rate | None = None
    ) -> None:
        self._app = app
        self._cache = cache.resolve()
        self._uploaded = uploaded
        self._rate = rate or Rate()
        self._policy = content_security_policy()
        # Address to what is left of its burst, and when that was reckoned; oldest first.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message), scope["path"])
            await send(message)

        refusal = self._refused(scope)
        if refusal is None and scope["method"] == "POST":
            refusal, receive = await self._received(scope, receive)
        if refusal is not None:
            await refusal(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)

    def _add_headers(self, headers: MutableHeaders, path: str) -> None:
        headers["Content-Security-Policy"] = self._policy
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
        if not path.startswith(_KEPT_IN_BROWSERS):
            headers["Cache-Control"] = "no-store"

    def _refused(self, scope: Scope) -> PlainTextResponse | None:
        """Why a request is turned away before its body is looked at, or None."""
        path: str = scope["path"]
        if path.startswith(_API):
            name = path.removeprefix(_API)
            if name.startswith("file="):
                if not self._may_serve(name.removeprefix("file=")):
                    return PlainTextResponse("This file is served to nobody.", 403)
            elif name.partition("/")[0] not in _NEEDED:
                return PlainTextResponse("There is nothing here.", 404)
        if scope["method"] == "POST":
            if not self._in_time(scope):
                return PlainTextResponse(
                    "Too many requests from this address; wait a minute.",
                    429,
                    {"Retry-After": "60"},
                )
            if _is_upload(path):
                length = int(Headers(scope=scope).get("content-length", "0") or 0)
                if shutil.disk_usage(self._cache).free < _FREE_BYTES + length:
                    return PlainTextResponse("The server's disk is full; tell its keeper.", 507)
        return None

    def _may_serve(self, name: str) -> bool:
        """Whether a file is one that the page made for a download."""
        file = Path(name)
        resolved = file.resolve()
        return resolved.is_relative_to(self._cache) and not any(
            self._uploaded(str(one)) for one in (file, resolved)
        )

    def _in_time(self, scope: Scope) -> bool:
        address = scope["client"][0] if scope.get("client") else ""
        now = monotonic()
        left, then = self._left.pop(address, (self._rate.burst, now))
        left = min(self._rate.burst, left + (now - then) * self._rate.per_second)
        self._left[address] = (max(0.0, left - 1), now)
        while len(self._left) > self._rate.addresses:
            self._left.popitem(last=False)
        return left >= 1

    async def _received(
        self, scope: Scope, receive: Receive
    ) -> tuple[PlainTextResponse | None, Receive]:
        """Look at the body: its size, and whether it asks for files from elsewhere.

        An upload passes piece by piece; a message is read whole, and handed on.
        """
        declared = Headers(scope=scope).get("content-length", "")
        limit = _UPLOAD_BYTES if _is_upload(scope["path"]) else _MESSAGE_BYTES
        too_large = PlainTextResponse(f"More than {limit // 1_000_000} MB are not taken.", 413)
        if declared.isdigit() and int(declared) > limit:
            return too_large, receive
        if _is_upload(scope["path"]):
            if not declared:
                # Every browser says so, and the server holds the sender to what was declared.
                return PlainTextResponse("Say how many bytes come.", 411), receive
            return None, receive
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None, _replayed(message, receive)
            body += message.get("body", b"")
            if len(body) > limit:
                return too_large, receive
            if not message.get("more_body"):
                break
        if b"gradio.FileData" in body and _asks_elsewhere(body):
            sentence = "Upload the file itself; addresses are not followed."
            return PlainTextResponse(sentence, 400), receive
        whole = {"type": "http.request", "body": bytes(body), "more_body": False}
        return None, _replayed(whole, receive)


def _is_upload(path: str) -> bool:
    return path.rstrip("/") == f"{_API}upload"


def _replayed(first: Message, receive: Receive) -> Receive:
    """A channel that gives a message again, then what comes after it."""
    waiting = [first]

    async def give() -> Message:
        return waiting.pop() if waiting else await receive()

    return give


def _asks_elsewhere(body: bytes | bytearray) -> bool:
    """Whether a message holds a file by its address, which Gradio would fetch."""
    try:
        left: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):
        return True  # nothing that could be read is let through unread
    while left:
        value = left.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and "://" in path:
                return True
            left += value.values()
        elif isinstance(value, list):
            left += value
    return False
