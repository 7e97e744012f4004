"""A round trip loses nothing, whatever the form."""

from __future__ import annotations

import base64
import csv
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from rarl.errors import ReviewError
from rarl.reports import Reports
from rarl.review import (
    CaseSnapshot,
    FlagFilter,
    Judgement,
    Queue,
    Region,
    ReviewStore,
)
from rarl.review._tables import ROWS, AdviceRow
from rarl.review.dismissals import Dismissals
from rarl.review.privacy import Pseudonyms
from rarl.review.studies import Studies
from rarl.review.transfer.hub import push_to_hub
from rarl.review.transfer.importer import import_from
from rarl.review.transfer.rows import data_dictionary
from rarl.review.transfer.writer import FORMS, Form, export
from rarl.review.worth import record_measures

MakeCase = Callable[..., CaseSnapshot]
ODD = '=1+1 \'tis "quoted",\r\nnext; line\rß 東京 <script>'


def fill(store: ReviewStore, make_case: MakeCase) -> list[str]:
    """Every table gets rows, with texts that are hard to carry."""
    odd = make_case(ODD, None, pixel_seed=1, sampled=True, sft=f"<think>{ODD}</think>")
    plain = make_case("'=Plain?", blind=True, sampled=True)
    ids = [store.add_case(odd), store.add_case(plain), store.add_case(make_case("Gone?"))]
    flag = store.add_flag(ids[0], "sft", "style", "none", ODD, "'A", sentence="tis")
    store.add_flag(
        ids[0], "sft", "other", "major", "@x", "'A", replaces=flag.key, corrected_answer="-no",
        region=Region(0, (0, 0, 9, 9)), corrected_explanation=ODD,
    )  # fmt: skip
    store.add_flag(ids[1], "rl", "other", "none", "slip", "'A")
    dismissals = Dismissals(store.for_person("C", "adjudicator"))
    assert dismissals.dismiss([(ids[1], "rl")], ODD) == 1
    assert dismissals.restore([(ids[1], "rl")]) == 1
    assert dismissals.dismiss([(ids[1], "rl")], "again") == 1
    store.add_vote(ids[1], "better", "rl", reason="\uff1dx", own_answer="+", reader="B")
    for person in ("B", "C"):
        queue = Queue(store.for_person(person, "adjudicator"))
        if person == "B":
            queue.assign([(ids[0], "sft")], "B")
            queue.assign([(ids[0], "sft")], "B", given=False)
        queue.judge(ids[0], "sft", Judgement(1, 2, None, comment=ODD, seconds=0.1))
    runs = Studies(store)
    runs.draw_audit("Audit", 2, ["B", "C"], seed=-7)
    study = runs.draw_study("Study", ["B"], seed=1, arms=["sft"], cases=ids[:2])
    Studies(store.for_person("B", "reader")).respond(study.id, 0, "=no", seconds=1 / 3)
    steps = runs.draw_study(
        "Two steps", ["B"], seed=1, arms=["rl"], cases=[ids[1]], consent="=agree",
        conditions=["read-first/answer-only"], marks_region=True,
    )  # fmt: skip
    own = Studies(store.for_person("B", "reader"))
    own.enrol(steps.id, "trainee", agrees=True)
    own.commit_first(steps.id, 0, "@a", region=Region(0, (1, 1, 9, 9)), seconds=1 / 3)
    own.respond(steps.id, 0, "b", region=Region(0, (1, 1, 9, 9)))
    seed_wrong_advice(store, steps.id, ids[1])
    record_measures(store, (ids[1], "rl"), {"consistency": 1 / 3}, [ODD, ODD, "=1"])
    Studies(store.for_person("C", "reader")).withdraw(steps.id)
    Reports(store.for_person("B", "reader")).begin(ids[0], arm="sft")
    store.delete_case(ids[2], "asked for")
    return ids


