"""Pass rates: which training questions RL can learn from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rarl.cli import main
from rarl.data import Example, load_examples
from rarl.errors import DataError
from rarl.inference import load_engine
from rarl.inference.engine import Engine
from rarl.models.loader import weights_revision
from rarl.training.pass_rates import (
    PassRate,
    in_turn,
    measure_pass_rates,
    read_pass_rates,
    with_differing_answers,
)


@pytest.fixture(scope="module")
def engine(tiny: Path) -> Engine:
    return load_engine(str(tiny))


def rate(name: str, right: int, revision: str = "a" * 12) -> PassRate:
    return PassRate(name, right, 4, revision, "answer", 0)


@pytest.mark.usefixtures("examples")
def test_a_second_run_asks_only_what_is_new(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = load_examples(["brain_tumor_mri"], ["train"])[:6]
    out = tmp_path / "rates.jsonl"
    first = measure_pass_rates(engine, rows[:4], out, samples=3, max_new_tokens=4)
    assert [one.id for one in first] == [row.id for row in rows[:4]]
    assert all(0 <= one.right <= one.samples == 3 for one in first)
    with out.open("a") as file:
        file.write('{"id": "cut sh')  # as a killed run leaves it
    out.write_text("\n".join(out.read_text().splitlines()[:-1]) + "\n")
    asked: list[str] = []
    usual = type(engine).answer_batch
    monkeypatch.setattr(
        type(engine),
        "answer_batch",
        lambda self, questions: asked.extend(q.text for q in questions) or usual(self, questions),
    )
    second = measure_pass_rates(engine, rows, out, samples=3, max_new_tokens=4)
    assert len(asked) == 2 * 3 and second[:4] == first
    assert read_pass_rates(out) == second
    with pytest.raises(DataError, match="of another base, mode, seed"):
        measure_pass_rates(engine, rows, out, samples=5)


@pytest.mark.usefixtures("examples")
def test_samples_differ_from_each_other_and_count_right_answers(
    engine: Engine, tmp_path: Path
) -> None:
    row = load_examples(["brain_tumor_mri"], ["train"])[0]
    # Whatever an untrained model says first is right in one of these rows and in no other.
    rows = [replace(row, id=str(n), answer=answer) for n, answer in enumerate(("yes", "no"))]
    rates = measure_pass_rates(engine, rows, tmp_path / "r.jsonl", samples=4, max_new_tokens=2)
    assert sum(one.right for one in rates) <= 4
    again = measure_pass_rates(engine, rows, tmp_path / "s.jsonl", samples=4, max_new_tokens=2)
    assert again == rates, "the same seed draws the same"


def test_what_is_always_right_or_wrong_is_left_out() -> None:
    row = PassRate  # the examples need an id alone
    examples = [rate(name, 0) for name in "abcd"]
    rates = [rate("a", 0), rate("b", 4), rate("c", 1)]
    kept = with_differing_answers(examples, rates, "a" * 12)  # type: ignore[arg-type]
    assert [one.id for one in kept] == ["c"] and isinstance(kept[0], row)
    with pytest.raises(DataError, match="of another base"):
        with_differing_answers([], rates, "b" * 12)
    with pytest.raises(DataError, match="No question has both"):
        with_differing_answers(examples, rates[:2], "a" * 12)  # type: ignore[arg-type]


def test_each_kind_of_question_comes_in_turn(examples: list[Example]) -> None:
    rows = in_turn(examples, seed=0)
    kinds = {row.category for row in rows}
    assert len(rows) == len(examples) and len(kinds) > 1
    assert {row.category for row in rows[: len(kinds)]} == kinds
    assert in_turn(examples, seed=1) != rows == in_turn(examples, seed=0)


def test_a_line_cut_short_at_the_end_is_left_out_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rates.jsonl"
    line = json.dumps({"id": "a", "right": 1, "samples": 4, "model_revision": "a", "mode": "answer",
                       "seed": 0})  # fmt: skip
    path.write_text(f'{line}\n{{"id": "b", "ri')
    assert [one.id for one in read_pass_rates(path)] == ["a"]
    path.write_text(f"nonsense\n{line}\n")
    with pytest.raises(DataError, match="Line 1 of"):
        read_pass_rates(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_pass_rates(tmp_path / "none")


@pytest.mark.usefixtures("examples")
def test_the_command_measures_and_train_takes_the_questions_in_between(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rates.jsonl"
    words = ["pass-rates", "--model", str(tiny), "--data", "brain_tumor_mri", "--out", str(out)]
    assert main([*words, "--samples", "2", "--limit", "5", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["questions"] == 5
    assert record["all_right"] + record["all_wrong"] + record["differ"] == 5
    ids = [row.id for row in load_examples(["brain_tumor_mri"], ["train"])]
    measured = [one.id for one in read_pass_rates(out)]
    assert set(measured) <= set(ids)
    # An untrained model is hardly ever right: the counts are set, the rest is the real run.
    revision = weights_revision(tiny)
    lines = [
        json.dumps({"id": one, "right": number % 2, "samples": 2, "model_revision": revision,
                    "mode": "answer", "seed": 0})
        for number, one in enumerate(measured)
    ]  # fmt: skip
    out.write_text("\n".join(lines) + "\n")
    train = ["train", "rl", "--model", str(tiny), "--data", "brain_tumor_mri", "--max-steps", "1"]
    for change in "prompts=2 group=2 micro_batch=4 max_completion=6 held_out=0".split():
        train += ["--set", change]
    train += ["--pass-rates", str(out), "--out", str(tmp_path / "rl"), "--json"]
    assert main(train) == 0
    captured = capsys.readouterr()
    assert "2 questions are trained on; of those sampled, the base gets 40 %" in captured.err
    assert json.loads(captured.out)["data"]["rows"] == 2
