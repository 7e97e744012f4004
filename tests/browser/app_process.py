"""The real app in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
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

# What the app loads that reads no setting of it, most of its start: torch and what comes with it.
_LIBRARIES = (
    "pytest", "torch", "peft", "transformers.models.bloom.modeling_bloom",
    "transformers.models.qwen2_vl.modeling_qwen2_vl",
    "transformers.models.qwen2_vl.processing_qwen2_vl", "mcp", "fastapi", "pandas", "psutil",
    "httpx", "sqlalchemy", "alembic", "pydicom", "reportlab", "matplotlib",
)  # fmt: skip

# Address of a running app to the address with the key that it has printed.
_KEYED: dict[str, str] = {}


@dataclass(frozen=True)
class App:
    """An app that runs: its address, its log and its RARL_HOME."""

    address: str
    log: Path
    home: Path


def with_key(address: str) -> str:
    """The address that makes a browser the admin's, as the app has printed it."""
    return _KEYED.get(address, address)


def missing(what: str) -> None:
    """Skip with a reason; where CI is set, nothing may be missing."""
    if CI:
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def served(
    home: Path, model: str | None, *arguments: str, **settings: str
) -> Iterator[tuple[str, Path]]:
    """The app as a fork of a process that has its libraries loaded; yields address and log.

    It runs `app.py` whole, in a process of its own, and saves the half of the start that imports
    torch. The tests of hosting start it cold, by `running`.
    """
    environment, log, port = _prepared(home, model, settings)
    process = _fork_server().Process(target=_run_app, args=(environment, log, arguments))
    process.start()
    try:
        yield _address(log, port, process), log
    finally:
        _end(process)


@cache
def _fork_server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_LIBRARIES))
    return context


def _run_app(environment: dict[str, str], log: Path, arguments: tuple[str, ...]) -> None:
    """Become `python app.py`: its environment, folder, output, signals and arguments."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    with log.open("a") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tempfile.tempdir = None  # TMPDIR is another one now
    sys.argv = ["app.py", *arguments]
    sys.path.insert(0, str(ROOT))
    runpy.run_path("app.py", run_name="__main__")


@contextmanager
def running(
    home: Path, model: str | None, root: Path = ROOT, *arguments: str, **settings: str
) -> Iterator[tuple[str, Path, subprocess.Popen[bytes]]]:
    """`python app.py` from a folder, with arguments and more settings; yields the process too.

    GRADIO_SERVER_PORT among the settings is the port of an app that has ended.
    """
    environment, log, port = _prepared(home, model, settings)
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py", *arguments],
            cwd=root,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield _address(log, port, process), log, process
    finally:
        _end(process)


def _prepared(
    home: Path, model: str | None, settings: dict[str, str]
) -> tuple[dict[str, str], Path, int]:
    """The environment of an app, the log that it writes, and the port where it listens."""
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
    (home.parent / "tmp").mkdir(exist_ok=True)
    return environment | settings, home.parent / "app.log", port


def _address(log: Path, port: int, process: ForkServerProcess | subprocess.Popen[bytes]) -> str:
    """Wait until the app listens."""
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 600
    while True:
        try:
            urllib.request.urlopen(address, timeout=10).close()
            break
        except OSError:
            if _ended(process) or time.monotonic() > deadline:
                pytest.fail(f"the app did not come up:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
    _KEYED[address] = printed_address(log, port)
    return address


def _ended(process: ForkServerProcess | subprocess.Popen[bytes]) -> bool:
    if isinstance(process, subprocess.Popen):
        return process.poll() is not None
    return not process.is_alive()


def _end(process: ForkServerProcess | subprocess.Popen[bytes]) -> None:
    """Interrupt the app as a person at its terminal does; kill it where it does not end."""
    if process.pid and not _ended(process):
        os.kill(process.pid, signal.SIGINT)
    try:
        if isinstance(process, subprocess.Popen):
            process.wait(15)
        else:
            process.join(15)
    except subprocess.TimeoutExpired:
        pass
    if not _ended(process):
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
