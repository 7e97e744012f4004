"""HTML of the Results page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from demo.pages import render
from demo.pages.results.evaluations import Loaded
from demo.pages.results.run import Shown, arm_name
from demo.services.asking import MODE_LABELS
from rarl.evaluation.failures import FIELDS
from rarl.evaluation.metrics import ALL_GROUP
from rarl.evaluation.plots import forest, reliability_diagram, reliance_bars, risk_curves, svg
from rarl.evaluation.report import image_sentences
from rarl.evaluation.tables import (
    METRIC_NAMES,
    abstention_table,
    calibration_table,
    difference_table,
    failure_table,
    figure_table,
    leakage_table,
    others_table,
    percent,
    place_table,
    probe_table,
    reliance_table,
    rotation_table,
)
from rarl.text.choice import labelled

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


def opening(summary: Mapping[str, Any], loaded: Loaded | None = None) -> str:
    """What was measured, whether it is what is loaded, and whether the answers need the image.

    Args:
        summary: of the run.
        loaded: what the app has loaded, None while it has not.
    """
    warnings, fine = image_sentences(summary)
    questions = max((one["n"] for one in summary["figures"]), default=0)
    images = max((one["images"] for one in summary["figures"]), default=0)
    weights = Markup(", ").join(
        Markup("{} <code>{}</code>").format(arm_name(arm), arm["revision"] or "–")
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
        "{:,} images. Every figure stands with its 95&nbsp;% interval, from "
        "resampling whole images; where intervals overlap widely, the "
        "variants may be equally good. Choose a line to see its differences and "
        'every answer behind it.</p><p class="facts">Weights: {}</p>{}{}'
    ).format(
        render.short_name(str(summary["model"])),
        questions,
        images,
        weights,
        whose(summary, loaded),
        told,
    )


def whose(summary: Mapping[str, Any], loaded: Loaded | None) -> str:
    """Whether the variants that were measured are those that are loaded.

    Args:
        summary: of the run.
        loaded: what the app has loaded, None while it has not.
    """
    if loaded is None:
        return Markup('<p class="whose">No model is loaded now.</p>')
    revisions = loaded.revisions
    measured = {str(arm["revision"]): arm_name(arm) for arm in summary["arms"]}
    absent = [label for revision, label in measured.items() if revision not in revisions]
    unmeasured = [arm.label for revision, arm in revisions.items() if revision not in measured]
    if len(absent) == len(measured):
        return Markup(
            '<p class="whose other" role="note">These are not the figures of the loaded model, {}: '
            "none of its variants was measured here.</p>"
        ).format(loaded.name)
    sentences = ["These are figures of the loaded model."]
    if absent:
        sentences.append(f"Measured here and not loaded: {', '.join(absent)}.")
    if unmeasured:
        sentences.append(f"Loaded and not measured here: {', '.join(unmeasured)}.")
    tone = " other" if absent or unmeasured else ""
    return Markup('<p class="whose{}" role="note">{}</p>').format(tone, " ".join(sentences))


def unmeasured(loaded: Loaded, several: bool) -> str:
    """What stands in place of figures where the loaded model has none.

    Args:
        loaded: what the app has loaded.
        several: whether other evaluations can be chosen.
    """
    model = shlex.quote(loaded.model) if loaded.model else "NAME --endpoint URL"
    command = f"python -m rarl evaluate --model {model} --data vqa_rad:test --out runs/evaluation"
    other = " The evaluations above are of other models." if several else ""
    return Markup(
        '<div class="nothing"><h2>The loaded model, {}, has no evaluation</h2><p>Measure it:</p>'
        "<p><code>{}</code></p><p>Then add the folder above, or start the app with "
        "<code>RARL_RESULTS=runs</code>.{}</p></div>"
    ).format(loaded.name, command, other)


def pairs(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Labels and values of what may be compared: all variants, or any two of them."""
    every = [("All variants", "")]
    if len(summary["arms"]) < 3:
        return every
    return every + [
        (f"{arm_name(first)} and {arm_name(second)}", f"{first['name']},{second['name']}")
        for first, second in combinations(summary["arms"], 2)
    ]


