"""Review in the real app: a reader's evening, and every address tried without the right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import httpx
import pytest
from accessibility import faults
from app_process import served, with_key
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.response import parse_response
from rarl.review import Judgement, Queue, Region, ReviewStore, case_from, open_store
from rarl.review.studies import Studies

pytestmark = pytest.mark.browser

SECRET = "zebrafish"
ARMS = tuple(Arm(name, name.upper(), f"{number:012x}") for number, name in enumerate(("sft", "rl")))
STEP = "There is a rounded density."
TEXTS = {
    "sft": "<think>The lungs are clear.</think><answer>no</answer>",
    "rl": f"<think>{STEP} It is large.</think><answer>yes</answer>",
}


@dataclass(frozen=True)
class Site:
    """The app with its own sign-in, and the store behind it."""

    address: str
    file: Path
    store: ReviewStore
    study: str
    audit: str


def fill(store: ReviewStore) -> tuple[str, str]:
    """Three cases that chance kept, two of them flagged; an audit and a study."""
    for number in range(3):
        question = Question(
            (NamedImage(Image.new("L", (64, 48), 40 * number + 30)),),
            f"Is there a {SECRET} number {number}?",
            ("sft", "rl"),
            decoding=Decoding(),
        )
        answers = [
            Answer(arm, parse_response(text), 12, 1.0, done=True) for arm, text in TEXTS.items()
        ]
        case = case_from(
            question, answers, arms=ARMS, model="pocket", prompt_hash="f" * 64, sampled=True
        )
        store.add_case(case)
        if number < 2:
            store.add_flag(
                case.id, "rl", "false-finding", "major", f"no {SECRET} here", "cy",
                sentence=STEP, region=Region(0, (8, 8, 30, 30)), corrected_answer="no",
            )  # fmt: skip
    studies = Studies(store.for_person("di", "adjudicator"))
    audit = studies.draw_audit("November", 2, ["bo", "cy"], seed=1)
    study = studies.draw_study("Help or harm", ["bo"], seed=1, arms=["rl"])
    return study.id, audit.id


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("review") / "home"
    model = request.getfixturevalue("model")
    store = open_store(home)
    study, audit = fill(store)
    (home / "people.yaml").write_text(
        "people: {ada: admin, bo: reader, cy: reader, di: adjudicator}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RARL_SIGN_IN", "header:X-User")
        with served(home, model) as (address, _):
            yield Site(address, home / "review.sqlite3", store, study, audit)
    store.close()


def open_as(browser: Any, site: Site, name: str) -> Any:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, extra_http_headers={"X-User": name}
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(with_key(site.address))
    page.wait_for_selector("#viewer .viewer-stage")
    page.wait_for_function("window.RarlPage")
    page.evaluate("document.querySelector('#tour')?.remove()")
    page.click("#pages > .tab-wrapper [role=tab]:has-text('Review')")
    return page


def test_a_verdict_waits_for_the_modules_of_the_page(site: Site, browser: Any) -> None:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, extra_http_headers={"X-User": "cy"}
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    held: list[Any] = []
    errors: list[Any] = []
    arrived = Event()
    page.on("pageerror", lambda error: errors.append(error))
    # A slow network: the modules are still on their way.
    page.route(
        "**/modules/**",
        lambda route: route.continue_() if arrived.is_set() else held.append(route),
    )
    page.goto(with_key(site.address), wait_until="domcontentloaded")
    page.click("#pages > .tab-wrapper [role=tab]:has-text('Review')")
    page.click("#flag-list [data-flag] >> nth=0")
    page.wait_for_selector("#case img")
    page.click("#verdict-save")
    assert held and not page.evaluate("'RarlReview' in window")
    arrived.set()
    for route in held:
        route.continue_()
    page.wait_for_selector("#queue-trouble .trouble")  # nothing has been chosen yet
    assert errors == []
    context.close()


def test_a_reader_judges_by_keyboard_and_an_adjudicator_settles(site: Site, browser: Any) -> None:
    page = open_as(browser, site, "bo")
    page.wait_for_selector("#flag-list [data-flag]")
    assert page.locator("#flag-list [data-flag]").count() == 2
    assert page.locator("#review-tabs [role=tab]:has-text('Data'):visible").count() == 0

    page.keyboard.press("n")
    page.wait_for_selector("#case img")
    shown = page.inner_text("#case")
    assert SECRET in shown and page.inner_text("#case mark") == STEP
    page.keyboard.press("1")
    page.keyboard.press("Shift+Digit2")
    page.keyboard.press("a")
    page.keyboard.press("c")
    page.keyboard.type("Seen on 3 March 2021.")  # the letters are words here, not commands
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#queue-trouble .doubt")
    assert "looks like a date" in page.inner_text("#queue-trouble")
    page.fill("#verdict-comment textarea", "Not there.")
    page.click("#verdict-save")
    page.wait_for_selector(f"#case h2:has-text('{SECRET} number 1')")
    first = Queue(site.store).items()[0]
    assert first.status == "one-reader"
    (stored,) = Queue(site.store.for_person("bo", "reader")).verdicts(first.case_id, "rl")
    assert (stored.judgement.correctness, stored.judgement.explanation) == (1, 2)
    assert stored.judgement.agrees and stored.judgement.comment == "Not there."
    assert stored.judgement.seconds is not None

    # The second reader sees that there is a reading, and not which.
    cy = Queue(site.store.for_person("cy", "reader"))
    cy.judge(first.case_id, "rl", Judgement(3, 2))
    settler = open_as(browser, site, "di")
    settler.click("#flag-list [data-flag] >> nth=0")
    settler.wait_for_selector("#verdict-title:has-text('Adjudicate')")
    assert "Not there." in settler.inner_text("#verdict-state")
    settler.click("#flag-list [data-flag] >> nth=1")
    settler.wait_for_selector("#verdict-title:has-text('Your verdict')")
    settler.keyboard.press("k")
    settler.wait_for_selector("#verdict-title:has-text('Adjudicate')")
    settler.keyboard.press("0")
    settler.keyboard.press("Shift+Digit0")
    settler.click("#verdict-right > button")
    settler.fill("#verdict-answer textarea", "no")
    settler.keyboard.press("Control+Enter")
    settler.wait_for_selector("#flag-list .status-adjudicated")
    (settled,) = Queue(site.store).settled()
    assert settled.adjudicated and settled.corrected_answer == "no"

    # A cell of the chart leads to its cases.
    settler.click("#review-tabs [role=tab]:has-text('Charts')")
    settler.click(".matrix button")
    settler.wait_for_selector("#flag-list [data-flag]")
    settler.wait_for_selector("#list-total:has-text('RL, Finding that is not there')")
    settler.click("#list-total [data-event=clear]")
    settler.wait_for_selector("#list-total:not(:has(.narrowed))")


def test_a_reader_takes_part_in_a_study(site: Site, browser: Any) -> None:
    page = open_as(browser, site, "bo")
    page.click("#review-tabs [role=tab]:has-text('Studies')")
    page.click("[data-event=take]")
    for number in (1, 2, 3):
        page.wait_for_selector(f"#task-where:has-text('Case {number} of 3')")
        assert "RL" not in page.inner_text("#task")
        page.fill("#task-answer textarea", f"answer {number}")
        page.click("#task-send")
    page.wait_for_selector("#study-trouble .done")
    found = Studies(site.store).responses(site.study)
    assert sorted(response.answer for _, response in found) == ["answer 1", "answer 2", "answer 3"]
    assert page.locator("[data-event=show]").count() == 0  # what it shows is for who runs it
    runs = open_as(browser, site, "ada")
    runs.click("#review-tabs [role=tab]:has-text('Studies')")
    runs.click("[data-event=show]")
    runs.wait_for_selector("#study-outcomes tr:has-text('As the AI') td >> nth=2")
    # An audit is judged in the queue, without the names of the arms.
    page.click("[data-event=judge]")
    page.wait_for_selector("#flag-list .row:not([data-flag])")
    page.click("#flag-list .row >> nth=0")
    page.wait_for_selector("#case img")
    assert "the answer" in page.inner_text("#case .said-by h3").lower()


def test_an_admin_exports_and_deletes(site: Site, browser: Any, tmp_path: Path) -> None:
    page = open_as(browser, site, "ada")
    page.click("#review-tabs [role=tab]:has-text('Data')")
    page.click("#export-form label:has-text('JSONL')")
    with page.expect_download() as download:
        page.click("#export-go")
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert sum(row["table"] == "cases" for row in rows) == 3
    used = httpx.get(download.value.url, headers={"X-User": "ada"})
    assert used.status_code == 404  # an address works once
    saved = tmp_path / "export.jsonl"
    download.value.save_as(saved)

    page.click("#review-tabs [role=tab]:has-text('Queue')")
    page.click("#flag-list [data-flag] >> nth=1")
    page.click("#delete > button")
    page.fill("#delete-reason textarea, #delete-reason input", "request under privacy law")
    page.click("#delete-go")
    page.wait_for_selector("#queue-trouble .done")
    (gone,) = site.store.tombstones()
    assert gone.person == "ada"
    # What was deleted for good is not brought back by an import.
    page.click("#review-tabs [role=tab]:has-text('Data')")
    page.set_input_files("#import-file input", str(saved))
    page.click("#import-go:not([disabled])")
    page.wait_for_selector("#data-trouble .done:has-text('New: nothing')")


def test_a_flag_is_corrected_and_waits_while_the_store_is_gone(site: Site, browser: Any) -> None:
    page = open_as(browser, site, "bo")
    page.click("#pages > .tab-wrapper [role=tab]:has-text('Ask')")
    page.click("[data-key=phantom-chest] >> nth=0")
    page.wait_for_selector("#viewer .viewer-stage[data-frame]")
    page.fill("#question textarea", "Is there a nodule?")
    page.click("#ask")
    page.wait_for_function("document.querySelectorAll('#board .flag').length === 3")
    page.wait_for_function("!document.querySelector('.columns[data-running]')")
    page.click(".flag[data-arm=rl]")
    page.click("#flag-category label:has-text('Missed finding')")
    page.click("#flag-severity label:has-text('Could harm')")
    page.click("#flag-save")
    page.click("#note [data-event=correct]")
    page.wait_for_selector("#flag-heading:has-text('Correct your flag on RL')")
    page.wait_for_selector("#flag-category label.selected:has-text('Missed finding')")
    page.click("#flag-more > button")
    # The steps are written when the fields have come to stand: what is typed before that goes.
    page.click("#flag-step label >> nth=1")
    step = page.inner_text("#flag-step label >> nth=1")
    page.fill("#flag-answer textarea", "yes")
    away = site.file.rename(site.file.with_suffix(".away"))
    try:
        page.click("#flag-save")
        page.wait_for_selector("#note:has-text('stays in this browser')")
        page.reload()  # not the page's memory: the browser's
        page.wait_for_selector("#viewer .viewer-stage")
    finally:
        away.rename(site.file)
    page.wait_for_selector("#note:has-text('now saved')")
    flag = site.store.flags()[0]
    assert (flag.arm, flag.category, flag.severity) == ("rl", "missed-finding", "critical")
    assert (flag.reader, flag.corrected_answer, flag.sentence) == ("bo", "yes", step.strip())
    second, first = site.store.flags_of(flag.case_id, corrected=True)
    assert second.id == flag.id and second.replaces == first.key
    assert site.store.case(flag.case_id).question == "Is there a nodule?"
    assert page.evaluate("localStorage.getItem('rarl-flags').length") < 200  # gone from here

    # Later, from the queue: one's own flags alone, and the earlier ones stay.
    page.click("#pages > .tab-wrapper [role=tab]:has-text('Review')")
    page.click("#flag-list [data-flag] >> nth=0")
    page.wait_for_selector("#case .complaint:has-text('by cy')")
    assert page.locator("#case [data-event=correct]").count() == 0
    page.click(f"#flag-list [data-flag='{flag.id}']")
    page.click("#case [data-event=correct]")
    page.wait_for_selector("#correction-category label.selected:has-text('Missed finding')")
    page.fill("#correction-comment textarea", "In the right upper lung.")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#case .complaint:has-text('In the right upper lung.')")
    third = site.store.flags()[0]
    assert (third.comment, third.replaces) == ("In the right upper lung.", flag.key)
    assert (third.sentence, third.corrected_answer) == (flag.sentence, "yes")
    assert len(site.store.flags_of(flag.case_id, corrected=True)) == 3


def test_no_serious_violation_of_accessibility(site: Site, browser: Any) -> None:
    page = open_as(browser, site, "ada")
    page.set_viewport_size({"width": 390, "height": 844})
    page.click("#flag-list .row >> nth=0")
    page.wait_for_selector("#case img")
    found = {"Queue": faults(page)}
    for tab, shown in (("Charts", ".matrix"), ("Studies", ".study"), ("Data", "#records details")):
        page.click(f"#review-tabs [role=tab]:has-text('{tab}')")
        page.wait_for_selector(shown)
        found[tab] = faults(page)
    assert set(found.values()) == {"[]"}, found
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_programs_have_the_same_rights(site: Site) -> None:
    def client(name: str) -> Client:
        headers = {"X-User": name} if name else {}
        return Client(site.address, headers=headers, verbose=False)

    ada = client("ada")
    listed = ada.predict(text=SECRET, limit=1, api_name="/review_list")
    assert listed["total"] >= 1 and SECRET in listed["flags"][0]["comment"]
    case = listed["flags"][0]["case_id"]
    assert SECRET in ada.predict(case, api_name="/review_show")["case"]["question"]
    assert ada.predict(api_name="/review_stats")["flags"] >= listed["total"]
    address = ada.predict("parquet", api_name="/review_export")["address"]
    packed = httpx.get(f"{site.address}/{address}").content
    assert packed.startswith(b"PK")
    for arm, cases in (("rl", listed["total"]), ("sft", 0)):
        chosen = ada.predict("jsonl", False, arm=arm, text=SECRET, api_name="/review_export")
        rows = httpx.get(f"{site.address}/{chosen['address']}").text.splitlines()
        assert sum(json.loads(row)["table"] == "cases" for row in rows) == cases
    for name in ("", "zoe"):
        stranger = client(name)
        for endpoint, given in (
            ("/review_list", ()), ("/review_show", (case,)), ("/review_stats", ()),
            ("/review_export", ()),
        ):  # fmt: skip
            with pytest.raises(AppError, match="You may not"):
                stranger.predict(*given, api_name=endpoint)


def answers_of_every_event(site: Site, name: str) -> tuple[str, int]:
    """What the app answers when each event of its page is sent with likely values."""
    headers = {"X-User": name} if name else {}
    texts: list[str] = []
    with httpx.Client(base_url=site.address, headers=headers, timeout=60) as client:
        page = client.get("/").text
        config = client.get("/config").json()
        texts += [page, json.dumps(config)]
        values = {one["id"]: one["props"].get("value") for one in config["components"]}
        names = {one["id"]: one["props"].get("elem_id") or "" for one in config["components"]}
        data = {
            "number": "0", "study": site.study, "work": site.audit, "arm": "rl", "flag": "1",
            "category": "false-finding",
        }  # fmt: skip
        sent = 0
        mine = re.compile(
            r"flag-list|queue|filter|list-shape|verdict|assign|delete|chart|stud|draw|task|export|correction"
            r"|import|review|data"
        )
        session = uuid4().hex
        for event in config["dependencies"]:
            reached = [names.get(one, "") for one in (*event["inputs"], *event["outputs"])]
            if not event["backend_fn"] or not any(mine.match(one) for one in reached):
                continue
            inputs = [
                "jsonl" if names[one] == "export-form" else values.get(one)
                for one in event["inputs"]
            ]
            body = {
                "data": inputs, "fn_index": event["id"], "session_hash": session,
                "event_data": data, "trigger_id": event["targets"][0][0],
            }  # fmt: skip
            joined = client.post("/gradio_api/queue/join", json=body)
            texts.append(joined.text)
            if joined.status_code != 200:
                continue
            sent += 1
            with client.stream(
                "GET", "/gradio_api/queue/data", params={"session_hash": session}
            ) as stream:
                for line in stream.iter_lines():
                    texts.append(line)
                    if "close_stream" in line or "process_completed" in line:
                        break
        for link in re.findall(r"review/export/[\w-]+", "".join(texts)):
            texts.append(client.get(f"/{link}").text)
    return "\n".join(texts), sent


@pytest.mark.parametrize("name", ["", "zoe"])
def test_no_address_gives_a_case_without_the_right(
    site: Site, browser: Any, name: str, open_page: Callable[..., Any]
) -> None:
    before = [verdict.id for verdict in _verdicts(site)]
    theirs, sent = answers_of_every_event(site, "ada")
    # The very same requests by somebody who may: each kind of leak would show here.
    assert sent > 15
    for word in (SECRET, STEP, "data:image/png", "review/export/", "bo"):
        assert word in theirs, word
    texts, tried = answers_of_every_event(site, name)
    assert tried > 15
    for word in (SECRET, STEP, "review/export/", "November", "Help or harm"):
        assert word not in texts, word
    assert "You may not see the cases of others" in texts
    assert [verdict.id for verdict in _verdicts(site)] == before
    for path in (
        "/review/export/", f"/review/export/{uuid4().hex}", "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=review.sqlite3", "/gradio_api/info",
    ):  # fmt: skip
        answer = httpx.get(f"{site.address}{path}", headers={"X-User": name} if name else {})
        assert SECRET not in answer.text
        assert answer.status_code in (403, 404) or path.endswith("info")

    page = open_as(browser, site, name) if name else open_page(site.address)
    if not name:
        page.evaluate("document.querySelector('#tour')?.remove()")
        page.click("#pages > .tab-wrapper [role=tab]:has-text('Review')")
    page.wait_for_selector("#who:has-text('Review is for readers')")
    assert not page.is_visible("#review-tabs")
    assert SECRET not in page.content()


def _verdicts(site: Site) -> list[Any]:
    queue = Queue(site.store)
    return [verdict for item in queue.items() for verdict in queue.verdicts(item.case_id, item.arm)]
