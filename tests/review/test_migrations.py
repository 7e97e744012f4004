"""Stores from before keep everything, and the migrations make what the program expects."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from rarl.errors import ReviewError
from rarl.review import FlagFilter, ReviewStore, open_store
from rarl.review._tables import Base

# What the first version made.
SHIPPED = """
CREATE TABLE cases (
    id VARCHAR(32) NOT NULL, created DATETIME NOT NULL, app_version VARCHAR(40) NOT NULL,
    png BLOB NOT NULL, sha256 VARCHAR(64) NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, modality VARCHAR(16), attributes JSON NOT NULL,
    question TEXT NOT NULL, mode VARCHAR(40) NOT NULL, model TEXT NOT NULL,
    prompt_hash VARCHAR(128) NOT NULL, decoding JSON NOT NULL, shown_order JSON NOT NULL,
    PRIMARY KEY (id));
CREATE INDEX ix_cases_modality ON cases (modality);
CREATE TABLE answers (
    case_id VARCHAR(32) NOT NULL, arm VARCHAR(80) NOT NULL, position INTEGER NOT NULL,
    label TEXT NOT NULL, revision VARCHAR(80) NOT NULL, reasoning TEXT NOT NULL,
    answer TEXT NOT NULL, problems JSON NOT NULL, text TEXT NOT NULL, tokens INTEGER NOT NULL,
    seconds DOUBLE NOT NULL, stopped BOOLEAN NOT NULL,
    PRIMARY KEY (case_id, arm), FOREIGN KEY(case_id) REFERENCES cases (id));
CREATE TABLE flags (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, case_id VARCHAR(32) NOT NULL,
    arm VARCHAR(80) NOT NULL, category VARCHAR(40) NOT NULL, severity VARCHAR(40) NOT NULL,
    comment TEXT NOT NULL, created DATETIME NOT NULL, reader VARCHAR(200),
    FOREIGN KEY(case_id, arm) REFERENCES answers (case_id, arm));
CREATE INDEX ix_flags_case_id ON flags (case_id);
CREATE INDEX ix_flags_category ON flags (category);
CREATE INDEX ix_flags_severity ON flags (severity);
CREATE TRIGGER cases_no_update BEFORE UPDATE ON cases
    BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER flags_no_update BEFORE UPDATE ON flags
    BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER flags_no_delete BEFORE DELETE ON flags
    BEGIN SELECT RAISE(ABORT, 'append only'); END;
"""
PNG = (
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)


def test_a_shipped_store_keeps_everything(tmp_path: Path) -> None:
    png = bytes.fromhex(PNG)
    sha256 = hashlib.sha256(png).hexdigest()
    old = sqlite3.connect(tmp_path / "review.sqlite3")
    old.executescript(SHIPPED)
    old.execute(
        "INSERT INTO cases VALUES (?, '2026-01-02 03:04:05.000006', '0.1', ?, ?, 1, 1, 'CT', "
        "'{\"ViewPosition\": \"PA\"}', 'Is it?', 'reason', 'pocket', 'ff', '{\"seed\": 7}', "
        "'[\"sft\"]')",
        ("a" * 32, png, sha256),
    )
    old.execute(
        "INSERT INTO answers VALUES (?, 'sft', 0, 'SFT', 'cc', 'r', 'no', '[]', 't', 3, 0.5, 0)",
        ("a" * 32,),
    )
    for number in (4, 9):
        old.execute(
            "INSERT INTO flags VALUES (?, ?, 'sft', 'style', 'none', 'c', '2026-01-03', 'Dr. A')",
            (number, "a" * 32),
        )
    old.commit()
    old.close()
    for _ in range(2):  # the second time there is nothing to do
        store = open_store(home=tmp_path)
        case = store.case("a" * 32)
        assert (case.png, case.sha256, case.decoding.seed, case.width) == (png, sha256, 7, 1)
        assert case.pictures[0].shown.plane == "acquired" and not case.blind
        flags = store.flags(FlagFilter(reader="Dr. A"))
        assert [flag.id for flag in flags] == [9, 4]
        assert len({flag.key for flag in flags}) == 2
        store.close()
    store = open_store(home=tmp_path)
    assert store.add_flag("a" * 32, "sft", "style", "none").id == 10
    store.close()


def test_the_schema_is_the_one_the_program_expects(address: str) -> None:
    ReviewStore(address).close()
    engine = create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()
    assert found == []


def test_a_store_of_a_newer_version_is_refused(address: str) -> None:
    ReviewStore(address).close()
    engine = create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ReviewError, match="newer version"):
        ReviewStore(address)
