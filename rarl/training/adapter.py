"""The LoRA adapter of a variant: its target modules, and whether training changed it."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import cast

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor

from rarl.errors import ModelError
from rarl.training.recipe import Lora

ADAPTER = "default"
"""The name that PEFT gives the adapter in training."""

# A public replication of GRPO on Qwen2-VL-2B kept its score while its adapter had hardly moved.
HARDLY_MOVED = 1e-5


def lora_config(lora: Lora) -> LoraConfig:
    """LoRA on linear layers of the language model alone.

    The pattern starts at `language_model`, so it can match nothing in the vision tower: arms then
    share image features, and batches may mix arms.
    """
    modules = "|".join(lora.modules)
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=rf"model\.language_model\.layers\.\d+\.(?:self_attn|mlp)\.(?:{modules})",
        task_type="CAUSAL_LM",
    )


def adapted_modules(model: PeftModel) -> list[str]:
    """Names of the modules that carry an adapter."""
    return [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]


def check_language_only(model: PeftModel) -> int:
    """Count the adapted modules; all must belong to the language model.

    Raises:
        ModelError: none is adapted, or one lies elsewhere.
    """
    names = adapted_modules(model)
    if not names:
        raise ModelError("No layer of the model matches the recipe's lora.modules.")
    elsewhere = [name for name in names if ".language_model." not in name]
    if elsewhere:
        raise ModelError(f"The adapter reaches beyond the language model: {elsewhere[0]}.")
    return len(names)


@dataclass(frozen=True, slots=True)
class AdapterNorm:
    """Relative change that an adapter makes to the weights it sits on.

    Attributes:
        change: L2 norm over all adapted layers of scale * B A, the change of the weights; it is
            exactly 0 before the first step.
        relative: the same, divided by the norm of the weights.
        still: adapted layers whose own relative change is below `HARDLY_MOVED`.
        layers: adapted layers.
    """

    change: float
    relative: float
    still: int
    layers: int

    @property
    def moved(self) -> bool:
        """Whether training has changed the model at all."""
        return self.relative >= HARDLY_MOVED


@torch.no_grad()
def adapter_change(model: PeftModel, adapter: str = "default") -> float:
    """`AdapterNorm.change` alone, which needs no pass over the weights."""
    return sqrt(sum(_squared(module, adapter) for module in _layers(model, adapter)))


def _layers(model: PeftModel, adapter: str) -> list[LoraLayer]:
    return [
        module
        for module in model.modules()
        if isinstance(module, LoraLayer) and adapter in module.lora_A
    ]


def _squared(module: LoraLayer, adapter: str) -> float:
    """The squared norm of scale * B A; |B A|^2 = trace(B'B A A'), two rank x rank matrices."""
    first = cast(Tensor, module.lora_A[adapter].weight).double()
    second = cast(Tensor, module.lora_B[adapter].weight).double()
    square = torch.sum((second.T @ second) * (first @ first.T)).clamp(min=0).item()
    return float(square * module.scaling[adapter] ** 2)


@torch.no_grad()
def adapter_norm(model: PeftModel, adapter: str = "default") -> AdapterNorm:
    """Measure an adapter without ever building B A at full size."""
    changes, weights, still, layers = 0.0, 0.0, 0, 0
    for module in _layers(model, adapter):
        change = _squared(module, adapter)
        base = cast(Tensor, module.get_base_layer().weight)
        weight = base.double().square().sum().item()
        still += change < HARDLY_MOVED**2 * weight
        changes, weights, layers = changes + change, weights + weight, layers + 1
    return AdapterNorm(sqrt(changes), sqrt(changes / weights) if weights else 0.0, still, layers)
