"""Floors of the embedded model that need more than a share: kappa, words, dialogues."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from rarl.data.example import Example, ImageRef
from rarl.inference import load_engine
from rarl.pocket.dialogues import Dialogue, hold, script
from rarl.pocket.floor_checks import grade_kappa, training_words, unknown_words

FLOORS = Path(__file__).parents[2] / "scripts" / "floors"
MODEL = Path(__file__).parents[2] / "assets" / "tiny"


def rows_of(source: str, key: str, content: bytes, **answers: str) -> list[Example]:
    return [
        Example(
            id=f"{key}/{category}",
            image=ImageRef(key, data=content),
            question=f"Which {category}?",
            answer=answer,
            explanation=f"The {category} is {answer}.",
            kind="open",
            modality="MRI",
            organ="brain",
            facts=(),
            source=source,
            licence="CC0-1.0",
            split="test",
            category=category,
            wordings=("What do you see?",),
        )
        for category, answer in answers.items()
    ]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    path = tmp_path_factory.mktemp("images") / "image.png"
    Image.new("L", (64, 64), 90).save(path)
    content = path.read_bytes()
    rows = []
    for number in range(6):
        rows += rows_of("a", f"a{number}", content, modality="MRI", organ="brain", label="glioma")
        rows += rows_of("b", f"b{number}", content, organ="knee", label=str(number % 5))
    return rows


def graded(stated: str, reference: str) -> Any:
    return SimpleNamespace(answer=stated, reference=reference, image=reference + stated)


def test_kappa_counts_what_states_no_grade_as_farthest() -> None:
    right = [graded(f"grade {grade}", str(grade)) for grade in range(5)]
    assert grade_kappa(right).value == pytest.approx(1.0)
    near = [graded(str(min(4, grade + 1)), str(grade)) for grade in range(5)]
    silent = [graded("I cannot tell", str(grade)) for grade in range(5)]
    two = [graded("grade 1 or 2", str(grade)) for grade in range(5)]
    assert 0.5 < grade_kappa(near).value < 1
    assert grade_kappa(silent).value == grade_kappa(two).value < 0


def test_words_are_known_from_training_texts_alone(examples: list[Example]) -> None:
    known = training_words(examples)
    assert {"glioma", "brain", "see", "which"} <= known
    texts = ["The brain is MRI.", "rightyes glioma", "The brain-label is 12"]
    assert unknown_words(texts, known) == (1, 9, ["rightyes"])


def test_dialogues_take_each_picture_once_and_cover_every_kind(examples: list[Example]) -> None:
    dialogues = script(examples, 10, seed=0)
    assert script(examples, 10, seed=0) == dialogues
    assert script(examples, 10, seed=1) != dialogues
    images = [one.first.image.key for one in dialogues if one.first.image is not None]
    assert len(set(images)) == 10
    kinds = {(one.second.source, one.second.category) for one in dialogues}
    assert kinds == {(row.source, row.category) for row in examples}
    assert all(one.first.category != one.second.category for one in dialogues)
    grades = [one for one in dialogues if one.second.answer.isdigit()]
    assert grades and all("grade" in one.follow_up for one in grades)
    with pytest.raises(ValueError, match="allow 12 dialogues, 13"):
        script(examples, 13, seed=0)


def test_a_yes_or_no_label_is_no_answer_to_what_it_shows(examples: list[Example]) -> None:
    closed = [
        replace(row, answer="no", kind="closed") if row.category == "label" else row
        for row in examples
    ]
    assert {one.second.category for one in script(closed, 6, 0)} == {"modality", "organ"}


def test_a_follow_up_is_asked_with_the_turn_before(examples: list[Example]) -> None:
    asked = []

    class Watched:
        def answer_batch(self, questions: Any) -> Any:
            asked.extend(questions)
            return engine.answer_batch(questions)

    engine = load_engine(str(MODEL))
    (first, second) = examples[0], examples[1]
    replies = hold(Watched(), "base", [Dialogue(first, second, "And which part is that?")])  # type: ignore[arg-type]
    opening, follow_up = asked
    assert opening.text == first.question and not opening.earlier
    assert follow_up.text == "And which part is that?"
    (turn,) = follow_up.earlier
    assert turn.text == first.question and turn.answers["base"]
    (reply,) = replies
    assert reply.right == ("brain" in reply.text.rpartition("<answer>")[2])


def test_misspelt_words_are_in_no_dictionary() -> None:
    known = runpy.run_path(str(FLOORS))["english_words"]()
    texts = ["Cholecystectomy and enteritis.", "A fundibilus, a cholescystectomy."]
    assert unknown_words(texts, known)[2] == ["cholescystectomy", "fundibilus"]


def test_the_script_holds_answers_and_dialogues_against_their_floors() -> None:
    floors = runpy.run_path(str(FLOORS))
    row = SimpleNamespace(
        arm="base", condition="scan", draw=0, source="knee_oa", category="label",
        reasoning="The knee", answer="2", reference="2", image="k",
    )  # fmt: skip
    other = SimpleNamespace(**{**vars(row), "answer": "3", "reference": "3", "image": "l"})
    kappa, words = floors["check_rows"]([row, other], ["base"], {"the", "knee"})
    assert kappa.passed and kappa.value == pytest.approx(1.0) and words.passed
    _, words = floors["check_rows"]([row], ["base"], {"the"})
    assert not words.passed and words.shown == "1 of 2 (knee)"
    reply = SimpleNamespace(right=True)
    wrong = SimpleNamespace(right=False)
    good, bad = floors["check_dialogues"]({"base": [reply] * 3, "sft": [reply, wrong]})
    assert good.passed and not bad.passed and bad.shown == "1 of 2"
