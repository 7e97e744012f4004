"""The task of inspect_ai: what it asks and how it scores is RARL's own."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from rarl.evaluation.asked import asked_under
from rarl.evaluation.row_scores import score
from rarl.evaluation.run import select

MISSING = "inspect_ai is not installed (pip install inspect_ai)"
inspect_ai = pytest.importorskip("inspect_ai", reason=MISSING)
models = pytest.importorskip("inspect_ai.model", reason=MISSING)
tiktoken = pytest.importorskip("tiktoken", reason=MISSING)

TASK = Path(__file__).resolve().parents[2] / "examples" / "inspect_task.py"
# The think block is taken out of some models' text and not out of others'.
TEXT = "<think>A round red spot is seen.</think><answer>glioma</answer>"


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The task; tokens are counted as bytes, since tiktoken would fetch its vocabulary."""
    vocabulary = {bytes([byte]): byte for byte in range(256)}
    in_bytes = tiktoken.Encoding(
        "bytes", pat_str=r"(?s:.)", mergeable_ranks=vocabulary, special_tokens={}
    )
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: in_bytes)
    monkeypatch.setattr(tiktoken, "encoding_for_model", lambda name: in_bytes)
    return runpy.run_path(str(TASK))["rarl"]


def test_inspect_asks_and_scores_as_rarl_does(data: Path, tmp_path: Path, task: Any) -> None:
    examples = {example.id: example for example in select("brain_tumor_mri:test").examples}
    replies = (models.ModelOutput.from_content("mockllm/model", TEXT) for _ in range(1000))
    model = models.get_model("mockllm/model", custom_outputs=replies)
    (log,) = inspect_ai.eval(
        task(data="brain_tumor_mri:test"), model=model, log_dir=str(tmp_path), display="none",
        score_display=False,
    )  # fmt: skip
    assert log.status == "success", log.error
    assert {str(sample.id) for sample in log.samples} == set(examples)
    right = {
        name
        for name, example in examples.items()
        if score(TEXT, "reason", example, "scan", asked_under(example, "scan", 0))["exact"]
    }
    assert 0 < len(right) < len(examples)
    assert {str(s.id) for s in log.samples if s.scores["exact"].value == "C"} == right
    accuracy = log.results.scores[0].metrics["accuracy"].value
    assert accuracy == pytest.approx(len(right) / len(examples))
    for sample in log.samples:
        assert sample.scores["exact"].answer == "glioma"
        kinds = [part.type for part in sample.input[0].content]
        assert kinds.count("image") == 1 and "text" in kinds


def test_a_limit_draws_by_its_seed(data: Path, task: Any) -> None:
    draws = [task(data="brain_tumor_mri:test", limit=4, seed=seed).dataset for seed in (1, 1, 2)]
    drawn = [[sample.id for sample in dataset] for dataset in draws]
    assert len(drawn[0]) == 4 and drawn[0] == drawn[1] != drawn[2]


def test_a_mode_that_there_is_not_is_refused(data: Path, task: Any) -> None:
    with pytest.raises(ValueError, match="choose from reason, answer, answer-then-reason"):
        task(mode="think")
