"""Figures of a report, readable in grey.

Arms differ in marker, line and hatch, never in colour alone. Nothing here touches pyplot, whose
state is global: the figures are drawn from a server's threads.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

LEAST_POINTS = 13.5
"""Of the text in a figure, whose width is 576 points."""

_MARKERS = ("o", "s", "^", "D", "v", "P")
_LINES = ("-", "--", "-.", ":", (0, (1, 1)), (0, (5, 1)))
_GREYS = ("#111111", "#4d4d4d", "#767676", "#2b2b2b", "#5c5c5c", "#8a8a8a")
_FILLS = ("#f2f2f2", "#d0d0d0", "#a6a6a6", "#7d7d7d")
_HATCHES = ("", "////", "\\\\\\\\", "xxxx")  # straight: dots take 200 kB a drawing
_CONDITIONS = ("scan", "blank", "mirrored", "swapped")
_settings = Lock()


def forest(differences: Sequence[dict[str, Any]]) -> Figure:
    """Differences between arms in points, each with its interval; filled where it excludes zero.

    Args:
        differences: as `rarl.evaluation.metrics.Difference` gives them, of one mode.
    """
    figure = Figure(figsize=(8, 1.0 + 0.28 * max(len(differences), 1)), layout="constrained")
    axes = figure.subplots()
    for row, difference in enumerate(reversed(differences)):
        value = 100 * difference["value"]
        low, high = difference["low"], difference["high"]
        sure = low is not None and (low > 0 or high < 0)
        if low is not None:
            axes.plot([100 * low, 100 * high], [row, row], color="black", linewidth=1.1)
        axes.plot(value, row, marker="o", color="black", markersize=5, markerfacecolor=_face(sure))
    axes.axvline(0, color="#555555", linewidth=0.8, linestyle="--")
    several = len({difference["group"] for difference in differences}) > 1
    names = [
        (f"{difference['group']}: " if several else "")
        + f"{_pair(difference['first'], difference['second'])} (n {difference['n']})"
        for difference in reversed(differences)
    ]
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("difference in exact match, points, 95 % interval")
    _plain(axes)
    return figure


def forest_of_groups(differences: Sequence[dict[str, Any]]) -> Figure:
    """The same for many groups: a row for each, in which each pair has its own marker.

    Args:
        differences: as for `forest`; few pairs.
    """
    groups = list(dict.fromkeys(difference["group"] for difference in differences))
    pairs = list(
        dict.fromkeys((difference["first"], difference["second"]) for difference in differences)
    )
    height = 1.1 + len(groups) * (0.16 + 0.13 * len(pairs))
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    for place, (first, second) in enumerate(pairs):
        look: dict[str, Any] = {
            "marker": _MARKERS[place % len(_MARKERS)],
            "color": "black",
            "markersize": 5,
        }
        axes.plot([], [], label=_pair(first, second), markerfacecolor="white", linewidth=0, **look)
        for difference in differences:
            if (difference["first"], difference["second"]) != (first, second):
                continue
            low, high = difference["low"], difference["high"]
            sure = low is not None and (low > 0 or high < 0)
            row = groups.index(difference["group"]) + 0.7 * ((place + 0.5) / len(pairs) - 0.5)
            if low is not None:
                axes.plot([100 * low, 100 * high], [row, row], color="black", linewidth=1)
            axes.plot(100 * difference["value"], row, markerfacecolor=_face(sure), **look)
    axes.axvline(0, color="#555555", linewidth=0.8, linestyle="--")
    counts = {difference["group"]: difference["n"] for difference in differences}
    axes.set_yticks(range(len(groups)), [f"{group} (n {counts[group]})" for group in groups])
    axes.set_ylim(len(groups) - 0.4, -0.6)  # the first on top
    axes.set_xlabel("difference in exact match, points, 95 % interval")
    _plain(axes)
    figure.legend(loc="outside upper center", ncols=len(pairs), frameon=False, fontsize=8)
    return figure


def reliability_diagram(calibration: Sequence[dict[str, Any]]) -> Figure:
    """Accuracy against self-consistency, and selective accuracy beside it; one line per arm.

    Args:
        calibration: as `rarl.evaluation.metrics.Calibration` gives them, of one group and mode.
    """
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
    for index, curve in enumerate(calibration):
        look: dict[str, Any] = {
            "marker": _MARKERS[index % len(_MARKERS)],
            "linestyle": _LINES[index % len(_LINES)],
            "color": _GREYS[index % len(_GREYS)],
            "markersize": 5,
            "markerfacecolor": "white",
            "linewidth": 1.2,
        }
        bins, points = curve["bins"], curve["points"]
        label = f"{curve['arm']} (error {100 * curve['error']:.1f} points)"
        left.plot(
            [each["confidence"] for each in bins],
            [each["accuracy"] for each in bins],
            label=label,
            **look,
        )
        right.plot(
            [each["answered"] for each in points],
            [each["accuracy"] for each in points],
            label=curve["arm"],
            **look,
        )
    left.set(xlabel="self-consistency", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    right.set(xlabel="share answered", ylabel="accuracy of these", xlim=(0, 1.02), ylim=(0, 1.02))
    for axes in (left, right):
        _plain(axes)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure


def reliance_bars(reliance: Sequence[dict[str, Any]]) -> Figure:
    """Accuracy on the scan and on what stood in for it, with the share of changed answers.

    Args:
        reliance: as `rarl.evaluation.metrics.Reliance` gives them, of one group and mode.
    """
    arms = list(dict.fromkeys(entry["arm"] for entry in reliance))
    conditions = [name for name in _CONDITIONS if any(r["condition"] == name for r in reliance)]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = ["scan", *conditions]
    width = 0.8 / len(shown)
    for place, condition in enumerate(shown):
        heights = []
        for arm in arms:
            of = [entry for entry in reliance if entry["arm"] == arm]
            if condition == "scan":
                # Each condition has its own rows; the widest of them stand for the scan.
                heights.append(100 * max(of, key=lambda entry: int(entry["n"]))["scan"])
            else:
                shares = [entry["altered"] for entry in of if entry["condition"] == condition]
                heights.append(100 * shares[0] if shares else 0.0)
        style = _CONDITIONS.index(condition)
        left.bar(
            [index + (place - (len(shown) - 1) / 2) * width for index in range(len(arms))],
            heights,
            width,
            label=condition,
            facecolor=_FILLS[style],
            edgecolor="black",
            hatch=_HATCHES[style],
            linewidth=0.7,
        )
    width = 0.8 / max(len(conditions), 1)
    for place, condition in enumerate(conditions):
        style = _CONDITIONS.index(condition)
        for index, arm in enumerate(arms):
            for entry in reliance:
                if entry["arm"] != arm or entry["condition"] != condition:
                    continue
                low, high = entry["changed_low"], entry["changed_high"]
                at = index + (place - (len(conditions) - 1) / 2) * width
                right.bar(
                    at,
                    100 * entry["changed"],
                    width,
                    facecolor=_FILLS[style],
                    edgecolor="black",
                    hatch=_HATCHES[style],
                    linewidth=0.7,
                )
                if low is not None:
                    right.plot([at, at], [100 * low, 100 * high], color="black", linewidth=1)
    for axes, name in ((left, "exact match, %"), (right, "answers changed, %")):
        axes.set_xticks(range(len(arms)), arms)
        axes.set_ylabel(name)
        axes.set_ylim(0, 100)
        _plain(axes)
    # Outside, since a bar may reach the top.
    figure.legend(loc="outside upper center", ncols=len(shown), frameon=False, fontsize=8)
    return figure


def risk_curves(abstention: Sequence[dict[str, Any]]) -> Figure:
    """How wrong answers are where only the surest questions are answered, a line for each arm.

    Args:
        abstention: as `rarl.evaluation.probes.Abstention` gives it, of one mode and group.
    """
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots()
    for index, entry in enumerate(abstention):
        axes.plot(
            [100 * point["coverage"] for point in entry["points"]],
            [100 * point["risk"] for point in entry["points"]],
            label=f"{entry['arm']} (n {entry['n']})",
            color=_GREYS[index % len(_GREYS)],
            linestyle=_LINES[index % len(_LINES)],
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=4,
            linewidth=1.2,
        )
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("questions answered, surest first, %")
    axes.set_ylabel("wrong, %")
    axes.legend(frameon=False, fontsize=9)
    _plain(axes)
    return figure


def training_curves(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Loss, rewards by kind, and KL with entropy over the steps; None where nothing was logged.

    Args:
        rows: lines of a run's `metrics.jsonl`.
    """
    logged = [row for row in rows if isinstance(row.get("step"), int)]
    rewards = [row["rewards"] if isinstance(row.get("rewards"), Mapping) else {} for row in logged]
    flat = [{**row, **of_row} for row, of_row in zip(logged, rewards, strict=True)]
    kinds = list(dict.fromkeys(name for of_row in rewards for name in of_row))
    wanted = [("loss", ["loss"]), ("rewards", kinds), ("KL, entropy", ["kl", "entropy"])]
    panels = [
        (title, [name for name in names if any(name in _numbers(row) for row in flat)])
        for title, names in wanted
    ]
    panels = [(title, names) for title, names in panels if names]
    if not panels:
        return None
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, names) in zip(drawn, panels, strict=True):
        for index, name in enumerate(names):
            points = [(row["step"], row[name]) for row in flat if name in _numbers(row)]
            axes.plot(
                *zip(*points, strict=True),
                label=name,
                color=_GREYS[index % len(_GREYS)],
                linestyle=_LINES[index % len(_LINES)],
                linewidth=1.2,
            )
        axes.set_title(title)
        axes.set_xlabel("step")
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=9)
        _plain(axes)
    return figure


def svg(figure: Figure, title: str) -> str:
    """The figure as an SVG element on no ground, whose text stays text.

    No text is smaller than `LEAST_POINTS`, which a page that shows the figure 520 pixels wide
    still draws with 12 pixels.

    Args:
        figure: as drawn here.
        title: what a screen reader says.
    """
    for label in figure.findobj(Text):
        label.set_fontsize(max(label.get_fontsize(), LEAST_POINTS))
    buffer = io.StringIO()
    # The settings are the process's.
    with _settings, rc_context({"svg.fonttype": "none", "svg.hashsalt": "rarl"}):
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Title": title}
        )
    svg = buffer.getvalue()
    # Without the declaration, the drawing can stand inside a page.
    return svg[svg.index("<svg") :]


def _numbers(row: Mapping[str, Any]) -> set[str]:
    return {name for name, value in row.items() if isinstance(value, int | float)}


def _pair(first: str, second: str) -> str:
    return f"{first.removesuffix(' scan')} − {second.removesuffix(' scan')}"


def _face(sure: bool) -> str:
    return "black" if sure else "white"


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e3e3e3", linewidth=0.6)
    axes.set_axisbelow(True)
