"""Onboarding: the tour of four steps and the list of keyboard shortcuts."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from demo.pages.render import picture_url
from demo.services.examples import OpenedExample

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
    cards = Markup().join(
        Markup(
            '<button type="button" class="card" data-event="pick" data-key="{}"><img '
            'src="{}" alt=""><span>{}<small>{}</small></span></button>'
        ).format(
            one.example.key, picture_url(one.thumbnail, 96), one.example.title, one.example.question
        )
        for one in examples
    )
    steps = Markup().join(
        Markup(
            '<section data-light="{}" hidden><p class="eyebrow">{} of '
            "{}</p><h2>{}</h2><p>{}</p>{}</section>"
        ).format(
            where,
            number,
            len(_STEPS),
            title,
            words,
            Markup("<div class=tour-cards>{}</div>").format(cards) if number == 1 else "",
        )
        for number, (where, title, words) in enumerate(_STEPS, 1)
    )
    return Markup(
        '<div class="tour" role="dialog" aria-label="Tour" '
        'hidden>{}<footer><button type="button" class="ghost" '
        'data-page="tour-end">End the tour</button><button type="button" '
        'class="ghost" data-page="tour-back">Back</button><button type="button" '
        'class="ghost strong" data-page="tour-next">Next</button></footer></div>'
    ).format(steps)


def key_sheet() -> str:
    """The keys of the page; hidden until ? is pressed."""
    rows = Markup().join(
        Markup("<dt><kbd>{}</kbd></dt><dd>{}</dd>").format(key, does) for key, does in _KEYS
    )
    return Markup(
        '<div class="sheet" role="dialog" aria-modal="true" '
        'aria-labelledby="sheet-title" hidden><header><h2 '
        'id="sheet-title">Keys</h2><button type="button" class="ghost" '
        'data-page="close">Close</button></header><dl>{}</dl></div>'
    ).format(rows)
