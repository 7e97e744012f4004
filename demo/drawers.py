"""What opens beside the page: what the model sees, how far to trust an answer, how it was made."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from PIL import Image

from demo.asking import same_answer_key
from demo.doubting import CONDITION_LABELS, Reliance, reliance_sentence
from demo.render import label_of, picture_url
from rarl.evaluation.conditions import ALTERED
from rarl.inference.engine import Seen
from rarl.inference.sampling import Sampled

# What fits beside the page, CSS pixels.
_PICTURE_SIDE = 440


def drawer(title: str, body: str, trouble: str = "") -> str:
    """The frame of all of them.

    Args:
        title: what it is.
        body: HTML.
        trouble: a sentence on what went wrong, or "".
    """
    said = f'<p class="trouble" role="alert">{escape(trouble)}</p>' if trouble else ""
    return (
        '<div class="drawer" role="dialog" aria-modal="true" aria-labelledby="drawer-title">'
        f'<header><h2 id="drawer-title">{escape(title)}</h2>'
        '<button type="button" class="ghost" data-event="close" data-page="close">Close</button>'
        f"</header>{said}{body}</div>"
    )


def working(title: str, sentence: str) -> str:
    """A drawer whose contents are still to come."""
    return drawer(title, f'<p class="working" role="status">{escape(sentence)}</p>')


def inside(pictures: Sequence[tuple[str, Seen]], trouble: str = "") -> str:
    """What the model gets: every picture at its own pixels, and the number of its tokens."""
    shown = []
    for name, seen in pictures:
        width, height = seen.image.size
        times = max(1, _PICTURE_SIDE // width)  # whole multiples keep the pixels what they are
        title = f"{escape(name.capitalize())}: " if len(pictures) > 1 else ""
        shown.append(
            f'<figure><img src="{picture_url(seen.image)}" width="{width * times}" '
            f'height="{height * times}" alt="What the model gets of the {escape(name)}">'
            f"<figcaption>{title}{width} × {height} pixels, {seen.tokens} image tokens"
            "</figcaption></figure>"
        )
    words = (
        "<p>Window, slice, covers and region as on the stage, after the model’s own resizing.</p>"
    )
    return drawer("What the model sees", words + "".join(shown), trouble)


RELIANCE_TITLE = "Did the answer need this image?"


def reliance(found: Reliance, labels: Mapping[str, str]) -> str:
    """The answers about the scan and its stand-ins, and what follows from them."""
    names = [labels.get(answer.arm, label_of(answer.arm)) for answer in found.asked.answers]
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in names)
    own = [same_answer_key(answer.response.answer) for answer in found.answers["scan"]]
    rows = []
    for condition in ("scan", *ALTERED):
        title = CONDITION_LABELS[condition]
        if condition == "swapped":
            title += f" ({found.other})"
        cells = "".join(
            f"<td{' class=same' if condition != 'scan' and key == mine else ''}>"
            f"{escape(answer.response.answer or '–')}</td>"
            for answer, mine in zip(found.answers[condition], own, strict=True)
            for key in [same_answer_key(answer.response.answer)]
        )
        rows.append(f"<tr><th scope='row'>{escape(title)}</th>{cells}</tr>")
    return drawer(
        RELIANCE_TITLE,
        f'<p class="finding" role="status">{escape(reliance_sentence(found, labels))}</p>'
        f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        "<p>Grey cells: the answer the scan itself got. One question is a hint and no proof; the "
        "Results page has the rates over whole test sets.</p>",
    )


AGAIN_TITLE = "Does the answer hold?"


def again(
    drawn: Sequence[Sampled], given: Mapping[str, str], labels: Mapping[str, str], waiting: bool
) -> str:
    """How often each arm says what, when asked several times.

    Args:
        drawn: one for each arm that has been asked.
        given: arm to the answer on the page.
        labels: arm to what the page calls it.
        waiting: whether other arms are still to come.
    """
    told = []
    for one in drawn:
        name = labels.get(one.arm, label_of(one.arm))
        share = one.consistency(given[one.arm])
        bars = "".join(
            f'<li><span>{escape(group.answer or "no answer")}</span><i style="--share:'
            f'{group.share:.3f}"></i><b>{group.count}</b></li>'
            for group in one.groups
        )
        told.append(
            f"<h3>{escape(name)}</h3><p>{share:.0%} of {len(one.answers)} samples give the answer "
            f'on the page.</p><ul class="shares">{bars}</ul>'
        )
    if drawn:
        told.append(
            f"<p>Sampled at temperature {drawn[0].temperature:g}. An answer that holds can still "
            "be wrong; the Results page says how far it tells right from wrong.</p>"
        )
    if waiting:
        told.append('<p class="working" role="status">Asking again…</p>')
    return drawer(AGAIN_TITLE, "".join(told))


LOOKED_TITLE = "Where the answer looked"
_LOOKED_WARNING = (
    "Gradient × input: where a change of the picture would have moved the words of the answer "
    "most. It explains nothing by itself: a right place does not make an answer right, and the "
    "map can be wrong."
)


def looked(
    found: Sequence[tuple[str, Sequence[Image.Image]]], labels: Mapping[str, str], waiting: bool
) -> str:
    """The pictures with what moved the answers lit.

    Args:
        found: arm, and its pictures.
        labels: arm to what the page calls it.
        waiting: whether other arms are still to come.
    """
    shown = "".join(
        f'<figure><img class="smooth" src="{picture_url(picture)}" alt="Where '
        f'{escape(labels.get(arm, label_of(arm)))} looked"><figcaption>'
        f"{escape(labels.get(arm, label_of(arm)))}</figcaption></figure>"
        for arm, pictures in found
        for picture in pictures
    )
    more = '<p class="working" role="status">Looking…</p>' if waiting else ""
    return drawer(
        LOOKED_TITLE,
        f'<p class="warning">{_LOOKED_WARNING}</p><div class="figures">{shown}</div>{more}',
    )


SHEET_TITLE = "This case on one page"


def sheet(pdf: bytes, number: int) -> str:
    """The PDF, inside its own address so that no file of it is left anywhere."""
    address = "data:application/pdf;base64," + base64.b64encode(pdf).decode()
    return drawer(
        SHEET_TITLE,
        "<p>One page: the picture as it was asked about, covers included, the question, all "
        "answers, what was flagged or voted, and the revisions.</p>"
        f'<p class="drawer-actions"><a class="ghost strong" href="{address}" '
        f'download="rarl-case-{number}.pdf">Save the PDF</a></p>'
        "<p>The file leaves this page’s care once saved: it holds the picture.</p>",
    )
