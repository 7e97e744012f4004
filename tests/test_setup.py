"""The set-up holds together: pins, imports and commands agree with each other."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

import rarl

ROOT = Path(__file__).parent.parent
SOURCES = [
    path
    for folder in ("rarl", "demo", "scripts", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
] + sorted(ROOT.glob("*.py"))
SOURCES += [
    path
    for path in sorted((ROOT / "scripts").iterdir())
    if path.is_file() and path.read_text("utf-8").partition("\n")[0].endswith(("python", "python3"))
]


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in (ROOT / file).read_text("utf-8").splitlines()]
    pairs = [line.split("==") for line in lines if line]
    assert all(len(pair) == 2 for pair in pairs), f"{file}: every line is NAME==VERSION"
    # "psycopg[binary]": the extra is no part of the name.
    return {normalise(name.partition("[")[0]): pinned for name, pinned in pairs}


RUNTIME = pins("requirements.txt")
DEVELOPMENT = pins("requirements-dev.txt")
HOMES = packages_distributions()


def is_for_developers(path: Path) -> bool:
    """Whether only developers run it: tests, and the scripts that drive or attack the app."""
    return path.is_relative_to(ROOT / "tests") or path.name in {
        "screenshots",
        "floors",
        "bench_queue",
        "bench_memory",
        "_own_app.py",
        "bench_viewer",
        "fuzz_scans",
        "bench_2b",
        "check_scans",
        "bench_familiarity",
        "load_test",
        "_inventory.py",
        "licences",
        "sbom",
    }


def imported_modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    own = {"rarl", "demo", "app", "tests", "scripts"} | {p.stem for p in path.parent.glob("*.py")}
    if is_for_developers(path):
        own |= {p.stem for p in (ROOT / "tests").rglob("*.py")}
    # `spaces` exists only on a hosted Space, whose requirements are its own; the metrics of others
    # are used where somebody has installed them.
    others = {"spaces", "RadEval"}
    return found - own - sys.stdlib_module_names - others


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_import_is_a_pinned_requirement(path: Path) -> None:
    allowed = RUNTIME | (DEVELOPMENT if is_for_developers(path) else {})
    missing = {
        module
        for module in imported_modules(path)
        if not {normalise(home) for home in HOMES.get(module, [])} & allowed.keys()
    }
    assert not missing, f"add to the requirements what provides {sorted(missing)}"


def test_the_environment_holds_the_pins() -> None:
    installed = {name: version(name).partition("+")[0] for name in RUNTIME | DEVELOPMENT}
    assert installed == RUNTIME | DEVELOPMENT


def test_there_is_no_torchvision() -> None:
    assert "torchvision" not in RUNTIME | DEVELOPMENT
    assert importlib.util.find_spec("torchvision") is None


def test_the_version_is_said_once_and_cited() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "version" in project["dynamic"]
    assert f"\nversion: {rarl.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


@pytest.mark.parametrize("script", ["scripts/demo", "scripts/test", ".ci/run"])
def test_the_commands_are_runnable_bash(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert path.read_text("utf-8").startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in path.read_text("utf-8")
    subprocess.run(["bash", "-n", path], check=True)


def set_up(home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs `scripts/demo --install-only` from another folder, with an environment there."""
    return subprocess.run(
        [ROOT / "scripts/demo", "--install-only"],
        cwd=home,
        env=os.environ | {"RARL_VENV": "environment"} | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_no_fitting_python_is_one_sentence(tmp_path: Path) -> None:
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        shim = tmp_path / "bin" / name
        shim.parent.mkdir(exist_ok=True)
        shim.write_text("#!/bin/sh\nexit 127\n", "utf-8")
        shim.chmod(0o755)
    done = set_up(tmp_path, PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin", RARL_PYTHON="")
    assert done.returncode == 1
    assert done.stderr == (
        "Install Python 3.11, 3.12 or 3.13, or set RARL_PYTHON to where it is.\n"
    )
    assert not (tmp_path / "environment").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    keep = tmp_path / "environment" / "keep.txt"
    keep.parent.mkdir()
    keep.write_text("mine", "utf-8")
    done = set_up(tmp_path)
    assert done.returncode == 1
    assert "is not a Python environment" in done.stderr
    assert keep.read_text("utf-8") == "mine"


def test_a_second_start_installs_nothing(tmp_path: Path) -> None:
    kept = Path(sys.prefix) / "installed-requirements.lock"
    asked = (ROOT / "requirements.lock").read_text("utf-8")
    if not kept.exists() or not kept.read_text("utf-8").endswith(asked):
        pytest.skip("this environment was not made by the set-up")
    done = set_up(tmp_path, RARL_VENV=sys.prefix, PIP_NO_INDEX="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_import_of_our_own_exists(path: Path) -> None:
    """Scripts run seldom, so a moved module would stay unnoticed in one for long."""
    own = ("rarl", "demo", "tests")
    missing = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.level or not node.module:
            continue
        if node.module.split(".")[0] not in own:
            continue
        file = ROOT.joinpath(*node.module.split("."))
        source = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        if not source.is_file():
            missing.append(node.module)
            continue
        defined = names_defined(source)
        for name in node.names:
            is_module = file.is_dir() and (
                (file / f"{name.name}.py").is_file() or (file / name.name).is_dir()
            )
            if name.name not in defined and not is_module:
                missing.append(f"{node.module}.{name.name}")
    assert not missing


@cache
def names_defined(source: Path) -> frozenset[str]:
    """Every name that a module binds anywhere at its top level, branches included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.alias(name=name, asname=asname):
                names.add(asname or name)
    return frozenset(names)


def test_each_test_file_has_a_name_of_its_own() -> None:
    """Two of one name in folders without `__init__.py` keep pytest from collecting either."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