def figure_lines(
    summary: Mapping[str, Any],
    mode: str,
    group: str,
    pair: str = "",
    loaded: Loaded | None = None,
) -> str:
    """Exact match of every group and arm, a line each, with its interval drawn.

    Args:
        summary: of the run.
        mode: inference mode.
        group: the one that is chosen.
        pair: a value of `pairs`; of two variants the difference stands beside them.
        loaded: what the app has loaded, None while it has not.
    """
    shown = [arm for arm in summary["arms"] if not pair or arm["name"] in pair.split(",")]
    arms = [arm["name"] for arm in shown]
    labels = {str(arm["name"]): arm_name(arm) for arm in shown}
    apart = {
        one["group"]: one
        for one in summary["differences"]
        if one["mode"] == mode and {one["first"], one["second"]} == {f"{arm} scan" for arm in arms}
    }
    found = {
        (one["group"], one["condition"], one["arm"]): one
        for one in summary["figures"]
        if (one["mode"], one["metric"]) == (mode, "exact")
    }
    if not found:
        return render.sentence("Nothing was asked in this form.", "quiet")
    names = list(dict.fromkeys(name for name, _, arm in found if arm in arms))
    lines = []
    for name in names:
        one = next(found[name, "scan", arm] for arm in arms if (name, "scan", arm) in found)
        blank = any((name, "blank", arm) in found for arm in arms)
        current = Markup(' aria-current="true"') if name == group else ""
        cells = Markup().join(
            _cell(labels[arm], found.get((name, "scan", arm)), found.get((name, "blank", arm)))
            for arm in arms
        )
        if len(arms) == 2:
            cells += _apart(apart.get(name), labels)
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
        Markup(
            "<th scope='col'><button type='button' data-event='made' data-arm='{}' "
            "title='How {} was made'>{}</button><small>{}</small></th>"
        ).format(arm["name"], arm_name(arm), arm_name(arm), _standing(arm, loaded))
        for arm in shown
    )
    if len(arms) == 2:
        head += Markup("<th scope='col'>Difference<small>points, paired</small></th>")
    return Markup(
        '<div class="scroll" tabindex="0" role="group" aria-label="Exact '
        'match"><table class="lines"><caption>Exact match after normalisation, % '
        "of the answers</caption><thead><tr><th "
        "scope='col'>Questions</th>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(head, Markup().join(lines))


def _standing(arm: Mapping[str, Any], loaded: Loaded | None) -> str:
    if loaded is None:
        return "how it was made"
    is_loaded = str(arm["revision"]) in loaded.revisions
    return "how it was made" if is_loaded else "not loaded · how it was made"


def _apart(one: Mapping[str, Any] | None, labels: Mapping[str, str]) -> str:
    """The cell with the difference of two variants."""
    if one is None:
        return Markup('<td data-arm="Difference">–</td>')
    first, second = (
        labels.get(str(one[side]).removesuffix(" scan"), "") for side in ("first", "second")
    )
    interval: str = ""
    if one["low"] is not None:
        interval = Markup(" <small>{:+.1f} to {:+.1f}</small>").format(
            100 * one["low"], 100 * one["high"]
        )
    alone = f"right alone: {first} {one['only_first']}, {second} {one['only_second']}"
    return Markup(
        '<td data-arm="Difference" class="apart"><b>{:+.1f}</b>{}<small>{} − {}; {}</small></td>'
    ).format(100 * one["value"], interval, first, second, alone)


def _cell(label: str, one: Mapping[str, Any] | None, blank: Mapping[str, Any] | None) -> str:
    # Where the table is folded up for a phone, each cell says whose it is.
    opened = Markup('<td data-arm="{}">').format(label)
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


def drawings(summary: Mapping[str, Any], mode: str, group: str, pair: str = "") -> str:
    """Forest plot, reliance bars and reliability diagram of a group; what is missing is told.

    Args:
        summary: of the run.
        mode: inference mode.
        group: the one that is chosen.
        pair: a value of `pairs`.
    """
    arms = set(pair.split(",")) if pair else {str(arm["name"]) for arm in summary["arms"]}

    def of(part: str) -> list[dict[str, Any]]:
        return [
            one
            for one in summary.get(part) or ()
            if (one["mode"], one["group"]) == (mode, group) and one.get("arm", "") in {"", *arms}
        ]

    compared = [
        one
        for one in of("differences")
        if {one["first"], one["second"]} <= {f"{arm} scan" for arm in arms}
    ]
    head = Markup('<h2 class="of-group">{}</h2><div class="papers">').format(titled(group))
    return head + Markup().join(
        (
            _paper(
                "Differences between variants",
                _drawn(forest(compared), "Differences between variants") if compared else "",
                "Points of exact match; a filled mark has an interval without zero. Paired on the "
                "same questions; whole images are resampled.",
                "Only one variant was asked.",
            ),
            _paper(
                "Do the answers need the image?",
                _drawn(reliance_bars(of("reliance")), "Reliance on the image")
                if of("reliance")
                else "",
                "Right answers with the scan and with another picture in its place, and how often "
                "the answer changes.",
                "These questions were not asked again with another picture.",
            ),
            *_risk(of("abstention")),
            _paper(
                "Do sampled answers tell when it is wrong?",
                _drawn(reliability_diagram(of("calibration")), "Reliability diagram")
                if of("calibration")
                else "",
                "Self-consistency of sampled answers against how many are right, and accuracy of "
                "the surest answers. On the dotted line, confidence equals accuracy.",
                "No answers were sampled to these questions.",
            ),
        )
    ) + Markup("</div>")  # fmt: skip


def failures(summary: Mapping[str, Any], mode: str, group: str, pair: str = "") -> str:
    """Parts of a group that are wrong more often, and where reasoning and answer part.

    Args:
        summary: of the run.
        mode: inference mode.
        group: the one that is chosen.
        pair: a value of `pairs`.
    """
    labels = {str(arm["name"]): arm_name(arm) for arm in summary["arms"]}
    arms = set(pair.split(",")) if pair else set(labels)

    def of(part: str) -> list[dict[str, Any]]:
        return [
            one
            for one in summary.get(part) or ()
            if (one["mode"], one["group"]) == (mode, group) and one["arm"] in arms
        ]

    worse = sorted(
        (one for one in of("failures") if one["excess"] > 0),
        key=lambda one: (one["p_holm"], -one["excess"]),
    )
    sure = [one for one in worse if one["p_holm"] < _SURE]
    doubtful = [one for one in worse if one["p_holm"] >= _SURE]
    crossed = Markup().join(_crossed(one, labels) for one in of("crossings"))
    if not (worse or crossed):
        return ""
    parts = Markup()
    if sure:
        parts = Markup(
            '<p class="hint">Parts of these questions that are answered wrong more often than the '
            "rest. p is corrected for all parts that were looked at. Choose one to read its wrong "
            "answers.</p>{}"
        ).format(_parts(sure, labels))
    elif doubtful:
        parts = Markup(
            '<p class="hint">In no part of these questions is a variant wrong more often than '
            "chance explains.</p>"
        )
    if doubtful:
        parts += Markup(
            "<details><summary>{} whose difference may be chance</summary>{}</details>"
        ).format(
            "1 part" if len(doubtful) == 1 else f"{len(doubtful)} parts",
            _parts(doubtful[:_MOST_PARTS], labels),
        )
    ways = _CROSSED.format(crossed) if crossed else ""
    return Markup("<h2>Where it fails</h2>{}{}").format(parts, ways)


_MOST_PARTS = 20
_SURE = 0.05
_PARTS = Markup(
    '<div class="scroll" tabindex="0" role="group" aria-label="Where it fails"><table '
    'class="lines parts"><thead><tr><th scope="col">Part</th><th scope="col">Wrong, %</th>'
    '<th scope="col">Elsewhere, %</th><th scope="col">More, points</th>'
    '<th scope="col">p, corrected</th>'
    "</tr></thead><tbody>{}</tbody></table></div>"
)
_CROSSED = Markup(
    '<ul class="crossed">{}</ul><p class="hint">Reasoning counts as right where it states an '
    "annotated fact and contradicts none, as wrong where it contradicts one.</p>"
)


def _parts(worse: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Markup:
    return _PARTS.format(Markup().join(_worse(one, labels) for one in worse))


def _worse(one: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    return Markup(
        "<tr><th scope='row'><button type='button' data-event='cut' data-group=\"{}\" "
        'data-field="{}" data-stratum="{}" data-arm="{}">{}: {}</button>'
        "<small>{}, {:,} questions, {:,} images</small></th>"
        "<td data-arm='Wrong'>{}</td><td data-arm='Rest'>{:.1f}</td>"
        "<td data-arm='More'>{}</td><td data-arm='p'>{}</td></tr>"
    ).format(
        one["group"],
        one["field"],
        one["stratum"],
        one["arm"],
        FIELDS[one["field"]],
        one["stratum"],
        labels[one["arm"]],
        one["n"],
        one["images"],
        percent(one["wrong"], one["low"], one["high"]),
        100 * one["rest"],
        percent(one["excess"], one["excess_low"], one["excess_high"], signed=True),
        "< 0.001" if one["p_holm"] < 0.001 else f"{one['p_holm']:.2g}",
    )


def _crossed(one: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    ways = Markup(", ").join(
        Markup(
            "<button type='button' data-event='cut' data-group=\"{}\" data-kind=\"{}\" "
            'data-arm="{}">{}</button> {} %'
        ).format(
            one["group"],
            kind,
            one["arm"],
            words,
            percent(one[kind], one[f"{kind}_low"], one[f"{kind}_high"]),
        )
        for kind, words in (
            ("unlucky", "reasoning right, answer wrong"),
            ("lucky", "answer right, reasoning wrong"),
        )
    )
    return Markup("<li><b>{}</b>: {} of {:,} answers with checked reasoning</li>").format(
        labels[one["arm"]], ways, one["n"]
    )


def _risk(abstention: Sequence[dict[str, Any]]) -> list[str]:
    """The risk-coverage curve, where any answer said that the image does not tell."""
    if not abstention:
        return []
    return [
        _paper(
            "When does it say that it cannot tell?",
            _drawn(risk_curves(abstention), "Risk and coverage"),
            "How many of the given answers are wrong, the surest first. A line that ends before "
            "100 % belongs to a variant that abstains.",
            "",
        )
    ]


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
        ("Beside published results, %", others_table(summary, mode)),
        ("Where it is wrong more often, %", failure_table(summary, mode)),
        ("Under probes, %", probe_table(summary, mode)),
        ("Cannot tell from this image, %", abstention_table(summary, mode)),
        ("By the place of the right option, %", place_table(summary, mode)),
        ("In every order of the options, %", rotation_table(summary, mode)),
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


def listing(
    total: int, shown: Sequence[Shown], current: str, part: tuple[str, str] | None = None
) -> str:
    """The questions that pass a filter.

    Args:
        total: how many pass.
        shown: the first of them.
        current: id of the one that is open.
        part: field and stratum to which the list is narrowed, None for the whole group.
    """
    narrowed = Markup()
    if part is not None:
        narrowed = Markup(
            '<p class="narrowed">{}: {} <button type="button" class="ghost" data-event="widen">'
            "Show all</button></p>"
        ).format(FIELDS[part[0]], part[1])
    if not shown:
        return narrowed + Markup('<div class="nothing"><p>No answer of this kind.</p></div>')
    rows = []
    for one in shown:
        said = Markup().join(
            Markup('<span class="{}">{} <b>{}</b></span>').format(
                "right" if row["exact"] else "wrong",
                one.label(row),
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
    return narrowed + Markup(
        '<p class="count" role="status">{}</p><div class="rows">{}</div>{}'
    ).format(count, Markup().join(rows), more)


def case(shown: Shown) -> str:
    """A question with its scan and every arm's answer."""
    if shown.example is not None and shown.example.image is not None:
        picture = Markup().join(
            Markup(
                '<div class="stage" data-page="stage" tabindex="0" role="group" '
                'aria-label="scan of the question: wheel or + and - zoom, 0 resets"><img '
                'src="{}" alt="Scan of the question" draggable="false"></div>'
            ).format(render.picture_url(image.load()))
            for image in shown.example.images
        )
    else:
        source = str(shown.rows[0]["source"])
        picture = Markup(
            '<div class="nothing"><p>The pixels of this scan are not at hand on this '
            "machine: they belong to the set {}. Set RARL_DATA to the folder that "
            "holds it.</p></div>"
        ).format(source)
    question = shown.question or "The question’s words are with its set."
    reference = shown.reference or "with its set"
    options = Markup().join(
        Markup("<li>{}</li>").format(labelled(shown.options, place))
        for place in range(len(shown.options))
    )
    if options:
        options = Markup('<ul class="options">{}</ul>').format(options)
    flags = shown.has_pixels and bool(shown.question)
    columns = Markup().join(_column(row, shown.label(row), flags) for row in shown.rows)
    mode = {key: label for label, key in MODE_LABELS}.get(shown.rows[0]["mode"], shown.mode)
    return Markup(
        '<div class="case"><div class="case-top"><div class="stages">{}</div><div '
        'class="case-facts"><h4 '
        'class="eyebrow">Question</h4><h2>{}</h2>{}<p><b>Reference: {}</b></p><p '
        'class="facts">{} · {}</p></div></div><div class="columns" '
        'data-count="{}">{}</div></div>'
    ).format(picture, question, options, reference, shown.id, str(mode), len(shown.rows), columns)


def _column(row: Mapping[str, Any], label: str, flags: bool) -> str:
    arm = str(row["arm"])
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
