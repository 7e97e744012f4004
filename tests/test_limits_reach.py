"""A limit set in the environment reaches the page, the upload and the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from rarl.cli import main

LIMIT = "RARL_LIMIT_FILE_BYTES"


def test_the_size_of_a_file_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.effect_noise((1600, 1600), 90).convert("RGB").save(tmp_path / "noise.bmp")
    assert main(["scan", str(tmp_path / "noise.bmp")]) == 0
    monkeypatch.setenv(LIMIT, "2000000")
    assert main(["scan", str(tmp_path / "noise.bmp")]) == 2
    assert "larger than 2 MB" in capsys.readouterr().err


def test_the_size_of_an_upload() -> None:
    code = (
        "from demo.interface import build, max_upload_bytes; from demo.context import make_parts;"
        "page = build(make_parts());"
        "print([block.props['file_bytes'] for block in page.blocks.values()"
        " if 'file_bytes' in (getattr(block, 'props', None) or {})], max_upload_bytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        env={**os.environ, LIMIT: "2000000"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[2000000] 2000000"
