"""The review queue: filters and list on the left, case in the middle, verdict on the right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.context import Parts, Update
from demo.pages.review.common import Data
from demo.pages.review.correction import flag_correction
from demo.pages.review.queue_administration import AdministrationEvents
from demo.pages.review.queue_events import QueueEvents
from demo.pages.review.queue_layout import FilterBoxes, queue_layout
from demo.pages.review.queue_view import QueueView


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


def queue_page(parts: Parts, session: gr.State) -> QueuePage:
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
    return QueuePage(widgets.side.filters, events.refresh, widgets.listing, widgets.whole_list)
