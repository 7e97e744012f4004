"""Weights of 8 bits: nearly the same numbers, adapters as before, and answers told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from rarl.errors import ModelError, SettingError
from rarl.generation.multi_lora import MultiLora
from rarl.inference.engine import Question
from rarl.inference.local import LocalEngine
from rarl.models.eight_bit import EightBitLinear
from rarl.models.loader import LoadedModel, load_model


@pytest.fixture(scope="module")
def eight(tiny_model: Path) -> LoadedModel:
    return load_model(str(tiny_model), device="cpu", eight_bit=True)


# 72 inputs are no multiple of what the product with few rows takes at a time.
@pytest.mark.parametrize(("inputs", "outputs", "bias"), [(256, 96, True), (72, 20, False)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_computes_nearly_the_same(
    inputs: int, outputs: int, bias: bool, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    plain = nn.Linear(inputs, outputs, bias)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.normal_(generator=generator)
        plain.weight[3] = 0  # a row of nothing stays one
    layer = EightBitLinear.of(plain)
    layer.bias = None if layer.bias is None else nn.Parameter(layer.bias.to(dtype), False)
    x = torch.randn(40, inputs, generator=generator)
    with torch.inference_mode():
        expected = plain(x)
        # Many rows at once, and few at a time, which is another product.
        for made in (
            layer(x.to(dtype)),
            torch.cat([layer(x[i : i + 3].to(dtype)) for i in range(0, 40, 3)]),
        ):
            assert made.dtype == dtype and made.shape == expected.shape
            assert (made.float() - expected).norm() < 0.02 * expected.norm()


def test_what_is_held_in_eight_bits(tiny_loaded: LoadedModel, eight: LoadedModel) -> None:
    """Every linear layer but the adapters and the head, and only those."""
    linears = {
        name
        for name, module in tiny_loaded.base.model.named_modules()
        if type(module) is nn.Linear and "lora_" not in name
    }
    assert linears == {
        name
        for name, module in eight.base.model.named_modules()
        if isinstance(module, EightBitLinear)
    }
    assert torch.equal(eight.base.lm_head.weight, tiny_loaded.base.lm_head.weight)
    assert eight.revision == f"{tiny_loaded.revision}-8bit"
    for arm, revision in tiny_loaded.adapters.items():
        assert eight.adapters[arm] == f"{revision}-8bit"


def test_rows_are_what_each_arm_is_alone(eight: LoadedModel) -> None:
    layers = eight.base.model.language_model.layers
    rows = ("rarl", None, "sft")
    names = ("q_proj", "k_proj", "v_proj", "o_proj")
    x = torch.randn(len(rows), 1, eight.base.config.get_text_config().hidden_size)
    with torch.inference_mode():
        alone = {}
        for place, arm in enumerate(rows):
            if arm is not None:
                eight.model.set_adapter(arm)
            for number, layer in enumerate(layers):
                for name in names:
                    module = layer.self_attn.get_submodule(name)
                    module = module.get_base_layer() if arm is None else module
                    alone[place, number, name] = module(x[place : place + 1])
        with MultiLora(eight.model, list(eight.adapters)).rows(rows):
            for number, layer in enumerate(layers):
                for name in names:
                    together = layer.self_attn.get_submodule(name)(x)
                    for place in range(len(rows)):
                        torch.testing.assert_close(
                            together[place : place + 1], alone[place, number, name],
                            rtol=1e-4, atol=1e-4,
                        )  # fmt: skip


def test_the_engine_answers_and_looks(eight: LoadedModel, ask: Callable[..., Question]) -> None:
    engine = LocalEngine(eight)
    question = ask(tokens=8)
    *_, answers = engine.stream(question)
    assert [answer.tokens for answer in answers] == [8, 8, 8]
    assert len({answer.response.text for answer in answers}) == 3, "the adapters say nothing"
    (looked,) = engine.looked(question, answers[0])
    assert looked.sum() == pytest.approx(1)


def test_the_setting(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RARL_WEIGHTS", "8bit")
    assert load_model(str(tiny_model), {}, device="cpu").revision.endswith("-8bit")
    with pytest.raises(ModelError, match="are for the CPU; unset RARL_WEIGHTS"):
        load_model(str(tiny_model), {}, device="cuda")
    monkeypatch.setenv("RARL_WEIGHTS", "4bit")
    with pytest.raises(SettingError, match="RARL_WEIGHTS must be 8bit"):
        load_model(str(tiny_model), {}, device="cpu")
