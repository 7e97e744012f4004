"""Stage 2: tower and language model together, on every training row in every mode.

The result is the `base` arm. It already knows the three output forms, so that reinforcement
learning has completions worth comparing from its first step.

What the labels taught the tower would be lost here: it knows the labelled training images by heart,
so nothing keeps its features in place, and a language model that reads only such features learns
no boundary between the classes. So on labelled images the tower is held to what it saw before, no
gradient of the language loss reaches it, and the language model learns to say what a label head
sees in mixed and changed images, not what the file's label says (distillation by function matching:
Beyer et al., arXiv 2106.05237).
"""

from __future__ import annotations

import logging
import math
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm
from transformers import Qwen2VLForConditionalGeneration

from rarl.data import Example
from rarl.models.processor import ImageProcessor
from rarl.models.vision import encode, patchify
from rarl.pocket.checkpoints import Average, load_checkpoint, save_checkpoint
from rarl.pocket.images import Augmentation, ImageStore, augment, normalise
from rarl.pocket.optimizers import BlockOptimizer, Group
from rarl.pocket.vision_stage import MIRRORED_SOURCES, Tower
from rarl.prompts import FORMS, Form, messages, target_text, user_text
from rarl.response import Mode

logger = logging.getLogger(__name__)

ROW_SHARES = {
    "vqa_rad": 0.40,
    "vqa_rad_basics": 0.07,
    "brain_tumor_mri": 0.25,
    "busi_breast_us": 0.23,
    "bccd_blood": 0.05,
}
# Within a labelled set, the label question carries the diagnosis; modality is quickly learnt.
CATEGORY_SHARES = {"label": 4.0, "presence": 2.0, "count": 2.0, "modality": 1.0, "organ": 1.0}
# Every question that these sets ask about an image is answered by its label.
GUIDED_SOURCES = frozenset({"brain_tumor_mri", "busi_breast_us"})
MODE_SHARES: dict[Mode, float] = {"reason": 0.6, "answer": 0.25, "answer-then-reason": 0.15}
IGNORED = -100


@dataclass(frozen=True, slots=True)
class JointPhase:
    """Settings of the joint stage.

    Attributes:
        steps: optimiser steps.
        pixels_min, pixels_max: area of an image as the processor would resize it.
        images: images a step.
        questions: questions asked about each VQA-RAD image.
        labelled_questions: questions asked about each image of the labelled sets.
        rate: peak learning rate of the language model.
        vision_rate: peak learning rate of the tower.
        frozen_steps: first steps in which the tower stands still, since the gradients of a
            language model that knows nothing would undo what it has learnt.
        answer_weight: weight of an answer token in the loss; a reasoning token weighs 1.
        anchor_weight: weight of the distance between the tower's features of guided images and
            those that it gave before.
        swap: chance, at the last step, that a VQA-RAD question is asked about another image of the
            same modality and organ in the batch; it grows from nothing. Without it the model
            remembers each image's answers and hardly reads the question.
    """

    steps: int
    pixels_min: int
    pixels_max: int
    images: int = 24
    questions: int = 2
    labelled_questions: int = 1
    rate: float = 1.5e-3
    vision_rate: float = 2e-4
    frozen_steps: int = 200
    answer_weight: float = 2.0
    anchor_weight: float = 10.0
    swap: float = 0.6


class Renderer:
    """Rows to token ids, with as many image tokens as the image will have features."""

    def __init__(self, processor: ImageProcessor) -> None:
        self._processor = processor
        tokenizer = processor.tokenizer
        self.pad = int(tokenizer.pad_token_id)
        self.image = int(processor.image_token_id)
        self._answer_open = int(tokenizer.convert_tokens_to_ids("<answer>"))
        self._answer_close = int(tokenizer.convert_tokens_to_ids("</answer>"))
        self._cache: dict[tuple[str, str], tuple[list[int], list[int]]] = {}

    def ids(self, user: str, target: str, image_tokens: int) -> tuple[list[int], int]:
        """Token ids of prompt and completion, and the prompt's length."""
        if (user, target) not in self._cache:
            tokenizer = self._processor.tokenizer
            prompt = tokenizer.apply_chat_template(
                messages(user),
                chat_template=self._processor.chat_template,
                tokenize=False,
                add_generation_prompt=True,
            )
            encode_text = tokenizer.encode
            self._cache[user, target] = (
                encode_text(prompt, add_special_tokens=False),
                encode_text(f"{target}<|im_end|>", add_special_tokens=False),
            )
        prompt_ids, target_ids = self._cache[user, target]
        at = prompt_ids.index(self.image)
        expanded = [*prompt_ids[:at], *[self.image] * image_tokens, *prompt_ids[at + 1 :]]
        return expanded + target_ids, len(expanded)

    def weights(self, ids: list[int], start: int, answer_weight: float) -> list[float]:
        """Loss weight of each token: 0 in the prompt, more inside the answer block."""
        weights = [0.0] * start
        inside = False
        for token in ids[start:]:
            if token == self._answer_close:
                inside = False
            weights.append(answer_weight if inside else 1.0)
            if token == self._answer_open:
                inside = True
        return weights


