"""The Ask page in a real browser: history, doubt, blind reading, keys, and accessibility."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accessibility import faults

from rarl.facts.sources import SHIPPED, read_facts

pytestmark = pytest.mark.browser

SHOWN = "#viewer .viewer-stage[data-frame]"
# Where columns and feet stand, at every repaint while answers stream.
WATCH = """() => {
  const watched = ["#board .arm", "#board .arm > footer", "#board .why", "#after"].join();
  const place = (part) => Math.round(part.getBoundingClientRect().y);
  window.places = new Set();
  const look = () => {
    if (document.querySelector(".columns[data-running]")) {
      window.places.add([...document.querySelectorAll(watched)].map(place).join());
    }
    requestAnimationFrame(look);
  };
  look();
}"""


def answered(page: Any, arms: int = 3) -> None:
    page.wait_for_function(
        """(arms) => !document.querySelector(".columns[data-running]")
          && document.querySelectorAll("#board .flag").length === arms
          && !document.querySelector("#after :disabled")""",
        arg=arms,
    )


def ask(page: Any, question: str) -> None:
    page.fill("#question textarea", question)
    page.press("#question textarea", "Enter")
    page.wait_for_function(
        "(typed) => document.querySelector('#history [aria-current] span')?.textContent === typed",
        arg=question,
    )
    answered(page)


def opened(page: Any, key: str = "phantom-chest") -> None:
    page.click(f"[data-key={key}] >> nth=0")
    page.wait_for_selector(SHOWN)
    page.wait_for_function("document.querySelector('#question textarea').value.length > 3")


def test_history_doubt_and_what_is_behind(
    address: str, open_page: Callable[..., Any], model: str | None
) -> None:
    page = open_page(address)
    opened(page)
    page.evaluate(WATCH)
    ask(page, "Is there a nodule?")
    # Nothing moved while the text grew.
    assert page.evaluate("window.places.size") <= 1
    page.click("#viewer [data-do=invert]")
    ask(page, "Is the heart enlarged?")
    assert page.inner_text("#history summary") == "Asked 2"
    page.click("#history summary")
    assert "earlier ones are not sent along" in page.inner_text("#history")
    page.click("#history li button >> nth=1")
    page.wait_for_function("document.querySelector('#question textarea').value.includes('nodule')")
    page.wait_for_selector("#history details:not([open])")
    # The scan stands again as it did.
    assert page.evaluate("RarlViewer.report().scans[0].invert") is False

    # Every drawer opens by its key, says its part, and gives the focus back.
    page.click("#board h3 >> nth=0")
    for key, event, holds in (
        ("c", "reliance", ".finding"),
        ("v", "again", ".shares >> nth=2"),
        ("m", "look", "figure >> nth=2"),
    ):
        page.keyboard.press(key)
        page.wait_for_selector(f"#seen {holds}")
        page.wait_for_selector("#seen .working", state="detached")
        assert ("Other windows" in page.inner_text("#seen")) is (event == "again")
        page.keyboard.press("Escape")
        page.wait_for_selector("#seen .drawer", state="detached")
        focused = page.evaluate("document.activeElement.dataset.event")
        assert focused == event
    # A drawer that is closed while it is still being filled stays closed.
    page.keyboard.press("v")
    page.wait_for_selector("#seen .drawer")
    page.keyboard.press("Escape")
    page.wait_for_selector("#seen .drawer", state="detached")
    page.keyboard.press("b")
    page.wait_for_selector("#seen pre")
    page.wait_for_timeout(2000)
    behind = page.inner_text("#seen")
    assert "Is there a nodule?" in behind and "image tokens" in behind
    facts = json.loads(page.text_content("#seen .facts-json"))
    assert [arm["name"] for arm in facts["arms"]] == ["sft", "rl", "rarl"]
    number = page.get_attribute("#seen [data-copy=link]", "data-number")
    page.keyboard.press("Escape")
    page.wait_for_selector("#seen .drawer", state="detached")

    # One arm alone, and back; the link brings the other case back.
    page.click(".alone[data-arm=rl]")
    answered(page, 1)
    page.click(".alone[data-arm=rl]")
    answered(page)
    page.click("#history summary")
    page.click("#history li button >> nth=0")
    page.wait_for_function("document.querySelector('#question textarea').value.includes('heart')")
    page.evaluate("(number) => { location.hash = `#case-${number}`; }", number)
    page.wait_for_function("document.querySelector('#question textarea').value.includes('nodule')")

    # The case as one page.
    page.click("#after [data-event=sheet]")
    with page.expect_download() as download:
        page.click("#seen a[download]")
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF")
    page.keyboard.press("Escape")
    page.wait_for_selector("#seen .drawer", state="detached")

    # What the variants are for and measured at, one click from their answers.
    page.click("#after [data-event=facts]")
    page.wait_for_selector("#seen .facts-label")
    facts = page.inner_text("#seen")
    assert "Accuracy on x-ray, yes/no or choice questions" in facts
    assert "Any use in the care of a patient" in facts
    # As far as the shipped evaluation measured these very weights.
    known = read_facts(model or "pocket", "reason", [SHIPPED])
    measured = [one.about("x-ray", "closed") for one in known if one.variant != "base"]
    assert facts.count("Not measured.") == 3 - sum(bool(lines) for lines in measured)
    for line in (line for lines in measured for line in lines):
        assert f"n {line.n}, {line.images} images" in facts
    assert faults(page) == "[]"
    with page.expect_download() as download:
        page.click("#seen a[download$='sft.xml']")
    assert b"AppliedModelCard" in Path(download.value.path()).read_bytes()


def test_blind_reading_asks_the_reader_first(address: str, open_page: Callable[..., Any]) -> None:
    page = open_page(address)
    opened(page)
    page.check("#blind input")
    page.click("#ask")
    page.wait_for_selector("#own-answer")  # and at once, while the answers are still coming
    board = page.inner_html("#board")
    assert not any(name in board for name in ("SFT", "RARL", 'data-arm="rl"'))
    assert not page.locator("#board li:visible").count()
    page.click("#reveal")
    page.wait_for_selector("#note .trouble")
    page.fill("#own-answer :is(input, textarea)", "no")
    page.press("#own-answer :is(input, textarea)", "Enter")
    page.wait_for_selector("#vote-choice")
    page.wait_for_selector("#board .answer:visible")
    assert not any(name in page.inner_html("#board") for name in ("SFT", "RARL"))
    page.wait_for_function("!document.querySelector('.columns[data-running]')")
    page.click("#vote-choice label:has-text('A tie')")
    page.click("#vote")
    page.wait_for_selector("#note .done:has-text('Your vote is saved')")
    answered(page)
    assert sorted(page.locator("#board .arm h3").all_inner_texts()) == ["RARL", "RL", "SFT"]


def test_by_keyboard_alone_and_round_the_tour(address: str, open_page: Callable[..., Any]) -> None:
    page = open_page(address)
    page.click("#notice [data-page=tour]")
    assert page.is_visible("#notice")  # a tour is no acknowledgement
    page.click(".tour [data-key=phantom-chest]")
    page.wait_for_selector(SHOWN)
    for _ in range(4):
        page.keyboard.press("Tab")
        page.focus("[data-page=tour-next]")
        page.keyboard.press("Enter")
    page.wait_for_selector(".tour", state="hidden")
    # From the question, which has the focus now, to a flag.
    page.wait_for_function("document.activeElement.closest('#question') !== null")
    page.keyboard.press("Enter")
    answered(page)
    page.focus("#board .flag >> nth=0")
    page.keyboard.press("?")
    page.wait_for_selector(".sheet:visible")
    page.keyboard.press("Escape")
    page.wait_for_selector(".sheet", state="hidden")
    page.keyboard.press("f")
    page.wait_for_selector("#flag-panel")
    page.wait_for_function("document.activeElement.closest('#flag-panel') !== null")
    page.keyboard.press("Escape")
    page.wait_for_selector("#flag-panel", state="hidden")


def test_an_app_that_is_gone_is_said_and_nothing_is_lost(
    address: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(address)
    opened(page)
    page.fill("#question textarea", "Is there a fracture?")
    page.context.set_offline(True)
    page.wait_for_selector("#out-of-reach:has-text('cannot be reached')")
    assert page.input_value("#question textarea") == "Is there a fracture?"
    page.context.set_offline(False)
    page.wait_for_selector("#out-of-reach", state="detached")


@pytest.mark.parametrize("colours", ["dark", "light"])
def test_no_serious_violation_of_accessibility(
    address: str, open_page: Callable[..., Any], colours: str
) -> None:
    page = open_page(address)
    if colours == "light":
        page.click("[data-page=theme]")
        page.wait_for_function("!document.body.classList.contains('dark')")
    found = {"empty": faults(page)}
    opened(page)
    page.click("#ask")
    answered(page)
    found["answers"] = faults(page)
    page.click("#after [data-event=behind]")
    page.wait_for_selector("#seen pre")
    found["drawer"] = faults(page)
    page.keyboard.press("Escape")
    page.click("#board .flag >> nth=0")
    page.wait_for_selector("#flag-panel")
    found["flag"] = faults(page)
    page.keyboard.press("Escape")
    page.wait_for_selector("#flag-panel", state="hidden")
    for tab, shown in (("Results", "#votes h2"), ("Review", "#review-tabs")):
        page.click(f"#pages > .tab-wrapper [role=tab]:has-text('{tab}')")
        page.wait_for_selector(shown)
        found[tab] = faults(page)
    assert set(found.values()) == {"[]"}, "\n".join(
        f"{where}: {violations}" for where, violations in found.items() if violations != "[]"
    )


def test_a_question_with_options(address: str, open_page: Callable[..., Any]) -> None:
    page = open_page(address)
    opened(page)
    assert not page.is_visible("#options")
    page.check("#has-options input")
    page.fill("#options textarea", "A. chest\nB. knee")
    ask(page, "Which organ is shown?")
    listed = page.locator("#board .options li").all_inner_texts()
    assert listed == ["A. chest", "B. knee"]
    heads = page.locator("#board .said .eyebrow").all_inner_texts()
    assert len(heads) == 3 and all("option" in head for head in heads)
    assert faults(page) == "[]"
    # Another question without options, and back: they come with the question that had them.
    page.uncheck("#has-options input")
    page.wait_for_selector("#options", state="hidden")
    ask(page, "Is there a nodule?")
    assert page.locator("#board .options").count() == 0
    page.click("#history summary")
    page.click("#history li button >> nth=1")
    page.wait_for_selector("#options textarea")
    assert page.input_value("#options textarea") == "chest\nknee"
    assert page.is_checked("#has-options input")
    page.wait_for_selector("#board .options li")
    # One option is none, and the page says so.
    page.fill("#options textarea", "chest")
    page.press("#question textarea", "Enter")
    page.wait_for_selector("#board .verdict.trouble:has-text('2 to 10 options, not 1')")
