"""Charts: what was flagged, as counts; how often arms err, from audits; how far readers agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from demo.components import panel
from demo.parts import QUIET, Parts, Update
from demo.review.common import Labels, guarded, nothing
from demo.review.queue_page import QueueWidgets
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


def charts_page(parts: Parts, tab: gr.Tab, tabs: gr.Tabs, queue: QueueWidgets) -> None:
    """Lay out the charts; a bar opens the queue with the cases behind it."""
    charts = panel('<p class="hint">Counting …</p>', elem_id="charts", events=("through",))
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
    audits = [one for one in studies.all() if one.kind == "audit"]
    queues = {"": Queue(store), **{one.id: Queue(store, one.id) for one in audits}}
    agreed = {key: agreement_of(store, queue) for key, queue in queues.items()}
    return charts_view(
        by_kind=store.counts(["category", "arm"]),
        severities=store.counts(["severity"]),
        modalities=store.counts(["modality"]),
        rates=[(one, studies.rates(one.id)) for one in audits],
        agreement=[
            (next((one.title for one in audits if one.id == key), "Flagged answers"), found)
            for key, found in agreed.items()
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
    total = sum(one.flags for one in severities)
    if not total and not rates:
        return nothing(
            "Nothing to chart yet",
            "Flags are counted here as they come in; rates of error need an audit.",
        )
    return (
        '<div class="charts"><section class="wide"><h2>Flags by kind and variant</h2>'
        '<p class="hint">Counts, not rates: people flag what they notice, and nobody knows what '
        f"was not flagged.</p>{_matrix(by_kind, labels, arms)}</section>"
        f"<section><h2>By severity</h2>{_bars(severities, 'severity', labels.severities)}"
        f"</section><section><h2>By modality</h2>{_bars(modalities, 'modality', {})}</section>"
        f'<section class="wide"><h2>How often answers are wrong</h2>{_rates(rates, arms)}</section>'
        f'<section class="wide"><h2>How far readers agree</h2>{_agreement(agreement)}</section>'
        "</div>"
    )


def _bars(counts: Sequence[Count], by: str, names: Mapping[str, str]) -> str:
    most = max((one.flags for one in counts), default=1)
    order = list(names)
    rows = []
    for one in sorted(
        counts,
        key=lambda c: -order.index(c.values[0] or "") if c.values[0] in order else -c.flags,
    ):
        value = one.values[0]
        word = escape(names.get(value or "", value or "not stated"))
        data = f'data-event="through" data-{by}="{escape(value or "")}"'
        dead = "" if value else " disabled"
        rows.append(
            f'<button type="button" class="bar" {data}{dead} aria-label="{word}: {one.flags} '
            f'flags; show them"><span>{word}</span><i><b style="width:{100 * one.flags / most:.1f}%'
            f'"></b></i><em>{one.flags}</em></button>'
        )
    return "".join(rows)


def _matrix(counts: Sequence[Count], labels: Labels, arms: Mapping[str, str]) -> str:
    number = {one.values: one.flags for one in counts}
    kinds = [key for key in labels.categories if any(key == one.values[0] for one in counts)]
    kinds += sorted({one.values[0] or "" for one in counts} - set(kinds))
    said = [key for key in arms if any(key == one.values[1] for one in counts)]
    said += sorted({one.values[1] or "" for one in counts} - set(said))
    most = max(number.values(), default=1)
    head = "".join(f'<th scope="col">{escape(arms.get(arm, arm))}</th>' for arm in said)
    rows = "".join(
        f'<tr><th scope="row">{labels.category(kind)}</th>'
        + "".join(_cell(number.get((kind, arm), 0), most, kind, arm, labels, arms) for arm in said)
        + f'<td class="sum">{sum(number.get((kind, arm), 0) for arm in said)}</td></tr>'
        for kind in kinds
    )
    sums = "".join(f"<td>{sum(number.get((kind, arm), 0) for kind in kinds)}</td>" for arm in said)
    return (
        f'<table class="matrix"><thead><tr><th></th>{head}<th scope="col">All</th></tr></thead>'
        f'<tbody>{rows}</tbody><tfoot><tr><th scope="row">All</th>{sums}'
        f'<td class="sum">{sum(number.values())}</td></tr></tfoot></table>'
    )


def _cell(
    flags: int, most: int, kind: str, arm: str, labels: Labels, arms: Mapping[str, str]
) -> str:
    if not flags:
        return '<td class="zero">·</td>'
    told = f"{labels.category(kind)}, {escape(arms.get(arm, arm))}: {flags} flags; show them"
    return (
        f'<td><button type="button" data-event="through" data-category="{escape(kind)}" '
        f'data-arm="{escape(arm)}" aria-label="{told}" style="--share:{flags / most:.2f}">{flags}'
        "</button></td>"
    )


def _rates(rates: Sequence[tuple[Study, Sequence[Rate]]], arms: Mapping[str, str]) -> str:
    if not rates:
        return (
            '<p class="hint">Rates need answers that chance chose. Start the app with '
            "RARL_AUDIT_SHARE=0.1 to keep one question in ten, then draw an audit under Studies."
            "</p>"
        )
    rows = ""
    for study, found in rates:
        rows += (
            f'<h3><button type="button" class="link" data-event="through" data-work="{study.id}">'
            f"{escape(study.title)}</button></h3>"
        )
        if not found:
            rows += '<p class="hint">Nothing in it is settled yet.</p>'
        rows += "".join(_rate(one, arms) for one in found)
    return rows


def _rate(rate: Rate, arms: Mapping[str, str]) -> str:
    wrong = rate.wrong
    word = escape(arms.get(rate.arm, rate.arm))
    told = f"{wrong.value:.0%} of {wrong.n} wrong"
    between = ""
    if wrong.low is not None and wrong.high is not None:
        told += f", 95 % interval {wrong.low:.0%} to {wrong.high:.0%}"
        between = (
            f'<u style="left:{100 * wrong.low:.1f}%;'
            f'width:{100 * (wrong.high - wrong.low):.1f}%"></u>'
        )
    left = f"; {rate.unsettled} not settled" if rate.unsettled else ""
    return (
        f'<div class="bar rate"><span>{word}</span><i role="img" aria-label="{word}: {told}">'
        f'{between}<s style="left:{100 * wrong.value:.1f}%"></s></i><em>{told}{left}</em></div>'
    )


def _agreement(agreement: Sequence[tuple[str, Mapping[str, Interval | None]]]) -> str:
    tables = ""
    for title, found in agreement:
        rows = "".join(
            f'<tr><th scope="row">{_SCALES[name]}</th><td>{_interval(value)}</td>'
            f"<td>{value.n}</td></tr>"
            for name, value in found.items()
            if value is not None
        )
        if rows:
            tables += (
                f'<h3>{escape(title)}</h3><table class="outcomes"><thead><tr><th></th>'
                '<th scope="col">Value with 95 % interval</th><th scope="col">Answers</th></tr>'
                f"</thead><tbody>{rows}</tbody></table>"
            )
    return tables or (
        '<p class="hint">Agreement needs answers that two readers have judged, not all of '
        "them alike.</p>"
    )


def _interval(value: Interval) -> str:
    if value.low is None or value.high is None:
        return f"{value.value:.2f} (one picture: no interval)"
    return f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"
