from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest

from rarl.errors import QuestionError
from rarl.evaluation.command import add_arguments
from rarl.evaluation.command import run as run_command
from rarl.evaluation.metrics import calibration, figures, measured_frame
from rarl.evaluation.run import evaluate, select
from rarl.inference.engine import Answer, Question
from rarl.response import parse_response
from rarl.stats.calibration import (
    expected_calibration_error,
    reliability,
    selective_accuracy,
    self_consistency,
)
from tests.evaluation.scripted_engine import ScriptedEngine


class DoubtfulEngine(ScriptedEngine):
    """Sampled answers follow the seed: a glioma three times in four about red pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds: list[int] = []

    def _answer(self, question: Question, arm: str) -> Answer:
        red, green, _ = question.images[0].image.resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
        answer_text = "glioma" if red > green else "no tumor"
        if question.decoding.temperature > 0:
            self.seeds.append(question.decoding.seed)
            if red <= green and question.decoding.seed % 2:
                answer_text = "meningioma"
        text = f"<think>.</think><answer>{answer_text}</answer>"
        return Answer(arm, parse_response(text, question.mode), 3, 0.1, True)


def test_perfect_and_hopeless_confidence() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(20_000)
    right = rng.random(20_000) < confidence
    bins = reliability(confidence.tolist(), right.tolist())
    assert len(bins) == 10 and sum(one.n for one in bins) == 20_000
    assert expected_calibration_error(bins) < 0.015
    sure = reliability([1.0] * 10, [True] * 4 + [False] * 6)
    assert [(one.low, one.high, one.n) for one in sure] == [(0.9, 1.0, 10)]
    assert expected_calibration_error(sure) == pytest.approx(0.6)


def test_bins_hold_their_lower_end() -> None:
    bins = reliability([0.3, 0.6, 0.7], [True, True, False])
    assert [one.low for one in bins] == [0.3, 0.6, 0.7]


def test_selective_accuracy_by_hand() -> None:
    points = selective_accuracy([1.0, 0.8, 0.8, 0.2], [True, True, False, False])
    assert [(p.answered, p.accuracy) for p in points] == [
        (0.25, 1.0),
        (0.75, pytest.approx(2 / 3)),
        (1.0, 0.5),
    ]


def test_consistency_needs_samples() -> None:
    with pytest.raises(ValueError, match="no sampled answer"):
        self_consistency("yes", [])


def test_samples_become_a_confidence_and_nothing_else(data: Path, tmp_path: Path) -> None:
    engine = DoubtfulEngine()
    examples = [one for one in select("brain_tumor_mri").examples if one.category == "label"]
    rows = evaluate(
        engine, examples, arms=("sft",), modes=("reason",), out=tmp_path / "run",
        draws=lambda example: 4, temperature=0.9, progress=False,
    )  # fmt: skip
    assert len(rows) == 8 * 5
    # Each question draws with seeds of its own.
    assert len(set(engine.seeds)) == 8 * 4
    assert {row.temperature for row in rows if row.draw} == {0.9}
    (found,) = calibration(measured_frame(rows))
    assert (found.n, found.draws, found.temperature) == (8, 4, 0.9)
    assert found.accuracy == 0.5  # two gliomas and two of no tumor
    assert sum(one.n for one in found.bins) == 8
    assert found.points[-1].answered == 1.0 and found.points[-1].accuracy == 0.5
    exact = [one for one in figures(measured_frame(rows)) if one.metric == "exact"]
    assert {one.n for one in exact} == {8}


def test_sampling_needs_a_temperature(tmp_path: Path) -> None:
    parser = ArgumentParser()
    add_arguments(parser)
    words = ["--model", "tiny", "--data", "vqa_rad", "--out", str(tmp_path / "run")]
    with pytest.raises(QuestionError, match="--temperature above 0"):
        run_command(parser.parse_args([*words, "--samples", "3", "--temperature", "0"]))
