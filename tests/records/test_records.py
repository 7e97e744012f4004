"""Records are frozen, described, and explain what they cannot take."""

from __future__ import annotations

import dataclasses
import inspect
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

import rarl.records
from rarl.errors import ReviewError
from rarl.records import (
    ArmAnswer,
    CaseSnapshot,
    Decoding,
    Flag,
    FlagContent,
    FlagDraft,
    Judgement,
    Picture,
    Region,
    Shown,
    Verdict,
    checked,
)
from rarl.review._tables import AnswerRow, CaseRow, FlagRow, PictureRow

OLD = Path(__file__).parents[1] / "review" / "written_by_9e21158"
RECORDS = [
    record
    for _, record in sorted(vars(rarl.records).items())
    if inspect.isclass(record) and hasattr(record, "__pydantic_validator__")
]
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
PNG = b"\x89PNG\xff\xfe"


def fields_of(record: Any) -> dict[str, Any]:
    if issubclass(record, BaseModel):
        return dict(record.model_fields)
    return dict(record.__pydantic_fields__)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_is_described_and_none_is_taken_besides(record: Any) -> None:
    assert record.__doc__
    for name, field in fields_of(record).items():
        assert field.description and field.description.endswith("."), name
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(record).validate_python({"nonsense": 1})
    kinds = {fault["type"] for fault in refused.value.errors()}
    assert kinds & {"extra_forbidden", "unexpected_keyword_argument"}


def flag() -> Flag:
    return Flag(
        case_id="c" * 32, arm="rl", category="style", severity="none", key="d" * 32, id=4,
        region=Region(0, (1, 2, 3, 4)), created=NOW, reader="bo", label="RL", modality=None,
        question="Is it?", answer="no",
    )  # fmt: skip


def case() -> CaseSnapshot:
    answer = ArmAnswer(
        arm="rl", label="RL", revision="a" * 12, reasoning="r", answer="no",
        problems=("no-think",), text="t", tokens=3, seconds=0.5,
    )  # fmt: skip
    picture = Picture(
        png=PNG, sha256="0" * 64, width=3, height=2,
        shown=Shown("axial", 3, window=(40.0, 400.5), masks=((0, 0, 5, 5),)),
    )  # fmt: skip
    return CaseSnapshot(
        id="c" * 32, created=NOW, app_version="1", pictures=(picture,), modality="CT",
        attributes={"ViewPosition": "PA"}, question="Is it?", mode="reason", model="m",
        prompt_hash="f" * 64, decoding=Decoding(64, 0.7, 0.9, 5), shown_order=("rl",),
        answers=(answer,),
    )  # fmt: skip


def test_nothing_changes_once_it_is_made() -> None:
    with pytest.raises(ValidationError):
        flag().comment = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Region(0, (1, 2, 3, 4)).picture = 1  # type: ignore[misc]


def test_json_and_back_is_the_same_thing() -> None:
    for thing in (flag(), case()):
        plain = json.loads(json.dumps(thing.plain()))
        assert type(thing).model_validate(plain) == thing
    plain = case().plain()
    assert plain["created"] == "2026-03-01T12:30:00+00:00"
    assert plain["pictures"][0]["png"] == "iVBOR//+"  # the usual alphabet of base64


def test_what_a_person_gives_is_cleaned_and_refused_with_a_sentence() -> None:
    given = {"case_id": "c" * 32, "arm": "rl", "category": "style", "severity": "none"}
    draft = FlagDraft.checked(**given, comment=" too\0 sure ", sentence="a\ud800")
    assert (draft.comment, draft.sentence, len(draft.key)) == ("too sure", "a?", 32)
    for change, sentence in (
        ({"category": ""}, "Choose what is wrong with the answer."),
        ({"severity": None}, "Choose how much it would matter."),
        ({"comment": "x" * 4001}, "The comment has 4001 characters; shorten it to 4000."),
        ({"key": "mine"}, "A key has 32 hex digits; make a new one and send it again."),
        ({"region": {"picture": 0, "box": [1]}}, "The field region.box.1 is not usable: field "
                                                  "required."),
        ({"arm": 3}, "The field arm is not usable: input should be a valid string."),
        ({"grade": 3}, "The field grade is not usable: extra inputs are not permitted."),
    ):  # fmt: skip
        with pytest.raises(ReviewError) as refused:
            FlagDraft.checked(**{**given, **change})
        assert str(refused.value) == sentence
    with pytest.raises(ReviewError, match="each 0, 1, 2 or 3"):
        checked(Judgement, correctness=3, explanation=None)


def test_what_is_stored_is_read_whatever_it_says() -> None:
    """An import may hold what a person could not send now."""
    stored = flag().model_copy(update={"comment": " x" * 4000, "key": "old"})
    assert Flag.model_validate(stored.plain()).comment == " x" * 4000
    Verdict.model_validate(
        {
            "id": 1, "key": "k", "case_id": "c", "arm": "rl", "study_id": None, "role": "reader",
            "judgement": {"correctness": 9, "explanation": 0}, "created": NOW.isoformat(),
            "reader": "bo", "replaces": None,
        }
    )  # fmt: skip


def test_a_row_of_another_version_is_read_without_what_is_unknown() -> None:
    assert Shown.of_row({}) == Shown()
    assert Shown.of_row({"plane": "axial", "zoom": 2, "masks": [[0, 0, 5, 5]]}).masks == (
        (0, 0, 5, 5),
    )
    assert Decoding.of_row({"seed": 7, "beams": 4}) == Decoding(seed=7)


def test_a_flag_kept_in_a_browser_by_an_earlier_version_is_read() -> None:
    kept = json.loads((OLD / "kept_in_a_browser.json").read_text("utf-8"))
    draft = FlagDraft.model_validate(kept)
    assert (draft.comment, draft.region) == ("too sure", Region(0, (1, 2, 3, 4)))
    assert set(kept) == set(FlagDraft.model_fields) == set(FlagContent.model_fields)


@pytest.mark.parametrize(
    ("table", "record", "other"),
    [
        (FlagRow, Flag, {"label", "modality", "question", "answer"}),
        # Measurements are kept with what was shown.
        (CaseRow, CaseSnapshot, {"pictures", "answers", "measurements"}),
        (PictureRow, Picture, set()),
        (AnswerRow, ArmAnswer, set()),
    ],
    ids=["flags", "cases", "pictures", "answers"],
)
def test_a_table_has_a_column_for_each_field(table: Any, record: Any, other: set[str]) -> None:
    columns = {column.key for column in table.__table__.columns}
    placed = {"case_id", "position"} if record in (Picture, ArmAnswer) else set()
    assert columns - placed == set(record.model_fields) - other
