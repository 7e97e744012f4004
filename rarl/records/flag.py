"""A reader's complaint about one answer: as it is sent, as it is stored, and which are meant."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated
from uuid import uuid4

from pydantic import Field, field_validator

from rarl.errors import ReviewError
from rarl.records._base import Record, Time, storable, text_of, value, when
from rarl.records.geometry import Region

COMMENT_LIMIT = 4000
"""Longest comment, in characters."""
TEXT_LIMIT = 20_000
"""Longest explanation, in characters."""
_KEY = re.compile(r"[0-9a-f]{32}")
_NO_KEY = "A key has 32 hex digits; make a new one and send it again."
_CHOOSE = "Choose what is wrong with the answer."
_WEIGH = "Choose how much it would matter."

Key = Annotated[
    str,
    when(lambda key: _KEY.fullmatch(key) is not None, _NO_KEY),
]
"""32 hex digits made by the sender, so that sending again stores nothing twice."""


def new_key() -> str:
    """A key that nothing else has."""
    return uuid4().hex


def sent_key(key: str | None) -> str:
    """The key that was sent, or a new one.

    Raises:
        ReviewError: it is no key.
    """
    if key is not None and not _KEY.fullmatch(key):
        raise ReviewError(_NO_KEY)
    return new_key() if key is None else key


class FlagContent(Record):
    """What a flag says."""

    case_id: str = Field(description="The case that it belongs to, 32 hex digits.")
    arm: str = Field(description="Whose answer.")
    category: str = Field(description="Key of the taxonomy.")
    severity: str = Field(description="By clinical consequence, key of the taxonomy.")
    comment: str = Field(default="", description="Free text.")
    sentence: str = Field(default="", description="The part of the reasoning that is wrong.")
    sentence_start: int | None = Field(
        default=None, description="Where it begins in the reasoning, in characters from 0."
    )
    region: Region | None = Field(default=None, description="Place on a picture of the case.")
    corrected_answer: str = Field(default="", description="What would have been right.")
    corrected_explanation: str = Field(default="", description="And why.")
    key: str = Field(
        default="", description="32 hex digits: the same key sent again stores nothing."
    )
    replaces: str | None = Field(
        default=None, description="Key of the flag that this one corrects."
    )


class FlagDraft(FlagContent):
    """A flag as a person or a program sends it, before it is stored."""

    comment: Annotated[str, text_of(COMMENT_LIMIT, "The comment")] = Field(
        default="", description="Free text, without space around it."
    )
    corrected_answer: Annotated[str, text_of(COMMENT_LIMIT, "The corrected answer")] = Field(
        default="", description="What would have been right."
    )
    corrected_explanation: Annotated[str, text_of(TEXT_LIMIT, "The corrected explanation")] = Field(
        default="", description="And why."
    )
    key: Key = Field(
        default_factory=new_key,
        description="32 hex digits made by the sender: the same key sent again stores nothing.",
    )

    @field_validator("category", "severity", mode="before")
    @classmethod
    def _is_chosen(cls, given: object, info: object) -> object:
        if not given:
            name = getattr(info, "field_name", "")
            raise ValueError(_CHOOSE if name == "category" else _WEIGH)
        return given

    @field_validator("sentence")
    @classmethod
    def _is_storable(cls, given: str) -> str:
        return storable(given)


class Flag(FlagContent):
    """A stored flag, with what it shows of its case. Flags are never changed or removed."""

    id: int = Field(description="Counts up in the order of storing.")
    created: Time = Field(description="When it was stored, UTC.")
    reader: str | None = Field(description="Who flagged; empty where nobody was named.")
    label: str = Field(description="What the interface called the variant (from the case).")
    modality: str | None = Field(description="DICOM Modality of the scan (from the case).")
    question: str = Field(description="As it was asked (from the case).")
    answer: str = Field(description="The variant's answer (from the case).")


@value
class FlagFilter:
    """Which flags are meant; None and "" leave everything in."""

    arm: str | None = Field(default=None, description="Exact name.")
    category: str | None = Field(default=None, description="Key of the taxonomy.")
    severity: str | None = Field(default=None, description="Key of the taxonomy.")
    modality: str | None = Field(default=None, description="Exact DICOM Modality.")
    text: str = Field(
        default="",
        description="Occurs in comment, question, reasoning or answer, in letters of either case.",
    )
    reader: str | None = Field(default=None, description="Who flagged, exact name.")
    since: datetime | None = Field(
        default=None, description="Stored then or later, with a time zone."
    )
    until: datetime | None = Field(default=None, description="Stored before, with a time zone.")