def train_joint(
    model: Qwen2VLForConditionalGeneration,
    guide: Tower,
    processor: ImageProcessor,
    train: list[Example],
    phase: JointPhase,
    checkpoint: Path,
    seed: int,
    save_every: int = 100,
) -> None:
    """Train the whole model in place; resumes from `checkpoint` where one lies.

    Args:
        model: the pocket model, its tower from stage 1.
        guide: the same tower with its label head; it stands still.
        processor: its processor.
        train: training rows with explanations.
        phase: see `JointPhase`.
        checkpoint: file written every `save_every` steps.
        seed: of sampling and augmentation.
        save_every: steps between checkpoints.

    Raises:
        ValueError: a row is held out.
    """
    if any(row.split != "train" for row in train):
        raise ValueError("the joint stage takes training rows alone")
    visual = model.model.visual
    renderer = Renderer(processor)
    sampler = _RowSampler(train)
    store = ImageStore(
        (row.image for row in train if row.image),
        phase.pixels_min,
        phase.pixels_max,
        2 * visual.config.patch_size,
    )
    guide.eval().requires_grad_(False)
    named = list(model.named_parameters())
    optimizer = BlockOptimizer(
        [
            Group([x for x in named if ".visual." not in x[0]], phase.rate, weight_decay=0.1),
            Group([x for x in named if ".visual." in x[0]], phase.vision_rate, weight_decay=0.05),
        ]
    )
    average = Average(model, 0.997)
    done = 0
    if checkpoint.is_file():
        done = load_checkpoint(checkpoint, model, optimizer, average)
        logger.info("resuming the joint stage at step %d of %d", done, phase.steps)

    model.train()
    bar = tqdm(total=phase.steps, initial=done, desc="joint", unit="step", smoothing=0.05)
    running = 0.0
    for step in range(done, phase.steps):
        # One generator a step: a resumed run draws what an uninterrupted one would have.
        rng = random.Random(seed * 7_000_003 + step)
        generator = torch.Generator().manual_seed(seed * 7_000_003 + step)
        factor = min(1.0, (step + 1) / 100)
        factor *= 0.5 * (1 + math.cos(math.pi * step / phase.steps)) + 0.01
        visual.requires_grad_(step >= phase.frozen_steps)
        batch = sampler.draw(rng, phase)
        seen, drift = _see(model, guide, store, sampler, batch, phase, rng, generator)
        swap = phase.swap * step / phase.steps
        loss = _text_loss(model, renderer, seen, phase.answer_weight, swap, rng)
        loss = loss + phase.anchor_weight * drift
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(factor)
        average.update(model)
        running = loss.item() if step == done else 0.95 * running + 0.05 * loss.item()
        bar.update()
        bar.set_postfix(loss=f"{running:.3f}", refresh=False)
        if (step + 1) % save_every == 0 or step + 1 == phase.steps:
            tqdm.write(f"step {step + 1}: loss {running:.3f}")
            save_checkpoint(checkpoint, model, optimizer, average, step + 1)
    bar.close()
    model.load_state_dict(average.state)
    model.eval()


