"""The app with a store of its own, for scripts that put load on it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def own_app(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Start the app; its address and its process, once it can answer.

    The model is that of RARL_MODEL, or tiny.

    Args:
        folder: for its store and its temporary files.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        **os.environ,
        "RARL_HOME": str(folder / "home"),
        "TMPDIR": str(folder),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        # Everybody comes from this machine, as from a proxy, and has an address of their own.
        "RARL_TRUSTED_PROXIES": "127.0.0.1",
    }
    settings.setdefault("RARL_MODEL", "tiny")
    settings.pop("RARL_DATABASE_URL", None)
    # Standard output is for the script's own figures.
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py")], cwd=ROOT, env=settings, stdout=sys.stderr
    )
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                if httpx.get(f"{address}/healthz").json()["status"] == "ready":
                    break
            except httpx.HTTPError:
                if process.poll() is not None:
                    sys.exit("The app did not start; see above.")
            time.sleep(0.2)
        yield address, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def coming_from(address: str) -> dict[str, str]:
    """The header by which a proxy says who sends a request."""
    return {"X-Forwarded-For": address}


def resident_bytes(process: psutil.Process) -> int:
    """Resident memory of a process and of those that it has started."""
    family = [process, *process.children(recursive=True)]
    return sum(member.memory_info().rss for member in family if member.is_running())
