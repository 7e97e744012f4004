"""What readers and adjudicators say, and what the store remembers of who did what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rarl.records._base import Record, Time, text_of, value, when
from rarl.records.flag import COMMENT_LIMIT, TEXT_LIMIT

Status = Literal["new", "one-reader", "agreed", "differs", "adjudicated", "dismissed"]
STATUSES: tuple[Status, ...] = (
    "new",
    "one-reader",
    "agreed",
    "differs",
    "adjudicated",
    "dismissed",
)
SCALE = range(4)
"""Correctness and explanation, each 0-3: the scale of the project's own judge."""
Outcome = Literal["better", "tie", "all-good", "all-bad"]

_Score = Annotated[
    int,
    when(
        lambda score: score in SCALE,
        "Correctness and explanation are each 0, 1, 2 or 3; choose both.",
        early=True,
    ),
]
_Seconds = Annotated[
    float | None,
    when(
        lambda seconds: seconds is None or 0 <= seconds < 1e7,
        "The time on task is no time; leave it out.",
    ),
]


@value
class Opinion:
    """What a person thinks of one variant's answer, as it is stored."""

    correctness: int = Field(description="0 (wrong) to 3 (right).")
    explanation: int = Field(description="0 (misleading) to 3 (sound and complete).")
    agrees: bool | None = Field(
        default=None,
        description="With the flags on this answer; empty where there are none or nothing was "
        "said.",
    )
    corrected_answer: str = Field(default="", description="What would have been right.")
    corrected_explanation: str = Field(default="", description="And why.")
    comment: str = Field(default="", description="Free text.")
    seconds: float | None = Field(
        default=None,
        description="Time on task in seconds, as the page measured it; empty where unknown.",
    )


@value
class Judgement(Opinion):
    """An opinion as a person gives it: on the scale, with texts that are not too long."""

    correctness: _Score = Field(description="0 (wrong) to 3 (right).")
    explanation: _Score = Field(description="0 (misleading) to 3 (sound and complete).")
    corrected_answer: Annotated[str, text_of(COMMENT_LIMIT, "The corrected answer")] = Field(
        default="", description="What would have been right."
    )
    corrected_explanation: Annotated[str, text_of(TEXT_LIMIT, "The corrected explanation")] = Field(
        default="", description="And why."
    )
    comment: Annotated[str, text_of(COMMENT_LIMIT, "The comment")] = Field(
        default="", description="Free text."
    )
    seconds: _Seconds = Field(
        default=None,
        description="Time on task in seconds, as the page measured it; empty where unknown.",
    )


class Verdict(Record):
    """A stored judgement. Verdicts are never changed or removed."""

    id: int = Field(description="Counts up in the order of storing.")
    key: str = Field(description="32 hex digits; the same key sent again stores nothing.")
    case_id: str = Field(description="The case, 32 hex digits.")
    arm: str = Field(description="Whose answer.")
    study_id: str | None = Field(
        description="Of the study or audit it was given in; empty for the queue of flags."
    )
    role: Literal["reader", "adjudicator"] = Field(description="As whom it was given.")
    judgement: Opinion = Field(description="What was said.")
    created: Time = Field(description="When it was stored, UTC.")
    reader: str = Field(description="Who.")
    replaces: str | None = Field(description="Key of the verdict that this one corrects.")


class Settled(Record):
    """What two agreeing readers or an adjudicator have decided about one variant's answer."""

    case_id: str = Field(description="The case, 32 hex digits.")
    arm: str = Field(description="Whose answer.")
    study_id: str | None = Field(description="Of the audit; empty for the queue of flags.")
    adjudicated: bool = Field(description="Whether an adjudicator decided.")
    correctness: int = Field(description="0 (wrong) to 3 (right).")
    explanation: int = Field(description="0 (misleading) to 3 (sound and complete).")
    corrected_answer: str = Field(description="What would have been right.")
    corrected_explanation: str = Field(description="And why.")


class Vote(Record):
    """Which variant answered best, as one reader sees it."""

    id: int = Field(description="Counts up in the order of storing.")
    key: str = Field(description="32 hex digits; the same key sent again stores nothing.")
    case_id: str = Field(
        description="The case; its `shown_order` says what was compared, its `blind` how."
    )
    outcome: Outcome = Field(description="better, tie, all-good or all-bad.")
    preferred: str | None = Field(description="The better variant.")
    reason: str = Field(description="Free text.")
    own_answer: str = Field(description="What the reader answered before the columns were shown.")
    created: Time = Field(description="When it was stored, UTC.")
    reader: str | None = Field(description="Who; empty where nobody was named.")
    replaces: str | None = Field(description="Key of the vote that this one corrects.")


class Dismissal(Record):
    """That a flag is set aside without a verdict, or no longer is."""

    id: int = Field(description="Counts up in the order of storing.")
    key: str = Field(description="32 hex digits; the same key sent again stores nothing.")
    case_id: str = Field(description="The case, 32 hex digits.")
    flag_key: str = Field(description="Key of the flag.")
    given: bool = Field(description="False where the dismissal is taken back.")
    reason: str = Field(description="Why, as typed; names no patient.")
    created: Time = Field(description="When it was stored, UTC.")
    reader: str | None = Field(description="Who; empty where nobody was named.")
    replaces: str | None = Field(description="Key of the earlier one of this flag.")


class AuditEntry(Record):
    """One access by a named person."""

    id: int = Field(description="Counts up in the order of storing.")
    created: Time = Field(description="When, UTC.")
    person: str = Field(description="Who.")
    action: str = Field(description="read, list, write, export, import or delete.")
    what: str = Field(
        description="case, flag, dismissal, vote, verdict, assignment, study, response, enrolment, "
        "withdrawal, measurement or report."
    )
    case_id: str | None = Field(
        description="Which case, also where it has been deleted since; empty for a whole study."
    )


class Tombstone(Record):
    """That a case was deleted for good."""

    case_id: str = Field(description="Which.")
    created: Time = Field(description="When it was deleted, UTC.")
    person: str | None = Field(description="Who deleted it.")
    reason: str = Field(description="As given; names no patient.")
