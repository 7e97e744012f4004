"""Reading an export back, in any of its forms."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError
from sqlalchemy import Column, func, inspect, select, text
from sqlalchemy.orm import Session

from rarl.errors import ReviewError
from rarl.review._queue_index import refresh
from rarl.review._tables import (
    AssignmentRow,
    Base,
    CaseRow,
    DismissalRow,
    EnrolmentRow,
    FirstReadRow,
    FlagRow,
    MeasurementRow,
    PictureRow,
    ReportRow,
    ResponseRow,
    SampleRow,
    StudyRow,
    TombstoneRow,
    VerdictRow,
    VoteRow,
    WithdrawalRow,
)
from rarl.review.privacy import Pseudonyms, person_columns
from rarl.review.store import ReviewStore
from rarl.review.transfer.rows import BY_NAME, Record, any_row, columns_of, kind_of, row_model
from rarl.review.transfer.table import harmful
from rarl.review.transfer.writer import BATCH

_WITH_KEY = (
    FlagRow,
    DismissalRow,
    VoteRow,
    VerdictRow,
    AssignmentRow,
    MeasurementRow,
    SampleRow,
    ReportRow,
    EnrolmentRow,
    FirstReadRow,
    ResponseRow,
    WithdrawalRow,
)


def import_from(store: ReviewStore, source: Path) -> dict[str, int]:
    """Read an export back, in any of its forms, as one transaction.

    What the store has already, by id or key, stays as it is; a case that was deleted for good here
    stays deleted. Numbers of flags and verdicts are kept where they are free. Pseudonyms of people
    whom this store knows become their names again.

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
    counts = dict.fromkeys(BY_NAME, 0)
    skipped: set[str] = set()
    touched: dict[str, None] = {}
    changed: set[str | None] = set()
    try:
        with store.writing() as session:
            names = Pseudonyms.of(session).names(session)
            for name, records in _read(source):
                row = BY_NAME[name]
                for record in records:
                    _name(row, record, names)
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


def _read(source: Path) -> Iterator[tuple[str, Iterable[Record]]]:
    """The rows of an export, table by table, as the database takes them."""
    if source.is_file():
        yield from _read_lines(source)
        return
    folder = source / "data" if (source / "data").is_dir() else source
    tables = 0
    for name, row in BY_NAME.items():
        table = folder / f"{name}.csv"
        if table.is_file():
            tables += 1
            yield name, _read_csv(table, row)
        elif (folder / f"{name}.parquet").is_file():
            tables += 1
            yield name, _read_parquet(folder / f"{name}.parquet", row)
    if not tables:
        raise OSError(f"nothing to read in {source}")


def _read_lines(source: Path) -> Iterator[tuple[str, Iterable[Record]]]:
    with source.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(file, 1):
            try:
                row = any_row().validate_json(line, strict=True)
            except ValidationError as error:
                raise _damaged(f"line {number}", error) from None
            yield str(getattr(row, "table", "")), [row.record()]


def _read_csv(table: Path, row: type[Base]) -> Iterator[Record]:
    limit = csv.field_size_limit(1 << 27)
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            for number, cells in enumerate(csv.DictReader(file), 1):

                def value(column: Column[Any], cell: Any) -> Any:
                    return _of_cell(column, cell, table.parent)

                # Each cell is text, of which pydantic makes numbers, times and yes or no.
                yield _checked(row, cells, value, f"{table.name}, row {number}", strict=False)
    finally:
        csv.field_size_limit(limit)


def _read_parquet(table: Path, row: type[Base]) -> Iterator[Record]:
    number = 0
    for batch in pq.ParquetFile(table).iter_batches(20 if row is PictureRow else BATCH):
        for cells in batch.to_pylist():
            number += 1
            yield _checked(row, cells, _of_arrow, f"{table.name}, row {number}", strict=True)


def _checked(
    row: type[Base],
    cells: dict[str, Any],
    value: Callable[[Column[Any], Any], Any],
    where: str,
    strict: bool,
) -> Record:
    """The columns of a row, each of its type.

    Raises:
        ReviewError: a column is missing, unknown or of another type.
    """
    columns = {column.key: column for column in columns_of(row)}
    try:
        given = {
            name: value(columns[name], cell) if name in columns else cell
            for name, cell in cells.items()
        }
        return row_model(row).model_validate(given, strict=strict).record()
    except ValidationError as error:
        raise _damaged(where, error) from None
    except (ValueError, KeyError, TypeError):
        raise _damaged(where) from None


def _name(row: type[Base], record: Record, names: Mapping[str, str]) -> None:
    """Put the names of this store's people for their pseudonyms."""
    for column in person_columns(row):
        record[column] = names.get(record[column] or "", record[column])
    if row is StudyRow:
        record["readers"] = [names.get(name, name) for name in record["readers"]]


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
        keyed = BY_NAME[row.__tablename__].__table__
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


def _damaged(where: str, error: ValidationError | None = None) -> ReviewError:
    fault = error.errors(include_url=False, include_input=False)[0] if error else None
    column = str(fault["loc"][-1]) if fault and fault["loc"] else ""
    place = f"{where}, {column}" if column else where
    return ReviewError(
        f"The export is damaged or of another version ({place}); nothing was imported: export it "
        "again."
    )


def _of_arrow(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    kind = kind_of(column)
    if kind == "JSON":
        return json.loads(value)
    return value["bytes"] if kind == "bytes" else value


def _of_cell(column: Column[Any], cell: Any, folder: Path) -> Any:
    kind = kind_of(column)
    if cell in ("", None) and column.nullable:
        return None
    if kind == "JSON":
        return json.loads(cell)
    if kind == "bytes":
        name = cell.removeprefix("pictures/")
        if not re.fullmatch(r"[0-9a-f]{64}\.png", name):  # nothing outside the folder
            raise ValueError("no picture of this export")
        return (folder / "pictures" / name).read_bytes()
    return harmful(cell) if kind == "text" else cell
