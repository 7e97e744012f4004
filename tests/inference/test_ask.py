"""`python -m rarl ask`, and what importing it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from holding import picture

from rarl.cli import main
from rarl.inference import Decoding, NamedImage, Question, load_engine
from rarl.scans import open_scan_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.png"
    picture().save(path)
    return path


def asked(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    assert main(["ask", *map(str, words), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    answered: dict[str, Any] = json.loads(out)
    return answered


def test_json_holds_all_that_is_needed_to_ask_again(
    capsys: pytest.CaptureFixture[str], scan: Path, tiny_model: Path
) -> None:
    words = (scan, "Is there a fracture?", "--model", tiny_model, "--max-new-tokens", "12")
    out = asked(capsys, *words)
    engine = load_engine(str(tiny_model))
    revisions = {arm.name: arm.revision for arm in engine.arms}
    assert out["images"] == [
        {
            "name": "",
            "format": "png",
            "modality": None,
            "width": 60,
            "height": 50,
            "warnings": out["images"][0]["warnings"],
        }
    ]
    assert out["question"] == "Is there a fracture?"
    assert (out["mode"], out["model"]) == ("reason", str(tiny_model))
    assert out["revision"] == revisions["base"]
    assert [(arm["arm"], arm["revision"]) for arm in out["arms"]] == [
        (name, revisions[name]) for name in ("sft", "rl", "rarl")
    ]
    images = (NamedImage(open_scan_file(scan).image),)
    question = Question(images, "Is there a fracture?", ("sft", "rl", "rarl"))
    for arm, answer in zip(out["arms"], engine.answer_batch([question])[0], strict=True):
        assert arm["tokens"] == 12 < answer.tokens
        assert answer.response.text.startswith(arm["text"])
        assert set(arm) == {
            *("arm", "revision", "reasoning", "answer", "problems", "cautions", "text", "tokens"),
            *("seconds", "option"),
        }
    assert out["options"] == [] and {arm["option"] for arm in out["arms"]} == {None}


def test_options_are_shown_and_read(
    capsys: pytest.CaptureFixture[str], scan: Path, tiny_model: Path
) -> None:
    words = (scan, "Which organ?", "--model", tiny_model, "--max-new-tokens", "4", "--arm", "sft")
    out = asked(capsys, *words, "--option", "the liver", "--option", "the spleen")
    assert out["options"] == ["the liver", "the spleen"]
    assert main(["ask", str(scan), "Which?", "--option", "one", "--model", str(tiny_model)]) == 2
    assert "2 to 10 options, not 1" in capsys.readouterr().err


def test_several_scans_by_name(
    capsys: pytest.CaptureFixture[str], scan: Path, tiny_model: Path, tmp_path: Path
) -> None:
    prior = tmp_path / "prior.png"
    picture(1, (30, 90)).save(prior)
    words = ("Is it new?", "--model", tiny_model, "--max-new-tokens", "12")
    out = asked(capsys, scan, prior, *words, "--name", "current", "--name", "prior")
    assert [(one["name"], one["width"], one["height"]) for one in out["images"]] == [
        ("current", 60, 50),
        ("prior", 30, 90),
    ]
    images = tuple(
        NamedImage(open_scan_file(path).image, name)
        for path, name in ((scan, "current"), (prior, "prior"))
    )
    question = Question(images, "Is it new?", ("sft", "rl", "rarl"), decoding=Decoding(12))
    (answers,) = load_engine(str(tiny_model)).answer_batch([question])
    assert [arm["text"] for arm in out["arms"]] == [answer.response.text for answer in answers]
    unnamed = asked(capsys, scan, prior, *words)
    assert [one["name"] for one in unnamed["images"]] == ["", ""]
    assert [arm["text"] for arm in unnamed["arms"]] != [arm["text"] for arm in out["arms"]]


def test_arm_mode_and_seed_count(
    capsys: pytest.CaptureFixture[str], scan: Path, tiny_model: Path
) -> None:
    words = (scan, "Why?", "--model", tiny_model, "--max-new-tokens", "12", "--arm", "rarl")

    def text(*more: str) -> str:
        (arm,) = asked(capsys, *words, *more)["arms"]
        assert arm["arm"] == "rarl"
        return str(arm["text"])

    greedy = text()
    assert text("--mode", "answer") != greedy
    warm = ("--temperature", "1.5", "--seed")
    assert len({greedy, text(*warm, "1"), text(*warm, "2")}) == 3
    assert text(*warm, "1") == text(*warm, "1")


def test_a_person_reads_reasoning_answer_and_problems(
    capsys: pytest.CaptureFixture[str], scan: Path, tiny_model: Path
) -> None:
    words = ["ask", str(scan), "Why?", "--model", str(tiny_model), "--max-new-tokens", "30"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line[:1].isalpha()] == [
        *("SFT", "RL", "RARL")
    ]
    assert out.count("Reasoning:") == out.count("Answer:") == 3
    assert "! The model" in out
    assert all(character.isprintable() or character == "\n" for character in out)


def test_any_variants_by_name_and_all_that_the_model_offers(
    capsys: pytest.CaptureFixture[str], scan: Path, tiny_model: Path
) -> None:
    words = (scan, "Why?", "--model", tiny_model, "--max-new-tokens", "4")
    more = ("--adapter", f"mine={tiny_model}/adapters/rl")

    def names(*arguments: str) -> list[str]:
        return [arm["arm"] for arm in asked(capsys, *words, *more, *arguments)["arms"]]

    assert names() == ["sft", "rl", "rarl", "mine"]
    assert names("--arm", "mine, sft,mine") == ["mine", "sft"]


def test_another_adapter_takes_the_place_of_an_arm(
    capsys: pytest.CaptureFixture[str], scan: Path, tiny_model: Path
) -> None:
    words = (scan, "Why?", "--model", tiny_model, "--max-new-tokens", "8")
    sft, rl, _ = asked(capsys, *words)["arms"]
    swapped = asked(capsys, *words, "--adapter", f"sft={tiny_model}/adapters/rl")["arms"]
    assert sft["text"] != rl["text"]
    assert [arm["text"] for arm in swapped[:2]] == [rl["text"], rl["text"]]
    assert swapped[0]["revision"] == rl["revision"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{scan}", "Why?", "--arm", "ppo"], "There is no arm 'ppo' here"),
        (["{scan}", " "], "Type a question"),
        (["{scan}", "Why?", "--model", "/nowhere"], "There is no model folder /nowhere"),
        (["{scan}", "Why?", "--adapter", "sft"], "NAME=FOLDER"),
        (["/nowhere.png", "Why?"], "There is no such file"),
        (["{scan}", "/nowhere.png", "Why?"], "File 2 of 2: There is no such file"),
        (["{scan}", "{scan}", "Why?", "--name", "prior"], "once for each of the 2 scans"),
        (["{scan}", "{scan}", "Why?", *["--name", "prior"] * 2], "Two pictures are called 'prior'"),
        (["{scan}"] * 9 + ["Why?"], "9 pictures; ask about 8 or fewer"),
    ],
)
def test_bad_input_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    scan: Path,
    tiny_model: Path,
    words: list[str],
    sentence: str,
) -> None:
    monkeypatch.setenv("RARL_MODEL", str(tiny_model))
    assert main(["ask", *(word.format(scan=scan) for word in words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def test_an_impossible_number_is_one_sentence(
    capsys: pytest.CaptureFixture[str], scan: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ask", str(scan), "Why?", "--max-new-tokens", "0"])
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert "'0' is not a whole number from 1 to 100000" in captured.err


def test_a_process_of_its_own_keeps_standard_error_clean(scan: Path, tiny_model: Path) -> None:
    words = ["ask", str(scan), "Why?", "--max-new-tokens", "4", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "rarl", *words],
        cwd=ROOT,
        env=os.environ | {"RARL_MODEL": str(tiny_model)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [arm["arm"] for arm in json.loads(done.stdout)["arms"]] == ["sft", "rl", "rarl"]


def test_the_interface_alone_loads_no_torch() -> None:
    code = (
        "import sys, rarl.inference, rarl.inference.command\n"
        "print({'torch', 'transformers', 'peft'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
