"""Training images in memory, grouped by size, and their augmentation on whole batches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)

from rarl.data import ImageRef


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges of random changes to an image.

    Attributes:
        degrees: largest rotation.
        scale: largest zoom in or out, as a factor.
        shift: largest shift, as a share of the side.
        contrast, brightness: largest change of gain and offset, images in 0..1.
        noise: largest standard deviation of added noise.
        erase: chance that a rectangle is blanked.
    """

    degrees: float = 12.0
    scale: float = 1.25
    shift: float = 0.08
    contrast: float = 0.35
    brightness: float = 0.15
    noise: float = 0.04
    erase: float = 0.4


class ImageStore:
    """Decoded images at the size the processor would give them, as uint8.

    Args:
        images: the images, repeats allowed.
        min_pixels: smallest area after resizing, in pixels.
        max_pixels: largest area after resizing, in pixels.
        factor: both sides become multiples of this (2 x patch).
        square: squash every image to one square size instead of keeping its aspect, so that a
            batch need not be split by size.
    """

    def __init__(
        self,
        images: Iterable[ImageRef],
        min_pixels: int,
        max_pixels: int,
        factor: int,
        square: bool = False,
    ) -> None:
        self._pixels: dict[str, Tensor] = {}
        for image in images:
            if image.key in self._pixels:
                continue
            picture = image.load()
            size = (max_pixels, max_pixels) if square else (picture.height, picture.width)
            height, width = smart_resize(*size, factor, min_pixels, max_pixels)
            resized = picture.resize((width, height), Image.Resampling.BICUBIC)
            self._pixels[image.key] = torch.from_numpy(np.array(resized)).permute(2, 0, 1)

    def size(self, key: str) -> tuple[int, int]:
        """Height and width of an image, in pixels."""
        return self._pixels[key].shape[1], self._pixels[key].shape[2]

    def batch(self, keys: list[str]) -> Tensor:
        """Images of one size as a float tensor (batch, 3, height, width) in 0..1."""
        return torch.stack([self._pixels[key] for key in keys]).float() / 255


def augment(
    images: Tensor, flip: Tensor, settings: Augmentation, generator: torch.Generator
) -> Tensor:
    """Change each image of a batch at random, keeping what its labels say.

    Args:
        images: (batch, 3, height, width) in 0..1.
        flip: (batch,) bool, images whose labels know no left and right: half of them are mirrored.
        settings: see `Augmentation`.
        generator: source of all randomness.

    Returns:
        The same shape, in 0..1.
    """
    batch, _, height, width = images.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    angle = uniform(-1, 1, batch) * math.radians(settings.degrees)
    spread = math.log(settings.scale)
    zoom = torch.exp(uniform(-spread, spread, batch))
    stretch = torch.exp(uniform(-0.1, 0.1, batch))
    mirrored = flip & (torch.rand(batch, generator=generator) < 0.5)
    sign = torch.where(mirrored, -1.0, 1.0)
    aspect = height / width
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    shift = uniform(-2 * settings.shift, 2 * settings.shift, batch, 2)
    affine = torch.stack(
        [
            torch.stack([sign * cosine * stretch, -sine * aspect * stretch, shift[:, 0]], dim=1),
            torch.stack([sign * sine / aspect / stretch, cosine / stretch, shift[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid = nn.functional.affine_grid(affine, list(images.shape), align_corners=False)
    images = nn.functional.grid_sample(images, grid, align_corners=False)

    gain = torch.exp(uniform(-settings.contrast, settings.contrast, batch, 1, 1, 1))
    offset = uniform(-settings.brightness, settings.brightness, batch, 1, 1, 1)
    gamma = torch.exp(uniform(-0.3, 0.3, batch, 1, 1, 1))
    images = (images.clamp(0, 1) ** gamma * gain + offset).clamp(0, 1)
    level = uniform(0, settings.noise, batch, 1, 1, 1)
    images = images + level * torch.randn(images.shape, generator=generator)

    erased = torch.rand(batch, generator=generator) < settings.erase
    for index in erased.nonzero().flatten().tolist():
        side_y, side_x = (int(uniform(0.1, 0.35, 1) * side) for side in (height, width))
        top = int(uniform(0, height - side_y, 1))
        left = int(uniform(0, width - side_x, 1))
        images[index, :, top : top + side_y, left : left + side_x] = uniform(0, 1, 1)
    return images.clamp(0, 1)


def normalise(images: Tensor) -> Tensor:
    """Scale 0..1 to the processor's mean and deviation."""
    mean = torch.tensor(Qwen2VLImageProcessorPil.image_mean).view(1, 3, 1, 1)
    deviation = torch.tensor(Qwen2VLImageProcessorPil.image_std).view(1, 3, 1, 1)
    return (images - mean) / deviation
