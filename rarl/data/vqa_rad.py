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
from collections.abc import Collection, Mapping
from dataclasses import dataclass
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
from rarl.data.labelled import Asked, basic_questions
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
    """The question-answer rows, and those on modality and organ."""
    folder = root / SOURCE
    listed = read_split_file(SOURCE)
    held_out: dict[str, Split] = dict.fromkeys(listed["image-disjoint"], "image-disjoint")
    held_out |= dict.fromkeys(listed["validation"], "validation")
    kept, test = _rows(folder)
    images = _Images.of(folder, kept, test, read_half_b(SOURCE))
    questions = [_question(row, held_out.get(row["image"], "train"), images) for row in kept]
    questions += [_question(row, "test", images) for row in test]
    asked_in_test = {
        (row["image"], kind) for row in test for kind in row["question_type"].lower().split(", ")
    }
    basics = [
        _basic(image, question, held_out.get(image, "train"), images)
        for image in images.facts
        for question in basic_questions(*images.modality_and_organ(image))
        if (image, question.category) not in asked_in_test
    ]
    return questions, basics


def _rows(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The training rows that repeat no test question, and the test rows."""
    # The copy lower-cases test questions; asked as published, they look like the training rows.
    test = [
        row | {"question": row["question_orig"]}
        for row in read_rows(folder / "qa.jsonl")
        if row["split"] == "test"
    ]
    repeats = {(row["image"], normalised_question(row["question"])) for row in test}
    kept = [
        row
        for row in read_rows(folder / "qa_mevf_split.jsonl")
        if row["split"] == "train"
        and (row["image"], normalised_question(row["question"])) not in repeats
    ]
    return kept, test


@dataclass(frozen=True, slots=True)
class _Images:
    """What the rows say of each image.

    Attributes:
        folder: of the copy.
        training: training rows by image.
        basics: modality, organ and plane, by image.
        facts: these and what training rows answer, by image.
        modalities: as training rows or the paper's rule give them, by image.
        half_b: images of half B.
    """

    folder: Path
    training: Mapping[str, list[dict[str, Any]]]
    basics: Mapping[str, list[Fact]]
    facts: Mapping[str, list[Fact]]
    modalities: Mapping[str, str | None]
    half_b: Collection[str]

    @classmethod
    def of(
        cls,
        folder: Path,
        kept: list[dict[str, Any]],
        test: list[dict[str, Any]],
        half_b: Collection[str],
    ) -> _Images:
        training: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in kept:
            training[row["image"]].append(row)
        facts: dict[str, list[Fact]] = {}
        basics: dict[str, list[Fact]] = {}
        modalities: dict[str, str | None] = {}
        for row in kept + test:
            image = row["image"]
            if image in facts:
                continue
            row_facts = [
                fact_from_answer(other["question"], str(other["answer"]), other["question_type"])
                for other in training[image]
            ]
            plane = next((fact.value for fact in row_facts if fact.kind == "plane"), None)
            modalities[image] = _modality(row, training[image])
            basics[image] = basic_facts(modalities[image], _ORGANS.get(row["organ"]), plane)
            facts[image] = list(dict.fromkeys([*basics[image], *row_facts]))
        return cls(folder, training, basics, facts, modalities, half_b)

    def ref(self, image: str) -> ImageRef:
        return ImageRef(f"{SOURCE}/{image}", self.folder / image)

    def half(self, image: str, split: Split) -> Half | None:
        if split != "train":
            return None
        return "B" if image in self.half_b else "A"

    def modality_and_organ(self, image: str) -> tuple[str | None, str | None]:
        known = {fact.kind: fact.value for fact in self.basics[image]}
        return known.get("modality"), known.get("organ")


def _question(row: dict[str, Any], split: Split, images: _Images) -> Example:
    image = row["image"]
    basics, facts = images.basics[image], images.facts[image]
    own = fact_from_answer(row["question"], str(row["answer"]), row["question_type"])
    question, answer = " ".join(row["question"].split()), str(row["answer"]).strip().lower()
    kind: Kind = "closed" if row["answer_type"] == "CLOSED" else "open"
    explanation: str | None = None
    explanations: tuple[str, ...] = ()
    if split == "train":
        explanation = compose(basics, facts, own, question)
        others = related(facts, basics, own, question)
        explanations = narrate(basics, others, question_sentences(own), own.kind)
    return Example(
        id=f"{SOURCE}/{row['id']}",
        image=images.ref(image),
        question=question,
        answer=answer,
        explanation=explanation,
        kind=kind,
        modality=images.modalities[image],
        organ=_ORGANS.get(row["organ"]),
        facts=tuple(facts),
        source=SOURCE,
        licence=row["license"],
        split=split,
        category=row["question_type"],
        reworded=split == "test"
        and any(_near(row["question"], other["question"]) for other in images.training[image]),
        half=images.half(image, split),
        explanations=explanations,
    )


def _basic(image: str, question: Asked, split: Split, images: _Images) -> Example:
    basics = images.basics[image]
    modality, organ = images.modality_and_organ(image)
    return Example(
        id=f"{SOURCE}_basics/{Path(image).stem}/{question.category}",
        image=images.ref(image),
        question=question.wordings[0],
        answer=question.answer,
        explanation=compose(basics, (), question.fact, question.wordings[0]),
        kind=question.kind,
        modality=modality,
        organ=organ,
        facts=tuple(images.facts[image]),
        source=f"{SOURCE}_basics",
        licence="CC0-1.0",
        split=split,
        category=question.category,
        half=images.half(image, split),
        wordings=tuple(question.wordings),
        explanations=narrate(basics, (), question.ways, question.fact.kind),
    )


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
