"""The benchmark of rewards through its command line, with a judge on a real HTTP server."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

from tests.test_judge import GOOD, Scripted, server

__all__ = ["server"]

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_rewards"
REFERENCE = "The left kidney contains a stone. The right kidney is normal."
CANDIDATES = {
    "verbatim": REFERENCE,
    "paraphrase": "A stone lies in the left kidney, and the right kidney looks normal.",
    "negated": "The left kidney contains no stone. The right kidney is abnormal.",
    "side": "The right kidney contains a stone. The left kidney is normal.",
    "bag": "kidney the stone. left contains a normal kidney right The is",
}


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--json", "--without-own", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )


def pairs_file(folder: Path) -> Path:
    rows = [
        {
            "item": 0,
            "question": "Is there a stone?",
            "answer": "yes",
            "explanation": REFERENCE,
            "reasoning": candidate,
            "said": "yes",
            "relation": relation,
        }
        for relation, candidate in CANDIDATES.items()
    ]
    path = folder / "mine.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def test_pairs_judge_and_groups_are_measured(tmp_path: Path, server: Scripted) -> None:
    thoughts = [*CANDIDATES.values(), REFERENCE, REFERENCE, CANDIDATES["negated"]]
    table = pd.DataFrame(
        {
            "prompt": [[{"role": "user", "content": "Is there a stone?"}] for _ in thoughts],
            "explanation": REFERENCE,
            "completion": [
                [{"role": "assistant", "content": f"<think>{text}</think><answer>yes</answer>"}]
                for text in thoughts
            ],
        }
    )
    table.to_parquet(tmp_path / "completions.parquet")
    server.scripts["Is there a stone?"] = [
        {**GOOD, "explanation": score} for score in (5, 4, 1, 1, 1)
    ]
    done = bench(
        *("--pairs", str(pairs_file(tmp_path)), "--completions"),
        *(str(tmp_path / "completions.parquet"), "--only", "reasoning", "--only", "token F1"),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result["sets"]) == {"mine"}
    reasoning, overlap = (result["sets"]["mine"][name] for name in ("reasoning", "token F1"))
    assert reasoning["ranked"] == reasoning["flips"] == 1
    assert overlap["flips"] < 1
    assert reasoning["relations"]["verbatim"]["n"] == 1
    assert result["group_spread"]["reasoning"] > 0.3
    judged = bench(
        *("--pairs", str(pairs_file(tmp_path)), "--only", "judge", "--judge", server.address)
    )
    assert judged.returncode == 0, judged.stderr
    assert "judge" in json.loads(judged.stdout.splitlines()[-1])["sets"]["mine"]
    assert server.seen


def test_an_unknown_scorer_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    path = pairs_file(tmp_path)
    unknown = bench("--pairs", str(path), "--only", "reason")
    assert unknown.returncode == 2
    assert "no scorer reason; there are reasoning" in unknown.stderr
    path.write_text('{"item": 0}\n', "utf-8")
    damaged = bench("--pairs", str(path), "--only", "reasoning")
    assert damaged.returncode == 2
    assert "line 1: not a labelled pair" in damaged.stderr
