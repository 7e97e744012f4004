"""The command that serves all arms from one base, and the container of the app."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.app_process import ROOT

SCRIPT = ROOT / "scripts/serve_vllm"


def serve(*words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    settings = os.environ | ({} if path is None else {"PATH": path})
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        env=settings,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_names_every_arm_and_becomes_vllm(tiny_model: Path, tmp_path: Path) -> None:
    vllm = tmp_path / "vllm"
    vllm.write_text('#!/bin/sh\necho "ran $@"\nexit 7\n')
    vllm.chmod(0o755)
    words = [
        str(tiny_model),
        "--tensor-parallel",
        "2",
        "--adapter",
        f"mine={tiny_model}/adapters/rl",
    ]
    done = serve(*words, "--", "--seed", "3", path=f"{tmp_path}:{os.environ['PATH']}")
    printed, ran = done.stdout.splitlines()
    command = shlex.split(printed)
    assert command[:3] == ["vllm", "serve", str(tiny_model)]
    assert command[-2:] == ["--seed", "3"]
    at = command.index("--lora-modules") + 1
    assert command[at : at + 4] == [
        *(f"{arm}={tiny_model}/adapters/{arm}" for arm in ("sft", "rl", "rarl")),
        f"mine={tiny_model}/adapters/rl",
    ]
    for option, value in (
        ("--max-loras", "4"),
        ("--max-lora-rank", "8"),
        ("--tensor-parallel-size", "2"),
        ("--host", "127.0.0.1"),
    ):
        assert command[command.index(option) + 1] == value
    assert "--data-parallel-size" not in command
    assert done.returncode == 7 and ran == f"ran {' '.join(command[1:])}"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "There is no model folder nowhere"),
        (["MODEL", "--adapter", "x=MODEL"], "holds no LoRA adapter of a rank up to 512"),
        (["MODEL", "--adapter", "x"], "Give an adapter as NAME=FOLDER"),
        (["MODEL"], "vLLM is not installed here"),
    ],
)
def test_what_is_missing_is_one_sentence(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    named = [word.replace("MODEL", str(tiny_model)) for word in words]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *named])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit, match=sentence):
        runpy.run_path(str(SCRIPT), run_name="__main__")


def test_the_container_file_has_no_fault() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, ROOT / "Containerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_container_copies_what_a_space_gets() -> None:
    """Both are the app, so that neither may lack a folder that the other has."""
    copied = {
        line.split()[1]
        for line in (ROOT / "Containerfile").read_text("utf-8").splitlines()
        if line.startswith("COPY ") and line.split()[1].startswith(("assets", "demo", "rarl"))
    }
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line[0] == "!"
    }
    script = (ROOT / "scripts/deploy_space").read_text("utf-8")
    assert copied <= kept
    assert all(f'"{folder}"' in script for folder in copied)
    assert all((ROOT / folder).is_dir() for folder in copied)
