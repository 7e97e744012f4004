"""Turn labelled images into questions and answers.

The first wording of each question is the one that held-out rows use; training rows are spread
over all wordings by a checksum of the image's name, so that the set is the same on every machine.
A row also carries all wordings and several explanations, from which training may draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from rarl.data.example import SPLITS, Example, Fact, Half, ImageRef, Kind
from rarl.data.explanations import MODALITY_NAMES, basic_facts, compose, organ_phrase
from rarl.data.narration import narrate
from rarl.data.root import has_split_file, read_half_b, read_rows, read_split_file
from rarl.errors import DataError

# Category of yes/no questions that name one of several labels; for training rows alone.
CHECK = "check"


@dataclass(frozen=True, slots=True)
class Asked:
    """One question about one image, with the fact its answer states.

    Attributes:
        category: "label", "presence", "count", "modality", ...; one question of each an image.
        wordings: ways to ask; held-out rows take the first.
        answer: the short reference answer, in lower case.
        kind: closed or open.
        fact: what the answer states.
        ways: ways to state the fact, each a sentence that adds nothing to it.
        middles: true sentences about the term itself, which hold for every picture so labelled.
    """

    category: str
    wordings: Sequence[str]
    answer: str
    kind: Kind
    fact: Fact
    ways: Sequence[str] = ()
    middles: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.ways:
            object.__setattr__(self, "ways", (self.fact.statement,))


def choose(image: str, purpose: str, count: int) -> int:
    """A number below `count` that depends on an image's name and a purpose alone."""
    return crc32(f"{image}/{purpose}".encode()) % count


MODALITY_WORDINGS = (
    "What imaging modality is this?",
    "How was this image taken?",
    "Which modality was used?",
    "What kind of scan is this?",
    "What type of image is shown?",
    "With what technique was this picture made?",
    "Name the imaging modality.",
)
ORGAN_WORDINGS = (
    "Which organ or body part is shown?",
    "What part of the body is this?",
    "What organ is imaged?",
    "Which body region do you see?",
    "What anatomy does the image show?",
    "Name the body part in this picture.",
)


def basic_questions(modality: str | None, organ: str | None) -> Iterator[Asked]:
    """The questions for modality and organ, where they are known."""
    for fact in basic_facts(modality, organ):
        if fact.kind == "modality":
            wordings: Sequence[str] = MODALITY_WORDINGS
            name = MODALITY_NAMES.get(fact.value, fact.value)
            ways = (fact.statement, f"The picture is {name}.", f"It was made as {name}.")
        else:
            wordings = ORGAN_WORDINGS
            name = organ_phrase(fact.value)
            ways = (fact.statement, f"The picture shows {name}.", f"What is seen is {name}.")
        yield Asked(fact.kind, wordings, fact.value, "open", fact, ways)


def _brain(row: dict[str, Any]) -> Iterator[Asked]:
    name = {"notumor": "no tumor", "pituitary": "pituitary tumor"}.get(row["label"], row["label"])
    tumor = name != "no tumor"
    article = "a " if tumor else ""
    shown = Fact("finding", name if tumor else "tumor", tumor, f"It shows {article}{name}.")
    yield Asked(
        "label",
        (
            "Which type of tumor is shown, if any?",
            "What is the diagnosis?",
            "Is this a glioma, a meningioma, a pituitary tumor or no tumor?",
            "What does this brain MRI show?",
            "What kind of brain tumor do you see, if there is one?",
            "Name the tumor type, or say that there is none.",
            "Classify this brain MRI by tumor type.",
        ),
        name,
        "open",
        shown,
        (
            f"It shows {article}{name}.",
            f"The picture fits {article}{name}." if tumor else "No tumor is seen.",
            f"The tumor type is {name}." if tumor else "The brain shows no tumor.",
            f"This is {article}{name}." if tumor else "There is no tumor.",
        ),
    )
    yield Asked(
        "presence",
        (
            "Is there a tumor?",
            "Is a brain tumor present?",
            "Does this scan show a tumor?",
            "Do you see a tumor in this brain?",
        ),
        "yes" if tumor else "no",
        "closed",
        shown,
        (
            ("There is a tumor.", "A tumor is seen.", "The scan shows a tumor.")
            if tumor
            else ("There is no tumor.", "No tumor is seen.", "The scan shows no tumor.")
        ),
    )
    types = ("glioma", "meningioma", "pituitary tumor")
    asked_type = name
    # Half of the questions name the right type, the others another one.
    if not tumor or choose(row["image"], "check", 2):
        others = [other for other in types if other != name]
        asked_type = others[choose(row["image"], "type", len(others))]
    same = asked_type == name
    yield Asked(
        "check",
        (
            f"Is this a {asked_type}?",
            f"Does this scan show a {asked_type}?",
            f"Is a {asked_type} present?",
        ),
        "yes" if same else "no",
        "closed",
        shown,
        (
            f"It shows {article}{name}.",
            f"The picture shows {article}{name}" + ("." if same else f", not a {asked_type}."),
        ),
    )


