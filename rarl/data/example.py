"""`Example`: the row type of every dataset."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, UnidentifiedImageError

from rarl.errors import DataError

Kind = Literal["closed", "open", "choice", "report"]
Split = Literal["train", "validation", "test", "image-disjoint", "unseen"]
Half = Literal["A", "B"]
FactKind = Literal["modality", "organ", "plane", "side", "finding", "count", "other"]

KINDS: tuple[Kind, ...] = ("closed", "open", "choice", "report")
# The image formats that a set may have.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "image-disjoint", "unseen")


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A reference to an image. Nothing is decoded until `load`.

    Attributes:
        key: stable name of the image within its source; rows that share a key share an image.
        path: the file, or None where `data` holds the encoded bytes.
        data: encoded image bytes, or None where `path` is given.
    """

    key: str
    path: Path | None = None
    data: bytes | None = None

    def read(self) -> bytes:
        """Return the encoded bytes.

        Raises:
            DataError: the file is not there.
        """
        if self.data is not None:
            return self.data
        if self.path is None:
            raise DataError(f"Image {self.key} has neither a file nor bytes.")
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise DataError(f"Image {self.key} could not be read: {error.strerror}.") from error

    def load(self) -> Image.Image:
        """Return the image as 8-bit RGB.

        Raises:
            DataError: the file is missing or is not an image.
        """
        try:
            with Image.open(io.BytesIO(self.read()), formats=FORMATS) as image:
                return image.convert("RGB")
        except UnidentifiedImageError as error:
            raise DataError(
                f"Image {self.key} is not a PNG, JPEG, WebP, BMP or TIFF file."
            ) from error

    def sha256(self) -> str:
        """Hash of the encoded bytes, for the leakage check."""
        return hashlib.sha256(self.read()).hexdigest()


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement that an annotation makes about an image.

    Attributes:
        kind: what it speaks of.
        value: the annotated term in lower case ("mri", "left", "pleural effusion", "3").
        present: False where the annotation denies it ("no pneumothorax").
        statement: the fact as a short English sentence, as used in explanations.
    """

    kind: FactKind
    value: str
    present: bool
    statement: str


@dataclass(frozen=True, slots=True)
class Example:
    """One question about one image, or about several.

    Attributes:
        id: unique over all sources, `SOURCE/...`.
        image: the image, undecoded; None where a set ships text alone.
        question: as asked, without instructions.
        answer: the short reference answer.
        explanation: composed from annotations of the image's training rows, the set's own, or None.
        kind: closed (yes/no or a choice given in the question), open, choice (one of `options`) or
            report (a free text; its reference is in `answer`).
        modality: "mri", "ct", "x-ray", "ultrasound", "light microscopy" or None if unknown.
        organ: "brain", "chest", "abdomen", "breast", "blood" or None if unknown.
        facts: what annotations say about the image. On images that also train something they come
            from training rows alone, never from a test row.
        source: the dataset's name.
        licence: SPDX-like licence of the row.
        split: see `Split`; "test" of vqa_rad means images seen in training.
        category: the source's own question type (e.g. "PRES"), or None.
        reworded: for a test row, whether a training row about the same image asks nearly the same
            in other words, so that the answer may simply be remembered.
        half: of a training row, the half of its set's images that it belongs to: A trains the base
            model, B its variants. None where a set is not halved.
        wordings: other ways to ask the same; empty where the set has one wording.
        explanations: other explanations from the same annotations, in other words, order and depth.
        options: of kind choice the options as published; `answer` is one of them.
        more: further images after `image`, in the order in which they are shown.
    """

    id: str
    image: ImageRef | None
    question: str
    answer: str
    explanation: str | None
    kind: Kind
    modality: str | None
    organ: str | None
    facts: tuple[Fact, ...]
    source: str
    licence: str
    split: Split
    category: str | None = None
    reworded: bool = False
    half: Half | None = None
    wordings: tuple[str, ...] = ()
    explanations: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    more: tuple[ImageRef, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind == "choice") != bool(self.options):
            raise DataError(
                f"{self.id}: options belong to a question of kind choice, and to it alone."
            )
        if self.options and self.options.count(self.answer) != 1:
            raise DataError(f"{self.id}: the right answer must be one of the options, once.")

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """All images, none where a set ships text alone."""
        return (() if self.image is None else (self.image,)) + self.more
