from __future__ import annotations

from dataclasses import replace

import pytest
from opened import report_of, scan_of, session_with
from PIL import Image, ImageChops
from scripted import SAID, ScriptedEngine

from demo.pages import answer_html, frame, render
from demo.services.asking import Progress, ask
from demo.services.engine_loader import EngineLoader
from demo.services.examples import BUILT_IN, ExampleScan, open_examples, vqa_rad_rows
from demo.services.phantoms import CHEST_FILE, draw_chest
from demo.session import Session
from rarl.errors import ScanError
from rarl.inference.engine import Answer
from rarl.response import PROBLEM_SENTENCES, parse_response
from rarl.scans import Stack

EVIL = "<img src=x onerror=alert(1)>${alert(2)}{{value}}\"'"
LABELS = {"sft": "SFT", "rl": "RL", "rarl": "RARL"}


def answer(arm: str, text: str, done: bool = True, stopped: bool = False) -> Answer:
    return Answer(arm, parse_response(text), 7, 0.5, done, stopped)


def asked_session(said: dict[str, str] = SAID) -> Session:
    session = session_with(scan_of(modality="CR"))
    loader = EngineLoader(lambda: ScriptedEngine(said)).start()
    loader.wait(5)
    list(ask(loader, session, EVIL, "reason", "compare", report_of(session)))
    return session


def test_model_text_is_never_markup() -> None:
    texts = {arm: f"<think>{EVIL}</think><answer>{EVIL}</answer>" for arm in SAID}
    session = asked_session(texts)
    assert session.asked is not None
    session.flagging = "rl"
    pages = [
        answer_html.board(Progress(("sft", "rl", "rarl"), session.asked.answers), session, LABELS),
        answer_html.history(session, False),
        render.flag_heading(session),
        render.sentence(EVIL),
        render.chips([EVIL]),
        render.facts(session, EVIL),
    ]
    for page in pages:
        assert "<img src=x" not in page
        assert "&lt;img" in page or "RL" in page


def test_the_frame_of_a_column_is_the_same_before_and_after() -> None:
    def frame(page: str) -> list[str]:
        return [part for part in ("<header>", 'class="said"', 'class="why"', 'class="faults"',
                                  "<footer>") for _ in range(page.count(part))]  # fmt: skip

    arms = ("sft", "rl", "rarl")
    before = answer_html.board(Progress(arms), Session(), LABELS)
    during = answer_html.board(Progress(arms, running=True), Session(), LABELS)
    answers = tuple(answer(arm, SAID[arm]) for arm in arms)
    after = answer_html.board(Progress(arms, answers), Session(), LABELS)
    assert frame(before) == frame(during) == frame(after)
    assert "data-running" in during and "data-running" not in after


def test_form_problems_wait_until_the_text_has_ended() -> None:
    half = answer("rl", "<think>The heart", done=False)
    page = answer_html.board(Progress(("rl",), (half,), running=True), Session(), LABELS)
    assert PROBLEM_SENTENCES["unclosed-think"] not in page
    whole = answer("rl", "<think>The heart")
    page = answer_html.board(Progress(("rl",), (whole,)), Session(), LABELS)
    assert PROBLEM_SENTENCES["unclosed-think"] in page
    # Cut off by the person: not the arm's fault.
    stopped = answer("rl", "<think>The heart", stopped=True)
    page = answer_html.board(Progress(("rl",), (stopped,)), Session(), LABELS)
    assert PROBLEM_SENTENCES["unclosed-think"] not in page and "stopped" in page


def test_what_must_be_known_of_an_answer_stands_under_it() -> None:
    spared = replace(answer("rl", SAID["rl"], done=False), note="Memory ran out & more.")
    for running in (True, False):
        page = answer_html.board(Progress(("rl",), (spared,), running=running), Session(), LABELS)
        assert "<li>Memory ran out &amp; more.</li>" in page


def test_the_model_speaks_for_itself_in_the_footer() -> None:
    engine = ScriptedEngine()
    engine.model_name = "/somewhere/private/pocket"
    loader = EngineLoader(lambda: engine).start()
    loader.wait(5)
    page = frame.footer(loader)
    assert "140 million parameters" in page and "Not for diagnosis" in page
    assert "private" not in page + frame.engine_pill(loader)
    engine.model_name = "Qwen/Qwen2-VL-2B-Instruct"
    assert "Qwen/Qwen2-VL-2B-Instruct" in frame.footer(loader)


def test_examples_open_and_the_missing_one_is_left_out() -> None:
    def gone() -> Stack:
        raise ScanError("gone")

    opened = open_examples((*BUILT_IN, ExampleScan("gone", "Gone", "?", gone, "nowhere")))
    assert list(opened) == [example.key for example in BUILT_IN]
    assert opened["phantom-ct"].thumbnail.size == (144, 144)
    strip = render.example_strip(opened.values())
    assert strip.count("<button") == len(BUILT_IN)


def test_the_drawn_chest_is_the_one_that_is_drawn() -> None:
    drawn, kept = draw_chest(), Image.open(CHEST_FILE)
    difference = ImageChops.difference(drawn, kept.convert("L"))
    # The label's font is rendered by the machine; the anatomy is ours to the grain.
    assert difference.crop((0, 70, 768, 700)).getextrema()[1] <= 2


def test_reference_answers_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = vqa_rad_rows()
    for row in rows:
        session = session_with(scan_of(reference=row.reference))
        assert row.open().format in ("png", "jpeg")
        page = render.facts(session)
        assert page.index("<details>") < page.index(str(row.reference))
    monkeypatch.setenv("RARL_DATA", "/nonexistent")
    assert vqa_rad_rows() == []


def test_large_pictures_are_made_smaller_for_the_page_only() -> None:
    image = Image.new("L", (4000, 2000))
    assert len(render.picture_url(image)) < 100_000
    assert image.size == (4000, 2000)