def brain_tumor_mri(root: Path) -> list[Example]:
    """Brain tumour MRI, four classes (Nickparvar); official test, a validation tenth of train."""
    return list(examples(root, "brain_tumor_mri", "CC0-1.0", "mri", "brain", _brain))


def brain_tumor_mri_more(root: Path) -> list[Example]:
    """More of the same training part, without near-duplicates of held-out images."""
    return list(examples(root, "brain_tumor_mri_more", "CC0-1.0", "mri", "brain", _brain))


def busi_breast_us(root: Path) -> list[Example]:
    """Breast ultrasound, three classes (BUSI); a fixed fifth of the images is the test split."""

    def asked(row: dict[str, Any]) -> Iterator[Asked]:
        label = row["label"]
        if label == "normal":
            shown = Fact("finding", "lesion", False, "It shows no lesion.")
        else:
            shown = Fact("finding", f"{label} lesion", True, f"It shows a {label} lesion.")
        yield Asked(
            "label",
            (
                "Is this normal, or is there a benign or malignant lesion?",
                "Is the finding normal, benign or malignant?",
                "How would you classify this breast: normal, benign or malignant?",
                "What is your classification: normal, benign or malignant?",
                "Does the ultrasound look normal, benign or malignant?",
                "Is the breast normal, or does it hold a benign or a malignant lesion?",
            ),
            label,
            "closed",
            shown,
            (
                ("It shows no lesion.", "The breast looks normal.", "No lesion is seen.")
                if label == "normal"
                else (
                    f"It shows a {label} lesion.",
                    f"There is a lesion, and it looks {label}.",
                    f"The lesion in this picture is {label}.",
                )
            ),
        )
        yield Asked(
            "presence",
            (
                "Is there a lesion?",
                "Is a breast lesion present?",
                "Does this show a lesion?",
                "Do you see a lesion in this breast?",
            ),
            "no" if label == "normal" else "yes",
            "closed",
            shown,
            (
                ("There is no lesion.", "No lesion is seen.", "The breast looks normal.")
                if label == "normal"
                else ("There is a lesion.", "A lesion is seen.", f"There is a {label} lesion.")
            ),
        )
        if label != "normal":
            yield Asked(
                CHECK,
                (
                    "Is the lesion malignant?",
                    "Does the lesion look malignant?",
                    "Is this lesion cancer?",
                ),
                "yes" if label == "malignant" else "no",
                "closed",
                shown,
                (f"The lesion is {label}.", f"It shows a {label} lesion."),
            )

    return list(examples(root, "busi_breast_us", "CC-BY-4.0", "ultrasound", "breast", asked))


