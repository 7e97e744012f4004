"""Format a run's summary as text for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from rarl.evaluation.failures import FIELDS
from rarl.evaluation.metrics import Figure
from rarl.evaluation.published import beside_others
from rarl.response import CHECK_SENTENCES

_COLUMNS = [field.name for field in fields(Figure)]

METRIC_NAMES = {
    "exact": "Exact match after normalisation",
    "f1": "Token F1",
    "bleu1": "BLEU-1",
    "bleu4": "BLEU-4 of free texts",
    "rouge_l": "ROUGE-L of free texts",
    "meteor": "METEOR of free texts, without synonyms",
    "claim_precision": "Claims of free texts that the reference supports",
    "claim_recall": "Claims of the reference that free texts state",
    "claim_contradicted": "Claims of the reference that free texts contradict",
    "well_formed": "Well-formed answers",
    "hedged": "Answers that hedge",
    "ambiguous": "Answers that name several options",
    "unread": "Answers that name no option",
    "covered": "Annotated facts that the reasoning states",
    "contradicted": "Annotated facts that the reasoning contradicts",
    "agrees": "Reasoning that does not deny its answer",
}


def figure_table(
    summary: Mapping[str, Any], mode: str, metric: str, part: str = "figures"
) -> pd.DataFrame:
    """One metric in one mode, in per cent with 95 % intervals.

    Args:
        summary: as `rarl.evaluation.run.summarise` returns it.
        mode: inference mode.
        metric: one of `METRIC_NAMES`.
        part: "figures", or "strata" for modality, organ and question type.

    Returns:
        A row per group and condition, a column per arm after `questions`, `n` and `images`;
        empty where nothing was measured.
    """
    frame = pd.DataFrame(summary.get(part, []), columns=_COLUMNS)
    frame = frame[(frame["mode"] == mode) & (frame["metric"] == metric)]
    if frame.empty:
        return pd.DataFrame()
    blank = frame["condition"] == "blank"
    frame["questions"] = frame["group"].where(~blank, frame["group"] + ", blank picture")
    frame["cell"] = [
        percent(value, low, high)
        for value, low, high in zip(frame["value"], frame["low"], frame["high"], strict=True)
    ]
    table = frame.pivot(index=["questions", "n", "images"], columns="arm", values="cell")
    table = table.reindex(
        index=pd.MultiIndex.from_frame(frame[["questions", "n", "images"]].drop_duplicates()),
        columns=list(frame["arm"].drop_duplicates()),
    )
    table.columns.name = None
    return table.reset_index().fillna("")


def _of_mode(summary: Mapping[str, Any], part: str, mode: str) -> list[Mapping[str, Any]]:
    """The rows of a part of the summary that are of one mode; none where it has no such part."""
    return [row for row in summary.get(part, []) if row["mode"] == mode]


def difference_table(summary: Mapping[str, Any], mode: str) -> pd.DataFrame:
    """All paired differences of exact match in one mode, in points with 95 % intervals."""
    rows = _of_mode(summary, "differences", mode)
    return pd.DataFrame(
        {
            "questions": row["group"],
            "n": row["n"],
            "difference": f"{row['first']} - {row['second']}",
            "points": percent(row["value"], row["low"], row["high"], signed=True),
            "McNemar p": f"{row['p']:.3g}",
            "p after Holm": f"{row['p_holm']:.3g}",
            "other answer": f"{100 * row['changed']:.1f}",
        }
        for row in rows
    )


def reliance_table(summary: Mapping[str, Any], mode: str) -> pd.DataFrame:
    """Accuracy on the scan and on what stood in for it, per arm, in per cent and points."""
    rows = _of_mode(summary, "reliance", mode)
    return pd.DataFrame(
        {
            "questions": row["group"],
            "arm": row["arm"],
            "instead of the scan": row["condition"],
            "n": row["n"],
            "scan": f"{100 * row['scan']:.1f}",
            "instead": f"{100 * row['altered']:.1f}",
            "points": percent(row["value"], row["low"], row["high"], signed=True),
            "answers changed": percent(row["changed"], row["changed_low"], row["changed_high"]),
            "side flips": ""
            if row["flipped"] is None
            else f"{100 * row['flipped']:.0f} % of {row['sided']}",
        }
        for row in rows
    )


def calibration_table(summary: Mapping[str, Any], mode: str) -> pd.DataFrame:
    """Accuracy, confidence and calibration error per arm, in per cent."""
    rows = _of_mode(summary, "calibration", mode)
    return pd.DataFrame(
        {
            "questions": row["group"],
            "arm": row["arm"],
            "n": row["n"],
            "accuracy": f"{100 * row['accuracy']:.1f}",
            "self-consistency": f"{100 * row['confidence']:.1f}",
            "calibration error": f"{100 * row['error']:.1f}",
            "surest half right": _surest(row["points"]),
            "sampled": f"{row['draws']} at temperature {row['temperature']:g}",
        }
        for row in rows
    )


def others_table(summary: Mapping[str, Any], mode: str) -> pd.DataFrame:
    """The run beside what others have published on the same sets, in per cent."""
    return pd.DataFrame(
        {
            "questions": figure.group,
            "model": figure.model,
            "accuracy": percent(figure.value, figure.low, figure.high),
            "n": "not known" if figure.n is None else str(figure.n),
            "source": figure.source or "this run, exact match",
            "scored otherwise": figure.differs,
        }
        for figure in beside_others(summary, mode)
    )


PROBE_NAMES = {
    "noisy": "noise",
    "faded": "half the contrast",
    "cropped": "border cropped",
    "tilted": "turned by 5 degrees",
    "jpeg": "JPEG of quality 20",
    "small": "half the resolution",
    "suggested": "user suggests a wrong answer",
    "injected question": "instruction in the question",
    "injected picture": "instruction burned into the picture",
    "wrong modality": "question names a wrong modality",
    "absent organ": "asks for an organ that is not shown",
    "absent finding": "asks for a finding that cannot be there",
    "none added": "option “none of these” added, wrong",
    "none right": "option “none of these” is right",
}


def probe_table(summary: Mapping[str, Any], mode: str) -> pd.DataFrame:
    """Answers under each probe, per arm, in per cent and points."""
    rows = _of_mode(summary, "probes", mode)
    return pd.DataFrame(
        {
            "questions": row["group"],
            "arm": row["arm"],
            "probe": PROBE_NAMES.get(row["condition"], row["condition"]),
            "n": row["n"],
            "scan": f"{100 * row['scan']:.1f}",
            "probed": f"{100 * row['probed']:.1f}",
            "points lost": ""
            if row["gap"] is None
            else percent(row["gap"], row["low"], row["high"], signed=True),
            "followed": ""
            if row["followed"] is None
            else percent(row["followed"], row["followed_low"], row["followed_high"]),
            "cannot tell": f"{100 * row['abstained']:.1f}",
        }
        for row in rows
    )


def abstention_table(summary: Mapping[str, Any], mode: str) -> pd.DataFrame:
    """How often answers say that the image does not tell, and the risk of the others."""
    rows = _of_mode(summary, "abstention", mode)
    return pd.DataFrame(
        {
            "questions": row["group"],
            "arm": row["arm"],
            "n": row["n"],
            "cannot tell": f"{100 * row['abstained']:.1f}",
            "of blank pictures": "" if row["blank"] is None else f"{100 * row['blank']:.1f}",
            "wrong where answered": "" if row["risk"] is None else f"{100 * row['risk']:.1f}",
            "area under risk-coverage": "" if row["area"] is None else f"{row['area']:.3f}",
        }
        for row in rows
    )


def failure_table(summary: Mapping[str, Any], mode: str) -> pd.DataFrame:
    """Parts of each group that are wrong more or less often than the rest, per arm."""
    rows = _of_mode(summary, "failures", mode)
    return pd.DataFrame(
        {
            "questions": row["group"],
            "arm": row["arm"],
            "part": f"{FIELDS[row['field']]}: {row['stratum']}",
            "n": row["n"],
            "wrong": percent(row["wrong"], row["low"], row["high"]),
            "elsewhere": f"{100 * row['rest']:.1f}",
            "points more": percent(
                row["excess"], row["excess_low"], row["excess_high"], signed=True
            ),
            "p after Holm": f"{row['p_holm']:.3g}",
        }
        for row in rows
    )


def crossing_table(summary: Mapping[str, Any], mode: str) -> pd.DataFrame:
    """How often reasoning and answer part, per arm, in per cent."""
    rows = _of_mode(summary, "crossings", mode)
    return pd.DataFrame(
        {
            "questions": row["group"],
            "arm": row["arm"],
            "n": row["n"],
            "reasoning right, answer wrong": percent(
                row["unlucky"], row["unlucky_low"], row["unlucky_high"]
            ),
            "answer right, reasoning wrong": percent(
                row["lucky"], row["lucky_low"], row["lucky_high"]
            ),
        }
        for row in rows
    )


def place_table(summary: Mapping[str, Any], mode: str) -> pd.DataFrame:
    """Accuracy by the place of the right option, per arm, in per cent."""
    rows = _of_mode(summary, "places", mode)
    return pd.DataFrame(
        {
            "questions": row["group"],
            "arm": row["arm"],
            "right option": row["letter"],
            "n": row["n"],
            "right": "" if row["right"] is None else percent(row["right"], row["low"], row["high"]),
            "stands there": f"{100 * row['wanted']:.1f}",
            "chosen": f"{100 * row['chosen']:.1f}",
        }
        for row in rows
    )


def rotation_table(summary: Mapping[str, Any], mode: str) -> pd.DataFrame:
    """How answers hold in every order of the options, per arm, in per cent."""
    rows = _of_mode(summary, "rotations", mode)
    return pd.DataFrame(
        {
            "questions": row["group"],
            "arm": row["arm"],
            "n": row["n"],
            "one order": f"{100 * row['once']:.1f}",
            "mean of all orders": percent(row["mean"], row["mean_low"], row["mean_high"]),
            "right in all": percent(row["always"], row["always_low"], row["always_high"]),
            "same option in all": f"{100 * row['same']:.1f}",
        }
        for row in rows
    )


def _surest(points: Sequence[Mapping[str, float]]) -> str:
    """Accuracy where at least half the questions are answered, the fewest of such."""
    point = next(candidate for candidate in points if candidate["answered"] >= 0.5)
    return f"{100 * point['accuracy']:.1f} (of {100 * point['answered']:.0f} %)"


def percent(value: float, low: float | None, high: float | None, signed: bool = False) -> str:
    """A share with its interval, in per cent.

    >>> percent(0.625, 0.55, 0.7), percent(-0.02, None, None, signed=True)
    ('62.5 [55.0, 70.0]', '-2.0')
    """
    sign = "+" if signed else ""
    middle = f"{100 * value:{sign}.1f}"
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return middle
    return f"{middle} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def as_text(summary: Mapping[str, Any]) -> str:
    """Everything, for a terminal."""
    parts = []
    for mode in dict.fromkeys(figure["mode"] for figure in summary["figures"]):
        for metric, name in METRIC_NAMES.items():
            table = figure_table(summary, mode, metric)
            if not table.empty:
                parts += [f"{name}, mode {mode}, % [95 % interval]", _aligned(table)]
        table = difference_table(summary, mode)
        if not table.empty:
            parts += [f"Differences in exact match, mode {mode}, points", _aligned(table)]
        table = reliance_table(summary, mode)
        if not table.empty:
            parts += [f"How much the answers need the image, mode {mode}, %", _aligned(table)]
        table = calibration_table(summary, mode)
        if not table.empty:
            parts += [f"Self-consistency as a confidence, mode {mode}, %", _aligned(table)]
        table = probe_table(summary, mode)
        if not table.empty:
            parts += [f"Under probes, mode {mode}, %", _aligned(table)]
        table = abstention_table(summary, mode)
        if not table.empty:
            parts += [f"Cannot tell from this image, mode {mode}, %", _aligned(table)]
        table = place_table(summary, mode)
        if not table.empty:
            parts += [f"By the place of the right option, mode {mode}, %", _aligned(table)]
        table = rotation_table(summary, mode)
        if not table.empty:
            parts += [f"In every order of the options, mode {mode}, %", _aligned(table)]
    table = judge_table(summary)
    if not table.empty:
        parts.append(_aligned(table))
    parts += judge_sentences(summary)
    return "\n\n".join(parts)


def as_markdown(summary: Mapping[str, Any]) -> str:
    """Exact match and form of every mode, for the README."""
    parts = []
    for mode in dict.fromkeys(figure["mode"] for figure in summary["figures"]):
        tables = [figure_table(summary, mode, metric) for metric in ("exact", "well_formed")]
        tables[1]["questions"] = "well-formed: " + tables[1]["questions"]
        table = pd.concat(tables).fillna("")
        lines = [list(table.columns), ["---"] * len(table.columns), *table.values.tolist()]
        parts.append("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines))
        parts.append(
            f"{METRIC_NAMES['exact']}, mode `{mode}`, in % with 95 % intervals (whole images "
            f"resampled); model `{summary['model']}`, revisions "
            + ", ".join(f"{arm['name']} `{arm['revision']}`" for arm in summary["arms"])
            + "."
        )
    return "\n\n".join(parts)


def check_table(summary: Mapping[str, Any], mode: str) -> pd.DataFrame:
    """How many answers about scans the app would mark, and why; empty where it was not counted."""
    frame = pd.DataFrame(entry for entry in summary.get("checks") or () if entry["mode"] == mode)
    if frame.empty:
        return frame
    names: dict[str, str] = {"any": "At least one mark"}
    names.update(CHECK_SENTENCES.items())
    table = frame.assign(
        mark=frame["check"].map(names),
        cell=[f"{count} of {n}" for count, n in zip(frame["count"], frame["n"], strict=True)],
    ).pivot(index="mark", columns="arm", values="cell")
    order = [name for name in names.values() if name in table.index]
    table = table.reindex(index=order, columns=list(frame["arm"].drop_duplicates()))
    table.columns.name = None
    return table.reset_index().fillna("0")


def leakage_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Images that each set shares with training; empty where that was not measured."""
    return pd.DataFrame(
        {
            "set": leak["source"],
            "split": leak["split"],
            "called": leak["label"],
            "images": leak["images"],
            "in training too": leak["same"],
            "identical to one": leak["identical"],
            "alike to one": leak["near"],
        }
        for leak in summary.get("leakage") or ()
    )


