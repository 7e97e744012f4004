"""Stage 1: the vision tower learns to see, with a label head on its pooled features.

Trained through the language loss alone a small tower hardly looks at the image: text is easier to
memorise. So it first learns, directly, what every labelled image shows.
"""

from __future__ import annotations

import logging
import math
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm
from transformers import Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from rarl.data import Example, ImageRef
from rarl.models.vision import encode, patchify
from rarl.pocket.checkpoints import Average, load_checkpoint, save_checkpoint
from rarl.pocket.images import Augmentation, ImageStore, augment, normalise

logger = logging.getLogger(__name__)

# How often each source is drawn: the harder the task and the rarer the images, the more.
SOURCE_SHARES = {
    "brain_tumor_mri": 0.45,
    "busi_breast_us": 0.35,
    "bccd_blood": 0.05,
    "vqa_rad_basics": 0.15,
}
# Left and right carry meaning in VQA-RAD's answers, not in these labels.
MIRRORED_SOURCES = frozenset({"brain_tumor_mri", "busi_breast_us", "bccd_blood"})
LABEL_SMOOTHING = 0.08


@dataclass(frozen=True, slots=True)
class VisionPhase:
    """One run of steps at one resolution.

    Attributes:
        steps: optimiser steps.
        pixels: area of an image, in pixels.
        batch: images a step.
        rate: peak learning rate.
    """

    steps: int
    pixels: int
    batch: int = 64
    rate: float = 1e-3


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image with the class its source gives it."""

    image: ImageRef
    source: str
    label: str


def labelled_images(examples: list[Example]) -> list[Labelled]:
    """One row per image: its label where the source has one, else its modality and organ."""
    rows: dict[str, Labelled] = {}
    for example in examples:
        if example.image is None or example.source not in SOURCE_SHARES:
            continue
        key = example.image.key
        if example.category == "label":
            rows[key] = Labelled(example.image, example.source, example.answer)
        elif key not in rows and example.source in {"bccd_blood", "vqa_rad_basics"}:
            label = f"{example.modality or 'ct or mri'} of the {example.organ}"
            rows[key] = Labelled(example.image, example.source, label)
    return list(rows.values())


class LabelHead(nn.Module):
    """Classes from the mean and the maximum of the merged features."""

    def __init__(self, width: int, classes: list[str]) -> None:
        super().__init__()
        self.classes = classes
        self.norm = nn.LayerNorm(2 * width)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(2 * width, len(classes))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, tokens, width) -> (batch, classes)."""
        pooled = torch.cat([features.mean(1), features.amax(1)], dim=-1)
        scores: Tensor = self.out(self.drop(self.norm(pooled)))
        return scores


