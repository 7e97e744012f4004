"""The whole way through the app in a real browser: open, ask, flag, restart, find, export."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from app_process import SAMPLES, missing, served

pytestmark = pytest.mark.browser

CHEST = SAMPLES / "RG1_J2KI.dcm"
SHOWN = "#viewer .viewer-stage[data-frame]"
QUESTION = "Is there a pneumothorax?"
COMMENT = 'The left apex is cut off; "no" is too sure. <script>alert(1)</script>'


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
        page.click("#notice [data-page=dismiss]")
        page.wait_for_selector("#notice", state="hidden")

        page.set_input_files("#viewer .viewer-files", str(CHEST))
        page.wait_for_selector(SHOWN)
        assert "CR" in page.inner_text("#scan-facts") and "Chest" in page.inner_text("#scan-facts")
        page.fill("#question textarea", QUESTION)
        page.press("#question textarea", "Enter")
        answered(page)
        assert [page.inner_text(f"[data-arm={arm}] h3") for arm in ("sft", "rl", "rarl")] == [
            "SFT", "RL", "RARL",
        ]  # fmt: skip
        # Everything that matters stands on one screen, without scrolling.
        for selector in ("#viewer canvas", "#ask", "#board .arm-rarl .flag", "#footer"):
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
        page.click("#pages > .tab-wrapper [role=tab]:has-text('Review')")
        page.click("#flag-list [data-flag]")
        page.wait_for_selector("#case img")
        case = page.inner_text("#case")
        assert QUESTION in case and COMMENT in case
        assert page.locator("#case article").count() == 3
        page.fill("#filter-text :is(input, textarea)", "no such words")
        page.wait_for_selector("#flag-list .nothing")
        page.fill("#filter-text :is(input, textarea)", "left apex")
        page.wait_for_selector("#flag-list [data-flag]")

        page.click("#review-tabs [role=tab]:has-text('Data')")
        page.click("#export-form label:has-text('JSONL')")
        with page.expect_download() as download:
            page.click("#export-go")
        rows: dict[str, list[dict[str, object]]] = {}
        for line in Path(download.value.path()).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows.setdefault(row["table"], []).append(row)
        (flagged,), (asked,), (picture,) = rows["flags"], rows["cases"], rows["pictures"]
        assert flagged["arm"] == "rarl" and flagged["comment"] == COMMENT
        assert asked["question"] == QUESTION and picture["png"]
        assert picture["shown"]["plane"] == "acquired"


def test_wrong_inputs_say_so_and_the_page_goes_on(
    tmp_path: Path,
    address: str,
    open_page: Callable,  # type: ignore[type-arg]
) -> None:
    text = tmp_path / "letter.dcm"
    text.write_text("Dear colleague, thank you for seeing this patient.\n" * 20)
    page = open_page(address)
    page.click("#ask")
    page.wait_for_selector("#board .trouble")
    assert "Open a scan" in page.inner_text("#board .trouble")

    page.set_input_files("#viewer .viewer-files", str(text))
    page.wait_for_selector("#scan-facts .trouble")
    assert "text file" in page.inner_text("#scan-facts")

    page.click("[data-key=phantom-chest]")
    page.wait_for_selector(SHOWN)
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
    page.wait_for_selector("#viewer .viewer-stage")
    page.wait_for_function("!document.body.classList.contains('dark')")

    # On a phone nothing sticks out to the side.
    page.set_viewport_size({"width": 390, "height": 844})
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390


STOP_OR_ENDED = """() => {
  const button = document.querySelector("#stop");
  if (button?.offsetParent) { button.click(); return true; }
  return !document.querySelector(".columns[data-running]")
    && document.querySelectorAll("#board .flag").length > 0;
}"""


def test_stop_keeps_what_came(address: str, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page(address)
    page.click("[data-key=phantom-chest]")
    page.wait_for_selector(SHOWN)
    page.click("#ask")
    # Looked for in every frame, since a quick model ends within some.
    page.wait_for_function(STOP_OR_ENDED)
    page.wait_for_function("!document.querySelector('.columns[data-running]')")
    board = page.inner_text("#board")
    assert re.search("[Ss]topped|same answer|differ", board), board
    page.click("#ask")
    answered(page)
