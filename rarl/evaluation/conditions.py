"""What a question is asked about: its scan, or a picture that stands in for it.

An answer that needs the image changes when the image does. So the same question is asked again
about a grey picture of the same size, about the scan mirrored left to right, and about another
image of the same modality.
"""

from __future__ import annotations

import io
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageOps, UnidentifiedImageError

from rarl.data.example import Example, ImageRef
from rarl.errors import DataError

Condition = Literal["scan", "blank", "mirrored", "swapped"]
CONDITIONS: tuple[Condition, ...] = ("scan", "blank", "mirrored", "swapped")
ALTERED: tuple[Condition, ...] = ("blank", "mirrored", "swapped")

MID_GREY = (128, 128, 128)
_SIDE = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to ask about.

    Attributes:
        name: names it among all pictures of a run; equal names mean equal pixels.
        size: width and height in pixels.
        source: where the pixels are read, None for a blank picture.
        mirrored: whether they are flipped left to right.
    """

    name: str
    size: tuple[int, int]
    source: ImageRef | None
    mirrored: bool = False

    def load(self) -> Image.Image:
        """8-bit RGB.

        Raises:
            DataError: the file is missing or is not an image.
        """
        if self.source is None:
            return blank(self.size)
        image = self.source.load()
        return ImageOps.mirror(image) if self.mirrored else image


def blank(size: tuple[int, int]) -> Image.Image:
    """A grey picture, 8-bit RGB; `size` is width and height in pixels."""
    return Image.new("RGB", size, MID_GREY)


def image_of(example: Example) -> ImageRef:
    """The example's image.

    Raises:
        DataError: it has none.
    """
    if example.image is None:
        raise DataError(f"{example.id} has no picture, so it cannot be asked.")
    return example.image


def image_size(image: ImageRef) -> tuple[int, int]:
    """Width and height in pixels, from the file's header alone.

    Raises:
        DataError: the file is missing or is not an image.
    """
    try:
        with Image.open(io.BytesIO(image.read()), formats=("PNG", "JPEG", "WEBP")) as opened:
            return opened.size
    except UnidentifiedImageError as error:
        raise DataError(f"Image {image.key} is not a PNG, JPEG or WebP file.") from error


def picture_for(
    image: ImageRef,
    condition: Condition,
    sizes: Mapping[str, tuple[int, int]],
    partners: Mapping[str, ImageRef],
) -> Picture | None:
    """What is shown for an image under a condition.

    Args:
        image: the question's own.
        condition: what stands in for it.
        sizes: image key to width and height, for every image that may be shown.
        partners: see `swap_partners`.

    Returns:
        The picture, or None where there is no other image to swap it for.
    """
    if condition == "blank":
        width, height = sizes[image.key]
        return Picture(f"blank {width} x {height}", (width, height), None)
    if condition == "swapped":
        if image.key not in partners:
            return None
        image = partners[image.key]
    if condition == "mirrored":
        return Picture(f"{image.key} mirrored", sizes[image.key], image, mirrored=True)
    return Picture(image.key, sizes[image.key], image)


def swap_partners(examples: Iterable[Example], seed: int) -> dict[str, ImageRef]:
    """For each image another one of the same set, split and modality, drawn with the seed.

    Images of unknown modality, and those that are alone with theirs, have no partner.

    Args:
        examples: all rows of the sets, so that asking fewer of them swaps for the same images.
        seed: of the draw.
    """
    alike: dict[tuple[str, str, str], dict[str, ImageRef]] = defaultdict(dict)
    for example in examples:
        if example.image is not None and example.modality is not None:
            group = (example.source, example.split, example.modality)
            alike[group][example.image.key] = example.image
    partners: dict[str, ImageRef] = {}
    for alike_in, images in alike.items():
        order = sorted(images)
        random.Random(f"{seed} {alike_in}").shuffle(order)
        if len(order) > 1:
            # Each is followed by another one, and the last by the first.
            partners |= {
                key: images[other] for key, other in zip(order, [*order[1:], order[0]], strict=True)
            }
    return partners


def sides(text: str) -> frozenset[str]:
    """Which of left and right a text names.

    >>> sorted(sides("Left-sided effusion")), sorted(sides("bright"))
    (['left'], [])
    """
    return frozenset(side.lower() for side in _SIDE.findall(text))


def flip_sides(text: str) -> str:
    """Left for right and right for left.

    >>> flip_sides("The left lung, not the Right.")
    'The right lung, not the Left.'
    """

    def other(match: re.Match[str]) -> str:
        side = _OTHER[match[0].lower()]
        return side.capitalize() if match[0][0].isupper() else side

    return _SIDE.sub(other, text)


def reference_under(example: Example, condition: Condition) -> str | None:
    """The right answer under a condition.

    Mirrored, an answer that names a side flips. A question that names a side itself ("Is there an
    effusion on the left?") has no known answer about the mirrored scan. About a blank or another
    image the scan's answer stays the reference: a model that looks can only guess it.

    Returns:
        The reference, or None where it is not known.
    """
    if condition != "mirrored":
        return example.answer
    if sides(example.answer):
        return flip_sides(example.answer)
    return None if sides(example.question) else example.answer
