"""Measure on a real series in a real browser: draw, edit, undo, leave and return, ask, reload."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from app_process import served, with_key

from rarl.scans import Stack, open_stack_file

pytestmark = pytest.mark.browser

STAGE = "#viewer .viewer-stage"
ENTRY = "#viewer .viewer-measures li"
SERIES = Path(pydicom.data.__file__).parent / "test_files/dicomdirtests/98892003/MR700"


@pytest.fixture(scope="module")
def address(model: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("measuring") / "home", model) as (address, _):
        yield address


@pytest.fixture(scope="module")
def stack() -> Stack:
    return open_stack_file([SERIES])


def drawings(page: Any) -> dict[str, dict[str, Any]]:
    """What is drawn on the scan, by kind."""
    (scan,) = page.evaluate("RarlViewer.report()")["scans"]
    return {drawing["kind"]: drawing for drawing in scan["drawings"]}


def at(page: Any, point: tuple[float, float]) -> tuple[float, float]:
    """Where a point of the canvas, in fractions of it, is in the window."""
    box = page.locator("#viewer canvas").bounding_box()
    return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*at(page, start))
    page.mouse.down()
    page.mouse.move(*at(page, ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)))
    page.mouse.move(*at(page, end))
    page.mouse.up()


def texts(page: Any, count: int) -> list[str]:
    """The entries of the list, once each has its numbers."""
    page.wait_for_function(
        """(count) => {
          const entries = [...document.querySelectorAll("#viewer .viewer-measures .ask")];
          return entries.length === count;
        }""",
        arg=count,
    )
    found: list[str] = page.locator(f"{ENTRY} [data-do=choose-drawing]").all_inner_texts()
    return found


def test_a_reader_measures_and_asks(address: str, stack: Stack, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page(address)
    page.set_input_files("#viewer .viewer-folder", str(SERIES))
    page.wait_for_selector(f"{STAGE}[data-frame]")
    frame = int(page.get_attribute(STAGE, "data-frame"))
    (scale,) = stack.scales("acquired", frame)
    rows, columns = scale.rows, scale.columns

    def length(drawing: dict[str, Any]) -> str:
        (left, top), (right, bottom) = drawing["points"]
        return f"{np.hypot((right - left) * columns, (bottom - top) * rows):.1f} mm"

    # Each tool once. The angle's second arm comes with another press.
    page.focus("#viewer canvas")
    page.keyboard.press("d")
    page.wait_for_selector("#viewer .viewer-measure-bar:visible")
    drag(page, (0.3, 0.3), (0.5, 0.4))
    page.keyboard.press("g")
    drag(page, (0.7, 0.3), (0.6, 0.5))
    page.mouse.click(*at(page, (0.75, 0.55)))
    page.keyboard.press("t")
    drag(page, (0.35, 0.6), (0.45, 0.7))
    page.keyboard.press("e")
    drag(page, (0.55, 0.65), (0.65, 0.75))
    ruler, angle, rectangle, ellipse = texts(page, 4)
    drawn = drawings(page)
    assert set(drawn) == {"ruler", "angle", "rectangle", "ellipse"}
    assert all(one["slice"] == frame and one["frame"] == 0 for one in drawn.values())
    assert ruler == f"Ruler, slice {frame + 1}: {length(drawn['ruler'])}"
    assert angle.endswith("°") and "mm²" in rectangle and "(stored)" in ellipse
    (left, top), (right, bottom) = drawn["rectangle"]["points"]
    values = stack.stored("acquired", frame)
    across, down = np.arange(values.shape[1]) + 0.5, np.arange(values.shape[0]) + 0.5
    inside = values[(down >= top) & (down < bottom)][:, (across >= left) & (across < right)]
    assert f"mean {inside.mean():.1f} (stored)" in rectangle
    assert page.locator(f"{STAGE} .drawing text").first.text_content() == length(drawn["ruler"])

    # A handle is dragged: the length follows, and undo brings back what was there.
    page.keyboard.press("d")
    drag(page, (0.5, 0.4), (0.6, 0.3))
    longer = texts(page, 4)[0]
    assert longer == f"Ruler, slice {frame + 1}: {length(drawings(page)['ruler'])}"
    assert longer != ruler
    page.keyboard.press("Control+z")
    page.wait_for_selector(f"{ENTRY}:has-text('{ruler}')")
    assert drawings(page) == drawn
    page.keyboard.press("Control+y")
    page.wait_for_selector(f"{ENTRY}:has-text('{longer}')")
    page.keyboard.press("Control+z")

    # Another slice has none of them; back on this one they are drawn again.
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowUp" if frame else "ArrowDown")
    there = frame - 1 if frame else 1
    page.wait_for_selector(f"{STAGE}[data-frame='{there}']")
    page.wait_for_function("!document.querySelector('#viewer .drawing')")
    # By keys alone: placed, its end moved, removed and brought back.
    page.keyboard.press("Enter")
    texts(page, 5)
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    own = [one for one in page.evaluate("RarlViewer.report()")["scans"][0]["drawings"]
           if one["slice"] == there]  # fmt: skip
    (moved,) = own
    assert moved["points"][0][0] == round(0.375 * values.shape[1] + 10, 2)
    page.wait_for_selector(f"{ENTRY}:has-text('{length(moved)}')")
    page.keyboard.press("Delete")
    texts(page, 4)
    page.keyboard.press("Control+z")
    texts(page, 5)
    page.keyboard.press("Delete")
    texts(page, 4)
    page.click(f"{ENTRY}:has-text('{ruler}') [data-do=choose-drawing]")
    page.wait_for_selector(f"{STAGE}[data-frame='{frame}']")
    page.wait_for_selector("#viewer .drawing.held")
    assert page.evaluate("document.activeElement.dataset.do") == "choose-drawing"
    assert page.locator("#viewer .drawing").count() == 4

    # One goes into the question: its words, and its place as the region.
    page.fill("#question textarea", "Is this large?")
    page.focus("#viewer canvas")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowUp" if frame else "ArrowDown")
    page.wait_for_selector(f"{STAGE}[data-frame='{there}']")
    page.click(f"{ENTRY}:has-text('{ruler}') .ask")
    words = f"Measured in the region (ruler): length {length(drawn['ruler'])}."
    page.wait_for_function(
        "(text) => document.querySelector('#question textarea').value === text",
        arg=f"Is this large? {words}",
    )
    page.wait_for_selector(f"{STAGE}[data-frame='{frame}']")
    page.wait_for_selector("#viewer .viewer-boxes .region")
    (scan,) = page.evaluate("RarlViewer.report()")["scans"]
    (left, top), (right, bottom) = drawn["ruler"]["points"]
    box = scan["region"]
    assert box[0] <= left and box[1] <= top and box[2] >= right and box[3] >= bottom
    page.wait_for_selector(".pill.ready")
    page.click("#arms input")
    page.click("[role=option]:has-text('RARL alone')")
    page.press("#question textarea", "Enter")
    page.click("#after [data-event=behind]:enabled")
    page.wait_for_selector("#seen pre")
    assert words in page.inner_text("#seen") and "The region spans" in page.inner_text("#seen")
    page.keyboard.press("Escape")

    # All of it outlives a reload.
    page.reload()
    assert texts(page, 4)[0] == ruler
    assert drawings(page) == drawn


def test_a_finger_draws_and_two_fingers_draw_nothing(address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(with_key(address))
    page.wait_for_function("window.RarlPage")
    page.set_input_files("#viewer .viewer-folder", str(SERIES))
    page.wait_for_selector(f"{STAGE}[data-frame]")
    page.tap("#viewer [data-do=measure]")
    page.wait_for_selector("#viewer .viewer-measure-bar:visible")
    page.locator(STAGE).scroll_into_view_if_needed()
    touch = context.new_cdp_session(page)

    def points(*fingers: tuple[float, float]) -> list[dict[str, float]]:
        return [dict(zip("xy", at(page, finger), strict=True)) for finger in fingers]

    def send(kind: str, *fingers: tuple[float, float]) -> None:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points(*fingers)})

    send("touchStart", (0.3, 0.5))
    send("touchMove", (0.4, 0.5))
    send("touchMove", (0.6, 0.6))
    send("touchEnd")
    assert "mm" in texts(page, 1)[0]
    send("touchStart", (0.2, 0.2))
    send("touchMove", (0.3, 0.3))
    send("touchStart", (0.3, 0.3), (0.7, 0.7))
    send("touchMove", (0.35, 0.35), (0.65, 0.65))
    send("touchEnd")
    assert len(texts(page, 1)) == 1
    context.close()