def seed_wrong_advice(store: ReviewStore, study_id: str, case_id: str) -> None:
    """A row as a study with wrong advice has it; drawing one takes settled cases."""
    with store.writing() as session:
        session.add(
            AdviceRow(
                study_id=study_id, reader="B", position=0, case_id=case_id, source="flip",
                answer="+no", reasoning=ODD, created=datetime.now(UTC),
            )
        )  # fmt: skip


def rows(address: str) -> dict[str, list[tuple[object, ...]]]:
    engine = create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = {
            row.__tablename__: sorted(
                (tuple(map(str, one)) for one in connection.execute(row.__table__.select())),
            )
            for row in ROWS
        }
    engine.dispose()
    return found


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_from_before_answers_had_notes(
    store: ReviewStore, make_case: MakeCase, form: Form, tmp_path: Path
) -> None:
    case_id = store.add_case(make_case())
    old = tmp_path / "old"
    export(store, old, form)
    if form == "jsonl":
        lines = [json.loads(line) for line in old.read_text("utf-8").splitlines()]
        for line in lines:
            line.pop("note", None)
        old.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    else:
        table = old / "answers.csv"
        answers = list(csv.DictReader(table.open(encoding="utf-8", newline="")))
        with table.open("w", encoding="utf-8", newline="") as file:
            names = [name for name in answers[0] if name != "note"]
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(answers)
    fresh = ReviewStore(f"sqlite:///{tmp_path}/fresh.sqlite3")
    import_from(fresh, old)
    assert [answer.note for answer in fresh.case(case_id).answers] == ["", "", ""]
    fresh.close()


@pytest.mark.parametrize("form", FORMS)
def test_a_round_trip_loses_nothing(
    address: str, store: ReviewStore, make_case: MakeCase, form: Form, tmp_path: Path
) -> None:
    fill(store, make_case)
    before = rows(address)
    assert all(before.values()), "a table is empty"
    out = tmp_path / ("all.jsonl" if form == "jsonl" else "all")
    counts = export(store, out, form, names=True)
    assert counts == {name: len(found) for name, found in before.items()}
    # Into the other kind of database than the one that it came from, where that is SQLite.
    there = f"sqlite:///{tmp_path / 'copy.sqlite3'}"
    copy = ReviewStore(there)
    assert import_from(copy, out) == counts
    assert rows(there) == before
    assert set(import_from(copy, out).values()) == {0}  # a second time changes nothing
    assert rows(there) == before
    # Back into the store that it came from: nothing is new there either.
    assert set(import_from(store, out).values()) == {0}
    flag = copy.add_flag(copy.flags()[0].case_id, "sft", "style", "none")
    assert flag.id == 4
    copy.close()
    store_number = store.add_flag(flag.case_id, "sft", "style", "none").id
    assert store_number == 4


@pytest.mark.parametrize("form", FORMS)
def test_pseudonyms_lose_nothing_but_the_names(
    store: ReviewStore, make_case: MakeCase, form: Form, tmp_path: Path
) -> None:
    fill(store, make_case)
    export(store, tmp_path / "named.jsonl", "jsonl", names=True)
    export(store, tmp_path / "out", form)
    copy = ReviewStore(f"sqlite:///{tmp_path / 'copy.sqlite3'}")
    import_from(copy, tmp_path / "out")
    export(copy, tmp_path / "again.jsonl", "jsonl")
    named = (tmp_path / "named.jsonl").read_text("utf-8")
    again = (tmp_path / "again.jsonl").read_text("utf-8")
    assert len(set(re.findall("reader-[0-9a-f]{12}", again))) == 3  # 'A, B and C
    for line in again.splitlines():
        assert not {"'a", "b", "c"} & {
            json.loads(line).get(column) for column in ("reader", "person", "assigned_by")
        }
    with store.reading() as session:
        pseudonyms = Pseudonyms.of(session)
    for name in ("'a", "b", "c"):
        named = named.replace(f'": "{name}"', f'": "{pseudonyms.of_name(name)}"')
        named = named.replace(f'["{name}', f'["{pseudonyms.of_name(name)}')
        named = named.replace(f', "{name}"]', f', "{pseudonyms.of_name(name)}"]')
    # What was written as a reader's own answer is no name.
    named = named.replace(f'"answer": "{pseudonyms.of_name("b")}"', '"answer": "b"')
    # Rows whose key is a name stand in another order.
    assert sorted(named.splitlines()) == sorted(again.splitlines())
    # At home the pseudonyms are names again, so that nothing is new.
    assert set(import_from(store, tmp_path / "out").values()) == {0}
    copy.close()


