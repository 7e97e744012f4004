"""HTML of the Results page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from demo import render
from demo.asking import MODE_LABELS
from demo.results.run import Shown
from rarl.evaluation.metrics import ALL_GROUP
from rarl.evaluation.plots import forest, reliability_diagram, reliance_bars, svg
from rarl.evaluation.report import image_sentences
from rarl.evaluation.tables import (
    METRIC_NAMES,
    calibration_table,
    difference_table,
    figure_table,
    leakage_table,
    reliance_table,
)

_SETS = {
    "vqa_rad_basics": "VQA-RAD basics",
    "vqa_rad": "VQA-RAD",
    "brain_tumor_mri": "Brain tumour MRI",
    "busi_breast_us": "Breast ultrasound",
    "bccd_blood": "Blood smears",
    "covid_chestxray": "COVID-19 chest X-ray",
    "vqa_med_2019_mini": "VQA-Med 2019",
    "modality and organ": "Modality and organ",
}
_WORDS = {"images seen": "images seen in training", "test": "official test"}


def titled(group: str) -> str:
    """A group's name for people: "VQA-RAD, official test, closed"."""
    source = next((name for name in _SETS if group.startswith(name)), None)
    if source is None:
        return group
    rest = group.removeprefix(source).strip()
    split = next((one for one in (*_WORDS, "image-disjoint", "unseen") if rest.startswith(one)), "")
    parts = [_SETS[source], _WORDS.get(split, split), rest.removeprefix(split).strip()]
    return ", ".join(part for part in parts if part)


def opening(summary: Mapping[str, Any]) -> str:
    """What was measured, and first of all whether the answers need the image."""
    warnings, fine = image_sentences(summary)
    questions = max((one["n"] for one in summary["figures"]), default=0)
    images = max((one["images"] for one in summary["figures"]), default=0)
    weights = ", ".join(
        Markup("{} <code>{}</code>").format(render.label_of(arm["name"]), arm["revision"] or "–")
        for arm in summary["arms"]
    )
    if warnings:
        count = len(warnings) + len(fine)
        listed = Markup().join(Markup("<li>{}</li>").format(one) for one in warnings)
        told = Markup(
            '<details class="told"><summary>In {} of {} comparisons the answers are no '
            "better with the scan than without it: as far as this shows, they do not "
            "need the image.</summary><ul>{}</ul></details>"
        ).format(len(warnings), count, listed)
    elif fine:
        told = Markup(
            '<p class="told fine">Wherever it was asked, the answers are better with '
            "the scan than without it.</p>"
        )
    else:
        told = Markup(
            '<p class="told">Whether the answers need the image was not measured in this run.</p>'
        )
    return Markup(
        '<h2>What {} gets right</h2><p class="hint">{:,} held-out questions about '
        "{:,} images. Every figure stands with its 95&nbsp;% interval, for which "
        "whole images are drawn again; where intervals overlap widely, the "
        "variants may be equally good. Choose a line to see its differences and "
        'every answer behind it.</p><p class="facts">Weights: {}</p>{}'
    ).format(render.short_name(str(summary["model"])), questions, images, weights, told)


