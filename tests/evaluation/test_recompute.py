"""Every figure follows from the rows, and other programs can read them."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from rarl.cli import main
from rarl.errors import DataError
from rarl.evaluation.contamination import find_leaks
from rarl.evaluation.exports import FORMS, export
from rarl.evaluation.image_ablations import ALTERED, ROTATED
from rarl.evaluation.recompute import read_run, rows_of, verify
from rarl.evaluation.recording import pixel_hash
from rarl.evaluation.rows import Row
from rarl.evaluation.run import evaluate, select, summarise
from rarl.evaluation.run_files import MANIFEST, ROWS, SUMMARY, write_run
from rarl.prompts import user_text
from tests.evaluation.scripted_engine import ScriptedEngine
from tests.evaluation.test_choices import Chooser, example


@pytest.fixture
def run(data: Path, tmp_path: Path) -> tuple[Path, list[Row]]:
    examples = select("brain_tumor_mri").examples
    engine, folder = ScriptedEngine(), tmp_path / "run"
    rows = evaluate(
        engine, examples, arms=("base", "rarl"), modes=("reason",), out=folder,
        altered=lambda one: ALTERED, draws=lambda one: 1, progress=False,
    )  # fmt: skip
    leaks = find_leaks([], examples)
    write_run(folder, summarise(engine, rows, leaks), rows, leaks, report=False)
    return folder, rows


def test_rows_hold_what_they_were_made_of(run: tuple[Path, list[Row]]) -> None:
    folder, rows = run
    images = {one.id: one.image for one in select("brain_tumor_mri").examples}
    for row in rows:
        turns = json.loads(row.asked)
        assert turns[0]["content"][-1]["text"] == user_text(row.question)
        if row.condition == "scan":
            image = images[row.id]
            assert image is not None
            assert row.picture_hashes == (pixel_hash(image.load()),)
            assert json.loads(row.scored_against)["facts"]
    hashes = {row.condition: row.picture_hashes for row in rows if row.id == rows[0].id}
    # These pictures have one colour, so that mirrored they are the same.
    assert hashes["scan"] == hashes["mirrored"]
    assert len({hashes[name] for name in ("scan", "blank", "swapped")}) == 3
    frame, _ = read_run(folder)
    assert rows_of(frame) == rows


def test_a_run_is_recomputed(run: tuple[Path, list[Row]]) -> None:
    found = verify(run[0])
    assert (found.differences, found.notes) == ((), ())
    assert main(["evaluate", "--verify", str(run[0])]) == 0


def test_multiple_choice_is_recomputed(tmp_path: Path) -> None:
    examples = [example(tmp_path, number) for number in range(3)]
    rows = evaluate(
        Chooser(), examples, arms=("base", "sft"), modes=("reason",), out=tmp_path / "run",
        altered=lambda one: ROTATED, progress=False,
    )  # fmt: skip
    write_run(tmp_path / "run", summarise(Chooser(), rows), rows, report=False)
    assert verify(tmp_path / "run").differences == ()


def test_a_changed_figure_is_found(
    run: tuple[Path, list[Row]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = run[0] / SUMMARY
    summary = json.loads(path.read_text("utf-8"))
    chosen = next(one for one in summary["figures"] if one["metric"] == "exact")
    chosen["value"] = 0.99
    path.write_text(json.dumps(summary), "utf-8")
    assert main(["evaluate", "--verify", str(run[0])]) == 1
    output = capsys.readouterr().out
    assert "summary.json is not the file that the run wrote" in output
    assert f"figures, {chosen['group']}, {chosen['arm']}" in output
    assert "value is 0.99 in summary.json" in output


def test_a_changed_score_and_a_changed_text_are_found(run: tuple[Path, list[Row]]) -> None:
    folder, rows = run
    path = folder / ROWS
    frame = pd.read_parquet(path)
    frame.loc[0, "exact"] = not frame.loc[0, "exact"]
    frame.loc[1, "text"] = "<answer>something else</answer>"
    frame.to_parquet(path, index=False)
    differences = verify(folder).differences
    assert any(one.startswith("exact: ") and rows[0].id in one for one in differences)
    assert any(one.startswith("answer: 1 rows are scored otherwise") for one in differences)


def test_a_summary_of_an_older_version_lacks_parts(run: tuple[Path, list[Row]]) -> None:
    path = run[0] / SUMMARY
    summary = json.loads(path.read_text("utf-8"))
    del summary["crossings"]
    path.write_text(json.dumps(summary), "utf-8")
    (run[0] / MANIFEST).unlink()
    found = verify(run[0])
    assert found.differences == ()
    assert "crossings: not in summary.json, which an older version wrote." in found.notes


def test_a_run_without_its_words_keeps_its_scores(run: tuple[Path, list[Row]]) -> None:
    folder, rows = run
    summary = json.loads((folder / SUMMARY).read_text("utf-8"))
    write_run(folder, summary, rows, words=False, report=False)
    frame = pd.read_parquet(folder / ROWS)
    assert frame[["question", "asked", "scored_against"]].isna().all(axis=None)
    found = verify(folder)
    assert found.differences == ()
    assert "were published without questions" in found.notes[0]
    with pytest.raises(DataError, match="cannot be exported"):
        export(folder, FORMS, rows_of(frame), summary)


def test_what_is_no_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--verify", str(tmp_path)]) == 2
    assert "holds no finished run" in capsys.readouterr().err
    assert main(["evaluate", "--model", "tiny"]) == 2
    assert "Give --model, --data and --out" in capsys.readouterr().err


def test_other_programs_get_their_forms(run: tuple[Path, list[Row]]) -> None:
    folder, rows = run
    rows = [replace(row, source="path_vqa") for row in rows]
    summary = json.loads((folder / SUMMARY).read_text("utf-8"))
    paths = export(folder, FORMS, rows, summary, "2026-11-28T12:00:00+00:00")
    wanted = [row for row in rows if row.condition == "scan" and row.draw == 0]
    assert len(paths) == 2 * len(FORMS)
    logs = [path for path in paths if path.suffix == ".eval"]
    with zipfile.ZipFile(logs[0]) as archive:
        header = json.loads(archive.read("header.json"))
        names = [name for name in archive.namelist() if name.startswith("samples/")]
        sample = json.loads(archive.read(names[0]))
    assert header["status"] == "success" and header["eval"]["dataset"]["samples"] == len(names)
    assert len(names) == len(wanted) / 2
    assert sample["output"]["completion"].startswith("<answer>")
    assert sample["scores"]["exact"]["value"] in ("C", "I")
    lines = [
        json.loads(line)
        for path in paths if path.suffix == ".jsonl"
        for line in path.read_text("utf-8").splitlines()
    ]  # fmt: skip
    assert len(lines) == len(wanted)
    assert {"doc_id", "target", "filtered_resps", "input", "doc_hash"} <= lines[0].keys()
    assert sum(line["exact_match"] for line in lines) == sum(row.exact for row in wanted)
    for path in paths:
        if path.suffix == ".yaml":
            (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text("utf-8")))
            assert entry.dataset_id == "flaviagiammarino/path-vqa"
            assert 0 <= entry.value <= 100 and "questions of split test" in str(entry.notes)


def test_inspect_reads_the_log(run: tuple[Path, list[Row]]) -> None:
    log = pytest.importorskip("inspect_ai.log")
    folder, rows = run
    summary = json.loads((folder / SUMMARY).read_text("utf-8"))
    for path in export(folder, ("inspect",), rows, summary, "2026-11-28T12:00:00+00:00"):
        read = log.read_eval_log(str(path))
        assert read.status == "success"
        assert len(read.samples) == read.results.total_samples
