"""Fit the detector: training pictures define the kinds, held-out pictures the threshold."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rarl.data import Example, load_examples
from rarl.data.mixtures import FAMILIAR_SETS
from rarl.errors import DataError
from rarl.models.familiarity import Familiarity, pooled_features
from rarl.models.loader import LoadedModel

DIRECTIONS = 128
# At most so many held-out pictures of known kinds may be taken for unfamiliar ones.
FALSE_ALARMS = 0.04
PICTURES_A_KIND = 250
_BATCH = 16


def kind_of(row: Example) -> str:
    """The kind of picture that a row is about: its set, and within VQA-RAD modality and organ.

    Two sets of the same modality and organ may look quite unlike (a smear and a single cell).
    """
    if row.source == "vqa_rad":
        return f"{row.modality or 'scan'} of the {row.organ or 'body'}"
    return f"{row.modality} of the {row.organ}, as in {row.source}"


def pictures_by_kind(
    names: Sequence[str], split: str, most: int, seed: int
) -> dict[str, list[Example]]:
    """One row for each picture of a split, by kind, at most `most` a kind.

    Raises:
        DataError: a set is not at hand.
    """
    examples_by_kind: dict[str, dict[str, Example]] = defaultdict(dict)
    for row in load_examples(names, [split]):  # type: ignore[list-item]
        if row.image is not None:
            examples_by_kind[kind_of(row)].setdefault(row.image.key, row)
    rng = random.Random(seed)
    return {
        kind: rng.sample(list(rows.values()), min(most, len(rows)))
        for kind, rows in sorted(examples_by_kind.items())
    }


def features_of(model: LoadedModel, rows: Sequence[Example]) -> Tensor:
    """Features of the pictures of some rows, (rows, width)."""
    visual = model.base.model.visual
    parts = []
    for start in range(0, len(rows), _BATCH):
        pictures = [row.image.load() for row in rows[start : start + _BATCH] if row.image]
        parts.append(pooled_features(visual, model.processor, pictures))
    return torch.cat(parts)


def fit_familiarity(
    model: LoadedModel,
    names: Sequence[str] = FAMILIAR_SETS,
    pictures: int = PICTURES_A_KIND,
    seed: int = 0,
) -> Familiarity:
    """Fit the measure to a base.

    Args:
        model: the base, loaded.
        names: sets whose training pictures are familiar; validation pictures set the limit.
        pictures: most pictures of a kind.
        seed: of the choice of pictures.

    Raises:
        DataError: a set is not at hand, or there are too few pictures.
    """
    train = {
        kind: features_of(model, rows)
        for kind, rows in pictures_by_kind(names, "train", pictures, seed).items()
        if len(rows) > 2
    }
    held_out = [
        features_of(model, rows)
        for rows in pictures_by_kind(names, "validation", pictures, seed).values()
    ]
    return fit(train, torch.cat(held_out), model.revision.removesuffix("-8bit"))


def fit(features: Mapping[str, Tensor], held_out: Tensor, revision: str) -> Familiarity:
    """Fit the measure to features.

    Args:
        features: kind to the features of its training pictures, (pictures, width).
        held_out: features of other pictures of these kinds, which set the limit.
        revision: of the base.

    Raises:
        DataError: there are too few pictures to fit anything.
    """
    total = sum(map(len, features.values()))
    if len(features) < 1 or total < 8 or len(held_out) < 8:
        raise DataError("There are too few pictures to fit; name sets with at least eight each.")
    everything = torch.cat(list(features.values())).double()
    centre = everything.mean(0)
    scale = everything.std(0).clamp(min=1e-4)
    everything = (everything - centre) / scale
    # At most half of all directions: what the others hold is what tells strangers.
    directions = min(DIRECTIONS, total // 4, everything.shape[1] // 2)
    _, _, main = torch.linalg.svd(everything, full_matrices=False)
    basis = main[:directions].T
    places = {kind: (own.double() - centre) / scale @ basis for kind, own in features.items()}
    means = torch.stack([own.mean(0) for own in places.values()])
    within = torch.cat([own - mean for own, mean in zip(places.values(), means, strict=True)])
    covariance = within.T @ within / len(within)
    # Shrunk a little towards its own diagonal: rare kinds leave directions that hardly vary.
    covariance = 0.9 * covariance + 0.1 * torch.diag(covariance.diagonal())
    values, vectors = torch.linalg.eigh(covariance)
    floor = values.max() * 1e-4
    whitening = vectors * values.clamp(min=floor).rsqrt()
    outside = everything.square().sum(1) - (everything @ basis).square().sum(1)
    measure = Familiarity(
        revision=revision,
        kinds=tuple(features),
        centre=centre.float(),
        scale=scale.float(),
        basis=basis.float(),
        whitening=whitening.float(),
        means=means.float(),
        usual=torch.ones(len(features)),
        rest=float(outside.mean().clamp(min=1e-6 * everything.square().sum(1).mean())),
        limit=0.0,
    )
    usual = torch.stack(
        [
            measure.raw_distances(own)[:, number].median()
            for number, own in enumerate(features.values())
        ]
    )
    measure = replace(measure, usual=usual)
    distances = measure.distances(held_out).min(1).values
    return replace(measure, limit=float(torch.quantile(distances, 1 - FALSE_ALARMS)))
