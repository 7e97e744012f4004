"""Handlers of the review queue's list, its open case and its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.context import FOCUS, FROM_MODULES, NOW, QUIET, Update
from demo.pages import render
from demo.pages.review.common import Data, guarded
from demo.pages.review.queue_view import QueueView
from demo.services.identity import doubts
from demo.session import Session
from rarl.errors import ReviewError
from rarl.review import Queue


@dataclass(frozen=True, slots=True)
class QueueEvents:
    """The handlers.

    Attributes:
        view: draws the queue.
        session: of the page.
    """

    view: QueueView
    session: gr.State

    def wire(self) -> None:
        """Listen to the list and to the form."""
        widgets = self.view.widgets
        side, form, trouble = widgets.side, widgets.form, widgets.trouble
        filters, boxes = side.filters, side.filters.all()
        listing, whole_list = widgets.listing, widgets.whole_list
        turning, everything = widgets.turning, widgets.everything
        typed_into = (filters.text, filters.since, filters.until)
        gr.on(
            [
                *(box.input for box in (*boxes, side.order, side.shape) if box not in typed_into),
                filters.text.change,  # pasted words are no input to Gradio
                *(event for box in typed_into[1:] for event in (box.submit, box.blur)),
            ],
            self.narrowed, listing, whole_list, trigger_mode="always_last", **NOW,
        )  # fmt: skip
        side.total.clear(self.loosened, listing, [*boxes[1:], *whole_list], **NOW)
        side.rows.more(self.more_rows, listing, whole_list, **NOW)
        side.rows.open(self.opened, turning, everything, **NOW)
        widgets.next.click(self.advanced, turning, everything, **NOW)
        # Seconds that this case was being looked at come with the verdict.
        seconds = FROM_MODULES % "RarlReview.seconds()"
        saving: set[Any] = {*turning, self.session, form.seconds}
        form.save.click(None, None, form.seconds, js=seconds, **NOW).then(
            self.saved, saving, everything, **QUIET
        )
        trouble.keep(self.confirmed, saving, everything, **QUIET)
        trouble.retype(None, None, None, js=FOCUS % "#verdict-comment textarea", **NOW)

    def refresh(self, request: gr.Request, data: Data) -> Update:
        """List anew."""

        def done() -> Update:
            store, chosen, place = self.view.at(request, data)
            return self.view.listing(store, chosen, data, place)

        return guarded(self.view.widgets.side.trouble, "list", done)

    def narrowed(self, request: gr.Request, data: Data) -> Update:
        """List from the beginning, by other filters."""
        data[self.view.widgets.place].shown = 1
        return self.refresh(request, data)

    def more_rows(self, request: gr.Request, data: Data) -> Update:
        """List one page more."""
        data[self.view.widgets.place].shown += 1
        return self.refresh(request, data)

    def loosened(self, request: gr.Request, data: Data) -> Update:
        """Empty every filter but whose work it is."""
        empty: Update = dict.fromkeys(self.view.widgets.side.filters.all()[1:], "")
        return {**self.refresh(request, {**data, **empty}), **empty}

    def opened(self, request: gr.Request, event: gr.EventData, data: Data) -> Update:
        """Open an answer of the list."""

        def done() -> Update:
            store, chosen, place = self.view.at(request, data)
            number = str(getattr(event, "number", ""))
            if not number.isdecimal() or int(number) >= len(place.listed):
                raise ReviewError("The list has changed; choose again.")
            item = Queue(store, chosen.study_id).item(*place.listed[int(number)])
            typed = self.view.widgets.form.typed(data)
            shown = self.view.case(store, chosen, place, item, typed)
            return {**shown, **self.view.listing(store, chosen, data, place)}

        return guarded(self.view.widgets.trouble, "open", done)

    def advanced(self, request: gr.Request, data: Data) -> Update:
        """Open the next answer for this person."""

        def done() -> Update:
            store, chosen, place = self.view.at(request, data)
            typed, order = (
                self.view.widgets.form.typed(data),
                self.view.widgets.side.sorted_as(data),
            )
            shown = self.view.next_case(store, chosen, place, typed, order)
            return {**shown, **self.view.listing(store, chosen, data, place)}

        return guarded(self.view.widgets.trouble, "next", done)

    def saved(self, request: gr.Request, data: Data) -> Update:
        """Save the verdict, and open the next answer."""
        view, widgets = self.view, self.view.widgets
        session: Session = data[self.session]
        typed_text = widgets.form.text(data)
        if typed_text not in session.kept and (sentences := doubts(typed_text, session)):
            session.doubted = typed_text
            return {widgets.trouble: render.doubt(sentences, "what you typed")}

        def done() -> Update:
            store, chosen, place = view.at(request, data)
            if place.item is None:
                raise ReviewError("Choose an answer first.")
            judgement = widgets.form.judgement(data)
            queue = Queue(store, place.study_id)
            case_id, arm = place.item
            if place.adjudicates:
                queue.adjudicate(case_id, arm, judgement, key=place.key)
            else:
                queue.judge(case_id, arm, judgement, key=place.key, replaces=place.replaces)
            place.drafts.pop((place.study_id, place.item), None)
            shown = view.next_case(store, chosen, place, None, widgets.side.sorted_as(data))
            return {**shown, **view.listing(store, chosen, data, place)}

        return guarded(widgets.trouble, "judge", done)

    def confirmed(self, request: gr.Request, data: Data) -> Update:
        """Save although something looks like an identity."""
        session: Session = data[self.session]
        session.kept.add(session.doubted)
        return self.saved(request, data)
