"""Handlers of a reader who takes part in a study: join, answer case by case, leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.context import FOCUS, FROM_MODULES, NOW, QUIET, Update
from demo.pages import render
from demo.pages.review.common import Data, guarded
from demo.pages.review.studies_events import pressed_study
from demo.pages.review.studies_layout import Taking
from demo.pages.review.studies_view import StudiesView, studies_in
from demo.services.identity import doubts
from demo.session import Session
from rarl.errors import ReviewError
from rarl.review.conditions import CONDITIONS, presentation

if TYPE_CHECKING:
    from rarl.review.studies.records import Study


def asks(study: Study) -> bool:
    """Whether a study asks something of its readers before they begin."""
    conditions = [condition for condition in CONDITIONS if condition in study.conditions]
    return bool(
        study.consent
        or study.wrong_share
        or any(presentation(condition).read_first for condition in conditions)
    )


@dataclass(frozen=True, slots=True)
class TakingEvents:
    """The handlers.

    Attributes:
        view: draws the page.
        session: of the page.
    """

    view: StudiesView
    session: gr.State

    def wire(self) -> None:
        """Listen to the list, the question before a study, and the form for an answer."""
        widgets = self.view.widgets
        join, form, reading = widgets.join_form, widgets.task_form, widgets.reading
        closing = [form.row, join.column, *widgets.overview]
        sending: set[Any] = {self.session, widgets.taking, *form.boxes()}
        widgets.listed.take(self.taken, {widgets.taking}, reading, **QUIET)
        join.begin.click(
            self.joined, {widgets.taking, join.experience, join.agrees}, reading, **QUIET
        )
        join.not_now.click(self.left, {widgets.taking}, closing, **NOW)
        form.send.click(
            None,
            None,
            [form.seconds, form.place],
            js=FROM_MODULES % "[RarlReview.seconds(), RarlReview.marked()]",
            **NOW,
        ).then(self.sent, sending, reading, **QUIET)
        form.trouble.keep(self.confirmed, sending, reading, **QUIET)
        form.trouble.retype(None, None, None, js=FOCUS % "#task-answer textarea", **NOW)
        form.leave.click(self.left, {widgets.taking}, closing, **NOW)

    def taken(self, request: gr.Request, event: gr.EventData, data: Data) -> Update:
        """Open a study: what it asks first, or its next case."""
        widgets = self.view.widgets

        def work() -> Update:
            taking: Taking = data[widgets.taking]
            taking.study_id = pressed_study(event)
            store = self.view.parts.desk.for_request(request)
            studies = studies_in(store)
            study = studies.study(taking.study_id)
            if asks(study) and studies.enrolment(study.id) is None:
                return self.view.joining(study, taking)
            return self.view.next_task(store, taking.study_id, taking)

        return guarded(widgets.trouble, "take part", work)

    def joined(self, request: gr.Request, data: Data) -> Update:
        """Keep that the reader takes part, and open the first case."""
        widgets, form = self.view.widgets, self.view.widgets.join_form

        def work() -> Update:
            taking: Taking = data[widgets.taking]
            store = self.view.parts.desk.for_request(request)
            if taking.study_id is None:
                raise ReviewError("Open the study again.")
            experience = data[form.experience]
            if not experience:
                raise ReviewError("Choose your experience.")
            agrees = bool(data[form.agrees])
            studies_in(store).enrol(taking.study_id, experience, agrees=agrees)
            return self.view.next_task(store, taking.study_id, taking)

        return guarded(form.trouble, "join", work)

    def sent(self, request: gr.Request, data: Data) -> Update:
        """Save the answer, and open what comes next."""
        widgets, form = self.view.widgets, self.view.widgets.task_form
        session: Session = data[self.session]
        typed_text = form.text(data)
        if typed_text not in session.kept and (sentences := doubts(typed_text, session)):
            session.doubted = typed_text
            return {form.trouble: render.doubt(sentences, "what you typed")}

        def work() -> Update:
            store = self.view.parts.desk.for_request(request)
            taking: Taking = data[widgets.taking]
            if taking.study_id is None:
                raise ReviewError("Open the study again.")
            studies, study_id, answer = studies_in(store), taking.study_id, data[form.answer]
            common: dict[str, Any] = {
                "confidence": int(data[form.confidence]),
                "seconds": data[form.seconds],
                "key": taking.key,
                "region": form.region(data),
            }
            if taking.step == "first":
                studies.commit_first(study_id, taking.position, answer, **common)
            else:
                comment = data[form.comment]
                studies.respond(study_id, taking.position, answer, comment=comment, **common)
            return self.view.next_task(store, study_id, taking)

        return guarded(form.trouble, "respond", work)

    def confirmed(self, request: gr.Request, data: Data) -> Update:
        """Save although something looks like an identity."""
        session: Session = data[self.session]
        session.kept.add(session.doubted)
        return self.sent(request, data)

    def left(self, request: gr.Request, data: Data) -> Update:
        """Close the case, and list the studies."""
        widgets = self.view.widgets
        data[widgets.taking].study_id = None

        def work() -> Update:
            return self.view.overview(self.view.parts.desk.for_request(request))

        return {**self.view.closed(), **guarded(widgets.trouble, "studies", work)}