def figure_lines(summary: Mapping[str, Any], mode: str, group: str) -> str:
    """Exact match of every group and arm, a line each, with its interval drawn.

    Args:
        summary: of the run.
        mode: inference mode.
        group: the one that is chosen.
    """
    arms = [arm["name"] for arm in summary["arms"]]
    found = {
        (one["group"], one["condition"], one["arm"]): one
        for one in summary["figures"]
        if (one["mode"], one["metric"]) == (mode, "exact")
    }
    if not found:
        return render.sentence("Nothing was asked in this form.", "quiet")
    names = list(dict.fromkeys(name for name, _, _ in found))
    lines = []
    for name in names:
        one = next(found[name, "scan", arm] for arm in arms if (name, "scan", arm) in found)
        blank = any((name, "blank", arm) in found for arm in arms)
        current = Markup(' aria-current="true"') if name == group else ""
        cells = Markup().join(
            _cell(arm, found.get((name, "scan", arm)), found.get((name, "blank", arm)))
            for arm in arms
        )
        lines.append(
            Markup(
                "<tr{}><th scope='row'><button type='button' data-event='choose' "
                'data-group="{}">{}</button><small>{:,} questions, {:,} '
                "images{}</small></th>{}</tr>"
            ).format(
                current,
                name,
                titled(name),
                one["n"],
                one["images"],
                "; line: a blank picture instead" if blank else "",
                cells,
            )
        )
    head = Markup().join(
        Markup("<th scope='col'>{}</th>").format(render.label_of(arm)) for arm in arms
    )
    return Markup(
        '<div class="scroll" tabindex="0" role="group" aria-label="Exact '
        'match"><table class="lines"><caption>Exact match after normalisation, % '
        "of the answers</caption><thead><tr><th "
        "scope='col'>Questions</th>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(head, Markup().join(lines))


def _cell(arm: str, one: Mapping[str, Any] | None, blank: Mapping[str, Any] | None) -> str:
    # Where the table is folded up for a phone, each cell says whose it is.
    opened = Markup('<td data-arm="{}">').format(render.label_of(arm))
    if one is None:
        return Markup("{}–</td>").format(opened)
    value = Markup("<b>{:.1f}</b>").format(100 * one["value"])
    if one["low"] is None:
        return Markup("{}{}</td>").format(opened, value)
    low, high = 100 * one["low"], 100 * one["high"]
    ghost = ""
    if blank is not None:
        at = 100 * blank["value"]
        ghost = Markup('<s style="left:{:.1f}%" title="{:.1f} with a blank picture"></s>').format(
            at, at
        )
    return Markup(
        '{}{} <small>{:.1f}–{:.1f}</small><span class="track" '
        'aria-hidden="true"><i style="left:{:.1f}%;width:{:.1f}%"></i><u '
        'style="left:{:.1f}%"></u>{}</span></td>'
    ).format(opened, value, low, high, low, high - low, 100 * one["value"], ghost)


def drawings(summary: Mapping[str, Any], mode: str, group: str) -> str:
    """Forest plot, reliance bars and reliability diagram of a group; what is missing is told."""

    def of(part: str) -> list[dict[str, Any]]:
        return [
            one for one in summary.get(part, []) if (one["mode"], one["group"]) == (mode, group)
        ]

    compared = [one for one in of("differences") if one["second"].endswith(" scan")]
    head = Markup('<h2 class="of-group">{}</h2><div class="papers">').format(titled(group))
    return head + Markup().join(
        (
            _paper(
                "Differences between variants",
                _drawn(forest(compared), "Differences between variants") if compared else "",
                "Points of exact match; filled where the interval excludes zero. Paired: the same "
                "questions, whole images drawn again.",
                "Only one variant was asked.",
            ),
            _paper(
                "Do the answers need the image?",
                _drawn(reliance_bars(of("reliance")), "Reliance on the image")
                if of("reliance")
                else "",
                "Right with the scan and with what stood in for it; and how often the answer "
                "changes then.",
                "These questions were not asked again with another picture.",
            ),
            _paper(
                "Does its doubt mean anything?",
                _drawn(reliability_diagram(of("calibration")), "Reliability diagram")
                if of("calibration")
                else "",
                "Self-consistency of sampled answers against how many are right, and accuracy of "
                "the surest answers. On the dotted line doubt is honest.",
                "No answers were sampled to these questions.",
            ),
        )
    ) + Markup("</div>")  # fmt: skip


def _paper(title: str, drawing: str, caption: str, missing: str) -> str:
    inside = (
        Markup(
            '<div class="paper" tabindex="0" role="group" '
            'aria-label="{}">{}</div><figcaption>{}</figcaption>'
        ).format(title, drawing, caption)
        if drawing
        else Markup('<p class="quiet">{}</p>').format(missing)
    )
    return Markup("<figure><h3>{}</h3>{}</figure>").format(title, inside)


def tables(summary: Mapping[str, Any], mode: str) -> str:
    """Every other measure, folded."""
    parts = [
        (METRIC_NAMES[metric] + ", %", figure_table(summary, mode, metric))
        for metric in METRIC_NAMES
        if metric != "exact"
    ]
    parts += [
        ("Differences in exact match, points", difference_table(summary, mode)),
        ("How much the answers need the image, %", reliance_table(summary, mode)),
        ("Self-consistency as a confidence, %", calibration_table(summary, mode)),
        (
            "Exact match by modality, organ and question type, %",
            figure_table(summary, mode, "exact", "strata"),
        ),
        ("What the sets share with training, images", leakage_table(summary)),
    ]
    return Markup("<h2>Every other measure</h2>") + Markup().join(
        Markup("<details><summary>{}</summary>{}</details>").format(title, _table(table))
        for title, table in parts
        if not table.empty
    )


def _drawn(figure: Figure, title: str) -> Markup:
    """A drawing of ours; Matplotlib escapes the words in it."""
    return Markup(svg(figure, title))  # noqa: S704


def _table(table: pd.DataFrame) -> str:
    table = table.rename(columns={"questions": "Questions"})
    if "Questions" in table:
        table["Questions"] = [
            "All questions" if name == ALL_GROUP else titled(name) for name in table["Questions"]
        ]
    html = table.to_html(index=False, border=0, escape=True, na_rep="")
    # pandas has escaped every cell.
    return Markup('<div class="scroll" tabindex="0">{}</div>').format(Markup(html))  # noqa: S704


def listing(total: int, shown: Sequence[Shown], current: str) -> str:
    """The questions that pass a filter.

    Args:
        total: how many pass.
        shown: the first of them.
        current: id of the one that is open.
    """
    if not shown:
        return Markup('<div class="nothing"><p>No answer of this kind.</p></div>')
    rows = []
    for one in shown:
        said = Markup().join(
            Markup('<span class="{}">{} <b>{}</b></span>').format(
                "right" if row["exact"] else "wrong",
                render.label_of(str(row["arm"])),
                str(row["answer"]) or "–",
            )
            for row in one.rows
        )
        open_one = Markup(' aria-current="true"') if one.id == current else ""
        rows.append(
            Markup(
                '<button type="button" class="row" data-event="pick" '
                'data-example="{}"{}><span class="row-question">{}</span><span '
                'class="row-said">{}</span></button>'
            ).format(one.id, open_one, one.question or one.id, said)
        )
    more = (
        Markup('<button type="button" class="ghost" data-event="more">Show more</button>')
        if total > len(shown)
        else ""
    )
    count = f"{total:,} question{'' if total == 1 else 's'}"
    return Markup('<p class="count" role="status">{}</p><div class="rows">{}</div>{}').format(
        count, Markup().join(rows), more
    )


def case(shown: Shown) -> str:
    """A question with its scan and every arm's answer."""
    if shown.example is not None and shown.example.image is not None:
        picture = Markup(
            '<div class="stage" data-page="stage" tabindex="0" role="group" '
            'aria-label="scan of the question: wheel or + and - zoom, 0 resets"><img '
            'src="{}" alt="Scan of the question" draggable="false"></div>'
        ).format(render.picture_url(shown.example.image.load()))
    else:
        source = str(shown.rows[0]["source"])
        picture = Markup(
            '<div class="nothing"><p>The pixels of this scan are not at hand on this '
            "machine: they belong to the set {}. Set RARL_DATA to the folder that "
            "holds it.</p></div>"
        ).format(source)
    question = shown.question or "The question’s words are with its set."
    reference = shown.reference or "with its set"
    flags = shown.has_pixels and bool(shown.question)
    columns = Markup().join(_column(row, flags) for row in shown.rows)
    mode = {key: label for label, key in MODE_LABELS}.get(shown.rows[0]["mode"], shown.mode)
    return Markup(
        '<div class="case"><div class="case-top"><div class="stages">{}</div><div '
        'class="case-facts"><h4 '
        'class="eyebrow">Question</h4><h2>{}</h2><p><b>Reference: {}</b></p><p '
        'class="facts">{} · {}</p></div></div><div class="columns" '
        'data-count="{}">{}</div></div>'
    ).format(picture, question, reference, shown.id, str(mode), len(shown.rows), columns)


def _column(row: Mapping[str, Any], flags: bool) -> str:
    arm = str(row["arm"])
    label = render.label_of(arm)
    foot = [f"{int(row['tokens'])} tokens", f"{float(row['seconds']):.1f} s"]
    if not pd.isna(row["facts"]):
        foot.append(
            f"{int(row['facts_covered'])} of {int(row['facts'])} annotated facts stated, "
            f"{int(row['facts_contradicted'])} contradicted"
        )
    judged = row.get("judge_correctness")
    if judged is not None and not pd.isna(judged):
        foot.append(
            f"judge {int(judged)} and {int(row['judge_explanation'])} of 3: "
            f"{row['judge_justification']}"
        )
    button = (
        Markup(
            '<button type="button" class="flag" data-event="complain" data-arm="{}" '
            'aria-label="Flag {}’s answer">Flag</button>'
        ).format(arm, label)
        if flags
        else ""
    )
    return render.column(
        arm,
        label,
        answer=str(row["answer"]),
        reasoning=str(row["reasoning"]),
        problems=[str(one) for one in row["problems"]],
        foot=" · ".join(foot),
        flag=button,
        meaning="Right" if row["exact"] else "Wrong",
    )
