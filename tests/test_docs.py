"""The documents: every command, option, setting, link and example in them exists."""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from PIL import Image

from rarl.cli import COMMANDS

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "space/README.md",
]
GUIDES = {
    "clinician-guide.md",
    "base.md",
    "training-and-evaluation.md",
    "evaluation.md",
    "review-and-studies.md",
    "reports.md",
    "hosting.md",
    "api.md",
}
UNTRACKED = {"build", "dist", "node_modules", "runs", "shared", "test-results"}
# Programs of others that the documents call.
FOREIGN = {"accelerate", "pip", "podman", "source"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"\bRARL_[A-Z_]*[A-Z]\b")


def blocks(kind: str) -> list[tuple[str, str]]:
    """The fenced blocks of a kind, each with its document's name."""
    return [
        (document.name, text)
        for document in DOCUMENTS
        for found, text in BLOCK.findall(document.read_text("utf-8"))
        if found == kind
    ]


def commands() -> list[tuple[str, str]]:
    """Every line of the shell blocks, and every `python -m rarl ...` within a sentence."""
    lines = [
        (name, line)
        for name, text in blocks("sh")
        for line in text.splitlines()
        if line and not line.startswith("#")
    ]
    for document in DOCUMENTS:
        prose = BLOCK.sub("", document.read_text("utf-8"))
        inline = re.findall(r"`((?:python -m rarl \w|scripts/\w)[^`]* [^`]*)`", prose)
        lines += [(document.name, line) for line in inline]
    return lines


@cache
def options_of(script: Path) -> frozenset[str]:
    """The options that a Python file declares with `add_argument`."""
    calls = (
        node
        for node in ast.walk(ast.parse(script.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"
    )
    words = (word.value for call in calls for word in call.args if isinstance(word, ast.Constant))
    return frozenset(str(word) for word in words if str(word).startswith("--"))


class Unusable(Exception):  # noqa: N818 - it is an answer
    """The command would be refused."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise Unusable(message)


def check_rarl(words: list[str]) -> None:
    """Let the command's own parser read the words."""
    assert words and words[0] in COMMANDS, f"there is no command {words[:1]}"
    module = import_module(COMMANDS[words[0]])
    parser = Parser(add_help=False)
    module.add_arguments(parser)
    parser.parse_args(words[1:])


def check_options(words: list[str], known: frozenset[str]) -> None:
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    if not given <= known:
        raise Unusable(f"no option {sorted(given - known)}")


def check(line: str) -> None:
    """Raise where a command line cannot work: no such program, option or setting."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        setting = words.pop(0).partition("=")[0]
        assert setting in settings_in_code(), setting
    program, rest = words[0], words[1:]
    if program == "rarl" or words[:3] == ["python", "-m", "rarl"]:
        check_rarl(words[1:] if program == "rarl" else words[3:])
    elif words[:3] == ["accelerate", "launch", "--config_file"]:
        assert (ROOT / words[3]).is_file()
        assert words[4:6] == ["-m", "rarl"]
        check_rarl(words[6:])
    elif program == "scripts/demo":
        check_options(rest, options_of(ROOT / "app.py") | {"--install-only"})
    elif program == "scripts/test":
        assert all((ROOT / word).exists() for word in rest)
    elif program.startswith("scripts/"):
        assert (ROOT / program).is_file(), program
        check_options(rest, options_of(ROOT / program))
    elif program == "python":
        assert (ROOT / rest[0]).is_file(), rest[0]
        check_options(rest[1:], options_of(ROOT / rest[0]))
    else:
        assert program in FOREIGN, program


@cache
def settings_in_code() -> frozenset[str]:
    """Every RARL_* that the product and its set-up read."""
    folders = ("rarl", "demo", "scripts")
    files = [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()]
    found: set[str] = set()
    for path in (*files, ROOT / "app.py"):
        if path.suffix in {"", ".py", ".sh"}:
            found |= set(SETTING.findall(path.read_text("utf-8")))
    return frozenset(found)


@pytest.mark.parametrize(("document", "line"), commands(), ids=lambda value: value[:60])
def test_a_command_of_the_documents_is_accepted(document: str, line: str) -> None:
    check(line)


@pytest.mark.parametrize(
    "line",
    [
        "python -m rarl train rarl --model pocket --data vqa_rad --out runs/x --nonsense",
        "python -m rarl train ppo --model pocket --data vqa_rad --out runs/x",
        "python -m rarl sing",
        "scripts/load_test --user 5",
        "scripts/absent",
        "scripts/demo --port 5",
        "RARL_NO_SUCH=1 scripts/demo",
        "curl example.org",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    with pytest.raises((Unusable, AssertionError)):
        check(line)


def test_there_are_commands_in_every_guide() -> None:
    assert {path.name for path in (ROOT / "docs").glob("*.md")} == GUIDES
    for name in GUIDES - {"clinician-guide.md"}:
        assert any(document == name for document, _ in commands()), name


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    table = (ROOT / "docs/hosting.md").read_text("utf-8").partition("## Settings")[2]
    documented = set(SETTING.findall(table))
    read = {name for name in settings_in_code() if not name.startswith("RARL_LIMIT")}
    missing = read - documented
    assert not missing, f"add {sorted(missing)} to the settings in docs/hosting.md"
    for document in DOCUMENTS:
        for name in set(SETTING.findall(document.read_text("utf-8"))):
            assert name in settings_in_code() or name.startswith("RARL_LIMIT"), (document, name)


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", document.read_text("utf-8")), re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_every_guide_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert all(f"](docs/{name})" in readme for name in GUIDES)


def test_the_readme_has_two_screens() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert len(readme.splitlines()) <= 100 and len(readme.split()) <= 700
    opening = " ".join(readme.split("\n\n")[1].split())
    # The measured result is the second sentence, with a link to the study.
    assert "assets/results/experiment.md" in re.split(r"(?<=\.) ", opening)[1]


def test_the_readme_has_a_line_for_each_folder() -> None:
    readme = (ROOT / "README.md").read_text("utf-8").partition("## Repository")[2]
    ((_, tree),) = BLOCK.findall(readme)
    listed = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    folders = {
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in UNTRACKED
    }
    assert listed - {"app.py"} == folders


def test_every_python_example_imports_what_exists() -> None:
    examples = blocks("python")
    assert examples
    for _, text in examples:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("rarl"):
                module = import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), text


def test_the_python_example_of_the_api_runs(tmp_path: Path) -> None:
    (example,) = (text for name, text in blocks("python") if name == "api.md")
    Image.effect_noise((96, 80), 60).save(tmp_path / "scan.png")
    result = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["sft", "rl", "rarl"]


def test_every_yaml_example_is_yaml() -> None:
    examples = blocks("yaml")
    assert examples and all(isinstance(yaml.safe_load(text), dict) for _, text in examples)
