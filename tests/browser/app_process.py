"""The real app in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CI = os.environ.get("CI", "").lower() in {"1", "true"}
DATA = Path(os.environ.get("RARL_DATA") or ROOT.parent / "shared" / "data")
SAMPLES = DATA / "dicom_nifti_samples"
CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)

# Address of a running app to the address with the key that it has printed.
_KEYED: dict[str, str] = {}


def with_key(address: str) -> str:
    """The address that makes a browser the admin's, as the app has printed it."""
    return _KEYED.get(address, address)


def missing(what: str) -> None:
    """Skip with a reason; where CI is set, nothing may be missing."""
    if CI:
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def served(home: Path, model: str | None) -> Iterator[tuple[str, Path]]:
    """`python app.py` in a process of its own; yields its address and its log."""
    with running(home, model) as (address, log, _):
        yield address, log


@contextmanager
def running(
    home: Path, model: str | None, root: Path = ROOT, *arguments: str, **settings: str
) -> Iterator[tuple[str, Path, subprocess.Popen[bytes]]]:
    """The same from a folder, with arguments and more settings; yields the process too.

    GRADIO_SERVER_PORT among the settings is the port of an app that has ended.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(settings.get("GRADIO_SERVER_PORT", probe.getsockname()[1]))
    environment = {
        **os.environ,
        "RARL_HOME": str(home),
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "HF_HUB_OFFLINE": "1",
        "TMPDIR": str(home.parent / "tmp"),
    }
    environment.pop("RARL_DATABASE_URL", None)
    environment.pop("RARL_MODEL", None)
    if model:
        environment["RARL_MODEL"] = model
    environment |= settings
    (home.parent / "tmp").mkdir(exist_ok=True)
    log = home.parent / "app.log"
    address = f"http://127.0.0.1:{port}"
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py", *arguments],
            cwd=root,
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            deadline = time.monotonic() + 600
            while True:
                try:
                    urllib.request.urlopen(address, timeout=10).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        pytest.fail(f"the app did not come up:\n{log.read_text()[-2000:]}")
                    time.sleep(0.1)
            _KEYED[address] = printed_address(log, port)
            yield address, log, process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def printed_address(log: Path, port: int) -> str:
    """The last address with this port that an app has printed."""
    deadline = time.monotonic() + 60
    while True:
        lines = [line for line in log.read_text("utf-8").splitlines() if f":{port}/" in line]
        if lines:
            return lines[-1].split()[-1]
        if time.monotonic() > deadline:
            pytest.fail("the app has printed no address")
        time.sleep(0.05)
