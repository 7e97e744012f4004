"""The wheel, its extras and ranges, the lock files, the licences and the bill of materials."""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

import rarl
from rarl import extras
from rarl.cli import main
from rarl.extras import EXTRAS, missing_extra
from scripts._inventory import Package, closure, pinned_requirements, project_requirements
from tests.scans.drawn import drawn, saved

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
COPYLEFT_EXTRAS = {"postgres", "libjpeg"}


def locked(file: str) -> dict[str, list[str]]:
    """Each package of a lock file with its entries, one for each version."""
    entries: dict[str, list[str]] = {}
    for entry in re.split(r"^(?=[A-Za-z])", (ROOT / file).read_text("utf-8"), flags=re.M)[1:]:
        entries.setdefault(canonicalize_name(re.split(r"[\[=]", entry)[0]), []).append(entry)
    return entries


RUNTIME, TORCH, DEVELOPMENT = (
    locked(f"requirements{part}.lock") for part in ("", "-torch", "-dev")
)


# --- the wheel ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tracked files so that nothing left over gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "rarl", "pyproject.toml", "README.md", "LICENSE", "NOTICE"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, tracked):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"),
            *("--no-index", "--quiet", "--wheel-dir", str(folder), str(source)),
        ],
        check=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment that holds the wheel and what it requires, without any extra.

    The requirements are links to the packages of this environment; nothing else is in reach.
    """
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for package in closure(project_requirements()):
        found = distribution(package.name)
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
            if top != "__pycache__" and not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(folder), "install", "--quiet"),
            *("--no-deps", "--no-index", str(wheel)),
        ],
        check=True,
    )
    return folder / "bin"


def run(program: Path, *words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    settings |= {"RARL_HOME": str(folder / "home"), "RARL_DATA": str(folder)}
    return subprocess.run(
        [program, *words], cwd=folder, env=settings, capture_output=True, text=True, timeout=300
    )


def test_the_wheel_holds_rarl_with_its_data_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"rarl-{rarl.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"rarl", info}
    tracked = subprocess.run(
        ["git", "ls-files", "rarl"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert {name for name in names if name.startswith("rarl/")} == set(tracked)
    assert f"{info}/licenses/LICENSE" in names and f"{info}/licenses/NOTICE" in names


def test_rarl_runs_from_the_wheel_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    rarl_command = installed / "rarl"
    where = run(
        installed / "python", "-c", "import rarl; print(rarl.__file__)", folder=tmp_path
    ).stdout
    assert Path(where.strip()).is_relative_to(installed.parent)
    usage = run(rarl_command, "--help", folder=tmp_path)
    assert (usage.returncode, usage.stderr) == (0, "") and "scan" in usage.stdout
    version = run(rarl_command, "--version", folder=tmp_path)
    assert version.stdout.strip() == rarl.__version__

    Image.effect_noise((96, 80), 60).save(tmp_path / "scan.png")
    scan = run(rarl_command, "scan", "scan.png", "--json", folder=tmp_path)
    assert scan.returncode == 0, scan.stderr
    assert json.loads(scan.stdout)[0]["file"] == 1

    flags = run(rarl_command, "review", "list", "--json", folder=tmp_path)
    assert flags.returncode == 0, flags.stderr
    assert (tmp_path / "home").is_dir()


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("ask", "scan.png", "Which organ?"), "models"),
        (("train", "sft", "--data", "vqa_rad", "--out", "run"), "models"),
        (("evaluate", "--data", "vqa_rad", "--out", "run"), "train"),
        (("scan", "--study", "1"), "pacs"),
    ],
)
def test_a_missing_extra_is_one_sentence(
    installed: Path, tmp_path: Path, words: tuple[str, ...], extra: str
) -> None:
    Image.effect_noise((96, 80), 60).save(tmp_path / "scan.png")
    result = run(installed / "rarl", *words, folder=tmp_path)
    assert result.returncode == 2
    assert re.fullmatch(
        r"This needs the package \w+, which is not installed: pip install 'rarl\[(\w+)\]'\n",
        result.stderr,
    )
    assert f"rarl[{extra}]" in result.stderr


def test_postgresql_without_its_driver_is_one_sentence(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RARL_DATABASE_URL", "postgresql://localhost/flags")
    result = run(installed / "rarl", "review", "list", folder=tmp_path)
    assert (result.returncode, result.stderr) == (
        2,
        "PostgreSQL needs the package psycopg, which is not installed: "
        "pip install 'rarl[postgres]'\n",
    )


def test_lossless_jpeg_opens_without_the_optional_decoder(installed: Path, tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    dataset = drawn(values)
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.PixelData = encapsulate([imagecodecs.ljpeg_encode(values)])
    dataset["PixelData"].VR = "OB"
    (tmp_path / "scan.dcm").write_bytes(saved(dataset))
    result = run(installed / "rarl", "scan", "scan.dcm", folder=tmp_path)
    assert result.returncode == 0, result.stderr


# --- ranges, pins and lock files ---------------------------------------------------------------


def test_every_pin_is_in_the_wheels_range_and_the_other_way_round() -> None:
    ranges: dict[str, Requirement] = {}
    for requirement in project_requirements(PROJECT["optional-dependencies"]):
        ranges[canonicalize_name(requirement.name)] = requirement
    pins = {canonicalize_name(pin.name): pin for pin in pinned_requirements()}
    assert ranges.keys() == pins.keys()
    for name, pin in pins.items():
        (exact,) = pin.specifier
        assert ranges[name].specifier.contains(exact.version), name
        assert {clause.operator for clause in ranges[name].specifier} == {">=", "<"}, name
        assert ranges[name].extras == pin.extras


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_the_lock_files_hold_the_pins(file: str) -> None:
    everything = RUNTIME | TORCH | DEVELOPMENT
    for pin in pinned_requirements(file):
        entries = everything.get(canonicalize_name(pin.name), [])
        assert any(f"{pin.specifier}" in entry for entry in entries), f"{pin}: run scripts/lock"


def test_the_lock_files_are_complete_here_and_hashed() -> None:
    entries = RUNTIME | TORCH
    for package in closure(pinned_requirements()):
        # PyTorch's CPU build needs no CUDA package.
        assert package.name in entries, f"{package.name}: run scripts/lock"
    for name, versions in (RUNTIME | TORCH | DEVELOPMENT).items():
        for entry in versions:
            assert re.search(r"--hash=sha256:[0-9a-f]{64}\n", entry), name
    assert not RUNTIME.keys() & TORCH.keys() and not RUNTIME.keys() & DEVELOPMENT.keys()
    assert "torch" in TORCH and "gradio" in RUNTIME and "pytest" in DEVELOPMENT
    text = "".join(p.read_text("utf-8") for p in ROOT.glob("requirements*"))
    assert "://" not in text and "--index" not in text


def test_the_set_up_checks_hashes() -> None:
    script = (ROOT / "scripts/_environment.sh").read_text("utf-8")
    installs = [line for line in script.splitlines() if line.strip().startswith("pip_install ")]
    unhashed = [line for line in installs if "--require-hashes" not in line]
    assert len(installs) > len(unhashed)
    # The CPU build of PyTorch alone: see the comment there.
    assert all('--no-deps "torch==$version"' in line for line in unhashed)


def test_the_table_of_extras_is_that_of_the_wheel() -> None:
    names = {"fhir": "fhir.resources", "python_multipart": "python-multipart"}
    for module, extra in EXTRAS.items():
        listed = {requirement.name for requirement in project_requirements([extra])}
        assert names.get(module, module) in listed, f"{module} is not in the extra {extra}"
    assert missing_extra(ModuleNotFoundError(name="rarl.nothing")) is None
    assert doctest.testmod(extras).failed == 0


def test_an_import_error_of_our_own_is_not_called_a_missing_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(rarl.cli.COMMANDS, "data", "rarl.nothing")
    with pytest.raises(ModuleNotFoundError):
        main(["data"])


# --- licences ----------------------------------------------------------------------------------


def test_no_copyleft_package_is_required() -> None:
    extras = set(PROJECT["optional-dependencies"]) - COPYLEFT_EXTRAS
    required = closure(project_requirements(extras))
    assert {"numpy", "torch", "gradio"} <= {package.name for package in required}
    assert not [package.name for package in required if package.is_copyleft]
    assert not [package.name for package in required if package.licence == "not stated"]


def test_the_copyleft_extras_are_those_that_notice_names() -> None:
    optional = closure(pinned_requirements())
    copyleft = {package.name for package in optional if package.is_copyleft}
    assert copyleft == {"psycopg", "psycopg-binary", "pylibjpeg-libjpeg"}
    notice = (ROOT / "NOTICE").read_text("utf-8")
    assert all(name in notice for name in copyleft)


@pytest.mark.parametrize(
    ("licence", "copyleft"),
    [
        ("MIT", False),
        ("LGPL-3.0-only", True),
        ("AGPL-3.0-or-later", True),
        ("GPL-2.0-or-later AND MIT", True),
        ("BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1", False),
        ("GNU Lesser General Public License v3", True),
    ],
)
def test_copyleft_is_recognised(licence: str, copyleft: bool) -> None:
    assert Package("x", "1", licence, (), ()).is_copyleft == copyleft


def report(script: str, *words: str) -> str:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *words],
        check=True, capture_output=True, text=True, timeout=300,
    ).stdout  # fmt: skip


def test_the_licence_report_names_every_package() -> None:
    listed = json.loads(report("licences", "--json").splitlines()[-1])
    assert listed["copyleft_required"] == []
    by_name = {package["name"]: package for package in listed["packages"]}
    assert by_name["gradio"]["licence"] == "Apache-2.0" and not by_name["gradio"]["optional"]
    assert by_name["pylibjpeg-libjpeg"]["optional"]
    assert {canonicalize_name(pin.name) for pin in pinned_requirements()} <= by_name.keys()


def test_the_bill_of_materials_is_cyclonedx_with_versions_hashes_and_licences() -> None:
    bom: dict[str, Any] = json.loads(report("sbom"))
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    assert bom["metadata"]["component"]["version"] == rarl.__version__
    components = {component["name"]: component for component in bom["components"]}
    pydicom = components["pydicom"]
    assert pydicom["purl"] == f"pkg:pypi/pydicom@{pydicom['version']}"
    assert pydicom["licenses"] and all(component["licenses"] for component in components.values())
    digests = {item["value"] for item in pydicom["properties"]}
    assert digests and all(digest in "".join(RUNTIME["pydicom"]) for digest in digests)
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in bom["dependencies"]}
    assert any(
        ref.startswith("numpy==") for ref in needs[f"nibabel=={components['nibabel']['version']}"]
    )
