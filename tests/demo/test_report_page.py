"""The handlers and templates of the report page: each change is a version, and nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import Any

import gradio as gr
import pytest
from opened import report_of, scan_of, session_with
from PIL import Image
from scripted import ScriptedEngine

from demo.authentication import Person
from demo.context import Parts, make_parts
from demo.pages.report.events import ReportEvents
from demo.pages.report.layout import ReportWidgets, report_layout
from demo.pages.report.opening import ReportOpening, report_opening
from demo.pages.report.view import ReportView, measures, scan, text
from demo.services.asking import ask
from demo.services.engine_loader import EngineLoader
from demo.services.report_editing import Change, DoubtError, ReportEditing
from demo.session import Session
from rarl.errors import ReviewError
from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.records import CaseSnapshot, MeasuredValue, Measurement, Report, Section, Sentence
from rarl.response import parse_response
from rarl.review import case_from

BO, ADA, EVE = Person("bo", "reader"), Person("ada", "reader"), Person("eve", "visitor")
NOBODY = Person(None, "reader")
RULER = Measurement(
    kind="ruler",
    points=((1, 2), (4, 6)),
    values=(MeasuredValue(quantity="length", value=5, unit="px"),),
)
TEXT = (
    "<think>The heart is enlarged. There is no pleural effusion. The view is rotated.</think>"
    "<answer>no</answer>"
)


@dataclass
class Page:
    """The page's handlers as the browser calls them."""

    widgets: ReportWidgets
    events: ReportEvents
    editing: ReportEditing
    session: Session

    def show(self, who: Person, report: str = "") -> dict[str, str]:
        return self.named(self.events.opened(event(report=report), who))  # type: ignore[arg-type]

    def do(self, who: Person, action: str, report: Report, **more: Any) -> dict[str, str]:
        sent = event(do=action, report=report.id, version=str(report.version), **more)
        return self.named(self.events.changed(sent, self.session, who))  # type: ignore[arg-type]

    def named(self, update: dict[Any, Any]) -> dict[str, str]:
        return {widget.elem_id.removeprefix("report-"): str(value)
                for widget, value in update.items()}  # fmt: skip


