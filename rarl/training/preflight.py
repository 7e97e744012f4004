"""Checks before a long run starts.

Image tokens that do not match image features are the top complaint of everyone who trains a
vision-language model, and M-RoPE positions go silently wrong where `mm_token_type_ids` is lost.
Each check says in one line what it compared, or stops the run with one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import log
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import Qwen2VLForConditionalGeneration
from trl.trainer.utils import pad

from rarl.compat.trl import OpenGRPOTrainer, OpenSFTTrainer, stock_scores
from rarl.errors import ModelError
from rarl.models.processor import ImageProcessor
from rarl.training.grpo import GroupedGRPOTrainer
from rarl.training.packing import Prompts, gather_prompts
from rarl.training.preference import PreferenceTrainer
from rarl.training.recipe import DpoRecipe, KtoRecipe
from rarl.training.trial import Trial

_BATCH = 32
# Log-probabilities of one token may differ by this much between two ways to compute them.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.5}
_SAMPLED = 16
# Image sizes that are sent to vLLM.
_SIZES = 8


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of checking a set of rows.

    Attributes:
        lines: what was compared, a sentence each.
        largest: index of the row with the most tokens.
        second: another row, of another length where there is one.
        sizes: rows whose images differ in size, the smallest and the largest among them.
    """

    lines: tuple[str, ...]
    largest: int
    second: int
    sizes: tuple[int, ...]


def check_rows(
    model: Qwen2VLForConditionalGeneration,
    processor: ImageProcessor,
    rows: Dataset,
    longest_completion: int,
) -> Checked:
    """Compare every row with what the model expects.

    Rows that ask the same about the same image count once. The vision tower itself runs on the
    images of the first batch; how many features it gives for the others follows from their size.

    Args:
        model: the base.
        processor: the processor that training uses.
        rows: rows with "images" and "prompt".
        longest_completion: tokens that may follow a prompt.

    Raises:
        ModelError: something does not fit; the sentence says what.
        DataError: a row cannot be read; the sentence names it.
    """
    image_token = model.config.image_token_id
    if image_token != processor.image_token_id:
        raise ModelError(
            f"The model's image token is {image_token}, the processor's {processor.image_token_id}."
        )
    plain = rows.with_format(None)
    distinct: dict[tuple[int, str], int] = {}
    for index, key in enumerate(zip(plain["image"], plain["text"], strict=True)):
        distinct.setdefault(key, index)
    order = list(distinct.values())
    merged = int(model.model.visual.spatial_merge_size) ** 2
    placed = expected = given = 0
    lengths: dict[int, int] = {}
    by_size: dict[tuple[int, ...], int] = {}
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        sample = [rows[index] for index in chosen]
        batch = _processed(processor, sample)
        if "mm_token_type_ids" not in batch:
            raise ModelError("The processor gives no mm_token_type_ids: positions would be wrong.")
        grids = batch["image_grid_thw"]
        here = int((batch["input_ids"] == image_token).sum())
        marked = int((batch["mm_token_type_ids"] == 1).sum())
        features = int(grids.prod(-1).sum()) // merged
        if not here == marked == features:
            raise ModelError(
                f"Image tokens do not match image features: {here} in the prompts, {marked} marked "
                f"as image, {features} from the vision tower: processor and model do not belong "
                "together."
            )
        if not start:
            with torch.no_grad():
                tower_features = model.get_image_features(
                    batch["pixel_values"].to(model.device, model.dtype), grids.to(model.device)
                ).pooler_output
            given = sum(len(feature) for feature in tower_features)
            if given != here:
                raise ModelError(
                    f"The prompts hold {here} image tokens, but the vision tower gives {given} "
                    "features for their images: processor and model do not belong together."
                )
            _check_template(processor, sample, batch)
        placed, expected = placed + here, expected + features
        each = iter(grids.prod(-1).tolist())
        for index, row in zip(chosen, sample, strict=True):
            by_size.setdefault(tuple(next(each) for _ in row["images"]), index)
        lengths |= zip(chosen, batch["attention_mask"].sum(1).tolist(), strict=True)
    largest = max(lengths, key=lambda index: lengths[index])
    second = next((i for i in order if lengths[i] != lengths[largest]), order[-1])
    limit = int(model.config.get_text_config().max_position_embeddings)
    needed = lengths[largest] + longest_completion
    if needed > limit:
        raise ModelError(f"A prompt with its completion takes {needed} tokens; {limit} fit.")
    return Checked(
        lines=(
            f"Pre-flight: {len(order)} distinct prompts hold {placed} image tokens for {expected} "
            f"image features, marked in mm_token_type_ids; the tower gave {given} of them as said.",
            "Pre-flight: the chat template renders one placeholder per image and the same tokens "
            "through the processor as through the tokenizer.",
            f"Pre-flight: longest prompt {lengths[largest]} tokens, with its completion at most "
            f"{needed} of {limit}.",
        ),
        largest=largest,
        second=second,
        sizes=_spread([by_size[size] for size in sorted(by_size)]),
    )


