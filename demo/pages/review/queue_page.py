"""The review queue: filters and list on the left, case in the middle, verdict on the right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.context import QUIET, Parts, Update
from demo.pages.report.opening import ReportOpening
from demo.pages.review.common import Data, Place, guarded
from demo.pages.review.correction import flag_correction
from demo.pages.review.queue_administration import AdministrationEvents
from demo.pages.review.queue_events import QueueEvents
from demo.pages.review.queue_layout import FilterBoxes, QueueWidgets, queue_layout
from demo.pages.review.queue_view import QueueView
from rarl.errors import ReviewError


@dataclass(frozen=True, slots=True)
class QueuePage:
    """What the other pages reach into.

    Attributes:
        boxes: the filters.
        refresh: lists anew; takes `inputs`, fills `outputs`.
        inputs: the filters, the shape of the list, and the place.
        outputs: what `refresh` fills.
    """

    boxes: FilterBoxes
    refresh: Callable[[gr.Request, Data], Update]
    inputs: set[Any]
    outputs: list[Any]

    @property
    def filters(self) -> tuple[Any, ...]:
        """The filters in the order of `Chosen`."""
        return self.boxes.all()

    @property
    def choices(self) -> tuple[Any, ...]:
        """Those whose choices depend on the store, see `FilterBoxes.offered`."""
        return self.boxes.offered()


def queue_page(parts: Parts, session: gr.State, opening: ReportOpening) -> QueuePage:
    """Lay out the queue and wire it."""
    widgets = queue_layout()
    view = QueueView(parts, widgets)
    events = QueueEvents(view, session)
    events.wire()
    AdministrationEvents(view, session).wire()
    flag_correction(
        parts, session, widgets.place, widgets.case, widgets.trouble, view.redrawn,
        widgets.turning, widgets.everything,
    )  # fmt: skip
    _listen_for_reports(widgets, opening)
    return QueuePage(widgets.side.filters, events.refresh, widgets.listing, widgets.whole_list)


def _listen_for_reports(widgets: QueueWidgets, opening: ReportOpening) -> None:
    """Begin a report from an answer of the open case."""

    def begun(request: gr.Request, event: gr.EventData, data: Data) -> Update:
        def work() -> Update:
            place: Place = data[widgets.place]
            if place.item is None or place.study_id is not None:
                raise ReviewError("Open a flagged answer of the list, then write its report.")
            arm = str(getattr(event, "arm", ""))
            return opening.from_case(request, place.item[0], arm)

        return guarded(widgets.trouble, "report", work)

    widgets.case.report(begun, {widgets.place}, [widgets.trouble, opening.go], **QUIET)
