"""What revision 9e21158 has written opens, and a round trip of it loses nothing.

`written_by_9e21158` holds a database (as SQL), the same store in every form of export, the flags
and a case as its API gave them, and a flag as it was kept in a browser.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from rarl.review import Queue, ReviewStore, case_as_json, flag_as_json
from rarl.review._tables import ROWS
from rarl.review.roles import canonical_name
from rarl.review.studies import Studies
from rarl.review.transfer.importer import import_from
from rarl.review.transfer.writer import FORMS, Form, export

OLD = Path(__file__).parent / "written_by_9e21158"
# As bytes, since texts in it hold line ends of every kind.
SQL = (OLD / "review.sql").read_bytes().decode("utf-8")
# Added since, or given by the store and not by the export.
NEWER_COLUMNS = {"category_label", "severity_label"}
NEWER_TABLES = {
    "first_reads", "advice", "enrolments", "withdrawals", "measurements", "dismissals", "samples",
    "reports",
}  # fmt: skip
# `region` is one of flags as well, where it may be empty.
NEWER_IN_TABLES = {"wrong_share", "consent", "marks_region", "region", "by_worth"}


@pytest.fixture
def opened(tmp_path: Path) -> ReviewStore:
    """The old database, opened by this version."""
    file = tmp_path / "review.sqlite3"
    with sqlite3.connect(file) as connection:
        connection.executescript(SQL)
    connection.close()
    return ReviewStore(f"sqlite:///{file}")


def rows_in_sql() -> dict[str, list[dict[str, Any]]]:
    """Every row of the old database as its own columns had it."""
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    connection.executescript(SQL)
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    return {
        row.__tablename__: [
            dict(one) for one in connection.execute(f"SELECT * FROM {row.__tablename__}")
        ]
        for row in ROWS
        if row.__tablename__ in there
    }


def rows_of(file: Path) -> dict[str, list[dict[str, Any]]]:
    connection = sqlite3.connect(file)
    connection.row_factory = sqlite3.Row
    return {
        row.__tablename__: [
            dict(one) for one in connection.execute(f"SELECT * FROM {row.__tablename__}")
        ]
        for row in ROWS
    }


def sorted_rows(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    return {
        table: sorted(
            json.dumps(_comparable(row), sort_keys=True, default=lambda data: data.hex())
            for row in some
        )
        for table, some in rows.items()
        if some or table not in NEWER_TABLES
    }


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    """JSON columns by value, since versions may space their text differently, and names folded.

    An import writes the one spelling of a name; rows that are there keep theirs.
    """
    found = {}
    for name, value in row.items():
        if name in NEWER_IN_TABLES and value is None:
            continue
        if name in ("reader", "person", "drawn_by", "assigned_by"):
            found[name] = canonical_name(value)
            continue
        try:
            found[name] = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            found[name] = value
    return found


def test_the_database_opens_and_no_row_changes(opened: ReviewStore, tmp_path: Path) -> None:
    before = sorted_rows(rows_in_sql())
    assert all(before.values()), "a table is empty"
    assert sorted_rows(rows_of(tmp_path / "review.sqlite3")) == before
    flag = opened.flags()[0]
    assert flag.region is not None and flag.region.box == (0, 0, 9, 9)
    case = opened.case(flag.case_id)
    assert case.image().size == (30, 40) and case.pictures[0].shown.plane == "axial"
    (item,) = Queue(opened).items()
    assert item.status == "adjudicated"
    assert [one.kind for one in Studies(opened).all()] == ["study", "audit"]


@pytest.mark.parametrize("form", FORMS)
def test_every_export_opens_and_is_written_again_without_loss(form: Form, tmp_path: Path) -> None:
    store = ReviewStore(f"sqlite:///{tmp_path / 'first.sqlite3'}")
    import_from(store, OLD / ("all.jsonl" if form == "jsonl" else form))
    expected = sorted_rows(rows_in_sql())
    assert sorted_rows(rows_of(tmp_path / "first.sqlite3")) == expected
    export(store, tmp_path / "again", form, names=True)
    second = ReviewStore(f"sqlite:///{tmp_path / 'second.sqlite3'}")
    import_from(second, tmp_path / "again")
    assert sorted_rows(rows_of(tmp_path / "second.sqlite3")) == expected
    store.close()
    second.close()


def test_programs_get_flags_and_cases_as_before(opened: ReviewStore) -> None:
    before = json.loads((OLD / "flag.json").read_text("utf-8"))
    for flag in before:
        flag["reader"] = canonical_name(flag["reader"])
    assert json.loads(json.dumps([flag_as_json(flag) for flag in opened.flags()])) == before
    case = json.loads((OLD / "case.json").read_text("utf-8"))
    now = json.loads(json.dumps(case_as_json(opened.case(case["id"]))))
    assert now.pop("measurements") == []  # newer than that revision
    assert now == case


def test_the_table_has_every_column_that_it_had(opened: ReviewStore) -> None:
    table = io.StringIO(newline="")
    opened.export_csv(table, names=True)
    found = list(csv.DictReader(io.StringIO(table.getvalue(), newline="")))
    with (OLD / "flags.csv").open(encoding="utf-8", newline="") as file:
        before = list(csv.DictReader(file))
    for row in before:
        row["reader"] = row["reader"].lower()
    assert {*found[0]} - {*before[0]} == NEWER_COLUMNS
    assert [{name: row[name] for name in before[0]} for row in found] == before
