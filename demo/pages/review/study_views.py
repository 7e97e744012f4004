"""What a study shows: consent, debriefing, reliance on advice, heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from PIL import Image

from demo.pages import render
from demo.pages.ask.reliability import lit
from demo.services.engine_loader import EngineLoader
from rarl.errors import QuestionError, ReviewError
from rarl.inference.engine import Answer, Engine, Looks, NamedImage, Question
from rarl.prompts import target_text
from rarl.response import parse_response

if TYPE_CHECKING:
    from rarl.review.reliance import Reliance
    from rarl.review.studies import Study
    from rarl.review.study_tasks import Debriefed, ShownAdvice
    from rarl.stats.two_way import Estimate

EXPERIENCE = (
    ("Student", "student"),
    ("In training", "trainee"),
    ("Specialist", "specialist"),
    ("Other", "other"),
)
_TWO_STEPS = Markup(
    "<p>In some cases you answer first, then see the AI’s answer and may change yours.</p>"
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
    steps = (
        _TWO_STEPS
        if any(condition.startswith("read-first/") for condition in study.conditions)
        else Markup("")
    )
    consent = (
        Markup('<div class="consent">{}</div>').format(study.consent)
        if study.consent
        else Markup("")
    )
    return Markup('<h2>{}</h2><p class="instructions">{}</p>{}{}').format(
        study.title, study.instructions, steps, consent
    )


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
        words = (
            f"Of {len(advised)} answers of the AI that you saw, {len(wrong)} were wrong on "
            f"purpose. You took over {taken} of them."
        )
    else:
        words = "No answer that you saw was wrong on purpose."
    rows = Markup().join(_debriefed(task) for task in tasks)
    table = Markup(
        '<table class="outcomes debriefed"><thead><tr><th>Case</th><th>You first</th><th>AI</th>'
        "<th>You at last</th><th>Settled answer</th></tr></thead><tbody>{}</tbody></table>"
    ).format(rows)
    settled = (
        ""
        if len(known) == len(tasks)
        else "Where no settled answer stands, nobody has settled the case yet."
    )
    return Markup(
        '<section class="debriefing"><h3>What “{}” showed you</h3><p>{}</p>{}<p class="hint">{} '
        "Wrong advice was made for this study alone: it is no variant’s answer.</p></section>"
    ).format(study.title, words, table, settled)


def _debriefed(task: Debriefed) -> str:
    picture = ""
    if task.picture is not None and task.picture.png is not None:
        url = render.picture_url(task.picture.image(), side=160)
        picture = Markup('<img src="{}" alt="">').format(url)
    mark = ""
    if task.wrong_on_purpose is not None:
        mark = Markup('<small class="wrong-on-purpose">wrong on purpose: {}</small>').format(
            _SOURCES[task.wrong_on_purpose]
        )
    dash = Markup("&ndash;")
    return Markup(
        "<tr{}><th scope=row>{}<span>{}</span></th><td>{}</td><td>{}{}</td><td>{}</td><td>{}</td>"
        "</tr>"
    ).format(
        Markup(' class="seeded"') if task.wrong_on_purpose else "",
        picture,
        task.question,
        task.first or dash,
        task.advice or dash,
        mark,
        task.final or dash,
        task.reference or dash,
    )


def _same(one: str | None, other: str | None) -> bool:
    from rarl.review.reader_metrics import agreement_with  # which loads scipy

    return bool(one and other) and agreement_with(one or "", other or "") == 1


def reliance_view(groups: Sequence[Reliance]) -> str:
    """How readers relied on the advice: all of them, and by experience side by side.

    Args:
        groups: all readers first.
    """
    from rarl.review.reliance import WORDS

    if not groups:
        return Markup(
            '<p class="hint">How readers rely on the AI is shown once cases of the study are '
            "settled.</p>"
        )
    names = {key: name for name, key in EXPERIENCE}
    head = Markup().join(
        Markup('<th scope="col">{}</th>').format(names.get(one.group, "All readers"))
        for one in groups
    )
    body = Markup()
    for key, (name, meaning) in WORDS.items():
        estimates = [estimate.figures.get(key) for estimate in groups]
        if any(estimate is not None for estimate in estimates):
            unit = "points" if key in _IN_POINTS else "%"
            cells = Markup().join(
                Markup("<td>{}</td>").format(_estimate(estimate, unit)) for estimate in estimates
            )
            body += Markup('<tr><th scope="row">{}<small>{}</small></th>{}</tr>').format(
                name, meaning, cells
            )
    return Markup(
        '<h3>How readers rely on the AI</h3><p class="hint">95 % intervals are over readers and '
        "cases: they say what to expect of other readers on other cases. Only cases with a settled "
        'answer count.</p><table class="outcomes reliance"><thead><tr><th></th>{}</tr></thead>'
        "<tbody>{}</tbody></table>"
    ).format(head, body)


def _estimate(estimate: Estimate | None, unit: str) -> str:
    if estimate is None:
        return Markup("&ndash;")
    between = f"{estimate.n} answers"
    if estimate.low is not None and estimate.high is not None:
        between = f"{100 * estimate.low:.0f} to {100 * estimate.high:.0f}, {estimate.n} answers"
    words = (f"{100 * estimate.value:.0f} {unit}", between)
    return Markup("<b>{}</b><small>{}</small>").format(*(one.replace("-", "−") for one in words))


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
        return Markup('<p class="hint">No heat map: the model here cannot draw one.</p>')
    case = shown.case
    if any(picture.png is None for picture in case.pictures):
        return Markup('<p class="hint">No heat map: the pictures of this case are not kept.</p>')
    stored = next(one for one in case.answers if one.arm == shown.arm)
    text = stored.text
    if shown.wrong is not None:
        text = target_text(shown.wrong.answer, shown.wrong.reasoning, "reason")
    images = tuple(NamedImage(one.image(), one.name) for one in case.pictures)
    question = Question(images, case.question, (shown.arm,), decoding=case.decoding)
    answer = Answer(shown.arm, parse_response(text), stored.tokens, 0.0, done=True)
    try:
        maps = engine.looked(question, answer)
    except QuestionError as error:
        return Markup('<p class="hint">No heat map: {}</p>').format(str(error))
    most = max((float(np.max(one)) for one in maps), default=0.0)
    lit_pictures = [
        lit(named.image, weights, most) for named, weights in zip(images, maps, strict=True)
    ]
    head = Markup('<h4 class="eyebrow">Where the model looked</h4>')
    pictures_html = Markup().join(_lit(one) for one in lit_pictures)
    return head + Markup('<div class="stages">{}</div>').format(pictures_html)


def _lit(picture: Image.Image) -> str:
    return Markup('<img class="heat-map" src="{}" alt="Heat map of the AI’s answer">').format(
        render.picture_url(picture)
    )
