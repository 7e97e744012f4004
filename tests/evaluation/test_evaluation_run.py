import json
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from rarl.data.example import Example
from rarl.errors import DataError, QuestionError
from rarl.evaluation.image_ablations import Condition
from rarl.evaluation.rows import Row
from rarl.evaluation.run import evaluate, select, summarise
from tests.evaluation.scripted_engine import ScriptedEngine

ARMS = ("base", "sft", "rl", "rarl")


def label_blank(example: Example) -> tuple[Condition, ...]:
    return ("blank",) if example.category == "label" else ()


def ask(out: Path, engine: ScriptedEngine | None = None, **changes: object) -> list[Row]:
    examples = select("brain_tumor_mri").examples
    settings = {"arms": ARMS, "modes": ("reason",), "batch": 8, "progress": False} | changes
    return evaluate(engine or ScriptedEngine(), examples, out=out, **settings)  # type: ignore[arg-type]


def test_every_example_arm_and_condition_has_one_row(data: Path, tmp_path: Path) -> None:
    rows = ask(tmp_path / "run", altered=label_blank)
    assert len(rows) == 8 * 4 * 4 + 8 * 4
    assert len({row.key for row in rows}) == len(rows)
    assert [row.arm for row in rows[:8]] == [*ARMS, *ARMS]
    kept = (tmp_path / "run/rows.jsonl").read_text("utf-8").splitlines()
    assert len(kept) == len(rows)
    row = next(row for row in rows if row.category == "label" and row.arm == "rarl" and row.exact)
    assert row.text == "<think>It is rarl.</think><answer>a glioma</answer>"
    assert (row.reasoning, row.answer, row.reference, row.f1) == (
        "It is rarl.",
        "a glioma",
        "glioma",
        1.0,
    )
    assert (row.model, row.revision, row.model_revision) == (
        "scripted",
        "rarl00000000",
        "base00000000",
    )


def test_batches_are_of_like_questions_and_blanks_are_asked_once(
    data: Path, tmp_path: Path
) -> None:
    engine = ScriptedEngine()
    ask(tmp_path / "run", engine, altered=lambda example: ("blank",))
    # 4 questions about 8 pictures, then about blank ones of 2 sizes.
    assert [len(asked) for asked in engine.batches] == [8] * 5
    lengths = [len(question.text) for asked in engine.batches[:4] for question in asked]
    assert lengths == sorted(lengths)
    # Every picture is loaded once, so that an engine can tell that it is the same.
    assert len({id(one.images[0].image) for asked in engine.batches for one in asked}) == 10


def test_a_killed_run_goes_on_to_the_same_result(data: Path, tmp_path: Path) -> None:
    whole = ask(tmp_path / "whole", altered=lambda example: ("blank",))
    with pytest.raises(KeyboardInterrupt):
        ask(tmp_path / "killed", ScriptedEngine(fail_after=3), altered=lambda example: ("blank",))
    path = tmp_path / "killed/rows.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    engine = ScriptedEngine()
    assert ask(tmp_path / "killed", engine, altered=lambda example: ("blank",)) == whole
    assert len(engine.batches) == 3  # two that were never asked, one that lost half a line
    engine = ScriptedEngine()
    assert ask(tmp_path / "killed", engine, altered=lambda example: ("blank",)) == whole
    assert engine.batches == []


def test_more_arms_and_questions_add_to_a_run(data: Path, tmp_path: Path) -> None:
    first = ask(tmp_path / "run", arms=("sft",))
    both = ask(tmp_path / "run", arms=("sft", "rarl"), modes=("reason", "answer"))
    assert len(both) == 4 * len(first)
    assert [row for row in both if row.arm == "sft" and row.mode == "reason"] == first


