"""Fixtures for everyone. Nothing here imports torch before a test asks for a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rarl.models.loader import LoadedModel

TEXTS = [
    "Is there a fracture? Reason in <think> </think>, then answer in <answer> </answer>.",
    "<think>The lungs are clear and the heart is of normal size.</think><answer>no</answer>",
    "Größe 3 µm, Überlauf, naïve café, 肺に影がある。",
] * 2

LANGUAGE_LINEARS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"

# (model folder, adapter folder, seed, **LoraConfig)
MakeAdapter = Callable[..., None]


@pytest.fixture(scope="session")
def make_adapter() -> MakeAdapter:
    """Write a random LoRA of rank 4 for a base, strong enough to change what the base says."""

    def make(model_folder: Path, folder: Path, seed: int, **config: object) -> None:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import Qwen2VLForConditionalGeneration

        base = Qwen2VLForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32)
        settings = {"r": 4, "lora_alpha": 8, "target_modules": LANGUAGE_LINEARS, **config}
        model = get_peft_model(base, LoraConfig(**settings))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.normal_(std=0.3, generator=generator)
        model.save_pretrained(folder)

    return make


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, make_adapter: MakeAdapter) -> Path:
    """A model folder: a tiny random base with random adapters sft, rl and rarl. Read only."""
    from tests.tiny_model import save_tiny

    folder = tmp_path_factory.mktemp("tiny") / "model"
    save_tiny(folder, TEXTS)
    for seed, arm in enumerate(("sft", "rl", "rarl"), 1):
        make_adapter(folder, folder / "adapters" / arm, seed)
    return folder


@pytest.fixture(scope="session")
def tiny_loaded(tiny_model: Path) -> LoadedModel:
    """The same, loaded in fp32 on the CPU. Only one engine at a time may use it."""
    from rarl.models.loader import load_model

    return load_model(str(tiny_model), device="cpu")
