"""What is asked under a condition: the words, the options in their order, and the right answer."""

from __future__ import annotations

from dataclasses import dataclass

from rarl.data.example import Example
from rarl.evaluation.image_ablations import ROTATED, Condition, reference_under
from rarl.text.choice import shuffled


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as it is put to the model.

    Attributes:
        text: the question.
        options: of a multiple-choice question, in the order in which they are shown.
        reference: the right answer; "" where only an explanation is known.
    """

    text: str
    options: tuple[str, ...]
    reference: str


def asked_under(example: Example, condition: Condition, seed: int = 0) -> Asked | None:
    """What is asked about an example under a condition.

    Options are shuffled with the seed and the example's id, so that the right one stands at every
    place about equally often; "rotated 1" moves all of them on by one place.

    Args:
        example: the question.
        condition: see `rarl.evaluation.image_ablations`.
        seed: of the run.

    Returns:
        The question, or None where the condition does not apply or its right answer is not known.
    """
    turns = 0
    if condition in ROTATED:
        turns = 1 + ROTATED.index(condition)
        if turns >= len(example.options):
            return None
    reference = reference_under(example, condition)
    if reference is None:
        return None
    if condition == "mirrored" and reference != example.answer and example.options:
        return None  # the other side need not be among the options
    options = shuffled(example.options, f"{seed} {example.id}", turns)
    return Asked(example.question, options, reference)
