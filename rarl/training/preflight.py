"""What must hold before a long run starts; the errors that others find hours later.

Image tokens that do not match image features are the top complaint of everyone who trains a
vision-language model, and M-RoPE positions go silently wrong where `mm_token_type_ids` is lost.
"""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from transformers import Qwen2VLForConditionalGeneration

from rarl.errors import ModelError
from rarl.models.processor import ImageProcessor

_SAMPLE = 8


def preflight(
    model: Qwen2VLForConditionalGeneration,
    processor: ImageProcessor,
    rows: Dataset,
    longest_completion: int,
) -> str:
    """Compare a handful of rows, the longest among them, with what the model expects.

    Args:
        model: the base, before any adapter.
        processor: the processor that training uses.
        rows: rows with "images" and "prompt".
        longest_completion: tokens that may follow a prompt.

    Returns:
        One line that says what was compared.

    Raises:
        ModelError: something does not fit; the sentence says what.
    """
    texts = rows.with_format(None)["text"]
    by_length = sorted(range(len(rows)), key=lambda index: len(texts[index]), reverse=True)
    sample = [rows[index] for index in by_length[:1] + list(range(min(_SAMPLE - 1, len(rows))))]
    prompts = [
        processor.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
        for row in sample
    ]
    batch: Any = processor(
        images=[row["images"] for row in sample], text=prompts, padding=True, return_tensors="pt"
    )
    image_token = model.config.image_token_id
    if image_token != processor.image_token_id:
        raise ModelError(
            f"The model's image token is {image_token}, the processor's {processor.image_token_id}."
        )
    placed = int((batch["input_ids"] == image_token).sum())
    if "mm_token_type_ids" not in batch:
        raise ModelError("The processor gives no mm_token_type_ids: positions would be wrong.")
    marked = int((batch["mm_token_type_ids"] == 1).sum())
    merged = int(model.model.visual.spatial_merge_size) ** 2
    expected = int(batch["image_grid_thw"].prod(-1).sum()) // merged
    if placed != expected:
        raise ModelError(
            f"The prompts hold {placed} image tokens, but the vision tower gives {expected} "
            "features for their images: processor and model do not belong together."
        )
    with torch.no_grad():
        features = model.get_image_features(
            batch["pixel_values"].to(model.device, model.dtype),
            batch["image_grid_thw"].to(model.device),
        ).pooler_output
    given = sum(len(feature) for feature in features)
    if not placed == marked == given:
        raise ModelError(
            f"Image tokens do not match image features: {placed} in the prompts, {marked} marked "
            f"as image, {given} from the vision tower."
        )
    lengths = batch["attention_mask"].sum(1)
    limit = int(model.config.get_text_config().max_position_embeddings)
    needed = int(lengths.max()) + longest_completion
    if needed > limit:
        raise ModelError(f"A prompt with its completion takes {needed} tokens; {limit} fit.")
    return (
        f"Pre-flight: {len(sample)} prompts hold {placed} image tokens for {given} image features, "
        f"marked in mm_token_type_ids; longest prompt {int(lengths.max())} tokens, "
        f"with its completion at most {needed} of {limit}."
    )
