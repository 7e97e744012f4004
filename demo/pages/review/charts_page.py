"""Charts: counts of flags, error rates from random audits, and agreement between readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import gradio as gr
from markupsafe import Markup

from demo.context import QUIET, Parts, Update
from demo.pages.components import panel
from demo.pages.review.common import Labels, guarded, nothing
from demo.pages.review.queue_page import QueuePage
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
    charts = panel(Markup('<p class="hint">Counting …</p>'), elem_id="charts", events=("through",))
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
    return Markup(
        '<div class="charts"><section class="wide"><h2>Flags by kind and '
        'variant</h2><p class="hint">Counts, not rates: people flag what they '
        "notice, and nobody knows what was not "
        "flagged.</p>{}</section><section><h2>By "
        "severity</h2>{}</section><section><h2>By "
        'modality</h2>{}</section><section class="wide"><h2>How often answers are '
        'wrong</h2>{}</section><section class="wide"><h2>How far readers '
        "agree</h2>{}</section></div>"
    ).format(
        _matrix(by_kind, labels, arms),
        _bars(severities, "severity", labels.severities),
        _bars(modalities, "modality", {}),
        _rates(rates, arms),
        _agreement(agreement),
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
        word = names.get(value or "", value or "not stated")
        data = Markup('data-event="through" data-{}="{}"').format(by, value or "")
        dead = "" if value else " disabled"
        rows.append(
            Markup(
                '<button type="button" class="bar" {}{} aria-label="{}: {} flags; show '
                'them"><span>{}</span><i><b '
                'style="width:{:.1f}%"></b></i><em>{}</em></button>'
            ).format(data, dead, word, one.flags, word, 100 * one.flags / most, one.flags)
        )
    return Markup().join(rows)


def _matrix(counts: Sequence[Count], labels: Labels, arms: Mapping[str, str]) -> str:
    number = {one.values: one.flags for one in counts}
    kinds = [key for key in labels.categories if any(key == one.values[0] for one in counts)]
    kinds += sorted({one.values[0] or "" for one in counts} - set(kinds))
    said = [key for key in arms if any(key == one.values[1] for one in counts)]
    said += sorted({one.values[1] or "" for one in counts} - set(said))
    most = max(number.values(), default=1)
    head = Markup().join(
        Markup('<th scope="col">{}</th>').format(arms.get(arm, arm)) for arm in said
    )
    rows = Markup().join(
        Markup('<tr><th scope="row">{}</th>').format(labels.category(kind))
        + Markup().join(
            _cell(number.get((kind, arm), 0), most, kind, arm, labels, arms) for arm in said
        )
        + Markup('<td class="sum">{}</td></tr>').format(
            sum(number.get((kind, arm), 0) for arm in said)
        )
        for kind in kinds
    )
    sums = Markup().join(
        Markup("<td>{}</td>").format(sum(number.get((kind, arm), 0) for kind in kinds))
        for arm in said
    )
    return Markup(
        '<table class="matrix"><thead><tr><th></th>{}<th '
        'scope="col">All</th></tr></thead><tbody>{}</tbody><tfoot><tr><th '
        'scope="row">All</th>{}<td class="sum">{}</td></tr></tfoot></table>'
    ).format(head, rows, sums, sum(number.values()))


def _cell(
    flags: int, most: int, kind: str, arm: str, labels: Labels, arms: Mapping[str, str]
) -> str:
    if not flags:
        return Markup('<td class="zero">·</td>')
    told = f"{labels.category(kind)}, {arms.get(arm, arm)}: {flags} flags; show them"
    return Markup(
        '<td><button type="button" data-event="through" data-category="{}" '
        'data-arm="{}" aria-label="{}" style="--share:{:.2f}">{}</button></td>'
    ).format(kind, arm, told, flags / most, flags)


def _rates(rates: Sequence[tuple[Study, Sequence[Rate]]], arms: Mapping[str, str]) -> str:
    if not rates:
        return Markup(
            '<p class="hint">Error rates need a random sample of answers. Start the app with '
            "RARL_AUDIT_SHARE=0.1 to keep one question in ten, then start an audit "
            "under Studies.</p>"
        )
    rows = ""
    for study, found in rates:
        rows += Markup(
            '<h3><button type="button" class="link" data-event="through" '
            'data-work="{}">{}</button></h3>'
        ).format(study.id, study.title)
        if not found:
            rows += Markup('<p class="hint">Nothing in it is settled yet.</p>')
        rows += Markup().join(_rate(one, arms) for one in found)
    return rows


def _rate(rate: Rate, arms: Mapping[str, str]) -> str:
    wrong = rate.wrong
    word = arms.get(rate.arm, rate.arm)
    told = f"{wrong.value:.0%} of {wrong.n} wrong"
    between = ""
    if wrong.low is not None and wrong.high is not None:
        told += f", 95 % interval {wrong.low:.0%} to {wrong.high:.0%}"
        between = Markup('<u style="left:{:.1f}%;width:{:.1f}%"></u>').format(
            100 * wrong.low, 100 * (wrong.high - wrong.low)
        )
    left = f"; {rate.unsettled} not settled" if rate.unsettled else ""
    return Markup(
        '<div class="bar rate"><span>{}</span><i role="img" aria-label="{}: '
        '{}">{}<s style="left:{:.1f}%"></s></i><em>{}{}</em></div>'
    ).format(word, word, told, between, 100 * wrong.value, told, left)


def _agreement(agreement: Sequence[tuple[str, Mapping[str, Interval | None]]]) -> str:
    tables = ""
    for title, found in agreement:
        rows = Markup().join(
            Markup('<tr><th scope="row">{}</th><td>{}</td><td>{}</td></tr>').format(
                _SCALES[name], _interval(value), value.n
            )
            for name, value in found.items()
            if value is not None
        )
        if rows:
            tables += Markup(
                '<h3>{}</h3><table class="outcomes"><thead><tr><th></th><th '
                'scope="col">Value with 95 % interval</th><th '
                'scope="col">Answers</th></tr></thead><tbody>{}</tbody></table>'
            ).format(title, rows)
    if not tables:
        return Markup(
            '<p class="hint">Agreement needs answers that two readers have judged, not all of them '
            "alike, and of the flagged ones only the one in five counts that chance chose.</p>"
        )
    return Markup(
        '<p class="hint">Where readers choose what they judge, as among flagged answers, only the '
        "one in five counts that chance chose.</p>{}"
    ).format(tables)


def _interval(value: Interval) -> str:
    if value.low is None or value.high is None:
        return f"{value.value:.2f} (one picture: no interval)"
    return f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"
