"""A report on a case: sections of sentences, each with who wrote it, and what was measured."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rarl.records._base import Record, Time, text_of
from rarl.records.flag import Key, new_key

SENTENCE_LIMIT = 2000
"""Longest sentence of a report, in characters."""
TITLE_LIMIT = 120
"""Longest title of a report or section, in characters."""

Origin = Literal["ai", "header", "reader"]
State = Literal["proposed", "kept", "edited", "deleted"]
Heading = Literal["history", "technique", "comparison", "findings", "impression"]
Kind = Literal["ruler", "angle", "rectangle", "ellipse"]
Quantity = Literal["length", "angle", "area", "mean", "sd", "minimum", "maximum"]
Unit = Literal["mm", "px", "deg", "mm2", "px2", "HU", "stored"]
Where = Literal["patient", "detector", "unknown"]
Point = tuple[float, float]
"""Column and row in pixels of the stored picture; 0, 0 is the upper left corner of its first
pixel."""

_POINTS: dict[str, int] = {"ruler": 2, "angle": 3, "rectangle": 2, "ellipse": 2}
_UNITS: dict[str, frozenset[str]] = {
    "length": frozenset({"mm", "px"}),
    "angle": frozenset({"deg"}),
    "area": frozenset({"mm2", "px2"}),
    **dict.fromkeys(("mean", "sd", "minimum", "maximum"), frozenset({"HU", "stored"})),
}

SentenceText = Annotated[str, text_of(SENTENCE_LIMIT, "The sentence")]
Title = Annotated[str, text_of(TITLE_LIMIT, "The title")]


class MeasuredValue(Record):
    """One number of a measurement."""

    quantity: Quantity = Field(description="What it is.")
    value: float = Field(allow_inf_nan=False, description="The number, in `unit`.")
    unit: Unit = Field(
        description="Millimetres and square millimetres where the spacing is known, pixels (px, "
        "px2) otherwise; degrees; HU where the file gives them, else the stored values."
    )

    @model_validator(mode="after")
    def _has_a_unit_of_its_kind(self) -> Self:
        if self.unit not in _UNITS[self.quantity]:
            raise ValueError(f"{self.quantity} is not measured in {self.unit}; give its own unit.")
        return self


class Measurement(Record):
    """What a person has drawn on a picture, and what was computed from it."""

    key: Key = Field(default_factory=new_key, description="32 hex digits.")
    kind: Kind = Field(description="ruler, angle, rectangle or ellipse.")
    points: tuple[Point, ...] = Field(
        description="Column and row in pixels of the stored picture, from its upper left corner: "
        "both ends of a ruler; end, corner and end of an angle; two opposite corners of a "
        "rectangle, or of the box around an ellipse."
    )
    series: int = Field(default=0, ge=0, description="Of the opened files, from 0.")
    plane: Literal["acquired", "axial", "coronal", "sagittal"] = Field(
        default="acquired", description="The plane that the points lie in."
    )
    slice: int = Field(default=0, ge=0, description="Index within the plane, from 0.")
    frame: int = Field(
        default=0, ge=0, description="Index of the time point of a 4-D volume or a cine, from 0."
    )
    values: tuple[MeasuredValue, ...] = Field(min_length=1, description="What was computed.")
    at: Where = Field(
        default="unknown",
        description="Whether lengths and areas are those in the patient or at the detector; "
        "unknown where the file does not say, or where they are in pixels.",
    )
    label: Title = Field(default="", description="What was measured, as typed; may be empty.")
    notes: tuple[Annotated[str, text_of(TITLE_LIMIT * 3, "The note")], ...] = Field(
        default=(), max_length=10, description="Sentences on what limits these numbers."
    )
    size: tuple[int, int] | None = Field(
        default=None, description="Rows and columns of the stored picture."
    )
    number: int | None = Field(
        default=None,
        ge=0,
        description="Of the frame in its DICOM file, from 1; 0 for the only one. Empty where the "
        "picture was computed from several, or cut out of one.",
    )

    @model_validator(mode="after")
    def _has_its_points(self) -> Self:
        if len(self.points) != _POINTS[self.kind]:
            raise ValueError(f"A measurement of kind {self.kind} has {_POINTS[self.kind]} points.")
        return self


class Sentence(Record):
    """One sentence of a report."""

    key: Key = Field(default_factory=new_key, description="32 hex digits.")
    origin: Origin = Field(
        description="ai: the model wrote it; header: made of what the file says; reader: typed."
    )
    state: State = Field(
        description="proposed until a reader keeps, edits or deletes it; a reader's own is kept."
    )
    text: SentenceText = Field(description="As it stands now; the last text of a deleted one.")
    proposed: SentenceText = Field(
        default="", description="As the model wrote it, never changed; empty for a reader's own."
    )
    measurement: str | None = Field(
        default=None, description="Key of the measurement that it states."
    )

    @model_validator(mode="after")
    def _says_where_it_comes_from(self) -> Self:
        if self.origin == "reader":
            if self.proposed or self.state not in ("kept", "deleted"):
                raise ValueError("A reader's own sentence proposes nothing: it is kept or deleted.")
        elif not self.proposed:
            raise ValueError("A proposed sentence keeps the text that was proposed.")
        elif self.state in ("proposed", "kept") and self.text != self.proposed:
            raise ValueError("A sentence with another text than the proposed one is edited.")
        if self.state != "deleted" and not self.text:
            raise ValueError("A sentence has a text; type it, or delete the sentence.")
        return self


class Section(Record):
    """A part of a report under one title."""

    key: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")] = Field(
        description="Its name in the template."
    )
    title: Title = Field(min_length=1, description="As shown.")
    heading: Heading = Field(
        description="Which part of a report it belongs to: decides the codes of exports."
    )
    sentences: tuple[Sentence, ...] = Field(
        default=(), max_length=200, description="In order, deleted ones included."
    )

    def standing(self) -> tuple[Sentence, ...]:
        """The sentences that are not deleted."""
        return tuple(sentence for sentence in self.sentences if sentence.state != "deleted")


class ReportContent(Record):
    """What a report says."""

    template: str = Field(max_length=80, description="Name of the template it was begun from.")
    title: Title = Field(min_length=1, description="As shown.")
    arm: str = Field(max_length=80, description="The variant whose answer prefilled it.")
    label: str = Field(max_length=200, description="What the interface calls that variant.")
    revision: str = Field(max_length=80, description="Twelve hex digits of its weights.")
    sections: tuple[Section, ...] = Field(
        min_length=1, max_length=40, description="In the order of the template."
    )
    measurements: tuple[Measurement, ...] = Field(
        default=(), max_length=200, description="Taken on the pictures of the case, stated or not."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        keys = [section.key for section in self.sections]
        keys += [sentence.key for section in self.sections for sentence in section.sentences]
        measured = [measurement.key for measurement in self.measurements]
        if len(set(keys)) < len(keys) or len(set(measured)) < len(measured):
            raise ValueError("Two parts of the report have one key; give each its own.")
        for sentence in self.sentences():
            if sentence.measurement is not None and sentence.measurement not in measured:
                raise ValueError("A sentence states a measurement that the report does not hold.")
        return self

    def sentences(self) -> tuple[Sentence, ...]:
        """All sentences, deleted ones included, in order."""
        return tuple(sentence for section in self.sections for sentence in section.sentences)

    def stated(self) -> tuple[Measurement, ...]:
        """The measurements that a sentence states which is not deleted: only these are sent."""
        keys = {one.measurement for one in self.sentences() if one.state != "deleted"}
        return tuple(one for one in self.measurements if one.key in keys)

    def undecided(self) -> tuple[Sentence, ...]:
        """Those that nobody has kept, edited or deleted."""
        return tuple(sentence for sentence in self.sentences() if sentence.state == "proposed")


class Report(ReportContent):
    """A stored version of a report; versions are only ever added."""

    id: Key = Field(description="32 hex digits, the same for all versions.")
    case_id: Key = Field(description="The case, 32 hex digits.")
    version: int = Field(ge=1, description="From 1; what is saved names the version it changes.")
    created: Time = Field(description="When this version was stored, UTC.")
    reader: str | None = Field(description="Who stored it; empty where nobody was named.")
    signed: bool = Field(
        default=False,
        description="Whether this version signs the report: `reader` and `created` say who and "
        "when. A signed report is never changed.",
    )
    amends: str | None = Field(
        default=None, description="Id of the signed report that this one corrects."
    )

    def content(self) -> ReportContent:
        """What it says, without who stored it and when."""
        names = ReportContent.model_fields
        return ReportContent(**{name: getattr(self, name) for name in names})
