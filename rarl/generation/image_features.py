"""A cache of image features.

Questions about one scan, the rollout, reference and update of a training step, and later steps all
see the same images. No adapter sits on the vision tower and nothing in it is trained, so its
features stay valid.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Qwen2VLForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from rarl.models.vision import encode

# Images of one size that go through the tower together; more gain nothing and take memory.
_TOWER_BATCH = 16


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image as the language model sees it.

    Attributes:
        features: (image tokens, width of the language model).
        grid: patches in time, height and width (three numbers).
        summary: mean and deviation of the patch features before the merger, (2 * tower width,),
            where the familiarity of a picture is measured.
    """

    features: Tensor
    grid: Tensor
    summary: Tensor | None = None


# Images that are missing, by their index among those asked for, to the encoded images in order.
Encode = Callable[[Sequence[int]], Sequence[Encoded]]


class ImageFeatures:
    """A cache of encoded images, the most recently used kept.

    Args:
        capacity: images kept.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[Hashable, Encoded] = OrderedDict()

    def get(self, keys: Sequence[Hashable], encode_missing: Encode) -> list[Encoded]:
        """The image of each key; each distinct missing one is encoded once.

        Args:
            keys: equal for equal images.
            encode_missing: encodes the images at these indices of `keys`.
        """
        features = {key: self._kept[key] for key in keys if key in self._kept}
        first: dict[Hashable, int] = {}
        for index, key in enumerate(keys):
            if key not in features:
                first.setdefault(key, index)
        if first:
            features |= zip(first, encode_missing(list(first.values())), strict=True)
        for key in keys:
            self._kept[key] = features[key]
            self._kept.move_to_end(key)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return [features[key] for key in keys]

    def clear(self) -> None:
        """Forget all images."""
        self._kept.clear()


class PatchFeatures:
    """Features of images that come as patches, for training; equal sizes go through as one batch.

    Args:
        base: the model; its vision tower must be frozen.
        capacity: images kept.
    """

    def __init__(self, base: Qwen2VLForConditionalGeneration, capacity: int = 64) -> None:
        self._base = base
        self._cache = ImageFeatures(capacity)

    @torch.no_grad()
    def __call__(self, patches: Sequence[Tensor], grids: Tensor) -> list[Tensor]:
        """Features for the language model.

        Args:
            patches: one (patches, patch values) per image, as the processor lays them out.
            grids: (images, 3), patches in time (always 1), down and across.

        Returns:
            One (patches / 4, width) per image.
        """
        shapes = [(int(rows), int(columns)) for _, rows, columns in grids.tolist()]
        keys = [_digest(pixels, shape) for pixels, shape in zip(patches, shapes, strict=True)]

        def encode_missing(indices: Sequence[int]) -> list[Encoded]:
            made: dict[int, Tensor] = {}
            by_shape: dict[tuple[int, int], list[int]] = {}
            for index in indices:
                by_shape.setdefault(shapes[index], []).append(index)
            visual = self._base.model.visual
            for shape, members in by_shape.items():
                for start in range(0, len(members), _TOWER_BATCH):
                    part = members[start : start + _TOWER_BATCH]
                    pixels = torch.stack([patches[index] for index in part])
                    pixels = pixels.to(self._base.device, visual.dtype)
                    _, features = encode(visual, pixels, shape)
                    made |= zip(part, features.unbind(), strict=True)
            return [Encoded(made[index], grids[index]) for index in indices]

        return [image.features for image in self._cache.get(keys, encode_missing)]


def as_encoder_outputs(features: list[Tensor]) -> dict[str, BaseModelOutputWithPooling]:
    """Features as `mm_encoder_outputs`, which the model takes in place of pixels."""
    # Its declared type knows no list, though the library's own tower returns one.
    return {"image": BaseModelOutputWithPooling(pooler_output=features)}  # type: ignore[arg-type]


def _digest(pixels: Tensor, shape: tuple[int, int]) -> bytes:
    plain = pixels.detach().float().cpu().contiguous().numpy()
    return hashlib.blake2b(plain.data, digest_size=16, salt=f"{shape}".encode()[:16]).digest()
