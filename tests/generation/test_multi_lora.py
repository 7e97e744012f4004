"""Stacked adapters compute what PEFT computes arm by arm, and leave the model as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft.tuners.lora import Linear as LoraLinear
from PIL import Image

from rarl.generation.multi_lora import MultiLora
from rarl.models.loader import LoadedModel, load_model
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


def test_a_merged_adapter_computes_what_it_computes_apart(uneven: LoadedModel) -> None:
    mixed = MultiLora(uneven.model, list(uneven.adapters))
    apart = {}
    for arm in ("sft", "wide", "narrow"):
        with mixed.rows((arm, arm)):
            apart[arm] = log_probabilities(uneven, (arm, arm))
    for arm, expected in apart.items():
        mixed.merge(arm)
        with mixed.rows((arm, arm)):
            merged = log_probabilities(uneven, (arm, arm))
        assert (merged - expected).abs().max() < 1e-4, arm
    mixed.unmerge()
    with mixed.rows(("sft", "wide")):
        again = log_probabilities(uneven, ("sft", "wide"))
    assert (again[0] - again[1]).abs().max() > 1e-2, "every row has its own adapter again"


def test_a_refresh_takes_the_weights_as_they_are_now(uneven: LoadedModel) -> None:
    mixed = MultiLora(uneven.model, ["sft"])
    weights = {n: p for n, p in uneven.model.named_parameters() if "lora_B.sft" in n}
    before = {name: weight.clone() for name, weight in weights.items()}
    with mixed.rows(("sft",)):
        old = log_probabilities(uneven, ("sft",))
    try:
        for weight in weights.values():
            weight.data.mul_(-1.5)
        mixed.refresh()
        with mixed.rows(("sft",)):
            new = log_probabilities(uneven, ("sft",))
        uneven.model.set_adapter("sft")
        expected = log_probabilities(uneven, ("sft",))
    finally:
        for name, weight in weights.items():
            weight.data.copy_(before[name])
    assert (new - expected).abs().max() < 1e-4
    assert (new - old).abs().max() > 1e-2


def test_bfloat16_weights_do_not_hold_a_young_adapter() -> None:
    """Why rollouts in bfloat16 keep base and adapter apart: most of the change rounds away."""
    drawn = torch.Generator().manual_seed(0)
    weight = (torch.randn(512, 512, generator=drawn) * 0.02).bfloat16()
    change = torch.randn(512, 512, generator=drawn) * 1e-5  # a step or two at a rate of 1e-5
    merged = (weight.float() + change).bfloat16()
    assert (merged == weight).float().mean() > 0.8
    left = merged.float() - weight.float()
    assert (left * change).sum() / change.square().sum() < 0.4
