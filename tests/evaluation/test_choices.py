"""Multiple choice from the prompt to the tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from rarl.data.example import Example, ImageRef
from rarl.errors import DataError, QuestionError
from rarl.evaluation.asked import asked_under
from rarl.evaluation.image_ablations import ROTATED
from rarl.evaluation.rows import Row
from rarl.evaluation.run import evaluate, summarise
from rarl.evaluation.tables import as_text, place_table, rotation_table
from rarl.inference.engine import Answer, Question
from rarl.prompts import prompt_hash, user_text, words_of
from rarl.response import parse_response
from rarl.rewards.accuracy import accuracy_reward, is_right
from rarl.text.choice import read_choice, shuffled
from tests.evaluation.scripted_engine import ScriptedEngine

ORGANS = ("liver", "spleen", "left kidney", "kidney")


def example(root: Path, number: int, answer: str = "spleen", pictures: int = 1) -> Example:
    images = []
    for place in range(pictures):
        path = root / f"{number}-{place}.png"
        Image.new("RGB", (40 + number, 32), (20 * number, 99, 90)).save(path)
        images.append(ImageRef(path.name, path))
    return Example(
        id=f"organs/{number}",
        image=images[0],
        question="Which organ is shown?",
        answer=answer,
        explanation=None,
        kind="choice",
        modality="ct",
        organ="abdomen",
        facts=(),
        source="organs",
        licence="CC0-1.0",
        split="test",
        options=ORGANS,
        more=tuple(images[1:]),
    )


class Chooser(ScriptedEngine):
    """base always says A, sft knows the organ, rl names two, rarl names none."""

    def _answer(self, question: Question, arm: str) -> Answer:
        options = question.options
        answer_texts = {
            "base": "A",
            "sft": f"{'ABCD'[options.index('spleen')]}. spleen",
            "rl": "A or B",
            "rarl": "the pancreas",
        }[arm]
        text = f"<think>It is seen.</think><answer>{answer_texts}</answer>"
        return Answer(arm, parse_response(text, question.mode), 3, 0.1, True)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("B", [1]), ("b", [1]), ("(B)", [1]), ("B.", [1]), ("B: spleen", [1]),
        ("The answer is B", [1]), ("Option (C) is right", [2]), (r"\boxed{D}", [3]),
        ("Spleen.", [1]), ("It is the left kidney.", [2]), ("a kidney", [3]),
        ("A and B", [0, 1]), ("liver or spleen", [0, 1]), ("B. liver", [0, 1]),
        ("options A, C", [0, 2]), ("the left kidney and the kidney", [2, 3]),
        ("", []), ("a tumour", []), ("I think so", []), ("E", []), ("pancreas", []),
        ("A lesion of the spleen", [1]), ("not shown", []),
    ],
)  # fmt: skip
def test_an_answer_names_the_options_that_it_names(answer: str, named: list[int]) -> None:
    choice = read_choice(answer, ORGANS)
    assert list(choice.named) == named
    assert choice.index == (named[0] if len(named) == 1 else None)
    assert choice.ambiguous == (len(named) > 1)


def test_an_option_that_is_a_letter_is_not_taken_for_another_one() -> None:
    panels = ["Panel B", "B", "A"]
    assert read_choice("C", panels).index == 2
    # Letter and words point to two options, so neither counts.
    assert read_choice("A", panels).ambiguous
    assert read_choice("Panel B", panels).index == 0


def test_ambiguous_answers_are_wrong() -> None:
    right = {"reference": "spleen", "question": "Which organ?", "explanation": ""}
    assert is_right("B. spleen", **right, options=ORGANS)
    assert not is_right("liver or spleen", **right, options=ORGANS)
    texts = ["<answer>B</answer>", "<answer>A or B</answer>", "<answer>spleen</answer>"]
    rewards = accuracy_reward(
        [""] * 3, texts, answer=["spleen"] * 3, kind=["choice"] * 3, options=[ORGANS] * 3
    )
    assert rewards == [1.0, 0.0, 1.0]


def test_options_are_shuffled_by_seed_and_each_stands_once_at_each_place(tmp_path: Path) -> None:
    one = example(tmp_path, 1)
    orders = [asked_under(one, condition, 5) for condition in ("scan", *ROTATED)]  # type: ignore[arg-type]
    shown = [asked.options for asked in orders if asked is not None]
    assert len(shown) == len(ORGANS)
    assert all(set(column) == set(ORGANS) for column in zip(*shown, strict=True))
    assert shown[0] == shuffled(ORGANS, "5 organs/1")
    seeds = {shuffled(ORGANS, f"{seed} organs/1") for seed in range(20)}
    assert len(seeds) > 5


def test_the_prompt_shows_the_options(tmp_path: Path) -> None:
    question = Question((), "which organ?", ("base",), "answer", options=("liver", " the\nspleen"))
    assert words_of(question) == (
        "Which organ?\nA. liver\nB. the spleen\nChoose one option.\n"
        "Answer in <answer> </answer> only."
    )
    assert prompt_hash("reason", choice=True) != prompt_hash("reason")
    for options in (("one",), ("a", "A"), ("a", " "), tuple("abcdefghijk")):
        with pytest.raises(QuestionError, match="option"):
            user_text("Which?", options=options)
    assert len(user_text("x" * 1500, options=("a", "b"))) > 1500


def test_a_row_needs_its_answer_among_its_options(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one of the options, once"):
        example(tmp_path, 1, answer="pancreas")


def ask(root: Path, out: Path, examples: Sequence[Example]) -> list[Row]:
    return evaluate(
        Chooser(), examples, arms=("base", "sft", "rl", "rarl"), modes=("reason",), out=out,
        altered=lambda one: ("blank", *ROTATED), progress=False, seed=3,
    )  # fmt: skip


def test_rows_say_what_was_chosen_and_tables_what_holds(tmp_path: Path) -> None:
    examples = [example(tmp_path, number) for number in range(6)]
    rows = ask(tmp_path, tmp_path / "run", examples)
    # Scan, blank and three further rotations; four options have no more.
    assert len(rows) == 6 * 4 * 5
    for row in rows:
        assert row.position is not None
        assert sorted(row.options) == sorted(ORGANS)
        assert row.options[row.position] == row.reference == "spleen"
        if row.arm == "base":
            assert (row.chosen, row.exact) == (0, row.position == 0)
        if row.arm == "sft":
            assert row.exact and row.chosen == row.position and not row.ambiguous
        if row.arm == "rl":
            assert row.ambiguous and not row.exact and row.chosen is None
        if row.arm == "rarl":
            assert not row.ambiguous and not row.exact and row.chosen is None
    kept = [json.loads(line) for line in (tmp_path / "run/rows.jsonl").read_text().splitlines()]
    assert {tuple(row["options"]) for row in kept} == {row.options for row in rows}
    assert ask(tmp_path, tmp_path / "run", examples) == rows

    summary = summarise(Chooser(), rows)
    figures = {
        (one["arm"], one["metric"]): one["value"]
        for one in summary["figures"]
        if one["group"] == "organs test choice" and one["condition"] == "scan"
    }
    assert figures["sft", "exact"] == 1.0
    assert (figures["rl", "ambiguous"], figures["rl", "exact"]) == (1.0, 0.0)
    assert (figures["rarl", "unread"], figures["rarl", "ambiguous"]) == (1.0, 0.0)
    assert "organs test overall" not in {one["group"] for one in summary["figures"]}
    places = {(one["arm"], one["letter"]): one for one in summary["places"]}
    # In all rotations together the right option stands everywhere equally often.
    assert all(one["wanted"] == 0.25 and one["n"] == 6 for one in places.values())
    assert [places["base", letter]["chosen"] for letter in "ABCD"] == [1.0, 0.0, 0.0, 0.0]
    assert [places["base", letter]["right"] for letter in "ABCD"] == [1.0, 0.0, 0.0, 0.0]
    turned = {one["arm"]: one for one in summary["rotations"]}
    assert (turned["base"]["mean"], turned["base"]["always"], turned["base"]["same"]) == (
        0.25,
        0,
        0,
    )
    assert (turned["sft"]["mean"], turned["sft"]["always"], turned["sft"]["same"]) == (1, 1, 1)
    assert not place_table(summary, "reason").empty
    assert not rotation_table(summary, "reason").empty
    assert "In every order of the options" in as_text(summary)


def test_a_question_about_several_images_shows_them_all(tmp_path: Path) -> None:
    engine = Chooser()
    rows = evaluate(
        engine, [example(tmp_path, 2, pictures=3)], arms=("sft",), modes=("answer",),
        out=tmp_path / "run", altered=lambda one: ("blank",), progress=False,
    )  # fmt: skip
    assert [len(question.images) for asked in engine.batches for question in asked] == [3, 3]
    assert rows[0].shown == "2-0.png + 2-1.png + 2-2.png"
    assert rows[0].prompt == prompt_hash("answer", 3, choice=True)
