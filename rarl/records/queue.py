"""The review queue: which answers are meant, one of them, and how far a reader is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rarl.records._base import Record, value
from rarl.records.flag import Flag, FlagFilter
from rarl.records.review import Status

Item = tuple[str, str]
"""Id of a case and name of a variant: the answer that is judged."""

Order = Literal["oldest", "newest", "severity", "disagreement", "worth"]
"""Of a list: by the first flag's age, by the gravest flag, what readers differ on first, or what is
most worth judging, with one in five by chance (see `rarl.review.worth`)."""
ORDERS: tuple[Order, ...] = ("oldest", "newest", "severity", "disagreement", "worth")


@value
class QueueFilter:
    """Which answers are meant; None and "" leave everything in."""

    flags: FlagFilter = Field(
        default=FlagFilter(),
        description="At least one flag on the answer passes this (in an audit, only `arm`, "
        "`modality` and `text` count: nobody need have flagged).",
    )
    status: Status | None = Field(default=None, description="Exactly this.")
    reader: str | None = Field(
        default=None, description="Assigned to this person, or drawn for this person in an audit."
    )
    waiting: bool = Field(
        default=False,
        description="Only what the person whom the store is for can read now: fewer than two "
        "readings, none of this person's, and not given to others alone.",
    )


class QueueItem(Record):
    """One answer that waits for a verdict, or has one."""

    case_id: str = Field(description="The case, 32 hex digits.")
    arm: str = Field(description="Whose answer.")
    label: str = Field(description="What the interface called the variant.")
    modality: str | None = Field(description="DICOM Modality of the scan.")
    question: str = Field(description="Of the case.")
    answer: str = Field(description="Of the variant.")
    status: Status = Field(description="How far its review is.")
    flags: tuple[Flag, ...] = Field(description="Its current flags, oldest first.")
    assigned: tuple[str, ...] = Field(description="Who shall judge it.")
    judged_by_me: bool = Field(description="Whether the person whom the store is for has.")
    reason: str = Field(
        default="", description="Why it is worth judging, where the list is ordered by that."
    )
    by_chance: bool = Field(
        default=False, description="Whether chance put it there, in a list ordered by worth."
    )


class Progress(Record):
    """How far one reader is."""

    reader: str = Field(description="Who.")
    assigned: int = Field(description="Answers this reader was given.")
    judged: int = Field(description="Answers this reader has judged, assigned or not.")
    left: int = Field(
        description="Assigned answers without this reader's verdict and not dismissed."
    )
    seconds: float | None = Field(
        description="Median time on task in seconds; empty where none was measured."
    )
