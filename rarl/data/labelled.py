"""Sets of labelled images, asked about through fixed questions.

The first wording of each question is the one that held-out rows use; training rows are spread
over all wordings by a checksum of the image's name, so that the set is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from rarl.data.example import Example, Fact, ImageRef, Kind, Split
from rarl.data.explanations import basic_facts, compose
from rarl.data.root import read_rows, read_split_file


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question about one image, with the fact its answer states."""

    category: str
    wordings: Sequence[str]
    answer: str
    kind: Kind
    fact: Fact


MODALITY_WORDINGS = (
    "What imaging modality is this?",
    "How was this image taken?",
    "Which modality was used?",
    "What kind of scan is this?",
)
ORGAN_WORDINGS = (
    "Which organ or body part is shown?",
    "What part of the body is this?",
    "What organ is imaged?",
)


def basic_questions(modality: str | None, organ: str | None) -> Iterator[_Asked]:
    """The questions for modality and organ, where they are known."""
    for fact in basic_facts(modality, organ):
        wordings = MODALITY_WORDINGS if fact.kind == "modality" else ORGAN_WORDINGS
        yield _Asked(fact.kind, wordings, fact.value, "open", fact)


def brain_tumor_mri(root: Path) -> list[Example]:
    """Brain tumour MRI, four classes (Nickparvar); official test, a validation tenth of train."""

    def asked(row: dict[str, Any]) -> Iterator[_Asked]:
        name = {"notumor": "no tumor", "pituitary": "pituitary tumor"}.get(
            row["label"], row["label"]
        )
        tumor = name != "no tumor"
        article = "a " if tumor else ""
        shown = Fact("finding", name if tumor else "tumor", tumor, f"It shows {article}{name}.")
        yield _Asked(
            "label",
            (
                "Which type of tumor is shown, if any?",
                "What is the diagnosis?",
                "Is this a glioma, a meningioma, a pituitary tumor or no tumor?",
                "What does this brain MRI show?",
            ),
            name,
            "open",
            shown,
        )
        yield _Asked(
            "presence",
            ("Is there a tumor?", "Is a brain tumor present?", "Does this scan show a tumor?"),
            "yes" if tumor else "no",
            "closed",
            shown,
        )

    return list(_examples(root, "brain_tumor_mri", "CC0-1.0", "mri", "brain", asked))


def busi_breast_us(root: Path) -> list[Example]:
    """Breast ultrasound, three classes (BUSI); a fixed fifth of the images is the test split."""

    def asked(row: dict[str, Any]) -> Iterator[_Asked]:
        label = row["label"]
        if label == "normal":
            shown = Fact("finding", "lesion", False, "It shows no lesion.")
        else:
            shown = Fact("finding", f"{label} lesion", True, f"It shows a {label} lesion.")
        yield _Asked(
            "label",
            (
                "Is this normal, or is there a benign or malignant lesion?",
                "Is the finding normal, benign or malignant?",
                "How would you classify this breast: normal, benign or malignant?",
            ),
            label,
            "closed",
            shown,
        )
        yield _Asked(
            "presence",
            ("Is there a lesion?", "Is a breast lesion present?", "Does this show a lesion?"),
            "no" if label == "normal" else "yes",
            "closed",
            shown,
        )

    return list(_examples(root, "busi_breast_us", "CC-BY-4.0", "ultrasound", "breast", asked))


def bccd_blood(root: Path) -> list[Example]:
    """Blood smears with counted cells (BCCD), official splits.

    Only white cells are asked about: the boxes of red cells and platelets are incomplete.
    """

    def asked(row: dict[str, Any]) -> Iterator[_Asked]:
        count = row["counts"].get("WBC", 0)
        if count == 0:
            return
        noun = "white blood cell" if count == 1 else "white blood cells"
        verb = "is" if count == 1 else "are"
        yield _Asked(
            "count",
            (
                "How many white blood cells are shown?",
                "What is the number of white blood cells?",
                "Count the white blood cells.",
            ),
            str(count),
            "open",
            Fact("count", str(count), True, f"There {verb} {count} {noun}."),
        )

    return list(_examples(root, "bccd_blood", "MIT", "light microscopy", "blood", asked))


def covid_chestxray(root: Path) -> list[Example]:
    """Chest X-rays from many sources (Cohen et al.): unseen, so it trains nothing at all."""

    def asked(row: dict[str, Any]) -> Iterator[_Asked]:
        view = {"PA": "pa", "AP": "ap", "AP Supine": "ap", "L": "lateral"}.get(row["view"] or "")
        if view:
            fact = Fact("plane", view, True, f"The plane is {view}.")
            yield _Asked("view", ("Is this a PA, AP or lateral view?",), view, "closed", fact)
        label = (row["label"] or "").lower()
        if label:
            normal = label == "no finding"
            statement = "It shows no finding." if normal else f"It shows {label}."
            fact = Fact("finding", "finding" if normal else label, not normal, statement)
            answer = "yes" if normal else "no"
            yield _Asked("presence", ("Is the chest X-ray normal?",), answer, "closed", fact)
            yield _Asked("label", ("What is the diagnosis?",), label, "open", fact)

    return list(_examples(root, "covid_chestxray", None, "x-ray", "chest", asked))


def _examples(
    root: Path,
    source: str,
    licence: str | None,
    modality: str,
    organ: str,
    asked: Callable[[dict[str, Any]], Iterator[_Asked]],
) -> Iterator[Example]:
    folder = root / source
    split_of: dict[str, Split] = {}
    if source != "covid_chestxray":
        for split, images in read_split_file(source).items():
            split_of |= {image: split for image in images}  # type: ignore[misc]
    basics = basic_facts(modality, organ)
    for row in read_rows(folder / "labels.jsonl"):
        image = row["image"]
        questions = [*asked(row), *basic_questions(modality, organ)]
        facts = tuple(dict.fromkeys([*basics, *(question.fact for question in questions)]))
        split = split_of.get(image, "unseen" if source == "covid_chestxray" else "train")
        for question in questions:
            chosen = 0
            if split == "train":
                chosen = crc32(f"{image}/{question.category}".encode()) % len(question.wordings)
            text = question.wordings[chosen]
            yield Example(
                id=f"{source}/{Path(image).stem}/{question.category}",
                image=ImageRef(f"{source}/{image}", folder / image),
                question=text,
                answer=question.answer,
                explanation=compose(basics, (), question.fact, text),
                kind=question.kind,
                modality=modality,
                organ=organ,
                facts=facts,
                source=source,
                licence=licence or row["license"],
                split=split,
                category=question.category,
            )
