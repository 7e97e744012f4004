"""The JavaScript of the page: its unit tests, and how it reaches the browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo.serving.modules import main_address, module_addresses, modules_route
from demo.serving.routes import find_door
from demo.theme import head

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "demo" / "static" / "js"
IMPORT = re.compile(r'^(?:import|export)\b(?:[^;]*?\bfrom)? "(.+?)";', re.MULTILINE)


def test_the_page_loads_every_module_and_each_passes_the_guard() -> None:
    client = TestClient(Starlette(routes=[modules_route()]))
    waiting, loaded = [main_address()], set()
    while waiting:
        address = waiting.pop()
        loaded.add(address)
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/javascript")
        assert isinstance(find_door("GET", address), tuple), f"{address} is refused"
        named = [str(client.base_url.join(address).join(name).path) for name in
                 IMPORT.findall(answer.text)]  # fmt: skip
        waiting += [name for name in named if name not in loaded]
    assert len(loaded) == len(list(FOLDER.rglob("*.js"))), "a module that nothing imports"
    assert loaded == set(module_addresses()), "the page asks ahead for other modules"


def test_browsers_keep_a_module_and_the_page_asks_for_all_at_once() -> None:
    answer = TestClient(Starlette(routes=[modules_route()])).get(main_address())
    assert "immutable" in answer.headers["cache-control"]
    page_head = head()
    assert all(address in page_head for address in module_addresses())


def test_other_versions_and_other_files_are_not_served() -> None:
    client = TestClient(Starlette(routes=[modules_route()]))
    assert client.get("/modules/0123456789abcdef/main.js").status_code == 404
    assert client.get(main_address().replace("main.js", "absent.js")).status_code == 404


def test_the_unit_tests_of_the_modules_pass() -> None:
    node = shutil.which("node")
    if node is None:
        assert os.environ.get("CI") != "true", "install Node.js 18 or later"
        pytest.skip("Node.js is not installed")
    files = sorted(str(path) for path in (ROOT / "tests" / "js").glob("*.test.js"))
    done = subprocess.run([node, "--test", *files], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-4000:]