def test_a_key_of_the_site_keeps_pseudonyms_over_stores(
    tmp_path: Path, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case()

    def pseudonym(number: int) -> str:
        """Of a flag's reader, in the export of a new store, as after a restart without a disk."""
        store = ReviewStore(f"sqlite:///{tmp_path / f'{number}.sqlite3'}")
        store.add_case(case)
        store.add_flag(case.id, "sft", "style", "none", reader="Ada")
        out = tmp_path / f"{number}.jsonl"
        export(store, out, "jsonl")
        # Read back into a store that has the same people, nothing is new.
        assert not any(import_from(store, out).values())
        store.close()
        (flag,) = (
            json.loads(line)
            for line in out.read_text("utf-8").splitlines()
            if json.loads(line)["table"] == "flags"
        )
        return str(flag["reader"])

    assert pseudonym(1) != pseudonym(2)
    monkeypatch.setenv("RARL_PSEUDONYM_KEY", "a secret of the site")
    kept = pseudonym(3)
    assert kept == pseudonym(4) != "ada"
    monkeypatch.setenv("RARL_PSEUDONYM_KEY", "another secret of it")
    assert pseudonym(5) != kept


def test_a_reader_who_withdraws_leaves_every_export(
    store: ReviewStore, make_case: MakeCase, tmp_path: Path
) -> None:
    fill(store, make_case)
    admin = Studies(store.for_person("Judge", "admin"))
    with pytest.raises(ReviewError, match="You may not"):
        Studies(store.for_person("C", "reader")).withdraw(reader="B")
    admin.withdraw(reader="b")
    admin.withdraw(reader="B")  # a second time changes nothing
    counts = export(store, tmp_path / "all.jsonl", "jsonl", names=True)
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    kept_lines = [line for line in lines if line["table"] != "withdrawals"]
    assert not any(line.get("reader") == "b" for line in kept_lines)
    assert counts["responses"] == counts["first_reads"] == counts["votes"] == 0
    assert counts["verdicts"] == 1 and counts["withdrawals"] == 2
    assert all("b" not in line["readers"] for line in lines if line["table"] == "studies")
    flags = tmp_path / "flags.csv"
    Studies(store).withdraw(reader="'A")
    # What was said about a flag leaves with it, or the export could not be read back.
    without = export(store, tmp_path / "without.jsonl", "jsonl", names=True)
    assert without["flags"] == without["dismissals"] == 0
    empty = ReviewStore(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    assert import_from(empty, tmp_path / "without.jsonl") == without
    empty.close()
    with flags.open("w", newline="") as file:
        assert store.export_csv(file) == 0


def test_imports_meet_what_is_there(
    address: str, store: ReviewStore, make_case: MakeCase, tmp_path: Path
) -> None:
    other = ReviewStore(f"sqlite:///{tmp_path / 'other.sqlite3'}")
    fill(other, make_case)
    export(other, tmp_path / "all.jsonl", "jsonl")
    case_id = store.add_case(make_case("Mine?"))
    mine = store.add_flag(case_id, "sft", "style", "none")
    import_from(store, tmp_path / "all.jsonl")
    numbers = [flag.id for flag in store.flags()]
    assert len(set(numbers)) == 2 and store.flag(mine.id).key == mine.key
    # The next number is free, in PostgreSQL as well.
    assert store.add_flag(case_id, "sft", "style", "none").id not in numbers
    # A case that was deleted here does not come back.
    (flag,) = other.flags()
    store.delete_case(flag.case_id, "asked for")
    assert set(import_from(store, tmp_path / "all.jsonl").values()) == {0}
    other.close()


def test_a_filter_takes_whole_cases(
    store: ReviewStore, make_case: MakeCase, tmp_path: Path
) -> None:
    ids = fill(store, make_case)
    store.add_flag(ids[1], "rl", "style", "none")
    counts = export(store, tmp_path / "out", "csv", FlagFilter(severity="major"), pixels=False)
    assert counts["cases"] == 1 and counts["flags"] == 2 and counts["verdicts"] == 2
    assert counts["studies"] == counts["responses"] == counts["tombstones"] == 0
    assert not (tmp_path / "out" / "pictures").exists()
    copy = ReviewStore(f"sqlite:///{tmp_path / 'copy.sqlite3'}")
    import_from(copy, tmp_path / "out")
    assert copy.case(ids[0]).png is None and copy.case(ids[0]).sha256 == store.case(ids[0]).sha256
    copy.close()
    with pytest.raises(ReviewError, match="new or empty folder"):
        export(store, tmp_path / "out", "parquet")


def test_no_cell_of_any_table_is_a_formula(
    store: ReviewStore, make_case: MakeCase, tmp_path: Path
) -> None:
    fill(store, make_case)
    export(store, tmp_path / "out", "csv")
    cells = [
        cell
        for table in (tmp_path / "out").glob("*.csv")
        for row in csv.reader(table.open(encoding="utf-8", newline=""))
        for cell in row
    ]
    evil = [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))]
    assert evil == ["-7"]  # a number: the audit's seed
    assert "'" + ODD in cells