class _RowSampler:
    """Draws images by source and label, then questions about each image."""

    def __init__(self, rows: list[Example]) -> None:
        self._by_image: dict[str, dict[str, list[Example]]] = defaultdict(lambda: defaultdict(list))
        self._pools: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            if row.image is not None:
                self._by_image[row.source][row.image.key].append(row)
        self._of_class: dict[str, list[list[Example]]] = defaultdict(list)
        for source, images in self._by_image.items():
            for key, asked in images.items():
                label = next((row.answer for row in asked if row.category == "label"), "")
                self._pools[source][label].append(key)
                if source in GUIDED_SOURCES:
                    self._of_class[label].append(asked)
        self._sources = [source for source in ROW_SHARES if source in self._by_image]

    @property
    def classes(self) -> list[str]:
        """The labels of the guided sets."""
        return sorted(self._of_class)

    def draw(self, rng: random.Random, phase: JointPhase) -> list[list[Example]]:
        """One list of rows for each image of a step, all about that image."""
        batch = []
        shares = [ROW_SHARES[source] for source in self._sources]
        for source in rng.choices(self._sources, shares, k=phase.images):
            pools = self._pools[source]
            weights = [math.sqrt(len(pool)) for pool in pools.values()]
            if source == "vqa_rad":
                # Images with many questions are drawn more often, so that each row counts alike.
                keys = list(self._by_image[source])
                key = rng.choices(keys, [len(self._by_image[source][k]) for k in keys])[0]
            else:
                key = rng.choice(rng.choices(list(pools.values()), weights)[0])
            count = phase.questions if source == "vqa_rad" else phase.labelled_questions
            batch.append(_some(self._by_image[source][key], count, rng))
        return batch

    def about(self, label: str, count: int, rng: random.Random) -> list[Example]:
        """Rows of some image with this label."""
        return _some(rng.choice(self._of_class[label]), count, rng)


def _some(rows: list[Example], count: int, rng: random.Random) -> list[Example]:
    chances = [CATEGORY_SHARES.get(row.category or "", 1.0) for row in rows]
    return rng.choices(rows, chances, k=count)


def _asked(row: Example, rng: random.Random) -> tuple[str, str]:
    """The user's words and the reference completion, in a mode and form drawn at random."""
    mode = rng.choices(list(MODE_SHARES), list(MODE_SHARES.values()))[0]
    form: Form | None = None
    if rng.random() < 0.3:
        form = rng.choice([form for form in FORMS if form not in {"short", "answer-then-reason"}])
        mode = "reason"
    elif mode == "answer" and rng.random() < 0.3:
        form = "short"
    user = user_text(row.question, mode, form)
    return user, target_text(row.answer, row.explanation, mode)


def _see(
    model: Qwen2VLForConditionalGeneration,
    guide: Tower,
    store: ImageStore,
    sampler: _RowSampler,
    batch: list[list[Example]],
    phase: JointPhase,
    rng: random.Random,
    generator: torch.Generator,
) -> tuple[list[_Seen], Tensor]:
    """Features of each image of a batch with the rows to ask, and how far guided ones drifted."""
    patch = model.model.visual.config.patch_size
    wanted = torch.tensor([guide.classes.index(label) for label in sampler.classes])
    by_size: dict[tuple[int, int], list[list[Example]]] = defaultdict(list)
    for rows in batch:
        assert rows[0].image is not None
        by_size[store.size(rows[0].image.key)].append(rows)

    seen: list[_Seen] = []
    drift = torch.zeros(())
    for (height, width), group in by_size.items():
        grid = height // patch, width // patch
        images = store.batch([rows[0].image.key for rows in group if rows[0].image])
        flip = torch.tensor([rows[0].source in MIRRORED_SOURCES for rows in group])
        images = augment(images, flip, Augmentation(), generator)
        guided = [n for n, rows in enumerate(group) if rows[0].source in GUIDED_SOURCES]
        images[guided] = _mixed(images, guided, group, rng)
        images = normalise(images)
        # On a CPU the fused kernel's bf16 backward is slower than plain products.
        with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):
            merged = encode(model.model.visual, patchify(images, patch), grid)[1]
            if guided:
                with torch.no_grad():
                    scores, before = guide(images[guided])
                drift = drift + nn.functional.smooth_l1_loss(
                    merged[guided].float(), before.float(), reduction="sum"
                ) / (phase.images * before[0].numel())
                for n, label in zip(guided, scores[:, wanted].argmax(-1).tolist(), strict=True):
                    group[n] = sampler.about(sampler.classes[label], len(group[n]), rng)
        for n, (rows, features) in enumerate(zip(group, merged, strict=True)):
            shown = features.detach() if n in guided else features
            seen.append(_Seen(rows, shown, (1, *grid)))
    return seen, drift


