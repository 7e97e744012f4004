"""Private functions of torch (2.11 to 2.13) under names of our own."""

from __future__ import annotations

import torch
from torch import Tensor

# Looked up once, since that takes as long as a small product.
_linear_pointwise = torch.ops.mkldnn._linear_pointwise.default


def pack_linear_weight(weight: Tensor, rows: int) -> Tensor:
    """A copy of a weight in the layout of oneDNN.

    Args:
        weight: outputs x inputs, float32 on the CPU.
        rows: of the products that the layout is chosen for.
    """
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return packed


def packed_linear(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    """(..., inputs) times a weight of `pack_linear_weight`: (..., outputs)."""
    product: Tensor = _linear_pointwise(x, packed, bias, "none", [], "")
    return product


def eight_bit_linear(rows: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """Rows times a weight of 8 bits, without gradients.

    Args:
        rows: (rows, inputs), bfloat16.
        weight: (outputs, inputs), int8.
        scale: (outputs,), bfloat16.

    Returns:
        (rows, outputs), bfloat16.
    """
    return torch._weight_int8pack_mm(rows, weight, scale)
