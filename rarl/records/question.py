"""A question: its pictures, who shall answer it, and how text is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Self

from PIL import Image
from pydantic import Field

from rarl.records._base import known_fields, value
from rarl.response import Mode


@value
class Decoding:
    """How text is drawn from the model."""

    max_new_tokens: int = Field(default=256, description="Completion limit, in tokens.")
    temperature: float = Field(default=0.0, description="0 is greedy.")
    top_p: float = Field(default=1.0, description="Nucleus mass, used where temperature > 0.")
    seed: int = Field(default=0, description="Used where temperature > 0.")

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Self:
        """From a stored row; settings that only another version knows are left out."""
        return cls(**known_fields(cls, row))


@value
class Arm:
    """A model variant on offer."""

    name: str = Field(description="base, sft, rl, rarl or a site's own.")
    label: str = Field(description="What the interface shows (RARL).")
    revision: str = Field(description="Twelve hex digits of the adapter's (or base's) weights.")
    chats: bool = Field(
        default=False,
        description="Whether earlier turns may go into its prompt; a model that was trained on "
        "single questions about one picture would only be confused by them, and by further "
        "pictures.",
    )
    mode: Mode | None = Field(
        default=None,
        description="The inference mode in which it answers, whatever the question's; empty for "
        "that one.",
    )
    english_only: bool = Field(
        default=False, description="Whether it was trained on English alone."
    )


@value
class NamedImage:
    """A picture and what the prompt calls it."""

    image: Image.Image = Field(
        description="8-bit picture, any size in pixels; the processor resizes it."
    )
    name: str = Field(
        default="",
        description="Such as frontal, lateral, current, prior or region; used where a question "
        "has several pictures, empty leaves it out.",
    )


@value
class Turn:
    """An earlier question about the same pictures, and what was answered."""

    text: Annotated[str, Field(description="The question as the person typed it.")]
    mode: Annotated[Mode, Field(description="Inference mode.")]
    answers: Annotated[
        Mapping[str, str], Field(description="Name of a variant to the raw text of its answer.")
    ] = field(hash=False)
    options: Annotated[
        tuple[str, ...], Field(description="As for the question that is asked now.")
    ] = ()


@value
class Question:
    """One question about one or more pictures, for one or more variants."""

    images: tuple[NamedImage, ...] = Field(
        description="In the order in which the prompt shows them; no two of one name."
    )
    text: str = Field(description="As the person typed it, without instructions.")
    arms: tuple[str, ...] = Field(
        description="Names of the variants that shall answer, in the order of the columns."
    )
    mode: Mode = Field(
        default="reason", description="Inference mode: reason, answer or answer-then-reason."
    )
    decoding: Decoding = Field(default=Decoding(), description="How text is drawn.")
    earlier: tuple[Turn, ...] = Field(
        default=(),
        description="What was asked before, oldest first. A variant that chats reads these turns, "
        "with its own answers; the others get the question alone.",
    )
    options: tuple[str, ...] = Field(
        default=(),
        description="Of a multiple-choice question the options in the order in which the prompt "
        "shows them, the first as A; empty for any other question.",
    )
