"""Handlers of the form that draws an audit or a reader study."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.context import QUIET, Update
from demo.pages import render
from demo.pages.review.common import Data, day, guarded, names_in
from demo.pages.review.queue_page import QueuePage
from demo.pages.review.studies_view import StudiesView, studies_in
from demo.services.identity import doubts
from rarl.errors import ReviewError
from rarl.review import Queue, ReviewStore

if TYPE_CHECKING:
    from rarl.review.studies.records import Study


@dataclass(frozen=True, slots=True)
class DrawEvents:
    """The handlers.

    Attributes:
        view: draws the page.
        session: of the page.
        queue: its filters may choose the cases of a study.
    """

    view: StudiesView
    session: gr.State
    queue: QueuePage

    def wire(self) -> None:
        """Listen to the form."""
        widgets, form = self.view.widgets, self.view.widgets.draw_form
        form.draw.click(
            self.drawn,
            {self.session, *form.boxes(), *self.queue.filters},
            [form.title, form.instructions, *widgets.overview],
            **QUIET,
        )

    def drawn(self, request: gr.Request, data: Data) -> Update:
        """Draw an audit or a study, and list it."""
        widgets, form = self.view.widgets, self.view.widgets.draw_form

        def work() -> Update:
            if doubts(form.text(data), data[self.session]):
                raise ReviewError("Write title and texts without names or dates.")
            store = self.view.parts.desk.for_request(request)
            study = (
                self._audit(store, data) if data[form.kind] == "audit" else self._study(store, data)
            )
            notice = f"“{study.title}” is drawn: its readers find it here."
            return {
                **self.view.overview(store),
                form.title: "",
                form.instructions: "",
                widgets.trouble: render.sentence(notice, "done"),
            }

        return guarded(widgets.trouble, "draw", work)

    def _audit(self, store: ReviewStore, data: Data) -> Study:
        form, common = self.view.widgets.draw_form, self._common(data)
        size = self._size(data)
        if size is None:
            raise ReviewError("Say how many answers the audit shall draw.")
        return studies_in(store).draw_audit(
            data[form.title],
            size,
            names_in(data[form.readers]),
            arms=data[form.arms] or None,
            by_worth=bool(data[form.by_worth]),
            **common,
        )

    def _study(self, store: ReviewStore, data: Data) -> Study:
        form, common = self.view.widgets.draw_form, self._common(data)
        all_but_base = [arm.name for arm in self.view.parts.arms() if arm.name != "base"]
        return studies_in(store).draw_study(
            data[form.title],
            names_in(data[form.readers]),
            arms=data[form.arms] or all_but_base,
            cases=self._cases(store, data),
            size=self._size(data),
            conditions=form.study.chosen_conditions(data),
            wrong=form.study.wrong_advice(data),
            consent=data[form.study.consent] or "",
            marks_region=bool(data[form.study.marks]),
            **common,
        )

    def _common(self, data: Data) -> dict[str, Any]:
        """What an audit and a study are both drawn with."""
        form = self.view.widgets.draw_form
        last_day = day(data[form.deadline] or "")
        return {
            "seed": int(data[form.seed] or 0),
            "instructions": data[form.instructions],
            "deadline": last_day and last_day + timedelta(days=1),
        }

    def _size(self, data: Data) -> int | None:
        return int(data[self.view.widgets.draw_form.size] or 0) or None

    def _cases(self, store: ReviewStore, data: Data) -> list[str] | None:
        """Those that the queue shows, or None for all."""
        if data[self.view.widgets.draw_form.cases] != "queue":
            return None
        filters = self.queue.boxes.chosen(data)
        places = Queue(store, filters.study_id).places(filters.queue())
        return list(dict.fromkeys(case_id for case_id, _ in places))
