"""What the Results page shows, as escaped HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

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
        f"{escape(render.label_of(arm['name']))} <code>{escape(arm['revision'] or '–')}</code>"
        for arm in summary["arms"]
    )
    if warnings:
        count = len(warnings) + len(fine)
        listed = "".join(f"<li>{escape(one)}</li>" for one in warnings)
        told = (
            f'<details class="told"><summary>In {len(warnings)} of {count} comparisons the answers '
            "are no better with the scan than without it: as far as this shows, they do not need "
            f"the image.</summary><ul>{listed}</ul></details>"
        )
    elif fine:
        told = (
            '<p class="told fine">Wherever it was asked, the answers are better with the scan than '
            "without it.</p>"
        )
    else:
        told = (
            '<p class="told">Whether the answers need the image was not measured in this run.</p>'
        )
    return (
        f"<h2>What {escape(render.short_name(str(summary['model'])))} gets right</h2>"
        f'<p class="hint">{questions:,} held-out questions about {images:,} images. Every figure '
        "stands with its 95&nbsp;% interval, for which whole images are drawn again; where "
        "intervals overlap widely, the variants may be equally good. Choose a line to see its "
        f'differences and every answer behind it.</p><p class="facts">Weights: {weights}</p>{told}'
    )


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
        current = ' aria-current="true"' if name == group else ""
        cells = "".join(
            _cell(arm, found.get((name, "scan", arm)), found.get((name, "blank", arm)))
            for arm in arms
        )
        lines.append(
            f"<tr{current}><th scope='row'><button type='button' data-event='choose' "
            f'data-group="{escape(name)}">{escape(titled(name))}</button>'
            f"<small>{one['n']:,} questions, {one['images']:,} images"
            f"{'; line: a blank picture instead' if blank else ''}</small></th>{cells}</tr>"
        )
    head = "".join(f"<th scope='col'>{escape(render.label_of(arm))}</th>" for arm in arms)
    return (
        '<div class="scroll" tabindex="0" role="group" aria-label="Exact match">'
        '<table class="lines"><caption>Exact match after normalisation, % of the answers</caption>'
        f"<thead><tr><th scope='col'>Questions</th>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(arm: str, one: Mapping[str, Any] | None, blank: Mapping[str, Any] | None) -> str:
    # Where the table is folded up for a phone, each cell says whose it is.
    opened = f'<td data-arm="{escape(render.label_of(arm))}">'
    if one is None:
        return f"{opened}–</td>"
    value = f"<b>{100 * one['value']:.1f}</b>"
    if one["low"] is None:
        return f"{opened}{value}</td>"
    low, high = 100 * one["low"], 100 * one["high"]
    ghost = ""
    if blank is not None:
        at = 100 * blank["value"]
        ghost = f'<s style="left:{at:.1f}%" title="{at:.1f} with a blank picture"></s>'
    return (
        f"{opened}{value} <small>{low:.1f}–{high:.1f}</small>"
        f'<span class="track" aria-hidden="true"><i style="left:{low:.1f}%;'
        f'width:{high - low:.1f}%"></i><u style="left:{100 * one["value"]:.1f}%"></u>{ghost}'
        "</span></td>"
    )


def drawings(summary: Mapping[str, Any], mode: str, group: str) -> str:
    """Forest plot, reliance bars and reliability diagram of a group; what is missing is told."""

    def of(part: str) -> list[dict[str, Any]]:
        return [
            one for one in summary.get(part, []) if (one["mode"], one["group"]) == (mode, group)
        ]

    compared = [one for one in of("differences") if one["second"].endswith(" scan")]
    return f'<h2 class="of-group">{escape(titled(group))}</h2><div class="papers">' + "".join(
        (
            _paper(
                "Differences between variants",
                svg(forest(compared), "Differences between variants") if compared else "",
                "Points of exact match; filled where the interval excludes zero. Paired: the same "
                "questions, whole images drawn again.",
                "Only one variant was asked.",
            ),
            _paper(
                "Do the answers need the image?",
                svg(reliance_bars(of("reliance")), "Reliance on the image")
                if of("reliance")
                else "",
                "Right with the scan and with what stood in for it; and how often the answer "
                "changes then.",
                "These questions were not asked again with another picture.",
            ),
            _paper(
                "Does its doubt mean anything?",
                svg(reliability_diagram(of("calibration")), "Reliability diagram")
                if of("calibration")
                else "",
                "Self-consistency of sampled answers against how many are right, and accuracy of "
                "the surest answers. On the dotted line doubt is honest.",
                "No answers were sampled to these questions.",
            ),
        )
    ) + "</div>"  # fmt: skip


def _paper(title: str, drawing: str, caption: str, missing: str) -> str:
    inside = (
        f'<div class="paper" tabindex="0" role="group" aria-label="{title}">{drawing}</div>'
        f"<figcaption>{caption}</figcaption>"
        if drawing
        else f'<p class="quiet">{missing}</p>'
    )
    return f"<figure><h3>{title}</h3>{inside}</figure>"


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
    return "<h2>Every other measure</h2>" + "".join(
        f"<details><summary>{escape(title)}</summary>{_table(table)}</details>"
        for title, table in parts
        if not table.empty
    )


def _table(table: pd.DataFrame) -> str:
    table = table.rename(columns={"questions": "Questions"})
    if "Questions" in table:
        table["Questions"] = [
            "All questions" if name == ALL_GROUP else titled(name) for name in table["Questions"]
        ]
    html = table.to_html(index=False, border=0, escape=True, na_rep="")
    return f'<div class="scroll" tabindex="0">{html}</div>'


def listing(total: int, shown: Sequence[Shown], current: str) -> str:
    """The questions that pass a filter.

    Args:
        total: how many pass.
        shown: the first of them.
        current: id of the one that is open.
    """
    if not shown:
        return '<div class="nothing"><p>No answer of this kind.</p></div>'
    rows = []
    for one in shown:
        said = "".join(
            f'<span class="{"right" if row["exact"] else "wrong"}">'
            f"{escape(render.label_of(str(row['arm'])))} "
            f"<b>{escape(str(row['answer'])) or '–'}</b></span>"
            for row in one.rows
        )
        open_one = ' aria-current="true"' if one.id == current else ""
        rows.append(
            f'<button type="button" class="row" data-event="pick" '
            f'data-example="{escape(one.id)}"{open_one}>'
            f'<span class="row-question">{escape(one.question or one.id)}</span>'
            f'<span class="row-said">{said}</span></button>'
        )
    more = (
        '<button type="button" class="ghost" data-event="more">Show more</button>'
        if total > len(shown)
        else ""
    )
    count = f"{total:,} question{'' if total == 1 else 's'}"
    return (
        f'<p class="count" role="status">{count}</p><div class="rows">{"".join(rows)}</div>{more}'
    )


def case(shown: Shown) -> str:
    """A question with its scan and every arm's answer."""
    if shown.example is not None and shown.example.image is not None:
        picture = (
            '<div class="stage" data-page="stage" tabindex="0" role="group" aria-label="scan of '
            'the question: wheel or + and - zoom, 0 resets">'
            f'<img src="{render.picture_url(shown.example.image.load())}" '
            'alt="Scan of the question" draggable="false"></div>'
        )
    else:
        source = escape(str(shown.rows[0]["source"]))
        picture = (
            f'<div class="nothing"><p>The pixels of this scan are not at hand on this machine: '
            f"they belong to the set {source}. Set RARL_DATA to the folder that holds it.</p></div>"
        )
    question = shown.question or "The question’s words are with its set."
    reference = shown.reference or "with its set"
    flags = shown.has_pixels and bool(shown.question)
    columns = "".join(_column(row, flags) for row in shown.rows)
    mode = {key: label for label, key in MODE_LABELS}.get(shown.rows[0]["mode"], shown.mode)
    return (
        f'<div class="case"><div class="case-top"><div class="stages">{picture}</div>'
        f'<div class="case-facts"><h4 class="eyebrow">Question</h4><h2>{escape(question)}</h2>'
        f"<p><b>Reference: {escape(reference)}</b></p>"
        f'<p class="facts">{escape(shown.id)} · {escape(str(mode))}</p></div></div>'
        f'<div class="columns" data-count="{len(shown.rows)}">{columns}</div></div>'
    )


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
        f'<button type="button" class="flag" data-event="complain" data-arm="{escape(arm)}" '
        f'aria-label="Flag {escape(label)}’s answer">Flag</button>'
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
