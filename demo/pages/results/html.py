"""HTML of the Results page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from demo.pages import answer_html, render
from demo.pages.results.evaluations import Loaded
from demo.pages.results.run import Shown, arm_name
from demo.services.asking import MODE_LABELS
from demo.templating import render_template
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
    split = next(
        (name for name in (*_WORDS, "image-disjoint", "unseen") if rest.startswith(name)), ""
    )
    parts = [_SETS[source], _WORDS.get(split, split), rest.removeprefix(split).strip()]
    return ", ".join(part for part in parts if part)


def opening(summary: Mapping[str, Any], loaded: Loaded | None = None) -> str:
    """What was measured, whether it is what is loaded, and whether the answers need the image.

    Args:
        summary: of the run.
        loaded: what the app has loaded, None while it has not.
    """
    warnings, fine = image_sentences(summary)
    questions = max((figure["n"] for figure in summary["figures"]), default=0)
    images = max((figure["images"] for figure in summary["figures"]), default=0)
    return render_template(
        "results/opening.html",
        model=render.short_name(str(summary["model"])),
        questions=questions,
        images=images,
        weights=[(arm_name(arm), arm["revision"]) for arm in summary["arms"]],
        whose=whose(summary, loaded),
        warnings=warnings,
        compared=len(warnings) + len(fine),
    )


def whose(summary: Mapping[str, Any], loaded: Loaded | None) -> str:
    """Whether the variants that were measured are those that are loaded.

    Args:
        summary: of the run.
        loaded: what the app has loaded, None while it has not.
    """
    is_other, sentence = True, "No model is loaded now."
    if loaded is None:
        return render_template(
            "results/whose.html", sentence=sentence, is_other=False, is_note=False
        )
    revisions = loaded.revisions
    measured = {str(arm["revision"]): arm_name(arm) for arm in summary["arms"]}
    absent = [label for revision, label in measured.items() if revision not in revisions]
    unmeasured = [arm.label for revision, arm in revisions.items() if revision not in measured]
    if len(absent) == len(measured):
        sentence = (
            f"These are not the figures of the loaded model, {loaded.name}: none of its variants "
            "was measured here."
        )
    else:
        is_other = bool(absent or unmeasured)
        sentence = "These are figures of the loaded model."
        if absent:
            sentence += f" Measured here and not loaded: {', '.join(absent)}."
        if unmeasured:
            sentence += f" Loaded and not measured here: {', '.join(unmeasured)}."
    return render_template("results/whose.html", sentence=sentence, is_other=is_other, is_note=True)


def unmeasured(loaded: Loaded, several: bool) -> str:
    """What stands in place of figures where the loaded model has none.

    Args:
        loaded: what the app has loaded.
        several: whether other evaluations can be chosen.
    """
    model = shlex.quote(loaded.model) if loaded.model else "NAME --endpoint URL"
    command = f"python -m rarl evaluate --model {model} --data vqa_rad:test --out runs/evaluation"
    return render_template(
        "results/unmeasured.html", name=loaded.name, command=command, several=several
    )


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
    pair_of_conditions = {f"{arm} scan" for arm in arms}
    apart = {
        row["group"]: row
        for row in summary["differences"]
        if row["mode"] == mode and {row["first"], row["second"]} == pair_of_conditions
    }
    figures = {
        (row["group"], row["condition"], row["arm"]): row
        for row in summary["figures"]
        if (row["mode"], row["metric"]) == (mode, "exact")
    }
    if not figures:
        return render.sentence("Nothing was asked in this form.", "quiet")
    lines = []
    for name in dict.fromkeys(name for name, _, arm in figures if arm in arms):
        cells = {
            arm: (figures.get((name, "scan", arm)), figures.get((name, "blank", arm)))
            for arm in arms
        }
        row = next(scan for scan, _ in cells.values() if scan)
        lines.append(
            {
                "group": name,
                "title": titled(name),
                "current": name == group,
                "questions": row["n"],
                "images": row["images"],
                "blank": any(blank for _, blank in cells.values()),
                "cells": [(labels[arm], _cell(*cell)) for arm, cell in cells.items()],
                "apart": _apart(apart.get(name), labels),
            }
        )
    return render_template(
        "results/figures.html",
        arms=[
            {"name": arm["name"], "label": arm_name(arm), "hint": _standing(arm, loaded)}
            for arm in shown
        ],
        is_pair=len(arms) == 2,
        lines=lines,
    )


def _standing(arm: Mapping[str, Any], loaded: Loaded | None) -> str:
    if loaded is None:
        return "how it was made"
    is_loaded = str(arm["revision"]) in loaded.revisions
    return "how it was made" if is_loaded else "not loaded · how it was made"


def _apart(row: Mapping[str, Any] | None, labels: Mapping[str, str]) -> dict[str, Any] | None:
    """The difference of two variants, in points."""
    if row is None:
        return None
    first, second = (
        labels.get(str(row[side]).removesuffix(" scan"), "") for side in ("first", "second")
    )
    return {
        "value": 100 * row["value"],
        "low": None if row["low"] is None else 100 * row["low"],
        "high": None if row["low"] is None else 100 * row["high"],
        "first": first,
        "second": second,
        "only_first": row["only_first"],
        "only_second": row["only_second"],
    }


def _cell(
    scan: Mapping[str, Any] | None, blank: Mapping[str, Any] | None
) -> dict[str, float | None] | None:
    """Exact match with the scan and with a blank picture, %."""
    if scan is None:
        return None
    return {
        "value": 100 * scan["value"],
        "low": None if scan["low"] is None else 100 * scan["low"],
        "high": None if scan["low"] is None else 100 * scan["high"],
        "blank": None if blank is None else 100 * blank["value"],
    }


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
            entry
            for entry in summary.get(part) or ()
            if (entry["mode"], entry["group"]) == (mode, group)
            and entry.get("arm", "") in {"", *arms}
        ]

    compared = [
        difference
        for difference in of("differences")
        if {difference["first"], difference["second"]} <= {f"{arm} scan" for arm in arms}
    ]
    reliance, calibration = of("reliance"), of("calibration")
    papers = [
        _paper(
            "Differences between variants",
            _drawn(forest(compared), "Differences between variants") if compared else "",
            "Points of exact match; a filled mark has an interval without zero. Paired on the "
            "same questions; whole images are resampled.",
            "Only one variant was asked.",
        ),
        _paper(
            "Do the answers need the image?",
            _drawn(reliance_bars(reliance), "Reliance on the image") if reliance else "",
            "Right answers with the scan and with another picture in its place, and how often "
            "the answer changes.",
            "These questions were not asked again with another picture.",
        ),
        *_risk(of("abstention")),
        _paper(
            "Do sampled answers tell when it is wrong?",
            _drawn(reliability_diagram(calibration), "Reliability diagram") if calibration else "",
            "Self-consistency of sampled answers against how many are right, and accuracy of "
            "the surest answers. On the dotted line, confidence equals accuracy.",
            "No answers were sampled to these questions.",
        ),
    ]
    return render_template("results/drawings.html", title=titled(group), papers=papers)


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
            entry
            for entry in summary.get(part) or ()
            if (entry["mode"], entry["group"]) == (mode, group) and entry["arm"] in arms
        ]

    worse = sorted(
        (failure for failure in of("failures") if failure["excess"] > 0),
        key=lambda failure: (failure["p_holm"], -failure["excess"]),
    )
    sure = [failure for failure in worse if failure["p_holm"] < _SURE]
    doubtful = [failure for failure in worse if failure["p_holm"] >= _SURE]
    crossings = [_crossed(row, labels) for row in of("crossings")]
    if not (worse or crossings):
        return ""
    return render_template(
        "results/failures.html",
        sure=[_worse(row, labels) for row in sure],
        doubtful=[_worse(row, labels) for row in doubtful[:_MOST_PARTS]],
        doubtful_count=len(doubtful),
        crossings=crossings,
    )


_MOST_PARTS = 20
_SURE = 0.05


def _worse(row: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """What the table shows of a part of the group."""
    return {
        "group": row["group"],
        "field": row["field"],
        "stratum": row["stratum"],
        "arm": row["arm"],
        "field_label": FIELDS[row["field"]],
        "label": labels[row["arm"]],
        "questions": row["n"],
        "images": row["images"],
        "wrong": percent(row["wrong"], row["low"], row["high"]),
        "rest": f"{100 * row['rest']:.1f}",
        "more": percent(row["excess"], row["excess_low"], row["excess_high"], signed=True),
        "p": "< 0.001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.2g}",
    }


def _crossed(row: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """How often reasoning and answer of a variant part."""
    ways = [
        {
            "kind": kind,
            "words": words,
            "share": percent(row[kind], row[f"{kind}_low"], row[f"{kind}_high"]),
        }
        for kind, words in (
            ("unlucky", "reasoning right, answer wrong"),
            ("lucky", "answer right, reasoning wrong"),
        )
    ]
    return {
        "group": row["group"],
        "arm": row["arm"],
        "label": labels[row["arm"]],
        "ways": ways,
        "answers": row["n"],
    }


def _risk(abstention: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
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


def _paper(title: str, drawing: str, caption: str, missing: str) -> dict[str, Any]:
    return {"title": title, "drawing": drawing, "caption": caption, "missing": missing}


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
    shown = [(title, _table(table)) for title, table in parts if not table.empty]
    return render_template("results/tables.html", tables=shown)


def _drawn(figure: Figure, title: str) -> Markup:
    """A drawing of ours; Matplotlib escapes the words in it."""
    return Markup(svg(figure, title))  # noqa: S704


def _table(table: pd.DataFrame) -> Markup:
    table = table.rename(columns={"questions": "Questions"})
    if "Questions" in table:
        table["Questions"] = [
            "All questions" if name == ALL_GROUP else titled(name) for name in table["Questions"]
        ]
    html = table.to_html(index=False, border=0, escape=True, na_rep="")
    # pandas has escaped every cell.
    return Markup(html)  # noqa: S704


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
    rows = [
        {
            "id": question.id,
            "current": question.id == current,
            "question": question.question or question.id,
            "answers": [
                (question.label(row), str(row["answer"]), bool(row["exact"]))
                for row in question.rows
            ],
        }
        for question in shown
    ]
    return render_template(
        "results/listing.html",
        total=total,
        rows=rows,
        part=f"{FIELDS[part[0]]}: {part[1]}" if part else "",
    )


def case(shown: Shown) -> str:
    """A question with its scan and every arm's answer."""
    images = shown.example.images if shown.example and shown.example.image else ()
    can_be_flagged = shown.has_pixels and bool(shown.question)
    mode = shown.rows[0]["mode"]
    return render_template(
        "results/case.html",
        pictures=[render.picture_url(image.load()) for image in images],
        source=str(shown.rows[0]["source"]),
        question=shown.question or "The question’s words are with its set.",
        options=[labelled(shown.options, place) for place in range(len(shown.options))],
        reference=shown.reference or "with its set",
        id=shown.id,
        mode=str({key: label for label, key in MODE_LABELS}.get(mode, shown.mode)),
        columns=[_column(row, shown.label(row), can_be_flagged) for row in shown.rows],
    )


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
    button = render_template("results/flag_button.html", arm=arm, label=label) if flags else ""
    return answer_html.column(
        arm,
        label,
        answer=str(row["answer"]),
        reasoning=str(row["reasoning"]),
        problems=[str(problem) for problem in row["problems"]],
        foot=" · ".join(foot),
        flag=button,
        meaning="Right" if row["exact"] else "Wrong",
    )
