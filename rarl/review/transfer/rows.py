"""The rows of an export: one pydantic model a table, made from the table's own columns."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    create_model,
    model_validator,
)
from sqlalchemy import JSON, Boolean, Column, Float, Integer, LargeBinary

from rarl.review._tables import ROWS, Base, PictureRow, UtcDateTime

Record = dict[str, Any]
"""The columns of one row, as the database takes them."""
BY_NAME = {row.__tablename__: row for row in ROWS}


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
        Entry(
            row.__tablename__, column.key, kind_of(column), bool(column.nullable), column.doc or ""
        )
        for row in ROWS
        for column in columns_of(row)
    )


def columns_of(row: type[Base]) -> list[Column[Any]]:
    """The columns of a table, in its order."""
    return [column for column in row.__table__.columns if isinstance(column, Column)]


def kind_of(column: Column[Any]) -> str:
    """Of what type a column is, in the words of the data dictionary."""
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


class Row(BaseModel):
    """One row of an export. Columns that may be empty may be missing in an older one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def record(self) -> Record:
        """As the database takes it."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "table"}


class _RowWithPixels(Row):
    @model_validator(mode="after")
    def _is_the_picture(self) -> Self:
        png = getattr(self, "png", None)
        if png is not None and hashlib.sha256(png).hexdigest() != getattr(self, "sha256", None):
            raise ValueError("these are the pixels of another picture")
        return self


def _decoded(given: object) -> object:
    return base64.b64decode(given, validate=True) if isinstance(given, str) else given


_TYPES: dict[str, Any] = {
    "JSON": dict[str, Any] | list[Any],
    "time": Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))],
    "yes/no": bool,
    "integer": int,
    "number": float,
    "bytes": Annotated[bytes, BeforeValidator(_decoded)],
    "text": str,
}
_KEY = Annotated[str, Field(pattern=r"^[0-9a-f]{32}\z")]


@cache
def row_model(row: type[Base]) -> type[Row]:
    """The model of a table's rows."""
    fields: dict[str, Any] = {"table": (Literal[row.__tablename__], Field(row.__tablename__))}
    for column in columns_of(row):
        kind = kind_of(column)
        annotation = _TYPES[kind]
        if kind == "text" and column.key in ("key", "id", "case_id"):
            annotation = _KEY
        default: Any = ...
        if column.nullable:
            annotation, default = annotation | None, None
        fields[column.key] = (annotation, Field(default, description=column.doc))
    base = _RowWithPixels if row is PictureRow else Row
    return create_model(f"{row.__name__}Export", __base__=base, **fields)


@cache
def any_row() -> TypeAdapter[Row]:
    """Of the line of an export: the row of whichever table it names."""
    models: Any = row_model(ROWS[0])
    for row in ROWS[1:]:
        models = models | row_model(row)
    return TypeAdapter(Annotated[models, Field(discriminator="table")])


def plain(value: Any) -> Any:
    """A value of a row as JSON types."""
    if isinstance(value, datetime):
        return value.isoformat()
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
