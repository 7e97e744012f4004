"""Nothing that was flagged is lost."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from rarl.errors import ReviewError
from rarl.review import (
    COMMENT_LIMIT,
    CaseSnapshot,
    Flag,
    FlagFilter,
    ReviewStore,
    open_store,
)

MakeCase = Callable[..., CaseSnapshot]


def test_a_flag_survives_a_restart(address: str, make_case: MakeCase) -> None:
    case = make_case()
    store = ReviewStore(address)
    assert store.add_case(case) == case.id
    flag = store.add_flag(case.id, "sft", "missed-finding", "critical", " Apex, left. ", "Dr. Ä")
    store.close()

    store = ReviewStore(address)
    assert store.flags() == (flag,)
    assert flag == Flag(
        id=1,
        case_id=case.id,
        arm="sft",
        category="missed-finding",
        severity="critical",
        comment="Apex, left.",
        created=flag.created,
        reader="dr. ä",
        label="SFT",
        modality="CR",
        question="Is there a pneumothorax?",
        answer="no",
        key=flag.key,
    )
    kept = store.case(case.id)
    assert kept == case
    assert kept.png == case.png and np.array_equal(kept.image(), case.image())
    store.close()


def test_adding_a_case_twice_changes_nothing(store: ReviewStore, make_case: MakeCase) -> None:
    case = make_case()
    assert store.add_case(case) == store.add_case(case) == case.id
    with ThreadPoolExecutor(6) as pool:
        other = make_case()
        assert set(pool.map(store.add_case, [other] * 12)) == {other.id}
    assert store.case(other.id) == other


def test_eight_threads_lose_nothing(address: str, make_case: MakeCase) -> None:
    store = ReviewStore(address)
    cases = [make_case(f"Question {number}?") for number in range(8)]

    def work(number: int) -> list[int]:
        written = []
        for turn in range(25):
            store.add_case(cases[number])
            flag = store.add_flag(
                cases[number].id, "rarl", "style", "none", f"thread {number} turn {turn}"
            )
            written.append(flag.id)
            if turn % 10 == 0:
                assert store.count() > 0
        return written

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for written in pool.map(work, range(8)) for number in written]
    store.close()
    assert len(set(numbers)) == 200
    store = ReviewStore(address)
    assert store.count() == 200
    assert {flag.comment for flag in store.flags()} == {
        f"thread {number} turn {turn}" for number in range(8) for turn in range(25)
    }
    store.close()


def test_processes_may_open_and_write_together(tmp_path: Path, make_case: MakeCase) -> None:
    case = make_case()
    code = (
        "import sys; from pathlib import Path; from rarl.review import open_store\n"
        "store = open_store(home=Path(sys.argv[1]))\n"
        "for turn in range(10): store.add_flag(sys.argv[2], 'sft', 'other', 'none', str(turn))"
    )
    store = open_store(home=tmp_path)
    store.add_case(case)
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), case.id]) for _ in range(3)
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert store.count() == 30
    store.close()


def test_stores_may_be_made_together(address: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: ReviewStore(address), range(8)))
    assert [store.count() for store in stores] == [0] * 8
    for store in stores:
        store.close()


@pytest.fixture
def filled(store: ReviewStore, make_case: MakeCase) -> ReviewStore:
    chest = make_case()
    head = make_case("Is there a bleed?", "CT", sft="<think>50% grey</think><answer>YES</answer>")
    for case in (chest, head):
        store.add_case(case)
    store.add_flag(chest.id, "sft", "missed-finding", "major", "Apex")
    store.add_flag(chest.id, "rarl", "style", "none")
    store.add_flag(head.id, "sft", "false-finding", "critical", "100_percent")
    store.add_flag(head.id, "rl", "missed-finding", "minor")
    return store


@pytest.mark.parametrize(
    ("chosen", "numbers"),
    [
        (FlagFilter(), [4, 3, 2, 1]),
        (FlagFilter(arm="sft"), [3, 1]),
        (FlagFilter(category="missed-finding"), [4, 1]),
        (FlagFilter(severity="none"), [2]),
        (FlagFilter(modality="CT"), [4, 3]),
        (FlagFilter(arm="sft", modality="CT"), [3]),
        (FlagFilter(text="APEX"), [1]),
        (FlagFilter(text="pneumothorax"), [2, 1]),
        (FlagFilter(text="pleura"), [2]),
        (FlagFilter(text="50% g"), [3]),
        (FlagFilter(text="%"), [3]),
        (FlagFilter(text="100_p"), [3]),
        (FlagFilter(text="0_p"), [3]),
        (FlagFilter(text="e_p"), []),
        (FlagFilter(text="'; DROP TABLE flags; --"), []),
        (FlagFilter(arm="base"), []),
    ],
)
def test_filters(filled: ReviewStore, chosen: FlagFilter, numbers: list[int]) -> None:
    assert [flag.id for flag in filled.flags(chosen)] == numbers
    assert filled.count(chosen) == len(numbers)
    assert sorted(flag.id for flag, _ in filled.flagged(chosen)) == sorted(numbers)


def test_pages(filled: ReviewStore) -> None:
    assert [flag.id for flag in filled.flags(limit=2)] == [4, 3]
    assert [flag.id for flag in filled.flags(limit=2, offset=2)] == [2, 1]
    assert [flag.id for flag in filled.flags(offset=3)] == [1]
    first = filled.flags()[-1].case_id
    assert [flag.id for flag in filled.flags_of(first)] == [2, 1]


@pytest.mark.parametrize(
    ("arm", "category", "severity", "comment", "says"),
    [
        ("sft", "", "major", "", "Choose what is wrong"),
        ("sft", "nonsense", "major", "", "Choose what is wrong"),
        ("sft", "style", "", "", "Choose how much it would matter"),
        ("sft", "style", "none", "x" * (COMMENT_LIMIT + 1), "has 4001 characters"),
        ("base", "style", "none", "", "not in the review store"),
    ],
)
def test_bad_flags(
    store: ReviewStore,
    make_case: MakeCase,
    arm: str,
    category: str,
    severity: str,
    comment: str,
    says: str,
) -> None:
    case_id = store.add_case(make_case())
    with pytest.raises(ReviewError, match=says):
        store.add_flag(case_id, arm, category, severity, comment)
    assert store.count() == 0


def test_any_text_can_be_stored(store: ReviewStore, make_case: MakeCase) -> None:
    case_id = store.add_case(make_case(sft="half \ud83d pair, nul \0, 東京 <script>"))
    flag = store.add_flag(case_id, "sft", "other", "none", "x" * COMMENT_LIMIT)
    assert len(flag.comment) == COMMENT_LIMIT
    flag = store.add_flag(case_id, "sft", "other", "none", "\ud83d\0 東京")
    assert store.flag(flag.id).comment == "? 東京"
    assert store.case(case_id).answers[0].text == "half ? pair, nul , 東京 <script>"


def test_unknown_case_and_flag(store: ReviewStore) -> None:
    with pytest.raises(ReviewError, match="no such case"):
        store.case("0" * 32)
    with pytest.raises(ReviewError, match="no such flag"):
        store.flag(1)
    with pytest.raises(ReviewError, match="not in the review store"):
        store.add_flag("0" * 32, "sft", "style", "none")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE flags SET severity = 'none'",
        "DELETE FROM flags",
        "UPDATE answers SET answer = ''",
        "UPDATE cases SET question = ''",
        "UPDATE pictures SET sha256 = ''",
        "DELETE FROM cases",
    ],
)
def test_rows_cannot_be_changed(address: str, filled: ReviewStore, statement: str) -> None:
    engine = create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    with pytest.raises(IntegrityError, match="append only"), engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
    assert filled.count() == 4


def test_settings_of_the_database(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    open_store(home=folder).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    database = sqlite3.connect(folder / "review.sqlite3")
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def test_where_the_store_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RARL_DATABASE_URL", raising=False)
    monkeypatch.setenv("RARL_HOME", str(tmp_path / "a"))
    open_store().close()
    assert (tmp_path / "a" / "review.sqlite3").is_file()
    monkeypatch.setenv("RARL_DATABASE_URL", f"sqlite:///{tmp_path}/b.sqlite3")
    open_store().close()
    assert (tmp_path / "b.sqlite3").is_file()
    open_store(home=tmp_path / "c").close()
    assert (tmp_path / "c" / "review.sqlite3").is_file()
    monkeypatch.delenv("RARL_DATABASE_URL")
    monkeypatch.delenv("RARL_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    open_store().close()
    assert list((tmp_path / "d").rglob("review.sqlite3")) or sys.platform != "linux"


def test_a_folder_with_odd_characters(tmp_path: Path) -> None:
    store = open_store(home=tmp_path / "a b%20?#ä")
    assert store.count() == 0
    assert (tmp_path / "a b%20?#ä" / "review.sqlite3").is_file()


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql+nothing://user:secret@host/x",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:////no/such/folder/secret.sqlite3",
    ],
)
def test_unusable_addresses(url: str) -> None:
    with pytest.raises(ReviewError) as caught:
        ReviewStore(url)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ReviewError, match="folder of the review store cannot be made"):
        open_store(home=tmp_path / "file" / "home")


def test_locked(tmp_path: Path, make_case: MakeCase) -> None:
    case = make_case()
    store = ReviewStore(f"sqlite:///{tmp_path}/review.sqlite3", busy_seconds=0.1)
    store.add_case(case)
    other = sqlite3.connect(tmp_path / "review.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ReviewError, match=r"busy; nothing typed was lost.*try again"):
        store.add_flag(case.id, "sft", "style", "none")
    assert store.count() == 0  # readers do not wait
    other.execute("ROLLBACK")
    assert store.add_flag(case.id, "sft", "style", "none").id == 1
    other.close()


def test_gone(tmp_path: Path, make_case: MakeCase) -> None:
    case = make_case()
    store = ReviewStore(f"sqlite:///{tmp_path}/review.sqlite3")
    store.add_case(case)
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(ReviewError, match=r"gone.*nothing typed was lost"):
        store.add_flag(case.id, "sft", "style", "none")
    assert not list(tmp_path.iterdir())


def test_damaged(tmp_path: Path) -> None:
    (tmp_path / "review.sqlite3").write_bytes(b"not a database, by any means" * 100)
    with pytest.raises(ReviewError, match=r"damaged; nothing typed was lost"):
        open_store(home=tmp_path)


def test_read_only(tmp_path: Path, make_case: MakeCase) -> None:
    open_store(home=tmp_path).close()
    path = tmp_path / "review.sqlite3"
    store = ReviewStore(f"sqlite:///file:{path}?mode=ro&uri=true")
    with pytest.raises(ReviewError, match=r"read-only; nothing typed was lost"):
        store.add_case(make_case())


def test_full_disk(tmp_path: Path, make_case: MakeCase) -> None:
    """A process that may write no more than 200 kB a file, for a disk that is full."""
    code = """
import resource, sys
from pathlib import Path
from rarl.errors import ReviewError
from rarl.review import open_store
store = open_store(home=Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
for turn in range(500):
    try:
        store.add_flag(sys.argv[2], "sft", "other", "none", "x" * 4000)
    except ReviewError as error:
        print(turn, error)
        break
"""
    case = make_case()
    store = open_store(home=tmp_path)
    store.add_case(case)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), case.id],
        capture_output=True,
        text=True,
        check=True,
    )
    written, sentence = done.stdout.strip().split(" ", 1)
    assert (
        sentence.startswith("The disk of the review store") and "nothing typed was lost" in sentence
    )
    assert store.count() == int(written) > 0
    store.close()


def test_torch_is_not_loaded() -> None:
    code = "import sys, rarl.review, rarl.review.command; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "RARL_HOME": "/nonexistent"}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
