"""A site's own taxonomy reaches the store, the command line and every export."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rarl.cli import main
from rarl.errors import ReviewError
from rarl.review import CaseSnapshot, ReviewStore, open_store
from rarl.review.taxonomy import Taxonomy, read_taxonomy
from rarl.review.transfer.importer import import_from
from rarl.review.transfer.writer import FORMS, Form, export

MakeCase = Callable[..., CaseSnapshot]

OWN = """
categories:
  artefact: Took an artefact for a finding
  style: Reads badly
severities:
  trivial: Of no matter
  grave: Could kill
"""


@pytest.fixture
def site(tmp_path: Path, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> ReviewStore:
    """A store with a flag in the usual words, and then one in the site's own."""
    home = tmp_path / "home"
    monkeypatch.setenv("RARL_HOME", str(home))
    store = open_store()
    case_id = store.add_case(make_case())
    store.add_flag(case_id, "sft", "missed-finding", "minor", "before")
    store.close()
    (home / "taxonomy.yaml").write_text(OWN, "utf-8")
    store = open_store()
    store.add_flag(case_id, "rl", "artefact", "grave", "after")
    return store


def test_the_store_takes_the_sites_keys_and_names_them(site: ReviewStore) -> None:
    (case_id,) = {flag.case_id for flag in site.flags()}
    with pytest.raises(ReviewError, match=r"what is wrong .*: one of artefact, style\."):
        site.add_flag(case_id, "sft", "missed-finding", "grave")
    with pytest.raises(ReviewError, match=r"how much it would matter: one of trivial, grave\."):
        site.add_flag(case_id, "sft", "artefact", "major")
    assert [one.values for one in site.counts(["category", "severity"])] == [
        ("artefact", "grave"),
        ("missed-finding", "minor"),
    ]


def test_labels_and_colours_of_old_and_new_flags(tmp_path: Path) -> None:
    (tmp_path / "taxonomy.yaml").write_text(OWN, "utf-8")
    taxonomy = read_taxonomy(tmp_path / "taxonomy.yaml")
    labels = taxonomy.category_labels()
    assert list(labels)[:2] == ["artefact", "style"] and labels["style"] == "Reads badly"
    assert labels["missed-finding"] == "Missed finding"
    assert list(taxonomy.severity_labels()) == [
        "none", "minor", "major", "critical", "trivial", "grave",
    ]  # fmt: skip
    grades = {key: taxonomy.severity_grade(key) for key in ("trivial", "grave", "major", "gone")}
    assert grades == {"trivial": "none", "grave": "critical", "major": "major", "gone": "none"}
    usual = Taxonomy()
    assert all(usual.severity_grade(key) == key for key, _ in usual.severities)


@pytest.mark.parametrize("form", FORMS)
def test_an_export_carries_the_sites_keys(site: ReviewStore, form: Form, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(site, out, form)
    copy = ReviewStore(f"sqlite:///{tmp_path / 'copy.sqlite3'}", taxonomy=site.taxonomy)
    import_from(copy, out)
    assert [(one.category, one.severity) for one in copy.flags()] == [
        ("artefact", "grave"),
        ("missed-finding", "minor"),
    ]
    copy.close()


def test_the_table_names_what_was_flagged(site: ReviewStore, tmp_path: Path) -> None:
    with (tmp_path / "flags.csv").open("w", encoding="utf-8", newline="") as file:
        site.export_csv(file)
    rows = list(csv.DictReader((tmp_path / "flags.csv").open(encoding="utf-8", newline="")))
    assert [(row["category"], row["category_label"], row["severity_label"]) for row in rows] == [
        ("missed-finding", "Missed finding", "Would be noticed and corrected, no harm"),
        ("artefact", "Took an artefact for a finding", "Could kill"),
    ]


@pytest.mark.parametrize(("key", "comment"), [("artefact", "after"), ("missed-finding", "before")])
def test_the_command_line_lists_old_and_new(
    site: ReviewStore, capsys: pytest.CaptureFixture[str], key: str, comment: str
) -> None:
    assert main(["review", "list", "--category", key, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [flag["comment"] for flag in listed["flags"]] == [comment]
    assert main(["review", "list", "--severity", "grave"]) == 0
    shown = capsys.readouterr().out
    assert "Took an artefact for a finding. Could kill." in shown
    assert main(["review", "stats", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts["category"] == {"artefact": 1, "missed-finding": 1}
    assert main(["review", "list", "--category", "nonsense"]) != 0
    assert "choose from artefact, style, false-finding" in capsys.readouterr().err
