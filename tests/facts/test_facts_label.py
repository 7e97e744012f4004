"""The facts label: what files and evaluations say, and nothing that they do not say."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

from rarl.cli import main
from rarl.facts import Facts, applied_model_card, facts_of, held_out_accuracy
from rarl.facts.chai import NAMESPACE
from rarl.facts.label import NOT_MEASURED, NOT_RECORDED, TrainingSet
from rarl.models.intended_use import INTENDED_USE, LIMITS
from rarl.models.making import Making

MINE, OTHER = "a" * 12, "b" * 12
CARD = """# A base

## Training

| set | licence | used for |
|---|---|---|
| VQA-RAD | CC0-1.0 | questions |
| BUSI | CC-BY-4.0 | three classes |

## Known limits

- English only; it knows **no**
  other language.

## Use

- Ask it.
"""
RECORD: dict[str, Any] = {
    "base": "pocket",
    "base_revision": OTHER,
    "recipe": "rarl",
    "made": "2026-11-20",
    "data": {"rows": 120, "images": 40, "licences": {"vqa_rad": "CC0-1.0"}},
}


def row(number: int, **changed: object) -> dict[str, object]:
    """A greedy answer about a CT scan, right where the number is even."""
    plain: dict[str, object] = {
        "condition": "scan", "draw": 0, "mode": "reason", "split": "test", "reworded": False,
        "modality": "ct", "revision": MINE, "category": "PRES", "source": "vqa_rad",
        "kind": "closed", "exact": number % 2 == 0, "image": f"image {number // 2}",
    }  # fmt: skip
    return plain | changed


def facts(**changed: object) -> Facts:
    measured = held_out_accuracy(pd.DataFrame([row(number) for number in range(8)]), MINE, "reason")
    label = facts_of(
        "pocket", "rarl", "RARL", MINE, Making(RECORD), Making(card=CARD), "reason", measured
    )
    return replace(label, **changed)  # type: ignore[arg-type]


def test_accuracy_is_told_apart_by_modality_kind_and_task() -> None:
    rows = [row(number) for number in range(8)]
    rows += [row(number, kind="open", exact=False) for number in range(4)]
    rows += [row(number, modality="mri", category="label") for number in range(4)]
    # None of these is a fair measurement of these weights.
    for unfair in (
        {"split": "train"}, {"reworded": True}, {"condition": "blank"}, {"draw": 1},
        {"mode": "answer"}, {"revision": OTHER}, {"modality": None},
    ):  # fmt: skip
        rows.append(row(1, **unfair))
    lines = held_out_accuracy(pd.DataFrame(rows), MINE, "reason")
    assert [(line.modality, line.kind, line.questions, line.n, line.images) for line in lines] == [
        ("CT", "closed", "questions that people wrote", 8, 4),
        ("CT", "open", "questions that people wrote", 4, 2),
        ("MRI", "closed", "vqa_rad: label", 4, 2),
    ]
    closed = lines[0]
    assert closed.value == 0.5 and closed.low is not None and closed.by_people
    assert not lines[2].by_people
    assert held_out_accuracy(pd.DataFrame(rows), "", "reason") == ()


def test_a_label_tells_what_its_files_say() -> None:
    label = facts()
    assert (label.intended_use, label.made, label.recipe) == (INTENDED_USE, "2026-11-20", "rarl")
    assert label.base == f"pocket {OTHER}"
    assert label.training == (TrainingSet("vqa_rad", "CC0-1.0"),)
    assert (label.rows, label.images) == (120, 40)
    assert label.limits == (*LIMITS, "English only; it knows no other language.")
    # A base without a record has the table of its card.
    base = facts_of("m", "base", "Base", OTHER, Making(card=CARD), Making(card=CARD), "reason")
    assert base.training == (TrainingSet("VQA-RAD", "CC0-1.0"), TrainingSet("BUSI", "CC-BY-4.0"))
    bare = facts_of("m", "x", "X", "", Making(), Making(), "reason")
    assert (bare.training, bare.rows, bare.made, bare.base, bare.measured) == ((), None, "", "", ())


def test_only_measurements_of_this_kind_are_shown() -> None:
    label = facts()
    for modality, kind, n in (
        ("CT", "closed", 1), ("ct", None, 1), (None, None, 1), ("MR", "closed", 0),
        ("CT", "open", 0), ("never heard of", None, 0),
    ):  # fmt: skip
        assert len(label.about(modality, kind)) == n, (modality, kind)


def texts(card: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for element in ET.fromstring(card).iter():
        found.setdefault(element.tag.removeprefix(f"{{{NAMESPACE}}}"), []).append(
            (element.text or "").strip()
        )
    return found


def test_the_card_of_chai_holds_the_same_facts() -> None:
    label = facts(limits=("one & two", "\x00<three>"))
    card = texts(applied_model_card(label))
    assert card["IntendedUseAndWorkflow"] == [INTENDED_USE]
    assert card["KnownRisksAndLimitations"] == ["- one & two\n- <three>"]
    assert card["ReleaseDate"] == ["2026-11-20"] and MINE in card["ReleaseVersion"][0]
    assert "vqa_rad (CC0-1.0)" in card["DevelopmentDataCharacterization"][0]
    value = json.loads(card["ValueJson"][0])
    assert (value["kind"], value["estimate"], value["level"]) == ("estimate_ci", 50.0, 95)
    assert value["lower"] <= 50 <= value["upper"] and "(n 8, 4 images)" in card["Label"][0]
    # What was not measured is said so, and has no figure.
    bare = texts(applied_model_card(facts(measured=(), training=(), made="")))
    assert bare["Interpretation"] == [NOT_MEASURED] * 3
    assert {json.loads(text)["value"] for text in bare["ValueJson"]} == {0}
    assert set(bare["Label"]) == {"Questions measured"}
    assert bare["DevelopmentDataCharacterization"] == [NOT_RECORDED] == bare["ReleaseDate"]


SCHEMA = Path(os.environ.get("RARL_DATA", "")) / "chai_model_card" / "v0.2" / "schema.xsd"
XS = "{http://www.w3.org/2001/XMLSchema}"


def faults(element: ET.Element, kind: str | None, types: dict[str, ET.Element]) -> list[str]:
    """How an element departs from a schema of sequences, the only construct of this schema."""
    name = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    if kind == "xs:string":
        return [f"{name} holds elements"] if len(element) else []
    declared = types[kind.removeprefix("mc:")] if kind else types[""]
    sequence = declared.find(f"{XS}sequence")
    assert sequence is not None
    wrong, children, place = [], list(element), 0
    whole_most = sequence.get("maxOccurs", "1")
    for child in sequence.findall(f"{XS}element"):
        tag = f"{{{NAMESPACE}}}{child.get('name')}"
        count = 0
        while place < len(children) and children[place].tag == tag:
            wrong += faults(children[place], child.get("type"), types)
            place, count = place + 1, count + 1
        least = min(int(child.get("minOccurs", 1)), int(sequence.get("minOccurs", 1)))
        most = "unbounded" if whole_most == "unbounded" else child.get("maxOccurs", "1")
        if count < least or (most != "unbounded" and count > int(most)):
            wrong.append(f"{count} x {child.get('name')} in {name}")
    return wrong + [f"{left.tag} in {name}" for left in children[place:]]


@pytest.mark.skipif(
    not SCHEMA.is_file(), reason="CHAI's schema.xsd v0.2 is not in RARL_DATA/chai_model_card/v0.2"
)
@pytest.mark.parametrize("measured", [True, False], ids=["measured", "not measured"])
def test_the_card_fits_the_schema_of_chai(measured: bool) -> None:
    schema = ET.parse(SCHEMA).getroot()
    types = {one.get("name", ""): one for one in schema.findall(f"{XS}complexType")}
    (root,) = schema.findall(f"{XS}element")
    whole = root.find(f"{XS}complexType")
    assert schema.get("targetNamespace") == NAMESPACE and whole is not None
    types[""] = whole
    card = ET.fromstring(applied_model_card(facts() if measured else facts(measured=())))
    assert card.tag == f"{{{NAMESPACE}}}AppliedModelCard"
    assert faults(card, None, types) == []
    # The check itself: a section that is missing, and one too many.
    section = card[0]
    card.remove(section)
    assert faults(card, None, types) == ["0 x BasicInfo in AppliedModelCard"]
    card.insert(0, section)
    section.append(ET.Element(f"{{{NAMESPACE}}}Price"))
    assert len(faults(card, None, types)) == 1


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of a model with a base and one adapter; weights need not be weights here."""
    folder = tmp_path / "model"
    adapter = folder / "adapters" / "mine"
    adapter.mkdir(parents=True)
    (folder / "README.md").write_text(CARD, "utf-8")
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    (adapter / "rarl.json").write_text(json.dumps(RECORD), "utf-8")
    return folder


