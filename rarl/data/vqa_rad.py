"""Load VQA-RAD (Lau et al., Sci Data 2018) from a local copy.

Training rows are the 3,064 of the original release, rephrasings included; a row that repeats a
test pair word for word is dropped. "test" is the official 451 questions, on images that also occur
in training ("images seen"). The release also rewords test questions in its training rows ("Is/Are
the heart enlarged?"); they stay, as in published work on it, and a test row that has such a twin
says so (`Example.reworded`). Claims about generalisation rest on "image-disjoint": 63 images none
of whose rows train anything.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from rarl.data.example import Example, Fact, Half, ImageRef, Kind, Split
from rarl.data.explanations import (
    basic_facts,
    compose,
    content_words,
    fact_from_answer,
    related,
)
from rarl.data.labelled import basic_questions
from rarl.data.narration import narrate, question_sentences
from rarl.data.root import read_half_b, read_rows, read_split_file

SOURCE = "vqa_rad"
# Shared content words, as a share of all, from which two questions count as one reworded.
REWORDED_OVERLAP = 0.6
_ORGANS = {"HEAD": "brain", "CHEST": "chest", "ABD": "abdomen"}
# The paper's rule leaves head images at "CT or MRI": that is not a label.
_MODALITIES = {"MRI": "mri", "CT": "ct", "X-ray": "x-ray", "Ultrasound": "ultrasound"}


def normalised_question(text: str) -> str:
    """A question without case, punctuation and spacing, for finding repeats."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def vqa_rad(root: Path) -> list[Example]:
    """The question-answer rows."""
    return _load(root)[0]


def vqa_rad_basics(root: Path) -> list[Example]:
    """Modality and organ of each VQA-RAD image, asked in fixed words.

    A set of its own, so that it never mixes into VQA-RAD's published counts. Where an official test
    question asks for an image's modality or organ, that image's row on it is left out.
    """
    return _load(root)[1]


def _load(root: Path) -> tuple[list[Example], list[Example]]:
    folder = root / SOURCE
    listed = read_split_file(SOURCE)
    held: dict[str, Split] = dict.fromkeys(listed["image-disjoint"], "image-disjoint")
    held |= dict.fromkeys(listed["validation"], "validation")
    half_b = read_half_b(SOURCE)

    def half_of(image: str, split: Split) -> Half | None:
        if split != "train":
            return None
        return "B" if image in half_b else "A"

    rows = read_rows(folder / "qa_mevf_split.jsonl")
    # The copy lower-cases test questions; asked as published, they look like the training rows.
    test = [
        row | {"question": row["question_orig"]}
        for row in read_rows(folder / "qa.jsonl")
        if row["split"] == "test"
    ]
    repeats = {(row["image"], normalised_question(row["question"])) for row in test}
    kept = [
        row
        for row in rows
        if row["split"] == "train"
        and (row["image"], normalised_question(row["question"])) not in repeats
    ]
    by_image: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in kept:
        by_image[row["image"]].append(row)

    facts: dict[str, list[Fact]] = {}
    basics: dict[str, list[Fact]] = {}
    modalities: dict[str, str | None] = {}
    for row in kept + test:
        image = row["image"]
        if image in facts:
            continue
        row_facts = [
            fact_from_answer(other["question"], str(other["answer"]), other["question_type"])
            for other in by_image[image]
        ]
        plane = next((fact.value for fact in row_facts if fact.kind == "plane"), None)
        modalities[image] = _modality(row, by_image[image])
        basics[image] = basic_facts(modalities[image], _ORGANS.get(row["organ"]), plane)
        facts[image] = list(dict.fromkeys([*basics[image], *row_facts]))

    def example(row: dict[str, Any], split: Split) -> Example:
        image = row["image"]
        own = fact_from_answer(row["question"], str(row["answer"]), row["question_type"])
        question, answer = " ".join(row["question"].split()), str(row["answer"]).strip().lower()
        kind: Kind = "closed" if row["answer_type"] == "CLOSED" else "open"
        explanation: str | None = None
        explanations: tuple[str, ...] = ()
        if split == "train":
            explanation = compose(basics[image], facts[image], own, question)
            others = related(facts[image], basics[image], own, question)
            explanations = narrate(basics[image], others, question_sentences(own), own.kind)
        return Example(
            id=f"{SOURCE}/{row['id']}",
            image=ImageRef(f"{SOURCE}/{image}", folder / image),
            question=question,
            answer=answer,
            explanation=explanation,
            kind=kind,
            modality=modalities[image],
            organ=_ORGANS.get(row["organ"]),
            facts=tuple(facts[image]),
            source=SOURCE,
            licence=row["license"],
            split=split,
            category=row["question_type"],
            reworded=split == "test"
            and any(_near(row["question"], other["question"]) for other in by_image[image]),
            half=half_of(image, split),
            explanations=explanations,
        )

    questions = [example(row, held.get(row["image"], "train")) for row in kept]
    questions += [example(row, "test") for row in test]

    asked = []
    asked_in_test = {
        (row["image"], kind) for row in test for kind in row["question_type"].lower().split(", ")
    }
    for image in facts:
        split: Split = held.get(image, "train")
        known = {fact.kind: fact.value for fact in basics[image]}
        modality, organ = known.get("modality"), known.get("organ")
        for question in basic_questions(modality, organ):
            if (image, question.category) in asked_in_test:
                continue
            asked.append(
                Example(
                    id=f"{SOURCE}_basics/{Path(image).stem}/{question.category}",
                    image=ImageRef(f"{SOURCE}/{image}", folder / image),
                    question=question.wordings[0],
                    answer=question.answer,
                    explanation=compose(basics[image], (), question.fact, question.wordings[0]),
                    kind=question.kind,
                    modality=modality,
                    organ=organ,
                    facts=tuple(facts[image]),
                    source=f"{SOURCE}_basics",
                    licence="CC0-1.0",
                    split=split,
                    category=question.category,
                    half=half_of(image, split),
                    wordings=tuple(question.wordings),
                    explanations=narrate(basics[image], (), question.ways, question.fact.kind),
                )
            )
    return questions, asked


def _near(question: str, other: str) -> bool:
    """Whether two questions share most of their content words."""
    first, second = content_words(question), content_words(other)
    return len(first & second) >= REWORDED_OVERLAP * len(first | second) > 0


def _modality(row: dict[str, Any], training: list[dict[str, Any]]) -> str | None:
    """The image's modality as training rows or the paper's rule give it.

    The copy's own column is settled by MODALITY questions where there are any. Where the only
    such question is a test question, the column would carry a test answer into training.
    """
    if row["modality_source"] == "qa" and not any(
        "MODALITY" in other["question_type"] for other in training
    ):
        return {"CHEST": "x-ray", "ABD": "ct"}.get(row["organ"])
    return _MODALITIES.get(row["modality"])
