"""Flag an answer of the Results page: its case is kept with the flag, as for the Ask page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import uuid4

import gradio as gr

from demo.context import NOW, QUIET, Update, labelled
from demo.pages import render
from demo.pages.components import panel
from demo.pages.results.evaluations import Evaluations
from demo.pages.results.run import Results, Shown
from demo.pages.review.common import guarded
from demo.services.burned_in import without_written
from demo.services.flagging import Desk
from demo.templating import render_template
from rarl.errors import ReviewError
from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.response import MODES, parse_response
from rarl.review import COMMENT_LIMIT, CaseSnapshot, Flag, FlagDraft, ReviewStore, case_from
from rarl.review.taxonomy import Taxonomy
from rarl.scans import identity_in_text


@dataclass(frozen=True, slots=True)
class Opened:
    """The question that is open, and the flag that is being written about it.

    Attributes:
        run: key of the evaluation.
        example: the question's id.
        mode: inference mode.
        arm: whose answer is being flagged.
        key: of the flag.
        confirmed: a comment that its writer was asked about.
    """

    run: str = ""
    example: str = ""
    mode: str = ""
    arm: str = ""
    key: str = ""
    confirmed: str = ""


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
    mode = next(mode_name for mode_name in MODES if mode_name == shown.mode)
    arms = [Arm(str(row["arm"]), shown.label(row), str(row["revision"])) for row in shown.rows]
    question = Question(
        images=tuple(NamedImage(image.load()) for image in shown.example.images),
        text=shown.question,
        arms=tuple(arm.name for arm in arms),
        mode=mode,
        decoding=Decoding(
            max_new_tokens=int(first["max_new_tokens"]),
            temperature=float(first["temperature"]),
            seed=int(first["seed"]),
        ),
        options=shown.options,
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
    draft = FlagDraft.checked(
        case_id=key, arm=arm, category=category, severity=severity, comment=comment, key=key
    )
    # Nobody was asked about this picture, so that only its hash is kept where it has writing.
    store.add_case(without_written(case_of(shown, key)))
    return store.keep_flag(draft)


@dataclass(frozen=True, slots=True)
class FlagDrawer:
    """The form under a question.

    Attributes:
        column: the form.
        heading: whose answer is flagged.
        category: key of the taxonomy.
        severity: likewise.
        comment: free text.
        cancel: closes the form.
        save: sends the flag.
        note: what came of it.
    """

    column: gr.Column
    heading: gr.HTML
    category: gr.Radio
    severity: gr.Radio
    comment: gr.Textbox
    cancel: gr.Button
    save: gr.Button
    note: gr.HTML

    def closed(self) -> Update:
        """The form as it is while no answer is flagged."""
        return {self.column: gr.Column(visible=False), self.note: ""}


def flag_drawer() -> FlagDrawer:
    """Lay the form out, hidden."""
    with gr.Column(elem_id="results-flag", visible=False) as column:
        heading = panel(elem_id="results-flag-heading")
        # The site's own lists, once the drawer opens.
        usual = Taxonomy()
        category = gr.Radio(labelled(usual.categories), label="What is wrong?")
        severity = gr.Radio(labelled(usual.severities), label="How much would it matter?")
        comment = gr.Textbox(
            label="Comment", lines=2, max_lines=5, max_length=COMMENT_LIMIT,
            placeholder="What should it have said? No names or dates.",
        )  # fmt: skip
        with gr.Row(elem_id="results-flag-actions"):
            cancel = gr.Button("Cancel")
            save = gr.Button("Save flag", variant="primary", elem_id="results-save")
    note = panel(elem_id="results-note")
    return FlagDrawer(column, heading, category, severity, comment, cancel, save, note)


@dataclass(frozen=True, slots=True)
class FlagEvents:
    """The handlers of the form.

    Attributes:
        desk: the review store.
        evaluations: what can be shown.
        results_of: the results of an evaluation by its key; raises DataError.
        drawer: the form.
        opened: the question that is open, see `Opened`.
    """

    desk: Desk
    evaluations: Evaluations
    results_of: Callable[[str], Results]
    drawer: FlagDrawer
    opened: gr.State

    def wire(self, case: gr.HTML) -> None:
        """Listen to the buttons of the open question and to the form.

        Args:
            case: the open question.
        """
        drawer = self.drawer
        form = [drawer.category, drawer.severity, drawer.comment]
        opening = [drawer.column, drawer.heading, *form, drawer.note, self.opened]
        case.complain(self.flagging, self.opened, opening, **NOW)
        drawer.cancel.click(lambda: gr.Column(visible=False), None, drawer.column, **NOW)
        drawer.save.click(
            self.saved, [*form, self.opened], [drawer.note, drawer.column, self.opened], **QUIET
        )

    def flagging(self, event: gr.EventData, opened: Opened) -> Update:
        """Open the form for an answer."""
        arm = str(getattr(event, "arm", ""))
        evaluation = self.evaluations.find(opened.run)
        labels = evaluation.results.labels() if evaluation else {}
        if arm not in labels:
            return {self.drawer.note: ""}
        taxonomy = self.desk.taxonomy()
        return {
            self.drawer.column: gr.Column(visible=True),
            self.drawer.heading: render_template(
                "heading.html", text=f"Flag {labels[arm]}’s answer"
            ),
            self.drawer.category: gr.Radio(labelled(taxonomy.categories), value=None),
            self.drawer.severity: gr.Radio(labelled(taxonomy.severities), value=None),
            self.drawer.comment: "",
            self.drawer.note: "",
            self.opened: replace(opened, arm=arm, key=uuid4().hex, confirmed=""),
        }

    def saved(
        self,
        category: str | None,
        severity: str | None,
        comment: str,
        opened: Opened,
        request: gr.Request,
    ) -> Update:
        """Store the flag and its case."""
        doubts = identity_in_text(comment)
        if doubts and opened.confirmed != comment:
            sentence = f"{' '.join(doubts)} Change the comment, or press Save again to keep it."
            return {
                self.drawer.note: render.sentence(sentence),
                self.opened: replace(opened, confirmed=comment),
            }

        def done() -> Update:
            store = self.desk.for_request(request)
            shown = self.results_of(opened.run).one(opened.example, opened.mode)
            flag = flag_answer(store, shown, opened.arm, category, severity, comment, opened.key)
            return {
                self.drawer.column: gr.Column(visible=False),
                self.drawer.note: render.flag_saved(flag),
                self.opened: Opened(opened.run, opened.example, opened.mode),
            }

        return guarded(self.drawer.note, "results", done)
