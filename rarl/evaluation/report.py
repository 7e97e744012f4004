"""Write a run as one HTML file without scripts or network access."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from rarl.evaluation.metrics import ALL_GROUP, METRICS
from rarl.evaluation.plots import (
    forest_of_groups,
    reliability_diagram,
    reliance_bars,
    risk_curves,
    svg,
)
from rarl.evaluation.tables import (
    METRIC_NAMES,
    abstention_table,
    calibration_table,
    check_table,
    crossing_table,
    difference_table,
    failure_table,
    figure_table,
    judge_sentences,
    judge_table,
    leakage_table,
    others_table,
    percent,
    place_table,
    probe_table,
    reliance_table,
    rotation_table,
)

_CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", Arial, sans-serif; color: #111; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p.quiet { color: #555; margin: .2rem 0; } ul { padding-left: 1.2rem; }
.warning { border: 2px solid #111; padding: .6rem 1rem; margin: 1rem 0; }
.warning p { margin: .2rem 0; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid #ddd; }
td + td { white-space: nowrap; }
th { border-bottom: 2px solid #111; white-space: nowrap; }
svg { max-width: 100%; height: auto; }
details { margin: .5rem 0; border-bottom: 1px solid #ddd; padding-bottom: .5rem; }
summary { cursor: pointer; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2 { break-after: avoid; }
  figure { break-inside: avoid; } details::details-content { content-visibility: visible; } }
figure { margin: .8rem 0; } figcaption { color: #444; font-size: .85rem; }
"""


# Groups that only repeat rows of others.
REPEATED = (" overall", ", not reworded in training")
_FEWEST_DRAWN = 20


def report_html(summary: Mapping[str, Any]) -> str:
    """The whole report.

    Args:
        summary: as `rarl.evaluation.run.summarise` returns it.
    """
    parts = [*_first_page(summary)]
    for mode in modes(summary):
        parts += _of_mode(summary, mode)
    parts += _judge(summary)
    parts += _leakage(summary)
    parts += _how(summary)
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>RARL evaluation of {escape(str(summary['model']))}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_CSS}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def modes(summary: Mapping[str, Any]) -> list[str]:
    """Inference modes in the order in which they were asked."""
    return list(dict.fromkeys(figure["mode"] for figure in summary["figures"]))


