"""Several series in one upload are chosen from a list, and what was left out is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from app_process import App
from test_ask_page import SHOWN, ask

from demo.services.phantoms import ct_series

pytestmark = pytest.mark.browser
OVERLAPS = """() => [...document.querySelectorAll(".viewer-pane")].some((pane) => {
  const box = (name) => pane.querySelector(name).getBoundingClientRect();
  const bar = box(".viewer-scale");
  return [".bottom-left", ".bottom-right"].some((name) => {
    const text = box(name);
    return text.right > bar.left && text.left < bar.right
      && text.bottom > bar.top && text.top < bar.bottom;
  });
})"""


def test_a_series_is_chosen_on_the_page(
    app: App, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    files = {
        f"{name}-{number}.dcm": data
        for name, series in (("a", ct_series(32, 3)), ("b", ct_series(48, 4)))
        for number, data in enumerate(series)
    }
    files |= {"Doe, Jane.txt": b"a letter", "empty.dcm": b""}
    paths = []
    for name, data in files.items():
        (path := tmp_path / name).write_bytes(data)
        paths.append(str(path))
    page = open_page(app.address)
    page.set_input_files("#viewer .viewer-files", paths)
    page.wait_for_selector(SHOWN)
    cards = page.locator(".viewer-series li")
    assert cards.count() == 2
    titles = [cards.nth(place).inner_text() for place in range(2)]
    assert "CT, 3 slices, 32 x 32" in titles[0] and "CT, 4 slices, 48 x 48" in titles[1]
    assert cards.nth(1).get_attribute("data-open") is not None
    assert cards.nth(0).locator("img").evaluate("image => image.naturalWidth") == 32
    page.click(".viewer-left-out summary")
    assert page.locator(".viewer-left-out li").all_inner_texts() == [
        "Doe, Jane.txt: a text file",
        "empty.dcm: an empty file",
    ]
    ask(page, "Is there a mass?")
    page.click(".viewer-series li >> nth=0 >> [data-do=choose]")
    page.wait_for_selector(".viewer-series li[data-open] >> text=3 slices")
    page.wait_for_function("!document.querySelector('#board [data-number]')")
    # The question that was asked about the other one brings it back.
    page.click("#history summary")
    page.click("#history li button")
    page.wait_for_selector(".viewer-series li[data-open] >> text=4 slices")
    page.wait_for_selector("#board .asked-about[data-number]")
    page.click(".viewer-series .add")
    page.wait_for_function("RarlViewer.report().scans.length === 2")
    # No scale bar lies over the text of a corner.
    assert not page.evaluate(OVERLAPS)
    # The names of the tools stay beside the list, and the list stays after a reload.
    assert not page.locator(".viewer[data-short]").count()
    page.reload()
    page.wait_for_selector(SHOWN)
    cards = page.locator(".viewer-series li")
    cards.nth(1).wait_for()
    assert page.locator(".viewer-series li[data-open]").count() == 2
    page.click("#viewer [data-do=remove] >> nth=1")
    page.wait_for_function("RarlViewer.report().scans.length === 1")
    page.click(".viewer-series .add")
    page.wait_for_function("RarlViewer.report().scans.length === 2")
    assert "Doe" not in app.log.read_text()
    assert not any("Doe" in path.name for path in app.home.rglob("*"))
