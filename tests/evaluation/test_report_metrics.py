"""Free texts are scored by words and by claims."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path

import pytest

from rarl.data.example import Example
from rarl.evaluation import report_metrics
from rarl.evaluation.recompute import verify
from rarl.evaluation.report_metrics import REPORT_METRICS, WORD_METRICS, score_report
from rarl.evaluation.run import evaluate, summarise
from rarl.evaluation.run_files import write_run
from rarl.evaluation.tables import METRIC_NAMES, as_text
from rarl.inference.engine import Answer, Question
from rarl.response import parse_response
from tests.evaluation.scripted_engine import ScriptedEngine
from tests.evaluation.test_choices import example

_FLUIDS = ("effusions", "liquids")
KNOWN = "The heart is normal. There is a left pleural effusion."


class Reporter(ScriptedEngine):
    """sft repeats the reference, rl denies it."""

    def _answer(self, question: Question, arm: str) -> Answer:
        answer_text = (
            KNOWN if arm == "sft" else "The heart is enlarged. There is no pleural effusion."
        )
        text = f"<think>It is seen.</think><answer>{answer_text}</answer>"
        return Answer(arm, parse_response(text, question.mode), 3, 0.1, True)


def report(root: Path, number: int) -> Example:
    return replace(
        example(root, number), kind="report", options=(), answer=KNOWN,
        question="Describe the findings.", id=f"reports/{number}", source="reports",
    )  # fmt: skip


def test_the_examples_hold() -> None:
    found = doctest.testmod(report_metrics)
    assert found.attempted and not found.failed


def test_a_denial_is_seen_by_claims() -> None:
    denied = score_report("The heart is normal. There is no left pleural effusion.", KNOWN)
    assert denied.claim_contradicted == 0.5 and denied.claim_recall == 0.5
    assert score_report("", KNOWN).claim_precision is None


def test_words_are_counted_as_the_packages_count_them() -> None:
    same = score_report(KNOWN, KNOWN)
    assert (same.bleu4, same.rouge_l) == (pytest.approx(1), pytest.approx(1))
    assert same.meteor == pytest.approx(1, abs=0.01)
    other = score_report("The lungs are clear.", KNOWN)
    assert other.bleu4 < 0.1
    # By hand: "the lungs are clear" shares "the" with ten words in the same order.
    assert other.rouge_l == pytest.approx(2 * 0.25 * 0.1 / 0.35)
    # Stems count as their words, and synonyms do not.
    stem, synonym = (score_report(f"There are {word}.", "An effusion.") for word in _FLUIDS)
    assert stem.meteor > 0 == synonym.meteor and stem.rouge_l > 0 == synonym.rouge_l
    empty = score_report("", KNOWN)
    assert (empty.bleu4, empty.rouge_l, empty.meteor) == (0, 0, 0)
    # A denial costs the counts of words little; this is why claims stand beside them.
    denied = score_report("The heart is normal. There is no left pleural effusion.", KNOWN)
    assert denied.rouge_l > 0.8


def test_reports_have_figures_of_their_own(tmp_path: Path) -> None:
    examples = [report(tmp_path, number) for number in range(4)]
    rows = evaluate(
        Reporter(), examples, arms=("sft", "rl"), modes=("reason",), out=tmp_path / "run",
        altered=lambda one: ("blank",), progress=False,
    )  # fmt: skip
    summary = summarise(Reporter(), rows)
    figures = {
        (one["arm"], one["metric"]): one
        for one in summary["figures"]
        if one["group"] == "reports test report" and one["condition"] == "scan"
    }
    assert figures["sft", "claim_recall"]["value"] == 1.0
    assert figures["rl", "claim_contradicted"]["value"] >= 0.5
    assert figures["rl", "claim_recall"]["low"] is not None
    assert not any(metric == "exact" for _, metric in figures)
    assert figures["sft", "rouge_l"]["value"] == pytest.approx(1)
    assert 0 < figures["rl", "meteor"]["value"] < figures["sft", "meteor"]["value"]
    assert figures["rl", "bleu4"]["high"] is not None
    # What is neither right nor wrong is left out of what counts right answers.
    assert not [one for one in summary["differences"] if "report" in one["group"]]
    assert not [one for one in summary["strata"] if "report" in one["group"]]
    assert METRIC_NAMES["claim_recall"] in as_text(summary)
    assert set(REPORT_METRICS) <= METRIC_NAMES.keys()
    write_run(tmp_path / "run", summary, rows)
    assert verify(tmp_path / "run").differences == ()
    # A run of a version that did without the packages is no other run.
    poorer = [replace(row, **dict.fromkeys(WORD_METRICS)) for row in rows]
    write_run(tmp_path / "run", summarise(Reporter(), poorer), poorer)
    found = verify(tmp_path / "run")
    assert found.differences == ()
    assert found.notes == ("16 reports were measured without BLEU, ROUGE-L and METEOR.",)