def image_sentences(summary: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Sentences on how much the answers depend on the image.

    Where blank pictures were asked about, they decide; else those swapped in. Groups that only
    repeat rows of others are left out, and so are those of a single image, which tells nothing.

    Returns:
        Warnings, one for each arm and group whose accuracy is not surely better with the image;
        then the same for those that do need it.
    """
    warnings, fine = [], []
    measured = summary.get("reliance", [])
    for entry in measured:
        asked = {
            other["condition"]
            for other in measured
            if (other["group"], other["arm"], other["mode"])
            == (entry["group"], entry["arm"], entry["mode"])
        }
        deciding = "blank" if "blank" in asked else "swapped"
        repeated = entry["group"].endswith(REPEATED)
        if entry["condition"] != deciding or repeated or entry["low"] is None:
            continue
        stand_in = "a blank picture" if deciding == "blank" else "another image"
        gap = percent(entry["value"], entry["low"], entry["high"], signed=True)
        figures = (
            f"{100 * entry['scan']:.1f} % right with the scan, {100 * entry['altered']:.1f} % with "
            f"{stand_in} (difference {gap} points, n {entry['n']}); "
            f"{100 * entry['changed']:.1f} % of the answers change"
        )
        where = f"{entry['arm']} on {entry['group']}, mode {entry['mode']}"
        if entry["low"] > 0:
            fine.append(f"{where}: {figures}.")
        else:
            warnings.append(
                f"{where}: as far as this shows, the answers do not need the image: {figures}."
            )
    return warnings, fine


def _first_page(summary: Mapping[str, Any]) -> Iterator[str]:
    arms = ", ".join(f"{arm['name']} {arm['revision'] or '(not known)'}" for arm in summary["arms"])
    yield f"<h1>Evaluation of {escape(str(summary['model']))}</h1>"
    yield f'<p class="quiet">Variants and the weights that answered: {escape(arms)}</p>'
    yield '<p class="quiet">For research. Not a medical device, not for diagnosis.</p>'
    warnings, fine = image_sentences(summary)
    if warnings:
        warnings_html = "".join(f"<p>{escape(sentence)}</p>" for sentence in warnings)
        heading = "<p><b>Answers that do not need the image</b></p>"
        yield f'<div class="warning">{heading}{warnings_html}</div>'
    if fine:
        fine_html = "".join(f"<li>{escape(sentence)}</li>" for sentence in fine)
        yield f"<h3>Answers that need the image</h3><ul>{fine_html}</ul>"
    if not warnings and not fine:
        yield (
            '<div class="warning"><p>Whether the answers need the image was not measured; '
            "evaluate again with --reliance.</p></div>"
        )


def _of_mode(summary: Mapping[str, Any], mode: str) -> Iterator[str]:
    yield f"<h2>Mode {escape(mode)}</h2>"
    table = figure_table(summary, mode, "exact")
    if not table.empty:
        yield f"<h3>{METRIC_NAMES['exact']}, % [95 % interval]</h3>{_table(table)}"
    yield from _differences(summary, mode)
    table = reliance_table(summary, mode)
    if not table.empty:
        yield "<h3>How much the answers need the image</h3>"
        yield _folded("All conditions of all groups", _table(table))
        yield _folded(
            "Drawn, group by group",
            *(
                _figure(svg(reliance_bars(of), f"Reliance on the image: {group}"), group)
                for group, of in _by_group(summary["reliance"], mode)
            ),
        )
    table = calibration_table(summary, mode)
    if not table.empty:
        yield "<h3>Self-consistency as a confidence</h3>"
        yield _folded("All groups", _table(table))
        yield _folded(
            "Drawn, group by group",
            *(
                _figure(svg(reliability_diagram(of), f"Reliability diagram: {group}"), group)
                for group, of in _by_group(summary["calibration"], mode)
            ),
        )
    for title, table in (
        ("Beside published results, %", others_table(summary, mode)),
        ("Where it is wrong more often, %", failure_table(summary, mode)),
        ("Where reasoning and answer part, %", crossing_table(summary, mode)),
        ("Under probes, %", probe_table(summary, mode)),
        ("Cannot tell from this image, %", abstention_table(summary, mode)),
        ("By the place of the right option, %", place_table(summary, mode)),
        ("In every order of the options, %", rotation_table(summary, mode)),
    ):
        if not table.empty:
            yield f"<h3>{title}</h3>"
            yield _table(table)
    if summary.get("abstention"):
        yield _folded(
            "Risk and coverage, group by group",
            *(
                _figure(svg(risk_curves(of), f"Risk and coverage: {group}"), group)
                for group, of in _by_group(summary["abstention"], mode)
            ),
        )
    table = check_table(summary, mode)
    if not table.empty:
        yield "<h3>Answers that contradict the picture’s own kind, the question or themselves</h3>"
        yield _table(table)
    yield "<h3>Every other measure, % [95 % interval]</h3>"
    for metric in METRICS:
        table = figure_table(summary, mode, metric)
        if metric != "exact" and not table.empty:
            yield _folded(METRIC_NAMES[metric], _table(table))
    table = figure_table(summary, mode, "exact", "strata")
    if not table.empty:
        yield _folded("Exact match by modality, organ and question type", _table(table))


def _differences(summary: Mapping[str, Any], mode: str) -> Iterator[str]:
    """Every arm against the first, drawn; the table of all pairs below, folded."""
    table = difference_table(summary, mode)
    if table.empty:
        return
    yield "<h3>Differences in exact match, points [95 % interval]</h3>"
    base = f"{summary['arms'][0]['name']} scan"
    compared = [
        difference
        for difference in summary["differences"]
        if difference["mode"] == mode and difference["second"] == base
        and difference["first"].endswith(" scan")
        and difference["group"] != ALL_GROUP and not difference["group"].endswith(REPEATED)
    ]  # fmt: skip
    # The wide intervals of small groups would leave the others no room.
    drawn = [
        difference for difference in compared if difference["images"] >= _FEWEST_DRAWN
    ] or compared
    if drawn:
        yield _figure(
            svg(forest_of_groups(drawn), "Differences between arms"),
            "Filled where the paired interval, images resampled, excludes zero."
            + ("" if drawn == compared else " The smallest groups are in the table alone."),
        )
    yield _folded("All pairs of variants, and the scan against other pictures", _table(table))


def _judge(summary: Mapping[str, Any]) -> Iterator[str]:
    sentences = judge_sentences(summary)
    if not sentences:
        return
    yield "<h2>Judge</h2>"
    table = judge_table(summary)
    if not table.empty:
        yield _table(table)
    yield from (f"<p>{escape(sentence)}</p>" for sentence in sentences)


def _leakage(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>What the sets share with training</h2>"
    if summary.get("leakage") is None:
        yield "<p>This was not looked at.</p>"
        return
    yield _table(leakage_table(summary))
    yield (
        '<p class="quiet">Identical: another file with the same pixels. Alike: difference hashes '
        "at most 4 of 64 bits apart, often another patient's same view. The pairs are in "
        "leakage.json.</p>"
    )


def _how(summary: Mapping[str, Any]) -> Iterator[str]:
    interval = summary["interval"]
    yield "<h2>How it was measured</h2>"
    yield (
        f"<p>Intervals: {escape(str(interval['method']))}, {interval['resamples']} resamples, "
        f"{100 * interval['level']:.0f} %. Differences are paired; p is exact McNemar, corrected "
        "after Holm over the table. Closed, open and overall stand apart, each with its n. A row "
        "for each answer, with its raw text and every score, is in rows.parquet.</p>"
    )


def _by_group(
    entries: Sequence[dict[str, Any]], mode: str
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    of_mode = [entry for entry in entries if entry["mode"] == mode]
    for group in dict.fromkeys(entry["group"] for entry in of_mode):
        yield group, [entry for entry in of_mode if entry["group"] == group]


def _folded(title: str, *parts: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"


def _table(table: pd.DataFrame) -> str:
    html = table.to_html(index=False, border=0, na_rep="", escape=True)
    return f'<div class="table">{html}</div>'


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"
