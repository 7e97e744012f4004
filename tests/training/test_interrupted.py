"""A run that is killed, or meets a full disk, goes on to the same adapter."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rarl.cli import main

CHANGES = (
    "prompts=1 group=4 micro_batch=4 max_completion=40 learning_rate=1e-3 log_steps=1 save_steps=1 "
    "held_out=0 lora.modules=[q_proj,v_proj]"
).split()


def command(base: Path, out: Path, steps: int, *more: str) -> list[str]:
    words = ["train", "rl", "--model", str(base), "--data", "brain_tumor_mri", "--out", str(out)]
    for change in CHANGES:
        words += ["--set", change]
    return [*words, "--max-steps", str(steps), "--threads", "1", *more]


@pytest.mark.usefixtures("examples")
def test_killed_and_resumed_ends_in_the_same_adapter(tiny: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(command(tiny, whole, 6)) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "rarl", *command(tiny, killed, 6)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 1200
    while not (killed / "checkpoints" / "checkpoint-2").exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "adapter_model.safetensors").exists()
    assert main(command(tiny, killed, 6, "--resume")) == 0
    one, other = (load_file(out / "adapter_model.safetensors") for out in (whole, killed))
    assert one.keys() == other.keys()
    assert max(float((one[n] - other[n]).abs().max()) for n in one) < 1e-6
    assert any(float(weight.abs().max()) > 0 for name, weight in one.items() if "lora_B" in name)
    steps = [json.loads(line)["step"] for line in (killed / "metrics.jsonl").open()]
    assert steps == list(range(1, 7))


FULL = """
import resource, signal, sys
from rarl.cli import main
# Every file that is written may have so many bytes, as on a disk that runs full.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.usefixtures("examples")
def test_a_full_disk_is_said_and_the_last_checkpoint_stays(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 3000
    assert main(command(tiny, out, 1)) == 0
    before = torch.load(out / "checkpoints" / "checkpoint-1" / "optimizer.pt", weights_only=True)
    (out / "adapter_model.safetensors").unlink()
    done = subprocess.run(
        [sys.executable, "-c", FULL, *command(tiny, out, 2, "--resume")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "is full" in last and "--resume" in last and "checkpoint-1" in last
    after = torch.load(out / "checkpoints" / "checkpoint-1" / "optimizer.pt", weights_only=True)
    assert before["state"].keys() == after["state"].keys()
    assert main(command(tiny, out, 2, "--resume")) == 0
