"""A site's own taxonomy on every page, in the PDF, and for programs."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from opened import report_of, scan_of, session_with
from PIL import Image
from pypdf import PdfReader
from scripted import ScriptedEngine

from demo.authentication import SignIn
from demo.context import Parts, make_parts
from demo.pages.ask.answer_tools import remarks
from demo.pages.ask.flag_panel import Draft
from demo.pages.flag_fields import flag_fields
from demo.pages.results import Evaluations, results_page
from demo.pages.results.flagging import Opened, flag_answer
from demo.pages.review.api import add_review_api
from demo.pages.review.charts_page import charts_view
from demo.pages.review.common import Chosen, Labels
from demo.pages.review.page import filter_choices
from demo.pages.review.queue_html import flag_list, list_head
from demo.services.ask import AskService
from demo.services.asking import ask
from demo.services.engine_loader import EngineLoader
from demo.services.flagging import Desk
from demo.serving.mcp import McpServer
from rarl.records import FlagDraft
from rarl.review import Queue, ReviewStore
from rarl.review.case_pdf import case_sheet
from rarl.review.roles import People
from rarl.review.taxonomy import Taxonomy
from tests.demo.measured import LABEL, measure, write_set

OWN = Taxonomy(
    (("artefact", "Took an artefact for a finding"), ("tone", "Rude")),
    (("trivial", "Of no matter"), ("grave", "Could kill")),
)
CASE = "c" * 32
BO = gr.Request(username="bo")


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(f"sqlite:///{tmp_path / 'review.sqlite3'}", taxonomy=OWN)


@pytest.fixture
def parts(store: ReviewStore) -> Parts:
    desk = Desk(store, SignIn("header", People({"bo": "admin"})))
    return replace(make_parts(EngineLoader(ScriptedEngine).start()), desk=desk)


def draft(arm: str, category: str, severity: str) -> FlagDraft:
    return FlagDraft(case_id=CASE, arm=arm, category=category, severity=severity)


@pytest.fixture
def flagged(parts: Parts) -> Parts:
    """One answer is flagged in the site's own words, another was in the usual ones."""
    session = session_with(scan_of())
    list(ask(parts.loader, session, "Is it?", "reason", "compare", report_of(session)))
    assert session.asked is not None
    store = parts.desk.open()
    store.taxonomy = Taxonomy()
    parts.desk.flag(draft("sft", "style", "major"), session.asked, BO)
    store.taxonomy = OWN
    parts.desk.flag(draft("rarl", "artefact", "grave"), session.asked, BO)
    return parts


def test_the_pdf_has_the_sites_words(flagged: Parts) -> None:
    store = flagged.desk.open()
    pdf = case_sheet(store.case(CASE), remarks(flagged, CASE, BO))
    (page,) = PdfReader(io.BytesIO(pdf)).pages
    text = " ".join(page.extract_text().split())
    assert "Took an artefact for a finding; Could kill." in text
    assert "Style or wording; Could delay or change the treatment." in text


def test_the_queue_has_the_sites_words(flagged: Parts) -> None:
    store = flagged.desk.open()
    labels = Labels.of(store.taxonomy)
    listed = flag_list(
        Queue(store).items(), None, more=False, empty=("", ""), blind=False, labels=labels
    )
    for words in ("Took an artefact for a finding", "Could kill", "Style or wording"):
        assert words in listed
    # The gravest of two has the colour of the gravest of four, and older flags keep theirs.
    assert "severity-critical" in listed and "severity-major" in listed
    gravest = labels.gravest(store.flags())
    assert gravest is not None and gravest.severity == "grave"
    head = list_head("1", Chosen(category="artefact", severity="grave"), labels, {})
    assert "Took an artefact for a finding, Could kill" in head


def test_filters_offer_the_sites_keys_and_those_of_earlier_flags(flagged: Parts) -> None:
    choices = [box.choices for box in filter_choices(flagged.desk.open(), flagged)]
    assert [key for _, key in choices[2]] == ["", "artefact", "tone", "style"]
    assert [key for _, key in choices[3]] == ["", "trivial", "grave", "major"]


