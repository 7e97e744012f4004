"""What readers and adjudicators say, and what the store remembers of who did what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Status = Literal["new", "one-reader", "agreed", "differs", "adjudicated"]
STATUSES: tuple[Status, ...] = ("new", "one-reader", "agreed", "differs", "adjudicated")
SCALE = range(4)
"""Correctness and explanation, each 0-3: the scale of the project's own judge."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person thinks of one arm's answer.

    Attributes:
        correctness: 0 (wrong) to 3 (right).
        explanation: 0 (misleading) to 3 (sound and complete).
        agrees: with the flags on this answer; None where there are none or nothing was said.
        corrected_answer: what would have been right, or "".
        corrected_explanation: and why, or "".
        comment: free text.
        seconds: time on task, as the page measured it; None where unknown.
    """

    correctness: int
    explanation: int
    agrees: bool | None = None
    corrected_answer: str = ""
    corrected_explanation: str = ""
    comment: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A stored judgement. Verdicts are never changed or removed.

    Attributes:
        id: counts up in the order of storing.
        key: 32 hex digits; the same key sent again stores nothing.
        case_id: see `CaseSnapshot`.
        arm: whose answer.
        study_id: of the study or audit it was given in, or None for the queue of flags.
        role: "reader" or "adjudicator".
        judgement: what was said.
        created: when it was stored, UTC.
        reader: who.
        replaces: key of the verdict that this one corrects, or None.
    """

    id: int
    key: str
    case_id: str
    arm: str
    study_id: str | None
    role: Literal["reader", "adjudicator"]
    judgement: Judgement
    created: datetime
    reader: str
    replaces: str | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What two agreeing readers or an adjudicator have decided about one arm's answer.

    Attributes:
        case_id: see `CaseSnapshot`.
        arm: whose answer.
        study_id: see `Verdict`.
        adjudicated: whether an adjudicator decided.
        correctness: 0-3.
        explanation: 0-3.
        corrected_answer: what would have been right, or "".
        corrected_explanation: and why, or "".
    """

    case_id: str
    arm: str
    study_id: str | None
    adjudicated: bool
    correctness: int
    explanation: int
    corrected_answer: str
    corrected_explanation: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One access by a named person.

    Attributes:
        id: counts up in the order of storing.
        created: when, UTC.
        person: who.
        action: "read", "list", "write", "export", "import" or "delete".
        what: "case", "flag", "vote", "verdict", "assignment", "study" or "response".
        case_id: which case, also where it has been deleted since; None for a whole study.
    """

    id: int
    created: datetime
    person: str
    action: str
    what: str
    case_id: str | None


@dataclass(frozen=True, slots=True)
class Tombstone:
    """That a case was deleted for good.

    Attributes:
        case_id: which.
        created: when it was deleted, UTC.
        person: who deleted it, or None.
        reason: as given; names no patient.
    """

    case_id: str
    created: datetime
    person: str | None
    reason: str
