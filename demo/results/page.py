"""Layout and events of the Results page."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import gradio as gr
from markupsafe import Markup

from demo import render
from demo.asking import MODE_LABELS
from demo.burned_in import without_written
from demo.components import panel
from demo.flagging import Desk
from demo.parts import FOCUS, NOW, QUIET, Update, labelled
from demo.results import html
from demo.results.run import FILTERS, RESULTS, Filter, Results, Shown
from demo.review.common import guarded, nothing
from rarl.errors import DataError, ReviewError
from rarl.evaluation.report import modes
from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.response import MODES, parse_response
from rarl.review import (
    CATEGORIES,
    COMMENT_LIMIT,
    SEVERITIES,
    CaseSnapshot,
    Flag,
    ReviewStore,
    case_from,
)
from rarl.scans import identity_in_text

_LISTED = 30
_CHOOSE = ("Choose a question", "Its scan and all answers to it stand here.")
# The open question's id and mode, the arm that is being flagged, the flag's key, and a comment that
# its writer was asked about.
Opened = tuple[str, str, str, str, str]


def case_of(shown: Shown, case_id: str | None = None) -> CaseSnapshot:
    """A question of the run with every arm's answer, frozen as a case.

    Raises:
        ReviewError: the pixels are not at hand.
        DataError: the image cannot be read.
    """
    if shown.example is None or shown.example.image is None:
        raise ReviewError(
            "The scan of this question is not at hand on this machine, so the case cannot be kept."
        )
    first = shown.rows[0]
    mode = next(one for one in MODES if one == shown.mode)
    arms = [
        Arm(str(row["arm"]), render.label_of(str(row["arm"])), str(row["revision"]))
        for row in shown.rows
    ]
    question = Question(
        images=(NamedImage(shown.example.image.load()),),
        text=shown.question,
        arms=tuple(arm.name for arm in arms),
        mode=mode,
        decoding=Decoding(
            max_new_tokens=int(first["max_new_tokens"]),
            temperature=float(first["temperature"]),
            seed=int(first["seed"]),
        ),
    )
    answers = [
        Answer(
            arm=arm.name,
            response=parse_response(str(row["text"]), mode),
            tokens=int(row["tokens"]),
            seconds=float(row["seconds"]),
            done=True,
        )
        for arm, row in zip(arms, shown.rows, strict=True)
    ]
    return case_from(
        question,
        answers,
        arms=arms,
        model=str(first["model"]),
        prompt_hash=str(first["prompt"]),
        case_id=case_id,
    )


def flag_answer(
    store: ReviewStore,
    shown: Shown,
    arm: str,
    category: str | None,
    severity: str | None,
    comment: str,
    key: str,
) -> Flag:
    """Keep a case from the results, with a flag on one arm's answer.

    Args:
        store: with the rights of whoever flags.
        shown: the question.
        arm: whose answer.
        category: of the taxonomy, None where nothing was chosen.
        severity: likewise.
        comment: free text.
        key: 32 hex digits, of the flag and of its case: sending it again stores nothing twice.

    Raises:
        ReviewError: a choice is missing, the pixels are not at hand, or the store refuses.
        DataError: the image cannot be read.
    """
    if not category:
        raise ReviewError("Choose what is wrong with the answer.")
    if not severity:
        raise ReviewError("Choose how much it would matter.")
    # Nobody was asked about this picture, so that only its hash is kept where it has writing.
    case = store.add_case(without_written(case_of(shown, key)))
    return store.add_flag(case, arm, category, severity, comment.strip(), key=key)


def results_page(desk: Desk, tab: gr.Tab, folder: Path = RESULTS) -> None:
    """Lay out the page inside the current tab, and wire it.

    Args:
        desk: where flags go.
        tab: the tab; what takes time is made when it is first looked at.
        folder: of the run that is shown.
    """
    results = Results(folder)
    try:
        summary = results.summary()
    except DataError as error:
        panel(nothing("No figures yet", str(error)), elem_id="results-page")
        return
    asked = modes(summary)
    arms = [(render.label_of(arm), arm) for arm in results.arms()]
    groups = results.groups()
    words: dict[str, str] = {key: label for label, key in MODE_LABELS}
    with gr.Column(elem_id="results-page"):
        panel(html.opening(summary), elem_id="results-opening")
        with gr.Row(elem_id="results-choices"):
            mode = _choice("Form of the answer", [(words.get(one, one), one) for one in asked])
            group = _choice("Questions", [(html.titled(one), one) for one in groups])
        lines = panel(
            html.figure_lines(summary, asked[0], groups[0]),
            elem_id="results-lines",
            events=("choose",),
        )
        figures = panel(render.sentence("Drawing …", "quiet"), elem_id="results-figures")
        panel(Markup("<h2>The answers behind it</h2>"), elem_id="results-behind")
        with gr.Row(elem_id="results-filters"):
            arm = _choice("Variant", arms, arms[-1][1])
            kind = _choice("Answers", list(FILTERS))
            other = _choice("The other", arms, next((a for _, a in arms if a == "sft"), None))
        trouble = panel(elem_id="results-trouble")
        with gr.Row(elem_id="results-cases"):
            listing = panel(elem_id="results-list", events=("pick", "more"))
            with gr.Column(elem_id="results-side"):
                case = panel(nothing(*_CHOOSE), elem_id="results-case", events=("complain",))
                with gr.Column(elem_id="results-flag", visible=False) as drawer:
                    heading = panel(elem_id="results-flag-heading")
                    category = gr.Radio(labelled(CATEGORIES), label="What is wrong?")
                    severity = gr.Radio(labelled(SEVERITIES), label="How much would it matter?")
                    comment = gr.Textbox(
                        label="Comment", lines=2, max_lines=5, max_length=COMMENT_LIMIT,
                        placeholder="What should it have said? No names or dates.",
                    )  # fmt: skip
                    with gr.Row(elem_id="results-flag-actions"):
                        cancel = gr.Button("Cancel")
                        save = gr.Button("Save flag", variant="primary", elem_id="results-save")
                note = panel(elem_id="results-note")
        more = panel(elem_id="results-more")
    most = gr.State(_LISTED)
    opened = gr.State(("", "", "", "", ""))

    @lru_cache(maxsize=256)
    def drawn(m: str, g: str) -> str:
        return html.drawings(summary, m, g)

    def chose(event: gr.EventData) -> Any:
        name = str(getattr(event, "group", ""))
        return name if name in groups else gr.skip()

    def redrawn(m: str, g: str) -> Update:
        def work() -> Update:
            return {
                lines: html.figure_lines(summary, m, g),
                figures: drawn(m, g),
                more: html.tables(summary, m),
            }

        return guarded(trouble, "results", work)

    def listed(m: str, g: str, k: Filter, a: str, o: str, count: int, at: Opened) -> Update:
        def work() -> Update:
            total, found = results.chosen(m, g, k, a, o, count)
            return {
                listing: html.listing(total, found, at[0]),
                other: gr.Dropdown(visible=k == "beats"),
            }

        return {listing: "", **guarded(trouble, "results", work)}

    def picked(event: gr.EventData, m: str) -> Update:
        name = str(getattr(event, "example", ""))

        def work() -> Update:
            return {
                case: html.case(results.one(name, m)),
                drawer: gr.Column(visible=False),
                note: "",
                opened: (name, m, "", "", ""),
            }

        return guarded(trouble, "results", work)

    def flagging(event: gr.EventData, at: Opened) -> Update:
        name, m, *_ = at
        whose = str(getattr(event, "arm", ""))
        if whose not in results.arms():
            return {note: ""}
        return {
            drawer: gr.Column(visible=True),
            heading: Markup("<h2>Flag {}’s answer</h2>").format(render.label_of(whose)),
            category: None,
            severity: None,
            comment: "",
            note: "",
            opened: (name, m, whose, uuid4().hex, ""),
        }

    def saved(c: str | None, s: str | None, said: str, at: Opened, request: gr.Request) -> Update:
        name, m, whose, key, confirmed = at
        doubts = identity_in_text(said)
        if doubts and confirmed != said:
            told = f"{' '.join(doubts)} Change the comment, or press Save again to keep it."
            return {note: render.sentence(told), opened: (name, m, whose, key, said)}

        def work() -> Update:
            store = desk.for_request(request)
            flag = flag_answer(store, results.one(name, m), whose, c, s, said, key)
            return {
                note: render.flag_saved(flag),
                drawer: gr.Column(visible=False),
                opened: (name, m, "", "", ""),
            }

        return guarded(note, "results", work)

    chosen = [mode, group, kind, arm, other]
    seen = [*chosen, most, opened]
    gr.on(
        [tab.select, mode.change, group.change], redrawn, [mode, group],
        [lines, figures, more, trouble], **QUIET,
    )  # fmt: skip
    gr.on([tab.select, *(one.change for one in chosen)], lambda: _LISTED, None, most, **NOW).then(
        listed, seen, [listing, other, trouble], **QUIET
    )
    lines.choose(chose, None, group, **NOW)
    listing.more(lambda count: count + _LISTED, most, most, **NOW).then(
        listed, seen, [listing, other, trouble], **QUIET
    )
    picking = listing.pick(picked, mode, [case, drawer, note, opened, trouble], **NOW)
    picking.then(listed, seen, [listing, other, trouble], **QUIET)
    picking.then(js=FOCUS % "#results-case .stage", **NOW)
    case.complain(
        flagging, opened, [drawer, heading, category, severity, comment, note, opened], **NOW
    )
    cancel.click(lambda: gr.Column(visible=False), None, drawer, **NOW)
    save.click(saved, [category, severity, comment, opened], [note, drawer, opened], **QUIET)


def _choice(label: str, choices: list[tuple[str, Any]], value: str | None = None) -> gr.Dropdown:
    return gr.Dropdown(
        choices,
        value=value or choices[0][1],
        label=label,
        filterable=False,
        elem_id=f"results-{label.split()[-1].lower()}",
    )
