"""What is kept of a study: tasks, first reads, responses, and what a reader may see of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from rarl.records import CaseSnapshot, Picture, Region
from rarl.review.conditions import Condition
from rarl.review.wrong_advice import Advice, Source

Experience = Literal["student", "trainee", "specialist", "other"]
EXPERIENCES: tuple[Experience, ...] = get_args(Experience)


@dataclass(frozen=True, slots=True)
class Study:
    """An audit or a reader study.

    Attributes:
        id: 32 hex digits.
        created: when it was drawn, UTC.
        kind: "audit" (readers judge the arms) or "study" (readers answer themselves).
        title: as readers see it.
        instructions: as readers see them.
        seed: of the draw and the order; the same seed over the same cases draws the same tasks.
        conditions: what readers are shown; empty for an audit.
        readers: who takes part.
        population: how many answers (audit) or cases (study) there were to draw from.
        deadline: UTC, or None.
        wrong_share: of the tasks with AI, how many show wrong advice on purpose; 0 for none.
        consent: what readers agree to before they begin; empty where nothing is asked.
        marks_region: whether readers may mark a place on the picture.
        by_worth: whether an audit is worked by expected value, see `rarl.review.worth`.
    """

    id: str
    created: datetime
    kind: Literal["audit", "study"]
    title: str
    instructions: str
    seed: int
    conditions: tuple[str, ...]
    readers: tuple[str, ...]
    population: int
    deadline: datetime | None
    wrong_share: float = 0.0
    consent: str = ""
    marks_region: bool = False
    by_worth: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One case for one reader.

    Attributes:
        reader: who.
        position: from 0, as this reader sees them.
        case_id: see `CaseSnapshot`.
        arm: whose answer is shown; the reader is not told.
        condition: what of it is shown.
    """

    reader: str
    position: int
    case_id: str
    arm: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class TaskView:
    """What a reader may see of a task: no arm, no model, nobody else's answer.

    Attributes:
        position: from 0.
        pictures: of the case.
        question: of the case.
        answer: the advice, or None where the condition hides it or hides it still.
        reasoning: that of the advice, or None likewise.
        step: "only"; or "first", before the advice is shown, and then "final".
        heat_map: whether a map of where the model looked is shown now.
        first: what the reader has committed, in step "final".
    """

    position: int
    pictures: tuple[Picture, ...]
    question: str
    answer: str | None
    reasoning: str | None
    step: Literal["only", "first", "final"] = "only"
    heat_map: bool = False
    first: FirstRead | None = None


@dataclass(frozen=True, slots=True)
class FirstRead:
    """What a reader committed before the advice appeared. It is never changed.

    Attributes:
        key: 32 hex digits; the same key sent again stores nothing.
        study_id: the study.
        case_id: see `CaseSnapshot`.
        reader: who.
        answer: the reader's own.
        confidence: 0 to 100, or None.
        region: marked on the picture, or None.
        seconds: time on the first step, or None.
        created: when it was stored, UTC.
    """

    key: str
    study_id: str
    case_id: str
    reader: str
    answer: str
    confidence: int | None
    region: Region | None
    seconds: float | None
    created: datetime


@dataclass(frozen=True, slots=True)
class Enrolment:
    """That a reader takes part in a study.

    Attributes:
        study_id: the study.
        reader: who.
        experience: as the reader says.
        consent_sha256: of the text that the reader agreed to; None where none was asked.
        created: when it was stored, UTC.
    """

    study_id: str
    reader: str
    experience: Experience
    consent_sha256: str | None
    created: datetime


@dataclass(frozen=True, slots=True)
class Debriefed:
    """What a reader learns of one of their tasks when the study is over for them.

    Attributes:
        position: of the task, from 0.
        question: of the case.
        picture: of the case, or None where pixels are not kept.
        condition: what was shown.
        first: the reader's answer before the advice, or None where there was one step.
        final: the reader's answer.
        advice: what was shown as the AI's answer, or None.
        wrong_on_purpose: where wrong advice came from; None where the variant's own was shown.
        reference: the settled answer, or None.
    """

    position: int
    question: str
    picture: Picture | None
    condition: Condition
    first: str | None
    final: str | None
    advice: str | None
    wrong_on_purpose: Source | None
    reference: str | None


@dataclass(frozen=True, slots=True)
class ShownAdvice:
    """What the app needs to draw a heat map of advice; nothing of it is for the reader.

    Attributes:
        case: with all its answers.
        arm: whose answer the task shows.
        wrong: the wrong advice that is shown instead, or None.
    """

    case: CaseSnapshot
    arm: str
    wrong: Advice | None


@dataclass(frozen=True, slots=True)
class StudyResponse:
    """What a reader answered in a study. Responses are never changed or removed.

    Attributes:
        id: counts up in the order of storing.
        key: 32 hex digits; the same key sent again stores nothing.
        study_id: the study.
        case_id: see `CaseSnapshot`.
        reader: who.
        answer: the reader's own.
        confidence: 0 to 100, or None.
        comment: free text.
        seconds: time on task, of the second step where there are two; or None.
        created: when it was stored, UTC.
        replaces: key of the response that this one corrects, or None.
        region: marked on the picture, or None.
    """

    id: int
    key: str
    study_id: str
    case_id: str
    reader: str
    answer: str
    confidence: int | None
    comment: str
    seconds: float | None
    created: datetime
    replaces: str | None
    region: Region | None = None
