"""Train a LoRA of the language model, and the merger, to answer questions about pictures.

The tower's network and blocks stand still; its merger, the embeddings of the added tokens and a
LoRA on the language half learn. Several questions about a picture stand in one sequence behind the
picture, and a mask keeps each from seeing the others, so the picture is read once. Only where a
token of an answer is predicted is the product with the vocabulary computed.

So that the model goes on speaking as before, some steps train on replies that the language half
itself wrote before it was changed (see `speech`).
"""

from __future__ import annotations

import logging
import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, inject_adapter_in_model
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from rarl.data import Example, ImageRef
from rarl.models.convolution import HybridQwen2VL
from rarl.models.processor import ImageProcessor
from rarl.models.small import FORM_TOKENS
from rarl.models.smollm2 import SIDE, VISION_TOKENS
from rarl.models.vision import encode, patchify
from rarl.pocket.images import Augmentation, augment, normalise
from rarl.prompts import FORMS, Form, messages, target_text, user_text
from rarl.response import Mode

logger = logging.getLogger(__name__)

SHARES = {
    "vqa_rad": 0.36,
    "vqa_rad_basics": 0.02,
    "brain_tumor_mri": 0.05,
    "brain_tumor_mri_more": 0.06,
    "busi_breast_us": 0.09,
    "chest_pneumonia": 0.11,
    "knee_oa": 0.12,
    "pbc_blood_cells": 0.06,
    "head_ct_hemorrhage": 0.04,
    "hc18_fetal_head": 0.04,
    "dsbowl_nuclei": 0.03,
    "bccd_blood": 0.02,
}
# Within a set the label carries the diagnosis; modality and organ are learnt at once.
CATEGORY_SHARES = {
    "label": 4.0,
    "check": 1.5,
    "presence": 1.5,
    "measure": 2.0,
    "count": 2.0,
    "modality": 0.5,
    "organ": 0.5,
}
MODE_SHARES: dict[Mode, float] = {"reason": 0.55, "answer": 0.3, "answer-then-reason": 0.15}
# The tokens that SmolLM2 lacks, in the order of their ids.
VISION_AND_FORM = (*VISION_TOKENS, *FORM_TOKENS)
SIDED = frozenset({"vqa_rad", "vqa_rad_basics", "knee_oa"})
ADAPTER = "base"


@dataclass(frozen=True, slots=True)
class ReadingPhase:
    """Settings of the stage.

    Attributes:
        steps: optimiser steps.
        images: pictures a step.
        questions: questions about each picture, all in one sequence.
        follow_ups: share of questions that are followed by another about the same picture.
        rate: peak learning rate of the LoRA and of the added tokens; the merger learns at half.
        rank: of the LoRA.
        answer_weight: weight of an answer token in the loss; a reasoning token weighs 1.
        speech_every: after so many steps comes one on text alone.
        save_every: steps between checkpoints.
        look_every: steps between looks at validation rows.
        shares: set to its share of the pictures.
    """

    steps: int
    images: int = 4
    questions: int = 4
    follow_ups: float = 0.2
    rate: float = 8e-4
    rank: int = 32
    answer_weight: float = 3.0
    speech_every: int = 10
    save_every: int = 20
    look_every: int = 200
    shares: Mapping[str, float] = field(default_factory=lambda: SHARES)


