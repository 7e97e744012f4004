"""Random audits and reader studies: create, take part, read the results."""

from __future__ import annotations

import gradio as gr

from demo.context import Parts
from demo.pages.review.queue_page import QueuePage
from demo.pages.review.studies_drawing import DrawEvents
from demo.pages.review.studies_events import StudyListEvents
from demo.pages.review.studies_layout import studies_layout
from demo.pages.review.studies_taking import TakingEvents
from demo.pages.review.studies_view import StudiesView
from demo.services.downloads import Downloads


def studies_page(
    parts: Parts,
    session: gr.State,
    tab: gr.Tab,
    tabs: gr.Tabs,
    queue: QueuePage,
    downloads: Downloads,
) -> None:
    """Lay out the studies and wire them."""
    view = StudiesView(parts, studies_layout(parts.arms()))
    StudyListEvents(view, queue, downloads).wire(tab, tabs)
    DrawEvents(view, session, queue).wire()
    TakingEvents(view, session).wire()
