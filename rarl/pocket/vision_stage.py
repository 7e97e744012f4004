"""Stage 1: train the vision tower with a label head on its pooled features.

Trained through the language loss alone a small tower hardly looks at the image: text is easier to
memorise. So it first learns, directly, what every labelled image shows, with the help of a teacher.
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
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from rarl.data import Example, ImageRef
from rarl.models.vision import encode, patchify
from rarl.pocket.checkpoints import Average, load_checkpoint, save_checkpoint
from rarl.pocket.images import Augmentation, ImageStore, augment, normalise
from rarl.pocket.optimizers import BlockOptimizer, Group
from rarl.pocket.teacher import Pupil, Teacher

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
# Weight of the teacher's map beside the labels and the teacher's scores.
PLACES_WEIGHT = 2.0


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
    batch: int = 48
    rate: float = 2e-3


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


class Tower(nn.Module):
    """The vision tower with a label head, as one network from images to scores.

    Args:
        visual: the tower of a Qwen2-VL model.
        classes: names of the classes, in the order of the scores.
    """

    def __init__(self, visual: Qwen2VisionTransformerPretrainedModel, classes: list[str]) -> None:
        super().__init__()
        self.visual = visual
        self.head = LabelHead(visual.config.hidden_size, classes)
        self.pupil = Pupil(visual.config.hidden_size)
        self.classes = classes

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (batch, 3, height, width) -> scores and merged features."""
        patch = cast(int, self.visual.config.patch_size)
        merged = encode(self.visual, patchify(images, patch), _grid(images, patch))[1]
        return self.head(merged), merged


def train_teacher(
    train: list[Labelled],
    validation: list[Labelled],
    phases: list[VisionPhase],
    factor: int,
    checkpoint: Path,
    seed: int,
) -> tuple[Teacher, dict[str, float]]:
    """Train the CNN on the labels alone; resumes from `checkpoint` where one lies.

    Args:
        train: labelled images.
        validation: labelled images of the same classes, for the log.
        phases: resolutions in order; the learning rate falls over all of them together.
        factor: sides of an image are multiples of this, in pixels, as the tower will see it.
        checkpoint: file written at every look at the validation rows.
        seed: of sampling and augmentation.

    Returns:
        The teacher, its weights averaged, and its validation accuracy by source.
    """
    torch.manual_seed(seed)
    teacher = Teacher(sorted({row.label for row in train}))
    return teacher, _train(teacher, None, train, validation, phases, factor, checkpoint, seed)


def train_vision(
    visual: Qwen2VisionTransformerPretrainedModel,
    teacher: Teacher,
    train: list[Labelled],
    validation: list[Labelled],
    phases: list[VisionPhase],
    checkpoint: Path,
    seed: int,
    evaluate_every: int = 250,
) -> dict[str, float]:
    """Train the tower in place on labels and teacher; resumes from `checkpoint` where one lies.

    Args:
        visual: the tower.
        teacher: trained on the same classes.
        train: labelled images.
        validation: labelled images of the same classes, for the log.
        phases: resolutions in order; the learning rate falls over all of them together.
        checkpoint: file written at every look at the validation rows.
        seed: of sampling and augmentation.
        evaluate_every: steps between looks at the validation rows.

    Returns:
        Validation accuracy by source, of the averaged weights.
    """
    torch.manual_seed(seed)
    tower = Tower(visual, teacher.classes)
    factor = 2 * cast(int, visual.config.patch_size)
    teacher.eval().requires_grad_(False)
    return _train(
        tower, teacher, train, validation, phases, factor, checkpoint, seed, evaluate_every
    )


def fit_head(
    visual: Qwen2VisionTransformerPretrainedModel,
    train: list[Labelled],
    validation: list[Labelled],
    phase: VisionPhase,
    checkpoint: Path,
    seed: int,
) -> tuple[Tower, dict[str, float]]:
    """Fit a label head on a finished tower, which stands still.

    Args:
        visual: the tower.
        train: labelled images.
        validation: labelled images of the same classes, for the log.
        phase: steps and resolution.
        checkpoint: file written at every look at the validation rows.
        seed: of sampling and augmentation.

    Returns:
        The tower with its head, and the head's validation accuracy by source.
    """
    torch.manual_seed(seed)
    visual.requires_grad_(False)
    tower = Tower(visual, sorted({row.label for row in train}))
    factor = 2 * cast(int, visual.config.patch_size)
    return tower, _train(tower, None, train, validation, [phase], factor, checkpoint, seed)


