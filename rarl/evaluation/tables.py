"""A run's summary as tables: plain text for a terminal, Markdown for the README."""

from __future__ import annotations

from typing import Any

import pandas as pd

_METRIC_NAMES = {
    "exact": "Exact match after normalisation",
    "f1": "Token F1",
    "well_formed": "Well-formed answers",
}


def figure_table(summary: dict[str, Any], mode: str, metric: str) -> pd.DataFrame:
    """One metric in one mode, in per cent with 95 % intervals.

    Args:
        summary: as `rarl.evaluation.run.summarise` returns it.
        mode: inference mode.
        metric: "exact", "f1" or "well_formed".

    Returns:
        A row per group and condition, a column per arm after `questions`, `n` and `images`;
        empty where nothing was measured.
    """
    frame = pd.DataFrame(summary["figures"])
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
    return table.reset_index()


def difference_table(summary: dict[str, Any], mode: str) -> pd.DataFrame:
    """All paired differences of exact match in one mode, in points with 95 % intervals."""
    rows = [row for row in summary["differences"] if row["mode"] == mode]
    return pd.DataFrame(
        {
            "questions": row["group"],
            "n": row["n"],
            "difference": f"{row['first']} - {row['second']}",
            "points": percent(row["value"], row["low"], row["high"], signed=True),
            "McNemar p": f"{row['p']:.3g}",
            "other answer": f"{100 * row['changed']:.1f}",
        }
        for row in rows
    )


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


def as_text(summary: dict[str, Any]) -> str:
    """Everything, for a terminal."""
    parts = []
    for mode in dict.fromkeys(figure["mode"] for figure in summary["figures"]):
        for metric, name in _METRIC_NAMES.items():
            table = figure_table(summary, mode, metric)
            if not table.empty:
                parts += [f"{name}, mode {mode}, % [95 % interval]", _aligned(table)]
        table = difference_table(summary, mode)
        if not table.empty:
            parts += [f"Differences in exact match, mode {mode}, points", _aligned(table)]
    return "\n\n".join(parts)


def as_markdown(summary: dict[str, Any]) -> str:
    """Exact match and form of every mode, for the README."""
    parts = []
    for mode in dict.fromkeys(figure["mode"] for figure in summary["figures"]):
        tables = [figure_table(summary, mode, metric) for metric in ("exact", "well_formed")]
        tables[1]["questions"] = "well-formed: " + tables[1]["questions"]
        table = pd.concat(tables).fillna("")
        lines = [list(table.columns), ["---"] * len(table.columns), *table.values.tolist()]
        parts.append("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines))
        parts.append(
            f"{_METRIC_NAMES['exact']}, mode `{mode}`, in % with 95 % intervals (whole images "
            f"resampled); model `{summary['model']}`, revisions "
            + ", ".join(f"{arm['name']} `{arm['revision']}`" for arm in summary["arms"])
            + "."
        )
    return "\n\n".join(parts)


def _aligned(table: pd.DataFrame) -> str:
    text: str = table.to_string(index=False)
    return text
