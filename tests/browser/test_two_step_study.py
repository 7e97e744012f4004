"""A study with wrong advice on purpose, from its owner to debriefing and figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accessibility import faults
from app_process import served, with_key
from PIL import Image

from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.response import parse_response
from rarl.review import Judgement, Queue, ReviewStore, case_from, open_store
from rarl.review.studies import Studies

pytestmark = pytest.mark.browser

RL = Arm("rl", "RL", "b" * 12)
CONSENT = "Some advice is wrong on purpose."


def fill(store: ReviewStore) -> None:
    """Four cases of which two readers have settled that the variant is right."""
    for number in range(4):
        question = Question(
            (NamedImage(Image.new("L", (64, 48), 40 * number + 30)),),
            f"Is there a nodule, number {number}?",
            ("rl",),
            decoding=Decoding(),
        )
        text = "<think>There is a rounded density.</think><answer>yes</answer>"
        case = case_from(
            question, [Answer("rl", parse_response(text), 12, 1.0, done=True)], arms=(RL,),
            model="pocket", prompt_hash="f" * 64,
        )  # fmt: skip
        store.add_case(case)
        for name in ("cy", "di"):
            Queue(store.for_person(name, "reader")).judge(case.id, "rl", Judgement(3, 3))


@pytest.fixture
def site(tmp_path: Path, model: str | None) -> Iterator[tuple[str, ReviewStore]]:
    home = tmp_path / "home"
    store = open_store(home)
    fill(store)
    (home / "people.yaml").write_text("people: {ada: admin, bo: reader}\n")
    with served(home, model, RARL_SIGN_IN="header:X-User") as (address, _):
        yield address, store
    store.close()


def studies_of(browser: Any, address: str, name: str) -> Any:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, extra_http_headers={"X-User": name}
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(with_key(address))
    page.wait_for_selector("#viewer .viewer-stage")
    page.evaluate("document.querySelector('#tour')?.remove()")
    page.click("#pages > .tab-wrapper [role=tab]:has-text('Review')")
    page.click("#review-tabs [role=tab]:has-text('Studies')")
    return page


def test_a_study_from_its_owner_to_debriefing_and_figures(
    site: tuple[str, ReviewStore], browser: Any
) -> None:
    address, store = site
    owner = studies_of(browser, address, "ada")
    owner.click("#draw > button")
    owner.click("#draw-kind label:has-text('Reader study')")
    owner.fill("#draw-title textarea, #draw-title input", "Trust")
    owner.fill("#draw-readers textarea, #draw-readers input", "bo")
    for label in (
        "No AI", "AI first: answer", "AI first: answer and reasoning",
        "AI after a first read: answer",
    ):  # fmt: skip
        owner.click(f"#draw-conditions label:has(span:text-is('{label}'))")
    owner.click("#draw-arms label:has(span:text-is('RL'))")
    owner.fill("#draw-wrong input[type=number]", "50")
    owner.press("#draw-wrong input[type=number]", "Enter")
    owner.fill("#draw-consent textarea", CONSENT)
    owner.click("#draw-marks label")
    owner.click("#draw-go")
    owner.wait_for_selector("#study-trouble .done:has-text('Trust')")
    (study,) = Studies(store).all()
    assert (study.conditions, study.wrong_share) == (("read-first/answer-only",), 0.5)
    assert study.consent == CONSENT and study.marks_region

    page = studies_of(browser, address, "bo")
    page.click("[data-event=take]")
    page.wait_for_selector(f"#join-text .consent:has-text('{CONSENT}')")
    page.click("#join-experience label:has-text('In training')")
    page.click("#join-go")
    page.wait_for_selector("#join-trouble:has-text('Agree to the text')")
    page.click("#join-agrees label")
    page.click("#join-go")
    for number in (1, 2, 3, 4):
        page.wait_for_selector(f"#task-where:has-text('Case {number} of 4')")
        page.wait_for_selector("#task-where .step:has-text('First your own answer')")
        assert page.locator("#task .said-by").count() == 0
        if number == 1:
            assert faults(page) == "[]"
            box = page.locator("#task .stage img").bounding_box()
            page.keyboard.down("Shift")
            page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            page.mouse.up()
            page.keyboard.up("Shift")
            page.wait_for_selector("#task .mark")
        page.fill("#task-answer textarea", "yes")
        page.click("#task-send")
        page.wait_for_selector("#task .said-by")
        advice = page.inner_text("#task .judged-answer")
        assert page.input_value("#task-answer textarea") == "yes"
        page.fill("#task-answer textarea", advice)
        page.click("#task-send")
    page.wait_for_selector("#study-outcomes .debriefing")
    outcomes_text = page.inner_text("#study-outcomes")
    assert "Of 4 answers of the AI that you saw, 2 were wrong on purpose" in outcomes_text
    assert "You took over 2 of them" in outcomes_text
    assert page.locator("#study-outcomes tr.seeded").count() == 2
    assert faults(page) == "[]"

    readings = Studies(store).readings(study.id)
    assert [one.first and one.first.answer for one in readings] == ["yes"] * 4
    assert sum(one.wrong_on_purpose == "flip" for one in readings) == 2
    regions = [one.first.region for one in readings if one.first and one.first.region]
    assert [one.box for one in regions] == [(16, 12, 32, 24)]
    assert {one.experience for one in readings} == {"trainee"}

    owner.click("#review-tabs [role=tab]:has-text('Queue')")
    owner.click("#review-tabs [role=tab]:has-text('Studies')")
    owner.click("[data-event=show]")
    owner.wait_for_selector("#study-outcomes .reliance")
    rows = owner.inner_text("#study-outcomes .reliance")
    assert "Automation bias" in rows and "In training" in rows and "100 %" in rows

    page.click(".withdraw summary")
    page.click("[data-event=withdraw]")
    page.wait_for_selector("#study-trouble .done:has-text('withdrawn')")
    assert Studies(store).readings(study.id) == ()


def test_a_heat_map_is_drawn_where_the_condition_shows_one(
    site: tuple[str, ReviewStore], browser: Any
) -> None:
    address, store = site
    owner = Studies(store.for_person("ada", "admin"))
    study = owner.draw_study(
        "Maps", ["bo"], seed=1, arms=["rl"], size=3,
        conditions=[
            "answer-only", "answer-only+heat-map", "read-first/answer-only+heat-map",
        ],
    )  # fmt: skip
    conditions = [task.condition for task in owner.tasks(study.id)]
    assert len(set(conditions)) == 3
    page = studies_of(browser, address, "bo")
    page.wait_for_function(_READY, timeout=600_000)
    page.click("[data-event=take]")
    page.click("#join-experience label:has-text('Specialist')")
    page.click("#join-go")
    for position, condition in enumerate(conditions):
        step = "only"
        if condition.startswith("read-first/"):
            step = "final"
            page.wait_for_selector(f"#task [data-place=task-{position}-first]")
            assert page.locator("#task .heat-map").count() == 0
            page.fill("#task-answer textarea", "no")
            page.click("#task-send")
        page.wait_for_selector(f"#task [data-place=task-{position}-{step}] .said-by")
        maps = page.locator("#task img.heat-map")
        assert maps.count() == int(condition.endswith("+heat-map"))
        if condition.endswith("+heat-map"):
            assert "Where the model looked" in page.inner_text("#task")
            # The scan is grey; what the model looked at is lit in colour.
            assert maps.first.evaluate(_COLOURED)
        page.fill("#task-answer textarea", "yes")
        page.click("#task-send")
    page.wait_for_selector("#study-outcomes .debriefing")


_READY = "fetch('/healthz').then(reply => reply.json()).then(told => told.status === 'ready')"
# Whether any pixel of an image is not grey.
_COLOURED = """async image => {
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    for (let at = 0; at < pixels.length; at += 4)
        if (Math.abs(pixels[at] - pixels[at + 2]) > 20) return true;
    return false;
}"""
