"""What is found out about answers marks them: on the page, in the API and in the PDF."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened import report_of, scan_of, session_with
from PIL import Image
from scripted import SAID, ScriptedEngine

from demo.authentication import Person
from demo.context import Parts, make_parts
from demo.pages import answer_html
from demo.pages.ask import side_panels
from demo.pages.ask.reliability import ask_rewindowed, window_checks
from demo.services.agreed import NOT_MEASURED
from demo.services.ask import AskService
from demo.services.asking import Progress, ask
from demo.services.engine_loader import EngineLoader
from demo.services.flagging import case_of
from demo.services.phantoms import ct_series
from demo.session import Session
from rarl.errors import QuestionError
from rarl.inference.checking import minority_check
from rarl.inference.engine import Answer, Question
from rarl.inference.self_consistency import sample_answers
from rarl.response import parse_response
from rarl.review.case_pdf import case_sheet

LABELS = {"sft": "SFT", "rl": "RL", "rarl": "RARL"}
UNLIKE = "This picture is unlike anything the model was trained on; its answer is a guess."


class Knowing(ScriptedEngine):
    """Says "yes" to bright pictures and "no" to dark ones; when asked at random mostly "maybe".

    Its `rl` never saw pictures of this kind.
    """

    measures_pictures = True

    def unfamiliar(self, question: Question) -> dict[str, str]:
        return {arm: UNLIKE for arm in question.arms if arm == "rl"}

    def answer_batch(self, questions: Any) -> list[tuple[Answer, ...]]:
        def said(question: Question, arm: str) -> Answer:
            bright = np.asarray(question.images[0].image.convert("L")).mean() > 90
            text = "yes" if bright else "no"
            if question.decoding.temperature:
                text = "maybe" if question.decoding.seed % 3 else text
            return Answer(arm, parse_response(f"<answer>{text}</answer>"), 1, 0.1, done=True)

        return [tuple(said(one, arm) for arm in one.arms) for one in questions]


@pytest.fixture
def session() -> Session:
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (48, 1))
    held = session_with(scan_of(Image.fromarray(ramp), modality="CR"))
    engine = Knowing({**SAID, "rl": "<think>Dense.</think><answer>no</answer>"})
    loader = EngineLoader(lambda: engine)
    loader.start().wait(5)
    list(ask(loader, held, "Nodule?", "reason", "compare", report_of(held)))
    return held


def board(held: Session) -> str:
    assert held.asked is not None
    return answer_html.board(Progress(held.asked.question.arms, held.asked.answers), held, LABELS)


def test_an_unfamiliar_picture_stands_above_the_answers(session: Session) -> None:
    asked = session.asked
    assert asked is not None
    by_arm = {answer.arm: answer.problems for answer in asked.answers}
    assert "unfamiliar-picture" in by_arm["rl"] and "unfamiliar-picture" not in by_arm["sft"]
    page = board(session)
    # Once, and before any text of the model.
    assert page.count(UNLIKE) == 1 and page.index(UNLIKE) < page.index('class="answer')
    assert b"%PDF" in case_sheet(case_of(asked))[:8]
    stored = next(one for one in case_of(asked).answers if one.arm == "rl")
    assert "unfamiliar-picture" in stored.problems


def test_a_minority_answer_is_marked(session: Session) -> None:
    asked = session.asked
    assert asked is not None
    drawn = sample_answers(Knowing(), asked.question, "rl", samples=6)
    given = next(one.response.answer for one in asked.answers if one.arm == "rl")
    check = minority_check(drawn, given)
    assert check is not None and "“maybe” in 4 of them" in check.sentence
    session.mark(asked, {"rl": check})
    assert session.asked is not asked and session.asked is not None
    assert session.history[-1].answers == session.asked.answers
    page = board(session)
    assert page.index("Asked 6 more times") < page.index("Dense.")
    case = case_of(session.asked)
    assert any("minority-answer" in answer.problems for answer in case.answers)


def test_an_answer_that_another_window_changes_is_marked(session: Session) -> None:
    asked = session.asked
    assert asked is not None
    tried = ask_rewindowed(Knowing(), session, asked)
    assert len(tried) == 4 and len({one.words for one in tried}) == 4
    texts = {answer.response.answer for one in tried for answer in one.answers}
    assert texts == {"yes", "no"}
    checks = window_checks(asked, tried)
    assert "Under another window (level" in checks["rl"].sentence
    assert "“yes”" in checks["rl"].sentence
    page = side_panels.again([], {"sft": "no", "rl": "no", "rarl": "no"}, LABELS, False, tried)
    assert "Other windows" in page and tried[0].words.capitalize() in page
    # As it was asked about, whatever the viewer shows by now.
    session.scans[0].view = replace(session.scans[0].view, invert=True)
    again = ask_rewindowed(Knowing(), session, asked)
    assert [one.answers for one in again] == [one.answers for one in tried]
    session.change()
    assert ask_rewindowed(Knowing(), session, asked) == []
    assert "Not tried" in side_panels.again([], {}, LABELS, False, [])


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setenv("RARL_HOME", str(tmp_path / "home"))
    loader = EngineLoader(lambda: Knowing({arm: "<answer>no</answer>" for arm in SAID}))
    loader.load_here()
    return make_parts(loader)


def test_the_interface_has_the_marks(parts: Parts) -> None:
    service, ada = AskService(parts), Person("ada", "admin")
    files = [*ct_series(16, 3), *ct_series(24, 4), b"a note"]
    record = service.ask(ada, files, "Is there a mass?", ["sft", "rl"], "reason", True, samples=6)
    sft, rl = record["answers"]
    assert "minority-answer" in sft["problems"] and sft["consistency"] == pytest.approx(
        2 / 6, abs=1e-3
    )
    assert "unfamiliar-picture" in rl["problems"] and UNLIKE in rl["cautions"]
    assert record["agreement"]["sentence"] == NOT_MEASURED and record["agreement"]["n"] is None
    assert [(one["number"], one["asked"]) for one in record["series"]] == [(1, False), (2, True)]
    assert record["left_out"] == [{"file": 8, "name": "", "reason": "a text file"}]
    json.dumps(record)
    other = service.ask(ada, files, "Is there a mass?", ["sft"], "reason", True, series=1)
    assert [one["asked"] for one in other["series"]] == [True, False]
    assert other["agreement"] is None and other["answers"][0]["consistency"] is None
    chosen = service.ask(
        ada, files, "Is there a mass?", ["rl"], "answer", True, options=["yes", "no", "two"]
    )
    assert chosen["answers"][0]["option"] == "no" and chosen["agreement"] is None
    assert other["answers"][0]["option"] is None
    with pytest.raises(QuestionError, match="2 to 10 options"):
        service.ask(ada, files, "Which?", ["rl"], "answer", True, options=["yes"])
    with pytest.raises(QuestionError, match="no series 3"):
        service.ask(ada, files, "Is there a mass?", ["sft"], "reason", True, series=3)
    with pytest.raises(QuestionError, match="2 to 32"):
        service.ask(ada, files, "Is there a mass?", ["sft"], "reason", True, samples=1)


def test_a_flagged_answer_says_so(session: Session) -> None:
    assert session.asked is not None
    assert board(session).count(">Flag</button>") == 3
    session.note_flag(session.asked, "rl")
    page = board(session)
    assert page.count(">Flag</button>") == 2 and page.count("Flagged</button>") == 1
