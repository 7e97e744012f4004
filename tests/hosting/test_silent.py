"""No process asks anything of another host, also not from native code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.app_process import DATA, missing

HERE = Path(__file__).parent
_ISOLATED = ["unshare", "--user", "--map-root-user", "--net", "--mount"]


def watched(report: Path, *command: str) -> subprocess.CompletedProcess[str]:
    words = [*_ISOLATED, sys.executable, str(HERE / "net_watch.py"), str(report), "--", *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def namespaces(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where no network namespace can be made; and see that the watcher sees."""
    report = tmp_path_factory.mktemp("watched") / "report.json"
    asking = "import socket\ntry: socket.getaddrinfo('example.org', 443)\nexcept OSError: pass"
    try:
        done = watched(report, sys.executable, "-c", asking)
    except FileNotFoundError:
        pytest.skip("unshare (util-linux) is not installed")
    if not report.is_file():
        pytest.skip(f"no network namespace with a tunnel can be made here: {done.stderr[-200:]}")
    assert [packet["name"] for packet in json.loads(report.read_text())] == ["example.org"]


def test_no_process_reaches_for_another_host(
    namespaces: None, tiny_model: Path, tmp_path: Path
) -> None:
    if not DATA.is_dir():
        missing(f"there is no folder {DATA}")
    report = tmp_path / "report.json"
    words = [
        sys.executable,
        str(HERE / "in_namespace.py"),
        str(tiny_model),
        str(DATA),
        str(tmp_path),
    ]
    done = watched(report, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]), "the app decodes in a process of its own"
    assert json.loads(report.read_text()) == []
