from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from opened import report_of, scan_of, session_with
from PIL import Image
from scripted import ScriptedEngine

from demo.pages.answer_html import board
from demo.services.asking import (
    COMPARED,
    OUR_FAULT,
    Progress,
    agreement,
    arm_choices,
    ask,
    chosen_arms,
    option_list,
    same_answer_key,
    steps,
    suggestions,
)
from demo.services.engine_loader import EngineLoader
from demo.services.uploads import Uploads, open_uploads
from demo.serving.caller import NOBODY
from demo.session import Session
from rarl.errors import ModelError, ScanError
from rarl.inference.engine import Answer, Arm
from rarl.response import parse_response


@pytest.fixture
def session() -> Session:
    return session_with(scan_of())


def asking(loader: EngineLoader, session: Session, text: str, choice: str) -> Iterator[Progress]:
    """Ask about the page as it opened."""
    return ask(loader, session, text, "reason", choice, report_of(session))


def ready(engine: ScriptedEngine | None = None) -> EngineLoader:
    loader = EngineLoader(lambda: engine or ScriptedEngine()).start()
    loader.wait(5)
    return loader


def test_all_arms_stream_at_once_and_end(session: Session) -> None:
    items = list(asking(ready(ScriptedEngine(pause=0.02)), session, "Nodule?", "compare"))
    assert items[0].running and not items[0].answers
    middle = [item for item in items if item.answers and item.running]
    assert any(sum(bool(a.response.text) for a in item.answers) == 3 for item in middle)
    last = items[-1]
    assert not last.running and not last.failed
    assert tuple(answer.arm for answer in last.answers) == COMPARED
    assert session.asked is not None and session.asked.answers == last.answers
    assert session.asked.question.text == "Nodule?"
    assert session.stop is None


def test_an_empty_question_is_one_sentence_and_keeps_the_page(session: Session) -> None:
    scans = session.scans
    (item,) = asking(ready(), session, "  ", "compare")
    assert item.failed and item.sentence == "Type a question about the scan first."
    assert session.scans is scans


def test_a_multiple_choice_question_is_read_by_letter_and_by_words(session: Session) -> None:
    texts = {
        "sft": "<answer>B</answer>", "rl": "<answer>The <b>spleen</b>.</answer>",
        "rarl": "<answer>liver or spleen</answer>",
    }  # fmt: skip
    options = option_list("A. liver\n\n  b<i>owel \nC1 vertebra\n(D) spleen")
    assert options == ("liver", "b<i>owel", "C1 vertebra", "spleen")
    options = ("liver", "spleen")
    report = report_of(session)
    engine = ready(ScriptedEngine(texts))
    *_, last = ask(engine, session, "Which?", "reason", "compare", report, options=options)
    assert session.asked is not None and session.asked.question.options == options
    assert session.asked.turn().options == options
    labels = {arm: arm.upper() for arm in COMPARED}
    sentence = agreement(last.answers[:2], labels, options)
    assert sentence == "The variants give the same answer."
    html = board(last, session, labels)
    assert "<li>A. liver</li><li>B. spleen</li>" in html
    assert html.count("option B") == 2 and "several options" in html
    assert "SFT and RL against RARL" in html
    # Without options nothing of it is there.
    *_, last = ask(engine, session, "Which?", "reason", "compare", report_of(session))
    html = board(last, session, labels)
    assert "option" not in html and "each say something else" in html


def test_too_few_options_are_one_sentence(session: Session) -> None:
    report = report_of(session)
    (item,) = ask(ready(), session, "Which?", "reason", "rl", report, options=["liver"])
    assert item.failed and "2 to 10 options, not 1" in item.sentence


def test_a_question_needs_a_scan() -> None:
    (item,) = asking(ready(), Session(), "Nodule?", "compare")
    assert item.failed and "Open a scan" in item.sentence


def test_an_overlong_question_says_how_long(session: Session) -> None:
    (item,) = asking(ready(), session, "x" * 1001, "compare")
    assert "1001" in item.sentence


