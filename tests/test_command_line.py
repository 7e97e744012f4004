"""Bad arguments, settings and outputs of the command line: one sentence and exit status 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pydicom.data
import pytest

from rarl.cli import COMMANDS, SUMMARIES, main

ROOT = Path(__file__).resolve().parents[1]
SCAN = str(Path(pydicom.data.__file__).parent / "test_files" / "MR_small.dcm")
TRAIN = ["train", "rarl", "--model", "tiny", "--data", "vqa_rad", "--out"]
EVALUATE = ["evaluate", "--model", "tiny", "--data", "vqa_rad", "--out"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ask", SCAN, "Gr\udcf6\udcdfe?"], "not text in UTF-8"),
        (["ask", SCAN, "Mass?", "--seed", "99999999999999999999"], "--seed"),
        (["ask", SCAN, "Mass?", "--seed", "-1"], "--seed"),
        (["ask", SCAN, "Mass?", "--temperature", "nan"], "--temperature"),
        (["ask", SCAN, "Mass?", "--temperature", "inf"], "--temperature"),
        (["ask", SCAN, "Mass?", "--max-new-tokens", "0"], "--max-new-tokens"),
        ([*TRAIN, "new", "--seed", "1e3"], "--seed"),
        ([*TRAIN, "new", "--max-steps", "0"], "--max-steps"),
        ([*TRAIN, "/dev/null"], "--out names a file"),
        ([*TRAIN, f"{SCAN}/below"], "--out cannot be written"),
        ([*EVALUATE, SCAN], "--out names a file"),
        ([*EVALUATE, "new", "--temperature", "nan"], "--temperature"),
        ([*EVALUATE, "new", "--batch", "0"], "--batch"),
        (["review", "list", "--limit", "1" * 30], "--limit"),
        (["review", "list", "--since", "soon"], "--since"),
        (["scan", "/dev/zero"], "a device and not a file"),
        (["scan", SCAN, "--series", "7"], "no series 7"),
        (["scan", SCAN, "--serious"], "unrecognized arguments"),
    ],
)
def test_one_sentence(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(words)
    except SystemExit as end:
        status = int(end.code or 0)
    captured = capsys.readouterr()
    assert status == 2 and captured.out == ""
    assert says in captured.err and captured.err.count("\n") == 1


def test_help_lists_every_command_and_loads_none() -> None:
    assert SUMMARIES.keys() == COMMANDS.keys()
    code = (
        "import sys; from rarl.cli import main; main(['--help']);"
        "heavy = {'numpy', 'pydantic', 'pydicom', 'torch', 'yaml'} & set(sys.modules);"
        "sys.exit(f'--help loads {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(f"  {name:<16} {summary}" in lines for name, summary in SUMMARIES.items())
    assert max(map(len, lines)) <= 100


def test_a_recipe_takes_no_number_without_end() -> None:
    from rarl.training.recipe import RecipeError, load_recipe

    for value in ("nan", "inf", ".nan", ".inf", "1e999"):
        with pytest.raises(RecipeError, match="learning_rate must be a number"):
            load_recipe("rarl", None, [f"learning_rate={value}"])


def rarl(*words: str | bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "rarl", *words],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
        timeout=300,
    )


def test_a_terminal_in_another_encoding() -> None:
    latin = rarl("ask", SCAN, "Größe?".encode("latin-1"))
    ascii_only = rarl(
        "ask", SCAN, "Größe?".encode(), LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"
    )
    for run in (latin, ascii_only):
        assert (run.returncode, run.stdout) == (2, b"")
        assert b"UTF-8" in run.stderr and run.stderr.count(b"\n") == 1


def test_a_mistyped_setting() -> None:
    run = rarl("scan", SCAN, RARL_LIMT_FRAMES="3")
    assert run.returncode == 2
    assert run.stderr == b"RARL_LIMT_FRAMES is not a setting; did you mean RARL_LIMIT_FRAMES?\n"


def test_a_closed_pipe_and_a_full_disk() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    closed = subprocess.run(
        [sys.executable, "-m", "rarl", "scan", SCAN],
        stdout=writing, stderr=subprocess.PIPE, check=False, cwd=ROOT, timeout=300,
    )  # fmt: skip
    os.close(writing)
    assert closed.returncode == 2
    assert closed.stderr == b"The output was closed before all was written.\n"
    if Path("/dev/full").exists():
        with open("/dev/full", "wb") as full:
            run = subprocess.run(
                [sys.executable, "-m", "rarl", "scan", SCAN],
                stdout=full, stderr=subprocess.PIPE, check=False, cwd=ROOT, timeout=300,
            )  # fmt: skip
        assert run.returncode == 2
        assert run.stderr == b"The output cannot be written; is the disk full?\n"


def test_a_pipe_opens_as_a_file_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    keeper = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # what was written stays in the pipe
    writer = os.open(pipe, os.O_WRONLY)
    assert os.write(writer, Path(SCAN).read_bytes()) == Path(SCAN).stat().st_size
    os.close(writer)
    assert main(["scan", str(pipe)]) == 0
    os.close(keeper)
    assert capsys.readouterr().out.startswith("1: dicom MR 64 x 64 pixels")
