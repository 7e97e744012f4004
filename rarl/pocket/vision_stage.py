"""Stage 1: the vision tower learns to see, with a label head on its pooled features.

Trained through the language loss alone a small tower hardly looks at the image: text is easier to
memorise. So it first learns, directly, what every labelled image shows.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm
from transformers import Qwen2VLForConditionalGeneration

from rarl.data import Example, ImageRef
from rarl.models.vision import encode, patchify
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

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * width)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(2 * width, classes)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, tokens, width) -> (batch, classes)."""
        pooled = torch.cat([features.mean(1), features.amax(1)], dim=-1)
        scores: Tensor = self.out(self.drop(self.norm(pooled)))
        return scores


class Average:
    """Exponential moving average of weights: what is evaluated and kept."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {name: value.clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take one step towards the module's weights."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


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

    Returns:
        Validation accuracy by source, of the averaged weights.
    """
    visual = model.model.visual
    patch = visual.config.patch_size
    classes = sorted({row.label for row in train})
    head = LabelHead(visual.config.hidden_size, len(classes))
    both = nn.ModuleDict({"visual": visual, "head": head})
    decayed = [p for p in both.parameters() if p.ndim > 1]
    plain = [p for p in both.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
        lr=1.0,
        betas=(0.9, 0.98),
    )
    average = Average(both, 0.998)
    total = sum(phase.steps for phase in phases)
    done = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        both.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        average.state, average.updates, done = state["average"], state["step"], state["step"]
        logger.info("resuming the vision stage at step %d of %d", done, total)

    settings = Augmentation()
    bar = tqdm(total=total, initial=done, desc="vision", unit="step", smoothing=0.05)
    step = 0
    for phase in phases:
        if step + phase.steps <= done:
            step += phase.steps
            continue
        store = ImageStore(
            (row.image for row in train), phase.pixels, phase.pixels, 2 * patch, square=True
        )
        sampler = _Sampler(train, store, phase.batch)
        while step < total and phase.steps > 0:
            phase_end = sum(p.steps for p in phases[: phases.index(phase) + 1])
            if step >= phase_end:
                break
            if step < done:
                step = done
            # One generator a step: a resumed run draws what an uninterrupted one would have.
            rng = random.Random(seed * 1_000_003 + step)
            generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
            rate = phase.rate * min(1.0, (step + 1) / 200)
            rate *= 0.5 * (1 + math.cos(math.pi * step / total)) + 0.01
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss_sum = 0.0
            for rows in sampler.draw(rng):
                images = store.batch([row.image.key for row in rows])
                flip = torch.tensor([row.source in MIRRORED_SOURCES for row in rows])
                images = augment(images, flip, settings, generator)
                target = nn.functional.one_hot(
                    torch.tensor([classes.index(row.label) for row in rows]), len(classes)
                ).float()
                images, target = _mix(images, target, generator)
                target = target * 0.92 + 0.08 / len(classes)
                grid = images.shape[2] // patch, images.shape[3] // patch
                # On a CPU the fused kernel's bf16 backward is slower than plain products.
                with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):
                    features = encode(visual, patchify(normalise(images), patch), grid)[1]
                    scores = head(features)
                loss = nn.functional.cross_entropy(scores.float(), target, reduction="sum")
                loss = loss / phase.batch
                loss.backward()
                loss_sum += float(loss.detach())
            nn.utils.clip_grad_norm_(both.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            average.update(both)
            step += 1
            bar.update()
            bar.set_postfix(loss=f"{loss_sum:.3f}", refresh=False)
            if step % evaluate_every == 0 or step == total:
                figures = _accuracy(both, average, validation, classes, phase.pixels, patch)
                tqdm.write(f"step {step}: loss {loss_sum:.3f} {figures}")
                saved = {
                    "weights": both.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "average": average.state,
                    "step": step,
                }
                partial = checkpoint.with_suffix(".part")
                torch.save(saved, partial)
                partial.replace(checkpoint)
    bar.close()
    both.load_state_dict(average.state)
    return _accuracy(both, average, validation, classes, phases[-1].pixels, patch)


class _Sampler:
    """Draws batches by source shares, and by class within a source, grouped by image size."""

    def __init__(self, rows: list[Labelled], store: ImageStore, batch: int) -> None:
        self._store = store
        self._batch = batch
        self._pools: dict[str, dict[str, list[Labelled]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            self._pools[row.source][row.label].append(row)

    def draw(self, rng: random.Random) -> list[list[Labelled]]:
        sources = list(self._pools)
        shares = [SOURCE_SHARES[source] for source in sources]
        by_size: dict[tuple[int, int], list[Labelled]] = defaultdict(list)
        for source in rng.choices(sources, shares, k=self._batch):
            pools = self._pools[source]
            # The square root of a class's size: rare classes more often, but not equally.
            weights = [math.sqrt(len(pool)) for pool in pools.values()]
            row = rng.choice(rng.choices(list(pools.values()), weights)[0])
            by_size[self._store.size(row.image.key)].append(row)
        return list(by_size.values())


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
    both: nn.ModuleDict,
    average: Average,
    rows: list[Labelled],
    classes: list[str],
    pixels: int,
    patch: int,
) -> dict[str, float]:
    """Accuracy by source of the averaged weights; the training weights are put back."""
    current = {name: value.clone() for name, value in both.state_dict().items()}
    both.load_state_dict(average.state)
    both.eval()
    store = ImageStore((row.image for row in rows), pixels, pixels, 2 * patch, square=True)
    by_size: dict[tuple[int, int], list[Labelled]] = defaultdict(list)
    for row in rows:
        by_size[store.size(row.image.key)].append(row)
    right: dict[str, list[bool]] = defaultdict(list)
    for (height, width), group in by_size.items():
        images = normalise(store.batch([row.image.key for row in group]))
        features = encode(
            both["visual"], patchify(images, patch), (height // patch, width // patch)
        )[1]
        chosen = both["head"](features).argmax(-1).tolist()
        for row, index in zip(group, chosen, strict=True):
            right[row.source].append(classes[index] == row.label)
    both.load_state_dict(current)
    both.train()
    return {source: round(sum(marks) / len(marks), 3) for source, marks in sorted(right.items())}
