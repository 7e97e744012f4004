"""A case: one question, its pictures and all its answers, complete enough to be asked again."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

from PIL import Image
from pydantic import Field

from rarl.errors import ReviewError
from rarl.records._base import FileBytes, Record, Time
from rarl.records.geometry import Shown
from rarl.records.question import Decoding
from rarl.records.report import Measurement


class ArmAnswer(Record):
    """One variant's answer as it was shown."""

    arm: str = Field(description="The variant's name.")
    label: str = Field(description="What the interface called it.")
    revision: str = Field(description="Twelve hex digits of the weights that answered.")
    reasoning: str = Field(description="Text of the think block.")
    answer: str = Field(description="Text of the answer block.")
    problems: tuple[str, ...] = Field(
        description="What is wrong with the form or the content, see `rarl.response`."
    )
    text: str = Field(description="The raw text.")
    tokens: int = Field(description="Completion tokens.")
    seconds: float = Field(description="From the question to this variant's end.")
    stopped: bool = Field(
        default=False,
        description="Whether the person ended it, so that a short answer is not its fault.",
    )
    note: str = Field(
        default="", description="Why it broke off, or what else must be known of it; mostly empty."
    )


class Picture(Record):
    """One picture of a case."""

    png: FileBytes | None = Field(
        repr=False,
        description="The pixels as shown, PNG without any metadata; empty where the site keeps "
        "hashes only.",
    )
    sha256: str = Field(description="Of the PNG file, 64 hex digits.")
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    name: str = Field(
        default="", description="What the prompt calls it (current, region, ...); empty for none."
    )
    shown: Shown = Field(default=Shown(), description="How it was looked at.")

    def image(self) -> Image.Image:
        """The pixels, 8-bit L or RGB.

        Raises:
            ReviewError: only the hash was kept.
        """
        if self.png is None:
            raise ReviewError(
                "This site keeps only the hashes of pictures; open the scan itself to see the case."
            )
        picture = Image.open(BytesIO(self.png), formats=["PNG"])
        picture.load()
        return picture


class CaseSnapshot(Record):
    """One question and all its answers, complete enough to be asked again years later."""

    id: str = Field(description="32 hex digits.")
    created: Time = Field(description="When the case was made, UTC.")
    app_version: str = Field(description="Version of this package.")
    pictures: tuple[Picture, ...] = Field(description="At least one, in the order of the prompt.")
    modality: str | None = Field(description="DICOM Modality (0008,0060).")
    attributes: Mapping[str, str] = Field(
        description="What the scan kept of its header: DICOM keyword to text."
    )
    question: str = Field(description="As the person typed it.")
    mode: str = Field(description="Inference mode: reason, answer or answer-then-reason.")
    model: str = Field(
        description="Name the base model was resolved from; the same for all variants."
    )
    prompt_hash: str = Field(
        description="Of the prompt templates, so that a change of wording shows."
    )
    decoding: Decoding = Field(
        description="How text was drawn, the seed included; the same for all variants."
    )
    shown_order: tuple[str, ...] = Field(
        description="Names of the variants as the columns stood, left to right."
    )
    answers: tuple[ArmAnswer, ...] = Field(description="One for each variant.")
    blind: bool = Field(default=False, description="Whether the names of the variants were hidden.")
    sampled: bool = Field(
        default=False,
        description="Whether chance kept the case, not a complaint: only these can give rates.",
    )
    measurements: tuple[Measurement, ...] = Field(
        default=(), description="Drawn on its pictures, in the order of the scans."
    )

    @property
    def png(self) -> bytes | None:
        """The first picture's file, or None where only its hash was kept."""
        return self.pictures[0].png

    @property
    def sha256(self) -> str:
        """The first picture's hash."""
        return self.pictures[0].sha256

    @property
    def width(self) -> int:
        """The first picture's, in pixels."""
        return self.pictures[0].width

    @property
    def height(self) -> int:
        """The first picture's, in pixels."""
        return self.pictures[0].height

    def image(self) -> Image.Image:
        """The first picture, 8-bit L or RGB.

        Raises:
            ReviewError: only its hash was kept.
        """
        return self.pictures[0].image()
