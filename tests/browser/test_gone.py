"""A page that is closed in the middle of an answer: nobody goes on answering it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from app_process import ROOT, served

from tests.hosting.conftest import free_port

pytestmark = pytest.mark.browser


def test_an_answer_ends_with_its_page(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    # A server that holds after three words, so that the answer would never end by itself.
    port = free_port()
    words = [sys.executable, str(ROOT / "tests/hosting/word_server.py"), str(port), "3"]
    server = subprocess.Popen(words)
    try:
        url = f"http://127.0.0.1:{port}/v1"
        with served(tmp_path / "home", None, RARL_ENDPOINT=url) as (address, _):

            def answering() -> int:
                with urllib.request.urlopen(f"{address}/healthz", timeout=60) as response:
                    count: int = json.load(response)["answering"]
                return count

            def until(count: int) -> None:
                deadline = time.monotonic() + 30  # the server itself is given up after 60
                while answering() != count:
                    assert time.monotonic() < deadline, "still answering"
                    time.sleep(0.1)

            page = open_page(address)
            page.wait_for_selector("#engine .ready")
            page.click("[data-key=phantom-chest] >> nth=0")
            page.wait_for_function("document.querySelector('#question textarea').value.length > 3")
            page.click("#ask")
            page.wait_for_function("document.querySelector('#board .arm.live') !== null")
            until(1)
            page.close()
            until(0)
    finally:
        server.kill()
        server.wait()
