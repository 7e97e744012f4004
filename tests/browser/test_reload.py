"""A reload and a restart of the server bring back scan, question and answers of the tab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from app_process import served
from playwright.sync_api import Error
from test_ask_page import SHOWN, ask

from demo.services.phantoms import ct_series

pytestmark = pytest.mark.browser
QUESTION = "Is there a mass?"


def looks_as_before(page: Any) -> None:
    page.wait_for_selector(SHOWN)
    page.wait_for_selector("#board .asked-about[data-number]")
    assert page.input_value("#question textarea") == QUESTION
    assert page.inner_text("#history summary") == "Asked 1"
    assert page.inner_text("#board .arm-rarl .answer").strip()
    page.wait_for_function("RarlViewer.report().scans[0].invert")
    assert not page.locator("#board.stale").count()


def reload(page: Any) -> None:
    """Load the page again; where the page does so itself, since its server is back, that serves."""
    try:
        page.reload()
    except Error as error:
        aborted = ("ERR_ABORTED", "Not attached to an active page")
        if not any(words in str(error) for words in aborted):
            raise
        page.wait_for_load_state()


def test_a_reload_and_a_restart_lose_nothing(
    model: str | None, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    paths = []
    for number, data in enumerate(ct_series(32, 3)):
        (path := tmp_path / f"{number}.dcm").write_bytes(data)
        paths.append(str(path))
    home = tmp_path / "home"
    with served(home, model) as (address, _):
        page = open_page(address)
        page.set_input_files("#viewer .viewer-files", paths)
        page.wait_for_selector(SHOWN)
        page.click("#viewer [data-do=invert]")
        ask(page, QUESTION)
        page.reload()
        looks_as_before(page)
        # A second tab starts empty; a browser without the cookie cannot read what is kept.
        other = page.context.new_page()
        other.goto(address)
        other.wait_for_selector("#viewer .viewer-stage[data-empty]")
        other.wait_for_function("window.RarlViewer?.report()")
        other.wait_for_timeout(500)
        assert other.evaluate("RarlViewer.report().scans.length") == 0
        other.close()
    kept = [path for path in (home / "sessions").rglob("*") if path.is_file()]
    assert kept and not any(QUESTION.encode() in path.read_bytes() for path in kept)
    port = address.rsplit(":", 1)[1]
    with served(home, model, GRADIO_SERVER_PORT=port):
        reload(page)
        looks_as_before(page)
        assert "no longer compared" in page.inner_text("#scan-facts")
    with served(home, model, GRADIO_SERVER_PORT=port, RARL_SESSION_KEEP="off"):
        reload(page)
        page.wait_for_selector("#viewer .viewer-stage[data-empty]")
