"""The Results page: figures with intervals, and the answers behind each figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from demo.context import FOCUS, NOW, QUIET, Parts
from demo.pages.results.evaluations import Evaluations, Loaded
from demo.pages.results.events import ResultsEvents, drawn_once
from demo.pages.results.flagging import FlagEvents
from demo.pages.results.layout import LISTED, ResultsWidgets, results_layout

# One after another: of two lists that are drawn at once, the older must not come last.
IN_ORDER: dict[str, Any] = {**QUIET, "concurrency_limit": 1, "concurrency_id": "results-list"}
_TO_CASE = FOCUS % "#results-case .stage"


def results_page(
    parts: Parts, tab: gr.Tab, evaluations: Evaluations, loaded: Callable[[], Loaded | None]
) -> None:
    """Lay out the page inside the current tab, and wire it.

    Args:
        parts: of the app.
        tab: the tab; what takes time is made when it is first looked at.
        evaluations: what can be shown.
        loaded: what the app has loaded, None while it has not.
    """
    widgets = results_layout()
    events = ResultsEvents(parts, evaluations, loaded, widgets, drawn_once(evaluations))
    _wire_figures(events, tab)
    _wire_answers(events)
    FlagEvents(
        parts.desk, evaluations, events.results_of, widgets.answers.drawer, widgets.opened
    ).wire(widgets.answers.case)


def _wire_figures(events: ResultsEvents, tab: gr.Tab) -> None:
    """Listen to what changes the figures; the list of answers follows them."""
    widgets, head, figures = events.widgets, events.widgets.head, events.widgets.figures
    answers, choices = widgets.answers, widgets.run_choices
    tab.select(events.may_add, None, head.adding, **NOW)
    for first in (
        tab.select(events.arrived, [head.run, widgets.by_hand, figures.mode], choices, **NOW),
        head.run.input(events.chosen_run, head.run, [*choices, widgets.by_hand], **NOW),
        head.add.click(events.added, head.files, [*choices, head.files, widgets.by_hand], **QUIET),
        figures.pair.input(
            events.paired, figures.pair, [answers.arm, answers.other, answers.kind], **NOW
        ),
        figures.lines.choose(events.chose, head.run, figures.group, **NOW),
    ):
        _list_after(events, first.then(events.redrawn, **_drawing(widgets)))
    changed = [figures.mode.input, figures.group.input]
    _list_after(events, gr.on(changed, events.redrawn, **_drawing(widgets)))
    cut_out = [widgets.narrowed, figures.group, answers.arm, answers.kind, answers.drawer.column,
               answers.case, widgets.opened, answers.drawer.note, head.trouble]  # fmt: skip
    cutting = figures.failures.cut(events.cut, [head.run, figures.mode], cut_out, **NOW)
    _list_after(events, cutting.then(events.redrawn, **_drawing(widgets)))
    cutting.then(js=_TO_CASE, **NOW)
    figures.lines.made(events.asked_how, head.run, [figures.made, head.trouble], **NOW).then(
        js=FOCUS % "#results-made .made", **NOW
    )
    figures.made.close(lambda: "", None, figures.made, **NOW)


def _wire_answers(events: ResultsEvents) -> None:
    """Listen to the list of answers and its filters."""
    widgets, answers = events.widgets, events.widgets.answers
    filters = [answers.kind.input, answers.arm.input, answers.other.input]
    gr.on(filters, lambda: LISTED, None, widgets.most, **NOW).then(
        events.listed, **_listing(widgets)
    )
    _list_after(events, answers.listing.widen(lambda: None, None, widgets.narrowed, **NOW))
    answers.listing.more(lambda most: most + LISTED, widgets.most, widgets.most, **NOW).then(
        events.listed, **_listing(widgets)
    )
    picking = answers.listing.pick(
        events.picked,
        [widgets.head.run, widgets.figures.mode],
        [answers.case, answers.drawer.column, answers.drawer.note, widgets.opened,
         widgets.head.trouble],
        **NOW,
    )  # fmt: skip
    picking.then(events.listed, **_listing(widgets))
    picking.then(js=_TO_CASE, **NOW)


def _list_after(events: ResultsEvents, event: Any) -> None:
    """List the answers anew, from the beginning, after something else has changed."""
    widgets = events.widgets
    event.then(lambda: LISTED, None, widgets.most, **NOW).then(events.listed, **_listing(widgets))


def _drawing(widgets: ResultsWidgets) -> dict[str, Any]:
    """What `ResultsEvents.redrawn` takes and fills."""
    figures = widgets.figures
    return {
        "inputs": [widgets.head.run, figures.mode, figures.group, figures.pair],
        "outputs": [figures.lines, figures.drawings, figures.failures, figures.tables,
                    widgets.head.trouble],
        **QUIET,
    }  # fmt: skip


def _listing(widgets: ResultsWidgets) -> dict[str, Any]:
    """What `ResultsEvents.listed` takes and fills."""
    figures, answers = widgets.figures, widgets.answers
    return {
        "inputs": [widgets.head.run, figures.mode, figures.group, answers.kind, answers.arm,
                   answers.other, widgets.most, widgets.opened, widgets.narrowed],
        "outputs": [answers.listing, answers.other, widgets.head.trouble],
        **IN_ORDER,
    }  # fmt: skip
