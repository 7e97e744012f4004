"""Detect overlap between evaluated rows and training rows, and name the split accordingly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rarl.data.example import Example, Split
from rarl.data.leakage import Group, shared
from rarl.data.sets import load_set
from rarl.errors import DataError

Exclusion = Literal["none", "identical", "near"]
EXCLUSIONS: tuple[Exclusion, ...] = ("none", "identical", "near")
SEEN = "images seen"


@dataclass(frozen=True, slots=True)
class Leak:
    """Images of one evaluated set that training has, too.

    Attributes:
        source: the set.
        split: its split.
        images: its images.
        same: keys of images with rows in both.
        identical: (training image, this set's image) of other files with the same pixels.
        near: likewise, of images alike to a difference hash: a bound from above, to be looked at.
    """

    source: str
    split: Split
    images: int
    same: tuple[str, ...]
    identical: tuple[tuple[str, str], ...]
    near: tuple[tuple[str, str], ...]

    def keys(self, near: bool) -> set[str]:
        """This set's images that training has, or (with `near`) may have."""
        pairs = (*self.identical, *self.near) if near else self.identical
        return set(self.same) | {second for _, second in pairs}

    @property
    def label(self) -> str:
        """The name of a split: never unseen or disjoint where an image is shared."""
        if not self.keys(near=False):
            return self.split
        return SEEN if self.split in ("unseen", "image-disjoint") else self.split

    def counts(self) -> dict[str, str | int]:
        """Counts of shared content for a summary; the keys go to a file of their own."""
        return {
            "source": self.source,
            "split": self.split,
            "label": self.label,
            "images": self.images,
            "same": len(self.same),
            "identical": len({second for _, second in self.identical}),
            "near": len({second for _, second in self.near}),
        }


def training_rows(names: Sequence[str]) -> tuple[list[Example], list[str]]:
    """The training rows of the sets that are at hand, and the names of those that are not."""
    rows: list[Example] = []
    missing = []
    for name in dict.fromkeys(names):
        try:
            rows += [row for row in load_set(name) if row.split == "train"]
        except DataError:
            missing.append(name)
    return rows, missing


def find_leaks(training: Sequence[Example], asked: Sequence[Example]) -> list[Leak]:
    """Hold every asked image against every training image.

    Args:
        training: rows of split "train".
        asked: the evaluated rows; those of split "train" itself are not reported.

    Returns:
        One entry for each set and split asked, shared images or not.

    Raises:
        DataError: an image cannot be read.
    """
    held_out = [row for row in asked if row.split != "train"]
    report = shared([*training, *held_out])
    leaks = []
    for source, split in dict.fromkeys((row.source, row.split) for row in held_out):
        group = Group(source, split)
        overlaps = [
            overlap
            for overlap in report.overlaps
            if overlap.first.split == "train" and overlap.second == group
        ]
        leaks.append(
            Leak(
                source,
                split,
                report.images[group],
                same=tuple(sorted({key for overlap in overlaps for key in overlap.images})),
                identical=tuple(sorted({two for overlap in overlaps for two in overlap.identical})),
                near=tuple(sorted({two for overlap in overlaps for two in overlap.near})),
            )
        )
    return leaks


def without_leaks(
    examples: Sequence[Example], leaks: Sequence[Leak], exclusion: Exclusion
) -> list[Example]:
    """The rows whose image training does not have.

    Args:
        examples: the asked rows.
        leaks: see `find_leaks`.
        exclusion: "identical" drops shared images and their exact duplicates, "near" also what
            looks alike; "none" keeps everything.

    Raises:
        DataError: nothing is left.
    """
    if exclusion == "none":
        return list(examples)
    dropped = {(leak.source, leak.split): leak.keys(near=exclusion == "near") for leak in leaks}
    kept = [
        row
        for row in examples
        if not {image.key for image in row.images} & dropped.get((row.source, row.split), set())
    ]
    if not kept:
        raise DataError(
            "Every image of these rows is in training too, so that excluding shared images leaves "
            "nothing; choose another split, or --exclude-leaks none."
        )
    return kept
