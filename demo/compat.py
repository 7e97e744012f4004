"""Every use of what Gradio (6.31) does not offer for use: its queue, its server, its downloads.

Nothing else in `demo` names one, and tests/demo/test_gradio_compat.py says which has changed where
Gradio is updated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio import http_server, processing_utils, routes
from gradio.context import LocalContext
from gradio.http_server import Server
from gradio.queueing import Event, Queue

__all__ = [
    "WITHOUT_PAGE_CHECK",
    "Event",
    "Queue",
    "Server",
    "current_request",
    "default_ports",
    "forget_downloader",
    "serving_by",
    "space_cookie_secret",
    "use_queue",
]

Start = Callable[..., tuple[str, int, str, Server]]
"""Takes an app and where to listen; returns host, port, address and the running server."""

WITHOUT_PAGE_CHECK: dict[str, Any] = {"_frontend": False}
"""Options of `launch` without its second look at the address, which a busy machine fails.

It has asked the server for its start by then; the second request gives up after three seconds.
"""

SOON = ("async_ssrf_protected_get", "async_ssrf_protected_download")
NOW = ("ssrf_protected_download", "save_url_to_cache", "unsafe_download")
"""Functions of `gradio.processing_utils` that fetch an address: coroutines, and others."""


def current_request() -> gr.Request | None:
    """The request whose event is being handled; None outside of events."""
    request: gr.Request | None = LocalContext.request.get(None)
    return request


def use_queue(app: gr.Blocks, kind: type[Queue]) -> None:
    """Let an app use a queue of ours, which adds no state to Gradio's.

    Gradio makes its queue itself and has no other place for one.
    """
    app._queue.__class__ = kind


def default_ports(port: int | None) -> tuple[str, range]:
    """The name and the ports that Gradio would listen at."""
    first = port or http_server.INITIAL_PORT_VALUE
    count = 1 if port else http_server.TRY_NUM_PORTS
    return http_server.LOCALHOST_NAME, range(first, first + count)


@contextmanager
def serving_by(start: Start) -> Iterator[None]:
    """Let Gradio's `launch` start its server with a function of ours."""
    usual = http_server.start_server
    http_server.start_server = start
    try:
        yield
    finally:
        http_server.start_server = usual


def forget_downloader() -> None:
    """Take away what Gradio fetches addresses with: no argument makes the server ask another host.

    The guard refuses addresses before; this is for what it might not know.
    """

    def never(*arguments: object, **named: object) -> Any:
        raise PermissionError("This server fetches nothing.")

    async def never_soon(*arguments: object, **named: object) -> Any:
        raise PermissionError("This server fetches nothing.")

    for name in SOON:
        setattr(processing_utils, name, never_soon)
    for name in NOW:
        setattr(processing_utils, name, never)
    for place, name, instead in (
        (routes, "secure_url_stream_response", never_soon),
        (routes.App, "build_proxy_request", never),
    ):
        setattr(place, name, instead)


def space_cookie_secret(client_secret: str) -> str:
    """The key that Gradio's sign-in on a Space signs its cookie with.

    Args:
        client_secret: `OAUTH_CLIENT_SECRET`.
    """
    return hashlib.sha256(f"{client_secret}-v4".encode()).hexdigest()
