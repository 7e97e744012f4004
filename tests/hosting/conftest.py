"""Servers of models in processes of their own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Serve = Callable[..., tuple[str, subprocess.Popen[bytes]]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a word server that holds after so many words; gives its address and its process."""
    started: list[subprocess.Popen[bytes]] = []

    def start(
        hold_after: int | None = None, port: int | None = None
    ) -> tuple[str, subprocess.Popen[bytes]]:
        port = port or free_port()
        script = Path(__file__).with_name("word_server.py")
        more = [] if hold_after is None else [str(hold_after)]
        process = subprocess.Popen([sys.executable, str(script), str(port), *more])
        started.append(process)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return f"http://127.0.0.1:{port}/v1", process
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)

    yield start
    for process in started:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