def bccd_blood(root: Path) -> list[Example]:
    """Blood smears with counted cells (BCCD), official splits.

    Only white cells are asked about: the boxes of red cells and platelets are incomplete.
    """

    def asked(row: dict[str, Any]) -> Iterator[Asked]:
        count = row["counts"].get("WBC", 0)
        if count == 0:
            return
        noun = "white blood cell" if count == 1 else "white blood cells"
        verb = "is" if count == 1 else "are"
        yield Asked(
            "count",
            (
                "How many white blood cells are shown?",
                "What is the number of white blood cells?",
                "Count the white blood cells.",
                "How many leukocytes do you see?",
                "How many white cells are in this smear?",
            ),
            str(count),
            "open",
            Fact("count", str(count), True, f"There {verb} {count} {noun}."),
            (
                f"There {verb} {count} {noun}.",
                f"I count {count} {noun}.",
                f"{count} {noun} {verb} seen.",
            ),
        )

    return list(examples(root, "bccd_blood", "MIT", "light microscopy", "blood", asked))


def covid_chestxray(root: Path) -> list[Example]:
    """Chest X-rays from many sources (Cohen et al.): unseen, so it trains nothing at all."""

    def asked(row: dict[str, Any]) -> Iterator[Asked]:
        view = {"PA": "pa", "AP": "ap", "AP Supine": "ap", "L": "lateral"}.get(row["view"] or "")
        if view:
            fact = Fact("plane", view, True, f"The plane is {view}.")
            yield Asked("view", ("Is this a PA, AP or lateral view?",), view, "closed", fact)
        label = (row["label"] or "").lower()
        if label:
            normal = label == "no finding"
            statement = "It shows no finding." if normal else f"It shows {label}."
            fact = Fact("finding", "finding" if normal else label, not normal, statement)
            answer = "yes" if normal else "no"
            yield Asked("presence", ("Is the chest X-ray normal?",), answer, "closed", fact)
            yield Asked("label", ("What is the diagnosis?",), label, "open", fact)

    return list(examples(root, "covid_chestxray", None, "x-ray", "chest", asked, True))


def examples(
    root: Path,
    source: str,
    licence: str | None,
    modality: str,
    organ: str,
    asked: Callable[[dict[str, Any]], Iterator[Asked]],
    unseen: bool = False,
    only: Callable[[dict[str, Any]], bool] = lambda row: True,
) -> Iterator[Example]:
    """The rows of a set of labelled images.

    Args:
        root: folder of the sets.
        source: the set, whose folder holds `labels.jsonl`. Its file in `rarl/data/splits` lists the
            held-out images; without one, each row's `split` counts ("train" where it has none).
        licence: of every row, or None to take each row's own.
        modality: of every image.
        organ: of every image.
        asked: a row of `labels.jsonl` to the questions about its image.
        unseen: the set trains nothing, and has no split file.
        only: which rows of `labels.jsonl` to take.

    Raises:
        DataError: `labels.jsonl` is missing or not JSON, or a row has an unknown split.
    """
    folder = root / source
    # Images of "left-out" belong to no split, since they repeat held-out ones.
    split_of: dict[str, str] = {}
    drawn = has_split_file(source)
    if drawn and not unseen:
        for listed, images in read_split_file(source).items():
            split_of |= dict.fromkeys(images, listed)
    half_b = read_half_b(source)
    basics = basic_facts(modality, organ)
    for row in read_rows(folder / "labels.jsonl"):
        image = row["image"]
        if not only(row):
            continue
        named = split_of.get(image, "unseen" if unseen else "train")
        if not drawn and not unseen:
            named = row.get("split") or "train"
            if named not in SPLITS:
                raise DataError(
                    f"{source}/labels.jsonl has the split {named!r} for {image}; write one of "
                    f"{', '.join(SPLITS)}."
                )
        split = next((split_name for split_name in SPLITS if split_name == named), None)
        if split is None:  # left out
            continue
        questions = [*asked(row), *basic_questions(modality, organ)]
        if split != "train":
            questions = [question for question in questions if question.category != CHECK]
        facts = tuple(dict.fromkeys([*basics, *(question.fact for question in questions)]))
        half: Half | None = None
        if split == "train":
            half = "B" if image in half_b else "A"
        for question in questions:
            chosen = 0
            if split == "train":
                chosen = choose(image, question.category, len(question.wordings))
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
                half=half,
                wordings=tuple(question.wordings),
                explanations=narrate(
                    basics, (), question.ways, question.fact.kind, question.middles
                ),
            )
