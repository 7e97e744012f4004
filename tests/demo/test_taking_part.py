"""What the studies page says of consent, debriefing and reliance, all of it escaped."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from markupsafe import Markup
from scripted import ScriptedEngine

from demo.pages.review.advice_heat_map import heat_map, loaded_engine
from demo.pages.review.reliance_html import reliance_view
from demo.pages.review.studies_html import task_view
from demo.pages.review.studies_taking import asks
from demo.pages.review.taking_part_html import debriefing, joining
from demo.services.engine_loader import EngineLoader
from rarl.errors import ReviewError
from rarl.review.reliance import Reliance
from rarl.review.studies.records import Debriefed, ShownAdvice, Study, TaskView
from rarl.stats.two_way import Estimate

EVIL = "<script>alert(1)</script>"


def study(**more: object) -> Study:
    given = {
        "id": "0" * 32, "created": datetime.now(UTC), "kind": "study", "title": EVIL,
        "instructions": EVIL, "seed": 1, "conditions": ("no-ai",), "readers": ("a",),
        "population": 3, "deadline": None, **more,
    }  # fmt: skip
    return Study(**given)  # type: ignore[arg-type]


def test_a_study_asks_before_the_first_case_only_where_there_is_something_to_say() -> None:
    assert not asks(study())
    for more in (
        {"consent": "x"},
        {"wrong_share": 0.2},
        {"conditions": ("read-first/answer-only",)},
    ):
        assert asks(study(**more))
    html = joining(study(consent=EVIL, conditions=("read-first/answer-only",)))
    assert EVIL not in html and "you answer first" in html and 'class="consent"' in html
    assert "consent" not in joining(study())


def test_the_debriefing_names_what_was_wrong_on_purpose() -> None:
    def one(position: int, wrong: bool, final: str, advice: str | None = "no") -> Debriefed:
        return Debriefed(
            position=position, question=EVIL, picture=None, condition="answer-only", first=EVIL,
            final=final, advice=advice, wrong_on_purpose="flip" if wrong else None,
            reference="yes" if wrong else None,
        )  # fmt: skip

    html = debriefing(study(), [one(0, True, "no"), one(1, True, "yes"), one(2, False, "no", None)])
    assert "Of 2 answers of the AI that you saw, 2 were wrong on purpose. You took over 1" in html
    assert html.count("wrong on purpose: the settled answer turned round") == 2
    assert EVIL not in html and "nobody has settled the case yet" in html
    assert "No answer that you saw was wrong" in debriefing(study(), [one(0, False, "no")])


def test_reliance_stands_side_by_side_for_each_group() -> None:
    figure = Estimate(0.25, 0.125, 0.5, 40, 4, 10)
    loss = Estimate(-0.1, -0.2, 0.0, 4, 2, 4)
    groups = [
        Reliance("", {"rsr": figure, "rair": None}),
        Reliance("trainee", {"rsr": Estimate(0.5, None, None, 4, 1, 4), "gain": loss}),
    ]
    html = reliance_view(groups)
    assert "All readers" in html and "In training" in html
    assert "<b>25 %</b><small>12 to 50, 40 answers</small>" in html
    assert "<b>50 %</b><small>4 answers</small>" in html and "RAIR" not in html
    assert "<b>−10 points</b><small>−20 to 0, 4 answers</small>" in html
    assert "once cases of the study are settled" in reliance_view([])


def test_a_task_may_be_marked_where_the_study_says_so() -> None:
    view = TaskView(0, (), EVIL, EVIL, None, step="final")
    html = task_view(view, Markup("<i>map</i>"), marks=True)
    assert "data-marks" in html and "Hold Shift" in html and "<i>map</i>" in html
    assert EVIL not in html and 'data-place="task-0-final"' in html
    assert "data-marks" not in task_view(view)


def test_a_heat_map_waits_for_the_model() -> None:
    loader = EngineLoader(ScriptedEngine)
    with pytest.raises(ReviewError, match="still loading"):
        loaded_engine(loader, 0)
    assert loaded_engine(loader.start()).model_name == "scripted"


def test_an_engine_that_cannot_draw_one_says_so() -> None:
    html = heat_map(ScriptedEngine(), ShownAdvice(None, "rl", None))  # type: ignore[arg-type]
    assert "the model here cannot draw one" in html
