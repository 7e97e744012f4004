"""Train the vision tower on label tasks, from ImageNet weights.

One linear head for each task reads the mean and the maximum of the merged features, which are what
the language model will read. First the network's early layers stand still, which saves half of the
time; then all of it is trained at a low rate.
"""

from __future__ import annotations

import logging
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLVisionBlock

from rarl.data import ImageRef
from rarl.models.convolution import HybridTower
from rarl.models.vision import encode, patchify
from rarl.pocket.checkpoints import Average
from rarl.pocket.images import Augmentation, augment, normalise
from rarl.pocket.tasks import Labelled

logger = logging.getLogger(__name__)

SIDE = 224
# How often each set is drawn: the harder the task and the rarer the images, the more.
SHARES = {
    "brain_tumor_mri": 0.11,
    "brain_tumor_mri_more": 0.15,
    "busi_breast_us": 0.14,
    "chest_pneumonia": 0.17,
    "knee_oa": 0.19,
    "pbc_blood_cells": 0.07,
    "head_ct_hemorrhage": 0.05,
    "hc18_fetal_head": 0.04,
    "dsbowl_nuclei": 0.02,
    "bccd_blood": 0.02,
    "vqa_rad": 0.04,
}
LABEL_SMOOTHING = 0.05
# Tasks that only tell kinds of pictures apart are learnt at once and need no more weight.
TASK_WEIGHTS = {"kind": 0.3, "knee side": 0.3, "plane": 0.3, "white cells": 0.5}


@dataclass(frozen=True, slots=True)
class TowerPhase:
    """One run of steps.

    Attributes:
        steps: optimiser steps.
        frozen: leading stages of the network that stand still, the first layer with them.
        side: of the square images, in pixels; a multiple of two patches.
        rate: peak learning rate of the network; the layers above it learn three times as fast.
        batch: images a step.
    """

    steps: int
    frozen: int
    side: int = SIDE
    rate: float = 4e-4
    batch: int = 32


