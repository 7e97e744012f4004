"""Charts: counts of flags, error rates from random audits, and agreement between readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.context import QUIET, Parts, Update
from demo.pages.components import panel
from demo.pages.review.common import Labels, guarded, nothing
from demo.pages.review.queue_page import QueuePage
from demo.templating import render_template
from rarl.review import Count, Queue, ReviewStore

if TYPE_CHECKING:
    from rarl.review.studies import Rate, Study
    from rarl.stats.bootstrap import Interval

_SCALES = {
    "correctness kappa": "Correctness, Cohen’s weighted kappa",
    "correctness alpha": "Correctness, Krippendorff’s alpha",
    "explanation kappa": "Explanation, Cohen’s weighted kappa",
    "explanation alpha": "Explanation, Krippendorff’s alpha",
}


def charts_page(parts: Parts, tab: gr.Tab, tabs: gr.Tabs, queue: QueuePage) -> None:
    """Lay out the charts; a bar opens the queue with the cases behind it."""
    charts = panel(
        render_template("hint.html", text="Counting …"), elem_id="charts", events=("through",)
    )
    trouble = panel(elem_id="charts-trouble")

    def drawn(request: gr.Request) -> Update:
        return guarded(
            trouble, "charts", lambda: {charts: _charts(parts.desk.for_request(request), parts)}
        )

    def through(event: gr.EventData) -> Update:
        """Every filter as the bar says, and the queue in front."""
        wanted = {
            name: str(getattr(event, name, ""))
            for name in ("work", "arm", "category", "severity", "modality")
        }
        values = [wanted["work"], "", "", wanted["arm"], wanted["category"], wanted["severity"],
                  wanted["modality"], "", "", "", ""]  # fmt: skip
        return {tabs: gr.Tabs(selected="queue"), **dict(zip(queue.filters, values, strict=True))}

    # Agreement is resampled a thousand times: behind the queue of events, not before the others.
    tab.select(drawn, None, [charts, trouble], **QUIET)
    charts.through(through, None, [tabs, *queue.filters], **QUIET).then(
        queue.refresh, queue.inputs, queue.outputs, **QUIET
    )


def _charts(store: ReviewStore, parts: Parts) -> str:
    # Here, since they load scipy, for which the page should not have to wait.
    from rarl.review.agreement import agreement_of
    from rarl.review.studies import Studies

    studies = Studies(store)
    audits = [study for study in studies.all() if study.kind == "audit"]
    queues = {"": Queue(store), **{audit.id: Queue(store, audit.id) for audit in audits}}
    agreed = {key: agreement_of(store, queue) for key, queue in queues.items()}
    return charts_view(
        by_kind=store.counts(["category", "arm"]),
        severities=store.counts(["severity"]),
        modalities=store.counts(["modality"]),
        rates=[(audit, studies.rates(audit.id)) for audit in audits],
        agreement=[
            (next((audit.title for audit in audits if audit.id == key), "Flagged answers"), values)
            for key, values in agreed.items()
        ],
        labels=Labels.of(store.taxonomy),
        arms=parts.labels(),
    )


def charts_view(
    *,
    by_kind: Sequence[Count],
    severities: Sequence[Count],
    modalities: Sequence[Count],
    rates: Sequence[tuple[Study, Sequence[Rate]]],
    agreement: Sequence[tuple[str, Mapping[str, Interval | None]]],
    labels: Labels,
    arms: Mapping[str, str],
) -> str:
    """All charts; each bar and each cell is a button that triggers "through".

    Args:
        by_kind: counts by category and arm.
        severities: counts by severity.
        modalities: counts by modality.
        rates: each audit with its rates.
        agreement: title of each queue, and what `agreement_of` says of it.
        labels: of the site.
        arms: arm name to what the page calls it.
    """
    if not any(count.flags for count in severities) and not rates:
        return nothing(
            "Nothing to chart yet",
            "Flags are counted here as they come in; rates of error need an audit.",
        )
    return render_template(
        "review/charts.html",
        matrix=_matrix(by_kind, labels, arms),
        severities=_bars(severities, labels.severities),
        modalities=_bars(modalities, {}),
        audits=[
            {
                "id": study.id,
                "title": study.title,
                "rates": [_rate(rate, arms) for rate in of_study],
            }
            for study, of_study in rates
        ],
        agreement=[table for title, values in agreement if (table := _agreement(title, values))],
    )


def _bars(counts: Sequence[Count], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Bars, the gravest first where `labels` say what is graver, else the longest."""
    most = max((count.flags for count in counts), default=1)
    order = list(labels)

    def rank(count: Count) -> int:
        value = count.values[0] or ""
        return -order.index(value) if value in order else -count.flags

    return [
        {
            "value": count.values[0] or "",
            "label": labels.get(count.values[0] or "", count.values[0] or "not stated"),
            "flags": count.flags,
            "share": 100 * count.flags / most,
        }
        for count in sorted(counts, key=rank)
    ]


def _matrix(counts: Sequence[Count], labels: Labels, arms: Mapping[str, str]) -> dict[str, Any]:
    """Flags by category and variant, both in the order in which the site lists them."""
    flags = {count.values: count.flags for count in counts}
    categories = [key for key in labels.categories if any(key == kind for kind, _ in flags)]
    categories += sorted({kind or "" for kind, _ in flags} - set(categories))
    flagged = [key for key in arms if any(key == arm for _, arm in flags)]
    flagged += sorted({arm or "" for _, arm in flags} - set(flagged))
    most = max(flags.values(), default=1)

    def cell(category: str, arm: str) -> dict[str, Any]:
        number = flags.get((category, arm), 0)
        label = arms.get(arm, arm)
        return {"arm": arm, "label": label, "flags": number, "share": number / most}

    return {
        "arms": [arms.get(arm, arm) for arm in flagged],
        "rows": [
            {
                "category": category,
                "label": labels.category(category),
                "cells": [cell(category, arm) for arm in flagged],
            }
            for category in categories
        ],
        "sums": [sum(flags.get((category, arm), 0) for category in categories) for arm in flagged],
        "total": sum(flags.values()),
    }


def _rate(rate: Rate, arms: Mapping[str, str]) -> dict[str, Any]:
    """The share of a variant's answers that are wrong, %."""
    wrong = rate.wrong
    words = f"{wrong.value:.0%} of {wrong.n} wrong"
    has_interval = wrong.low is not None and wrong.high is not None
    if wrong.low is not None and wrong.high is not None:
        words += f", 95 % interval {wrong.low:.0%} to {wrong.high:.0%}"
    return {
        "label": arms.get(rate.arm, rate.arm),
        "words": words,
        "value": 100 * wrong.value,
        "low": 100 * (wrong.low or 0.0) if has_interval else None,
        "high": 100 * (wrong.high or 0.0) if has_interval else None,
        "unsettled": rate.unsettled,
    }


def _agreement(title: str, values: Mapping[str, Interval | None]) -> dict[str, Any] | None:
    """How far readers agree in a queue, None where nothing can be said."""
    rows = [
        (_SCALES[name], _interval(value), value.n)
        for name, value in values.items()
        if value is not None
    ]
    return {"title": title, "rows": rows} if rows else None


def _interval(value: Interval) -> str:
    if value.low is None or value.high is None:
        return f"{value.value:.2f} (one picture: no interval)"
    return f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"
