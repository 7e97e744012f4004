"""What a run says before its first step, and when it turns activation checkpointing on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from rarl.cli import main
from rarl.errors import ModelError
from rarl.models.loader import load_model
from rarl.prompts import messages
from rarl.training import trial as trial_module
from rarl.training.preflight import check_vllm_images
from rarl.training.trial import Trial


class Model:
    """Counts how often activation checkpointing is turned on."""

    def __init__(self, parameters: int) -> None:
        self.parameters = parameters
        self.enabled = 0

    def num_parameters(self) -> int:
        return self.parameters

    def activation_checkpointing_enable(self) -> None:
        self.enabled += 1


def trainer_of(model: Model, checkpointing: bool = False) -> Any:
    return SimpleNamespace(
        model=model,
        args=SimpleNamespace(activation_checkpointing=checkpointing),
        accelerator=SimpleNamespace(unwrap_model=lambda wrapped: wrapped),
    )


@pytest.mark.parametrize(("parameters", "wanted"), [(10**6, False), (10**9, True)])
def test_on_a_cpu_only_a_large_model_checkpoints_by_itself(
    parameters: int, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model, trial = Model(parameters), Trial(2)
    trial.decides = True
    trainer = trainer_of(model)
    trial.update(trainer, lambda: None)
    assert trial.checkpointing == trainer.args.activation_checkpointing == wanted
    assert model.enabled == wanted
    # What the recipe says is not decided anew.
    other = trainer_of(Model(10**9))
    Trial(2).update(other, lambda: None)
    assert not other.args.activation_checkpointing


def test_on_a_gpu_it_checkpoints_where_a_pass_takes_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, 100))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 50)
    assert trial_module.fits(lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 95)
    assert not trial_module.fits(lambda: None)

    def run_out() -> None:
        raise torch.OutOfMemoryError

    assert not trial_module.fits(run_out)


def test_a_rollout_is_multiplied_up_to_its_whole_length(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 1.0, 4.0])  # one token takes a second, sixteen take three
    monkeypatch.setattr(trial_module, "perf_counter", lambda: next(clock))
    trial = Trial(1)
    trial.rollout(lambda most: None, 151)
    assert trial.seconds["rollout"] == pytest.approx(1 + 150 * 2 / 15)
    assert "21.0 s a step" in trial.sentence(300) and "2 h" not in trial.sentence(300)
    assert "105 min for 300 steps" in trial.sentence(300)


@pytest.mark.usefixtures("examples")
def test_a_run_tells_its_time_and_memory_and_logs_its_phases(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "rl", "--model", str(tiny), "--data", "brain_tumor_mri"]
    for change in "prompts=2 group=2 micro_batch=4 max_completion=6 log_steps=1 held_out=0".split():
        words += ["--set", change]
    words += ["--set", "gradient_checkpointing=auto", "--out", str(tmp_path / "rl")]
    assert main([*words, "--max-steps", "2"]) == 0
    (sentence,) = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("Trial step: ")
    ]
    assert all(name in sentence for name in ("rollout", "reference", "update", "2 steps", "GiB"))
    assert "checkpointing" not in sentence, "a small model on a CPU needs none"
    rows = [json.loads(line) for line in (tmp_path / "rl" / "metrics.jsonl").open()]
    for row in rows:
        assert set(row["seconds"]) == {"rollout", "reward", "reference", "update"}
        assert row["seconds"]["rollout"] > 0 and row["seconds"]["update"] > 0


def test_vllm_must_count_an_images_tokens_as_the_processor_does(tiny: Path) -> None:
    loaded = load_model(str(tiny), adapters={}, device="cpu")
    loaded.processor.image_processor.size = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
    sizes = [(56, 56), (56, 112), (112, 84)]
    rows = [{"prompt": messages("Why?"), "images": [Image.new("RGB", size)]} for size in sizes]
    right = [[4], [8], [12]]

    def trainer(lengths: list[list[int]]) -> Any:
        # As vLLM's `/v1/chat/completions/render` describes the images of each prompt.
        features = [
            {"mm_placeholders": {"image": [{"offset": 3, "length": n} for n in each]}}
            for each in lengths
        ]
        client = SimpleNamespace(image_features=lambda images: features)
        vllm = SimpleNamespace(mode="server", vllm_client=client)
        return SimpleNamespace(vllm_generation=vllm, processing_class=loaded.processor)

    assert "3 image sizes (4 to 12 tokens)" in check_vllm_images(trainer(right), rows)
    with pytest.raises(ModelError, match=r"10 tokens of an image of 112 x 84 pixels, .* 12"):
        check_vllm_images(trainer([*right[:2], [10]]), rows)

    def generate(prompts: list[list[int]], images: object, num_generations: int) -> Any:
        assert num_generations == 1
        # A vLLM in this process expands the tokens of the last prompt once more.
        return [*prompts[:2], prompts[2] + [loaded.processor.image_token_id]], [], [], []

    vllm = SimpleNamespace(mode="colocate", generate=generate)
    both = SimpleNamespace(vllm_generation=vllm, processing_class=loaded.processor)
    with pytest.raises(ModelError, match="13 tokens of an image of 112 x 84"):
        check_vllm_images(both, rows)


@pytest.mark.usefixtures("examples")
def test_vllm_is_refused_in_a_sentence(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "rl", "--model", str(tiny), "--data", "brain_tumor_mri", "--vllm", "colocate"]
    words += ["--out", str(tmp_path / "rl")]
    for more, expected in (
        ([], "pip install vllm"),
        (["--vllm-server", "http://127.0.0.1:1"], "exclude each other"),
    ):
        assert main([*words, *more]) == 2
        error = capsys.readouterr().err
        assert expected in error and error.count("\n") == 1
