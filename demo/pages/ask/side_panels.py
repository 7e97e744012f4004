"""The side panels: what the model sees, reliability and provenance."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from markupsafe import Markup
from PIL import Image

from demo.pages.ask.reliability import CONDITION_LABELS, Reliance, Rewindowed, reliance_sentence
from demo.pages.render import label_of, picture_url
from demo.services.asking import same_answer_key
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
    said = Markup('<p class="trouble" role="alert">{}</p>').format(trouble) if trouble else ""
    return Markup(
        '<div class="drawer" role="dialog" aria-modal="true" '
        'aria-labelledby="drawer-title"><header><h2 '
        'id="drawer-title">{}</h2><button type="button" class="ghost" '
        'data-event="close" data-page="close">Close</button></header>{}{}</div>'
    ).format(title, said, body)


def working(title: str, sentence: str) -> str:
    """A drawer whose contents are still to come."""
    return drawer(title, Markup('<p class="working" role="status">{}</p>').format(sentence))


def inside(pictures: Sequence[tuple[str, Seen]], trouble: str = "") -> str:
    """What the model gets: every picture at its own pixels, and the number of its tokens."""
    shown = []
    for name, seen in pictures:
        width, height = seen.image.size
        times = max(1, _PICTURE_SIDE // width)  # whole multiples keep the pixels what they are
        title = f"{name.capitalize()}: " if len(pictures) > 1 else ""
        shown.append(
            Markup(
                '<figure><img src="{}" width="{}" height="{}" alt="What the model gets of '
                'the {}"><figcaption>{}{} × {} pixels, {} image '
                "tokens</figcaption></figure>"
            ).format(
                picture_url(seen.image),
                width * times,
                height * times,
                name,
                title,
                width,
                height,
                seen.tokens,
            )
        )
    words = Markup(
        "<p>Slice, window, covers and region are those of the viewer, after the model’s own "
        "resizing; zoom changes nothing here.</p>"
    )
    return drawer("What the model sees", words + Markup().join(shown), trouble)


RELIANCE_TITLE = "Did the answer need this image?"


def reliance(found: Reliance, labels: Mapping[str, str]) -> str:
    """The answers about the scan and its stand-ins, and what follows from them."""
    names = [labels.get(answer.arm, label_of(answer.arm)) for answer in found.asked.answers]
    head = Markup().join(Markup("<th scope='col'>{}</th>").format(name) for name in names)
    own = [same_answer_key(answer.response.answer) for answer in found.answers["scan"]]
    rows = []
    for condition in ("scan", *ALTERED):
        title = CONDITION_LABELS[condition]
        if condition == "swapped":
            title += f" ({found.other})"
        cells = Markup().join(
            Markup("<td{}>{}</td>").format(
                " class=same" if condition != "scan" and key == mine else "",
                answer.response.answer or "–",
            )
            for answer, mine in zip(found.answers[condition], own, strict=True)
            for key in [same_answer_key(answer.response.answer)]
        )
        rows.append(Markup("<tr><th scope='row'>{}</th>{}</tr>").format(title, cells))
    return drawer(
        RELIANCE_TITLE,
        Markup(
            '<p class="finding" role="status">{}</p><table><thead><tr><th></th>{}</tr><'
            "/thead><tbody>{}</tbody></table><p>Grey cells: the answer the scan itself "
            "got. One question is a hint and no proof; the Results page has the rates "
            "over whole test sets.</p>"
        ).format(reliance_sentence(found, labels), head, Markup().join(rows)),
    )


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
    told: list[str] = []
    for one in drawn:
        name = labels.get(one.arm, label_of(one.arm))
        share = one.consistency(given[one.arm])
        bars = Markup().join(
            Markup('<li><span>{}</span><i style="--share:{:.3f}"></i><b>{}</b></li>').format(
                group.answer or "no answer", group.share, group.count
            )
            for group in one.groups
        )
        told.append(
            Markup(
                "<h3>{}</h3><p>{:.0%} of {} samples give the answer on the page.</p><ul "
                'class="shares">{}</ul>'
            ).format(name, share, len(one.answers), bars)
        )
    if drawn:
        told.append(
            Markup(
                "<p>Sampled at temperature {:g}. An answer that holds can still be wrong; "
                "the Results page says how far it tells right from wrong.</p>"
            ).format(drawn[0].temperature)
        )
    if tried is not None:
        told.append(_windows(tried, given, labels))
    if waiting:
        told.append(Markup('<p class="working" role="status">Asking again…</p>'))
    return drawer(AGAIN_TITLE, Markup().join(told))


def _windows(
    tried: Sequence[Rewindowed], given: Mapping[str, str], labels: Mapping[str, str]
) -> Markup:
    """What each arm says under other windows of the same picture."""
    if not tried:
        return Markup(
            "<h3>Other windows</h3><p>Not tried: the picture has no window, or its scan is closed."
            "</p>"
        )
    head = Markup().join(
        Markup("<th scope='col'>{}</th>").format(labels.get(arm, label_of(arm))) for arm in given
    )
    rows = Markup().join(
        Markup("<tr><th scope='row'>{}</th>{}</tr>").format(
            one.words.capitalize(),
            Markup().join(
                Markup("<td{}>{}</td>").format(
                    " class=same"
                    if same_answer_key(answer.response.answer) == same_answer_key(given[answer.arm])
                    else "",
                    answer.response.answer or "–",
                )
                for answer in one.answers
            ),
        )
        for one in tried
    )
    return Markup(
        "<h3>Other windows</h3><table><thead><tr><th></th>{}</tr></thead><tbody>{}</tbody></table>"
        "<p>Grey cells: the answer on the page.</p>"
    ).format(head, rows)


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
    shown = Markup().join(
        Markup(
            '<figure><img class="smooth" src="{}" alt="Where {} '
            'looked"><figcaption>{}</figcaption></figure>'
        ).format(
            picture_url(picture), labels.get(arm, label_of(arm)), labels.get(arm, label_of(arm))
        )
        for arm, pictures in found
        for picture in pictures
    )
    more = Markup('<p class="working" role="status">Looking…</p>') if waiting else ""
    return drawer(
        LOOKED_TITLE,
        Markup('<p class="warning">{}</p><div class="figures">{}</div>{}').format(
            _LOOKED_WARNING, shown, more
        ),
    )


SHEET_TITLE = "This case on one page"


def sheet(pdf: bytes, number: int) -> str:
    """The PDF, inside its own address so that no file of it is left anywhere."""
    address = "data:application/pdf;base64," + base64.b64encode(pdf).decode()
    return drawer(
        SHEET_TITLE,
        Markup(
            "<p>One page: the picture as it was asked about, covers included, the "
            "question, all answers, what was flagged or voted, and the "
            'revisions.</p><p class="drawer-actions"><a class="ghost strong" href="{}" '
            'download="rarl-case-{}.pdf">Save the PDF</a></p><p>The file holds the '
            "picture: keep it as you keep the scan.</p>"
        ).format(address, number),
    )
