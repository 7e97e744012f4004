"""A reader names a session, and opens it again in another tab; visitors and others cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from app_process import served, with_key
from test_ask_page import SHOWN, ask

from demo.services.phantoms import ct_series

pytestmark = pytest.mark.browser
QUESTION = "Is there a mass?"


def opened(browser: Any, address: str) -> Any:
    page = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    page.wait_for_selector("#viewer .viewer-stage")
    page.evaluate("document.querySelector('#tour')?.remove()")
    return page


def test_a_session_is_named_reloaded_and_reopened(
    tmp_path: Path, model: str | None, browser: Any
) -> None:
    paths = []
    for number, data in enumerate(ct_series(32, 3)):
        (path := tmp_path / f"{number}.dcm").write_bytes(data)
        paths.append(str(path))
    home = tmp_path / "home"
    with served(home, model) as (address, _):
        page = opened(browser, with_key(address))
        page.set_input_files("#viewer .viewer-files", paths)
        page.wait_for_selector(SHOWN)
        page.click("#viewer [data-do=invert]")
        ask(page, QUESTION)
        page.click("#saved > button")
        page.fill("#saved-name textarea, #saved-name input", "Drawn, 1970-01-02")
        page.click("#saved-save")
        page.wait_for_selector("#saved-trouble:has-text('choose another')")
        page.fill("#saved-name textarea, #saved-name input", "Mass in the phantom")
        page.click("#saved-save")
        page.wait_for_selector("#saved-trouble:has-text('Saved as “Mass in the phantom”.')")
        page.wait_for_selector("#saved-list [data-event=open]")
        kept = [path for path in (home / "saved-sessions").rglob("*") if path.is_file()]
        assert kept and not any(QUESTION.encode() in path.read_bytes() for path in kept)

        # Another tab of the same browser starts empty, and is reloaded before it opens it.
        other = page.context.new_page()
        other.set_default_timeout(120_000)
        other.goto(address)
        other.wait_for_selector("#viewer .viewer-stage[data-empty]")
        other.reload()
        other.wait_for_selector("#viewer .viewer-stage[data-empty]")
        other.click("#saved > button")
        other.click("#saved-list [data-event=open]")
        other.wait_for_selector(SHOWN)
        other.wait_for_selector("#board .asked-about[data-number]")
        assert other.input_value("#question textarea") == QUESTION
        assert other.inner_text("#board .arm-rarl .answer").strip()
        other.wait_for_function("RarlViewer.report().scans[0].invert")
        # It is the tab's own from now on.
        other.reload()
        other.wait_for_selector(SHOWN)
        assert other.input_value("#question textarea") == QUESTION
        other.click("#saved > button")
        other.click("#saved-list [data-event=delete]")
        other.wait_for_selector("#saved-list:has-text('None saved yet')")
        assert not [path for path in (home / "saved-sessions").rglob("*") if path.is_file()]

        visitor = opened(browser, address)
        visitor.wait_for_selector("#examples [data-event=pick]")
        assert not visitor.locator("#saved").count()
        for context in (page.context, visitor.context):
            context.close()
