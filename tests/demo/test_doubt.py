"""What differs between columns, whether an answer needed its image, and how it was made."""

from __future__ import annotations

import doctest
import importlib
from dataclasses import replace

import numpy as np
import pytest
from opened import report_of, scan_of, session_with
from PIL import Image
from scripted import ScriptedEngine

from demo.pages.ask import side_panels
from demo.pages.ask.provenance import behind_view, facts, prompt_of, texts_of
from demo.pages.ask.reliability import check_reliance, lit, other_scan, reliance_sentence
from demo.services.asking import ask
from demo.services.differences import differences, words_of
from demo.services.engine_loader import EngineLoader
from demo.services.examples import BUILT_IN, open_examples
from demo.services.volumes import Volume
from demo.session import Asked, Session
from rarl.errors import QuestionError
from rarl.inference.engine import Answer, Question, Seen, Turn
from rarl.response import parse_response

LABELS = {"sft": "SFT", "rl": "RL", "rarl": "RARL"}
EVIL = "</pre><img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    "name",
    [
        "demo.services.asking",
        "demo.services.differences",
        "rarl.stats.bradley_terry",
        "rarl.prompts",
    ],
)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried and not failed


def said(arm: str, reasoning: str, answer: str) -> Answer:
    text = f"<think>{reasoning}</think><answer>{answer}</answer>"
    return Answer(arm, parse_response(text), 9, 0.1, True)


@pytest.mark.parametrize(
    ("one", "other", "kinds"),
    [
        ("There is no nodule in the lung.", "There is a nodule in the left lung.", {"finding"}),
        ("It is a CT of the chest.", "It is an MRI of the chest.", {"modality"}),
        ("It is an X-ray of the chest.", "It is an X-ray of the abdomen.", {"organ"}),
        ("The mass is in the left kidney.", "The mass is in the right kidney.", {"side"}),
        ("There is no nodule in the right side.", "There is no nodule in the left.", {"side"}),
        # Different things, and the same thing in other words, are no difference.
        ("There is no effusion.", "There is a rib fracture.", set()),
        ("There is no mass.", "No mass is seen.", set()),
    ],
)
def test_facts_that_one_states_and_another_denies(one: str, other: str, kinds: set[str]) -> None:
    found = differences([said("sft", one, "yes"), said("rl", other, "yes")])
    assert {difference.kind for difference in found} == kinds


def test_only_arms_that_speak_of_it_are_marked() -> None:
    found = differences(
        [
            said("sft", "There is a nodule.", "yes"),
            said("rl", "There is no nodule.", "no"),
            said("rarl", "The heart is large.", "no"),
        ]
    )
    assert words_of(found, "sft") == words_of(found, "rl") == {"nodule"}
    assert not words_of(found, "rarl")


class Looking(ScriptedEngine):
    """Answers by the mean grey of its picture, except for `sft`, which never looks."""

    def answer_batch(self, questions: list[Question]) -> list[tuple[Answer, ...]]:  # type: ignore[override]
        def answer(question: Question, arm: str) -> Answer:
            grey = np.asarray(question.images[0].image.convert("L")).mean()
            return said(arm, "", "no" if arm == "sft" or grey < 100 else "yes")

        return [tuple(answer(one, arm) for arm in one.arms) for one in questions]


@pytest.fixture
def session() -> Session:
    held = session_with(scan_of(Image.new("L", (64, 48), 90), modality="CR"))
    loader = EngineLoader(ScriptedEngine).start()
    loader.wait(5)
    list(ask(loader, held, "Nodule?", "reason", "compare", report_of(held)))
    return held


def test_reliance_tells_who_needed_the_image(session: Session) -> None:
    assert session.asked is not None
    answers = tuple(said(arm, "", "no") for arm in ("sft", "rl"))
    question = replace(session.asked.question, arms=("sft", "rl"))
    asked = replace(session.asked, question=question, answers=answers)
    white = ("a white picture", Image.new("RGB", (10, 10), (255, 255, 255)))
    found = check_reliance(Looking(), asked, white)
    sentence = reliance_sentence(found, LABELS)
    assert "SFT did not need this image" in sentence
    assert "RL answered otherwise without this image" in sentence
    page = side_panels.reliance(found, LABELS)
    assert "a white picture" in page and sentence in page


def test_a_mirrored_scan_must_flip_the_side(session: Session) -> None:
    class Stubborn(ScriptedEngine):
        def answer_batch(self, questions: list[Question]) -> list[tuple[Answer, ...]]:  # type: ignore[override]
            return [(said("rl", "", "left"),) for _ in questions]

    assert session.asked is not None
    question = replace(session.asked.question, arms=("rl",))
    asked = replace(session.asked, question=question, answers=(said("rl", "", "left"),))
    found = check_reliance(Stubborn(), asked, ("another", Image.new("L", (9, 9))))
    assert "RL did not follow the mirrored scan" in reliance_sentence(found, LABELS)


