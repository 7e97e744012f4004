"""The plan of the study follows from validation answers and the sizes of the planned sets."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from rarl.data import load_examples
from rarl.errors import DataError
from rarl.stats.power import Spread

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/study_plan"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_more_questions_and_seeds_make_smaller_differences_detectable(
    script: dict[str, Any],
) -> None:
    known = {("rarl", "sft"): Spread(0.25, 0.0, 128, 128)}

    def points(questions: int, seeds: int, correlation: float = 0.0) -> list[float]:
        planned = {"held-out images": script["Asked"](questions, questions // 2, 2.0)}
        text = script["plan"](known, planned, seeds, 0.016, correlation)
        (row,) = [line for line in text.splitlines() if line.startswith("| held-out")]
        return [float(cell) for cell in row.split("|")[5:7]]

    assert points(6400, 1)[0] == pytest.approx(1.8)
    assert points(6400, 5)[1] < points(6400, 3)[1] < points(640, 3)[1]
    assert points(6400, 5, 1.0)[0] > points(6400, 5)[0]


def test_what_cannot_be_seen_is_not_promised(script: dict[str, Any]) -> None:
    known = {("rarl", "sft"): Spread(0.25, 0.0, 128, 128)}
    planned = {"much": script["Asked"](9000, 9000, 1.0), "little": script["Asked"](90, 90, 1.0)}
    text = script["plan"](known, planned, 5, 0.01, 0.2)
    assert "Three points are detectable for: RARL against SFT on much.\n" in text


def test_a_plan_from_trained_variants(
    script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        rows = load_examples(["knee_oa"], ["validation"])[:40]
    except DataError as error:
        pytest.skip(f"the sets are not at hand: {error}")
    for place, name in enumerate(("sft", "rl", "rarl")):
        (tmp_path / name / "held_out").mkdir(parents=True)
        (tmp_path / name / "rarl.json").write_text('{"selection": {"step": 20}}')
        answers = [
            json.dumps({"id": row.id, "right": bool((index + place) % 3)})
            for index, row in enumerate(rows)
        ]
        (tmp_path / name / "held_out/step-20.jsonl").write_text("\n".join(answers))
    out = tmp_path / "plan.md"
    words = ["study_plan", "--variants", str(tmp_path), "--seeds", "3", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    assert script["main"]() == 0
    text = out.read_text("utf-8")
    assert "| RARL - SFT | 40 |" in text and "3 seeds of each" in text
    (tmp_path / "rl/rarl.json").unlink()
    assert script["main"]() == 2
