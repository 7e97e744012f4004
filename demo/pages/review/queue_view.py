"""What the review queue shows: the list, and the open case with the form for its verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import uuid4

import gradio as gr

from demo.context import Parts, Update
from demo.pages.review.common import Chosen, Data, Labels, Place
from demo.pages.review.queue_html import case_view, flag_list, list_head, progress_table, standing
from demo.pages.review.queue_layout import QueueWidgets, Typed, no_case, written
from demo.templating import render_template
from rarl.records.queue import Order
from rarl.review import Flag, Queue, QueueFilter, QueueItem, ReviewStore, Verdict
from rarl.review.dismissals import Dismissals
from rarl.review.roles import may

_ROWS, _CARDS = 50, 24
_NONE_YET = (
    "Nothing flagged yet",
    "When an answer on the Ask page is wrong or unsafe, press Flag under it. It is kept here with "
    "its scan, its question and the answers of all variants.",
)
_ALL_DONE = ("Nothing waits for you", "Choose another status to see what is done.")
_NO_MATCH = ("Nothing matches", "Loosen the filters to see more.")
_READ, _CORRECT, _SETTLE = "Your verdict", "Correct your verdict", "Adjudicate"


@dataclass(frozen=True, slots=True)
class QueueView:
    """Draws the queue.

    Attributes:
        parts: of the app.
        widgets: of the queue.
    """

    parts: Parts
    widgets: QueueWidgets

    def at(self, request: gr.Request, data: Data) -> tuple[ReviewStore, Chosen, Place]:
        """The store with the rights of who asks, the filters, and where the page stands."""
        widgets = self.widgets
        store = self.parts.desk.for_request(request)
        return store, widgets.side.filters.chosen(data), data[widgets.place]

    def listing(self, store: ReviewStore, chosen: Chosen, data: Data, place: Place) -> Update:
        """The list, the number of answers in it, and the progress of all readers."""
        side, labels = self.widgets.side, Labels.of(store.taxonomy)
        queue = Queue(store, chosen.study_id)
        cards = data[side.shape] == "gallery"
        most = place.shown * (_CARDS if cards else _ROWS)
        items = queue.items(chosen.queue(), most, order=side.sorted_as(data))
        number = queue.count(chosen.queue())
        pictures = store.first_pictures(item.case_id for item in items) if cards else None
        waits = queue.count(QueueFilter(waiting=True))
        settles = may(store.role, "adjudicate")
        disputes = queue.count(QueueFilter(status="differs")) if settles else 0
        narrow = chosen != Chosen(chosen.work, chosen.status)
        place.listed = tuple((item.case_id, item.arm) for item in items)
        dismisses = chosen.study_id is None and bool(items) and may(store.role, "dismiss")
        return {
            side.rows: flag_list(
                items,
                place.item if place.study_id == chosen.study_id else None,
                more=number > len(items),
                empty=_NO_MATCH if narrow else _ALL_DONE if chosen.status else _NONE_YET,
                blind=chosen.study_id is not None,
                labels=labels,
                pictures=pictures,
            ),
            side.total: list_head(str(number), chosen, labels, self.parts.labels()),
            side.progress: progress_table(queue.progress(), store.person, waits, disputes),
            self.widgets.administration.dismissing: gr.Accordion(visible=dismisses),
        }

    def case(
        self,
        store: ReviewStore,
        chosen: Chosen,
        place: Place,
        item: QueueItem,
        typed: Typed | None,
    ) -> Update:
        """The case, and the form as this person may fill it.

        Args:
            store: with the rights of who asks.
            chosen: the filters.
            place: where the page stands; it moves to `item`.
            item: the answer to show.
            typed: what stands in the form about the answer that was open before.
        """
        if place.item is not None and typed is not None:
            place.drafts[place.study_id, place.item] = typed
        verdicts = Queue(store, chosen.study_id).verdicts(item.case_id, item.arm)
        mine = next((v for v in verdicts if v.reader == store.person and v.role == "reader"), None)
        heading = _heading(store, item, mine)
        now_open = (chosen.study_id, (item.case_id, item.arm))
        if now_open != (place.study_id, place.item):
            place.key = uuid4().hex  # the page's clock starts anew with it
        place.study_id, place.item = now_open
        place.replaces = mine.key if heading == _CORRECT and mine is not None else None
        place.adjudicates = heading == _SETTLE
        draft = place.drafts.get((place.study_id, place.item))
        if draft is None and heading == _CORRECT and mine is not None:
            draft = written(mine)
        dismissals = Dismissals(store).of(item.case_id, item.arm)
        return {
            self.widgets.case: case_view(
                item,
                store.case(item.case_id),
                item.flags,
                place=place.key,
                blind=chosen.study_id is not None,
                labels=Labels.of(store.taxonomy),
                me=store.person,
                earlier=_corrected(store, item),
                dismissed={dismissal.flag_key: dismissal for dismissal in dismissals},
            ),
            self.widgets.state: standing(item, verdicts, mine),
            **self._form(item, heading, draft or (None, None, None, "", "", "")),
            self.widgets.administration.assigning: gr.Accordion(visible=may(store.role, "assign")),
            self.widgets.administration.deleting: gr.Accordion(visible=may(store.role, "delete")),
            self.widgets.place: place,
        }

    def _form(self, item: QueueItem, heading: str, values: Typed) -> Update:
        form = self.widgets.form
        return {
            form.column: gr.Column(visible=bool(heading)),
            form.title: render_template("heading.html", text=heading),
            **dict(zip(form.boxes(), values, strict=True)),
            form.agrees: gr.Radio(value=values[2], visible=bool(item.flags)),
            form.save: gr.Button("Correct and next" if heading == _CORRECT else "Save and next"),
        }

    def cleared(self, place: Place, sentence: str) -> Update:
        """No case, and a sentence in its place."""
        place.item = None
        return {
            self.widgets.case: no_case(sentence),
            self.widgets.state: "",
            self.widgets.form.column: gr.Column(visible=False),
            self.widgets.administration.assigning: gr.Accordion(visible=False),
            self.widgets.administration.deleting: gr.Accordion(visible=False),
            self.widgets.place: place,
        }

    def next_case(
        self, store: ReviewStore, chosen: Chosen, place: Place, typed: Typed | None, order: Order
    ) -> Update:
        """The next case for this person, disputes first for those who settle them."""
        item, queue = None, Queue(store, chosen.study_id)
        wanted = replace(chosen, status="").queue()
        if may(store.role, "adjudicate"):
            # Only an adjudicator can settle what readers differ on.
            item = queue.next_to_settle(wanted, place.item)
        if item is None:
            item = queue.next(wanted, place.item, order)
        if item is None:
            sentence = "Nothing waits for you here. Choose an answer to look at it again."
            return self.cleared(place, sentence)
        return self.case(store, chosen, place, item, typed)

    def redrawn(self, request: gr.Request, data: Data) -> Update:
        """The open case and the list, after something about them has changed."""
        store, chosen, place = self.at(request, data)
        shown: Update = {}
        if place.item is not None:
            item = Queue(store, place.study_id).item(*place.item)
            work_of_place = replace(chosen, work=place.study_id or "")
            typed = self.widgets.form.typed(data)
            shown = self.case(store, work_of_place, place, item, typed)
        return {**shown, **self.listing(store, chosen, data, place)}


def _heading(store: ReviewStore, item: QueueItem, mine: Verdict | None) -> str:
    """What this person may do with the form; "" for nothing."""
    if item.status in ("new", "one-reader"):
        if mine is not None:
            return _CORRECT
        given = not item.assigned or store.person in item.assigned
        return _READ if given and may(store.role, "judge") else ""
    settles = mine is None and item.status != "dismissed"
    return _SETTLE if settles and may(store.role, "adjudicate") else ""


def _corrected(store: ReviewStore, item: QueueItem) -> dict[str, Flag]:
    """By key, the flags on an answer that a later one replaces."""
    if not any(flag.replaces for flag in item.flags):
        return {}
    current = {flag.key for flag in item.flags}
    flags = store.flags_of(item.case_id, corrected=True)
    return {
        flag.key: flag for flag in flags if flag.arm == item.arm and flag.key not in current
    }  # fmt: skip
