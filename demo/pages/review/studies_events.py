"""Handlers of the list of studies: what one shows, its export, and withdrawing from it."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from demo.context import NOW, QUIET, Update
from demo.pages import render
from demo.pages.review.common import guarded
from demo.pages.review.queue_page import QueuePage
from demo.pages.review.reliance_html import reliance_view
from demo.pages.review.studies_html import outcomes_view
from demo.pages.review.studies_view import StudiesView, studies_in
from demo.pages.review.taking_part_html import debriefing
from demo.services.downloads import Downloads

_TO_OUTCOMES = "() => document.querySelector('#study-outcomes').scrollIntoView({block: 'nearest'})"


def pressed_study(event: gr.EventData) -> str:
    """Id of the study whose button was pressed, as the page says."""
    return str(getattr(event, "study", ""))


@dataclass(frozen=True, slots=True)
class StudyListEvents:
    """The handlers.

    Attributes:
        view: draws the page.
        queue: where an audit is judged.
        downloads: exports on their way to the browser.
    """

    view: StudiesView
    queue: QueuePage
    downloads: Downloads

    def wire(self, tab: gr.Tab, tabs: gr.Tabs) -> None:
        """Listen to the list.

        Args:
            tab: of the studies.
            tabs: of the review page; they turn to the queue for an audit.
        """
        widgets, queue = self.view.widgets, self.queue
        listed, showing = widgets.listed, [widgets.shown, widgets.trouble]

        def judged(event: gr.EventData) -> Update:
            values = [pressed_study(event), *[""] * (len(queue.filters) - 1)]
            filters = dict(zip(queue.filters, values, strict=True))
            return {tabs: gr.Tabs(selected="queue"), **filters}

        tab.select(self.arrived, None, widgets.overview, **QUIET)
        listed.save(self.saved, None, widgets.trouble, **QUIET)
        listed.show(self.showed, None, showing, **QUIET).then(js=_TO_OUTCOMES, **NOW)
        listed.debrief(self.debriefed, None, showing, **QUIET).then(js=_TO_OUTCOMES, **NOW)
        listed.withdraw(self.withdrew, None, widgets.overview, **QUIET)
        listed.judge(judged, None, [tabs, *queue.filters], **QUIET).then(
            queue.refresh, queue.inputs, queue.outputs, **QUIET
        )

    def arrived(self, request: gr.Request) -> Update:
        """List the studies."""

        def work() -> Update:
            return self.view.overview(self.view.parts.desk.for_request(request))

        return guarded(self.view.widgets.trouble, "studies", work)

    def saved(self, request: gr.Request, event: gr.EventData) -> Update:
        """Offer the responses of a study as a file."""
        trouble = self.view.widgets.trouble

        def work() -> Update:
            studies = studies_in(self.view.parts.desk.for_request(request))
            file = self.downloads.room() / "rarl-study.csv"
            with file.open("w", encoding="utf-8", newline="") as opened_file:
                studies.export_csv(pressed_study(event), opened_file)
            return {trouble: self.downloads.offer(file)}

        return guarded(trouble, "study export", work)

    def showed(self, request: gr.Request, event: gr.EventData) -> Update:
        """Show how readers did under each condition, and how they relied on the AI."""
        from rarl.review.reliance import reliance

        def work() -> Update:
            studies = studies_in(self.view.parts.desk.for_request(request))
            study = studies.study(pressed_study(event))
            outcomes = studies.outcomes(study.id)
            html = outcomes_view(study, outcomes)
            if outcomes:
                html += reliance_view(reliance(studies, study.id))
            return {self.view.widgets.shown: html}

        return guarded(self.view.widgets.trouble, "outcomes", work)

    def debriefed(self, request: gr.Request, event: gr.EventData) -> Update:
        """Show which advice was wrong on purpose."""

        def work() -> Update:
            studies = studies_in(self.view.parts.desk.for_request(request))
            study = studies.study(pressed_study(event))
            return {self.view.widgets.shown: debriefing(study, studies.debrief(study.id))}

        return guarded(self.view.widgets.trouble, "debrief", work)

    def withdrew(self, request: gr.Request, event: gr.EventData) -> Update:
        """Take the reader out of a study."""
        trouble = self.view.widgets.trouble

        def work() -> Update:
            store = self.view.parts.desk.for_request(request)
            studies_in(store).withdraw(pressed_study(event))
            notice = "You have withdrawn: your answers leave what is exported from now on."
            return {**self.view.overview(store), trouble: render.sentence(notice, "done")}

        return guarded(trouble, "withdraw", work)
