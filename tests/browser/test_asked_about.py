"""Answers stand under their own question, and nothing that a reader made is lost by a click."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_ask_page import SHOWN, answered, ask, opened

pytestmark = pytest.mark.browser


def stale(page: Any) -> str:
    """The sentence above dimmed answers; "" where they are not dimmed."""
    page.wait_for_timeout(150)
    if not page.locator("#board.stale").count():
        return ""
    return str(page.inner_text("#board .stale-line span"))


def test_answers_say_what_they_answer(address: str, open_page: Callable[..., Any]) -> None:
    page = open_page(address)
    opened(page)
    ask(page, "Is there a rib fracture?")
    assert "Is there a rib fracture?" in page.inner_text("#board .asked-about h3")
    assert stale(page) == ""
    # Another question in the box: the answers below do not belong to it.
    page.fill("#question textarea", "Is the trachea midline?")
    assert "not to the one now in the box" in stale(page)
    # The flag is about the question that was answered, and says so.
    page.click("#board .flag >> nth=0")
    page.wait_for_selector("#flag-panel")
    assert "Is there a rib fracture?" in page.inner_text("#flag-heading")
    page.keyboard.press("Escape")
    page.wait_for_selector("#flag-panel", state="hidden")
    page.click("#board .stale-line button")
    page.wait_for_function("document.querySelector('#question textarea').value.includes('rib')")
    assert stale(page) == ""
    # Another view: dimmed, and one click restores it.
    page.click("#viewer [data-do=invert]")
    assert "viewer now shows something else" in stale(page)
    page.click("#board .stale-line button")
    page.wait_for_function("RarlViewer.report().scans[0].invert === false")
    assert stale(page) == ""


def test_a_question_sent_while_a_scan_is_on_its_way_is_about_that_scan(
    address: str, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    picture = tmp_path / "scan.png"
    Image.effect_noise((96, 96), 60).save(picture)
    page = open_page(address)
    waiting: list[Any] = []
    page.route("**/gradio_api/upload*", lambda route: waiting.append(route))
    page.set_input_files("#viewer input[type=file] >> nth=0", str(picture))
    box = "#question textarea"
    page.fill(box, "Which organ is shown?")
    page.press(box, "Enter")
    page.wait_for_timeout(500)  # time for an answer that must not come
    assert waiting and "Open a scan first" not in page.inner_text("#board")
    for route in waiting:
        route.continue_()
    answered(page)
    assert "Which organ is shown?" in page.inner_text("#board .asked-about h3")


def test_enter_while_an_answer_streams_is_queued(
    address: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(address)
    opened(page)
    box = "#question textarea"
    page.fill(box, "Describe the scan.")
    page.press(box, "Enter")
    page.wait_for_selector(".columns[data-running]")
    page.fill(box, "Is the heart enlarged?")
    page.press(box, "Enter")
    page.wait_for_function(
        "document.querySelector('#board .asked-about h3')?.textContent.includes('heart enlarged')"
    )
    answered(page)
    page.wait_for_selector("#history summary:has-text('Asked 2')")
    assert stale(page) == ""


def test_a_prior_and_its_removal_keep_what_was_asked(
    address: str, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    from PIL import Image

    prior = tmp_path / "prior.png"
    Image.linear_gradient("L").save(prior)
    page = open_page(address)
    opened(page)
    ask(page, "Is there a nodule?")
    page.set_input_files("#viewer .viewer-files", str(prior))
    page.wait_for_function("RarlViewer.report().scans[0].token !== null")
    page.wait_for_selector("#note [data-event=undo]")
    # Another scan: the board is empty, the question stays under Asked and brings its scan back.
    page.wait_for_selector("#board .asked-about:not([data-number])", state="attached")
    assert page.inner_text("#history summary") == "Asked 1"
    page.click("#history summary")
    page.click("#history li button")
    page.wait_for_selector("#board .asked-about[data-number]")
    page.wait_for_selector(SHOWN)
    assert stale(page) == ""
    page.evaluate("document.querySelector('#viewer [data-do=add]').click()")
    page.set_input_files("#viewer .viewer-files", str(prior))
    page.wait_for_function("RarlViewer.report().scans.length === 2")
    assert "other pictures" in stale(page)
    ask(page, "Has it changed?")
    page.click("#viewer .viewer-scans .remove >> nth=1")
    page.wait_for_function("RarlViewer.report().scans.length === 1")
    assert page.inner_text("#history summary") == "Asked 2"
    page.click("#note [data-event=undo]")
    page.wait_for_function("RarlViewer.report().scans.length === 2")
    assert stale(page) == ""


def test_an_empty_file_is_named_and_the_scan_is_not_mistaken(
    address: str, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    empty, broken = tmp_path / "empty.dcm", tmp_path / "broken.zip"
    empty.touch()
    broken.write_bytes(b"PK\x03\x04 not an archive")
    page = open_page(address)
    opened(page)
    page.set_input_files("#viewer .viewer-files", str(broken))
    page.wait_for_selector("#scan-facts .trouble")
    page.set_input_files("#viewer .viewer-files", str(empty))
    page.wait_for_selector("#scan-facts .trouble:has-text('0 bytes')")
    trouble = page.inner_text("#scan-facts .trouble")
    assert "archive" not in trouble and "the one that was open before" in trouble
    opened(page, "phantom-chest")
    page.wait_for_selector("#scan-facts .trouble", state="detached")


def test_pasting_and_dropping_elsewhere_open_no_scan(
    address: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(address)
    opened(page)
    before = page.evaluate("RarlViewer.report().scans[0].token")
    page.click("#pages > .tab-wrapper [role=tab]:has-text('Results')")
    page.wait_for_selector("#votes h2")
    page.evaluate("""async () => {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 64;
      const blob = await new Promise((done) => canvas.toBlob(done));
      const transfer = new DataTransfer();
      transfer.items.add(new File([blob], "a.png", { type: "image/png" }));
      const paste = { clipboardData: transfer, bubbles: true };
      document.dispatchEvent(new ClipboardEvent("paste", paste));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
    }""")
    page.wait_for_timeout(1500)
    assert page.evaluate("RarlViewer.report().scans[0].token") == before


def test_lists_close_behind_the_keyboard_and_a_suggestion_gives_the_focus_back(
    address: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(address)
    opened(page)
    page.focus("#mode input")
    for _ in range(3):
        page.keyboard.press("Tab")
        page.wait_for_timeout(200)
    lists = page.eval_on_selector_all(
        "#choices [role=combobox]", "(all) => all.map((one) => one.ariaExpanded)"
    )
    assert lists == ["false", "false"]
    page.click("#chips .chip >> nth=0")
    page.wait_for_function("document.activeElement.closest('#question') !== null")
    chosen = page.input_value("#question textarea")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "(typed) => document.querySelector('#history [aria-current] span')?.textContent === typed",
        arg=chosen,
    )


def test_one_finger_scrolls_and_never_changes_the_window(
    address: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(address)
    opened(page)
    fingers = page.context.new_cdp_session(page)
    fingers.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    box = page.locator("#viewer canvas").bounding_box()

    def swipe() -> None:
        for kind, offset in (("Start", 0), ("Move", 40), ("Move", 90)):
            point = {"x": box["x"] + box["width"] / 2 + offset, "y": box["y"] + 120, "id": 1}
            fingers.send(
                "Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": [point]}
            )
        fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_timeout(200)

    swipe()
    assert page.evaluate("RarlViewer.report().scans[0].window") is None
    page.click("#viewer button[data-tool=window]")
    swipe()
    assert page.evaluate("RarlViewer.report().scans[0].window") is not None


def test_back_and_forward_follow_the_tabs(address: str, open_page: Callable[..., Any]) -> None:
    page = open_page(address)
    opened(page)
    ask(page, "Is there a nodule?")
    page.click("#pages > .tab-wrapper [role=tab]:has-text('Results')")
    page.wait_for_selector("#votes h2")
    assert page.evaluate("location.hash") == "#results"
    page.go_back()
    page.wait_for_selector("#board .flag >> nth=0")
    assert page.inner_text("#history summary") == "Asked 1"
    page.go_forward()
    page.wait_for_selector("#votes h2")
    # The address opens the same page anew, and the notice that was read stays away.
    page.click("#notice [data-page=dismiss]")
    page.reload()
    page.wait_for_selector("#votes h2")
    assert not page.is_visible("#notice")
