"""Exports that others can read, and the command line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.pages.review.data_page import written
from demo.services.downloads import Downloads
from rarl.cli import main
from rarl.errors import ReviewError
from rarl.records import FlagFilter
from rarl.review import COLUMNS, CaseSnapshot, ReviewStore, open_store
from rarl.review.transfer.forms import EXPORTS, ExportForm, Selection
from rarl.review.transfer.table import harmful, harmless

MakeCase = Callable[..., CaseSnapshot]


def test_csv_columns_are_stable(store: ReviewStore, make_case: MakeCase) -> None:
    assert COLUMNS == (
        "flag", "created", "case", "arm", "label", "revision", "category", "severity", "comment",
        "reader", "modality", "question", "reasoning", "answer", "problems", "tokens", "seconds",
        "stopped", "mode", "model", "prompt_hash", "shown_order", "width", "height",
        "image_sha256", "app_version", "key", "sentence", "corrected_answer",
        "corrected_explanation", "blind", "category_label", "severity_label",
    )  # fmt: skip
    case = make_case()
    store.add_case(case)
    store.add_flag(case.id, "rl", "missed-finding", "major", 'a "quoted", line\nand more')
    file = StringIO(newline="")
    assert store.export_csv(file) == 1
    (row,) = csv.DictReader(StringIO(file.getvalue(), newline=""))
    assert row["comment"] == 'a "quoted", line\nand more'
    assert (row["arm"], row["revision"], row["answer"]) == ("rl", "b" * 12, "yes")
    assert (row["problems"], row["stopped"], row["tokens"]) == ("no-think", "yes", "12")
    assert (row["shown_order"], row["image_sha256"]) == ("rarl sft rl", case.sha256)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_no_cell_is_a_formula(store: ReviewStore, make_case: MakeCase, start: str) -> None:
    evil = f"{start}HYPERLINK(1)"
    case = make_case(evil, sft=f"<think>{evil}</think><answer>{evil}</answer>")
    store.add_case(case)
    store.add_flag(case.id, "sft", "other", "none", evil, reader=evil)
    file = StringIO(newline="")
    store.export_csv(file)
    (row,) = csv.DictReader(StringIO(file.getvalue(), newline=""))
    assert row["question"] == "'" + evil
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())


@pytest.fixture
def flagged(tmp_path: Path, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> CaseSnapshot:
    monkeypatch.delenv("RARL_DATABASE_URL", raising=False)
    monkeypatch.setenv("RARL_HOME", str(tmp_path / "home"))
    case = make_case()
    store = open_store()
    store.add_case(case)
    store.add_flag(case.id, "sft", "missed-finding", "critical", "Apex, left.")
    store.add_flag(case.id, "rarl", "style", "none")
    store.close()
    return case


def test_list(flagged: CaseSnapshot, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", "list", "--json", "--severity", "critical"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["total"] == 1 and listed["flags"][0]["case_id"] == flagged.id
    assert main(["review", "list", "--limit", "1"]) == 0
    out = capsys.readouterr().out
    assert "flag 2," in out and "1 of 2 flags" in out and "flag 1," not in out


def test_bad_limits(flagged: CaseSnapshot) -> None:
    for limit in ("-1", "x", "9" * 30):
        with pytest.raises(SystemExit) as caught:
            main(["review", "list", "--limit", limit])
        assert caught.value.code == 2


def test_show(flagged: CaseSnapshot, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", "show", "1"]) == 0
    out = capsys.readouterr().out
    assert "Could harm a patient" in out and "The lungs are clear." in out
    assert main(["review", "show", flagged.id, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["case"]["sha256"] == flagged.sha256 and len(shown["flags"]) == 2
    for unknown in ("77", "abc", "9" * 18):
        assert main(["review", "show", unknown]) == 2
        assert capsys.readouterr().err.startswith("There is no such")


def test_a_form_that_is_added_is_offered_everywhere(
    flagged: CaseSnapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(store: ReviewStore, out: Path, selection: Selection) -> dict[str, int]:
        count = store.count(selection.chosen or FlagFilter())
        out.write_text(str(count), "utf-8")
        return {"flags": count}

    monkeypatch.setitem(EXPORTS, "count", ExportForm("How many flags", "count.txt", write))
    out = tmp_path / "flags.txt"
    assert main(["review", "export", "--format", "count", "--out", str(out)]) == 0
    assert out.read_text("utf-8") == "2"
    store = open_store()
    handed_out = written(store, Downloads(tmp_path), "count", None, True)
    assert (handed_out.name, handed_out.read_text("utf-8")) == ("count.txt", "2")
    with pytest.raises(ReviewError, match="Choose one of table"):
        written(store, Downloads(tmp_path), "xml", None, True)
    store.close()


def test_export(flagged: CaseSnapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "flags.csv"
    assert main(["review", "export", "--format", "csv", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"flags": 2}
    with out.open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 2
    out = tmp_path / "flags.jsonl"
    assert main(["review", "export", "--format", "jsonl", "--out", str(out), "--arm", "sft"]) == 0
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    # Everything about the case goes along, the other arm's flag as well.
    assert Counter(line["table"] for line in lines) == {
        "cases": 1, "pictures": 1, "answers": 3, "flags": 2
    }  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"flags.csv", "flags.jsonl", "home"}
    bad = tmp_path / "none" / "flags.csv"
    assert main(["review", "export", "--format", "csv", "--out", str(bad)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_stats_import_and_delete(
    flagged: CaseSnapshot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["review", "stats", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["flags"] == 2 and output["counts"]["arm"] == {"rarl": 1, "sft": 1}
    assert output["statuses"] == {"new": 2} and output["agreement"]["correctness kappa"] is None
    out = tmp_path / "all"
    assert main(["review", "export", "--format", "csv", "--out", str(out)]) == 0
    assert main(["review", "delete", flagged.id, "--reason", "asked for", "--as", "DPO"]) == 0
    capsys.readouterr()
    assert main(["review", "show", flagged.id]) == 2
    assert "deleted for good" in capsys.readouterr().err
    assert main(["review", "import", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 0  # it stays deleted
    monkeypatch.setenv("RARL_HOME", str(tmp_path / "other"))
    assert main(["review", "import", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["flags"] == 2
    assert main(["review", "import", str(tmp_path)]) == 2
    assert "no export of the review store" in capsys.readouterr().err
    assert main(["review", "list", "--category", "nonsense"]) == 2
    assert "choose from false-finding" in capsys.readouterr().err
    store = open_store()
    assert {entry.action for entry in store.audit(flagged.id)} == {"import"}
    store.close()


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
def test_no_cell_is_a_formula_whatever_separates_cells(separator: str) -> None:
    """A spreadsheet of another country splits the same file elsewhere, and sees no quotes."""
    attacks = [f"x{separator}{space}{sign}1+cmd" for sign in "=+-@\uff1d" for space in ("", ' "')]
    attacks += ["=1", "\t=1", "x\n=1", f'"{separator}=1']
    for attack in attacks:
        file = io.StringIO()
        csv.writer(file).writerow(["7", harmless(attack), "end"])
        for line in file.getvalue().splitlines():
            for cell in line.split(separator):
                assert not re.match(r'[\s"]*[=+\-@\uff1d]', cell), (attack, cell)
        assert harmful(harmless(attack)) == attack


@given(st.text(alphabet="=+-@;,|\t\r\n '\"a\uff1d", max_size=12))
def test_every_text_comes_back(text: str) -> None:
    assert harmful(harmless(text)) == text