def test_charts_have_the_sites_words(flagged: Parts) -> None:
    store = flagged.desk.open()
    page = charts_view(
        by_kind=store.counts(["category", "arm"]),
        severities=store.counts(["severity"]),
        modalities=store.counts(["modality"]),
        rates=[],
        agreement=[],
        labels=Labels.of(store.taxonomy),
        arms=flagged.labels(),
    )
    assert "Took an artefact for a finding" in page and "Style or wording" in page
    assert page.index("Could kill") < page.index("Could delay or change the treatment")


def handler(app: gr.Blocks, name: str) -> Callable[..., Any]:
    """The function of the page with this name."""
    functions = (function.fn for function in app.fns.values())
    return next(one for one in functions if one and getattr(one, "__name__", "") == name)


def test_the_results_page_offers_and_stores_the_sites_keys(
    store: ReviewStore, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_set(tmp_path)
    folder = measure(root, tmp_path / "run")
    monkeypatch.setenv("RARL_DATA", str(root))
    evaluations = Evaluations([folder], shipped=None)
    (evaluation,) = evaluations.listed()
    own = replace(parts, desk=Desk(store))
    with gr.Blocks() as app, gr.Tabs(), gr.Tab("Results") as tab:
        results_page(own, tab, evaluations, lambda: None)
    _, (shown,) = evaluation.results.chosen("reason", LABEL, "beats", "rarl", "sft", 9)
    at = Opened(evaluation.key, shown.id, shown.mode)
    update = handler(app, "flagging")(SimpleNamespace(arm="sft"), at)
    offered = [one.choices for one in update.values() if isinstance(one, gr.Radio)]
    assert offered == [
        [(label, key) for key, label in OWN.categories],
        [(label, key) for key, label in OWN.severities],
    ]
    flag = flag_answer(store, shown, "sft", "artefact", "grave", "", "0" * 32)
    assert (flag.category, flag.severity) == ("artefact", "grave")


def test_the_flag_panel_offers_the_sites_keys(parts: Parts) -> None:
    session = session_with(scan_of())
    list(ask(parts.loader, session, "Is it?", "reason", "compare", report_of(session)))
    assert session.asked is not None
    begun = Draft(session.asked, "rarl")
    with gr.Blocks():
        fields = flag_fields("flag", "")
    filled = fields.filled(None, begun.reasoning(), parts.desk.taxonomy())
    assert filled[fields.category].choices == [(label, key) for key, label in OWN.categories]


def test_programs_are_offered_the_sites_keys(parts: Parts) -> None:
    tools = {tool.name: tool for tool in McpServer(parts, AskService(parts)).tools()}
    fields = tools["flag"].input_schema["properties"]
    assert fields["category"]["enum"] == ["artefact", "tone"]
    assert fields["severity"]["enum"] == ["trivial", "grave"]


def test_programs_flag_and_list_with_the_sites_keys(parts: Parts) -> None:
    service, bo = AskService(parts), parts.desk.person(BO)
    picture = io.BytesIO()
    Image.new("L", (64, 48), 90).save(picture, "PNG")
    answered = service.ask(bo, [picture.getvalue()], "Is it?", ["rarl"], "reason", True)
    service.flag(bo, answered["exchange"], "rarl", "artefact", "grave")
    with gr.Blocks() as app:
        add_review_api(parts)
    listed = handler(app, "review_list")(BO, category="artefact")
    assert [flag["severity"] for flag in listed["flags"]] == ["grave"]
    assert handler(app, "review_list")(BO, category="tone")["total"] == 0


def test_a_store_that_cannot_be_opened_leaves_the_usual_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taxonomy.yaml").write_text("categories: []\n")
    monkeypatch.setenv("RARL_HOME", str(tmp_path))
    assert Desk().taxonomy() == Taxonomy()
