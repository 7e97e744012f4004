"""Handlers that assign answers of the queue to readers, dismiss flags and delete cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr

from demo.context import FROM_MODULES, NOW, QUIET, Update
from demo.pages import render
from demo.pages.review.common import Data, Place, guarded, names_in
from demo.pages.review.queue_layout import CHOOSE
from demo.pages.review.queue_view import QueueView
from demo.services.identity import doubts
from rarl.errors import ReviewError
from rarl.records import Item
from rarl.review import Queue
from rarl.review.dismissals import Dismissals

Handler = Callable[[gr.Request, Data], Update]
Which = Literal["open", "ticked", "all"]


@dataclass(frozen=True, slots=True)
class AdministrationEvents:
    """The handlers.

    Attributes:
        view: draws the queue.
        session: of the page.
    """

    view: QueueView
    session: gr.State

    def wire(self) -> None:
        """Listen to the buttons of the three accordions."""
        widgets, buttons = self.view.widgets, self.view.widgets.administration
        everything = widgets.everything
        for button, assigned in (
            (buttons.assign_open, self.assigner(True, "open")),
            (buttons.assign_ticked, self.assigner(True, "ticked")),
            (buttons.assign_all, self.assigner(True, "all")),
            (buttons.take_open, self.assigner(False, "open")),
            (buttons.take_ticked, self.assigner(False, "ticked")),
        ):
            inputs = widgets.listing | {buttons.names, buttons.ticked}
            self._with_ticked(button, assigned, inputs, widgets.whole_list)
        for button, dismissed in (
            (buttons.dismiss_open, self.dismisser(True, "open")),
            (buttons.dismiss_ticked, self.dismisser(True, "ticked")),
            (buttons.restore_open, self.dismisser(False, "open")),
            (buttons.restore_ticked, self.dismisser(False, "ticked")),
        ):
            inputs = widgets.turning | {buttons.dismiss_reason, buttons.ticked, self.session}
            self._with_ticked(button, dismissed, inputs, [buttons.dismiss_reason, *everything])
        buttons.delete.click(
            self.deleted,
            widgets.listing | {buttons.delete_reason, self.session},
            [buttons.delete_reason, *everything],
            **QUIET,
        )

    def _with_ticked(
        self, button: gr.Button, handler: Handler, inputs: set[Any], outputs: list[Any]
    ) -> None:
        """Call a handler once the page's script has written down which answers are ticked."""
        ticked = self.view.widgets.administration.ticked
        button.click(None, None, ticked, js=FROM_MODULES % "RarlReview.ticked()", **NOW).then(
            handler, inputs, outputs, **NOW
        )

    def assigner(self, given: bool, which: Which) -> Handler:
        """A handler that gives answers to readers, or takes them back."""
        widgets = self.view.widgets

        def assigned(request: gr.Request, data: Data) -> Update:
            def done() -> Update:
                store, chosen, place = self.view.at(request, data)
                queue = Queue(store, chosen.study_id)
                wanted = self._items(data, which)
                if which == "all":
                    wanted = list(queue.places(chosen.queue()))
                people = names_in(data[widgets.administration.names])
                if not wanted or not people:
                    raise ReviewError(
                        "Choose answers of the list, and name the readers who shall judge them."
                    )
                changed = sum(queue.assign(wanted, name, given) for name in people)
                sentence = f"{changed} assignment{'' if changed == 1 else 's'} changed."
                return {
                    **self.view.listing(store, chosen, data, place),
                    widgets.trouble: render.sentence(sentence, "done"),
                }

            return guarded(widgets.trouble, "assign", done)

        return assigned

    def dismisser(self, given: bool, which: Which) -> Handler:
        """A handler that dismisses the flags of answers, or restores them."""
        widgets = self.view.widgets
        reason_box = widgets.administration.dismiss_reason

        def dismissed(request: gr.Request, data: Data) -> Update:
            def done() -> Update:
                wanted, reason = self._items(data, which), data[reason_box] or ""
                store, chosen, place = self.view.at(request, data)
                if place.study_id is not None or chosen.study_id is not None:
                    raise ReviewError("Only flagged answers are dismissed, not those of an audit.")
                if not wanted:
                    raise ReviewError("Tick answers of the list, or open one, first.")
                if doubts(reason, data[self.session]):
                    raise ReviewError("The reason stays: write it without names or dates.")
                sentence = _dismissed(Dismissals(store), given, wanted, reason)
                return {
                    reason_box: "",
                    **self.view.redrawn(request, data),
                    widgets.trouble: render.sentence(sentence, "done"),
                }

            return guarded(widgets.trouble, "dismiss", done)

        return dismissed

    def deleted(self, request: gr.Request, data: Data) -> Update:
        """Delete the open case for good."""
        widgets = self.view.widgets
        reason_box = widgets.administration.delete_reason

        def done() -> Update:
            store, chosen, place = self.view.at(request, data)
            if place.item is None:
                raise ReviewError("Choose an answer of the case first.")
            if doubts(data[reason_box], data[self.session]):
                raise ReviewError("The reason stays for good: write it without names or dates.")
            store.delete_case(place.item[0], data[reason_box])
            gone = "The case is deleted for good; a tombstone says when, by whom and why."
            return {
                reason_box: "",
                **self.view.cleared(place, CHOOSE),
                **self.view.listing(store, chosen, data, place),
                widgets.trouble: render.sentence(gone, "done"),
            }

        return guarded(widgets.trouble, "delete", done)

    def _items(self, data: Data, which: Which) -> list[Item]:
        """The answer that is open, or those that are ticked in the list."""
        place: Place = data[self.view.widgets.place]
        if which != "ticked":
            return [place.item] if place.item else []
        places = (data[self.view.widgets.administration.ticked] or "").split(",")
        numbers = [int(number) for number in places if number.isdecimal()]
        return [place.listed[number] for number in numbers if number < len(place.listed)]


def _dismissed(dismissals: Dismissals, given: bool, wanted: list[Item], reason: str) -> str:
    """Dismiss or restore, and say in a sentence what was done."""
    if not given:
        return f"Flags of {_answers(dismissals.restore(wanted, reason))} restored."
    changed = dismissals.dismiss(wanted, reason)
    sentence = f"Flags of {_answers(changed)} dismissed."
    if changed < len(wanted):
        left = _answers(len(wanted) - changed)
        sentence += f" {left} left as they are: judged, or dismissed before."
    return sentence


def _answers(count: int) -> str:
    return f"{count} answer{'' if count == 1 else 's'}"
