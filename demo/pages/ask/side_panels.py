"""The side panels: what the model sees, reliability and provenance."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image

from demo.pages.ask.reliability import CONDITION_LABELS, Reliance, Rewindowed, reliance_sentence
from demo.pages.render import label_of, picture_url
from demo.services.asking import same_answer_key
from demo.templating import render_template
from rarl.evaluation.image_ablations import ALTERED
from rarl.inference.engine import Seen
from rarl.inference.self_consistency import Sampled

# What fits beside the page, CSS pixels.
_PICTURE_SIDE = 440


def drawer(title: str, body: str, trouble: str = "") -> str:
    """The frame of all of them.

    Args:
        title: what it is.
        body: HTML.
        trouble: a sentence on what went wrong, or "".
    """
    return render_template("ask/drawer.html", title=title, body=body, trouble=trouble)


def working(title: str, sentence: str) -> str:
    """A drawer whose contents are still to come."""
    return drawer(title, render_template("ask/working.html", sentence=sentence))


def inside(pictures: Sequence[tuple[str, Seen]], trouble: str = "") -> str:
    """What the model gets: every picture at its own pixels, and the number of its tokens."""
    shown = []
    for name, seen in pictures:
        width, height = seen.image.size
        shown.append(
            {
                "name": name,
                "address": picture_url(seen.image),
                "width": width,
                "height": height,
                "tokens": seen.tokens,
                # Whole multiples keep the pixels what they are.
                "times": max(1, _PICTURE_SIDE // width),
            }
        )
    body = render_template("ask/seen.html", pictures=shown)
    return drawer("What the model sees", body, trouble)


RELIANCE_TITLE = "Did the answer need this image?"


def reliance(checked: Reliance, labels: Mapping[str, str]) -> str:
    """The answers about the scan and its stand-ins, and what follows from them."""
    shown_answers = {answer.arm: answer.response.answer for answer in checked.answers["scan"]}
    rows = []
    for condition in ("scan", *ALTERED):
        title = CONDITION_LABELS[condition]
        if condition == "swapped":
            title += f" ({checked.other})"
        answers = {answer.arm: answer.response.answer for answer in checked.answers[condition]}
        rows.append((title, _cells(answers, {} if condition == "scan" else shown_answers)))
    body = render_template(
        "ask/reliance.html",
        finding=reliance_sentence(checked, labels),
        names=_names((answer.arm for answer in checked.asked.answers), labels),
        rows=rows,
    )
    return drawer(RELIANCE_TITLE, body)


AGAIN_TITLE = "Does the answer hold?"


def again(
    drawn: Sequence[Sampled],
    given: Mapping[str, str],
    labels: Mapping[str, str],
    waiting: bool,
    tried: Sequence[Rewindowed] | None = None,
) -> str:
    """How often each arm says what, when asked several times.

    Args:
        drawn: one for each arm that has been asked.
        given: arm to the answer on the page.
        labels: arm to what the page calls it.
        waiting: whether more is still to come.
        tried: the answers under other windows; None where these were not asked for yet.
    """
    variants = [
        {
            "name": labels.get(sampled.arm, label_of(sampled.arm)),
            "share": sampled.consistency(given[sampled.arm]),
            "samples": len(sampled.answers),
            "groups": sampled.groups,
        }
        for sampled in drawn
    ]
    windows = None
    if tried is not None:
        windows = [
            (
                window.words.capitalize(),
                _cells({answer.arm: answer.response.answer for answer in window.answers}, given),
            )
            for window in tried
        ]
    body = render_template(
        "ask/again.html",
        variants=variants,
        temperature=drawn[0].temperature if drawn else 0.0,
        names=_names(given, labels),
        windows=windows,
        waiting=waiting,
    )
    return drawer(AGAIN_TITLE, body)


def _names(arms: Iterable[str], labels: Mapping[str, str]) -> list[str]:
    return [labels.get(arm, label_of(arm)) for arm in arms]


def _cells(answers: Mapping[str, str], usual: Mapping[str, str]) -> list[tuple[str, bool]]:
    """Answers, each with whether it says the same as the variant's usual one."""
    return [
        (answer, arm in usual and same_answer_key(answer) == same_answer_key(usual[arm]))
        for arm, answer in answers.items()
    ]


LOOKED_TITLE = "Where the answer looked"


def looked(
    lit: Sequence[tuple[str, Sequence[Image.Image]]], labels: Mapping[str, str], waiting: bool
) -> str:
    """The pictures with what moved the answers lit.

    Args:
        lit: arm, and its pictures.
        labels: arm to what the page calls it.
        waiting: whether other arms are still to come.
    """
    shown = [
        (labels.get(arm, label_of(arm)), picture_url(picture))
        for arm, pictures in lit
        for picture in pictures
    ]
    body = render_template("ask/looked.html", pictures=shown, waiting=waiting)
    return drawer(LOOKED_TITLE, body)


SHEET_TITLE = "This case on one page"


def sheet(pdf: bytes, number: int) -> str:
    """The PDF, inside its own address so that no file of it is left anywhere."""
    address = "data:application/pdf;base64," + base64.b64encode(pdf).decode()
    return drawer(SHEET_TITLE, render_template("ask/sheet.html", address=address, number=number))