def check_grpo(
    trainer: OpenGRPOTrainer, checked: Checked, micro_batch: int, trial: Trial
) -> Iterator[str]:
    """Compare rollout, shared and stock scoring on two prompts, and try the largest batch.

    Args:
        trainer: before training; random state and gradients are left as they were.
        checked: what `check_rows` found of its rows.
        micro_batch: completions a forward pass.
        trial: gets what a step takes.

    Yields:
        What was compared, a sentence each, as it is done.

    Raises:
        ModelError: two of them differ, or the largest batch does not fit in memory.
    """
    rows: Any = trainer.train_dataset
    pair = [rows[checked.largest], rows[checked.second]]
    with _left_alone(trainer):
        if trainer.use_vllm:
            yield check_vllm_images(trainer, [rows[index] for index in checked.sizes])
        elif isinstance(trainer, GroupedGRPOTrainer) and trainer.shares:
            yield from _compare(trainer, [row for row in pair for _ in range(2)])
        tokens: Any = trainer.max_completion_length
        # Neighbouring groups differ, or they would be shared as one.
        group: Any = trainer.num_generations
        batch = _scoring(trainer, [pair[n // group % 2] for n in range(micro_batch)])
        completion = torch.full((micro_batch, tokens), int(batch["input_ids"][0, -1]))
        inputs = _with_completions(batch, completion, torch.ones_like(completion))

        def score() -> Tensor:
            scored: tuple[Tensor, ...] = trainer.score_tokens(trainer.model, **inputs)
            return scored[0]

        with _fits(micro_batch, "completions"):
            trial.update(trainer, lambda: score().sum().backward())
        if trainer.beta:
            with torch.no_grad():
                trial.reference(score)
        if isinstance(trainer, GroupedGRPOTrainer) and trainer.shares and not trainer.use_vllm:
            count = trial.passes * micro_batch
            largest = _scoring(trainer, [pair[n // group % 2] for n in range(count)])
            trial.rollout(lambda most: trainer.sample(_gathered(trainer, largest), most), tokens)
        yield (
            f"Pre-flight: the largest sample, {micro_batch} times with {tokens} tokens each, "
            "fits in memory with its gradients."
        )


def check_vllm_images(trainer: OpenGRPOTrainer, rows: list[dict[str, Any]]) -> str:
    """Compare vLLM's count of image tokens with the processor's, on images of several sizes.

    Where they differ, prompts are corrupted silently or training breaks hours later (TRL #6401).

    Raises:
        ModelError: they differ; the sentence names the size.
    """
    vllm: Any = trainer.vllm_generation
    processor: Any = trainer.processing_class
    batch = _processed(processor, rows)
    images = [row["images"] for row in rows]
    expected = (batch["input_ids"] == processor.image_token_id).sum(1).tolist()
    if vllm.mode == "server":
        placed = [
            sum(int(part["length"]) for part in features["mm_placeholders"]["image"])
            for features in vllm.vllm_client.image_features(images)
        ]
    else:
        prompts = [
            ids[mask.bool()].tolist()
            for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
        ]
        seen, _, _, _ = vllm.generate(prompts=prompts, images=images, num_generations=1)
        placed = [list(ids).count(processor.image_token_id) for ids in seen]
    for row, ours, theirs in zip(rows, expected, placed, strict=True):
        if ours != theirs:
            size = " and ".join(f"{image.width} x {image.height}" for image in row["images"])
            raise ModelError(
                f"vLLM makes {theirs} tokens of an image of {size} pixels, the processor {ours}: "
                "give vLLM the model's own preprocessor_config.json, or train without vLLM."
            )
    return (
        f"Pre-flight: vLLM and the processor agree on the image tokens of {len(rows)} image sizes "
        f"({min(expected)} to {max(expected)} tokens)."
    )


def check_sft(
    trainer: OpenSFTTrainer, checked: Checked, micro_batch: int, trial: Trial
) -> Iterator[str]:
    """Try the largest batch; see `check_grpo`."""
    # Read anew each, since the library's collation writes into what it is given.
    data: Any = trainer.train_dataset
    model: Any = trainer.model

    def run() -> None:
        rows = [data[checked.largest] for _ in range(micro_batch)]
        inputs = trainer.prepare(trainer.data_collator(rows))
        with trainer.accelerator.autocast():
            outputs = model(**inputs, use_cache=False, fused_lm_head=True)
            outputs.log_probs.sum().backward()

    with _left_alone(trainer), _fits(micro_batch, "rows"):
        trial.update(trainer, run)
    yield (
        f"Pre-flight: the largest sample, {micro_batch} times, fits in memory with its gradients."
    )


def check_preference(
    trainer: PreferenceTrainer, checked: Checked, recipe: DpoRecipe | KtoRecipe, trial: Trial
) -> Iterator[str]:
    """Compare adapter and base before training, and try the largest batch; see `check_grpo`."""
    # Read anew each, since the library's collation writes into what it is given.
    data: Any = trainer.train_dataset
    model: Any = trainer.model
    count = recipe.micro_batch
    losses: list[float] = []

    def run() -> None:
        rows = [data[(checked.largest, checked.second)[n % 2]] for n in range(count)]
        inputs = trainer.prepare(trainer.data_collator(rows))
        with trainer.accelerator.autocast():
            compute: Any = trainer.compute_loss
            loss = compute(model, inputs)
        losses.append(float(loss.detach()))
        loss.backward()

    with _left_alone(trainer), _fits(count, "rows"):
        trial.update(trainer, run)
    trainer.forget_metrics()  # what the trial has added up is no step's
    if isinstance(recipe, DpoRecipe) and recipe.loss == "sigmoid":
        # A new adapter changes nothing, so that no answer is preferred.
        apart = abs(losses[0] - log(2))
        tolerance = _TOLERANCE[torch.bfloat16 if trainer.args.bf16 else torch.float32]
        if not apart <= tolerance:
            raise ModelError(
                f"Pre-flight: the loss of an untrained adapter is {losses[0]:.4f}, not ln 2: "
                "adapter and base are scored differently; report this."
            )
        yield f"Pre-flight: the loss of the untrained adapter is ln 2 within {apart:.1g}."
    yield f"Pre-flight: the largest sample, {count} times, fits in memory with its gradients."


def _compare(trainer: GroupedGRPOTrainer, rows: list[dict[str, Any]]) -> Iterator[str]:
    batch = _scoring(trainer, rows)
    most = min(_SAMPLED, trainer.max_completion_length)
    rollout = trainer.sample(_gathered(trainer, batch), most)
    sampled = [torch.tensor(ids) for ids in rollout.ids]
    completion = pad(sampled, padding_value=0, padding_side="right")
    mask = pad([torch.ones_like(ids) for ids in sampled], padding_value=0, padding_side="right")
    scored = _with_completions(batch, completion, mask)
    with torch.no_grad():
        shared, _, _ = trainer.score_tokens(trainer.model, **scored)
        stock, *_ = stock_scores(trainer, trainer.model, **scored)
    kept = mask.bool().to(shared.device)
    tolerance = _TOLERANCE[torch.bfloat16 if trainer.args.bf16 else torch.float32]
    pairs = {
        "sampled tokens' log-probabilities, recomputed,": rollout.log_probabilities,
        "log-probabilities from shared prompts and from stock TRL": stock,
    }
    for name, other in pairs.items():
        apart = float((other.float() - shared.float())[kept].abs().max())
        if not apart <= tolerance:
            raise ModelError(
                f"Pre-flight: {name} differ by {apart:.2g}, more than {tolerance:g}; "
                "train with --set shared=false and report this."
            )
        yield f"Pre-flight: {name} agree within {apart:.1g} on {int(kept.sum())} tokens."


def _gathered(trainer: GroupedGRPOTrainer, batch: dict[str, Any]) -> Prompts:
    return gather_prompts(
        trainer.base,
        batch["input_ids"],
        batch["attention_mask"],
        batch["mm_token_type_ids"],
        batch["pixel_values"],
        batch["image_grid_thw"],
        batch["num_images"],
        trainer.features,
    )


def _spread(indices: list[int]) -> tuple[int, ...]:
    """At most `_SIZES` of them, the first and the last included."""
    if len(indices) <= _SIZES:
        return tuple(indices)
    step = (len(indices) - 1) / (_SIZES - 1)
    return tuple(indices[round(place * step)] for place in range(_SIZES))


def _processed(processor: ImageProcessor, rows: list[dict[str, Any]]) -> Any:
    texts = [
        processor.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
        for row in rows
    ]
    return processor(
        images=[row["images"] for row in rows], text=texts, padding=True, return_tensors="pt"
    )


def _check_template(processor: ImageProcessor, rows: list[dict[str, Any]], batch: Any) -> None:
    """The template's text must give the processor what the trainer's rollout sees."""
    for row, ids, mask in zip(rows, batch["input_ids"], batch["attention_mask"], strict=True):
        text = processor.apply_chat_template(
            row["prompt"], tokenize=False, add_generation_prompt=True
        )
        count = text.count(processor.image_token)
        if count != len(row["images"]):
            raise ModelError(
                f"The chat template renders {count} image placeholders for {len(row['images'])} "
                "images; take the template that belongs to the model."
            )
        pictures = iter(row["images"])
        turns: Any = row["prompt"]
        filled = [
            {
                **turn,
                "content": [
                    {**part, "image": next(pictures)} if part["type"] == "image" else part
                    for part in turn["content"]
                ],
            }
            for turn in turns
        ]
        direct: Any = processor.apply_chat_template(
            [filled], tokenize=True, add_generation_prompt=True, return_dict=True
        )
        if list(direct["input_ids"][0]) != ids[mask.bool()].tolist():
            raise ModelError(
                "The chat template gives other tokens in the rollout than in scoring; take the "
                "template and the tokenizer that belong to the model."
            )


def _scoring(trainer: OpenGRPOTrainer, rows: list[dict[str, Any]]) -> dict[str, Any]:
    processor: Any = trainer.processing_class
    batch = dict(_processed(processor, rows))
    device = trainer.accelerator.device
    moved = {name: x.to(device) if isinstance(x, Tensor) else x for name, x in batch.items()}
    return {**moved, "num_images": [len(row["images"]) for row in rows]}


def _with_completions(batch: dict[str, Any], completion: Tensor, mask: Tensor) -> dict[str, Any]:
    """Arguments of TRL's scoring for prompts with completions behind them."""
    device = batch["input_ids"].device
    completion, mask = completion.to(device), mask.to(device)
    kinds = batch["mm_token_type_ids"]
    return {
        **batch,
        "input_ids": torch.cat([batch["input_ids"], completion], dim=1),
        "attention_mask": torch.cat([batch["attention_mask"], mask], dim=1),
        "mm_token_type_ids": torch.cat([kinds, kinds.new_zeros(completion.shape)], dim=1),
        "logits_to_keep": completion.shape[1],
        "compute_entropy": True,
    }


@contextmanager
def _left_alone(trainer: Any) -> Iterator[None]:
    training = trainer.model.training
    with torch.random.fork_rng():
        try:
            yield
        finally:
            trainer.model.zero_grad()
            trainer.model.train(training)


@contextmanager
def _fits(count: int, what: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if "memory" not in str(error):
            raise
        raise ModelError(
            f"The largest sample does not fit in memory with {count} {what} a pass; use "
            "--set micro_batch= with a smaller number or --set gradient_checkpointing=true."
        ) from error