class Reader(nn.Module):
    """A model in training: frozen halves, and the parts that learn.

    Args:
        model: the whole model; its language half holds SmolLM2's weights.
        processor: its processor.
        rank: of the LoRA.
        device: where to compute.
    """

    def __init__(
        self, model: HybridQwen2VL, processor: ImageProcessor, rank: int, device: torch.device
    ) -> None:
        super().__init__()
        self.visual = model.model.visual
        self.language = model.model.language_model
        self._rope = model.model.get_rope_index
        tokenizer = processor.tokenizer
        self.pad = int(tokenizer.pad_token_id)
        self.image = int(processor.image_token_id)
        added = len(VISION_AND_FORM)
        table = self.language.embed_tokens.weight.data
        self.known = len(table) - added
        self.table = table[: self.known].to(device, torch.bfloat16)
        self.language.embed_tokens = nn.Identity()  # its rows are here
        self.visual.requires_grad_(False).float().to(device).eval()
        self.language.requires_grad_(False).bfloat16().to(device)
        config = LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            target_modules=r".*\.(q|k|v|o|gate|up|down)_proj",
        )
        inject_adapter_in_model(config, self.language, ADAPTER)
        self.lora = {
            name: parameter
            for name, parameter in self.language.named_parameters()
            if "lora_" in name
        }
        for parameter in self.lora.values():
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        # New tokens start near the mean of all, where none is likelier than another.
        start = self.table.float().mean(0) + 0.02 * torch.randn(added, self.table.shape[1]).to(
            device
        )
        self.tokens = nn.Parameter(start)
        self.visual.merger.requires_grad_(True)

    def groups(self) -> list[dict[str, Any]]:
        """Parameters for the optimiser, with a factor of the learning rate each."""
        return [
            {"params": [*self.lora.values(), self.tokens], "factor": 1.0},
            {"params": list(self.visual.merger.parameters()), "factor": 0.5},
        ]

    def learnt(self) -> dict[str, Tensor]:
        """Everything that this stage changes, by name."""
        merger = {f"merger.{k}": v for k, v in self.visual.merger.state_dict().items()}
        return {**self.lora, "tokens": self.tokens, **merger}

    @torch.no_grad()
    def put_back(self, state: dict[str, Tensor]) -> None:
        """Take over what `learnt` gave."""
        for name, value in self.learnt().items():
            value.copy_(state[name])

    @torch.no_grad()
    def match_scale(self, merged: Tensor) -> None:
        """Let merged features be of the size of a word's embedding, before any training.

        Args:
            merged: features of some pictures, (..., width).
        """
        factor = self.table.float().square().mean().sqrt() / merged.float().square().mean().sqrt()
        last = self.visual.merger.mlp[2]
        last.weight.mul_(factor)
        last.bias.mul_(factor)

    def see(self, images: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        """One normalised picture (3, height, width) -> merged features and its grid."""
        patch = self.visual.stem.patch
        grid = images.shape[1] // patch, images.shape[2] // patch
        with torch.no_grad():
            hidden, _ = encode(self.visual, patchify(images[None], patch), grid)
        return self.visual.merger(hidden)[: grid[0] * grid[1] // 4], (1, *grid)

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids to embeddings, those of added tokens with a gradient."""
        known = nn.functional.embedding(ids.clamp(max=self.known - 1), self.table)
        own = self.tokens[(ids - self.known).clamp(min=0)].to(known.dtype)
        return torch.where((ids >= self.known).unsqueeze(-1), own, known)

    def scores(self, hidden: Tensor) -> Tensor:
        """(places, width) to scores over the vocabulary."""
        known = nn.functional.linear(hidden.to(self.table.dtype), self.table)
        own = nn.functional.linear(hidden.float(), self.tokens)
        return torch.cat([known.float(), own.float()], dim=-1)

    def forward(self, batch: Batch) -> Tensor:
        """The scores of every place of a batch whose next token counts."""
        embedded = self.embed(batch.ids)
        if batch.features is not None:
            place = (batch.ids == self.image).unsqueeze(-1)
            embedded = embedded.masked_scatter(place, batch.features.to(embedded.dtype))
        hidden = self.language(
            inputs_embeds=embedded,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            use_cache=False,
        ).last_hidden_state
        return self.scores(hidden[:, :-1][batch.weights[:, 1:] > 0])


@dataclass(frozen=True, slots=True)
class Segment:
    """One question with its answer, or two in turn, behind a picture.

    Attributes:
        ids: tokens.
        weights: of each token in the loss; 0 where it is given.
    """

    ids: list[int]
    weights: list[float]


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences ready for the language half.

    Attributes:
        ids: (batch, length).
        weights: (batch, length).
        positions: (3, batch, length).
        mask: (batch, 1, length, length), True where a token sees another.
        features: merged features of all pictures in order, (tokens, width), or None.
    """

    ids: Tensor
    weights: Tensor
    positions: Tensor
    mask: Tensor
    features: Tensor | None


class Writer:
    """Rows to segments, in random words, modes and forms."""

    def __init__(self, processor: ImageProcessor, answer_weight: float) -> None:
        self._tokenizer = processor.tokenizer
        self._template = processor.chat_template
        self._answer_weight = answer_weight
        self._cache: dict[str, list[int]] = {}
        self.image = int(processor.image_token_id)
        whole = self._render(messages("X"))
        before, self._after = whole.split("<|image_pad|>")
        self._before = self._ids(before)
        self._end = self._ids("<|vision_end|>")
        self._after = self._after.removeprefix("<|vision_end|>").split("X", 1)[1]
        self._open, self._close = self._ids("<answer>")[0], self._ids("</answer>")[0]

    def prefix(self, tokens: int) -> list[int]:
        """Everything up to the end of the picture."""
        return [*self._before, *[self.image] * tokens, *self._end]

    def segment(self, turns: Sequence[tuple[str, str]]) -> Segment:
        """User's words and reply of each turn, as they stand behind the picture."""
        ids: list[int] = []
        weights: list[float] = []
        for number, (user, reply) in enumerate(turns):
            opening = "" if number == 0 else "\n<|im_start|>user\n"
            asked = self._ids(f"{opening}{user}{self._after}")
            reply_ids = self._ids(f"{reply}<|im_end|>")
            ids += asked + reply_ids
            weights += [0.0] * len(asked) + self._weighted(reply_ids)
        return Segment(ids, weights)

    def speech(self, prompt: str, reply: str) -> Segment:
        """A turn without a picture, the whole of it."""
        asked = self._ids(self._render([{"role": "user", "content": prompt}]))
        reply_ids = self._ids(f"{reply}<|im_end|>")
        return Segment(asked + reply_ids, [0.0] * len(asked) + [1.0] * len(reply_ids))

    def _weighted(self, ids: list[int]) -> list[float]:
        weights = []
        inside = False
        for token in ids:
            inside = inside and token != self._close
            weights.append(self._answer_weight if inside else 1.0)
            inside = inside or token == self._open
        return weights

    def _render(self, turns: Sequence[dict[str, Any]]) -> str:
        text = self._tokenizer.apply_chat_template(
            list(turns), chat_template=self._template, tokenize=False, add_generation_prompt=True
        )
        return str(text)

    def _ids(self, text: str) -> list[int]:
        if text not in self._cache:
            self._cache[text] = self._tokenizer.encode(text, add_special_tokens=False)
        return self._cache[text]


def asked(row: Example, rng: random.Random) -> tuple[str, str]:
    """The user's words and the reference reply, in words, mode and form drawn at random."""
    mode = rng.choices(list(MODE_SHARES), list(MODE_SHARES.values()))[0]
    form: Form | None = None
    if rng.random() < 0.2:
        form = rng.choice([form for form in FORMS if form not in {"short", "answer-then-reason"}])
        mode = "reason"
    elif mode == "answer" and rng.random() < 0.3:
        form = "short"
    question = rng.choice(row.wordings) if row.wordings and rng.random() < 0.7 else row.question
    explanation = rng.choice(row.explanations) if row.explanations else row.explanation
    return user_text(question, mode, form), target_text(row.answer, explanation, mode)


class RowSampler:
    """Draws pictures by set and label, then questions about each.

    Args:
        rows: training rows.
        shares: set to its share of the pictures.
    """

    def __init__(self, rows: Sequence[Example], shares: Mapping[str, float] = SHARES) -> None:
        by_image: dict[str, dict[str, list[Example]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            if row.image is not None:
                by_image[row.source][row.image.key].append(row)
        # Yes and no are asked for alike: the words of a question must not give the answer away.
        answers = Counter(row.answer for row in rows if row.source == "vqa_rad")
        most = max(answers["yes"], answers["no"], 1)
        self._balance = {word: most / max(answers[word], 1) for word in ("yes", "no")}
        self._pools: dict[str, list[list[list[Example]]]] = {}
        for source, images in by_image.items():
            classes: dict[str, list[list[Example]]] = defaultdict(list)
            for own in images.values():
                label = next((row.answer for row in own if row.category == "label"), "")
                classes[label].append(own)
            self._pools[source] = list(classes.values())
        self._shares = {name: share for name, share in shares.items() if name in self._pools}

    def draw(self, rng: random.Random, images: int, questions: int) -> list[list[Example]]:
        """One list of rows for each picture."""
        batch = []
        for source in rng.choices(list(self._shares), list(self._shares.values()), k=images):
            pools = self._pools[source]
            if source == "vqa_rad":
                own = rng.choices(pools[0], [len(rows) for rows in pools[0]])[0]
            else:
                own = rng.choice(rng.choices(pools, [math.sqrt(len(p)) for p in pools])[0])
            chances = [self._chance(row) for row in own]
            batch.append(rng.choices(own, chances, k=questions))
        return batch

    def _chance(self, row: Example) -> float:
        if row.source == "vqa_rad":
            return self._balance.get(row.answer, 1.0)
        return CATEGORY_SHARES.get(row.category or "", 1.0)


def picture(image: ImageRef) -> Tensor:
    """A picture at the size that the processor gives it, (3, height, width) in 0..1."""
    opened = image.load()
    height, width = smart_resize(opened.height, opened.width, 28, SIDE * SIDE, SIDE * SIDE)
    resized = opened.resize((width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255


def make_batch(
    reader: Reader,
    writer: Writer,
    pictures: Sequence[Tensor | None],
    segments: Sequence[Sequence[Segment]],
) -> Batch:
    """Sequences of a picture (or none) and the segments behind it, which do not see each other.

    Args:
        reader: the model.
        writer: makes the prefix.
        pictures: normalised pictures, each (3, height, width), or None for text alone.
        segments: of each sequence.
    """
    device = reader.table.device
    features: list[Tensor] = []
    prefixes: list[list[int]] = []
    grids: list[tuple[int, int, int]] = []
    for image in pictures:
        if image is None:
            prefixes.append([])
            continue
        merged, grid = reader.see(image.to(device))
        features.append(merged)
        grids.append(grid)
        prefixes.append(writer.prefix(len(merged)))
    lengths = [
        len(prefix) + sum(len(segment.ids) for segment in own)
        for prefix, own in zip(prefixes, segments, strict=True)
    ]
    longest = max(lengths)
    ids = torch.full((len(prefixes), longest), reader.pad)
    weights = torch.zeros(len(prefixes), longest)
    positions = torch.zeros(3, len(prefixes), longest, dtype=torch.long)
    # Padding sees itself, or its attention would be of nothing at all.
    mask = torch.eye(longest, dtype=torch.bool).repeat(len(prefixes), 1, 1)
    grid_of = iter(grids)
    for n, (prefix, own) in enumerate(zip(prefixes, segments, strict=True)):
        start = len(prefix)
        after = 0
        if prefix:
            row = torch.tensor([prefix])
            position, _ = reader._rope(
                row,
                mm_token_type_ids=(row == reader.image).int(),
                image_grid_thw=torch.tensor([next(grid_of)]),
            )
            ids[n, :start] = row[0]
            positions[:, n, :start] = position[:, 0]
            mask[n, :start, :start] = torch.ones(start, start, dtype=torch.bool).tril()
            after = int(position.max()) + 1
        place = start
        for segment in own:
            end = place + len(segment.ids)
            ids[n, place:end] = torch.tensor(segment.ids)
            weights[n, place:end] = torch.tensor(segment.weights)
            positions[:, n, place:end] = after + torch.arange(end - place)
            mask[n, place:end, :start] = True
            mask[n, place:end, place:end] = torch.ones(end - place, end - place).tril().bool()
            place = end
    return Batch(
        ids.to(device),
        weights.to(device),
        positions.to(device),
        mask.unsqueeze(1).to(device),
        torch.cat(features) if features else None,
    )


def loss_of(reader: Reader, batch: Batch) -> Tensor:
    """Weighted cross-entropy of the tokens that count."""
    counts = batch.weights[:, 1:] > 0
    losses = nn.functional.cross_entropy(reader(batch), batch.ids[:, 1:][counts], reduction="none")
    weights = batch.weights[:, 1:][counts]
    return (losses * weights).sum() / weights.sum()


def train_reading(
    reader: Reader,
    processor: ImageProcessor,
    train: Sequence[Example],
    validation: Sequence[Example],
    speech: Sequence[tuple[str, str]],
    phase: ReadingPhase,
    checkpoint: Path,
    seed: int,
) -> dict[str, float]:
    """Train in place; resumes from `checkpoint` where one lies.

    Args:
        reader: the model, its tower trained.
        processor: its processor.
        train: training rows.
        validation: held-out rows, for the log.
        speech: prompts and replies of the unchanged language half.
        phase: see `ReadingPhase`.
        checkpoint: file written every `phase.save_every` steps.
        seed: of sampling and augmentation.

    Returns:
        Share of right answers in `answer` mode by set, on some validation rows.

    Raises:
        ValueError: a row is held out, or of the half that the base must not see.
    """
    if any(row.split != "train" or row.half == "B" for row in train):
        raise ValueError("the base takes training rows of half A alone")
    device = reader.table.device
    writer = Writer(processor, phase.answer_weight)
    sampler = RowSampler(train, phase.shares)
    groups = reader.groups()
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01)
    parameters = [parameter for group in groups for parameter in group["params"]]
    done = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        reader.put_back(state["learnt"])
        optimizer.load_state_dict(state["optimizer"])
        done = int(state["step"])
        logger.info("resuming the reading at step %d of %d", done, phase.steps)
    figures: dict[str, float] = {}
    running: float | None = None
    bar = tqdm(total=phase.steps, initial=done, desc="reading", unit="step", smoothing=0.05)
    for step in range(done, phase.steps):
        # One generator a step: a resumed run draws what an uninterrupted one would have.
        rng = random.Random(seed * 7_000_003 + step)
        generator = torch.Generator().manual_seed(seed * 7_000_003 + step)
        rate = phase.rate * min(1.0, (step + 1) / 40)
        rate *= 0.5 * (1 + math.cos(math.pi * step / phase.steps)) + 0.02
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        reader.language.train()
        spoken = speech and (step + 1) % phase.speech_every == 0
        pictures: list[Tensor | None]
        if spoken:
            chosen = rng.sample(list(speech), min(8, len(speech)))
            pictures = [None] * len(chosen)
            segments = [[writer.speech(*pair)] for pair in chosen]
        else:
            rows = sampler.draw(rng, phase.images, phase.questions)
            pictures = [_changed(own[0], generator) for own in rows]
            segments = [_segments(own, writer, phase, rng) for own in rows]
        with torch.autocast(device.type, torch.bfloat16):
            loss = loss_of(reader, make_batch(reader, writer, pictures, segments))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if not spoken:
            running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
        bar.update()
        bar.set_postfix(loss=f"{running or 0:.3f}", refresh=False)
        last = step + 1 == phase.steps
        if (step + 1) % phase.save_every == 0 or last:
            partial = checkpoint.with_suffix(".part")
            learnt = {name: value.detach().clone() for name, value in reader.learnt().items()}
            torch.save(
                {"learnt": learnt, "optimizer": optimizer.state_dict(), "step": step + 1}, partial
            )
            partial.replace(checkpoint)
        if (step + 1) % phase.look_every == 0 or last:
            figures = right_answers(reader, writer, validation, seed)
            tqdm.write(f"step {step + 1}: loss {running or 0:.3f}, right answers {figures}")
    bar.close()
    return figures


def _changed(row: Example, generator: torch.Generator) -> Tensor:
    assert row.image is not None
    image = picture(row.image)[None]
    flip = torch.tensor([row.source not in SIDED])
    return normalise(augment(image, flip, Augmentation(), generator))[0]


def _segments(
    rows: Sequence[Example], writer: Writer, phase: ReadingPhase, rng: random.Random
) -> list[Segment]:
    segments = []
    for row in rows:
        turns = [asked(row, rng)]
        if rng.random() < phase.follow_ups:
            turns.append(asked(rng.choice(rows), rng))
        segments.append(writer.segment(turns))
    return segments


@torch.no_grad()
def right_answers(
    reader: Reader, writer: Writer, rows: Sequence[Example], seed: int, images: int = 5
) -> dict[str, float]:
    """Share of rows that greedy decoding answers right in `answer` mode, by set.

    Every token of the answer must be the likeliest given those before it, which is the same as
    decoding greedily and comparing.

    Args:
        reader: the model.
        writer: of its prompts.
        rows: held-out rows.
        seed: of the choice of pictures.
        images: pictures from each set.
    """
    by_image: dict[str, dict[str, list[Example]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.image is not None and row.category not in {"modality", "organ"}:
            by_image[row.source][row.image.key].append(row)
    reader.language.eval()
    figures = {}
    for source, pool in sorted(by_image.items()):
        marks: list[bool] = []
        for key in random.Random(seed).sample(sorted(pool), min(images, len(pool))):
            own = pool[key][:6]
            image = own[0].image
            assert image is not None
            segments = [
                writer.segment(
                    [(user_text(row.question, "answer"), target_text(row.answer, None, "answer"))]
                )
                for row in own
            ]
            with torch.autocast(reader.table.device.type, torch.bfloat16):
                batch = make_batch(reader, writer, [normalise(picture(image)[None])[0]], [segments])
                chosen = reader(batch).argmax(-1)
            counts = batch.weights[0, 1:] > 0
            correct = (chosen == batch.ids[0, 1:][counts]).tolist()
            place = 0
            for segment in segments:
                length = sum(weight > 0 for weight in segment.weights)
                marks.append(all(correct[place : place + length]))
                place += length
        figures[source] = round(sum(marks) / len(marks), 3)
    return figures