def test_a_failure_keeps_what_came_and_logs_no_words(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ScriptedEngine(fail_after=3)
    with caplog.at_level(logging.ERROR):
        last = list(asking(ready(engine), session, "Does Jane Doe have it?", "compare"))[-1]
    assert last.failed and last.sentence == OUR_FAULT
    assert last.answers and last.answers[0].response.text
    assert "RuntimeError" in caplog.text
    assert "Jane" not in caplog.text


def test_stop_keeps_what_came(session: Session) -> None:
    stream = asking(ready(ScriptedEngine(pause=0.02)), session, "Nodule?", "compare")
    for item in stream:
        if item.answers:
            assert session.stop is not None
            session.stop.set()
    assert not item.running
    assert any(answer.stopped and answer.response.text for answer in item.answers)


def test_another_scan_takes_the_answers_of_the_last_one_away(session: Session) -> None:
    other = scan_of(Image.new("L", (32, 32)))
    stream = asking(ready(ScriptedEngine(pause=0.01)), session, "Nodule?", "compare")
    for item in stream:
        if item.answers and session.active is not other:
            session.show(other)
    assert not item.running and not item.answers and session.asked is None


def test_the_page_answers_while_the_model_loads(session: Session) -> None:
    gate = Event()

    def slow() -> ScriptedEngine:
        gate.wait(10)
        return ScriptedEngine()

    loader = EngineLoader(slow).start()
    stream = asking(loader, session, "Nodule?", "rl")
    assert "loading" in next(stream).sentence
    gate.set()
    assert list(stream)[-1].answers[0].response.answer == "Yes"


def test_a_model_that_cannot_load_says_so_at_each_question(session: Session) -> None:
    def broken() -> ScriptedEngine:
        raise ModelError("RARL_MODEL names a folder without a model.")

    loader = EngineLoader(broken).start()
    loader._done.wait(5)
    assert loader.phase == "failed"
    (item,) = asking(loader, session, "Nodule?", "compare")
    assert item.failed and item.sentence == "RARL_MODEL names a folder without a model."


def test_the_tiny_model_answers_through_the_real_engine(tiny_loaded, session: Session) -> None:
    from rarl.inference.local import LocalEngine

    loader = EngineLoader(lambda: LocalEngine(tiny_loaded)).start()
    loader.wait(30)
    last = list(ask(loader, session, "Nodule?", "answer", "compare", report_of(session)))[-1]
    assert not last.failed, last.sentence
    assert [answer.done for answer in last.answers] == [True] * 3


def answered(arm: str, text: str) -> Answer:
    return Answer(arm, parse_response(f"<answer>{text}</answer>", "answer"), 3, 0.1, True)


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (("No", "no.", "No"), "The variants give the same answer."),
        (("no", "yes", "Yes, on the left"), "The variants disagree: SFT against RL and RARL."),
        (
            ("ct", "mri", "x-ray"),
            "The variants disagree: SFT, RL and RARL each say something else.",
        ),
    ],
)
def test_agreement(texts: tuple[str, ...], sentence: str) -> None:
    answers = [answered(arm, text) for arm, text in zip(COMPARED, texts, strict=True)]
    assert agreement(answers, {"sft": "SFT", "rl": "RL", "rarl": "RARL"}) == sentence
    assert agreement(answers[:1], {}) == ""


def test_small_words() -> None:
    assert steps("") == []
    assert steps("It is 1.5 cm wide. It is round.") == ["It is 1.5 cm wide.", "It is round."]
    assert same_answer_key("The liver.") == same_answer_key("liver")
    assert same_answer_key("肺") == "肺"
    assert suggestions("CR") != suggestions("MR")
    assert suggestions(None) == suggestions("XX")
    assert chosen_arms("compare-base") == ("base", "sft", "rl", "rarl")
    arms = [Arm("base", "Base", ""), Arm("rarl", "RARL", "")]
    assert [value for _, value in arm_choices(arms)] == ["base", "rarl"]
    assert Progress(("rl",)).answers == ()


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("report.dcm", b"Jane Doe, born 1970, has a cough.\n" * 20, "text file"),
        ("dot.png", png_header(1, 1), "smaller than"),
        ("wall.png", png_header(20_000, 20_000), "megapixels"),
        ("nothing", b"", "empty"),
    ],
)
def test_a_wrong_upload_is_one_sentence_and_leaves_no_file(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    file = folder / name
    file.write_bytes(data)
    with pytest.raises(ScanError, match=words) as caught:
        uploads = Uploads(folder)
        open_uploads(uploads.read([uploads.admit(str(file), NOBODY)], NOBODY))
    assert name not in str(caught.value)
    assert "Jane" not in str(caught.value)
    assert not file.exists()


def test_a_report_that_the_session_has_already_is_not_read_again() -> None:
    session = session_with(scan_of())
    loader = EngineLoader(ScriptedEngine).start()
    loader.wait(5)
    last = list(ask(loader, session, "Nodule?", "reason", "compare", None, taken=True))[-1]
    assert not last.failed and session.asked is not None
    last = list(ask(loader, session, "Nodule?", "reason", "compare", None))[-1]
    assert last.failed and "reload it" in last.sentence
