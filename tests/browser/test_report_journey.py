"""The report page in a real browser: from an answer to a signed report, and two people at one."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from accessibility import faults
from app_process import SAMPLES, missing, served, with_key
from PIL import Image
from test_measuring_journey import drag

from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.records import MeasuredValue, Measurement
from rarl.reports import Reports
from rarl.response import parse_response
from rarl.review import ReviewStore, case_from, open_store

pytestmark = pytest.mark.browser

CHEST = SAMPLES / "RG1_J2KI.dcm"
ARMS = (Arm("sft", "SFT", "a" * 12), Arm("rarl", "RARL", "b" * 12))
TEXT = (
    "<think>The heart is enlarged. There is no pleural effusion. The view is rotated.</think>"
    "<answer>no</answer>"
)
RULER = Measurement(
    kind="ruler",
    points=((10, 10), (40, 10)),
    values=(MeasuredValue(quantity="length", value=12.3, unit="mm"),),
    at="detector",
)
AREA = Measurement(
    kind="ellipse",
    points=((1, 2), (9, 8)),
    values=(MeasuredValue(quantity="area", value=37.7, unit="px2"),),
    label="Density",
)
UNDECIDED = "#report-text li[data-state=proposed]"


@dataclass(frozen=True)
class Site:
    """The app with its own sign-in, and the store behind it."""

    address: str
    store: ReviewStore


def add_case(store: ReviewStore) -> str:
    """A chest radiograph with two answers, one of them flagged, and two measurements."""
    picture = NamedImage(Image.radial_gradient("L").resize((64, 48)))
    question = Question((picture,), "Is there an effusion?", ("sft", "rarl"), decoding=Decoding())
    answers = [Answer(arm.name, parse_response(TEXT), 12, 1.0, done=True) for arm in ARMS]
    case = case_from(
        question, answers, arms=ARMS, model="pocket", prompt_hash="f" * 64,
        measurements=(RULER, AREA),
    )  # fmt: skip
    known = {"BodyPartExamined": "CHEST", "ViewPosition": "PA"}
    case = case.model_copy(update={"modality": "DX", "attributes": known})
    store.add_case(case)
    store.add_flag(case.id, "rarl", "false-finding", "major", "not there", "cy")
    return case.id


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("reports") / "home"
    model = request.getfixturevalue("model")
    store = open_store(home)
    (home / "people.yaml").write_text("people: {ada: reader, bo: reader, eve: visitor}\n")
    with served(home, model, RARL_SIGN_IN="header:X-User") as (address, _):
        yield Site(address, store)
    store.close()


def page_of(browser: Any, site: Site, name: str, address: str = "") -> Any:
    context = browser.new_context(
        viewport={"width": 1366, "height": 768}, extra_http_headers={"X-User": name}
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(site.address + address)
    page.wait_for_function("window.RarlReport")
    page.evaluate("document.querySelector('#tour')?.remove()")
    return page


def settled(page: Any) -> None:
    """Wait until everything that was typed and pressed is stored."""
    page.wait_for_function("window.RarlReport.isSettled()")


def texts(page: Any) -> list[str]:
    fields: list[str] = page.eval_on_selector_all(
        "#report-text textarea[data-key]", "(fields) => fields.map((field) => field.value)"
    )
    return fields


def test_from_an_answer_to_a_signed_report(tmp_path: Path, model: str | None, browser: Any) -> None:
    if not CHEST.exists():
        missing(f"{CHEST.name} is not in RARL_DATA.")
    home = tmp_path / "home"
    with served(home, model) as (address, _):
        page = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
        page.set_default_timeout(60_000)
        page.goto(with_key(address))
        page.wait_for_selector("#viewer .viewer-stage")
        page.wait_for_function("window.RarlReport")
        page.evaluate("document.querySelector('#tour')?.remove()")
        page.set_input_files("#viewer .viewer-files", str(CHEST))
        page.wait_for_selector("#viewer .viewer-stage[data-frame]")
        # Measured before it is asked about, the length belongs to the case.
        page.click("#viewer [data-do=measure]")
        drag(page, (0.4, 0.5), (0.6, 0.5))
        page.wait_for_selector("#viewer .viewer-measures .ask")
        page.fill("#question textarea", "Is there a pneumothorax?")
        page.press("#question textarea", "Enter")
        page.wait_for_selector("#board .write[data-arm=rarl]")
        page.wait_for_selector("#after [data-event=sheet]:enabled")
        page.click("#board .write[data-arm=rarl]")
        page.wait_for_selector("#report-text .report")
        assert "#report/" in page.url
        report = page.url.rpartition("/")[2]
        assert page.inner_text("#report-text h2") == "Chest radiograph"
        # The scan is in sight beside the text, and what AI wrote is marked.
        page.wait_for_selector("#report-scan img")
        assert page.inner_text("#report-scan .report-question").endswith("pneumothorax?")
        before = page.locator(UNDECIDED).count()
        assert before >= 2
        assert "Written by AI, undecided" in page.inner_text("#report-text")
        assert page.is_disabled("#report-text .report-foot .strong")
        assert f"{before} sentences are undecided" in page.inner_text("#report-why-not")

        page.click("#report-text [data-do=next]")
        page.wait_for_function("document.activeElement.dataset.do === 'keep'")
        # By keyboard: the first is edited, the second kept, and every change is stored at once.
        first, second = (page.locator(UNDECIDED).nth(place) for place in (0, 1))
        keys = [one.get_attribute("data-key") for one in (first, second)]
        first.locator("textarea").fill("One frontal view.")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(f"#report-text li[data-key='{keys[0]}'][data-state=edited]")
        assert "Modality CR" in page.inner_text(f"#report-text li[data-key='{keys[0]}'] .was")
        page.wait_for_function("(key) => document.activeElement.dataset.key === key", arg=keys[1])
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(f"#report-text li[data-key='{keys[1]}'][data-state=kept]")
        # A sentence is added; the pause after it stores it while the field is still typed into.
        own = page.locator("#report-text [data-section=impression] .own textarea")
        own.click()
        page.keyboard.type("No pneumothorax is seen. ")
        page.wait_for_selector("#report-text li[data-origin=reader]")
        settled(page)
        page.keyboard.type("Follow-up in a year.")
        page.keyboard.press("Enter")
        settled(page)
        assert texts(page)[-1] == "No pneumothorax is seen. Follow-up in a year."

        # A reload, and Back and Forward, lead to the same report as it was.
        shown = texts(page)
        page.reload()
        page.wait_for_selector("#report-text li[data-origin=reader]")
        assert texts(page) == shown
        page.click("#pages > .tab-wrapper [role=tab]:has-text('Results')")
        page.wait_for_url("**/*#results")
        page.go_back()
        page.wait_for_selector("#report-text .report:visible")
        assert page.url.endswith(report)

        # What was measured on the scan is stated by one click.
        page.click("#report-scan-side [data-do=measure]")
        page.wait_for_selector("#report-measures small:has-text('In the report')")
        settled(page)
        words = page.inner_text("#report-measures li span")
        assert "pixels" in words and words in texts(page)  # the file states no spacing

        # Delete and undo, then keep the rest and sign.
        page.locator(UNDECIDED).first.locator("[data-do=delete]").click()
        page.wait_for_selector("#report-note [data-do=restore]")
        page.wait_for_selector("#report-text li[data-state=deleted] s")
        page.click("#report-note [data-do=restore]")
        page.wait_for_selector("#report-text li[data-state=deleted]", state="detached")
        settled(page)
        while page.locator(UNDECIDED).count():
            left = page.locator(UNDECIDED).count()
            page.locator(f"{UNDECIDED} [data-do=keep]").first.click()
            page.wait_for_function(
                "([open, left]) => document.querySelectorAll(open).length < left",
                arg=[UNDECIDED, left],
            )
        assert faults(page) == "[]"
        page.click("#report-text .report-sign summary")
        page.click("#report-text [data-do=sign]")
        page.wait_for_selector("#report-text .report[data-signed=yes]")
        assert page.locator("#report-text textarea").count() == 0

        files: dict[str, bytes] = {}
        for form in ("text", "pdf", "sr", "gsps", "fhir"):
            with page.expect_download() as download:
                page.click(f"#report-text [data-do=make][data-key={form}]")
            files[form] = Path(download.value.path()).read_bytes()
        assert b"Follow-up in a year." in files["text"] and b"Signed by" in files["text"]
        assert files["pdf"].startswith(b"%PDF")
        document = pydicom.dcmread(io.BytesIO(files["sr"]))
        assert document.VerificationFlag == "VERIFIED" and "Measured Value Sequence" in str(
            document
        )
        drawings = pydicom.dcmread(io.BytesIO(files["gsps"]))
        assert len(drawings.GraphicAnnotationSequence[0].GraphicObjectSequence) == 1
        bundle = json.loads(files["fhir"])
        statuses = [
            one["resource"]["status"]
            for one in bundle["entry"]
            if one["resource"]["resourceType"] == "DiagnosticReport"
        ]
        assert statuses == ["final"]

        # An amendment is a report of its own, which the list leads to.
        page.click("#report-text [data-do=amend]")
        page.wait_for_selector("#report-text .report[data-signed=no]")
        assert not page.url.endswith(report)
        page.evaluate("location.hash = '#report'")
        page.wait_for_selector("#report-text .report-row >> nth=1")
        listed = page.inner_text("#report-text .report-list")
        assert "Amendment, not signed" in listed and "Signed by" in listed
        left_files = [path.name for path in home.rglob("*") if path.suffix in {".dcm", ".pdf"}]
        assert left_files == []


def test_two_people_at_one_report(site: Site, browser: Any) -> None:
    report = Reports(site.store.for_person("bo", "reader")).begin(add_case(site.store), arm="rarl")
    ada = page_of(browser, site, "ada", f"#report/{report.id}")
    bo = page_of(browser, site, "bo", f"#report/{report.id}")
    for page in (ada, bo):
        page.wait_for_selector(f"#report-text .report[data-report='{report.id}']")
    ada.click("#report-text [data-do=keep] >> nth=0")
    ada.wait_for_selector("#report-text .report[data-version='2']")
    # Bo's click is told, and shows what Ada did.
    bo.click("#report-text [data-do=delete] >> nth=1")
    bo.wait_for_selector("#report-note .told:has-text('ada saved this report meanwhile')")
    bo.wait_for_selector("#report-text .report[data-version='2']")
    # Bo's words are kept, in a copy that is open now.
    ada.click("#report-text [data-do=keep] >> nth=0")
    ada.wait_for_selector("#report-text .report[data-version='3']")
    field = bo.locator("#report-text [data-section=pleura] .own textarea")
    field.fill("A small effusion on the left.")
    field.press("Enter")
    bo.wait_for_selector("#report-note .told:has-text('Your text is kept in a copy')")
    settled(bo)
    copy = bo.url.rpartition("/")[2]
    assert copy != report.id and "A small effusion on the left." in texts(bo)
    # Going on there meets nobody.
    bo.click("#report-text [data-do=keep] >> nth=0")
    bo.wait_for_selector("#report-text .report[data-version='2']")
    assert bo.locator("#report-note .told").count() == 0
    bo.go_back()
    bo.wait_for_selector(f"#report-text .report[data-report='{report.id}'][data-version='3']")
    assert "A small effusion on the left." not in texts(bo)
    stored = Reports(site.store.for_person("ada", "reader"))
    kept = stored.report(copy).sentences()
    assert "A small effusion on the left." in [one.text for one in kept]
    assert [one.reader for one in stored.versions(report.id)] == ["bo", "ada", "ada"]


def test_measurements_template_doubt_and_a_report_from_review(site: Site, browser: Any) -> None:
    add_case(site.store)
    page = page_of(browser, site, "bo", "#review/queue")
    page.click("#flag-list [data-flag] >> nth=0")
    page.click("#case [data-event=report][data-arm=rarl]")
    page.wait_for_selector("#report-text .report")
    report = page.url.rpartition("/")[2]
    measures = page.inner_text("#report-measures")
    assert "Ruler, slice 1: length 12.3 mm at detector." in measures
    assert "Density, slice 1: area 37.7 square pixels." in measures
    page.click("#report-measures [data-do=measure] >> nth=0")
    page.wait_for_selector("#report-measures small:has-text('In the report')")
    assert "Ruler, slice 1: length 12.3 mm at detector." in texts(page)

    page.select_option("#report-text select[data-do=template]", "free")
    page.wait_for_selector("#report-text h2:has-text('Imaging report')")
    assert page.locator("#report-text section[data-section=pleura]").count() == 0
    assert "There is no pleural effusion." in texts(page)
    page.click("#report-text [data-do=keep-section][data-key=findings]")
    page.wait_for_selector(
        "#report-text section[data-section=findings] li[data-state=proposed]", state="detached"
    )

    # What may name somebody is asked about, and is not stored before; signing waits for it.
    own = page.locator("#report-text [data-section=findings] .own textarea")
    own.fill("Compared with the study of 3 March 2021.")
    own.blur()
    page.wait_for_selector("#report-note .doubt")
    reports = Reports(site.store.for_person("bo", "reader"))
    assert "March" not in reports.report(report).model_dump_json()
    page.wait_for_selector("#report-page[data-unsaved] .report-unsaved:visible")
    page.click("#report-note [data-do=checked]")
    page.wait_for_selector("#report-text li[data-origin=reader] >> nth=1")
    settled(page)
    assert "3 March 2021" in reports.report(report).model_dump_json()
    page.wait_for_selector("#report-page:not([data-unsaved])")

    # The same answer leads to the same report; a report that is not there to the list.
    page.evaluate("location.hash = '#review/queue'")
    page.click("#case [data-event=report][data-arm=rarl]")
    page.wait_for_selector(f"#report-text .report[data-report='{report}']")
    page.evaluate("location.hash = '#report/" + "0" * 32 + "'")
    page.wait_for_selector("#report-note .trouble:has-text('There is no such report')")
    page.wait_for_selector("#report-text .report-row")

    visitor = page_of(browser, site, "eve", f"#report/{report}")
    visitor.wait_for_selector("#report-text .nothing:has-text('Reports are for readers')")
    assert visitor.locator("#report-text .report").count() == 0


def test_nothing_is_lost_when_the_server_starts_again(
    tmp_path: Path, model: str | None, browser: Any
) -> None:
    home = tmp_path / "home"
    store = open_store(home)
    report = Reports(store.for_person("bo", "reader")).begin(add_case(store), arm="sft")
    (home / "people.yaml").write_text("people: {bo: reader}\n")
    with served(home, model, RARL_SIGN_IN="header:X-User") as (address, _):
        page = page_of(browser, Site(address, store), "bo", f"#report/{report.id}")
        page.wait_for_selector("#report-text .report")
        page.locator("#report-text [data-section=bones] .own textarea").fill("No rib is broken.")
        page.wait_for_selector("#report-text .report[data-version='2']")
    port = address.rpartition(":")[2]
    with served(home, model, RARL_SIGN_IN="header:X-User", GRADIO_SERVER_PORT=port):
        page.goto(f"{address}/#report/{report.id}")
        page.reload()
        page.wait_for_selector("#report-text li[data-origin=reader]")
        assert "No rib is broken." in texts(page)
        page.click("#report-text [data-do=keep] >> nth=0")
        page.wait_for_selector("#report-text .report[data-version='3']")
    store.close()