def event(**data: Any) -> gr.EventData:
    return gr.EventData(None, {"serial": 7, **data})


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """One store for all: every test has a case of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RARL_HOME", str(tmp_path_factory.mktemp("reports")))
        for name in ("RARL_DATABASE_URL", "RARL_PEOPLE", "RARL_SIGN_IN", "RARL_DICOMWEB",
                     "RARL_FHIR_SERVER"):  # fmt: skip
            patch.delenv(name, raising=False)
        loader = EngineLoader(ScriptedEngine).start()
        loader.wait(60)
        made = make_parts(loader)
        yield made
        made.desk.open().close()


@pytest.fixture
def page(parts: Parts) -> Page:
    with gr.Blocks():
        widgets = report_layout()
    editing = ReportEditing(parts.desk)
    return Page(widgets, ReportEvents(parts, ReportView(widgets), editing), editing, Session())


@pytest.fixture
def case(parts: Parts) -> CaseSnapshot:
    question = Question(
        (NamedImage(Image.new("L", (64, 48), 90)),), "Is it?", ("sft", "rl"), decoding=Decoding()
    )
    arms = (Arm("sft", "SFT", "a" * 12), Arm("rl", "RL", "b" * 12))
    answers = [Answer(arm.name, parse_response(TEXT), 12, 1.0, done=True) for arm in arms]
    case = case_from(
        question, answers, arms=arms, model="pocket", prompt_hash="f" * 64, measurements=(RULER,)
    )
    known = {"BodyPartExamined": "CHEST", "ViewPosition": "PA"}
    case = case.model_copy(update={"modality": "DX", "attributes": known})
    parts.desk.open().add_case(case)
    return case


@pytest.fixture
def report(page: Page, case: CaseSnapshot) -> Report:
    return page.editing.begun(BO, case.id, "sft")


def newest(page: Page, report: Report) -> Report:
    return page.editing.reports(BO).report(report.id)


def sentences(report: Report) -> dict[str, Sentence]:
    return {sentence.text: sentence for sentence in report.sentences()}


# What is shown


def test_a_draft_marks_what_nobody_has_decided(page: Page, report: Report) -> None:
    shown = page.show(BO, report.id)
    assert 'data-serial="7" data-result="done"' in shown["note"]
    assert f'data-report="{report.id}" data-version="1" data-serial="7"' in shown["text"]
    assert shown["text"].count("Written by AI, undecided</span>") == 4
    assert shown["text"].count("From the file, undecided</span>") == 1
    assert "5 of 5 sentences undecided" in shown["text"]
    assert "5 sentences are undecided: keep, edit or delete each, then sign." in shown["text"]
    assert 'data-do="sign"' not in shown["text"]
    assert "data:image/png;base64," in shown["scan"] and "Is it?" in shown["scan"]
    assert "Ruler, slice 1: length 5.0 pixels." in shown["measures"]
    assert "Insert into findings" in shown["measures"]
    assert '<option value="chest-radiograph" selected>' in shown["text"]


def test_without_pixels_the_page_says_so(case: CaseSnapshot) -> None:
    pictures = tuple(one.model_copy(update={"png": None}) for one in case.pictures)
    shown = str(scan(case.model_copy(update={"pictures": pictures})))
    assert "Only the hash of this picture was kept." in shown and "<img" not in shown


def test_foreign_text_is_no_markup(report: Report, case: CaseSnapshot) -> None:
    hostile = "\"'><xss onxss=1>&lt;xss&gt;"
    label = hostile[:80]
    bad = report.model_copy(
        update={
            "title": hostile,
            "label": hostile,
            "reader": hostile,
            "measurements": (RULER.model_copy(update={"label": label}),),
            "sections": tuple(
                Section(
                    key=section.key,
                    title=hostile,
                    heading=section.heading,
                    sentences=tuple(
                        one.model_copy(
                            update={"text": hostile, "proposed": hostile + "x", "state": state}
                        )
                        for one, state in zip(
                            section.sentences, ("edited", "deleted", "proposed"), strict=False
                        )
                    ),
                )
                for section in report.sections
            ),
        }
    )
    answers = tuple(
        one.model_copy(update={"answer": hostile, "label": hostile}) for one in case.answers
    )
    odd = case.model_copy(update={"answers": answers, "question": hostile})
    for shown in (text(bad, [bad], "1"), measures(bad), scan(odd)):
        assert not re.search(r"<xss|[\s\"']onxss=1>", re.sub(r"&[#\w]+;", "", str(shown)))
        assert hostile in unescape(str(shown))


def test_the_list_leads_to_reports_and_a_visitor_sees_neither(page: Page, report: Report) -> None:
    listed = page.show(ADA)["text"]
    assert f'href="#report/{report.id}"' in listed and "5 undecided" in listed
    gone = page.show(ADA, "f" * 32)
    assert "There is no such report" in gone["note"] and "report-row" in gone["text"]
    for shown in (page.show(EVE), page.show(EVE, report.id)):
        assert "Reports are for readers" in shown["text"] and report.id not in shown["text"]
        assert shown["scan"] == ""


# Changes


def test_each_change_is_a_version(page: Page, report: Report) -> None:
    first, second, third, *_ = report.undecided()
    for action, more, state in (
        ("keep", {"key": first.key}, "kept"),
        ("write", {"key": second.key, "section": "heart", "text": "Normal heart."}, "edited"),
        ("delete", {"key": third.key}, "deleted"),
    ):
        before = newest(page, report)
        shown = page.do(BO, action, before, **more)
        stored = newest(page, report)
        assert stored.version == before.version + 1
        changed = next(one for one in stored.sentences() if one.key == more["key"])
        assert changed.state == state and changed.proposed
        assert f'data-version="{stored.version}"' in shown["text"]
    assert "Undo</button>" in shown["note"]
    # Undone, it is a proposal again: nobody has decided to keep it.
    shown = page.do(BO, "restore", newest(page, report), key=third.key)
    restored = next(one for one in newest(page, report).sentences() if one.key == third.key)
    assert restored == third
    assert f"<del>{second.proposed}</del>" in shown["text"] and "Normal heart." in shown["text"]


def test_an_own_sentence_is_added_once_and_written_on(page: Page, report: Report) -> None:
    own = {"key": "e" * 32, "section": "bones", "text": "No rib is broken"}
    page.do(BO, "write", report, **own)
    # The reply was lost, and the page sends the same again.
    page.do(BO, "write", report, **own)
    added = newest(page, report)
    assert added.version == 2
    page.do(BO, "write", added, **{**own, "text": "No rib is broken."})
    stored = newest(page, report)
    assert [one.text for one in stored.sentences() if one.origin == "reader"] == [
        "No rib is broken."
    ]
    assert stored.version == 3


def test_a_section_is_kept_whole_and_a_measurement_inserted_once(
    page: Page, report: Report
) -> None:
    page.do(BO, "keep-section", report, key="heart")
    kept = newest(page, report)
    assert len(kept.undecided()) == len(report.undecided()) - 1
    for _ in range(2):
        shown = page.do(BO, "measure", newest(page, report), key=RULER.key)
    stored = newest(page, report)
    assert stored.stated() == (RULER,) and stored.version == kept.version + 1
    (sentence,) = (one for one in stored.sentences() if one.measurement)
    assert stored.sections[-2].sentences[-1] == sentence and stored.sections[-2].key == "findings"
    assert "In the report" in shown["measures"] and "Measured</span>" in shown["text"]
    # A file of the drawings is offered once the report states one.
    assert "DICOM drawings" in shown["text"]


def test_signing_waits_for_every_decision(page: Page, report: Report) -> None:
    refused = page.do(BO, "sign", report)
    assert "5 sentences are still as proposed" in refused["note"] and "text" not in refused
    assert 'data-result="same"' in refused["note"]
    for section in report.sections:
        page.do(BO, "keep-section", newest(page, report), key=section.key)
    decided = newest(page, report)
    assert 'data-do="sign"' in page.show(BO, report.id)["text"]
    assert "Nobody is signed in" in page.do(NOBODY, "sign", decided)["note"]
    shown = page.do(BO, "sign", decided)
    signed = newest(page, report)
    assert signed.signed and signed.reader == "bo" and "Signed by bo" in shown["text"]
    assert "<textarea" not in shown["text"] and 'data-signed="yes"' in shown["text"]
    again = page.do(BO, "sign", decided)  # the reply was lost
    assert newest(page, report) == signed and "told" not in again["note"]
    changed = page.do(BO, "write", signed, key="e" * 32, section="heart", text="More.")
    assert "amend it to correct something" in changed["note"]
    for _ in range(2):  # pressed twice, it begins one amendment
        amended = page.do(BO, "amend", signed)["text"]
    (draft,) = (one for one in page.editing.reports(BO).of_case(report.case_id) if not one.signed)
    assert draft.amends == signed.id and f'data-report="{draft.id}"' in amended
    assert "Amendment, not signed" in amended and "1 other report on this case" in amended


def test_an_empty_report_is_not_offered_for_signing(page: Page, report: Report) -> None:
    for sentence in report.sentences():
        page.do(BO, "delete", newest(page, report), key=sentence.key)
    shown = page.show(BO, report.id)["text"]
    assert "The report has no sentence; write one, then sign." in shown
    assert 'data-do="sign"' not in shown


# Two people


def test_the_second_of_two_is_told_and_keeps_what_was_typed(page: Page, report: Report) -> None:
    first, second, *_ = report.undecided()
    page.do(ADA, "keep", report, key=first.key)
    told = page.do(BO, "delete", report, key=second.key)
    assert "ada saved this report meanwhile. It is shown as it is now." in told["note"]
    assert 'data-version="2"' in told["text"]
    assert newest(page, report).version == 2
    shown = page.do(BO, "write", report, key="e" * 32, section="heart", text="Bo wrote this.")
    assert "Your text is kept in a copy of your own" in shown["note"]
    assert f'href="#report/{report.id}"' in shown["note"]
    copy, original = page.editing.reports(BO).of_case(report.case_id)
    assert original == newest(page, report) and "Bo wrote this." in sentences(copy)
    assert f'data-report="{copy.id}"' in shown["text"]


def test_what_the_other_did_too_is_no_conflict(page: Page, report: Report) -> None:
    first, *_ = report.undecided()
    page.do(ADA, "keep", report, key=first.key)
    shown = page.do(BO, "keep", report, key=first.key)
    assert "told" not in shown["note"] and newest(page, report).version == 2


def test_a_second_page_of_the_same_person_is_called_so(page: Page, report: Report) -> None:
    first, second, *_ = report.undecided()
    page.do(BO, "keep", report, key=first.key)
    told = page.do(BO, "keep", report, key=second.key)
    assert "You have another page open, which saved this report meanwhile." in told["note"]


# Bad input


@pytest.mark.parametrize(
    ("action", "more", "sentence"),
    [
        ("paint", {}, "out of step"),
        ("keep", {"version": "x"}, "out of step"),
        ("keep", {"key": 5}, "out of step"),
        ("keep", {"key": "f" * 32}, "no such sentence"),
        ("restore", {"key": "f" * 32}, "nothing to restore"),
        ("keep-section", {"key": "elbow"}, "no such section"),
        ("measure", {"key": "f" * 32}, "no such measurement"),
        ("template", {"key": "elbow"}, "no template of this name"),
        ("write", {"key": "e" * 32, "section": "elbow", "text": "x"}, "no such section"),
        ("write", {"key": "mine", "section": "heart", "text": "x"}, "32 hex digits"),
        ("write", {"key": "e" * 32, "section": "heart", "text": " "}, "A sentence has a text"),
        ("write", {"key": "e" * 32, "section": "heart", "text": "x" * 2001}, "shorten it to 2000"),
    ],
    ids=[
        "action", "version", "type", "sentence", "restore", "section", "measurement", "template",
        "write-section", "key", "empty", "long",
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_changes_nothing(
    page: Page, report: Report, action: str, more: dict[str, Any], sentence: str
) -> None:
    sent = {"do": action, "report": report.id, "version": "1", **more}
    shown = page.named(page.events.changed(event(**sent), page.session, BO))  # type: ignore[arg-type]
    assert sentence in unescape(shown["note"]) and "text" not in shown
    assert newest(page, report) == report


def test_nobody_without_the_role_changes_or_reads_anything(page: Page, report: Report) -> None:
    first, *_ = report.undecided()
    for done in (
        page.do(EVE, "keep", report, key=first.key),
        page.named(page.events.made(event(report=report.id, key="text"), EVE)),  # type: ignore[arg-type]
        page.named(page.events.begun(event(report=report.id, key="rl"), EVE)),  # type: ignore[arg-type]
        page.named(page.events.sent(event(report=report.id, key="pacs"), EVE)),  # type: ignore[arg-type]
    ):
        assert list(done) == ["note"] and "may not write and sign reports" in done["note"]
    assert newest(page, report) == report


def test_what_may_name_somebody_is_asked_about_before_it_is_stored(
    page: Page, report: Report
) -> None:
    named = {"key": "e" * 32, "section": "heart", "text": "Compared with 3 March 2021."}
    asked = page.do(BO, "write", report, **named)
    assert 'data-result="doubt"' in asked["note"] and "looks like a date" in asked["note"]
    assert newest(page, report) == report
    page.do(BO, "write", report, **named, checked=True)
    stored = newest(page, report)
    assert "Compared with 3 March 2021." in sentences(stored)
    # What was kept once is not asked about again while the sentence is written on.
    more = {**named, "text": "Compared with 3 March 2021: no change."}
    assert "doubt" not in page.do(BO, "write", stored, **more)["note"]
    with pytest.raises(DoubtError):
        page.editing.change(
            BO, Change.of({"do": "write", "report": report.id, "version": "3", **named}), Session()
        )


# Files and servers


def test_files_are_handed_out_once(page: Page, parts: Parts, report: Report) -> None:
    for form in ("text", "pdf", "sr", "fhir"):
        note = page.named(page.events.made(event(report=report.id, key=form), BO))["note"]  # type: ignore[arg-type]
        assert 'class="download"' in note and 'data-result="same"' in note
    wrong = page.named(page.events.made(event(report=report.id, key="docx"), BO))["note"]  # type: ignore[arg-type]
    assert "no form of this name" in wrong


def test_servers_are_offered_where_the_site_has_set_them(
    page: Page, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 'data-do="send"' not in page.show(BO, report.id)["text"]
    monkeypatch.setenv("RARL_FHIR_SERVER", "http://127.0.0.1:9/fhir")
    shown = page.show(BO, report.id)["text"]
    assert "Send to the FHIR server" in shown and "Send to the PACS" not in shown
    for where, sentence in (
        ("fhir", "Only a signed report is sent; sign it first."),
        ("elsewhere", "to the PACS or to the FHIR server; choose one."),
    ):
        note = page.named(page.events.sent(event(report=report.id, key=where), BO))["note"]  # type: ignore[arg-type]
        assert sentence in note


# From other pages


@pytest.fixture
def opening(parts: Parts) -> ReportOpening:
    with gr.Blocks():
        return report_opening(parts)


def asked(parts: Parts, blind: bool = False) -> Session:
    session = session_with(scan_of(modality="CR"))
    list(ask(parts.loader, session, "Nodule?", "reason", "compare", report_of(session),
             blind=blind))  # fmt: skip
    return session


def test_an_answer_becomes_a_report_with_its_measurements(
    parts: Parts, page: Page, opening: ReportOpening
) -> None:
    session = asked(parts)
    assert session.asked is not None
    address = str(opening.from_session(session, "rarl", BO)[opening.go])  # type: ignore[arg-type]
    (begun,) = page.editing.reports(BO).of_case(str(session.case_id))
    assert f'data-address="#report/{begun.id}"' in address and begun.arm == "rarl"
    # Measured since: offered in the same report, which the same press opens again.
    session.scans[0].volume.measurements = (RULER,)
    opening.from_session(session, "rarl", BO)  # type: ignore[arg-type]
    (again,) = page.editing.reports(BO).of_case(str(session.case_id))
    assert again.id == begun.id and again.measurements == (RULER,) and not again.stated()
    opening.from_session(session, "sft", BO)  # type: ignore[arg-type]
    assert len(page.editing.reports(BO).of_case(str(session.case_id))) == 2
    shown = page.named(page.events.begun(event(report=begun.id, key="sft"), BO))  # type: ignore[arg-type]
    assert "2 other reports on this case" in shown["text"]


def test_what_cannot_be_begun_stores_nothing(parts: Parts, opening: ReportOpening) -> None:
    session = asked(parts)
    with pytest.raises(ReviewError, match="may not write and sign reports"):
        opening.from_session(session, "rarl", EVE)  # type: ignore[arg-type]
    assert session.asked is not None and session.case_id is None
    named = RULER.model_copy(update={"label": "Seen 3 March 2021"})
    session.scans[0].volume.measurements = (named,)
    with pytest.raises(ReviewError, match="Change the label of the measurement first"):
        opening.from_session(session, "rarl", BO)  # type: ignore[arg-type]
    for early in (Session(), asked(parts, blind=True)):
        with pytest.raises(ReviewError, match="Wait for the whole answers"):
            opening.from_session(early, "rarl", BO)  # type: ignore[arg-type]
    assert session.case_id is None


def test_a_signed_report_is_opened_again_rather_than_begun_anew(page: Page, report: Report) -> None:
    for section in report.sections:
        page.do(BO, "keep-section", newest(page, report), key=section.key)
    page.do(BO, "sign", newest(page, report))
    assert page.editing.begun(ADA, report.case_id, "sft") == newest(page, report)
    another = page.editing.begun(ADA, report.case_id, "sft", another=True)
    assert another.id != report.id and not another.signed
