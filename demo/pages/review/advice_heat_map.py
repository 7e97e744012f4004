"""The heat map of advice that a study shows."""

from __future__ import annotations

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
    from rarl.review.studies.records import ShownAdvice


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
