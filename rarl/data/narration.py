"""Vary explanations in wording, order and depth without adding a finding.

A model that learns one recital for each label recites. So each row gets several explanations.
Every one is built from sentences that restate an annotation: the kind of picture, what other rows
say about it, and the fact that answers the question, which comes last or first but always stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from zlib import crc32

from rarl.data.example import Fact, FactKind
from rarl.data.explanations import MODALITY_NAMES, conclusion, organ_phrase

# How many explanations a row carries at most.
MOST = 12

_BOTH = (
    "This is {modality} of {organ}.",
    "The picture is {modality} of {organ}.",
    "We are looking at {modality} of {organ}.",
    "The image is {modality}, and it shows {organ}.",
    "{Modality} of {organ} is shown.",
)
_MODALITY = (
    "This is {modality}.",
    "The picture is {modality}.",
    "The image was made as {modality}.",
)
_ORGAN = ("It shows {organ}.", "The picture shows {organ}.", "What is shown is {organ}.")
_PLANE = ("The plane is {plane}.", "It is seen in the {plane} plane.", "The view is {plane}.")


def lead_sentences(basics: Sequence[Fact], skip: FactKind) -> tuple[str, ...]:
    """Ways to say what kind of picture it is.

    Args:
        basics: modality, organ and plane, as far as they are known.
        skip: the kind that the question asks for, which the lead must not give away.
    """
    named = {fact.kind: fact.value for fact in basics if fact.kind != skip}
    words = {}
    if "modality" in named:
        words["modality"] = MODALITY_NAMES.get(named["modality"], named["modality"])
        words["Modality"] = words["modality"][:1].upper() + words["modality"][1:]
    if "organ" in named:
        words["organ"] = organ_phrase(named["organ"])
    templates: tuple[str, ...] = ()
    if len(words) == 3:
        templates = _BOTH
    elif "modality" in words:
        templates = _MODALITY
    elif "organ" in words:
        templates = _ORGAN
    leads = [template.format(**words) for template in templates]
    if "plane" in named:
        planes = [template.format(plane=named["plane"]) for template in _PLANE]
        leads += [f"{lead} {planes[n % len(planes)]}" for n, lead in enumerate(leads)] or planes
    return tuple(leads)


def question_sentences(own: Fact) -> tuple[str, ...]:
    """Ways to state the fact that answers a question which no set of wordings is known for.

    >>> question_sentences(Fact("finding", "effusion", False, "There is no effusion."))[1]
    'No effusion is seen.'
    """
    stated = conclusion(own)
    if "?" in own.statement or own.kind != "finding":
        if stated.startswith("The answer is "):
            answer = stated.removeprefix("The answer is ").rstrip(".")
            return (stated, f"So the answer is {answer}.", f"That makes the answer {answer}.")
        return (stated,)
    finding = own.value
    if own.present:
        return (stated, f"The picture shows {finding}.", f"Signs of {finding} are seen.")
    return (stated, f"No {finding} is seen.", f"The picture shows no {finding}.")


def narrate(
    basics: Sequence[Fact],
    others: Sequence[str],
    ends: Sequence[str],
    skip: FactKind,
    middles: Sequence[str] = (),
) -> tuple[str, ...]:
    """Several explanations for one row.

    Args:
        basics: modality, organ and plane of the picture.
        others: statements of other facts that bear on the question, the closest first.
        ends: ways to state the fact that answers the question.
        skip: kind of that fact.
        middles: further true sentences about the fact (what a grade stands for, what a cell is).

    Returns:
        Up to `MOST` different texts, in an order that depends on the texts alone.
    """
    leads = lead_sentences(basics, skip) or ("",)
    texts: dict[str, None] = {}
    insides: list[str] = ["", *middles]
    if others:
        insides += [others[0], *others[1:2], " ".join(others[:2])]
    for lead, inside, end in product(leads, insides, ends):
        texts[_joined(lead, inside, end)] = None
        if inside:
            texts[_joined(lead, end, inside)] = None
            texts[_joined(inside, end)] = None
    for lead, end in product(leads, ends):
        texts[_joined(end, lead)] = None
    ranked = sorted(texts, key=lambda text: crc32(text.encode()))
    return tuple(ranked[:MOST])


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
