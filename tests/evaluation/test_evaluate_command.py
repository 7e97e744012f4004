"""The whole way, from the command line to the tables, on a tiny random model."""

import json
from pathlib import Path

import pytest

from rarl.cli import main


def words(model: Path, out: Path, *more: str) -> list[str]:
    return [
        "evaluate", "--model", str(model), "--data", "brain_tumor_mri", "--out", str(out),
        "--limit", "6", "--max-new-tokens", "6", *more,
    ]  # fmt: skip


def test_a_run_resumes_after_a_kill(
    tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = words(tiny_model, tmp_path / "run", "--arms", "base,sft,rl,rarl", "--blank", "--batch=4")
    assert main(run) == 0
    shown = capsys.readouterr()
    assert "Exact match after normalisation, mode reason" in shown.out
    assert "brain_tumor_mri: 6 questions of split test" in shown.err
    summary = (tmp_path / "run/summary.json").read_text("utf-8")
    path = tmp_path / "run/rows.jsonl"
    whole = path.read_bytes()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert len(rows) == 6 * 4 * 2
    assert all(0 < row["tokens"] <= 6 for row in rows)
    for row in rows:
        assert len(row["revision"]) == len(row["model_revision"]) == len(row["prompt"]) == 12
    assert len({row["revision"] for row in rows}) == 4
    assert {row["model_revision"] for row in rows} == {
        row["revision"] for row in rows if row["arm"] == "base"
    }

    path.write_bytes(whole[: len(whole) // 2])
    assert main([*run, "--json"]) == 0
    again = [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def said(row: dict[str, object]) -> tuple[str, ...]:
        return tuple(str(row[name]) for name in ("id", "arm", "condition", "text", "exact", "f1"))

    assert sorted(map(said, again)) == sorted(map(said, rows))
    assert (tmp_path / "run/summary.json").read_text("utf-8") == summary
    assert json.loads(capsys.readouterr().out) == json.loads(summary)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--data", "atlas"], "There is no data set 'atlas'"),
        (["--data", "brain_tumor_mri:exam"], "There is no split 'exam'"),
        (["--modes", "reason,guess"], "There is no mode 'guess'"),
        (["--arms", "sft,dpo"], "There is no arm 'dpo'; choose from base, sft, rl, rarl."),
        (["--model", "/nowhere"], "There is no model folder /nowhere"),
    ],
)
def test_bad_input_is_one_sentence(
    tiny_model: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    sentence: str,
) -> None:
    assert main(words(tiny_model, tmp_path / "run", *more)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith(sentence)
    assert not (tmp_path / "run").exists()


def test_settings_do_not_mix(
    tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = words(tiny_model, tmp_path / "run", "--arms", "sft")
    assert main(run) == 0
    assert main([*run, "--max-new-tokens", "7"]) == 2
    assert "its max_new_tokens differ" in capsys.readouterr().err.splitlines()[-1]


def test_a_limit_is_a_positive_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words(tmp_path, tmp_path, "--limit", "0"))
    assert ended.value.code == 2
    assert "'0' is not a whole number from 1 to" in capsys.readouterr().err