def test_another_scan_is_of_the_same_modality_and_not_the_open_one() -> None:
    examples = list(open_examples(BUILT_IN).values())
    head = next(one for one in examples if one.example.key == "ct-head")
    held = session_with(scan_of(modality="CT"))
    assert held.active is not None
    held.active.volume = Volume(head.stack())
    assert other_scan(held, examples)[0] == "CT, spine"
    with pytest.raises(QuestionError, match="no other scan"):
        other_scan(held, [head])


def test_a_heat_map_lies_where_its_weights_are() -> None:
    weights = np.zeros((4, 4), np.float32)
    weights[0, 3] = 1
    picture = np.asarray(lit(Image.new("L", (80, 80), 90), weights, 1.0)).astype(int)
    warm = picture[..., 0] - picture[..., 2]
    assert warm[4, 76] > 100 and warm[70, 10] == 0
    nowhere = np.asarray(lit(Image.new("L", (8, 8), 90), np.zeros((2, 2), np.float32), 0.0))
    assert (nowhere == 90).all()


def test_behind_the_scenes_says_what_made_the_answers(session: Session) -> None:
    asked = session.asked
    assert asked is not None
    asked = replace(asked, typed=EVIL, question=replace(asked.question, text=EVIL))
    seen = [Seen(Image.new("RGB", (56, 56)), 4)]
    texts = texts_of(ScriptedEngine(), asked)
    facts_shown = facts(asked, seen, texts)
    assert facts_shown["pictures"][0]["image_tokens"] == 4
    assert {arm["revision"] for arm in facts_shown["arms"]} == {arm.revision for arm in asked.arms}
    assert facts_shown["answers"][0]["text"] == asked.answers[0].response.text
    page = behind_view(asked, seen, texts)
    assert EVIL not in page and "56 × 56: 4 image tokens" in page


def test_earlier_turns_are_in_the_prompt_of_arms_that_chat_alone(session: Session) -> None:
    asked = session.asked
    assert asked is not None
    before = Turn("Which organ?", "reason", {"sft": "the chest", "rl": "the lung"})
    talking, silent = replace(asked.arms[0], chats=True), asked.arms[1]
    asked = replace(
        asked, arms=(talking, silent), question=replace(asked.question, earlier=(before,))
    )
    turns = prompt_of(asked, talking.name)
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert "the chest" in str(turns[1])
    assert ["image" in str(turn) for turn in turns] == [True, False, False]
    assert len(prompt_of(asked, silent.name)) == 1
    page = behind_view(
        asked, [Seen(Image.new("RGB", (56, 56)), 4)], texts_of(ScriptedEngine(), asked)
    )
    assert f"{silent.label} read this question alone" in page


def test_questions_are_kept_and_come_back_with_their_scan(session: Session) -> None:
    first = session.asked
    loader = EngineLoader(ScriptedEngine).start()
    loader.wait(5)
    session.case_id = "a" * 32
    list(ask(loader, session, "Effusion?", "reason", "rl", report_of(session)))
    assert [one.typed for one in session.history] == ["Nodule?", "Effusion?"]
    assert session.case_id is None  # the second question is a case of its own
    assert isinstance(first, Asked) and session.reopen(first.number) is first
    assert session.case_id == "a" * 32
    assert session.turns()[-1].answers.keys() == {"rl"}
    before = session.scans
    session.show(scan_of())
    # Another scan is open: its answers start empty, and a follow-up reads none of the others.
    assert session.asked is None and session.turns() == ()
    assert [one.typed for one in session.history] == ["Nodule?", "Effusion?"]
    assert session.reopen(first.number) is first and session.scans == before


def test_a_scan_that_was_removed_or_replaced_comes_back(session: Session) -> None:
    before = session.scans
    session.show(scan_of(), beside=True)
    assert session.asked is not None and not session.can_undo  # nothing was taken away
    both = session.scans
    session.change(*before)
    assert session.can_undo and session.asked is not None
    assert session.undo() and session.scans == both and not session.undo()
    session.change()
    assert session.asked is None and session.active is None
    assert session.undo() and session.scans == both
    # A reader who opens many scans does not fill the memory.
    for _ in range(9):
        session.show(scan_of())
    assert len(session.closed) == 4 and session.history


def test_a_scan_opened_while_an_answer_streams_keeps_what_has_come(session: Session) -> None:
    loader = EngineLoader(lambda: ScriptedEngine(pause=0.02)).start()
    loader.wait(5)
    stream = ask(loader, session, "Effusion?", "reason", "compare", report_of(session))
    while session.asked is None or session.asked.typed != "Effusion?":
        next(stream)
    session.show(scan_of())
    list(stream)
    kept = session.history[-1]
    assert kept.typed == "Effusion?" and all(one.done and one.stopped for one in kept.answers)
