"""The HTTP server with limits on slow connections.

Gradio starts uvicorn with its own settings and puts its own rules for other sites' pages outside of
everything else. `listening` lets the guard stand outside of those, and gives connections limits:
of their number, of the time that headers take, and of the size of headers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from demo.compat import Server, default_ports, serving_by

log = logging.getLogger(__name__)

_HEADER_SECONDS = 20.0
_HEADER_BYTES = 32_768
_KEEP_ALIVE_SECONDS = 30
_MOST_CONNECTIONS = 4096


class Connections:
    """Counts open connections, and says when there are too many.

    Args:
        most: at a time; half of them for one address.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def admit(self, address: str) -> bool:
        """Count a connection, where there is room for it."""
        if self._open.total() >= self._most or self._open[address] >= self._most // 2:
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count a connection no longer."""
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]


def timed_protocol(connections: Connections, seconds: float) -> type[H11Protocol]:
    """A protocol that closes connections which are too many, or whose headers take too long.

    Args:
        connections: what counts them.
        seconds: that the headers of a request may take.
    """

    class Timed(H11Protocol):
        _address = ""
        _admitted = False
        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            peer = transport.get_extra_info("peername")
            self._address = str(peer[0]) if peer else ""
            self._admitted = connections.admit(self._address)
            super().connection_made(transport)
            if not self._admitted:
                transport.abort()
                return
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            if self._admitted:
                connections.leave(self._address)
                self._admitted = False
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._answering():
                self._stop()
            elif self._waiting is None:
                self._wait()

        def _answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _wait(self) -> None:
            self._stop()
            self._waiting = self.loop.call_later(seconds, self._late)

        def _stop(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

        def _late(self) -> None:
            self._waiting = None
            if not self._answering() and not self.transport.is_closing():
                self.transport.close()

    return Timed


@contextmanager
def listening(wrap: Callable[[ASGIApp], ASGIApp]) -> Iterator[None]:
    """Let Gradio's next `launch` listen with this server, and with what `wrap` puts around it."""

    def start(
        app: ASGIApp,
        server_name: str | None = None,
        server_port: int | None = None,
        ssl_keyfile: str | None = None,
        ssl_certfile: str | None = None,
        ssl_keyfile_password: str | None = None,
    ) -> tuple[str, int, str, Server]:
        usual, ports = default_ports(server_port)
        name = server_name or usual
        host = name.removeprefix("[").removesuffix("]")
        connections = Connections(min(_MOST_CONNECTIONS, _open_files() // 2))
        for port in ports:
            if not _is_free(host, port):
                continue
            config = uvicorn.Config(
                app=wrap(app),
                host=host,
                port=port,
                http=timed_protocol(connections, _HEADER_SECONDS),
                ws="none",
                log_level="warning",
                access_log=False,
                # Whose address counts is decided by the guard alone.
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                h11_max_incomplete_event_size=_HEADER_BYTES,
                ssl_keyfile=ssl_keyfile,
                ssl_certfile=ssl_certfile,
                ssl_keyfile_password=ssl_keyfile_password,
            )
            server = Server(config)
            server.run_in_thread()  # type: ignore[no-untyped-call]
            scheme = "https" if ssl_keyfile else "http"
            shown = "localhost" if name == "0.0.0.0" else name
            return name, port, f"{scheme}://{shown}:{port}/", server
        raise OSError(f"No port from {ports[0]} to {ports[-1]} is free; set GRADIO_SERVER_PORT.")

    with serving_by(start):
        yield


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _open_files() -> int:
    """How many files this process may open, after asking for as many as the system allows."""
    try:
        import resource
    except ImportError:  # Windows
        return 2 * _MOST_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * _MOST_CONNECTIONS
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return most
        except (OSError, ValueError):
            return soft
    return soft
