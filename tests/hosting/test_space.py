"""What goes to a Space: the right files and no more, and they are enough to run."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from tests.browser.app_process import ROOT, running

SCRIPT = ROOT / "scripts/deploy_space"


def deploy(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_dry_run_and_the_app_from_its_files_alone(tmp_path: Path) -> None:
    # pip waits for its index most of the time, so that the app is tried meanwhile.
    dry = deploy("--dry-run", "--json", "--hardware", "zero")
    space = tmp_path / "space"
    _, trouble = deploy("--out", str(space), "--offline").communicate(timeout=120)
    assert not trouble
    files = {str(path.relative_to(space)) for path in space.rglob("*") if path.is_file()}
    assert {"README.md", "packages.txt", "requirements.txt", "app.py"} < files
    assert {"demo/static/js/main.js", "demo/static/js/viewer/geometry.js"} < files
    left_out = ("tests", "scripts", "assets/stages", "node_modules", "package")
    assert not [path for path in files if path.startswith(left_out) and path != "packages.txt"]
    with running(tmp_path / "home", None, space, SPACE_ID="owner/rarl") as (address, _, process):
        picture = tmp_path / "scan.png"
        Image.effect_noise((96, 96), 60).save(picture)
        response = Client(address, verbose=False).predict(
            scans=[handle_file(str(picture))], question="Which organ is shown?", api_name="/compare"
        )
        assert [answer["arm"] for answer in response["answers"]] == ["sft", "rl", "rarl"]
        policy = httpx.get(address).headers["content-security-policy"]
        assert policy.endswith("frame-ancestors https://huggingface.co")
        assert Path(f"/proc/{process.pid}/cwd").resolve() == space.resolve()
    output, trouble = dry.communicate(timeout=600)
    if "reaches no index" in trouble:
        pytest.skip("no package index is in reach")
    assert dry.returncode == 0, trouble
    assert set(json.loads(output.splitlines()[-1])["files"]) == files
    assert "packages found for Python 3.12, zero" in output


def test_what_costs_money_is_named_before_anything_is_done() -> None:
    # Nothing of this reaches a network: the check comes first.
    for hardware, name in (("cpu", "cpu-upgrade"), ("zero", "zero-a10g")):
        refused = deploy("owner/rarl", "--hardware", hardware)
        output, trouble = refused.communicate(timeout=60)
        assert refused.returncode == 1
        (line,) = output.splitlines()
        assert line.startswith(f"Hardware {name}: costs money")
        assert "Nothing was done" in trouble and "--pay" in trouble


def test_the_default_is_the_free_hardware(tmp_path: Path) -> None:
    output, trouble = deploy("--out", str(tmp_path / "space"), "--offline").communicate(timeout=120)
    assert not trouble
    assert output.splitlines()[0] == "Hardware cpu-basic: free of charge."
    readme = (tmp_path / "space/README.md").read_text("utf-8")
    assert "suggested_hardware: cpu-basic\n" in readme


def test_zero_gpu_gets_the_pytorch_that_it_offers() -> None:
    requirements = runpy.run_path(str(SCRIPT))["requirements"]
    text = "# Models\ntorch==2.13.0\npeft==1.0\ntrl==1.0\ngradio==6.0\n"
    assert requirements(text, "zero") == "torch==2.11.0\npeft==1.0\nspaces==0.51.3\n"
    assert requirements(text, "cpu").splitlines()[1:] == ["torch==2.13.0+cpu", "peft==1.0"]


@pytest.mark.parametrize(
    ("path", "content", "sentence"),
    [
        ("demo/keys.py", "KEY = 'hf_" + "a" * 34 + "'", "demo/keys.py seems to hold a secret"),
        ("rarl/x.py", "\nURL = 'postgresql://me:hunter22@db/x'", "secret in line 2"),
        ("demo/scan.dcm", "DICM", "demo/scan.dcm is a stray file"),
        (".env", "A=1", ".env is a stray file"),
        ("assets/big.png", "x" * 10_000_001, "make it smaller"),
    ],
)
def test_what_must_not_go_there(path: str, content: str, sentence: str) -> None:
    script = runpy.run_path(str(SCRIPT))
    with pytest.raises(script["Refusal"], match=sentence):
        script["check_files"]([script["Entry"](path, content.encode())])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("sdk_version: ", "sdk_version: 1", "sdk_version is"),
        ("app_file: app.py", "app_file: main.py", "app_file is 'main.py'"),
        ("colorTo: gray", "colorTo: beige", "colours must be of"),
        ('python_version: "3.12"', "python_version: 3.9", "python_version is '3.9'"),
        ("---\ntitle", "title", "has no front matter"),
    ],
)
def test_front_matter_that_does_not_fit(old: str, new: str, sentence: str) -> None:
    script: dict[str, Any] = runpy.run_path(str(SCRIPT))
    text = (ROOT / "space/README.md").read_text("utf-8")
    assert old in text
    content = {"README.md": text.replace(old, new, 1).encode(), "app.py": b""}
    with pytest.raises(script["Refusal"], match=sentence):
        script["check_front_matter"](content)
