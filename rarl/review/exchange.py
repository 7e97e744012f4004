"""Exports that lose nothing, and their import.

An export is the store's tables, in one of four forms:

    FILE.jsonl   one JSON object a line, {"table": ..., column: value, ...}; pixels in base64
    FOLDER csv        one TABLE.csv each, and pictures/SHA256.png
    FOLDER parquet    one TABLE.parquet each
    FOLDER datasets   the same under data/, with the README.md that the Hub and
                      `datasets.load_dataset(FOLDER, TABLE)` read

Folders hold `data_dictionary.csv`. A filter chooses cases by their flags; everything said about a
chosen case goes along, corrected or not; studies go along only where there is no filter. The audit
never does: it says who worked here.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    func,
    inspect,
    select,
    text,
    tuple_,
)
from sqlalchemy.orm import Session, undefer

from rarl.errors import ReviewError
from rarl.review._queue_index import refresh
from rarl.review._tables import (
    ROWS,
    AssignmentRow,
    Base,
    CaseRow,
    FlagRow,
    PictureRow,
    ResponseRow,
    StudyRow,
    TaskRow,
    TombstoneRow,
    UtcDateTime,
    VerdictRow,
    VoteRow,
)
from rarl.review.case import FlagFilter
from rarl.review.export import harmful, harmless
from rarl.review.files import written_whole
from rarl.review.store import ReviewStore, current_flags, filtered

Form = Literal["csv", "jsonl", "parquet", "datasets"]
FORMS: tuple[Form, ...] = ("csv", "jsonl", "parquet", "datasets")
Record = dict[str, Any]

_BATCH = 200
_DICTIONARY = "data_dictionary.csv"
_HEX = re.compile(r"[0-9a-f]{32}")
_BY_NAME = {row.__tablename__: row for row in ROWS}
_WITH_KEY = (FlagRow, VoteRow, VerdictRow, AssignmentRow, ResponseRow)
# A filter chooses cases, which a study is more than.
_OF_A_STUDY = (StudyRow, TaskRow, ResponseRow, TombstoneRow)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the data dictionary.

    Attributes:
        table: name of the table.
        column: name of the column.
        type: text, integer, number, yes/no, time, JSON or bytes.
        optional: whether it may be empty.
        meaning: one sentence.
    """

    table: str
    column: str
    type: str
    optional: bool
    meaning: str


def data_dictionary() -> tuple[Entry, ...]:
    """What every column of an export means."""
    return tuple(
        Entry(row.__tablename__, column.key, _kind(column), bool(column.nullable), column.doc or "")
        for row in ROWS
        for column in _columns(row)
    )


def write_lines(
    store: ReviewStore, file: TextIO, chosen: FlagFilter | None = None, pixels: bool = True
) -> dict[str, int]:
    """Write the JSON lines form.

    Returns:
        How many rows of each table were written.

    Raises:
        ReviewError: the person may not, or the database cannot be read.
    """
    counts = dict.fromkeys(_BY_NAME, 0)
    for name, record in _records(store, chosen, pixels):
        line = {"table": name, **{key: _plain(value) for key, value in record.items()}}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        counts[name] += 1
    return counts


