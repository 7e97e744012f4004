"""Parse a response into reasoning and answer; report format errors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Problem = Literal[
    "no-think",
    "no-answer",
    "unclosed-think",
    "unclosed-answer",
    "repeated-block",
    "nested-block",
    "wrong-order",
    "text-outside",
    "empty-think",
    "empty-answer",
    "unexpected-think",
]
CheckName = Literal[
    "contradicts-modality",
    "contradicts-body-part",
    "contradicts-side",
    "contradicts-view",
    "contradicts-itself",
    "another-finding",
    "wrong-kind-of-answer",
    "unread-language",
    "unfamiliar-picture",
    "minority-answer",
    "window-dependent",
]

Mode = Literal["reason", "answer", "answer-then-reason"]

MODES: tuple[Mode, ...] = ("reason", "answer", "answer-then-reason")
MODE_LABELS: dict[Mode, str] = {
    "reason": "Reason, then answer",
    "answer": "Answer only",
    "answer-then-reason": "Answer, then reason",
}

_TAG = re.compile(r"<(/?)(think|answer)>")

PROBLEM_SENTENCES: dict[Problem, str] = {
    "no-think": "The model gave no reasoning.",
    "no-answer": "The model did not mark its answer.",
    "unclosed-think": "The reasoning was cut off.",
    "unclosed-answer": "The answer was cut off.",
    "repeated-block": "The model answered more than once.",
    "nested-block": "Reasoning and answer are mixed up.",
    "wrong-order": "Reasoning and answer came in the wrong order.",
    "text-outside": "There is text outside reasoning and answer.",
    "empty-think": "The reasoning is empty.",
    "empty-answer": "The answer is empty.",
    "unexpected-think": "The model reasoned although only an answer was asked for.",
}

CHECK_SENTENCES: dict[CheckName, str] = {
    "contradicts-modality": "The text names another modality than the file's header.",
    "contradicts-body-part": "The text names another body part than the file's header.",
    "contradicts-side": "The text names the other side than the file's header.",
    "contradicts-view": "The text names another view or plane than the file's header.",
    "contradicts-itself": "The reasoning contradicts the answer.",
    "another-finding": "The reasoning is about another finding and does not support the answer.",
    "wrong-kind-of-answer": "The answer does not fit the question.",
    "unread-language": "The question is not in English, the one language this model reads.",
    "unfamiliar-picture": "The picture is unlike those that the model was trained on.",
    "minority-answer": "Asked several times, the model mostly gives another answer.",
    "window-dependent": "Under another window of the same picture the model answers otherwise.",
}


@dataclass(frozen=True, slots=True)
class Check:
    """A reason to distrust an answer.

    Attributes:
        name: stable identifier, as the API and the review store have it.
        sentence: what a clinician reads, with the two values that contradict each other.
    """

    name: CheckName
    sentence: str


@dataclass(frozen=True, slots=True)
class Response:
    """A parsed response.

    Attributes:
        reasoning: text of the think block, stripped; "" where there is none.
        answer: text of the answer block, stripped. Where no block is marked, whatever text
            stands outside the think block, so that nothing the model said is lost.
        problems: what is wrong with the form, in a fixed order; empty when well formed.
        text: the raw text.
    """

    reasoning: str
    answer: str
    problems: tuple[Problem, ...]
    text: str

    @property
    def well_formed(self) -> bool:
        """True when nothing is wrong with the form."""
        return not self.problems


def problem_sentence(name: str) -> str:
    """The sentence for a problem of form or a check by its stored name; the name where unknown.

    >>> problem_sentence("contradicts-side")
    "The text names the other side than the file's header."
    """
    names: tuple[tuple[str, str], ...] = (*PROBLEM_SENTENCES.items(), *CHECK_SENTENCES.items())
    return dict(names).get(name, name)


def parse_response(text: str, mode: Mode = "reason") -> Response:
    """Take a completed or still streaming text apart.

    A half-written tag at the end is left out, so that a stream never shows `<ans`.

    >>> parse_response("<think>Clear lungs.</think><answer>no</answer>").answer
    'no'
    >>> parse_response("<think>Clear lungs.").problems
    ('no-answer', 'unclosed-think')
    """
    shown = re.sub(r"</?[a-z]{0,6}$", "", text) if "<" in text[-9:] else text
    blocks: dict[str, list[str]] = {"think": [], "answer": []}
    order: list[str] = []
    outside: list[str] = []
    present: set[Problem] = set()
    current: str | None = None
    position = 0
    for tag in _TAG.finditer(shown):
        piece = shown[position : tag.start()]
        position = tag.end()
        (blocks[current] if current else outside).append(piece)
        closing, name = tag.group(1) == "/", tag.group(2)
        if not closing:
            if current is not None:
                present.add("nested-block")
            if name in order:
                present.add("repeated-block")
            order.append(name)
            current = name
        elif current == name:
            current = None
        else:
            present.add("nested-block")
            current = None
    rest = shown[position:]
    if current is None:
        outside.append(rest)
    else:
        blocks[current].append(rest)
        present.add("unclosed-think" if current == "think" else "unclosed-answer")

    reasoning = "".join(blocks["think"]).strip()
    answer = "".join(blocks["answer"]).strip()
    stray = " ".join(part.strip() for part in outside if part.strip())
    if stray:
        present.add("text-outside")
    if "answer" not in order:
        present.add("no-answer")
        answer = stray
    elif not answer:
        present.add("empty-answer")
    if mode == "answer":
        if "think" in order:
            present.add("unexpected-think")
    elif "think" not in order:
        present.add("no-think")
    elif not reasoning:
        present.add("empty-think")
    if {"think", "answer"} <= set(order):
        expected = ["answer", "think"] if mode == "answer-then-reason" else ["think", "answer"]
        if [name for index, name in enumerate(order) if name not in order[:index]] != expected:
            present.add("wrong-order")
    problems = tuple(problem for problem in PROBLEM_SENTENCES if problem in present)
    return Response(reasoning, answer, problems, text)
