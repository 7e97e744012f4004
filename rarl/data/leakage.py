"""Find images, near-duplicates and questions that splits share.

A score on held-out rows means what it says only where this is known. Two images count as identical
where their pixels are, whatever the file; as near-duplicates where their 64-bit difference hashes
are at most 4 bits apart. The hash sees shape and not detail, so that slices of different patients
can collide: "near" is a bound from above, to be looked at and not to be quoted as a leak.
"""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from rarl.data.example import FORMATS, SPLITS, Example, ImageRef, Split
from rarl.data.vqa_rad import normalised_question
from rarl.errors import DataError

NEAR_BITS = 4
_PART = 1024


class Group(NamedTuple):
    """The rows of one set that belong to one split."""

    source: str
    split: Split


@dataclass(frozen=True, slots=True)
class Overlap:
    """Content that two groups of different splits share.

    Attributes:
        first: the group of the earlier split (train before validation before test ...).
        second: the other group.
        images: keys of images that have rows in both.
        identical: pairs of different keys (first's, second's) with the same pixels.
        near: pairs of different keys whose difference hashes are at most 4 bits apart, without
            the identical ones.
        questions: image key and normalised question of rows that both hold.
    """

    first: Group
    second: Group
    images: tuple[str, ...]
    identical: tuple[tuple[str, str], ...]
    near: tuple[tuple[str, str], ...]
    questions: tuple[tuple[str, str], ...]

    @property
    def twins(self) -> int:
        """Count the images of the second group that equal or nearly equal one of the first."""
        paired = {second for _, second in (*self.identical, *self.near)}
        return len(paired | set(self.images))


@dataclass(frozen=True, slots=True)
class Shared:
    """The report of `shared`.

    Attributes:
        images: number of distinct images of each group; 0 where its rows are text alone.
        overlaps: pairs of groups that share something.
    """

    images: Mapping[Group, int]
    overlaps: tuple[Overlap, ...]


def difference_hash(encoded: bytes) -> int:
    """64-bit difference hash of an encoded image: is each field brighter than the one before it?"""
    with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
        return _difference(image)


def shared(examples: Iterable[Example]) -> Shared:
    """Find what groups of different splits have in common, across sets as well.

    Rows of the same split are not compared: what they share leaks nothing.

    Raises:
        DataError: an image cannot be read.
    """
    refs: dict[str, ImageRef] = {}
    keys: dict[Group, set[str]] = defaultdict(set)
    asked: dict[Group, set[tuple[str, str]]] = defaultdict(set)
    for row in examples:
        group = Group(row.source, row.split)
        keys[group]  # a group of text alone is reported too
        for image in row.images:
            refs.setdefault(image.key, image)
            keys[group].add(image.key)
            asked[group].add((image.key, normalised_question(row.question)))

    prints = {key: _fingerprint(ref) for key, ref in refs.items()}
    groups = sorted(keys, key=lambda group: SPLITS.index(group.split))
    listed = {group: sorted(keys[group]) for group in groups}
    hashes = {
        group: np.array([prints[key].difference for key in listed[group]], dtype=np.uint64)
        for group in groups
    }
    overlaps = []
    for first, second in combinations(groups, 2):
        if first.split == second.split:
            continue
        identical: list[tuple[str, str]] = []
        near: list[tuple[str, str]] = []
        for row_index, column in _alike(hashes[first], hashes[second]):
            pair = (listed[first][row_index], listed[second][column])
            if pair[0] != pair[1]:
                same = prints[pair[0]].pixels == prints[pair[1]].pixels
                (identical if same else near).append(pair)
        overlap = Overlap(
            first=first,
            second=second,
            images=tuple(sorted(keys[first] & keys[second])),
            identical=tuple(identical),
            near=tuple(near),
            questions=tuple(sorted(asked[first] & asked[second])),
        )
        if overlap.twins:
            overlaps.append(overlap)
    return Shared({group: len(listed[group]) for group in groups}, tuple(overlaps))


def _alike(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Places of pairs at most `NEAR_BITS` apart; in parts, to spare memory."""
    for start in range(0, len(first), _PART):
        part = first[start : start + _PART]
        near = np.bitwise_count(part[:, None] ^ second[None, :]) <= NEAR_BITS
        for row, column in np.argwhere(near):
            yield start + int(row), int(column)


class _Fingerprint(NamedTuple):
    pixels: bytes
    difference: int


def _fingerprint(ref: ImageRef) -> _Fingerprint:
    try:
        with Image.open(io.BytesIO(ref.read()), formats=FORMATS) as image:
            pixels = hashlib.sha256(repr(image.size).encode())
            pixels.update(image.convert("RGB").tobytes())
            return _Fingerprint(pixels.digest(), _difference(image))
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(
            f"Image {ref.key} is not a readable PNG, JPEG, WebP, BMP or TIFF file."
        ) from error


def _difference(image: Image.Image) -> int:
    small = image.convert("L").resize((9, 8), Image.Resampling.LANCZOS)
    grey = np.asarray(small, dtype=int)
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")
