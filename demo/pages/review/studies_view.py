"""What the studies page shows: the list, the question before a study, and its next task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import gradio as gr
from markupsafe import Markup

from demo.context import Parts, Update
from demo.pages import render
from demo.pages.review.advice_heat_map import heat_map, loaded_engine
from demo.pages.review.studies_html import study_list, task_head, task_view
from demo.pages.review.studies_layout import StudiesWidgets, Taking
from demo.pages.review.taking_part_html import debriefing, joining
from rarl.review import Queue, ReviewStore
from rarl.review.roles import may

if TYPE_CHECKING:
    from rarl.review.studies import Studies
    from rarl.review.studies.records import Study, TaskView

_SEND_LABELS = {
    "only": "Save and next",
    "first": "Keep my answer and show the AI’s",
    "final": "Save and next",
}
_USUAL_CONFIDENCE = 50


def studies_in(store: ReviewStore) -> Studies:
    """The studies of a store."""
    from rarl.review.studies import Studies  # which loads scipy

    return Studies(store)


@dataclass(frozen=True, slots=True)
class StudiesView:
    """Draws the page.

    Attributes:
        parts: of the app.
        widgets: of the page.
    """

    parts: Parts
    widgets: StudiesWidgets

    def overview(self, store: ReviewStore) -> Update:
        """The list, and the form for those who may draw a study."""
        studies = studies_in(store)
        listed = [(study, _progress(store, studies, study)) for study in studies.all()]
        return {
            self.widgets.listed: study_list(
                listed, store.person, may_export=may(store.role, "export")
            ),
            self.widgets.draw_form.accordion: gr.Accordion(visible=may(store.role, "assign")),
        }

    def joining(self, study: Study, taking: Taking) -> Update:
        """What is asked before the first case."""
        form = self.widgets.join_form
        return {
            form.column: gr.Column(visible=True),
            form.text: joining(study),
            form.experience: None,
            form.agrees: gr.Checkbox(False, visible=bool(study.consent)),
            form.trouble: "",
            self.widgets.taking: taking,
        }

    def closed(self) -> Update:
        """Neither a case nor the question before it."""
        return {
            self.widgets.task_form.row: gr.Row(visible=False),
            self.widgets.join_form.column: gr.Column(visible=False),
        }

    def next_task(self, store: ReviewStore, study_id: str, taking: Taking) -> Update:
        """The reader's next case of a study, or the debriefing after the last.

        Args:
            store: with the rights of the reader.
            study_id: the study.
            taking: where the reader is; it moves to the case that is shown.
        """
        studies = studies_in(store)
        study, view = studies.study(study_id), studies.next(study_id)
        if view is not None:
            return self._task(store, study, view, taking)
        taking.study_id = None
        return {
            **self.closed(),
            self.widgets.taking: taking,
            **self.overview(store),
            self.widgets.shown: debriefing(study, studies.debrief(study.id)),
            self.widgets.trouble: render.sentence(f"“{study.title}” is done. Thank you.", "done"),
        }

    def _task(self, store: ReviewStore, study: Study, view: TaskView, taking: Taking) -> Update:
        form, studies, first_read = self.widgets.task_form, studies_in(store), view.first
        heat_map_html = Markup("")
        if view.heat_map:
            shown_advice = studies.shown_advice(study.id, view.position)
            heat_map_html = heat_map(loaded_engine(self.parts.loader), shown_advice)
        taking.position, taking.key, taking.step = view.position, uuid4().hex, view.step
        done, assigned = studies.done(study.id).get(store.person or "", (0, 0))
        confidence = None if first_read is None else first_read.confidence
        return {
            form.row: gr.Row(visible=True),
            self.widgets.join_form.column: gr.Column(visible=False),
            form.case: task_view(view, heat_map_html, study.marks_region),
            form.head: task_head(study, done + 1, assigned, view),
            form.answer: "" if first_read is None else first_read.answer,
            form.confidence: _USUAL_CONFIDENCE if confidence is None else confidence,
            form.comment: gr.Textbox("", visible=view.step != "first"),
            form.place: "",
            form.send: _SEND_LABELS[view.step],
            form.trouble: "",
            self.widgets.taking: taking,
        }


def _progress(store: ReviewStore, studies: Studies, study: Study) -> dict[str, tuple[int, int]]:
    """By reader, how much is done, and of how much."""
    if study.kind == "study":
        return studies.done(study.id)
    progress = Queue(store, study.id).progress()
    return {row.reader: (row.judged, row.assigned) for row in progress}
