import json
import re
import subprocess
import sys
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from rarl.errors import DataError
from rarl.evaluation.image_ablations import ALTERED
from rarl.evaluation.rows import Row
from rarl.evaluation.run import evaluate, select, summarise
from rarl.evaluation.run_files import write_run
from tests.evaluation.scripted_engine import ScriptedEngine

ROOT = Path(__file__).resolve().parents[2]

JUDGE = {
    "model": "<judge>", "prompt": "abc", "temperature": 0.0, "judged": 3, "missing": 2,
    "problems": {"malformed": 2}, "calls": 5, "tokens": 10,
    "figures": [
        {"group": "x", "arm": "sft", "mode": "reason", "score": "correctness", "value": 1.5,
         "low": None, "high": None, "n": 3, "missing": 2},
    ],
    "agreement": [
        {"score": "correctness", "kappa": 0.5, "low": 0.2, "high": 0.8, "exact": 0.6, "n": 5},
        {"score": "explanation", "kappa": None, "low": None, "high": None, "exact": None, "n": 0},
    ],
}  # fmt: skip


class Page(HTMLParser):
    """What a page is made of: attributes that fetch something, tags left open, plain text."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [
            value or ""
            for name, value in attrs
            if name in {"src", "href", "xlink:href"} and not (value or "").startswith("#")
        ]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def rows(data: Path, tmp_path: Path) -> list[Row]:
    labels = [one for one in select("brain_tumor_mri").examples if one.category == "label"]
    return evaluate(
        ScriptedEngine(), labels, arms=("sft", "rarl"), modes=("reason", "answer"),
        out=tmp_path / "answers", altered=lambda example: ALTERED,
        draws=lambda example: 2, progress=False,
    )  # fmt: skip


def test_a_run_leaves_everything_a_reader_needs(rows: list[Row], tmp_path: Path) -> None:
    out = tmp_path / "run"
    summary = summarise(ScriptedEngine(), rows, leaks=[])
    summary["judge"] = JUDGE
    write_run(out, summary, rows, leaks=[])
    assert not list(out.glob("*.part"))
    assert json.loads((out / "summary.json").read_text("utf-8")) == json.loads(json.dumps(summary))
    frame = pd.read_parquet(out / "rows.parquet")
    assert list(frame.columns) == [field.name for field in fields(Row)]
    assert len(frame) == len(rows)
    # Anybody can take the figure again from the rows.
    exact = next(
        one
        for one in summary["figures"]
        if (one["group"], one["arm"], one["metric"], one["condition"], one["mode"])
        == ("brain_tumor_mri test label", "rarl", "exact", "scan", "reason")
    )
    mine = frame[
        (frame["category"] == "label") & (frame["arm"] == "rarl") & (frame["draw"] == 0)
        & (frame["condition"] == "scan") & (frame["mode"] == "reason")
    ]  # fmt: skip
    assert mine["exact"].mean() == exact["value"] and len(mine) == exact["n"]

    page = Page()
    html = (out / "report.html").read_text("utf-8")
    page.feed(html)
    assert page.fetched == []
    assert "script" not in page.tags and "link" not in page.tags and "@import" not in html
    # Namespaces and metadata name addresses; no style or attribute may fetch from one.
    assert not re.search(r"url\((?!#)", html)
    # Differences, reliance and reliability, each in both modes.
    assert page.tags.count("svg") == 6
    colours = set(re.findall(r"#[0-9a-f]{6}\b", html))
    assert colours and all(c[1:3] == c[3:5] == c[5:7] for c in colours), colours
    words = " ".join(page.words)
    for told in ("Mode reason", "Mode answer", "p after Holm", "calibration error", "<judge>",
                 "weighted kappa 0.50 [0.20, 0.80]", "2 judgements are missing"):  # fmt: skip
        assert told in words, told


def test_the_report_is_written_again_from_the_summary(rows: list[Row], tmp_path: Path) -> None:
    write_run(tmp_path / "run", summarise(ScriptedEngine(), rows), rows)
    report = tmp_path / "run/report.html"
    script = ROOT / "scripts/report"
    done = subprocess.run(
        [sys.executable, script, tmp_path / "run", "--out", tmp_path / "a.html"], check=False
    )
    assert done.returncode == 0 and (tmp_path / "a.html").read_bytes() == report.read_bytes()
    missing = subprocess.run(
        [sys.executable, script, tmp_path, "--out", tmp_path / "b.html"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 2 and "measure the run first" in missing.stderr


def test_what_commands_rebuild_is_not_in_the_repository() -> None:
    results = ROOT / "assets/results"
    held = {str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()}
    left = {name for name in held if name.endswith("report.html") or "/rows" in name}
    assert not left and "experiment/summary.json" not in held
    assert {"summary.json", "rows.parquet", "experiment.md"} <= held  # what the Results page reads


def test_what_a_set_says_can_be_left_out(rows: list[Row], tmp_path: Path) -> None:
    summary = summarise(ScriptedEngine(), rows)
    drawn: dict[str, list[object]] = {"differences": [], "reliance": [], "calibration": []}
    write_run(tmp_path / "run", summary | drawn, rows, words=False)
    frame = pd.read_parquet(tmp_path / "run/rows.parquet")
    assert frame["question"].isna().all() and frame["reference"].isna().all()
    assert frame["answer"].notna().all() and frame["id"].str.startswith("brain_tumor_mri/").all()
    assert not (tmp_path / "run/leakage.json").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(rows: list[Row], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(DataError, match="cannot be written"):
        write_run(tmp_path / "file", summarise(ScriptedEngine(), rows), rows)