def judge_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """The judge's mean scores, 0 to 3, with 95 % intervals; empty where nothing was judged."""
    return pd.DataFrame(
        {
            "questions": figure["group"],
            "arm": figure["arm"],
            "mode": figure["mode"],
            "score": figure["score"],
            "mean [95 %]": f"{figure['value']:.2f}{_bounds(figure)}",
            "n": figure["n"],
            "missing": figure["missing"],
        }
        for figure in (summary.get("judge") or {}).get("figures", ())
    )


def judge_sentences(summary: Mapping[str, Any]) -> list[str]:
    """Sentences on the judge: coverage, errors and agreement with readers; none without a judge."""
    judged = summary.get("judge")
    if not judged:
        return []
    why = ", ".join(f"{name} {count}" for name, count in judged["problems"].items())
    sentences = [
        f"Judge: model {judged['model']}, prompt {judged['prompt']}, temperature "
        f"{judged['temperature']}. Scores from 0 to 3. {judged['judged']} answers judged; "
        f"{judged['missing']} judgements are missing or malformed"
        + (f" ({why})" if why else "")
        + " and count for nothing."
    ]
    for entry in judged["agreement"]:
        if entry["kappa"] is None:
            sentences.append(
                f"Against readers, {entry['score']}: {entry['n']} answers judged by both, too "
                "few for an agreement."
            )
        else:
            sentences.append(
                f"Against readers, {entry['score']}: weighted kappa {entry['kappa']:.2f}"
                f"{_bounds(entry)}, the same score in {100 * entry['exact']:.0f} % of {entry['n']}."
            )
    return sentences


def _bounds(entry: Mapping[str, Any]) -> str:
    return "" if entry["low"] is None else f" [{entry['low']:.2f}, {entry['high']:.2f}]"


def _aligned(table: pd.DataFrame) -> str:
    text: str = table.to_string(index=False)
    return text
