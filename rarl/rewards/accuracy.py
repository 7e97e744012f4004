"""The accuracy reward of RARL (arXiv 2506.06600): the answer block against the short answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rarl.response import parse_response
from rarl.rewards.completions import Completion, completion_text
from rarl.rewards.free_text import answer_score
from rarl.text.choice import read_choice
from rarl.text.negation import NEGATIONS
from rarl.text.normalise import exact_match, token_f1, tokens

_LIST = re.compile(r"[,;/|\n]|\b(?:or|and|versus|vs|maybe|perhaps|possibly|alternatively)\b", re.I)
_SIDES = frozenset({"left", "right"})
# Credit from which an explanation states an answer.
_STATED = 0.5
_BOTH = frozenset({"both", "bilateral", "bilaterally"})


def alternatives(answer: str) -> int:
    """The number of alternatives that an answer lists, at least one.

    >>> alternatives("pneumonia, effusion or edema"), alternatives("pleural effusion")
    (3, 1)
    """
    return max(1, sum(1 for part in _LIST.split(answer) if tokens(part)))


def score_answer(answer: str, reference: str, kind: str, options: Sequence[str] = ()) -> float:
    """Credit for one answer, in [0, 1].

    Of several options the answer must name the right one, by letter or words, and no other.
    Closed questions take a match or nothing. Open ones take the overlap of words, but none for
    the opposite (a finding denied, the other side), and an answer that lists n alternatives
    where the reference names one earns at most 1/n: listing diagnoses is a weakness that the
    paper shows.

    >>> score_answer("Yes.", "yes", "closed"), score_answer("yes or no", "yes", "closed")
    (1.0, 0.0)
    >>> score_answer("right lung", "left lung", "open")
    0.0
    >>> score_answer("glioma, meningioma or pituitary tumor", "glioma", "open") <= 1 / 3
    True
    >>> score_answer("B", "liver", "choice", ["lung", "liver"])
    1.0
    """
    if options:
        chosen = read_choice(answer, options).index
        return float(chosen is not None and options[chosen] == reference)
    if exact_match(answer, reference):
        return 1.0
    if kind == "closed":
        return 0.0
    given, wanted = set(tokens(answer)), set(tokens(reference))
    if bool(given & NEGATIONS) != bool(wanted & NEGATIONS):
        return 0.0
    said_sides, wanted_sides = _sides(given), _sides(wanted)
    if said_sides and wanted_sides and not said_sides & wanted_sides:
        return 0.0
    return min(token_f1(answer, reference), alternatives(reference) / alternatives(answer))


def explained_credit(answer: str, question: str, explanation: str) -> float:
    """Credit for an answer where only an explanation is given, in [0, 1].

    It is how surely the explanation states the answer, divided by the number of alternatives that
    the answer lists.
    """
    return answer_score(answer, question, explanation) / alternatives(answer)


def is_right(
    answer: str, reference: str, question: str, explanation: str, options: Sequence[str] = ()
) -> bool:
    """Whether an answer counts as right: it matches the reference, or the explanation states it.

    The explanation is read only where the reference is empty. Of several options the answer must
    name the right one and no other.

    >>> is_right("No.", "no", "Is there a stone?", "")
    True
    """
    if options:
        return score_answer(answer, reference, "choice", options) == 1.0
    if reference:
        return exact_match(answer, reference)
    return explained_credit(answer, question, explanation) >= _STATED


def accuracy_reward(
    prompts: Sequence[object],
    completions: Sequence[Completion],
    answer: Sequence[str],
    kind: Sequence[str],
    question: Sequence[str] | None = None,
    explanation: Sequence[str] | None = None,
    options: Sequence[Sequence[str]] | None = None,
    **columns: object,
) -> list[float]:
    """Credit for each completion's answer block; 0 where no answer is marked or it is cut off.

    A row without a short answer is scored by its explanation (`explained_credit`).

    >>> texts = ["<think>Clear.</think><answer>no</answer>", "<think>no</think>", "no"]
    >>> accuracy_reward([""] * 3, texts, answer=["no"] * 3, kind=["closed"] * 3)
    [1.0, 0.0, 0.0]
    """
    rewards = []
    for place, completion in enumerate(completions):
        response = parse_response(completion_text(completion))
        if {"no-answer", "unclosed-answer", "repeated-block"} & set(response.problems):
            rewards.append(0.0)
        elif answer[place] or question is None or explanation is None:
            offered = options[place] if options is not None else ()
            rewards.append(score_answer(response.answer, answer[place], kind[place], offered))
        else:
            rewards.append(explained_credit(response.answer, question[place], explanation[place]))
    return rewards


def _sides(words: set[str]) -> frozenset[str]:
    return _SIDES if words & _BOTH else _SIDES & words
