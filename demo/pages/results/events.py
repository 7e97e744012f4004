"""Handlers of the Results page: evaluations, figures and the answers behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gradio as gr

from demo.context import Parts, Update
from demo.pages.results import html
from demo.pages.results.evaluations import Evaluations, Loaded
from demo.pages.results.flagging import Opened
from demo.pages.results.layout import CHOOSE, ResultsWidgets
from demo.pages.results.made import made as made_html
from demo.pages.results.run import FILTERS, Filter, Results
from demo.pages.review.common import guarded, nothing
from demo.services.asking import MODE_LABELS
from demo.serving.caller import caller_of
from rarl.errors import DataError
from rarl.evaluation.failures import FIELDS
from rarl.evaluation.report import modes
from rarl.review.roles import may, require


@dataclass(frozen=True, slots=True)
class Narrowing:
    """A part of a group of questions, to which the list is narrowed.

    It names the group that it was chosen in: figures that are drawn later, of another group, do
    not have to take it back.

    Attributes:
        run: key of the evaluation.
        mode: inference mode.
        group: name of the group.
        field: of `rarl.evaluation.failures.FIELDS`.
        stratum: value of the field.
    """

    run: str
    mode: str
    group: str
    field: str
    stratum: str

    def within(self, run: str, mode: str, group: str) -> tuple[str, str] | None:
        """Field and stratum, where the list is of this group; else None."""
        if (self.run, self.mode, self.group) != (run, mode, group):
            return None
        return self.field, self.stratum


def drawn_once(evaluations: Evaluations) -> Callable[[str, str, str, str], str]:
    """Makes the drawings of a group, from evaluation, mode, group and pair; each is made once."""

    @lru_cache(maxsize=256)
    def drawn(run: str, mode: str, group: str, pair: str) -> str:
        return html.drawings(results_in(evaluations, run).summary(), mode, group, pair)

    return drawn


def results_in(evaluations: Evaluations, run: str) -> Results:
    """The results of an evaluation.

    Raises:
        DataError: it is no longer there.
    """
    evaluation = evaluations.find(run)
    if evaluation is None:
        raise DataError("This evaluation is no longer there; choose another one.")
    return evaluation.results


@dataclass(frozen=True, slots=True)
class ResultsEvents:
    """The handlers.

    Attributes:
        parts: of the app.
        evaluations: what can be shown.
        loaded: what the app has loaded, None while it has not.
        widgets: of the page.
        drawn: makes the drawings of a group, see `drawn_once`.
    """

    parts: Parts
    evaluations: Evaluations
    loaded: Callable[[], Loaded | None]
    widgets: ResultsWidgets
    drawn: Callable[[str, str, str, str], str]

    def results_of(self, run: str) -> Results:
        """The results of an evaluation, see `results_in`."""
        return results_in(self.evaluations, run)

    def may_add(self, request: gr.Request) -> Update:
        """Offer to add an evaluation to whoever may."""
        role = self.parts.desk.person(request).role
        allowed = self.evaluations.takes_more and may(role, "import")
        return {self.widgets.head.adding: gr.Accordion(visible=allowed)}

    def arrived(self, run: str, by_hand: bool, mode: str) -> Update:
        """The list of evaluations, and the one that is of the loaded model."""
        head = self.widgets.head

        def done() -> Update:
            offered = self.evaluations.listed()
            loaded = self.loaded()
            current = next((evaluation for evaluation in offered if evaluation.key == run), None)
            if current is None or not by_hand:
                current = self.evaluations.fitting(loaded) if loaded else next(iter(offered), None)
            choices = [(evaluation.label, evaluation.key) for evaluation in offered]
            if current is None:
                choices = [("None of the loaded model", ""), *choices]
            chosen = "" if current is None else current.key
            update: Update = {head.run: gr.Dropdown(choices=choices, value=chosen)}
            if chosen != run or not mode:
                return {**update, **self.switched(chosen)}
            summary = self.results_of(chosen).summary()
            return {**update, head.opening: html.opening(summary, loaded)}

        return guarded(head.trouble, "results", done)

    def switched(self, run: str) -> Update:
        """The choices that an evaluation offers; without one, why there are no figures."""
        widgets, figures, answers = self.widgets, self.widgets.figures, self.widgets.answers
        loaded = self.loaded()
        if not run:
            return {
                widgets.head.opening: self._no_figures(loaded),
                widgets.body: gr.Column(visible=False),
                figures.mode: _offer([("–", "")]),
            }
        results = self.results_of(run)
        summary = results.summary()
        labels = [(label, name) for name, label in results.labels().items()]
        names = [name for _, name in labels]
        mode_labels: dict[str, str] = {mode: label for label, mode in MODE_LABELS}
        return {
            widgets.head.opening: html.opening(summary, loaded),
            widgets.body: gr.Column(visible=True),
            figures.mode: _offer([(mode_labels.get(mode, mode), mode) for mode in modes(summary)]),
            figures.group: _offer([(html.titled(group), group) for group in results.groups()]),
            figures.pair: _offer(html.pairs(summary)),
            answers.arm: _offer(labels, names[-1]),
            answers.other: _offer(labels, "sft" if "sft" in names else names[0]),
            figures.made: "",
            answers.case: nothing(*CHOOSE),
            **answers.drawer.closed(),
            widgets.opened: Opened(),
        }

    def _no_figures(self, loaded: Loaded | None) -> str:
        if loaded:
            return html.unmeasured(loaded, bool(self.evaluations.listed()))
        return nothing("No figures yet", "Nothing has been measured yet; run scripts/floors.")

    def chosen_run(self, run: str) -> Update:
        """Show another evaluation."""
        trouble = self.widgets.head.trouble
        shown = guarded(trouble, "results", lambda: self.switched(run))
        return {self.widgets.by_hand: bool(run), **shown}

    def added(self, uploads: list[str] | None, request: gr.Request) -> Update:
        """Add an evaluation and show it."""
        head = self.widgets.head

        def done() -> Update:
            require(self.parts.desk.person(request).role, "import")
            if not uploads:
                raise DataError("Choose the files of an evaluation first.")
            names = [str(upload) for upload in uploads]
            contents = self.parts.uploads.read(names, caller_of(request))
            added = self.evaluations.add(contents)
            choices = [(each.label, each.key) for each in self.evaluations.listed()]
            return {
                head.run: gr.Dropdown(choices=choices, value=added.key),
                head.files: None,
                self.widgets.by_hand: True,
                **self.switched(added.key),
            }

        return guarded(head.trouble, "results", done)

    def chose(self, event: gr.EventData, run: str) -> Any:
        """The group whose line was pressed."""
        group = str(getattr(event, "group", ""))
        evaluation = self.evaluations.find(run)
        return group if evaluation and group in evaluation.results.groups() else gr.skip()

    def redrawn(self, run: str, mode: str, group: str, pair: str) -> Update:
        """The figures of a group."""
        figures = self.widgets.figures

        def done() -> Update:
            summary = self.results_of(run).summary()
            return {
                figures.lines: html.figure_lines(summary, mode, group, pair, self.loaded()),
                figures.drawings: self.drawn(run, mode, group, pair),
                figures.failures: html.failures(summary, mode, group, pair),
                figures.tables: html.tables(summary, mode),
            }

        if not run:
            return {figures.drawings: "", figures.failures: ""}
        return guarded(self.widgets.head.trouble, "results", done)

    def paired(self, pair: str) -> Update:
        """The answers behind a pair are those that one of the two has right alone."""
        answers = self.widgets.answers
        if not pair:
            return {answers.arm: gr.skip()}
        second, first = pair.split(",")
        return {answers.arm: first, answers.other: second, answers.kind: "beats"}

    def listed(
        self,
        run: str,
        mode: str,
        group: str,
        kind: Filter,
        arm: str,
        other: str,
        most: int,
        opened: Opened,
        narrowing: Narrowing | None,
    ) -> Update:
        """The questions that pass the filters."""
        answers = self.widgets.answers

        def done() -> Update:
            part = None if narrowing is None else narrowing.within(run, mode, group)
            total, shown = self.results_of(run).chosen(mode, group, kind, arm, other, most, part)
            return {
                answers.listing: html.listing(total, shown, opened.example, part),
                answers.other: gr.Dropdown(visible=kind == "beats"),
            }

        if not run:
            return {answers.listing: ""}
        return {answers.listing: "", **guarded(self.widgets.head.trouble, "results", done)}

    def asked_how(self, event: gr.EventData, run: str) -> Update:
        """How a variant was made."""
        name = str(getattr(event, "arm", ""))

        def done() -> Update:
            results = self.results_of(run)
            entry = next((e for e in results.summary()["arms"] if e["name"] == name), None)
            if entry is None:
                raise DataError("This variant is not in the evaluation; open the page again.")
            loaded, revision = self.loaded(), str(entry["revision"])
            copied = results.making(name)
            making = copied or (loaded.making(revision) if loaded else copied)
            is_loaded = bool(loaded and revision in loaded.revisions)
            return {self.widgets.figures.made: made_html(results, name, making, is_loaded)}

        return guarded(self.widgets.head.trouble, "results", done)

    def cut(self, event: gr.EventData, run: str, mode: str) -> Update:
        """The wrong answers of a part of the group; the first of them is opened at once."""
        widgets, answers = self.widgets, self.widgets.answers
        # The group that the reader sees, which may differ from one that was just chosen.
        group = str(getattr(event, "group", ""))
        field, stratum = (str(getattr(event, name, "") or "") for name in ("field", "stratum"))
        arm = str(getattr(event, "arm", ""))
        wanted = str(getattr(event, "kind", "") or "wrong")

        def done() -> Update:
            results = self.results_of(run)
            kind = next((kind for _, kind in FILTERS if kind == wanted), None)
            known = arm in results.labels() and group in results.groups()
            if not known or kind is None or (field and field not in FIELDS):
                raise DataError("This part is not in the evaluation; open the page again.")
            part = (field, stratum) if field else None
            _, first = results.chosen(mode, group, kind, arm, arm, 1, part)
            update: Update = {
                widgets.narrowed: Narrowing(run, mode, group, *part) if part else None,
                widgets.figures.group: group,
                answers.arm: arm,
                answers.kind: kind,
                answers.drawer.column: gr.Column(visible=False),
            }
            if first:
                update |= {
                    answers.case: html.case(first[0]),
                    widgets.opened: Opened(run, first[0].id, mode),
                    answers.drawer.note: "",
                }
            return update

        return guarded(widgets.head.trouble, "results", done)

    def picked(self, event: gr.EventData, run: str, mode: str) -> Update:
        """Open a question."""
        name = str(getattr(event, "example", ""))
        answers = self.widgets.answers

        def done() -> Update:
            return {
                answers.case: html.case(self.results_of(run).one(name, mode)),
                **answers.drawer.closed(),
                self.widgets.opened: Opened(run, name, mode),
            }

        return guarded(self.widgets.head.trouble, "results", done)


def _offer(choices: list[tuple[str, Any]], value: str | None = None) -> Any:
    return gr.Dropdown(choices=choices, value=choices[0][1] if value is None else value)
