"""Onboarding: the tour of four steps and the list of keyboard shortcuts."""

from __future__ import annotations

from collections.abc import Iterable

from demo.pages.render import picture_url
from demo.services.examples import OpenedExample
from demo.templating import render_template

# Element that is lit, heading, words. The first step comes with the example scans.
_STEPS = (
    (
        "#viewer",
        "Open a scan",
        "Drop a file or a folder, paste a picture, or start with one of these: each comes with a "
        "question. The model gets the slice, window and region that you see, and the whole "
        "picture: zoom is for your eyes alone.",
    ),
    (
        "#composer",
        "Ask",
        "Enter sends, Stop keeps what came. All variants answer at once. With Blind on, you answer "
        "first and vote before you learn which column is which.",
    ),
    (
        "#board",
        "Check every answer",
        "Each column: the answer, then its reasoning step by step. Words on which the variants "
        "disagree are marked, and so is what cannot be right. Below: did the answer need this "
        "image, does it hold when asked again, where did it look.",
    ),
    (
        "#board",
        "Flag what is wrong",
        "Flag on a column, then two clicks say why. Flags wait under Review, with everything "
        "needed to look at the case again.",
    ),
)

_KEYS = (
    ("?", "this sheet"),
    ("/", "to the question; Enter sends"),
    ("Esc", "stop the answers; close what is open"),
    ("S", "to the scan (there, ? lists the viewer’s own keys)"),
    ("A", "to the answers"),
    ("H", "earlier questions about this scan"),
    ("F", "flag an answer; pressed again, the next column"),
    ("C", "did the answer need this image?"),
    ("V", "ask again, several times"),
    ("M", "where the answer looked"),
    ("B", "behind the scenes"),
    ("T", "the tour"),
)


def tour(examples: Iterable[OpenedExample]) -> str:
    """All steps, of which the page shows one at a time; hidden until somebody wants it."""
    cards = [
        {"example": opened.example, "address": picture_url(opened.thumbnail, 96)}
        for opened in examples
    ]
    return render_template("ask/tour.html", steps=_STEPS, cards=cards)


def key_sheet() -> str:
    """The keys of the page; hidden until ? is pressed."""
    return render_template("ask/keys.html", keys=_KEYS)
