"""The whole way through the app in a real browser: open, ask, flag, restart, find, export."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
CI = os.environ.get("CI", "").lower() in {"1", "true"}
DATA = Path(os.environ.get("RARL_DATA") or ROOT.parent / "shared" / "data")
CHEST = DATA / "dicom_nifti_samples" / "RG1_J2KI.dcm"
CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
QUESTION = "Is there a pneumothorax?"
COMMENT = 'The left apex is cut off; "no" is too sure. <script>alert(1)</script>'


def missing(what: str) -> None:
    """Skip with a reason; where CI is set, nothing may be missing."""
    if CI:
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def served(home: Path, model: str | None) -> Iterator[tuple[str, Path]]:
    """`python app.py` in a process of its own; yields its address and its log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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
    log = home.parent / "app.log"
    address = f"http://127.0.0.1:{port}"
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    urllib.request.urlopen(address, timeout=1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        pytest.fail(f"the app did not come up:\n{log.read_text()[-2000:]}")
                    time.sleep(0.1)
            yield address, log
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest) -> str | None:
    """The shipped model; a tiny random one where it has not been built."""
    if (ROOT / "assets" / "pocket" / "config.json").exists():
        return None
    return str(request.getfixturevalue("tiny_model"))


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        missing("Chromium is not installed.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser) -> Iterator[Callable]:  # type: ignore[no-untyped-def,type-arg]
    """Open a page that fails the test on script errors and on requests to other hosts."""
    opened = []

    def open_it(address: str):  # type: ignore[no-untyped-def]
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.set_default_timeout(150_000)
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(f"script: {error}"))
        page.on(
            "request",
            lambda request: (
                troubles.append(f"request: {request.url}")
                if not request.url.startswith((address, "data:", "blob:"))
                else None
            ),
        )
        page.goto(address)
        page.wait_for_selector("#viewer .stage")
        opened.append((context, troubles))
        return page

    yield open_it
    for context, troubles in opened:
        context.close()
        assert not troubles


def answered(page) -> None:  # type: ignore[no-untyped-def]
    """Wait until the board has run and come to rest with three answers."""
    page.wait_for_function(
        """() => !document.querySelector(".columns[data-running]")
          && document.querySelectorAll("#board .flag").length === 3"""
    )


def test_journey(tmp_path: Path, model: str | None, open_page: Callable) -> None:  # type: ignore[type-arg]
    if not CHEST.exists():
        missing(f"{CHEST.name} is not in RARL_DATA.")
    home = tmp_path / "home"
    with served(home, model) as (address, log):
        page = open_page(address)
        assert "Not for diagnosis" in page.inner_text("#notice")
        page.click("#notice button")
        page.wait_for_selector("#notice", state="hidden")

        page.set_input_files("#scan-actions input[type=file]", str(CHEST))
        page.wait_for_selector("#viewer img")
        assert "CR" in page.inner_text("#scan-facts") and "Chest" in page.inner_text("#scan-facts")
        page.fill("#question textarea", QUESTION)
        page.press("#question textarea", "Enter")
        answered(page)
        assert [page.inner_text(f"[data-arm={arm}] h3") for arm in ("sft", "rl", "rarl")] == [
            "SFT", "RL", "RARL",
        ]  # fmt: skip
        # Everything that matters stands on one screen, without scrolling.
        for selector in ("#viewer img", "#ask", "#board .arm-rarl .flag", "#footer"):
            box = page.locator(selector).bounding_box()
            assert box and box["y"] >= 0 and box["y"] + box["height"] <= 900, selector

        # A flag without a choice keeps what was typed and says what is missing.
        page.click(".flag[data-arm=rarl]")
        page.fill("#flag-comment textarea", COMMENT)
        page.click("#flag-save")
        page.wait_for_selector("#flag-trouble .trouble")
        assert page.input_value("#flag-comment textarea") == COMMENT
        page.click("#flag-category label:has-text('Wrong location')")
        page.click("#flag-severity label:has-text('Could delay')")
        page.click("#flag-save")
        page.wait_for_selector("#note .done")
        assert "saved" in page.inner_text("#note")
        # Nothing of the upload is left, and the log names neither file nor question.
        left = [path for path in (tmp_path / "tmp").rglob("*") if path.suffix == ".dcm"]
        assert not left
        assert CHEST.stem not in log.read_text() and QUESTION not in log.read_text()

    with served(home, model) as (address, _):
        page = open_page(address)
        page.click("[role=tab]:has-text('Review')")
        page.click("#flag-list [data-flag]")
        page.wait_for_selector("#case img")
        case = page.inner_text("#case")
        assert QUESTION in case and COMMENT in case
        assert page.locator("#case .arm").count() == 3
        page.fill("#filter-text textarea", "no such words")
        page.wait_for_selector("#flag-list .nothing")
        page.fill("#filter-text textarea", "left apex")
        page.wait_for_selector("#flag-list [data-flag]")

        with page.expect_download() as download:
            page.click("#export-jsonl")
        (line,) = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
        flagged = json.loads(line)
        assert flagged["flag"]["arm"] == "rarl" and flagged["flag"]["comment"] == COMMENT
        assert flagged["case"]["question"] == QUESTION and flagged["case"]["png"]
        with page.expect_download() as download:
            page.click("#export-csv")
        with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
            (row,) = csv.DictReader(file)
        assert (row["category"], row["severity"]) == ("wrong-location", "major")


