"""Linear layers with 8-bit weights, to load a large model into little memory.

Weights are int8 with one scale per output channel. A few rows
at a time, as answers are written, go through PyTorch's product with such weights, which has half
as much to read as one in bfloat16; prompts and pictures through the plain one, for which a layer's
numbers are put into the model's type while they are used.

torchao (0.18) does the latter at every step unless compiled: on a CPU it made writing slower than
with whole weights. optimum-quanto wants a compiler on the machine.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from peft import PeftModel
from torch import Tensor, nn
from transformers import Qwen2VLForConditionalGeneration

from rarl.compat.torch import eight_bit_linear

SUFFIX = "-8bit"
"""Marks the revisions of what answers with such weights."""

# With more rows the plain product, weights put back and all, is the faster one.
_FEW = 16
# The product with few rows takes inputs by so many, and reads on behind them where there are fewer.
_BLOCK = 16


class EightBitLinear(nn.Module):
    """`nn.Linear` with weights rounded to 8 bits.

    Args:
        weight: outputs x inputs, int8.
        scale: outputs, bfloat16; the weights are `weight * scale[:, None]`.
        bias: outputs, or None.
    """

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.register_buffer("scale", scale)
        self.scale: Tensor
        self.out_features, self.in_features = weight.shape

    @classmethod
    def of(cls, layer: nn.Linear) -> EightBitLinear:
        """A layer's weights rounded to 8 bits; the layer itself stays as it is."""
        weight = layer.weight.detach().float()
        # Rounded before the weights are: so both products use the very same numbers.
        scale = (weight.abs().amax(1) / 127).clamp_min(1e-12).bfloat16()
        numbers = (weight / scale.float()[:, None]).round_().clamp_(-127, 127)
        return cls(numbers.to(torch.int8), scale, layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs), in the type of `x`."""
        few = x.numel() <= _FEW * self.in_features and self.in_features % _BLOCK == 0
        if few and not x.requires_grad:  # that product knows no gradients
            rows = x.reshape(-1, self.in_features).bfloat16()
            made = eight_bit_linear(rows, self.weight, self.scale)
            out = made.view(*x.shape[:-1], self.out_features).to(x.dtype)
        else:
            out = F.linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)
        return out if self.bias is None else out + self.bias


def to_eight_bits(model: PeftModel | Qwen2VLForConditionalGeneration, dtype: torch.dtype) -> None:
    """Exchange the linear layers of language model and vision tower, one after another.

    Args:
        model: changed in place; adapters, embeddings and the head keep their weights.
        dtype: what those are held in from now on.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(base, Qwen2VLForConditionalGeneration)
    for name, parent in list(base.model.named_modules()):
        if "lora_" in name:
            continue
        for child, layer in list(parent.named_children()):
            if type(layer) is nn.Linear:
                setattr(parent, child, EightBitLinear.of(layer))
    for parameter in model.parameters():
        if parameter.is_floating_point():
            # A copy: a file stays in memory whole as long as one tensor of it is mapped.
            parameter.data = parameter.data.to(dtype, copy=True)
