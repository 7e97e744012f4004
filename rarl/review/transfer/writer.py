"""Writing an export: the store's tables, in one of four forms.

    FILE.jsonl   one JSON object a line, {"table": ..., column: value, ...}; pixels in base64
    FOLDER csv        one TABLE.csv each, and pictures/SHA256.png
    FOLDER parquet    one TABLE.parquet each
    FOLDER datasets   the same under data/, with the README.md that the Hub and
                      `datasets.load_dataset(FOLDER, TABLE)` read

Readers' names are pseudonyms unless names are asked for; what readers who have withdrawn said is
left out. Folders hold `data_dictionary.csv`. A filter chooses cases by their flags; everything said
about a chosen case goes along, corrected or not; studies go along only where there is no filter.
The audit never does: it says who worked here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import JSON, Boolean, Column, Float, Integer, LargeBinary, inspect, select, tuple_
from sqlalchemy.orm import Session, undefer

from rarl.errors import ReviewError
from rarl.records import FlagFilter
from rarl.review._tables import (
    ROWS,
    AdviceRow,
    Base,
    CaseRow,
    EnrolmentRow,
    FirstReadRow,
    FlagRow,
    PictureRow,
    ResponseRow,
    StudyRow,
    TaskRow,
    TombstoneRow,
    UtcDateTime,
    WithdrawalRow,
)
from rarl.review.files import written_whole
from rarl.review.privacy import Pseudonyms, Withdrawn, person_columns
from rarl.review.repositories.flags import current_flags, filtered
from rarl.review.roles import canonical_name
from rarl.review.store import ReviewStore
from rarl.review.transfer.rows import BY_NAME, Record, columns_of, data_dictionary, plain
from rarl.review.transfer.table import harmless
from rarl.scans.header_allowlist import UID_KEYWORDS

Form = Literal["csv", "jsonl", "parquet", "datasets"]
FORMS: tuple[Form, ...] = ("csv", "jsonl", "parquet", "datasets")

BATCH = 200
"""Rows in memory at a time."""
_DICTIONARY = "data_dictionary.csv"
# A filter chooses cases, which a study is more than.
_OF_A_STUDY = (
    StudyRow,
    TaskRow,
    EnrolmentRow,
    AdviceRow,
    FirstReadRow,
    ResponseRow,
    WithdrawalRow,
    TombstoneRow,
)


def write_lines(
    store: ReviewStore,
    file: TextIO,
    chosen: FlagFilter | None = None,
    pixels: bool = True,
    names: bool = False,
) -> dict[str, int]:
    """Write the JSON lines form.

    Returns:
        How many rows of each table were written.

    Raises:
        ReviewError: the person may not, or the database cannot be read.
    """
    counts = dict.fromkeys(BY_NAME, 0)
    for name, record in _records(store, chosen, pixels, names):
        line = {"table": name, **{key: plain(value) for key, value in record.items()}}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        counts[name] += 1
    return counts


def export(
    store: ReviewStore,
    out: Path,
    form: Form,
    chosen: FlagFilter | None = None,
    pixels: bool = True,
    names: bool = False,
) -> dict[str, int]:
    """Write one of the forms. It is written beside its place and then moved: never half of one.

    Args:
        store: with the person who exports.
        out: a file that is replaced (jsonl), or a folder that must be new or empty.
        form: see the module.
        chosen: by flags; everything where not given, cases without flags and studies included.
        pixels: whether pictures go along, or only their hashes.
        names: whether readers keep their names, as in a backup; otherwise they are pseudonyms.

    Returns:
        How many rows of each table were written.

    Raises:
        ReviewError: the place cannot be written or is taken, the person may not, or the database
            cannot be read.
    """
    if form != "jsonl" and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ReviewError("The export needs a new or empty folder; choose another --out.")
    with written_whole(out) as part:
        if form == "jsonl":
            with part.open("w", encoding="utf-8", newline="") as file:
                return write_lines(store, file, chosen, pixels, names)
        part.mkdir()
        return _write_folder(store, part, form, chosen, pixels, names)


def _records(
    store: ReviewStore, chosen: FlagFilter | None, pixels: bool, names: bool
) -> Iterator[tuple[str, Record]]:
    """All rows, table by table, parents first."""
    store.need("export")
    with store.reading(snapshot=True) as session:
        case_ids: list[str] | None = None
        if chosen is not None and chosen != FlagFilter():
            only = filtered(current_flags(), chosen).with_only_columns(FlagRow.case_id)
            case_ids = list(dict.fromkeys(session.scalars(only.order_by(FlagRow.id))))
        exported = case_ids
        if exported is None:
            exported = list(session.scalars(select(CaseRow.id)))
    # Before the first row leaves, so that nothing leaves unrecorded.
    with store.reading() as session:
        store.note(session, "export", "case", exported)
    with store.reading(snapshot=True) as session:
        withdrawn = Withdrawn.of(session)
        pseudonyms = None if names else Pseudonyms.of(session)
        gone: set[str] = set()  # flags of readers who have withdrawn
        for row in ROWS:
            if case_ids is not None and row in _OF_A_STUDY:
                continue
            for stored in _rows_of(session, row, case_ids):
                record = {column.key: getattr(stored, column.key) for column in columns_of(row)}
                if row is PictureRow and not pixels:
                    record["png"] = None
                if withdrawn.leaves(row.__tablename__, record):
                    if row is FlagRow:
                        gone.add(record["key"])
                    continue
                if record.get("flag_key") in gone:
                    continue
                _rename(row, record, withdrawn, pseudonyms)
                yield row.__tablename__, record


def _rename(
    row: type[Base], record: Record, withdrawn: Withdrawn, pseudonyms: Pseudonyms | None
) -> None:
    """Put pseudonyms for names, where they are asked for; who has withdrawn is not named.

    The UIDs that a site may keep never leave, with names or without: they lead to a patient.
    """
    for column in person_columns(row):
        if column != "reader" and withdrawn.holds(record[column]):
            record[column] = None
        elif pseudonyms is not None:
            record[column] = pseudonyms.of_name(record[column])
    if row is CaseRow:
        record["attributes"] = {
            name: text for name, text in record["attributes"].items() if name not in UID_KEYWORDS
        }
    if row is StudyRow:
        readers = [canonical_name(name) for name in record["readers"]]
        kept = [name for name in readers if not withdrawn.holds(name, record["id"])]
        if pseudonyms is not None:
            record["readers"] = [pseudonyms.of_name(name) for name in kept]
        elif len(kept) < len(readers):
            record["readers"] = kept


def _rows_of(session: Session, row: type[Base], case_ids: list[str] | None) -> Iterator[Base]:
    """In the order of the primary key, a batch in memory at a time."""
    key = list(inspect(row).primary_key)
    last: tuple[Any, ...] | None = None
    size = 20 if row is PictureRow else BATCH
    statement = select(row).order_by(*key).limit(size)
    if row is PictureRow:
        statement = statement.options(undefer(PictureRow.png))
    wanted = None if case_ids is None else set(case_ids)
    while True:
        page = statement if last is None else statement.where(tuple_(*key) > last)
        records = session.scalars(page).all()
        for record in records:
            owner = record.id if isinstance(record, CaseRow) else getattr(record, "case_id", None)
            if wanted is None or owner in wanted:
                yield record
        if len(records) < size:
            return
        last = inspect(records[-1]).identity
        session.expunge_all()


def _write_folder(
    store: ReviewStore,
    folder: Path,
    form: Form,
    chosen: FlagFilter | None,
    pixels: bool,
    names: bool,
) -> dict[str, int]:
    counts = dict.fromkeys(BY_NAME, 0)
    tables = folder / "data" if form == "datasets" else folder
    tables.mkdir(exist_ok=True)
    writers = {
        name: (_CsvTable(tables, row) if form == "csv" else _ParquetTable(tables, row))
        for name, row in BY_NAME.items()
    }
    try:
        for name, record in _records(store, chosen, pixels, names):
            writers[name].add(record)
            counts[name] += 1
    finally:
        for writer in writers.values():
            writer.close()
    with (folder / _DICTIONARY).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("table", "column", "type", "optional", "meaning"))
        for entry in data_dictionary():
            optional = "yes" if entry.optional else "no"
            table.writerow((entry.table, entry.column, entry.type, optional, entry.meaning))
    if form == "datasets":
        (folder / "README.md").write_text(_card(counts), encoding="utf-8")
    return counts


class _CsvTable:
    """One table for spreadsheets; pictures lie beside it as files."""

    def __init__(self, folder: Path, row: type[Base]) -> None:
        self._folder = folder / "pictures"
        self._columns = columns_of(row)
        self._file = (folder / f"{row.__tablename__}.csv").open("w", encoding="utf-8", newline="")
        self._table = csv.writer(self._file)
        self._table.writerow([column.key for column in self._columns])

    def add(self, record: Record) -> None:
        self._table.writerow([self._cell(column, record) for column in self._columns])

    def close(self) -> None:
        self._file.close()

    def _cell(self, column: Column[Any], record: Record) -> str:
        value = record[column.key]
        if value is None:
            return ""
        if isinstance(value, bytes):
            self._folder.mkdir(exist_ok=True)
            name = f"{record['sha256']}.png"
            (self._folder / name).write_bytes(value)
            return f"pictures/{name}"
        if isinstance(column.type, JSON):
            return json.dumps(value, ensure_ascii=False)
        if isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, bool):
            return "yes" if value else "no"
        # repr keeps every digit of a float
        return harmless(value) if isinstance(value, str) else repr(value)


class _ParquetTable:
    """One typed table; JSON columns as text, pictures as the Hub's image type."""

    def __init__(self, folder: Path, row: type[Base]) -> None:
        self._columns = columns_of(row)
        self._schema = _arrow_schema(row)
        self._writer = pq.ParquetWriter(folder / f"{row.__tablename__}.parquet", self._schema)
        self._waiting: list[Record] = []

    def add(self, record: Record) -> None:
        self._waiting.append({column.key: _arrow(column, record) for column in self._columns})
        if len(self._waiting) >= BATCH or (
            self._waiting[-1].get("png") is not None and len(self._waiting) >= 20
        ):
            self._write()

    def close(self) -> None:
        if self._waiting:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
        self._waiting = []


