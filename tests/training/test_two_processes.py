"""Two processes under gloo train as one does."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import fixed_completions
import pytest
import torch
from safetensors.torch import load_file

from rarl.cli import main

ROOT = Path(__file__).parents[2]


def launched(*words: str) -> None:
    """Run a module (`-m ...`) or a script as two processes under `accelerate launch`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = ROOT / "scripts" / "accelerate" / "two_cpu.yaml"
    command = [sys.executable, "-m", "accelerate.commands.launch", f"--config_file={config}"]
    command += [f"--main_process_port={port}", "--num_cpu_threads_per_process=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    process = subprocess.Popen(
        [*command, *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, errors[-3000:]


@pytest.mark.usefixtures("examples")
def test_sft_has_the_losses_of_one_process(tiny: Path, tmp_path: Path) -> None:
    def command(out: Path, micro: int) -> list[str]:
        words = ["train", "sft", "--model", str(tiny), "--data", "brain_tumor_mri", "--json"]
        changes = f"batch=4 micro_batch={micro} learning_rate=1e-3 warmup_steps=0 log_steps=1"
        for change in f"{changes} schedule=constant held_out=0".split():
            words += ["--set", change]
        return [*words, "--out", str(out), "--max-steps", "3"]

    assert main(command(tmp_path / "one", 4)) == 0
    launched("-m", "rarl", *command(tmp_path / "two", 2))
    losses = {
        name: [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").open()]
        for name in ("one", "two")
    }
    assert len(losses["one"]) == 3
    assert losses["two"] == pytest.approx(losses["one"], abs=1e-3)
    assert json.loads((tmp_path / "two" / "rarl.json").read_text())["processes"] == 2
    one, two = (load_file(tmp_path / n / "adapter_model.safetensors") for n in ("one", "two"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-3


def test_grpo_has_the_loss_and_gradients_of_one_process(tiny: Path, tmp_path: Path) -> None:
    fixed_completions.main(str(tiny), str(tmp_path / "1.pt"))
    launched(fixed_completions.__file__, str(tiny), str(tmp_path / "2.pt"))
    one, two = (torch.load(tmp_path / f"{count}.pt", weights_only=True) for count in (1, 2))
    assert (one["of"], two["of"]) == (1, 2)
    assert float(two["loss"]) == pytest.approx(float(one["loss"]), rel=1e-4)
    assert one["gradients"].keys() == two["gradients"].keys() and one["gradients"]
    for name, gradient in one["gradients"].items():
        assert gradient.norm() > 0
        apart = (two["gradients"][name] - gradient).norm() / gradient.norm()
        assert apart < 1e-4, name


@pytest.mark.usefixtures("examples")
def test_rarl_runs_through_the_command_line(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "rarl"
    words = ["train", "rarl", "--model", str(tiny), "--data", "brain_tumor_mri", "--json"]
    for change in "prompts=2 group=2 micro_batch=2 max_completion=12 log_steps=1".split():
        words += ["--set", change]
    launched("-m", "rarl", *words, "--out", str(out), "--max-steps", "2")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    assert [line["step"] for line in lines] == [1, 2]
    assert (out / "adapter_model.safetensors").exists() and (out / "README.md").exists()
