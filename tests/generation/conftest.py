"""Prompts for the decoder, without an engine around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from PIL import Image

from rarl.generation.decoder import Prompt
from rarl.models.loader import LoadedModel
from rarl.prompts import messages, user_text

MakePrompt = Callable[..., Prompt]


@pytest.fixture
def read_prompt() -> MakePrompt:
    """A batch of prompts about drawn pictures, of different lengths, on the model's device."""

    def make(loaded: LoadedModel, texts: Sequence[str], size: tuple[int, int] = (60, 50)) -> Prompt:
        processor, base = loaded.processor, loaded.base
        pictures = [
            Image.linear_gradient("L").rotate(90 * number).resize(size).convert("RGB")
            for number in range(len(texts))
        ]
        prompts = [
            processor.apply_chat_template(
                messages(user_text(text)), add_generation_prompt=True, tokenize=False
            )
            for text in texts
        ]
        inputs = processor(
            text=prompts,
            images=pictures,
            padding=True,
            padding_side="right",
            return_tensors="pt",
            return_mm_token_type_ids=True,
        ).to(loaded.device)
        with torch.no_grad():
            features = base.get_image_features(
                inputs["pixel_values"].to(loaded.dtype), image_grid_thw=inputs["image_grid_thw"]
            ).pooler_output
        positions, _ = base.model.get_rope_index(
            inputs["input_ids"],
            inputs["mm_token_type_ids"],
            image_grid_thw=inputs["image_grid_thw"],
            attention_mask=inputs["attention_mask"],
        )
        return Prompt(
            ids=inputs["input_ids"],
            mask=inputs["attention_mask"],
            kinds=inputs["mm_token_type_ids"],
            positions=positions,
            features=torch.cat(list(features)),
        )

    return make