def train_vision(
    model: Qwen2VLForConditionalGeneration,
    train: list[Labelled],
    validation: list[Labelled],
    phases: list[VisionPhase],
    checkpoint: Path,
    seed: int,
    evaluate_every: int = 250,
) -> dict[str, float]:
    """Train the tower in place; resumes from `checkpoint` where one lies.

    Args:
        model: the pocket model; only `model.model.visual` is trained.
        train: labelled images.
        validation: labelled images of the same classes, for the log.
        phases: resolutions in order; the learning rate falls over all of them together.
        checkpoint: file written every `evaluate_every` steps.
        seed: of sampling and augmentation.
        evaluate_every: steps between looks at the validation rows, and between checkpoints.

    Returns:
        Validation accuracy by source, of the averaged weights.
    """
    visual = model.model.visual
    patch = visual.config.patch_size
    classes = sorted({row.label for row in train})
    head = LabelHead(visual.config.hidden_size, classes)
    both = nn.ModuleDict({"visual": visual, "head": head})
    decayed = [p for p in both.parameters() if p.ndim > 1]
    plain = [p for p in both.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
        lr=1.0,
        betas=(0.9, 0.98),
        fused=True,
    )
    average = Average(both, 0.998)
    total = sum(phase.steps for phase in phases)
    done = 0
    if checkpoint.is_file():
        done = load_checkpoint(checkpoint, both, optimizer, average)
        logger.info("resuming the vision stage at step %d of %d", done, total)

    settings = Augmentation()
    sampler = _Sampler(train)
    bar = tqdm(total=total, initial=done, desc="vision", unit="step", smoothing=0.05)
    figures: dict[str, float] = {}
    end = 0
    for phase in phases:
        begin, end = end, end + phase.steps
        if end <= done:
            continue
        store = ImageStore(
            (row.image for row in train), phase.pixels, phase.pixels, 2 * patch, square=True
        )
        for step in range(max(begin, done), end):
            # One generator a step: a resumed run draws what an uninterrupted one would have.
            rng = random.Random(seed * 1_000_003 + step)
            generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
            torch.manual_seed(seed * 1_000_003 + step)  # dropout draws from the global state
            rate = phase.rate * min(1.0, (step + 1) / 200)
            rate *= 0.5 * (1 + math.cos(math.pi * step / total)) + 0.01
            for group in optimizer.param_groups:
                group["lr"] = rate
            rows = sampler.draw(rng, phase.batch)
            flip = torch.tensor([row.source in MIRRORED_SOURCES for row in rows])
            images = store.batch([row.image.key for row in rows])
            images = augment(images, flip, settings, generator)
            target = nn.functional.one_hot(
                torch.tensor([classes.index(row.label) for row in rows]), len(classes)
            ).float()
            images, target = _mix(images, target, generator)
            target = target * (1 - LABEL_SMOOTHING) + LABEL_SMOOTHING / len(classes)
            patches = patchify(normalise(images), patch)
            # On a CPU the fused kernel's bf16 backward is slower than plain products.
            with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):
                scores = head(encode(visual, patches, _grid(images, patch))[1])
            loss = nn.functional.cross_entropy(scores.float(), target)
            loss.backward()
            nn.utils.clip_grad_norm_(both.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            average.update(both)
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            if (step + 1) % evaluate_every == 0 or step + 1 == total:
                with average.applied_to(both):
                    figures = _accuracy(visual, head, validation, phase.pixels)
                tqdm.write(f"step {step + 1}: loss {loss.item():.3f}, validation {figures}")
                save_checkpoint(checkpoint, both, optimizer, average, step + 1)
    bar.close()
    both.load_state_dict(average.state)
    return figures


class _Sampler:
    """Draws images by source shares, and by class within a source."""

    def __init__(self, rows: list[Labelled]) -> None:
        self._pools: dict[str, dict[str, list[Labelled]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            self._pools[row.source][row.label].append(row)

    def draw(self, rng: random.Random, count: int) -> list[Labelled]:
        sources = list(self._pools)
        shares = [SOURCE_SHARES[source] for source in sources]
        rows = []
        for source in rng.choices(sources, shares, k=count):
            pools = self._pools[source]
            # The square root of a class's size: rare classes more often, but not equally.
            weights = [math.sqrt(len(pool)) for pool in pools.values()]
            rows.append(rng.choice(rng.choices(list(pools.values()), weights)[0]))
        return rows


def _mix(images: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al., 2018) on half of the calls."""
    if len(images) < 2 or torch.rand(1, generator=generator) < 0.5:
        return images, target
    order = torch.randperm(len(images), generator=generator)
    share = 1 - 0.5 * torch.rand(len(images), 1, 1, 1, generator=generator) ** 2
    return (
        share * images + (1 - share) * images[order],
        share[:, :, 0, 0] * target + (1 - share[:, :, 0, 0]) * target[order],
    )


@torch.no_grad()
def _accuracy(
    visual: Qwen2VisionTransformerPretrainedModel,
    head: LabelHead,
    rows: list[Labelled],
    pixels: int,
) -> dict[str, float]:
    """Accuracy by source of a tower and its head, both set to evaluation."""
    patch = cast(int, visual.config.patch_size)
    store = ImageStore((row.image for row in rows), pixels, pixels, 2 * patch, square=True)
    right: dict[str, list[bool]] = defaultdict(list)
    for start in range(0, len(rows), 64):
        some = rows[start : start + 64]
        images = normalise(store.batch([row.image.key for row in some]))
        features = encode(visual, patchify(images, patch), _grid(images, patch))[1]
        for row, chosen in zip(some, head(features).argmax(-1).tolist(), strict=True):
            right[row.source].append(head.classes[chosen] == row.label)
    return {source: round(sum(marks) / len(marks), 3) for source, marks in sorted(right.items())}


def _grid(images: Tensor, patch: int) -> tuple[int, int]:
    return images.shape[2] // patch, images.shape[3] // patch
