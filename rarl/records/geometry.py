"""Places on a picture, and how it was looked at."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from rarl.records._base import known_fields, value

Pixels = tuple[int, int, int, int]
"""left, top, right, bottom: columns left..right - 1, rows top..bottom - 1."""


@value
class Region:
    """A place on a picture of a case."""

    picture: int = Field(description="Index of the picture, from 0.")
    box: Pixels = Field(description="Left, top, right and bottom, in pixels of that picture.")

    def row(self) -> dict[str, int]:
        """As the column of a flag holds it."""
        left, top, right, bottom = self.box
        edges = {"left": left, "top": top, "right": right, "bottom": bottom}
        return {"picture": self.picture, **edges}

    @classmethod
    def of_row(cls, row: dict[str, int]) -> Self:
        """What `row` has given."""
        return cls(row["picture"], (row["left"], row["top"], row["right"], row["bottom"]))


@value
class Shown:
    """How a picture was looked at when the question was asked."""

    plane: str = Field(default="acquired", description="acquired, axial, coronal or sagittal.")
    frame: int = Field(default=0, description="Index within the plane, from 0.")
    time: int = Field(default=0, description="Index of the time point, from 0.")
    window: tuple[float, float] | None = Field(
        default=None,
        description="DICOM Window Center and Window Width (0028,1050 and 1051), in the unit of "
        "the values; empty for the file's own.",
    )
    invert: bool = Field(default=False, description="Whether black and white were swapped.")
    crop: Pixels | None = Field(
        default=None,
        description="The part of the plane that the picture is, in pixels; empty for all.",
    )
    region: Pixels | None = Field(
        default=None, description="The part of the picture that the question is about, in pixels."
    )
    masks: tuple[Pixels, ...] = Field(
        default=(), description="Parts of the plane that were covered, in its pixels."
    )

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Self:
        """From a stored row; what another version has written besides is left out.

        A case from before there were views was shown as it came.
        """
        return cls(**known_fields(cls, row))
