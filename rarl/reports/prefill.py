"""The first draft of a report: what the model wrote, and what the file says, and nothing else."""

from __future__ import annotations

import re

from rarl.errors import ReviewError
from rarl.records import ArmAnswer, CaseSnapshot, ReportContent, Section, Sentence
from rarl.records.report import SENTENCE_LIMIT, Origin
from rarl.reports.templates import template_of

# `rarl.text.sentences` makes words for comparing; here each letter stays.
_END = re.compile(r"(?<=[.!?])\s+|\n+")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|approx|Dr|vs|fig)\.$", re.IGNORECASE)
_FEW_WORDS = 4
_PARTS = {
    "Modality": "Modality",
    "BodyPartExamined": "body part",
    "ViewPosition": "view",
    "ImageLaterality": "side",
    "Laterality": "side",
}


def answer_of(case: CaseSnapshot, arm: str = "") -> ArmAnswer:
    """The answer of the variant that is named, or the last one.

    Raises:
        ReviewError: the case has no answer of that variant.
    """
    if not arm:
        return case.answers[-1]
    for answer in case.answers:
        if answer.arm == arm:
            return answer
    offered = ", ".join(answer.arm for answer in case.answers)
    raise ReviewError(f"This case has no answer of that variant; choose from {offered}.")


def prefilled(case: CaseSnapshot, template: str = "", arm: str = "") -> ReportContent:
    """A report in which each sentence is proposed: nobody has read it yet.

    Findings are the sentences of the model's reasoning, the impression is its answer, in its own
    words. An answer of a few words stands with the question that it answers. No normal finding is
    filled in: where the model wrote nothing, the section is empty.

    Args:
        case: of the report.
        template: its name; chosen by modality and body part where "".
        arm: whose answer; the last one where "".

    Raises:
        ReviewError: there is no such template or answer.
    """
    name, chosen = template_of(case, template)
    answer = answer_of(case, arm)
    placed: dict[str, list[Sentence]] = {section.key: [] for section in chosen.sections}
    for text in _pieces(answer.reasoning):
        placed[chosen.section_for("findings", text).key].append(_proposed("ai", text))
    for section in chosen.sections:
        if section.heading == "technique":
            placed[section.key] += _from_header(technique(case))
        elif section.heading == "comparison":
            placed[section.key] += _from_header(comparison(case))
        elif section.heading == "impression":
            placed[section.key] += [
                _proposed("ai", text) for text in _impression(case.question, answer.answer)
            ]
    return ReportContent(
        template=name,
        title=chosen.title,
        arm=answer.arm,
        label=answer.label,
        revision=answer.revision,
        sections=tuple(
            Section(
                key=section.key,
                title=section.title,
                heading=section.heading,
                sentences=tuple(placed[section.key]),
            )
            for section in chosen.sections
        ),
        measurements=case.measurements,
    )


def technique(case: CaseSnapshot) -> str:
    """What the file's header says of how the picture was made, as a sentence, or "".

    >>> from types import SimpleNamespace
    >>> technique(SimpleNamespace(modality="DX", attributes={"ViewPosition": "PA"}))
    'Modality DX, view PA.'
    """
    known = {"Modality": case.modality or "", **case.attributes}
    facts = {
        word: known[keyword] for keyword, word in reversed(_PARTS.items()) if known.get(keyword)
    }
    phrases = [f"{word} {facts[word]}" for word in dict.fromkeys(_PARTS.values()) if word in facts]
    return f"{', '.join(phrases)}." if phrases else ""


def comparison(case: CaseSnapshot) -> str:
    """Which pictures were compared, as a sentence, or "" where there is no prior."""
    priors = sum(picture.name == "prior" for picture in case.pictures)
    if not priors:
        return ""
    return "Compared with a prior picture." if priors == 1 else (
        f"Compared with {priors} prior pictures."
    )  # fmt: skip


def _from_header(text: str) -> list[Sentence]:
    return [_proposed("header", text)] if text else []


def _proposed(origin: Origin, text: str) -> Sentence:
    return Sentence(origin=origin, state="proposed", text=text, proposed=text)


def _impression(question: str, answer: str) -> list[str]:
    pieces = _pieces(answer)
    if len(pieces) == 1 and len(pieces[0].split()) < _FEW_WORDS:
        asked = " ".join(question.split())
        room = SENTENCE_LIMIT - len(pieces[0]) - 20
        asked = asked if len(asked) <= room else f"{asked[: room - 1]}…"
        return [f"{asked} Answer: {pieces[0]}"]
    return pieces


def _sentences(text: str) -> list[str]:
    """The sentences of a text, to the letter.

    >>> _sentences("A node of 1.5 cm, e.g. a granuloma. No effusion.")
    ['A node of 1.5 cm, e.g. a granuloma.', 'No effusion.']
    """
    joined: list[str] = []
    for part in _END.split(text.strip()):
        if joined and _ABBREVIATION.search(joined[-1]):
            joined[-1] += f" {part}"
        else:
            joined.append(part)
    return joined


def _pieces(text: str) -> list[str]:
    """The same; a longer one than a report takes is cut into several."""
    return [
        part
        for sentence in _sentences(text)
        for start in range(0, len(sentence), SENTENCE_LIMIT)
        if (part := sentence[start : start + SENTENCE_LIMIT].strip())
    ]