def export(
    store: ReviewStore,
    out: Path,
    form: Form,
    chosen: FlagFilter | None = None,
    pixels: bool = True,
) -> dict[str, int]:
    """Write one of the forms. It is written beside its place and then moved: never half of one.

    Args:
        store: with the person who exports.
        out: a file that is replaced (jsonl), or a folder that must be new or empty.
        form: see the module.
        chosen: by flags; everything where not given, cases without flags and studies included.
        pixels: whether pictures go along, or only their hashes.

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
                return write_lines(store, file, chosen, pixels)
        part.mkdir()
        return _write_folder(store, part, form, chosen, pixels)


def import_from(store: ReviewStore, source: Path) -> dict[str, int]:
    """Read an export back, in any of its forms, as one transaction.

    What the store has already, by id or key, stays as it is; a case that was deleted for good here
    stays deleted. Numbers of flags and verdicts are kept where they are free.

    Args:
        store: with the person who imports.
        source: the file or folder.

    Returns:
        How many rows of each table are new.

    Raises:
        ReviewError: it is not such an export, something in it is damaged or does not fit together,
            the person may not, or the database cannot be written. Then nothing was imported.
    """
    store.need("import")
    counts = dict.fromkeys(_BY_NAME, 0)
    skipped: set[str] = set()
    touched: dict[str, None] = {}
    changed: set[str | None] = set()
    try:
        with store.writing() as session:
            for name, records in _read(source):
                row = _BY_NAME[name]
                for record in records:
                    if _import_one(session, row, record, skipped):
                        counts[name] += 1
                        if row is CaseRow:
                            touched[record["id"]] = None
                        changed.add(record["id"] if row is CaseRow else record.get("case_id"))
            _move_numbers(session)
            refresh(session, (case_id for case_id in changed if case_id is not None))
            store.note(session, "import", "case", touched)
    except (OSError, UnicodeDecodeError, pa.ArrowInvalid, csv.Error):
        raise ReviewError(
            "This is no export of the review store, or not all of it; choose the file or folder "
            "that `review export` wrote."
        ) from None
    return counts


def push_to_hub(folder: Path, repository: str, private: bool = True) -> str:
    """Put a `datasets` export on the Hugging Face Hub.

    Args:
        folder: what `export(..., "datasets")` wrote.
        repository: "owner/name"; made where it is missing. One that is there must be private, too.
        private: False only where everything in it may be public.

    Returns:
        The address.

    Raises:
        ReviewError: the Hub cannot be reached or refuses, or the repository there is public.
    """
    from httpx2 import HTTPError  # what huggingface_hub itself raises where nobody answers
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    if not (folder / "README.md").is_file():
        raise ReviewError("Only a datasets export goes to the Hub; write one first.")
    api = HfApi()
    try:
        place = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        if private and not api.repo_info(repository, repo_type="dataset").private:
            raise ReviewError(
                f"{repository} is public on the Hub; make it private or choose another name."
            )
        api.upload_folder(repo_id=repository, repo_type="dataset", folder_path=folder)
    except (HTTPError, HFValidationError, OSError):
        raise ReviewError(
            "The Hub cannot be reached or does not take this; check the name and the token "
            "(`hf auth login`) and try again."
        ) from None
    return str(place)


# --- out -----------------------------------------------------------------------------------------


def _records(
    store: ReviewStore, chosen: FlagFilter | None, pixels: bool
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
        for row in ROWS:
            if case_ids is not None and row in _OF_A_STUDY:
                continue
            for found in _rows_of(session, row, case_ids):
                record = {column.key: getattr(found, column.key) for column in _columns(row)}
                if row is PictureRow and not pixels:
                    record["png"] = None
                yield row.__tablename__, record


def _rows_of(session: Session, row: type[Base], case_ids: list[str] | None) -> Iterator[Base]:
    """In the order of the primary key, a batch in memory at a time."""
    key = list(inspect(row).primary_key)
    last: tuple[Any, ...] | None = None
    size = 20 if row is PictureRow else _BATCH
    statement = select(row).order_by(*key).limit(size)
    if row is PictureRow:
        statement = statement.options(undefer(PictureRow.png))
    wanted = None if case_ids is None else set(case_ids)
    while True:
        page = statement if last is None else statement.where(tuple_(*key) > last)
        found = session.scalars(page).all()
        for one in found:
            owner = one.id if isinstance(one, CaseRow) else getattr(one, "case_id", None)
            if wanted is None or owner in wanted:
                yield one
        if len(found) < size:
            return
        last = inspect(found[-1]).identity
        session.expunge_all()


def _write_folder(
    store: ReviewStore, folder: Path, form: Form, chosen: FlagFilter | None, pixels: bool
) -> dict[str, int]:
    counts = dict.fromkeys(_BY_NAME, 0)
    tables = folder / "data" if form == "datasets" else folder
    tables.mkdir(exist_ok=True)
    writers = {
        name: (_CsvTable(tables, row) if form == "csv" else _ParquetTable(tables, row))
        for name, row in _BY_NAME.items()
    }
    try:
        for name, record in _records(store, chosen, pixels):
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
        self._columns = _columns(row)
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
        self._columns = _columns(row)
        self._schema = _arrow_schema(row)
        self._writer = pq.ParquetWriter(folder / f"{row.__tablename__}.parquet", self._schema)
        self._waiting: list[Record] = []

    def add(self, record: Record) -> None:
        self._waiting.append({column.key: _arrow(column, record) for column in self._columns})
        if len(self._waiting) >= _BATCH or (
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
    for column in _columns(row):
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


# --- in ------------------------------------------------------------------------------------------


def _read(source: Path) -> Iterator[tuple[str, Iterable[Record]]]:
    """The rows of an export, table by table, as the database takes them."""
    if source.is_file():
        yield from _read_lines(source)
        return
    folder = source / "data" if (source / "data").is_dir() else source
    found = 0
    for name, row in _BY_NAME.items():
        table = folder / f"{name}.csv"
        if table.is_file():
            found += 1
            yield name, _read_csv(table, row)
        elif (folder / f"{name}.parquet").is_file():
            found += 1
            yield name, _read_parquet(folder / f"{name}.parquet", row)
    if not found:
        raise OSError(f"nothing to read in {source}")


def _read_lines(source: Path) -> Iterator[tuple[str, Iterable[Record]]]:
    with source.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(file, 1):
            try:
                said = json.loads(line)
                row = _BY_NAME[said.pop("table")]
                record = _checked(row, said, _from_plain)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise _damaged(f"line {number}") from None
            yield row.__tablename__, [record]


def _read_csv(table: Path, row: type[Base]) -> Iterator[Record]:
    limit = csv.field_size_limit(1 << 27)
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            for number, said in enumerate(csv.DictReader(file), 1):

                def cell(column: Column[Any], value: object) -> Any:
                    return _from_cell(column, value, table.parent)

                try:
                    record = _checked(row, said, cell)
                except (ValueError, KeyError, TypeError):
                    raise _damaged(f"{table.name}, row {number}") from None
                yield record
    finally:
        csv.field_size_limit(limit)


def _read_parquet(table: Path, row: type[Base]) -> Iterator[Record]:
    number = 0
    for batch in pq.ParquetFile(table).iter_batches(20 if row is PictureRow else _BATCH):
        for said in batch.to_pylist():
            number += 1
            try:
                record = _checked(row, said, _from_arrow)
            except (ValueError, KeyError, TypeError):
                raise _damaged(f"{table.name}, row {number}") from None
            yield record


def _checked(
    row: type[Base], said: Mapping[str, Any], read: Callable[[Column[Any], Any], Any]
) -> Record:
    """The columns of a row, each of its type.

    Raises:
        ValueError, KeyError, TypeError: a column is missing, unknown or of another type.
    """
    columns = _columns(row)
    if not set(said) <= {column.key for column in columns}:
        raise ValueError("unknown column")
    record: Record = {}
    for column in columns:
        # What may be empty may also be of a later version than the export.
        value = read(column, said.get(column.key) if column.nullable else said[column.key])
        if value is None and not column.nullable:
            raise ValueError("empty")
        if value is not None and not isinstance(value, _python_types(column)):
            raise TypeError(column.key)
        record[column.key] = value
    for name in ("key", "id", "case_id"):
        value = record.get(name)
        if isinstance(value, str) and not _HEX.fullmatch(value):
            raise ValueError(name)
    png = record.get("png")
    if png is not None and hashlib.sha256(png).hexdigest() != record["sha256"]:
        raise ValueError("another picture")
    return record


def _import_one(session: Session, row: type[Base], record: Record, skipped: set[str]) -> bool:
    """Add one row unless it is there.

    Returns:
        Whether it was added.
    """
    owner = str(record["id"] if row is CaseRow else record.get("case_id"))
    if row is TombstoneRow:
        if session.get(CaseRow, owner) is not None or session.get(TombstoneRow, owner) is not None:
            return False
    elif owner in skipped:
        return False
    elif row is CaseRow and session.get(TombstoneRow, owner) is not None:
        skipped.add(owner)
        return False
    if row in _WITH_KEY:
        keyed = _BY_NAME[row.__tablename__].__table__
        if session.scalar(select(keyed.c.id).where(keyed.c.key == record["key"])) is not None:
            return False
        if session.get(row, record["id"]) is not None:
            record = {name: value for name, value in record.items() if name != "id"}
    else:
        key = tuple(record[str(column.key)] for column in inspect(row).primary_key)
        if session.get(row, key) is not None:
            return False
    session.add(row(**record))
    session.flush()
    session.expunge_all()
    return True


def _move_numbers(session: Session) -> None:
    """In PostgreSQL, let the next number follow the highest imported one."""
    if session.get_bind().dialect.name != "postgresql":
        return
    for row in _WITH_KEY:
        name = row.__tablename__
        highest = session.scalar(select(func.max(row.id)))
        if highest:
            session.execute(
                text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :highest)"),
                {"name": name, "highest": highest},
            )


def _damaged(where: str) -> ReviewError:
    return ReviewError(
        f"The export is damaged or of another version ({where}); nothing was imported: export it "
        "again."
    )


# --- values --------------------------------------------------------------------------------------


def _columns(row: type[Base]) -> list[Column[Any]]:
    return [column for column in row.__table__.columns if isinstance(column, Column)]


def _kind(column: Column[Any]) -> str:
    for kind, name in (
        (JSON, "JSON"),
        (UtcDateTime, "time"),
        (Boolean, "yes/no"),
        (Integer, "integer"),
        (Float, "number"),
        (LargeBinary, "bytes"),
    ):
        if isinstance(column.type, kind):
            return name
    return "text"


def _python_types(column: Column[Any]) -> tuple[type, ...]:
    return {
        "JSON": (dict, list),
        "time": (datetime,),
        "yes/no": (bool,),
        "integer": (int,),
        "number": (float, int),
        "bytes": (bytes,),
        "text": (str,),
    }[_kind(column)]


def _plain(value: Any) -> Any:
    """A value as JSON types."""
    if isinstance(value, datetime):
        return value.isoformat()
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


def _from_plain(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    kind = _kind(column)
    if kind == "time":
        return _time(value)
    return base64.b64decode(value, validate=True) if kind == "bytes" else value


def _from_arrow(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    kind = _kind(column)
    if kind == "JSON":
        return json.loads(value)
    return value["bytes"] if kind == "bytes" else value


def _from_cell(column: Column[Any], cell: Any, folder: Path) -> Any:
    kind = _kind(column)
    if cell in ("", None) and column.nullable:
        return None
    if kind == "JSON":
        return json.loads(cell)
    if kind == "time":
        return _time(cell)
    if kind == "yes/no":
        return {"yes": True, "no": False}[cell]
    if kind == "integer":
        return int(cell)
    if kind == "number":
        return float(cell)
    if kind == "bytes":
        name = cell.removeprefix("pictures/")
        if not re.fullmatch(r"[0-9a-f]{64}\.png", name):  # nothing outside the folder
            raise ValueError("no picture of this export")
        return (folder / "pictures" / name).read_bytes()
    return harmful(cell)


def _time(value: str) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("no time zone")
    return time.astimezone(UTC)