def test_wrong_inputs_say_so_and_the_page_goes_on(
    tmp_path: Path,
    model: str | None,
    open_page: Callable,  # type: ignore[type-arg]
) -> None:
    text = tmp_path / "letter.dcm"
    text.write_text("Dear colleague, thank you for seeing this patient.\n" * 20)
    with served(tmp_path / "home", model) as (address, _):
        page = open_page(address)
        page.click("#ask")
        page.wait_for_selector("#board .trouble")
        assert "Open a scan" in page.inner_text("#board .trouble")

        page.set_input_files("#scan-actions input[type=file]", str(text))
        page.wait_for_selector("#scan-facts .trouble")
        assert "text file" in page.inner_text("#scan-facts")

        page.click("[data-key=phantom-chest]")
        page.wait_for_selector("#viewer img")
        page.fill("#question textarea", "")
        page.click("#ask")
        page.wait_for_selector("#board .trouble:has-text('Type a question')")

        # A chip fills the box; the choice of one arm leaves one column; Stop keeps what came.
        page.click("#chips .chip >> nth=0")
        page.wait_for_function("document.querySelector('#question textarea').value.length > 3")
        page.click("#arms input")
        page.click("[role=option]:has-text('RARL alone')")
        page.wait_for_function("document.querySelectorAll('#board .arm').length === 1")
        page.click("#ask")
        page.wait_for_function(
            "document.querySelectorAll('#board .flag').length === 1"
            " && !document.querySelector('.columns[data-running]')"
        )

        # Dark is the default; the switch makes it light, and a reload remembers.
        assert page.evaluate("document.body.classList.contains('dark')")
        page.click("[data-page=theme]")
        page.wait_for_function("!document.body.classList.contains('dark')")
        page.reload()
        page.wait_for_selector("#viewer .stage")
        page.wait_for_function("!document.body.classList.contains('dark')")

        # On a phone nothing sticks out to the side.
        page.set_viewport_size({"width": 390, "height": 844})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390


def test_stop_keeps_what_came(
    tmp_path: Path,
    model: str | None,
    open_page: Callable,  # type: ignore[type-arg]
) -> None:
    with served(tmp_path / "home", model) as (address, _):
        page = open_page(address)
        page.click("[data-key=phantom-chest]")
        page.wait_for_selector("#viewer img")
        page.click("#ask")
        page.click("#stop")
        page.wait_for_function("!document.querySelector('.columns[data-running]')")
        said = page.inner_text("#board .verdict")
        # A quick model may have ended before the click arrived.
        assert re.search("Stopped|agree", said) or "stopped" in page.inner_text("#board")
        page.click("#ask")
        answered(page)
