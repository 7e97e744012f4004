"""Connections that say nothing, say too much, or are too many."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic, sleep

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from demo.serving.server import Connections, timed_protocol

_SECONDS = 0.4


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    async def slow(request: object) -> PlainTextResponse:
        import asyncio

        await asyncio.sleep(2 * _SECONDS)
        return PlainTextResponse("late")

    config = uvicorn.Config(
        Starlette(routes=[Route("/slow", slow)]),
        port=0,
        http=timed_protocol(Connections(8), _SECONDS),
        log_level="critical",
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=32_768,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


@pytest.mark.parametrize("start", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nX-Slow: "])
def test_headers_that_do_not_come_end_the_connection(port: int, start: bytes) -> None:
    with connected(port) as one:
        one.sendall(start)
        assert one.recv(1000) == b""


def test_a_drip_of_headers_does_not_keep_it(port: int) -> None:
    with connected(port) as one:
        one.sendall(b"GET / HTTP/1.1\r\n")
        until = monotonic() + 10
        with pytest.raises(OSError):
            while monotonic() < until:
                one.sendall(b"X-A: b\r\n")
                sleep(0.05)
            pytest.fail("it was kept")


def test_a_long_answer_is_waited_for(port: int) -> None:
    with connected(port) as one:
        one.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200 OK" in one.recv(1000)


def test_one_address_takes_half_of_the_connections_at_most(port: int) -> None:
    sleep(0.2)  # those of the tests before are gone
    held = [connected(port) for _ in range(4)]
    with connected(port) as more, suppress(ConnectionError):
        assert more.recv(10) == b""
    for one in held:
        one.close()
    counted = Connections(4)
    assert [counted.admit("a") for _ in range(3)] == [True, True, False]
    assert [counted.admit(other) for other in "bcd"] == [True, True, False]
    counted.leave("a")
    assert counted.admit("d")