@pytest.mark.parametrize("changes", [{"seed": 1}, {"max_new_tokens": 8}, {"temperature": 0.1}])
def test_other_settings_do_not_mix(data: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    ask(tmp_path / "run")
    with pytest.raises(DataError, match=f"its {next(iter(changes))} differ"):
        ask(tmp_path / "run", **changes)


def test_another_adapter_does_not_mix(data: Path, tmp_path: Path) -> None:
    ask(tmp_path / "run")
    engine = ScriptedEngine()
    engine.arms = (*engine.arms[:3], replace(engine.arms[3], revision="another"))
    with pytest.raises(DataError, match="its revisions differ"):
        ask(tmp_path / "run", engine)


def test_damage_is_named(data: Path, tmp_path: Path) -> None:
    ask(tmp_path / "run")
    path = tmp_path / "run/rows.jsonl"
    path.write_text("{}\n" + path.read_text("utf-8"), "utf-8")
    with pytest.raises(DataError, match="line 1: not a row of this version"):
        ask(tmp_path / "run")
    (tmp_path / "run/settings.json").unlink()
    with pytest.raises(DataError, match="rows without settings"):
        ask(tmp_path / "run")


def test_kept_answers_are_judged_anew(data: Path, tmp_path: Path) -> None:
    rows = ask(tmp_path / "run")
    path = tmp_path / "run/rows.jsonl"
    content = path.read_text("utf-8")
    path.write_text(content.replace('"exact": true', '"exact": false'), "utf-8")
    assert ask(tmp_path / "run") == rows
    assert path.read_text("utf-8") == content


def test_another_wording_does_not_mix(data: Path, tmp_path: Path) -> None:
    example = select("brain_tumor_mri").examples[0]
    settings = {"arms": ARMS, "modes": ("reason",), "out": tmp_path / "run", "progress": False}
    evaluate(ScriptedEngine(), [example], **settings)  # type: ignore[arg-type]
    for changed in (replace(example, question="Who?"), replace(example, answer="me")):
        with pytest.raises(DataError, match="another wording of brain_tumor_mri/"):
            evaluate(ScriptedEngine(), [changed], **settings)  # type: ignore[arg-type]


def test_arms_must_be_on_offer_and_ids_unique(data: Path, tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match="no arm 'dpo'; choose from base, sft, rl, rarl"):
        ask(tmp_path / "run", arms=("dpo",))
    example = select("brain_tumor_mri").examples[0]
    with pytest.raises(DataError, match="same id"):
        evaluate(ScriptedEngine(), [example, example], arms=ARMS, modes=("reason",), out=tmp_path)
    with pytest.raises(DataError, match="has no picture"):
        evaluate(
            ScriptedEngine(), [replace(example, image=None)],
            arms=ARMS, modes=("reason",), out=tmp_path,
        )  # fmt: skip


def test_a_selection_says_its_split(data: Path) -> None:
    chosen = select("brain_tumor_mri", limit=5, seed=1)
    assert (chosen.split, len(chosen.examples)) == ("test", 5)
    assert chosen == select("brain_tumor_mri:test", limit=5, seed=1)
    assert chosen != select("brain_tumor_mri:test", limit=5, seed=2)
    with pytest.raises(DataError, match="There is no split 'tset'"):
        select("brain_tumor_mri:tset")
    with pytest.raises(DataError, match="has no unseen row; it has test"):
        select("brain_tumor_mri:unseen")
    with pytest.raises(DataError, match="There is no data set 'x'"):
        select("x")


def test_a_limited_selection_keeps_the_shares_of_its_strata(data: Path) -> None:
    whole = select("brain_tumor_mri").examples
    shares = Counter((row.kind, row.category) for row in whole)
    assert len(shares) > 2
    for limit, seed in product((8, 13, len(whole) - 1), (1, 2, 3)):
        drawn = select("brain_tumor_mri", limit, seed).examples
        assert len({row.id for row in drawn}) == limit
        assert list(drawn) == [row for row in whole if row in drawn]  # in the set's order
        for stratum, count in Counter((row.kind, row.category) for row in drawn).items():
            assert abs(count - limit * shares[stratum] / len(whole)) <= 1, stratum


def test_the_summary_holds_what_a_figure_needs(data: Path, tmp_path: Path) -> None:
    rows = ask(tmp_path / "run", altered=label_blank, seed=7)
    summary = json.loads(json.dumps(summarise(ScriptedEngine(), rows)))
    found = {
        (one["group"], one["arm"], one["condition"], one["metric"]): one
        for one in summary["figures"]
    }
    label = found["brain_tumor_mri test label", "rarl", "scan", "exact"]
    assert (label["value"], label["n"], label["images"], label["seed"]) == (0.5, 8, 8, 7)
    assert label["low"] < 0.5 < label["high"]
    assert (label["model_revision"], label["revision"]) == ("base00000000", "rarl00000000")
    assert found["brain_tumor_mri test label", "sft", "blank", "exact"]["value"] == 0.25
    assert found["modality and organ", "sft", "scan", "exact"]["value"] == 0.5
    assert found["all questions", "base", "scan", "well_formed"]["value"] == 0
    assert found["all questions", "rl", "scan", "well_formed"]["value"] == 1
    pairs = {(one["group"], one["first"], one["second"]): one for one in summary["differences"]}
    image = pairs["brain_tumor_mri test label", "rarl scan", "rarl blank"]
    assert (image["value"], image["only_first"], image["only_second"]) == (0.25, 2, 0)
    arms = pairs["all questions", "rarl scan", "sft scan"]
    assert arms["n"] == 32 and 0 < arms["changed"] < 0.5
    assert summary["interval"]["resamples"] == 10_000
