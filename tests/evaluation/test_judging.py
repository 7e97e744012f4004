"""The judge beside a run's rows, over HTTP, and against readers in a real store."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rarl.data.example import Example
from rarl.evaluation.judge_metrics import HumanScore, human_scores, judge_rows, judge_summary
from rarl.evaluation.rows import Row
from rarl.evaluation.run import evaluate, select
from rarl.judge import Judge
from tests.evaluation.chat_server import Reply, serving
from tests.evaluation.scripted_engine import ScriptedEngine


def verdict(body: Mapping[str, Any]) -> Reply:
    """3 where the answer is a glioma, 0 elsewhere; a refusal and broken JSON for two others."""
    prompt = body["messages"][1]["content"]
    given = prompt.split("<<<GIVEN ANSWER>>>\n")[1]
    if "What imaging modality" in prompt:
        return "{broken"
    score = 3 if given.startswith("a glioma") else 0
    return json.dumps({"justification": "So.", "correctness": score, "explanation": 1})


@pytest.fixture
def asked(data: Path, tmp_path: Path) -> tuple[list[Row], dict[str, Example]]:
    examples = select("brain_tumor_mri").examples
    rows = evaluate(
        ScriptedEngine(), examples, arms=("sft", "rarl"), modes=("reason",), out=tmp_path / "run",
        altered=lambda example: ("blank",), progress=False,
    )  # fmt: skip
    return rows, {example.id: example for example in examples}


def test_judgements_stand_beside_their_rows(
    asked: tuple[list[Row], dict[str, Example]], tmp_path: Path
) -> None:
    rows, examples = asked
    with serving(verdict) as server:
        judge = Judge(server.url, "judge-1", cache=tmp_path / "kept", pause=0.01, attempts=2)
        judged = judge_rows(judge, rows, examples)
        sent = len(server.bodies)
        assert judge_rows(judge, rows, examples).equals(judged)
        # Only what could not be judged is asked again.
        assert len(server.bodies) - sent == judge.usage.problems["malformed"]
    assert len(judged) == len(rows)
    frame = pd.concat([pd.DataFrame([{"id": r.id, "arm": r.arm} for r in rows]), judged], axis=1)
    about_scan = [row.condition == "scan" for row in rows]
    assert judged["judge_model"].notna().tolist() == about_scan
    broken = frame["judge_problem"] == "malformed"
    assert broken.sum() == 8 * 2 and frame.loc[broken, "judge_correctness"].isna().all()
    assert set(frame.loc[broken, "judge_raw"]) == {"{broken"}
    glioma = [row.condition == "scan" and row.answer == "a glioma" for row in rows]
    assert judged.loc[glioma, "judge_correctness"].eq(3).all()

    found = judge_summary(judge, rows, judged)
    assert (found["judged"], found["missing"]) == (8 * 3 * 2, 8 * 2)
    by_arm = {(one["group"], one["arm"], one["score"]): one for one in found["figures"]}
    label = by_arm["brain_tumor_mri test label", "rarl", "correctness"]
    assert (label["value"], label["n"], label["missing"]) == (0.75, 8, 0)  # two gliomas of eight
    both = by_arm["modality and organ", "rarl", "correctness"]
    # The modality is missing, not zero.
    assert (both["n"], both["missing"]) == (8, 8)
    assert {one["kappa"] for one in found["agreement"]} == {None}


def test_agreement_with_readers(asked: tuple[list[Row], dict[str, Example]]) -> None:
    rows, examples = asked
    with serving(verdict) as server:
        judge = Judge(server.url, "judge-1", pause=0.01, attempts=1)
        judged = judge_rows(judge, rows, examples)
    scored = {}
    for row, correctness in zip(rows, judged["judge_correctness"], strict=True):
        if not pd.isna(correctness):
            key = (row.question, row.arm, row.revision, row.text)
            scored[key] = HumanScore(*key, correctness=int(correctness), explanation=1)
    found = judge_summary(judge, rows, judged, list(scored.values()))
    correctness, explanation = found["agreement"]
    assert (correctness["kappa"], correctness["exact"]) == (1.0, 1.0)
    assert correctness["low"] == 1.0 and correctness["n"] == 8 * 3 * 2
    # One score throughout: chance alone would agree.
    assert (explanation["kappa"], explanation["exact"]) == (None, 1.0)
    away = [HumanScore(*key, correctness=3 - one.correctness, explanation=1)
            for key, one in scored.items()]  # fmt: skip
    worse = judge_summary(judge, rows, judged, away)["agreement"][0]
    assert worse["kappa"] < 0


def test_scores_of_readers_come_from_the_store(tmp_path: Path) -> None:
    from rarl.review import open_store

    store = open_store(tmp_path / "home")
    assert human_scores(store) == []
    store.close()