def _arrow(column: Column[Any], record: Record) -> Any:
    value = record[column.key]
    if isinstance(column.type, LargeBinary):
        return None if value is None else {"bytes": value, "path": f"{record['sha256']}.png"}
    if isinstance(column.type, JSON) and value is not None:
        return json.dumps(value, ensure_ascii=False)
    return value


def _arrow_schema(row: type[Base]) -> pa.Schema:
    fields = []
    for column in columns_of(row):
        kind = pa.string()
        if isinstance(column.type, LargeBinary):
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        elif isinstance(column.type, UtcDateTime):
            kind = pa.timestamp("us", tz="UTC")
        elif isinstance(column.type, Boolean):
            kind = pa.bool_()
        elif isinstance(column.type, Integer):
            kind = pa.int64()
        elif isinstance(column.type, Float):
            kind = pa.float64()
        fields.append(pa.field(column.key, kind, nullable=bool(column.nullable)))
    schema = pa.schema(fields)
    if row is PictureRow:
        # What `datasets` reads to know that a column holds pictures.
        features = {"png": {"_type": "Image"}} | {
            field.name: {"dtype": str(field.type), "_type": "Value"}
            for field in schema
            if field.name != "png"
        }
        ordered = {field.name: features[field.name] for field in schema}
        schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": ordered}})})
    return schema


def _card(counts: Mapping[str, int]) -> str:
    """The dataset card: which file is which table, and what the columns mean."""
    kept = [name for name, count in counts.items() if count]
    lines = ["---", "configs:"]
    for name in kept:
        lines += [f"- config_name: {name}", f"  data_files: data/{name}.parquet"]
        if name == "flags":
            lines.append("  default: true")
    lines += ["---", "", "# Reviewed answers", "", "Exported from a review store."]
    lines += [
        "It may hold pictures and words about patients: keep it private unless all is public."
    ]
    for name in kept:
        rows = "1 row" if counts[name] == 1 else f"{counts[name]} rows"
        lines += ["", f"## {name} ({rows})", "", "| column | type | meaning |", "|---|---|---|"]
        lines += [
            f"| {entry.column} | {entry.type}{', optional' if entry.optional else ''} "
            f"| {entry.meaning} |"
            for entry in data_dictionary()
            if entry.table == name
        ]
    return "\n".join(lines) + "\n"