class TaskHeads(nn.Module):
    """Classes of every task from merged features.

    Args:
        width: of the features.
        tasks: task to its classes.
    """

    def __init__(self, width: int, tasks: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.tasks = {task: list(classes) for task, classes in tasks.items()}
        self.norm = nn.LayerNorm(2 * width)
        self.drop = nn.Dropout(0.2)
        self.out = nn.ModuleDict(
            {task: nn.Linear(2 * width, len(classes)) for task, classes in tasks.items()}
        )

    def forward(self, merged: Tensor) -> dict[str, Tensor]:
        """(batch, tokens, width) -> task to (batch, classes)."""
        pooled = self.drop(self.norm(torch.cat([merged.mean(1), merged.amax(1)], dim=-1).float()))
        return {task: head(pooled) for task, head in self.out.items()}


class TaskTower(nn.Module):
    """The tower with its heads, from images to scores.

    Args:
        visual: the tower.
        tasks: task to its classes.
    """

    def __init__(self, visual: HybridTower, tasks: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.visual = visual
        self.heads = TaskHeads(visual.config.hidden_size, tasks)

    def forward(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Normalised images -> scores by task, patch features and merged features."""
        patch = self.visual.stem.patch
        grid = images.shape[2] // patch, images.shape[3] // patch
        hidden, merged = encode(self.visual, patchify(images, patch), grid)
        return self.heads(merged), hidden, merged


def start_blocks_as_identity(visual: HybridTower) -> None:
    """Let every block add nothing at first, so that what ImageNet taught arrives whole."""
    for block in cast("list[Qwen2VLVisionBlock]", visual.blocks):
        for layer in (block.attn.proj, block.mlp.fc2):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)


class Pixels:
    """Images squashed to 224 x 224 as uint8, kept decoded in a folder from one run to the next.

    Args:
        images: the images, repeats allowed.
        folder: where the decoded images are kept; made where it is missing.
    """

    def __init__(self, images: Sequence[ImageRef], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        by_source: dict[str, dict[str, ImageRef]] = defaultdict(dict)
        for image in images:
            by_source[image.key.split("/", 1)[0]][image.key] = image
        self._pixels: dict[str, Tensor] = {}
        for source, refs in by_source.items():
            kept, names = folder / f"{source}.npy", folder / f"{source}.txt"
            if not kept.is_file() or set(names.read_text("utf-8").split("\n")) < set(refs):
                array = np.stack([_decoded(image) for image in refs.values()])
                np.save(kept, array)
                names.write_text("\n".join(refs), "utf-8")
            stored = torch.from_numpy(np.load(kept))
            for key, pixels in zip(names.read_text("utf-8").split("\n"), stored, strict=True):
                self._pixels[key] = pixels

    def batch(self, keys: Sequence[str]) -> Tensor:
        """(batch, 3, 224, 224) in 0..1."""
        return torch.stack([self._pixels[key] for key in keys]).permute(0, 3, 1, 2).float() / 255


def _decoded(image: ImageRef) -> np.ndarray:
    return np.asarray(image.load().resize((SIDE, SIDE), Image.Resampling.BICUBIC))


class ImageSampler:
    """Draws images by the shares of the sets, and by the square root of classes within a set."""

    def __init__(self, rows: Sequence[Labelled]) -> None:
        pools: dict[str, dict[str, list[Labelled]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            finest = next(
                (row.classes[task] for task in row.classes if task not in TASK_WEIGHTS), ""
            )
            pools[row.source][finest].append(row)
        self._pools = {source: list(classes.values()) for source, classes in pools.items()}
        self._sources = [source for source in SHARES if source in self._pools]

    def draw(self, rng: random.Random, count: int) -> list[Labelled]:
        """Some images, repeats possible."""
        shares = [SHARES[source] for source in self._sources]
        rows = []
        for source in rng.choices(self._sources, shares, k=count):
            pools = self._pools[source]
            weights = [math.sqrt(len(pool)) for pool in pools]
            rows.append(rng.choice(rng.choices(pools, weights)[0]))
        return rows


def train_tower(
    tower: TaskTower,
    train: Sequence[Labelled],
    validation: Sequence[Labelled],
    phases: Sequence[TowerPhase],
    work: Path,
    seed: int,
    device: torch.device,
    save_every: int = 100,
) -> dict[str, float]:
    """Train tower and heads in place; resumes from `work/tower.checkpoint` where one lies.

    Args:
        tower: the tower with its heads.
        train: labelled images.
        validation: labelled images of the same tasks, for the log.
        phases: in order; the learning rate falls over all of them together.
        work: folder for the checkpoint and the decoded images.
        seed: of sampling and augmentation.
        device: where to compute.
        save_every: steps between checkpoints.

    Returns:
        Validation accuracy by task, of the averaged weights.
    """
    checkpoint = work / "tower.checkpoint"
    pixels = Pixels([row.image for row in train], work / "pixels-train")
    seen = Pixels([row.image for row in validation], work / "pixels-validation")
    tower.to(device)
    network = list(tower.visual.stem.network.parameters())
    own = {id(parameter) for parameter in network}
    others = [parameter for parameter in tower.parameters() if id(parameter) not in own]
    optimizer = torch.optim.AdamW([{"params": network}, {"params": others}], weight_decay=0.03)
    average = Average(tower, 0.997)
    total = sum(phase.steps for phase in phases)
    done = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        tower.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        average.state, average.updates = state["average"], state["step"]
        done = state["step"]
        logger.info("resuming the tower at step %d of %d", done, total)

    sampler = ImageSampler(train)
    settings = Augmentation()
    figures: dict[str, float] = {}
    bar = tqdm(total=total, initial=done, desc="tower", unit="step", smoothing=0.05)
    running: float | None = None
    end = 0
    for phase in phases:
        begin, end = end, end + phase.steps
        if end <= done:
            continue
        _freeze(tower, phase.frozen)
        for step in range(max(begin, done), end):
            # One generator a step: a resumed run draws what an uninterrupted one would have.
            rng = random.Random(seed * 1_000_003 + step)
            generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
            torch.manual_seed(seed * 1_000_003 + step)  # dropout draws from the global state
            rate = phase.rate * min(1.0, (step + 1) / 60)
            rate *= 0.5 * (1 + math.cos(math.pi * step / total)) + 0.01
            for group, factor in zip(optimizer.param_groups, (1.0, 3.0), strict=True):
                group["lr"] = rate * factor
            rows = sampler.draw(rng, phase.batch)
            flip = torch.tensor([not row.sided for row in rows])
            images = pixels.batch([row.image.key for row in rows])
            images = normalise(augment(images, flip, settings, generator))
            if phase.side != SIDE:
                images = nn.functional.interpolate(
                    images, size=(phase.side, phase.side), mode="bilinear", align_corners=False
                )
            images = images.to(device)
            with torch.autocast(device.type, torch.bfloat16):
                scores, _, _ = tower(images)
            loss = _loss(scores, rows, tower.heads.tasks)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(tower.parameters(), 2.0)
            optimizer.step()
            average.update(tower)
            running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
            bar.update()
            bar.set_postfix(loss=f"{running:.3f}", refresh=False)
            last = step + 1 == total
            if (step + 1) % (4 * save_every) == 0 or last:
                with average.applied_to(tower):
                    figures = accuracy(tower, validation, seen, device)
                tqdm.write(f"step {step + 1}: loss {running:.3f}, validation {figures}")
                _freeze(tower, phase.frozen)
            if (step + 1) % save_every == 0 or last:
                partial = checkpoint.with_suffix(".part")
                torch.save(
                    {
                        "weights": tower.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "average": average.state,
                        "step": step + 1,
                    },
                    partial,
                )
                partial.replace(checkpoint)
    bar.close()
    tower.load_state_dict(average.state)
    tower.eval()
    return figures or accuracy(tower, validation, seen, device)


def _freeze(tower: TaskTower, stages: int) -> None:
    """Let the leading stages stand still, their normalisation with them; all else learns."""
    tower.train().requires_grad_(True)
    network = tower.visual.stem.network
    if stages:
        for part in (network.stem, *network.stages[:stages]):
            part.eval().requires_grad_(False)


def _loss(
    scores: Mapping[str, Tensor], rows: Sequence[Labelled], tasks: Mapping[str, list[str]]
) -> Tensor:
    """Cross-entropy summed over tasks, each over the images that it concerns."""
    losses = []
    for task, classes in tasks.items():
        place = [n for n, row in enumerate(rows) if row.classes.get(task) in classes]
        if not place:
            continue
        own = scores[task][place].float()
        target = torch.tensor(
            [classes.index(rows[n].classes[task]) for n in place], device=own.device
        )
        summed = nn.functional.cross_entropy(
            own, target, label_smoothing=LABEL_SMOOTHING, reduction="sum"
        )
        losses.append(TASK_WEIGHTS.get(task, 1.0) * summed)
    return torch.stack(losses).sum() / len(rows)


@torch.no_grad()
def accuracy(
    tower: TaskTower, rows: Sequence[Labelled], pixels: Pixels, device: torch.device
) -> dict[str, float]:
    """Accuracy by task of a tower that is set to evaluation; with the knee's quadratic kappa."""
    right: dict[str, list[bool]] = defaultdict(list)
    grades: list[tuple[int, int]] = []
    for start in range(0, len(rows), 64):
        some = rows[start : start + 64]
        images = normalise(pixels.batch([row.image.key for row in some])).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            scores, _, _ = tower(images)
        for task, classes in tower.heads.tasks.items():
            for row, chosen in zip(some, scores[task].argmax(-1).tolist(), strict=True):
                if task in row.classes:
                    right[task].append(classes[chosen] == row.classes[task])
                    if task == "knee grade":
                        grades.append((int(classes[chosen]), int(row.classes[task])))
    figures = {task: round(sum(marks) / len(marks), 3) for task, marks in sorted(right.items())}
    if grades:
        figures["knee kappa"] = round(quadratic_kappa(grades), 3)
    return figures


def quadratic_kappa(pairs: Sequence[tuple[int, int]]) -> float:
    """Cohen's kappa with quadratic weights over pairs of whole numbers.

    >>> quadratic_kappa([(0, 0), (1, 1), (2, 2)])
    1.0
    """
    first, second = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    observed = ((first - second) ** 2).mean()
    expected = ((first[:, None] - second[None]) ** 2).mean()
    return float(1 - observed / expected) if expected else 1.0