def test_the_dictionary_explains_every_column(
    store: ReviewStore, make_case: MakeCase, tmp_path: Path
) -> None:
    assert all(entry.meaning.endswith(".") for entry in data_dictionary())
    fill(store, make_case)
    export(store, tmp_path / "out", "csv")
    listed = {(entry.table, entry.column) for entry in data_dictionary()}
    held = {
        (table.stem, column)
        for table in (tmp_path / "out").glob("*.csv")
        if table.stem != "data_dictionary"
        for column in next(csv.reader(table.open(encoding="utf-8", newline="")))
    }
    assert held == listed
    assert (tmp_path / "out" / "data_dictionary.csv").is_file()


def test_the_hub_reads_the_folder(
    store: ReviewStore, make_case: MakeCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import load_dataset

    ids = fill(store, make_case)
    export(store, tmp_path / "out", "datasets")
    cache = str(tmp_path / "cache")
    flags = load_dataset(str(tmp_path / "out"), "flags", split="train", cache_dir=cache)
    assert flags["comment"] == [ODD, "@x", "slip"]
    pictures = load_dataset(str(tmp_path / "out"), "pictures", split="train", cache_dir=cache)
    shown = {row["case_id"]: row["png"] for row in pictures}
    assert shown[ids[0]].tobytes() == store.case(ids[0]).image().tobytes()
    assert "## flags (3 rows)" in (tmp_path / "out" / "README.md").read_text()


@contextmanager
def hub(private: bool) -> Iterator[tuple[str, list[tuple[str, dict[str, object]]]]]:
    """A server that answers as the Hub does to the making of a repository and to files."""
    asked: list[tuple[str, dict[str, object]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path.startswith("/api/datasets/a/b/commit/"):
                for line in body.splitlines():
                    asked.append((self.path, json.loads(line)))
                self._answer(
                    200, {"commitUrl": f"{address}/datasets/a/b/commit/c", "commitOid": "c"}
                )
                return
            request = json.loads(body)
            asked.append((self.path, request))
            if self.path.startswith("/api/datasets/a/b/preupload/"):
                files = [{"path": one["path"], "uploadMode": "regular"} for one in request["files"]]
                self._answer(200, {"files": [{**one, "shouldIgnore": False} for one in files]})
                return
            found = self.path in ("/api/repos/create", "/api/validate-yaml")
            self._answer(200 if found else 500, {"url": f"{address}/datasets/a/b"})

        def do_GET(self) -> None:
            asked.append((self.path, {}))
            self._answer(200, {"id": "a/b", "private": private, "siblings": [], "tags": []})

        def _answer(self, status: int, said: dict[str, object]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield address, asked
    server.shutdown()
    server.server_close()


def test_pushed_privately_and_never_into_a_public_place(
    store: ReviewStore, make_case: MakeCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, make_case)
    export(store, tmp_path / "out", "datasets")
    with hub(private=False) as (address, asked):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        with pytest.raises(ReviewError, match="a/b is public on the Hub"):
            push_to_hub(tmp_path / "out", "a/b")
        path, body = asked[0]
        assert path == "/api/repos/create" and body["type"] == "dataset"
        assert body.get("private") is True or body.get("visibility") == "private"
        assert not any("commit" in path or "preupload" in path for path, _ in asked)
    with hub(private=True) as (address, asked):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        assert push_to_hub(tmp_path / "out", "a/b").endswith("/datasets/a/b")
        sent = {
            body["value"]["path"]: base64.b64decode(body["value"]["content"])
            for path, body in asked
            if "/commit/" in path and body["key"] == "file"
        }
        flags = (tmp_path / "out" / "data" / "flags.parquet").read_bytes()
        assert sent["data/flags.parquet"] == flags and "README.md" in sent
    # The server has ended, and nobody answers there.
    with pytest.raises(ReviewError, match="The Hub cannot be reached"):
        push_to_hub(tmp_path / "out", "a/b")
    with pytest.raises(ReviewError, match="write one first"):
        push_to_hub(tmp_path, "a/b")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"severity": "none"', '"severity": 3'),
        ('"table": "flags"', '"table": "users"'),
        ('"sha256": "', '"sha256": "0'),
        ('"created": "2', '"created": "x2'),
        ('"png": "iVBOR', '"png": "iVBOS'),
        ('"case_id": "', '"case_id": "../'),
        ('{"table": "answers"', '{"table": "answers", "more": 1'),
        ('"shown_order": ["', '["'),
    ],
)
def test_damaged_imports_change_nothing(
    tmp_path: Path, make_case: MakeCase, old: str, new: str
) -> None:
    there = f"sqlite:///{tmp_path / 'a.sqlite3'}"
    store = ReviewStore(there)
    fill(store, make_case)
    path = tmp_path / "all.jsonl"
    export(store, path, "jsonl")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    copy = ReviewStore(f"sqlite:///{tmp_path / 'copy.sqlite3'}")
    with pytest.raises(ReviewError, match=r"damaged or of another version \(line"):
        import_from(copy, path)
    assert set(map(len, rows(f"sqlite:///{tmp_path / 'copy.sqlite3'}").values())) == {0}
    copy.close()
    store.close()


def test_cases_without_their_parents_do_not_fit(tmp_path: Path, make_case: MakeCase) -> None:
    store = ReviewStore(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    fill(store, make_case)
    path = tmp_path / "all.jsonl"
    export(store, path, "jsonl")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"table": "cases"' not in line))
    copy = ReviewStore(f"sqlite:///{tmp_path / 'copy.sqlite3'}")
    with pytest.raises(ReviewError, match="does not fit"):
        import_from(copy, path)
    for no_export in (tmp_path / "missing", tmp_path):
        with pytest.raises(ReviewError, match="no export of the review store"):
            import_from(copy, no_export)
    copy.close()
    store.close()
