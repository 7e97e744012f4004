"""The list of the queue in the real app: dense, sorted, given out in bulk, disputes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from app_process import served, with_key
from PIL import Image

from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.response import parse_response
from rarl.review import Judgement, Queue, ReviewStore, Shown, case_from, open_store

pytestmark = pytest.mark.browser

ARM = Arm("rl", "RL", "a" * 12)
TEXT = "<think>There is a density. It is round. It is large.</think><answer>a mass</answer>"
SEVERITIES = ("minor", "none", "critical", "major")
# The colour of the frame around a region, counted in a picture of the page.
FRAMED = """image => {
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let at = 0; at < data.length; at += 4)
    if (data[at] === 0x70 && data[at + 1] === 0xd6 && data[at + 2] === 0xc4) count += 1;
  return count;
}"""
IN_SIGHT = """element => {
  const box = element.getBoundingClientRect();
  const list = element.closest("#flag-list, #case").getBoundingClientRect();
  return box.top >= list.top - 1 && box.bottom <= Math.min(list.bottom, innerHeight) + 1;
}"""


def fill(store: ReviewStore) -> None:
    """Twelve flagged answers about a region each; on the sixth, two readings differ."""
    for number in range(12):
        words = "Is it new? The region spans (219,544) to (452,741)."
        question = Question(
            (NamedImage(Image.new("L", (120, 90), 90)),), words, ("rl",), decoding=Decoding()
        )
        answers = [Answer("rl", parse_response(TEXT), 12, 1.0, done=True)]
        case = case_from(
            question, answers, arms=[ARM], model="m", prompt_hash="f" * 64,
            shown=[Shown(region=(20, 30, 60, 70))],
        )  # fmt: skip
        store.add_case(case)
        severity = SEVERITIES[number % 4]
        store.add_flag(case.id, "rl", "false-finding", severity, f"comment {number}", "cy")
    disputed = Queue(store.for_person("bo", "reader")).items()[5]
    for name, score in (("bo", 0), ("cy", 3)):
        queue = Queue(store.for_person(name, "reader"))
        queue.judge(disputed.case_id, "rl", Judgement(score, score))


def test_a_list_that_an_adjudicator_works_through(
    tmp_path: Path, model: str | None, browser: Any
) -> None:
    home = tmp_path / "home"
    store = open_store(home)
    fill(store)
    (home / "people.yaml").write_text("people: {bo: reader, cy: reader, di: adjudicator}\n")
    with served(home, model, RARL_SIGN_IN="header:X-User") as (address, _):
        context = browser.new_context(
            viewport={"width": 1366, "height": 768}, extra_http_headers={"X-User": "di"}
        )
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(with_key(address))
        page.wait_for_selector("#viewer .viewer-stage")
        page.wait_for_function("window.RarlPage")
        page.evaluate("document.querySelector('#tour')?.remove()")
        # A link over all the tab stops, and one heading of the first level.
        assert page.locator("h1").all_inner_texts() == ["RARL"]
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the question"
        page.keyboard.press("Enter")
        page.wait_for_function("document.activeElement.matches('#question textarea')")
        page.click("#pages > .tab-wrapper [role=tab]:has-text('Review')")
        rows = page.locator("#flag-list .row")
        rows.nth(11).wait_for()
        assert sum(row.evaluate(IN_SIGHT) for row in rows.all()) >= 7
        assert "219" not in page.inner_text("#flag-list")
        # No category is cut off.
        kind = page.locator("#flag-list .row-kind").first
        assert kind.evaluate("words => words.scrollWidth <= words.clientWidth")
        assert "1 dispute and 11 answers wait for you" in page.inner_text("#queue-progress")

        def sort(order: str, words: str) -> None:
            page.click("#list-order input")
            page.get_by_role("option", name=order).click()
            first = page.locator("#flag-list .row-line:first-child .row")
            first.filter(has_text=words).wait_for()

        sort("Most severe first", "Could harm")
        sort("Disputes first", "readers differ")
        sort("Oldest first", "corrected")

        page.click("#more-filters > button")
        page.fill("#filter-since input, #filter-since textarea", "3 March")
        page.keyboard.press("Enter")
        sentence = page.locator("#filter-trouble").get_by_text("Write dates as 2026-11-30.")
        sentence.wait_for()
        field, sentence_box = page.locator("#filter-since").bounding_box(), sentence.bounding_box()
        assert (
            abs(sentence_box["y"] - field["y"]) < 150
            and sentence_box["x"] < field["x"] + field["width"]
        )
        page.fill("#filter-since input, #filter-since textarea", "")
        page.keyboard.press("Enter")
        sentence.wait_for(state="detached")
        page.click("#more-filters > button")

        # What only an adjudicator can do comes first, then what any reader can.
        page.click("#queue-next")
        page.wait_for_selector("#verdict-title:has-text('Adjudicate')")
        answer = page.locator("#case .judged-answer").first
        assert answer.inner_text() == "a mass" and answer.evaluate(IN_SIGHT)
        picture = page.locator("#case .stage img").first
        assert picture.evaluate(IN_SIGHT) and picture.evaluate(FRAMED) > 50
        page.keyboard.press("2")
        page.keyboard.press("Shift+Digit2")
        page.keyboard.press("s")
        page.wait_for_selector("#verdict-title:has-text('Your verdict')")
        assert len(Queue(store).settled()) == 1

        for number in (1, 3):
            page.check(f"#flag-list [data-pick='{number}']")
        page.click("#assign > button")
        page.fill("#assign-names input, #assign-names textarea", "bo")
        page.click("#assign-some")
        page.wait_for_selector("#queue-trouble:has-text('2 assignments changed')")
        given = [bool(item.assigned) for item in Queue(store).items()]
        assert [number for number, is_given in enumerate(given) if is_given] == [1, 3]

        # Several are dismissed with one reason, and one of them is restored.
        def dismissed() -> list[int]:
            statuses = [item.status for item in Queue(store).items()]
            return [number for number, status in enumerate(statuses) if status == "dismissed"]

        for number in (1, 3):  # what was ticked stays so
            page.uncheck(f"#flag-list [data-pick='{number}']")
        for number in (7, 8):
            page.check(f"#flag-list [data-pick='{number}']")
        page.wait_for_function("RarlReview.ticked() === '7,8'")
        page.click("#dismiss > button")
        page.fill("#dismiss-reason input, #dismiss-reason textarea", "The same slip of the mouse")
        page.click("#dismiss-some")
        page.wait_for_selector("#queue-trouble:has-text('Flags of 2 answers dismissed.')")
        assert dismissed() == [7, 8] and store.count() == 10
        page.click("#flag-list [data-number='7']")
        page.wait_for_selector("#case .dismissal:has-text('by di'):has-text('The same slip')")
        page.wait_for_selector("#verdict-state:has-text('dismissed')")
        page.click("#restore-one")
        page.wait_for_selector("#queue-trouble:has-text('Flags of 1 answer restored.')")
        assert dismissed() == [8] and store.count() == 11
        context.close()
    store.close()
