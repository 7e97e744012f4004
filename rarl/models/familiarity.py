"""Distance of a picture's features to the kinds of pictures in the training data.

Features are the mean and the deviation of the tower's merged tokens. They are projected onto the
main directions of the training pictures; a kind is a mean in that space, and all kinds share one
covariance (Lee et al., "A simple unified framework for detecting out-of-distribution samples",
2018). What the projection leaves out counts too (Wang et al., "ViM", 2022): a picture unlike
anything known moves in directions in which training pictures never vary. Each kind's distance is
divided by its usual one, since some kinds are more varied than others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rarl.errors import ModelError
from rarl.models.processor import ImageProcessor

FILE = "familiarity.safetensors"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one picture.

    Attributes:
        familiar: whether it is like the pictures that the model was trained on.
        distance: to the nearest kind, as a multiple of that kind's usual distance.
        limit: beyond it a picture counts as unfamiliar.
        nearest: the nearest kind ("x-ray of the chest").
    """

    familiar: bool
    distance: float
    limit: float
    nearest: str

    @property
    def sentence(self) -> str:
        """A warning for the user; empty where the picture is familiar."""
        if self.familiar:
            return ""
        return (
            "This picture is unlike anything the model was trained on; its answer is a guess."
            f" The nearest kind it knows is {self.nearest}."
        )


@dataclass(frozen=True, slots=True)
class Familiarity:
    """The fitted measure of one base.

    Attributes:
        revision: of the base whose tower made the features.
        kinds: names of the kinds.
        centre: mean of all features, (width,).
        basis: main directions, (width, directions).
        whitening: takes differences in these directions to equal spread, (directions, directions).
        means: of the kinds in these directions, (kinds, directions).
        usual: median distance of each kind's own pictures, (kinds,).
        rest: usual energy outside the main directions.
        limit: distance beyond which a picture is unfamiliar.
    """

    revision: str
    kinds: tuple[str, ...]
    centre: Tensor
    basis: Tensor
    whitening: Tensor
    means: Tensor
    usual: Tensor
    rest: float
    limit: float

    def distances(self, features: Tensor) -> Tensor:
        """(pictures, width) to (pictures, kinds), as multiples of each kind's usual distance."""
        return self.raw_distances(features) / self.usual

    def raw_distances(self, features: Tensor) -> Tensor:
        """Distances before they are divided by what is usual for a kind."""
        shifted = features.float() - self.centre
        places = shifted @ self.basis
        outside = (shifted.square().sum(1) - places.square().sum(1)).clamp(min=0) / self.rest
        gaps = (places[:, None] - self.means) @ self.whitening
        return (gaps.square().mean(-1) + outside[:, None]).sqrt()

    def verdicts(self, features: Tensor) -> list[Verdict]:
        """One verdict for each row of features."""
        nearest = self.distances(features).min(1)
        return [
            Verdict(distance <= self.limit, distance, self.limit, self.kinds[kind])
            for distance, kind in zip(
                nearest.values.tolist(), nearest.indices.tolist(), strict=True
            )
        ]

    def save(self, path: Path) -> None:
        """Write the measure as one small safetensors file."""
        tensors = {
            name: getattr(self, name).contiguous()
            for name in ("centre", "basis", "whitening", "means", "usual")
        }
        note = {
            "revision": self.revision,
            "kinds": list(self.kinds),
            "rest": self.rest,
            "limit": self.limit,
        }
        save_file(tensors, path, metadata={"familiarity": json.dumps(note)})


def load_familiarity(directory: Path, revision: str) -> Familiarity | None:
    """The measure that lies beside a model, or None where there is none.

    Args:
        directory: the model's folder.
        revision: of the base; a measure of another base is of no use.

    Raises:
        ModelError: the file is damaged or belongs to another base.
    """
    path = directory / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as tensors:
            note = json.loads(tensors.metadata()["familiarity"])
            values = {name: tensors.get_tensor(name).float() for name in tensors.keys()}  # noqa: SIM118
        measure = Familiarity(
            revision=note["revision"],
            kinds=tuple(note["kinds"]),
            rest=float(note["rest"]),
            limit=float(note["limit"]),
            **values,
        )
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is damaged; remove it or run rarl fit-familiarity again."
        ) from error
    if measure.revision != revision.removesuffix("-8bit"):
        raise ModelError(
            f"{path} was fitted to revision {measure.revision} of the base, but this is"
            f" {revision}; remove it or run rarl fit-familiarity again."
        )
    return measure


def pooled(merged: Tensor) -> Tensor:
    """(tokens, width) of one picture to its features, (2 * width,)."""
    tokens = merged.float()
    return torch.cat([tokens.mean(0), tokens.std(0, correction=0)])


@torch.no_grad()
def pooled_features(
    visual: nn.Module, processor: ImageProcessor, pictures: list[Image.Image]
) -> Tensor:
    """Features of some pictures, through the model's own processor and tower.

    Args:
        visual: the tower of any Qwen2-VL model.
        processor: the model's.
        pictures: 8-bit RGB.

    Returns:
        (pictures, 2 * width), fp32 on the CPU.
    """
    inputs = processor.image_processor(images=pictures, return_tensors="pt")
    grids = inputs["image_grid_thw"]
    parameter = next(visual.parameters())
    out = visual(
        inputs["pixel_values"].to(parameter.device, parameter.dtype),
        grid_thw=grids.to(parameter.device),
    )
    merge = int(processor.image_processor.merge_size) ** 2
    counts = [int(grid.prod()) // merge for grid in grids]
    merged = cast(Tensor, out.pooler_output).split(counts)
    return torch.stack([pooled(own) for own in merged]).cpu()
