"""Compose explanations and facts from annotations alone.

The paper trains on ground-truth explanations. The open sets used here have none, so one is put
together from what the same image's training rows state: modality, organ, plane, answered
questions, labels. A sentence that no annotation backs is never written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rarl.data.example import Fact, FactKind

MODALITY_NAMES = {
    "mri": "an MRI",
    "ct": "a CT scan",
    "x-ray": "an X-ray",
    "ultrasound": "an ultrasound image",
    "light microscopy": "a light microscopy image",
    "fluorescence or light microscopy": "a microscopy image",
}
_ORGAN_PHRASES = {
    "blood": "a blood smear",
    "brain": "the brain",
    "chest": "the chest",
    "abdomen": "the abdomen",
    "breast": "the breast",
    "knee": "the knee",
    "fetal head": "the head of a fetus",
    "cells": "cell nuclei",
    "hand": "the hand",
}
_PLANES = {"axial", "coronal", "sagittal", "pa", "ap", "lateral"}

_PRESENCE = re.compile(
    r"^(?:is|are) there (?P<evidence>(?:evidence|signs?) of )?(?P<article>any |an? )?"
    r"(?P<finding>.+?)(?: (?:present|seen|shown|visible))?"
    r"(?: (?:in|on) (?:this|the) (?:image|scan|x-?ray|picture))?$"
)
_YES_NO = re.compile(r"[ -]*(?:-|\()? ?yes/no\)?$")
_STOPWORDS = frozenset(
    "a an any are as at be by do does evidence for from has have how if in is it of on or present"
    " seen shown sign signs the there this to type was were what where which with image"
    " scan".split()
)


def content_words(text: str) -> frozenset[str]:
    """Lower-case words of a text that carry meaning."""
    return frozenset(re.findall(r"[a-z0-9-]+", text.lower())) - _STOPWORDS


def basic_facts(modality: str | None, organ: str | None, plane: str | None = None) -> list[Fact]:
    """Modality and organ of an image as facts; unknown parts are left out."""
    facts = []
    if modality is not None:
        name = MODALITY_NAMES.get(modality, modality)
        facts.append(Fact("modality", modality, True, f"This is {name}."))
    if organ is not None:
        facts.append(Fact("organ", organ, True, f"It shows {_ORGAN_PHRASES.get(organ, organ)}."))
    if plane is not None:
        facts.append(Fact("plane", plane, True, f"The plane is {plane}."))
    return facts


def fact_from_answer(question: str, answer: str, category: str | None) -> Fact:
    """Turn an answered question into a fact about its image.

    >>> fact_from_answer("Is there a pleural effusion?", "no", "PRES").statement
    'There is no pleural effusion.'
    >>> fact_from_answer("Is the heart enlarged?", "yes", "SIZE").statement
    'Is the heart enlarged? Yes.'
    """
    asked = " ".join(question.lower().split()).rstrip(" ?.")
    # Some questions were written from a form: "Is/Are there ...? -yes/no".
    asked = _YES_NO.sub("", asked.replace("is/are", "is")).rstrip(" ?.")
    reply = " ".join(answer.lower().split()).rstrip(" .")
    if category == "PLANE" and reply in _PLANES:
        return Fact("plane", reply, True, f"The plane is {reply}.")
    if category == "MODALITY" and reply in MODALITY_NAMES:
        return Fact("modality", reply, True, f"This is {MODALITY_NAMES[reply]}.")
    match = _PRESENCE.match(asked)
    if match and reply in {"yes", "no"}:
        finding, present = match["finding"], reply == "yes"
        of = match["evidence"] or ""
        plural = asked.startswith("are") or re.search(r"[^su]s$", finding.split(" in ")[0])
        verb = "There are" if plural and not of else "There is"
        article = match["article"] if match["article"] in {"a ", "an "} else ""
        statement = f"{of}{article}{finding}" if present else f"no {of}{finding}"
        return Fact("finding", finding, present, f"{verb} {statement}.")
    kind: FactKind = "other"
    if any(side in reply.split() for side in ("left", "right", "bilateral", "both")):
        kind = "side"
    elif reply.isdigit():
        kind = "count"
    elif reply in {"yes", "no"}:
        value = asked.split(" ", 1)[-1]
        return Fact("finding", value, reply == "yes", f"{_sentence(asked)}? {_sentence(reply)}.")
    return Fact(kind, reply, True, f"{_sentence(asked)}? {_sentence(reply)}.")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def compose(
    basics: Sequence[Fact], others: Iterable[Fact], own: Fact, question: str, most: int = 1
) -> str:
    """An explanation that leads from the kind of image over related facts to the answer.

    Args:
        basics: modality, organ and plane of the image.
        others: facts from the image's other training rows.
        own: the fact that this row itself states; it comes last, so that the reasoning ends
            where the answer says.
        question: the row's question, for choosing facts that bear on it.
        most: how many other facts are told.
    """
    middle = related(others, basics, own, question)[:most]
    return " ".join([*_lead(basics, skip=own.kind), *middle, conclusion(own)])


def related(others: Iterable[Fact], basics: Sequence[Fact], own: Fact, question: str) -> list[str]:
    """Statements of other facts that bear on a question, the closest first.

    Args:
        others: facts from the image's other training rows.
        basics: modality, organ and plane of the image, which are not repeated.
        own: the fact that the question's own row states.
        question: the row's question.
    """
    wanted = content_words(question)
    stated = {fact.statement for fact in basics} | {own.statement}
    ranked: list[tuple[int, str]] = []
    for fact in others:
        if "?" in fact.statement:
            continue
        words = content_words(fact.statement)
        overlap = len(wanted & words)
        # A rephrasing of the question would give the answer away before the reasoning ends.
        if overlap and not wanted <= words and fact.statement not in stated:
            stated.add(fact.statement)
            ranked.append((-overlap, fact.statement))
    return [statement for _, statement in sorted(ranked)]


def conclusion(own: Fact) -> str:
    """The last sentence of an explanation: the fact itself, or its answer where it is a question.

    Told as "Is the heart enlarged? No." a small model drifts to another question half-way, and
    then answers that one.
    """
    if "?" not in own.statement:
        return own.statement
    answer = ("yes" if own.present else "no") if own.kind == "finding" else own.value
    return f"The answer is {answer}."


def organ_phrase(organ: str) -> str:
    """An organ with its article ("the chest", "a blood smear")."""
    return _ORGAN_PHRASES.get(organ, organ)


def _lead(basics: Sequence[Fact], skip: FactKind) -> list[str]:
    """One sentence for modality and organ together where both are known."""
    named = {fact.kind: fact for fact in basics if fact.kind != skip}
    sentences = []
    if "modality" in named and "organ" in named:
        name = MODALITY_NAMES.get(named["modality"].value, named["modality"].value)
        organ = _ORGAN_PHRASES.get(named["organ"].value, named["organ"].value)
        sentences.append(f"This is {name} of {organ}.")
    else:
        sentences += [named[kind].statement for kind in ("modality", "organ") if kind in named]
    if "plane" in named:
        sentences.append(named["plane"].statement)
    return sentences