def _mixed(
    images: Tensor, guided: list[int], group: list[list[Example]], rng: random.Random
) -> Tensor:
    """The guided images, half of them mixed with another of their source (mixup)."""
    mixed = images[guided]
    for place, n in enumerate(guided):
        partner = rng.choice([m for m in guided if group[m][0].source == group[n][0].source])
        if rng.random() < 0.5:
            share = rng.uniform(0.5, 1.0)
            mixed[place] = share * images[n] + (1 - share) * images[partner]
    return mixed


def _text_loss(
    model: Qwen2VLForConditionalGeneration,
    renderer: Renderer,
    seen: list[_Seen],
    answer_weight: float,
    swap: float,
    rng: random.Random,
) -> Tensor:
    """Weighted cross-entropy of the completions of one batch."""
    sequences: list[_Sequence] = []
    for own in seen:
        alike = [other for other in seen if other.looks_like(own)]
        for row in own.rows:
            shown = rng.choice(alike) if alike and rng.random() < swap else own
            user, target = _asked(row, rng)
            ids, start = renderer.ids(user, target, len(shown.features))
            weights = renderer.weights(ids, start, answer_weight)
            sequences.append(_Sequence(ids, weights, shown.grid, shown.features))

    # Halves of like length: about a third of the tokens would otherwise be padding.
    sequences.sort(key=lambda sequence: len(sequence.ids))
    middle = len(sequences) // 2
    halves = [half for half in (sequences[:middle], sequences[middle:]) if half]
    summed = [_weighted_losses(model, renderer, half) for half in halves]
    share = sum(sum(sequence.weights) for sequence in sequences)
    return torch.stack(summed).sum() / share


@dataclass(frozen=True, slots=True)
class _Seen:
    """One image of a batch: the rows that ask about it, its features and grid (t, h, w)."""

    rows: list[Example]
    features: Tensor
    grid: tuple[int, int, int]

    def looks_like(self, other: _Seen) -> bool:
        """Whether both are VQA-RAD images of one kind, and not the same image."""
        first, second = self.rows[0], other.rows[0]
        return (
            first.source == second.source == "vqa_rad"
            and first.image != second.image
            and (first.modality, first.organ) == (second.modality, second.organ)
        )


@dataclass(frozen=True, slots=True)
class _Sequence:
    """One rendered row: token ids, loss weight of each, image grid (t, h, w) and features."""

    ids: list[int]
    weights: list[float]
    grid: tuple[int, int, int]
    features: Tensor


def _weighted_losses(
    model: Qwen2VLForConditionalGeneration, renderer: Renderer, sequences: list[_Sequence]
) -> Tensor:
    """Weighted sum of the completion tokens' losses."""
    longest = max(len(sequence.ids) for sequence in sequences)
    gaps = [longest - len(sequence.ids) for sequence in sequences]
    padded = list(zip(sequences, gaps, strict=True))
    input_ids = torch.tensor([row.ids + [renderer.pad] * gap for row, gap in padded])
    weight = torch.tensor([row.weights + [0.0] * gap for row, gap in padded])
    attention = torch.tensor([[1] * len(row.ids) + [0] * gap for row, gap in padded])
    is_image = input_ids == renderer.image
    positions, _ = model.model.get_rope_index(
        input_ids,
        mm_token_type_ids=is_image.int(),
        image_grid_thw=torch.tensor([row.grid for row in sequences]),
        attention_mask=attention,
    )
    with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):
        embedded = model.get_input_embeddings()(input_ids)
        features = torch.cat([row.features for row in sequences])
        embedded = embedded.masked_scatter(is_image.unsqueeze(-1), features.to(embedded.dtype))
        hidden = model.model.language_model(
            inputs_embeds=embedded,
            attention_mask=attention,
            position_ids=positions,
            use_cache=False,
        ).last_hidden_state
        # Only where a completion token is predicted is the vocabulary projection worth its cost.
        predicts = weight[:, 1:] > 0
        scores = model.lm_head(hidden[:, :-1][predicts])
    targets, shares = input_ids[:, 1:][predicts], weight[:, 1:][predicts]
    losses = nn.functional.cross_entropy(scores.float(), targets, reduction="none")
    return (losses * shares).sum()
