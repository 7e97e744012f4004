"""Votes, corrections and flags train an adapter through the real command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from rarl.cli import main
from rarl.data import Example
from rarl.errors import DataError
from rarl.inference import load_offer
from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.prompts import target_text
from rarl.response import parse_response
from rarl.review import Judgement, Queue, case_from, open_store
from rarl.review.training_rows import JudgedAnswer, judged_answers
from rarl.training.preference import Preferences

ARMS = tuple(Arm(name, name.upper(), 12 * str(number)) for number, name in enumerate(("a", "b")))


@pytest.fixture
def home(
    tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """A review store in which readers prefer the right one of two answers."""

    def make(blind: bool = True) -> Path:
        folder = tmp_path / "home"
        monkeypatch.setenv("RARL_HOME", str(folder))
        monkeypatch.delenv("RARL_DATABASE_URL", raising=False)
        store = open_store()
        for number in range(24):
            row = examples[5 * (number % 8)]
            assert row.image is not None
            # Other pixels make other pictures, of which one in five trains nothing.
            picture = row.image.load().convert("RGB")
            picture.putpixel((0, 0), (number, 0, 0))
            texts = [
                target_text(answer, "It shows this.", "reason") for answer in (row.answer, "other")
            ]
            question = Question(
                (NamedImage(picture),), row.question, ("a", "b"), decoding=Decoding()
            )
            case = case_from(
                question,
                [
                    Answer(arm.name, parse_response(text), 9, 1.0, done=True)
                    for arm, text in zip(ARMS, texts, strict=True)
                ],
                arms=ARMS, model="tiny", prompt_hash="f" * 64, blind=blind,
            )  # fmt: skip
            store.add_case(case)
            store.add_vote(case.id, "better", "a", reader="bo")
            if number < 4:
                store.add_flag(case.id, "b", "other", "major", "no", "bo")
        store.close()
        return folder

    return make


def command(recipe: str, base: Path, out: Path, *more: str) -> list[str]:
    words = ["train", recipe, "--model", str(base), "--data", "review", "--out", str(out)]
    for change in (
        "batch=4", "micro_batch=4", "learning_rate=3e-3", "warmup_steps=0", "log_steps=1",
        "save_steps=2",
    ):  # fmt: skip
        words += ["--set", change]
    return [*words, *more]


@pytest.mark.parametrize("recipe", ["dpo", "kto"])
def test_a_few_steps_make_an_adapter_that_wins_held_out_votes(
    recipe: str, home: Callable[..., Path], tiny: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    home()
    out = tmp_path / recipe
    assert main(command(recipe, tiny, out, "--max-steps", "2", "--json")) == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert record["recipe"] == recipe and record["moved"]
    assert "Pre-flight: " in shown.err and "Warning" not in shown.err
    assert ("ln 2" in shown.err) == (recipe == "dpo")
    chosen = record["selection"]
    assert chosen["votes"] + record["data"]["rows"] - (4 if recipe == "kto" else 0) <= 24
    assert chosen["votes"] > 0 and [row["step"] for row in chosen["table"]] == [0, 2]
    assert chosen["table"][0]["win_rate"] == 0.5
    assert chosen["table"][1]["win_rate"] > 0.5
    assert {"length", "looks", "win_rate_low"} <= chosen["table"][1].keys()
    card = (out / "README.md").read_text("utf-8")
    assert "held-out votes" in card and "guards" in card
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    # Of KTO only where a pass holds good answers and bad ones.
    assert any("preference_margin" in line for line in lines)
    if recipe == "dpo":
        assert lines[1]["preference_margin"] > lines[0]["preference_margin"]
    # It stands beside the base by the file that the run has written.
    labels = [arm.label for arm in load_offer(str(out / "variants.yaml")).engine.arms]
    assert labels == ["Base", recipe]
    # A run that is made longer goes on where it ended.
    assert main(command(recipe, tiny, out, "--max-steps", "3", "--resume", "--json")) == 0
    longer = json.loads(capsys.readouterr().out)
    assert [row["step"] for row in longer["selection"]["table"]] == [0, 2, 3]


def test_what_readers_said_becomes_rows(
    home: Callable[..., Path], tmp_path: Path, examples: list[Example]
) -> None:
    home()
    store = open_store()
    judged = judged_answers(store, [])
    assert len(judged.pairs) + len(judged.held_out_votes) == 24
    pictures = {pair.images for pair in judged.pairs}
    assert not pictures & {pair.images for pair in judged.held_out_votes}
    assert {one.good for one in judged.alone} == {False}
    for_kto = Preferences.of(judged, "kto")
    singles = for_kto.singles()
    assert sum(one.good for one in singles) == len(judged.pairs)
    # What was flagged and lost its vote is the same bad answer, from two sides.
    assert len(singles) == 2 * len(judged.pairs) + len(judged.alone)
    assert len(for_kto.limited(5, 0).examples()) == 5
    assert Preferences.of(judged, "dpo").alone == ()
    # A flag that was overruled says nothing.
    flag = store.flags()[-1]
    for name, explanation in (("x", 3), ("y", 2)):
        Queue(store.for_person(name, "reader")).judge(flag.case_id, "b", Judgement(3, explanation))
    Queue(store.for_person("z", "admin")).adjudicate(flag.case_id, "b", Judgement(3, 3))
    after = judged_answers(store, []).alone
    assert len(after) <= len(judged.alone)
    assert flag.case_id not in {one.case_id for one in after}
    store.close()


def test_votes_with_names_train_nothing(
    home: Callable[..., Path], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home(blind=False)
    assert main(command("dpo", tiny, tmp_path / "out")) == 2
    assert "names of the variants hidden" in capsys.readouterr().err
    words = command("dpo", tiny, tmp_path / "out")
    words[words.index("review")] = "brain_tumor_mri"
    assert main(words) == 2
    assert "add review to --data" in capsys.readouterr().err
    store = open_store()
    with pytest.raises(DataError, match="good answers and bad ones"):
        Preferences.of(judged_answers(store, []), "kto")
    store.close()


def test_a_picture_is_read_as_it_is_shown() -> None:
    answer = JudgedAnswer("flag", "c", (_png(),), ("",), "Q?", "no", good=False)
    (row,) = Preferences((), (answer,), ()).examples()
    assert row.image is not None and row.image.load().size == (20, 10)
    assert (row.split, row.answer, row.explanation) == ("train", "", "no")


def _png() -> bytes:
    file = BytesIO()
    Image.new("L", (20, 10), 7).save(file, "png")
    return file.getvalue()