def _train(
    network: Tower | Teacher,
    teacher: Teacher | None,
    train: list[Labelled],
    validation: list[Labelled],
    phases: list[VisionPhase],
    factor: int,
    checkpoint: Path,
    seed: int,
    evaluate_every: int = 250,
) -> dict[str, float]:
    classes = network.classes
    optimizer = BlockOptimizer(
        [Group(list(network.named_parameters()), rate=1.0, weight_decay=0.05)]
    )
    average = Average(network, 0.998)
    total = sum(phase.steps for phase in phases)
    done = 0
    if checkpoint.is_file():
        done = load_checkpoint(checkpoint, network, optimizer, average)
        logger.info("resuming at step %d of %d", done, total)

    network.train()
    settings = Augmentation()
    sampler = _Sampler(train)
    name = checkpoint.stem
    bar = tqdm(total=total, initial=done, desc=name, unit="step", smoothing=0.05)
    figures: dict[str, float] = {}
    end = 0
    for phase in phases:
        begin, end = end, end + phase.steps
        if end <= done:
            continue
        store = ImageStore(
            (row.image for row in train), phase.pixels, phase.pixels, factor, square=True
        )
        for step in range(max(begin, done), end):
            # One generator a step: a resumed run draws what an uninterrupted one would have.
            rng = random.Random(seed * 1_000_003 + step)
            generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
            torch.manual_seed(seed * 1_000_003 + step)  # dropout draws from the global state
            warmup = min(1.0, (step + 1) / 100)
            rate = phase.rate * warmup * (0.5 * (1 + math.cos(math.pi * step / total)) + 0.01)
            rows = sampler.draw(rng, phase.batch)
            flip = torch.tensor([row.source in MIRRORED_SOURCES for row in rows])
            images = store.batch([row.image.key for row in rows])
            images = augment(images, flip, settings, generator)
            target = nn.functional.one_hot(
                torch.tensor([classes.index(row.label) for row in rows]), len(classes)
            ).float()
            images, target = _mix(images, target, generator)
            target = target * (1 - LABEL_SMOOTHING) + LABEL_SMOOTHING / len(classes)
            images = normalise(images)
            # On a CPU the fused kernel's bf16 backward is slower than plain products.
            with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):
                scores, features = network(images)
                loss = nn.functional.cross_entropy(scores.float(), target)
                if teacher is not None and isinstance(network, Tower):
                    with torch.no_grad():
                        taught, places = teacher(images)
                    grid = (images.shape[2] // factor, images.shape[3] // factor)
                    loss = loss + nn.functional.cross_entropy(
                        scores.float(), taught.float().softmax(-1)
                    )
                    loss = loss + PLACES_WEIGHT * network.pupil.loss(features, places, grid)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step(rate)
            average.update(network)
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            if (step + 1) % evaluate_every == 0 or step + 1 == total:
                with average.applied_to(network):
                    figures = _accuracy(network, validation, phase.pixels, factor)
                tqdm.write(f"step {step + 1}: loss {loss.item():.3f}, validation {figures}")
                save_checkpoint(checkpoint, network, optimizer, average, step + 1)
    bar.close()
    network.load_state_dict(average.state)
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
    network: Tower | Teacher, rows: list[Labelled], pixels: int, factor: int
) -> dict[str, float]:
    """Accuracy by source of a network that is set to evaluation."""
    store = ImageStore((row.image for row in rows), pixels, pixels, factor, square=True)
    right: dict[str, list[bool]] = defaultdict(list)
    for start in range(0, len(rows), 64):
        some = rows[start : start + 64]
        scores, _ = network(normalise(store.batch([row.image.key for row in some])))
        for row, chosen in zip(some, scores.argmax(-1).tolist(), strict=True):
            right[row.source].append(network.classes[chosen] == row.label)
    return {source: round(sum(marks) / len(marks), 3) for source, marks in sorted(right.items())}


def _grid(images: Tensor, patch: int) -> tuple[int, int]:
    return images.shape[2] // patch, images.shape[3] // patch
