"""What all records share: they never change, take no unknown field, and explain bad input."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any, Self, TypeVar, cast, dataclass_transform

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)
from pydantic.dataclasses import dataclass

from rarl.errors import ReviewError

_T = TypeVar("_T")

Time = Annotated[datetime, PlainSerializer(datetime.isoformat, when_used="json")]
"""A moment with its time zone; in JSON as ISO 8601."""


def _from_base64(given: object) -> object:
    return base64.b64decode(given, validate=True) if isinstance(given, str) else given


FileBytes = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    PlainSerializer(lambda png: base64.b64encode(png).decode("ascii"), when_used="json"),
]
"""A file's bytes; in JSON as base64."""


class Record(BaseModel):
    """A thing that is stored, exported or sent. Frozen; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """A record of values that a person or a program has given.

        Raises:
            ReviewError: a value cannot be taken; one sentence says which and why.
        """
        return checked(cls, **values)

    def plain(self) -> dict[str, Any]:
        """As JSON types: times in ISO 8601, bytes in base64."""
        return self.model_dump(mode="json")


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def value(cls: type[_T]) -> type[_T]:
    """A small record that is made from positional values, as a coordinate is."""
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    made = dataclass(frozen=True, slots=True, config=config)(cls)
    return cast(type[_T], made)


def known_fields(record: type, row: dict[str, Any]) -> dict[str, Any]:
    """The part of a stored row that a record has fields for."""
    names = {field.name for field in fields(record)}
    return {name: given for name, given in row.items() if name in names}


def checked(record: Callable[..., _T], **values: Any) -> _T:
    """Make a record of values that a person or a program has given.

    Raises:
        ReviewError: a value cannot be taken; one sentence says which and why.
    """
    try:
        return record(**values)
    except ValidationError as error:
        raise ReviewError(explained(error)) from None


def explained(error: ValidationError) -> str:
    """The first fault as one sentence; what was given is not repeated.

    >>> from pydantic import TypeAdapter
    >>> try:
    ...     TypeAdapter(dict[str, int]).validate_python({"a": "x"})
    ... except ValidationError as error:
    ...     explained(error)
    'The field a is not usable: input should be a valid integer.'
    """
    fault = error.errors(include_url=False, include_input=False)[0]
    own = fault.get("ctx", {}).get("error")
    if isinstance(own, ValueError) and fault["type"] == "value_error":
        return str(own)
    words = fault["msg"][:1].lower() + fault["msg"][1:].partition(", unable")[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"The field {where} is not usable: {words}." if where else f"{fault['msg']}."


def storable(text: str) -> str:
    """What every database takes: no NUL, and no half of a surrogate pair from a browser."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def cleaned(text: str, limit: int, what: str) -> str:
    """Storable text without space around it.

    Raises:
        ReviewError: it has more than `limit` characters.
    """
    text = storable(text).strip()
    if len(text) > limit:
        raise ReviewError(f"{what} has {len(text)} characters; shorten it to {limit}.")
    return text


def text_of(limit: int, what: str) -> AfterValidator:
    """For a field with text that a person typed: see `cleaned`."""

    def clean(text: str) -> str:
        try:
            return cleaned(text, limit, what)
        except ReviewError as error:
            raise ValueError(str(error)) from None

    return AfterValidator(clean)


def when(
    is_usable: Callable[[Any], bool], otherwise: str, early: bool = False
) -> AfterValidator | BeforeValidator:
    """For a field that takes some values of its type only, with the sentence for the others.

    Args:
        is_usable: whether a value can be taken.
        otherwise: the sentence where it cannot.
        early: whether values of other types get this sentence too.
    """

    def check(given: _T) -> _T:
        if not is_usable(given):
            raise ValueError(otherwise)
        return given

    return BeforeValidator(check) if early else AfterValidator(check)
