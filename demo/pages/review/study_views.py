"""What a study shows: consent, debriefing, reliance on advice, heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from demo.pages import render
from demo.pages.ask.reliability import lit
from demo.services.engine_loader import EngineLoader
from demo.templating import render_template
from rarl.errors import QuestionError, ReviewError
from rarl.inference.engine import Answer, Engine, Looks, NamedImage, Question
from rarl.prompts import target_text
from rarl.response import parse_response

if TYPE_CHECKING:
    from rarl.review.reliance import Reliance
    from rarl.review.studies import Study
    from rarl.review.studies.records import Debriefed, ShownAdvice
    from rarl.stats.two_way import Estimate

EXPERIENCE = (
    ("Student", "student"),
    ("In training", "trainee"),
    ("Specialist", "specialist"),
    ("Other", "other"),
)
# Differences of shares.
_IN_POINTS = {"gain", "automation_bias", "lost_to_wrong_advice", "anchoring"}
_SOURCES = {
    "variant": "another variant’s answer",
    "sample": "an answer sampled from a model",
    "flip": "the settled answer turned round",
}


def joining(study: Study) -> str:
    """What a reader is asked before the first case."""
    in_two_steps = any(condition.startswith("read-first/") for condition in study.conditions)
    return render_template("review/study_joining.html", study=study, in_two_steps=in_two_steps)


def debriefing(study: Study, tasks: Sequence[Debriefed]) -> str:
    """Which advice was wrong on purpose, and what this reader made of it.

    Args:
        study: that the reader has done.
        tasks: of the reader.
    """
    advised = [task for task in tasks if task.advice is not None]
    wrong = [task for task in advised if task.wrong_on_purpose is not None]
    known = [task for task in tasks if task.reference is not None]
    if wrong:
        taken = sum(_same(task.final, task.advice) for task in wrong)
        sentence = (
            f"Of {len(advised)} answers of the AI that you saw, {len(wrong)} were wrong on "
            f"purpose. You took over {taken} of them."
        )
    else:
        sentence = "No answer that you saw was wrong on purpose."
    return render_template(
        "review/study_debriefing.html",
        title=study.title,
        sentence=sentence,
        tasks=[_debriefed(task) for task in tasks],
        unsettled=len(known) < len(tasks),
    )


def _debriefed(task: Debriefed) -> dict[str, str | None]:
    """What the table shows of a task."""
    picture = None
    if task.picture is not None and task.picture.png is not None:
        picture = render.picture_url(task.picture.image(), side=160)
    wrong = task.wrong_on_purpose
    return {
        "picture": picture,
        "question": task.question,
        "first": task.first,
        "advice": task.advice,
        "wrong_on_purpose": None if wrong is None else _SOURCES[wrong],
        "final": task.final,
        "reference": task.reference,
    }


def _same(one: str | None, other: str | None) -> bool:
    from rarl.review.reader_metrics import agreement_with  # which loads scipy

    return bool(one and other) and agreement_with(one or "", other or "") == 1


def reliance_view(groups: Sequence[Reliance]) -> str:
    """How readers relied on the advice: all of them, and by experience side by side.

    Args:
        groups: all readers first.
    """
    from rarl.review.reliance import WORDS

    names = {key: name for name, key in EXPERIENCE}
    figures = []
    for key, (name, meaning) in WORDS.items():
        estimates = [group.figures.get(key) for group in groups]
        if any(estimate is not None for estimate in estimates):
            unit = "points" if key in _IN_POINTS else "%"
            cells = [_estimate(estimate, unit) for estimate in estimates]
            figures.append((name, meaning, cells))
    return render_template(
        "review/study_reliance.html",
        groups=[names.get(group.group, "All readers") for group in groups],
        figures=figures,
    )


def _estimate(estimate: Estimate | None, unit: str) -> tuple[str, str] | None:
    """A figure, and its interval with the number of answers; None where it is unknown."""
    if estimate is None:
        return None
    between = f"{estimate.n} answers"
    if estimate.low is not None and estimate.high is not None:
        between = f"{100 * estimate.low:.0f} to {100 * estimate.high:.0f}, {estimate.n} answers"
    value = f"{100 * estimate.value:.0f} {unit}"
    return value.replace("-", "−"), between.replace("-", "−")


def loaded_engine(loader: EngineLoader, seconds: float = 60.0) -> Engine:
    """The engine that draws heat maps.

    Without the map a reader would see another condition than the study counts.

    Args:
        loader: the engine, or on its way.
        seconds: how long to wait for it.

    Raises:
        ReviewError: it is still loading after that time.
        ModelError: loading failed.
    """
    engine = loader.wait(seconds)
    if engine is None:
        raise ReviewError(
            "The model that draws the heat map of this case is still loading; leave the study and "
            "go on in a minute."
        )
    return engine


def heat_map(engine: Engine, shown: ShownAdvice) -> Markup:
    """The pictures of a task with what moved the shown answer lit, or why there is none."""
    if not isinstance(engine, Looks):
        return _no_heat_map("the model here cannot draw one.")
    case = shown.case
    if any(picture.png is None for picture in case.pictures):
        return _no_heat_map("the pictures of this case are not kept.")
    stored = next(answer for answer in case.answers if answer.arm == shown.arm)
    text = stored.text
    if shown.wrong is not None:
        text = target_text(shown.wrong.answer, shown.wrong.reasoning, "reason")
    images = tuple(NamedImage(picture.image(), picture.name) for picture in case.pictures)
    question = Question(images, case.question, (shown.arm,), decoding=case.decoding)
    answer = Answer(shown.arm, parse_response(text), stored.tokens, 0.0, done=True)
    try:
        maps = engine.looked(question, answer)
    except QuestionError as error:
        return _no_heat_map(str(error))
    most = max((float(np.max(weights)) for weights in maps), default=0.0)
    pictures = [
        render.picture_url(lit(named.image, weights, most))
        for named, weights in zip(images, maps, strict=True)
    ]
    return render_template("review/heat_map.html", pictures=pictures)


def _no_heat_map(reason: str) -> Markup:
    return render_template("hint.html", text=f"No heat map: {reason}")
