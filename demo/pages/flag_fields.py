"""The fields of a flag as form widgets, shared by the Ask page and the review queue."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from demo.context import Update, labelled
from demo.services.asking import steps
from rarl.records import COMMENT_LIMIT, FlagContent, FlagDraft, Region
from rarl.review.taxonomy import Taxonomy

_ANY_STEP = -1


@dataclass(frozen=True, slots=True)
class FlagFields:
    """The widgets.

    Attributes:
        category: key of the taxonomy.
        severity: key of the taxonomy.
        comment: free text.
        step: number of the wrong step of the reasoning, from 0, or -1.
        where: whether a region goes along.
        answer: what would have been right.
        explanation: and why.
    """

    category: gr.Radio
    severity: gr.Radio
    comment: gr.Textbox
    step: gr.Radio
    where: gr.Checkbox
    answer: gr.Textbox
    explanation: gr.Textbox

    def listed(self) -> list[gr.Radio | gr.Textbox | gr.Checkbox]:
        """All of them, in the order of the form."""
        return [self.category, self.severity, self.comment, self.step, self.where, self.answer,
                self.explanation]  # fmt: skip

    def filled(self, before: FlagContent | None, reasoning: str, taxonomy: Taxonomy) -> Update:
        """The form as it opens.

        Args:
            before: the flag that is corrected, or None for a new one.
            reasoning: of the flagged answer.
            taxonomy: of the site.
        """
        sentences = steps(reasoning)
        marked = (
            sentences.index(before.sentence)
            if before and before.sentence in sentences
            else _ANY_STEP
        )
        choices = [("No step in particular", _ANY_STEP)]
        choices += [(sentence, place) for place, sentence in enumerate(sentences)]
        categories, severities = dict(taxonomy.categories), dict(taxonomy.severities)
        return {
            # A key that the site offers no more has to be chosen anew.
            self.category: gr.Radio(
                labelled(taxonomy.categories),
                value=before.category if before and before.category in categories else None,
            ),
            self.severity: gr.Radio(
                labelled(taxonomy.severities),
                value=before.severity if before and before.severity in severities else None,
            ),
            self.comment: before.comment if before else "",
            self.step: gr.Radio(choices, value=marked, visible=bool(sentences)),
            self.where: bool(before and before.region),
            self.answer: before.corrected_answer if before else "",
            self.explanation: before.corrected_explanation if before else "",
        }


@dataclass(frozen=True, slots=True)
class FlagTyped:
    """What stands in the form, in the order of `FlagFields.listed`.

    Attributes:
        category: key of the taxonomy, or None.
        severity: likewise.
        comment: free text, and so are the answer and its explanation.
        step: number of the wrong step, from 0; -1 or None for none in particular.
        with_region: whether a region goes along.
        answer: what would have been right.
        explanation: and why.
    """

    category: str | None
    severity: str | None
    comment: str | None
    step: int | None
    with_region: bool
    answer: str | None
    explanation: str | None

    def text(self) -> str:
        """All free text."""
        return "\n".join(text or "" for text in (self.comment, self.answer, self.explanation))

    def draft(
        self,
        *,
        reasoning: str,
        case_id: str,
        arm: str,
        region: Region | None,
        key: str,
        replaces: str | None,
    ) -> FlagDraft:
        """The flag as it is stored.

        Args:
            reasoning: of the flagged answer.
            case_id: of the case.
            arm: whose answer is flagged.
            region: what is wrong on the picture.
            key: of the flag.
            replaces: key of the flag that this one corrects.

        Raises:
            ReviewError: a choice is missing, or a text is too long.
        """
        sentence, start = step_at(reasoning, self.step)
        return FlagDraft.checked(
            case_id=case_id,
            arm=arm,
            category=self.category,
            severity=self.severity,
            comment=self.comment or "",
            sentence=sentence,
            sentence_start=start,
            region=region,
            corrected_answer=self.answer or "",
            corrected_explanation=self.explanation or "",
            key=key,
            replaces=replaces,
        )


def flag_fields(name: str, where: str, how: str = "") -> FlagFields:
    """Lay the fields out.

    Args:
        name: before each element's id.
        where: what the mark about the region says.
        how: the hint under it.
    """

    def text(label: str, hint: str, ending: str, lines: int = 2) -> gr.Textbox:
        return gr.Textbox(
            label=label, placeholder=hint, lines=lines, max_lines=6, max_length=COMMENT_LIMIT,
            elem_id=f"{name}-{ending}",
        )  # fmt: skip

    usual = Taxonomy()
    category = gr.Radio(
        labelled(usual.categories), label="What is wrong?", elem_id=f"{name}-category",
        elem_classes="flag-kinds",
    )  # fmt: skip
    severity = gr.Radio(
        labelled(usual.severities), label="How much would it matter?", elem_id=f"{name}-severity",
        elem_classes="flag-listed",
    )  # fmt: skip
    comment = text("Comment", "What should a reviewer know? No names or dates.", "comment")
    with gr.Accordion("Say more: which step, where, and what is right", open=False,
                      elem_id=f"{name}-more", elem_classes="flag-more"):  # fmt: skip
        return FlagFields(
            category,
            severity,
            comment,
            gr.Radio(
                [], label="Which step of the reasoning is wrong?", elem_id=f"{name}-step",
                elem_classes="flag-listed",
            ),
            gr.Checkbox(False, label=where, info=how or None, elem_id=f"{name}-where"),
            text("The right answer", "", "answer", lines=1),
            text("And why", "", "explanation"),
        )  # fmt: skip


def step_at(reasoning: str, number: int | None) -> tuple[str, int | None]:
    """A step of the reasoning and where it begins, in characters; "" and None for no step.

    >>> step_at("Clear. Clear.", 1)
    ('Clear.', 7)
    >>> step_at("Clear.", -1)
    ('', None)
    """
    start = 0
    for place, words in enumerate(steps(reasoning)):
        start = reasoning.index(words, start)
        if place == number:
            return words, start
        start += len(words)
    return "", None