def test_the_command_prints_labels_and_cards(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RARL_RESULTS", raising=False)
    words = ["facts", str(model)]
    assert main([*words, "--format", "json"]) == 0
    base, mine = json.loads(capsys.readouterr().out)
    assert (base["variant"], base["revision"], mine["variant"]) == ("base", OTHER, "mine")
    assert mine["measured"] == [] and len(mine["revision"]) == 12
    runs = tmp_path / "runs"
    (runs / "one").mkdir(parents=True)
    rows = [row(number, revision=mine["revision"]) for number in range(8)]
    pd.DataFrame(rows).to_parquet(runs / "one" / "rows.parquet")
    (runs / "broken").mkdir()
    (runs / "broken" / "rows.parquet").write_text("none")
    told = [*words, "--arm", "mine", "--results", str(runs)]
    assert main([*told, "--modality", "CT", "--kind", "closed"]) == 0
    text = capsys.readouterr().out
    assert "CT, yes/no or choice, questions that people wrote: 50.0 %" in text
    assert "n 8, 4 images" in text and "Trained: 2026-11-20" in text
    assert "vqa_rad (CC0-1.0)" in text and "English only" in text
    assert main([*told, "--modality", "MR"]) == 0
    assert NOT_MEASURED in capsys.readouterr().out
    assert main([*told, "--format", "chai"]) == 0
    assert texts(capsys.readouterr().out)["ModelName"] == ["model, mine"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--arm", "theirs"], "choose from base, mine"),
        (["--format", "chai"], "choose it with --arm"),
        (["--results", "/no/such/folder"], "There is no folder"),
    ],
    ids=["variant", "several", "results"],
)
def test_bad_input_is_one_sentence(
    model: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["facts", str(model), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert main(["facts", str(model / "nothing")]) == 2
    assert "is no model on this machine" in capsys.readouterr().err
