"""Stacked adapters compute what PEFT computes arm by arm, and leave the model as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft.tuners.lora import Linear as LoraLinear
from PIL import Image

from rarl.generation.multi_lora import MultiLora
from rarl.models.loading import LoadedModel, load_model
from rarl.prompts import messages

ROWS = ("wide", None, "sft", "narrow", "sft", None)
MIXTURES = [
    ROWS,
    ("sft", "wide", "narrow"),
    ("sft", "sft", "wide", "wide", "narrow", "narrow"),
    ("narrow",),
    (None, None),
    (None, "sft", "sft"),
]


@pytest.fixture(scope="module")
def uneven(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, make_adapter: Callable[..., None]
) -> LoadedModel:
    """Adapters of several ranks and scales, one of which leaves most layers alone."""
    folder = tmp_path_factory.mktemp("uneven")
    make_adapter(tiny_model, folder / "wide", 7, r=6, lora_alpha=5, use_rslora=True)
    make_adapter(
        tiny_model, folder / "narrow", 8, r=2, target_modules=r".*layers\.1\..*(q_proj|up_proj)"
    )
    adapters = {"sft": tiny_model / "adapters" / "sft"}
    adapters |= {name: folder / name for name in ("wide", "narrow")}
    return load_model(str(tiny_model), adapters, device="cpu")


def log_probabilities(loaded: LoadedModel, rows: tuple[str | None, ...]) -> torch.Tensor:
    """Of every token of one prompt, for each row: rows x tokens x vocabulary."""
    processor = loaded.processor
    prompt = processor.apply_chat_template(
        messages("Is there a fracture? <think>The lungs are clear.</think>"), tokenize=False
    )
    pictures = [Image.linear_gradient("L").resize((60, 50)).convert("RGB")] * len(rows)
    inputs = processor(text=[prompt] * len(rows), images=pictures, return_tensors="pt")
    with torch.inference_mode():
        logits: torch.Tensor = loaded.base(**inputs).logits
    return logits.float().log_softmax(-1)


def one_by_one(loaded: LoadedModel) -> dict[str | None, torch.Tensor]:
    """The same from PEFT's own layers, one arm at a time."""
    parts = {}
    for arm in set(ROWS):
        if arm is None:
            with loaded.model.disable_adapter():
                parts[arm] = log_probabilities(loaded, (arm,))[0]
        else:
            loaded.model.set_adapter(arm)
            parts[arm] = log_probabilities(loaded, (arm,))[0]
    return parts


@pytest.mark.parametrize(
    # Teacher-forced log-probabilities over rows, tokens and vocabulary. These adapters are far
    # stronger than trained ones: in bf16 PEFT's own are 0.38 (largest) and 0.009 (mean) off fp32.
    ("dtype", "largest", "mean"),
    [(torch.float32, 1e-4, 1e-5), (torch.bfloat16, 0.4, 0.01)],
)
def test_rows_are_what_each_arm_is_alone(
    uneven: LoadedModel, dtype: torch.dtype, largest: float, mean: float
) -> None:
    uneven.model.to(dtype)
    try:
        alone = one_by_one(uneven)
        mixed = MultiLora(uneven.model, list(uneven.adapters))
        for rows in MIXTURES:
            with mixed.rows(rows):
                together = log_probabilities(uneven, rows)
            apart = (together - torch.stack([alone[arm] for arm in rows])).abs()
            assert apart.max() < largest, rows
            assert apart.mean((1, 2)).max() < mean, rows
    finally:
        uneven.model.to(torch.float32)
    # The arms differ by far more than that, or this would show nothing.
    for arm in ("sft", "wide", "narrow"):
        assert (alone[arm] - alone[None]).abs().mean() > 10 * mean


def test_a_token_alone_gets_what_it_gets_among_many(uneven: LoadedModel) -> None:
    """A step masks the ranks of all adapters, a prompt takes each row's own."""
    layers = uneven.base.model.language_model.layers
    x = torch.randn(len(ROWS), 2, uneven.base.config.get_text_config().hidden_size)
    with MultiLora(uneven.model, list(uneven.adapters)).rows(ROWS), torch.inference_mode():
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            for layer in layers:
                product = layer.self_attn.get_submodule(name)
                many = product(x)
                for token in range(2):
                    alone = product(x[:, token : token + 1].contiguous())
                    torch.testing.assert_close(alone, many[:, token : token + 1])


def test_the_model_is_left_as_it_was(uneven: LoadedModel) -> None:
    before = [type(module) for module in uneven.model.modules()]
    assert LoraLinear in before
    mixed = MultiLora(uneven.model, list(uneven.adapters))
    with pytest.raises(MemoryError), mixed.rows(["sft"]):
        assert LoraLinear not in [type(module) for module in uneven.base.modules()]
        raise MemoryError
    assert [type(module) for module in uneven.model.modules()] == before
