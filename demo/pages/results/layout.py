"""The widgets of the Results page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.pages import render
from demo.pages.components import panel
from demo.pages.results.flagging import FlagDrawer, Opened, flag_drawer
from demo.pages.results.run import FILTERS
from demo.pages.review.common import nothing
from demo.templating import render_template

LISTED = 30
CHOOSE = ("Choose a question", "Its scan and every answer to it are shown here.")


@dataclass(frozen=True, slots=True)
class Head:
    """What is shown: the evaluation, and what it says of itself.

    Attributes:
        run: key of the evaluation.
        adding: the form that adds one.
        files: of the evaluation that is added.
        add: adds it.
        trouble: sentences on what went wrong.
        opening: what was measured.
    """

    run: gr.Dropdown
    adding: gr.Accordion
    files: gr.File
    add: gr.Button
    trouble: gr.HTML
    opening: gr.HTML


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a group of questions.

    Attributes:
        mode: form of the answer.
        group: of the questions.
        pair: all variants, or two of them.
        made: how a variant was made, once somebody asks.
        lines: exact match of every group and variant.
        drawings: of the chosen group.
        failures: parts of the group that are wrong more often.
        tables: every other measure.
    """

    mode: gr.Dropdown
    group: gr.Dropdown
    pair: gr.Dropdown
    made: gr.HTML
    lines: gr.HTML
    drawings: gr.HTML
    failures: gr.HTML
    tables: gr.HTML


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers behind the figures.

    Attributes:
        arm: whose answers.
        kind: which of them.
        other: the variant that they are compared with.
        listing: the questions.
        case: the open one.
        drawer: the form in which one of its answers is flagged.
    """

    arm: gr.Dropdown
    kind: gr.Dropdown
    other: gr.Dropdown
    listing: gr.HTML
    case: gr.HTML
    drawer: FlagDrawer


@dataclass(frozen=True, slots=True)
class ResultsWidgets:
    """All widgets of the page.

    Attributes:
        head: the evaluation.
        body: all below, hidden while there are no figures.
        figures: what was measured.
        answers: what is behind it.
        most: how many questions are listed.
        opened: the question that is open, see `Opened`.
        narrowed: the part to which the list is narrowed, see `Narrowing`; or None.
        by_hand: whether the evaluation was chosen by the reader, and is kept whatever is loaded.
    """

    head: Head
    body: gr.Column
    figures: Figures
    answers: Answers
    most: gr.State
    opened: gr.State
    narrowed: gr.State
    by_hand: gr.State

    @property
    def run_choices(self) -> list[Any]:
        """What changes with the evaluation."""
        head, figures, answers = self.head, self.figures, self.answers
        return [head.run, head.opening, self.body, figures.mode, figures.group, figures.pair,
                answers.arm, answers.other, figures.made, answers.case, answers.drawer.column,
                answers.drawer.note, self.opened, head.trouble]  # fmt: skip


def results_layout() -> ResultsWidgets:
    """Lay the page out; nothing is wired yet."""
    with gr.Column(elem_id="results-page"):
        head = _head()
        with gr.Column(elem_id="results-body", visible=False) as body:
            with gr.Row(elem_id="results-choices"):
                mode = _choice("Form of the answer", [("–", "")])
                group = _choice("Questions", [("–", "")])
                pair = _choice("Compare", [("All variants", "")])
            made = panel(elem_id="results-made", events=("close",))
            lines = panel(elem_id="results-lines", events=("choose", "made"))
            drawings = panel(render.sentence("Drawing …", "quiet"), elem_id="results-figures")
            failures = panel(elem_id="results-failures", events=("cut",))
            answers = _answers()
            tables = panel(elem_id="results-more")
    figures = Figures(mode, group, pair, made, lines, drawings, failures, tables)
    return ResultsWidgets(
        head,
        body,
        figures,
        answers,
        most=gr.State(LISTED),
        opened=gr.State(Opened()),
        narrowed=gr.State(None),
        by_hand=gr.State(False),
    )


def _head() -> Head:
    with gr.Row(elem_id="results-runs"):
        run = _choice("Evaluation", [("–", "")], "")
        with gr.Accordion(
            "Add an evaluation", open=False, elem_id="results-add", visible=False
        ) as adding:
            files = gr.File(
                label="summary.json and rows.parquet that rarl evaluate wrote, or a .zip",
                file_types=[".json", ".parquet", ".zip"], file_count="multiple", height=110,
                elem_id="results-files",
            )  # fmt: skip
            add = gr.Button("Add", elem_id="results-add-go")
    trouble = panel(elem_id="results-trouble")
    return Head(run, adding, files, add, trouble, panel(elem_id="results-opening"))


def _answers() -> Answers:
    panel(render_template("heading.html", text="The answers behind it"), elem_id="results-behind")
    with gr.Row(elem_id="results-filters"):
        arm = _choice("Variant", [("–", "")])
        kind = _choice("Answers", list(FILTERS))
        other = _choice("Other variant", [("–", "")])
    with gr.Row(elem_id="results-cases"):
        listing = panel(elem_id="results-list", events=("pick", "more", "widen"))
        with gr.Column(elem_id="results-side"):
            case = panel(nothing(*CHOOSE), elem_id="results-case", events=("complain",))
            drawer = flag_drawer()
    return Answers(arm, kind, other, listing, case, drawer)


def _choice(label: str, choices: list[tuple[str, Any]], value: str | None = None) -> gr.Dropdown:
    return gr.Dropdown(
        choices,
        value=choices[0][1] if value is None else value,
        label=label,
        filterable=False,
        elem_id=f"results-{label.split()[-1].lower()}",
    )
