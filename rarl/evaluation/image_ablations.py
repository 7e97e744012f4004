"""Image ablations: the scan itself, or a blank, mirrored or unrelated picture in its place.

An answer that needs the image changes when the image does. So the same question is asked again
about a grey picture of the same size, about the scan mirrored left to right, and about another
image of the same modality. An answer that can be relied on outlives what does not change the
finding: as a stress test the scan is given noise, half its contrast, or loses its border.
"""

from __future__ import annotations

import io
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps, UnidentifiedImageError

from rarl.data.example import FORMATS, Example, ImageRef
from rarl.errors import DataError

Condition = Literal[
    "scan", "blank", "mirrored", "swapped", "noisy", "faded", "cropped",
    "rotated 1", "rotated 2", "rotated 3", "rotated 4", "rotated 5", "rotated 6", "rotated 7",
    "rotated 8", "rotated 9",
    "tilted", "jpeg", "small", "injected picture", "injected question", "suggested",
    "wrong modality", "absent organ", "absent finding", "none added", "none right",
]  # fmt: skip
ALTERED: tuple[Condition, ...] = ("blank", "mirrored", "swapped")
PERTURBED: tuple[Condition, ...] = ("noisy", "faded", "cropped")
# The options of a multiple-choice question moved on by so many places, about the scan itself.
ROTATED: tuple[Condition, ...] = (
    "rotated 1", "rotated 2", "rotated 3", "rotated 4", "rotated 5", "rotated 6", "rotated 7",
    "rotated 8", "rotated 9",
)  # fmt: skip
# Further changes of the picture that leave the finding as it is.
STRESSED: tuple[Condition, ...] = (*PERTURBED, "tilted", "jpeg", "small")
# Probes of the question, see `rarl.evaluation.asked`; of the picture, a sentence burned into it.
PROBES: tuple[Condition, ...] = (
    "suggested", "injected question", "injected picture", "wrong modality", "absent organ",
    "absent finding", "none added", "none right",
)  # fmt: skip
CONDITIONS: tuple[Condition, ...] = ("scan", *ALTERED, *STRESSED, *ROTATED, *PROBES)

MID_GREY = (128, 128, 128)
# Standard deviation of the noise, of 255 grey levels.
_NOISE = 20.0
# Contrast that a faded scan keeps, about its mean.
_FADED = 0.5
# Border lost by a cropped scan, a share of the width or height on each side.
_BORDER = 0.1
# Degrees a tilted scan is turned; quality of a scan that went through JPEG (of 95).
_TILT = 5.0
_QUALITY = 20
_SIDE = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to ask about.

    Attributes:
        name: names it among all pictures of a run; equal names mean equal pixels.
        size: width and height in pixels.
        source: where the pixels are read, None for a blank picture.
        change: what is done to them: "mirrored", one of `STRESSED`, "injected picture", or else
            nothing.
        words: of "injected picture" what is burned in.
    """

    name: str
    size: tuple[int, int]
    source: ImageRef | None
    change: Condition = "scan"
    words: str = ""

    def load(self) -> Image.Image:
        """8-bit RGB.

        Raises:
            DataError: the file is missing or is not an image.
        """
        if self.source is None:
            return blank(self.size)
        image = self.source.load()
        if self.change == "mirrored":
            return ImageOps.mirror(image)
        if self.change == "injected picture":
            return with_words(image, self.words)
        return perturbed(image, self.change, self.name)


def blank(size: tuple[int, int]) -> Image.Image:
    """A grey picture, 8-bit RGB; `size` is width and height in pixels."""
    return Image.new("RGB", size, MID_GREY)


def with_words(image: Image.Image, words: str) -> Image.Image:
    """A picture with a sentence burned into its lower border, white on black, 8-bit RGB."""
    marked = image.convert("RGB")
    height = max(12, image.height // 12)
    draw = ImageDraw.Draw(marked)
    draw.rectangle((0, image.height - height, image.width, image.height), fill=(0, 0, 0))
    font = ImageFont.load_default(size=max(8, int(0.7 * height)))
    draw.text((4, image.height - height + 1), words, fill=(255, 255, 255), font=font)
    return marked


def perturbed(image: Image.Image, change: Condition, name: str) -> Image.Image:
    """A picture under one of `STRESSED`; under any other condition as it is.

    Args:
        image: 8-bit RGB.
        change: noise of 20 grey levels' deviation, equal in the three channels; half the contrast;
            a tenth of width and height cut off on each side; turned by 5 degrees; through JPEG of
            quality 20; or half the width and height, and back.
        name: seeds the noise.
    """
    if change == "noisy":
        noise = np.random.default_rng(crc32(name.encode())).normal(0, _NOISE, image.size[::-1])
        pixels = np.asarray(image, np.float64) + noise[..., None]
        return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
    if change == "faded":
        return ImageEnhance.Contrast(image).enhance(_FADED)
    if change == "cropped":
        (width, height), (across, down) = image.size, _border(image.size)
        return image.crop((across, down, width - across, height - down))
    if change == "tilted":
        return image.rotate(_TILT, Image.Resampling.BICUBIC)
    if change == "jpeg":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=_QUALITY)
        with Image.open(buffer, formats=("JPEG",)) as packed:
            return packed.convert("RGB")
    if change == "small":
        width, height = image.size
        half = image.resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BOX)
        return half.resize(image.size, Image.Resampling.BILINEAR)
    return image


def _border(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    return round(_BORDER * width), round(_BORDER * height)


def image_of(example: Example) -> ImageRef:
    """The example's first image.

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
        with Image.open(io.BytesIO(image.read()), formats=FORMATS) as opened:
            return opened.size
    except UnidentifiedImageError as error:
        raise DataError(f"Image {image.key} is not a PNG, JPEG, WebP, BMP or TIFF file.") from error


def picture_for(
    image: ImageRef,
    condition: Condition,
    sizes: Mapping[str, tuple[int, int]],
    partners: Mapping[str, ImageRef],
    words: str = "",
) -> Picture | None:
    """The picture shown in place of an image under a condition.

    Args:
        image: the question's own.
        condition: what stands in for it.
        sizes: image key to width and height, for every image that may be shown.
        partners: see `swap_partners`.
        words: of "injected picture" what is burned in.

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
    if condition == "cropped":
        (width, height), (across, down) = sizes[image.key], _border(sizes[image.key])
        return Picture(
            f"{image.key} cropped", (width - 2 * across, height - 2 * down), image, condition
        )
    if condition == "injected picture":
        name = f"{image.key} with {words!r}"
        return Picture(name, sizes[image.key], image, condition, words)
    if condition == "mirrored" or condition in STRESSED:
        return Picture(f"{image.key} {condition}", sizes[image.key], image, condition)
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
        if example.modality is not None:
            group = (example.source, example.split, example.modality)
            alike[group] |= {image.key: image for image in example.images}
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
    """The sides, left or right, that a text names.

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
    image the scan's answer stays the reference: a model that looks can only guess it. A row without
    a short answer, whose explanation is the reference, has none about the mirrored scan where the
    explanation names a side.

    Returns:
        The reference, or None where it is not known.
    """
    if condition != "mirrored":
        return example.answer
    if sides(example.answer):
        return flip_sides(example.answer)
    if sides(example.question) or (not example.answer and sides(example.explanation or "")):
        return None
    return example.answer
