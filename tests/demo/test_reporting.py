"""Reports over the programming interface: begun, saved, signed and fetched."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pydicom
import pytest
from PIL import Image
from scripted import ScriptedEngine
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo.authentication import Person
from demo.context import Parts, make_parts
from demo.pages.report.api import add_report_api
from demo.services.ask import AskService
from demo.services.engine_loader import EngineLoader
from demo.services.reporting import ReportService
from demo.serving.mcp import McpServer

BO, ADA, EVE = Person("bo", "reader"), Person("ada", "reader"), Person("eve", "visitor")
Call = Callable[..., dict[str, Any]]


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    monkeypatch.setenv("RARL_HOME", str(tmp_path / "home"))
    for name in ("RARL_DATABASE_URL", "RARL_PEOPLE", "RARL_SIGN_IN"):
        monkeypatch.delenv(name, raising=False)
    loader = EngineLoader(ScriptedEngine).start()
    loader.wait(60)
    made = make_parts(loader)
    yield made
    made.desk.open().close()


@pytest.fixture
def service(parts: Parts) -> AskService:
    return AskService(parts)


@pytest.fixture
def exchange(service: AskService) -> str:
    picture = io.BytesIO()
    Image.new("L", (64, 48), 90).save(picture, "PNG")
    asked = service.ask(BO, [picture.getvalue()], "Is it?", ["sft", "rarl"], "reason", True)
    return str(asked["exchange"])


@pytest.fixture
def calls(parts: Parts, service: AskService) -> dict[str, Call]:
    with gr.Blocks() as app:
        add_report_api(ReportService(parts, service))
    return {str(one.api_name): one.fn for one in app.fns.values() if one.fn}


def decided(report: dict[str, Any]) -> dict[str, Any]:
    sections = [
        {
            **section,
            "sentences": [
                {**one, "state": "kept"} if one["state"] == "proposed" else one
                for one in section["sentences"]
            ],
        }
        for section in report["sections"]
    ]
    return {**report, "sections": sections}


def with_own(report: dict[str, Any], text: str) -> dict[str, Any]:
    *others, last = report["sections"]
    own = {"origin": "reader", "state": "kept", "text": text}
    return {**report, "sections": [*others, {**last, "sentences": [*last["sentences"], own]}]}


def test_from_an_exchange_to_a_signed_file(
    parts: Parts, calls: dict[str, Call], exchange: str
) -> None:
    begun = calls["report"](BO, exchange, arm="sft")["report"]
    assert begun["arm"] == "sft" and begun["version"] == 1
    texts = [one["text"] for part in begun["sections"] for one in part["sentences"]]
    assert "The heart is of normal size." in texts and "Is it? Answer: No" in texts
    saved = calls["report_save"](BO, with_own(begun, "Nothing else is seen."))["report"]
    assert saved["version"] == 2
    signed = calls["report_save"](BO, decided(saved), sign=True)["report"]
    assert signed["signed"] and signed["reader"] == "bo"
    assert calls["report"](ADA, signed["case_id"])["report"] == signed
    assert calls["report"](ADA, exchange)["report"] == signed
    client = TestClient(Starlette(routes=[parts.downloads.route()]))
    for form in ("text", "pdf", "sr", "fhir"):
        address = calls["report"](BO, signed["case_id"], form)["address"]
        content = client.get(f"/{address}").content
        assert content and client.get(f"/{address}").status_code == 404
        if form == "sr":
            assert pydicom.dcmread(io.BytesIO(content)).VerificationFlag == "VERIFIED"


def test_the_second_editor_gets_the_firsts_report(calls: dict[str, Call], exchange: str) -> None:
    begun = calls["report"](BO, exchange)["report"]
    theirs = calls["report_save"](ADA, with_own(begun, "Ada wrote this."))["report"]
    mine = with_own(begun, "Bo wrote this.")
    refused = calls["report_save"](BO, mine)
    assert refused["report"] == theirs and "ada saved this report" in refused["conflict"]
    copy = calls["report_save"](BO, mine, copy=True)["report"]
    assert copy["id"] != begun["id"]
    assert copy["sections"][-1]["sentences"][-1]["text"] == "Bo wrote this."


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda one: {}, "is not usable"),
        (lambda one: {**one, "more": 1}, "more is not usable"),
        (lambda one: {**one, "version": 0}, "version is not usable"),
        (lambda one: {**one, "id": "x"}, "32 hex digits"),
        (lambda one: {**one, "id": "f" * 32}, "no such report"),
        (lambda one: {**one, "sections": []}, "sections is not usable"),
        (lambda one: {**one, "title": "x" * 200}, "shorten it to 120"),
        (lambda one: {**one, "sections": one["sections"][1:]}, "missing or changed"),
        (lambda one: with_own(one, ""), "has a text"),
        (lambda one: with_own(one, "Seen by Mr. John Smith, born 1.2.1950."), "have checked it"),
    ],
    ids=[
        "empty", "unknown", "version", "id", "another", "sections", "title", "left-out", "nothing",
        "name",
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    calls: dict[str, Call],
    exchange: str,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    sentence: str,
) -> None:
    begun = calls["report"](BO, exchange, template="chest-radiograph")["report"]
    filled = [part for part in begun["sections"] if part["sentences"]]
    begun = {**begun, "sections": filled}
    with pytest.raises(gr.Error, match=sentence):
        calls["report_save"](BO, change(begun))


def test_what_was_checked_is_stored(calls: dict[str, Call], exchange: str) -> None:
    begun = calls["report"](BO, exchange)["report"]
    named = with_own(begun, "Compared with the study of 1.2.1950.")
    assert calls["report_save"](BO, named, checked=True)["report"]["version"] == 2


def test_visitors_and_unknown_words_are_refused(calls: dict[str, Call], exchange: str) -> None:
    begun = calls["report"](BO, exchange)["report"]
    for work in (
        lambda: calls["report"](EVE, exchange),
        lambda: calls["report_save"](EVE, begun),
    ):
        with pytest.raises(gr.Error, match="may not write and sign reports"):
            work()
    for more, sentence in (
        ({"form": "docx"}, "no form of this name"),
        ({"template": "elbow"}, "no template"),
        ({"arm": "rl"}, "choose from sft, rarl"),
        ({"report": "f" * 32}, "no such report"),
    ):
        with pytest.raises(gr.Error, match=sentence):
            calls["report"](BO, exchange, **more)
    with pytest.raises(gr.Error, match="no such case"):
        calls["report"](BO, "f" * 32)


def test_mcp_describes_it(parts: Parts, service: AskService) -> None:
    tools = {tool.name: tool for tool in McpServer(parts, service).tools()}
    fields = tools["report"].input_schema["properties"]
    assert fields["form"]["enum"] == ["json", "text", "pdf", "sr", "gsps", "fhir"]
    assert "chest-radiograph" in fields["template"]["enum"]
    assert all(one["description"] for one in fields.values())
