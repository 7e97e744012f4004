"""One batch in which each row has an adapter of its own.

PEFT splits such a batch by adapter in every layer: an index, two small products and a write-back
for each. Here all adapters of a layer stand side by side in one stacked pair, `down` (arms * rank
x inputs) and `up` (outputs x arms * rank): every row goes through both products as a whole, and a
mask between them leaves each row its own adapter. The ranks of all arms together are still small
beside the layer, so the numbers that are thrown away cost less than the splitting did.

Layers that read the same input (query, key and value; gate and up) go through as one product.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
import torch.nn.functional as F
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from rarl.errors import ModelError

# Of Qwen2's layers, those that read the same input.
_SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


class _Masks:
    """Which columns of a stack belong to each row's own adapter."""

    def __init__(self, arms: int) -> None:
        self._arms = arms
        self._owners: list[int] = []
        self._made: dict[tuple[int, int], Tensor] = {}

    def set(self, owners: Sequence[int]) -> None:
        """Take the adapter's number of each row; -1 is the base alone."""
        self._owners = list(owners)
        self._made = {}

    def of(self, layers: int, rank: int, like: Tensor) -> Tensor:
        """(rows, 1, layers * arms * rank) ones and zeros; stacks of one shape share them."""
        mask = self._made.get((layers, rank))
        if mask is None:
            own = like.new_zeros(len(self._owners), 1, layers, self._arms, rank)
            for row, owner in enumerate(self._owners):
                if owner >= 0:
                    own[row, :, :, owner] = 1
            mask = self._made[layers, rank] = own.flatten(2)
        return mask


class _Stack:
    """Linear layers of one input with all their adapters.

    Args:
        layers: as PEFT made them. Their weights keep their values, but lie side by side from now
            on, so that nothing is held twice.
        arms: adapter names in the order of the stack.
        masks: what the rows of the batch at hand are.
    """

    def __init__(self, layers: Sequence[LoraLinear], arms: Sequence[str], masks: _Masks) -> None:
        bases = [_plain(layer) for layer in layers]
        self._masks = masks
        self._layers = len(layers)
        self._rank = max(rank for layer in layers for rank in layer.r.values())
        self._sizes = [base.out_features for base in bases]
        self._weight = _side_by_side([base.weight for base in bases])
        self._bias = None
        if any(base.bias is not None for base in bases):
            self._bias = torch.cat(
                [
                    base.weight.new_zeros(base.out_features) if base.bias is None else base.bias
                    for base in bases
                ]
            )
        outputs, inputs = self._weight.shape
        down = self._weight.new_zeros(self._layers, len(arms), self._rank, inputs)
        up = self._weight.new_zeros(outputs, self._layers, len(arms), self._rank)
        first = 0
        for number, layer in enumerate(layers):
            last = first + self._sizes[number]
            for place, arm in enumerate(arms):
                if arm in layer.lora_A:
                    rank = layer.r[arm]
                    down[number, place, :rank] = layer.lora_A[arm].weight
                    up[first:last, number, place, :rank] = (
                        layer.lora_B[arm].weight.float() * layer.scaling[arm]
                    )
            first = last
        self._down = down.flatten(0, 2)
        self._up = up.flatten(1)
        # Between the first of the layers that is asked and the last.
        self._input: Tensor | None = None
        self._outputs: dict[int, Tensor] = {}

    def output(self, number: int, x: Tensor) -> Tensor:
        """(rows, tokens, inputs) to (rows, tokens, outputs) of one of the layers."""
        # The tensor is held until its last use, so that no other can be taken for it.
        if x is not self._input or number not in self._outputs:
            mask = self._masks.of(self._layers, self._rank, self._down)
            own = F.linear(x, self._down).mul_(mask)
            whole = F.linear(x, self._weight, self._bias).add_(F.linear(own, self._up))
            self._outputs = dict(enumerate(whole.split(self._sizes, dim=-1)))
            self._input = x
        output = self._outputs.pop(number)
        if not self._outputs:
            self._input = None
        return output

    def forget(self) -> None:
        """Let go of what a batch that broke off may have left."""
        self._input = None
        self._outputs = {}


class _StackedLinear(nn.Module):
    """One layer of a stack, in the place of PEFT's."""

    def __init__(self, stack: _Stack, number: int) -> None:
        super().__init__()
        self._stack = stack
        self._number = number

    def forward(self, x: Tensor) -> Tensor:
        """(rows, tokens, inputs) to (rows, tokens, outputs)."""
        return self._stack.output(self._number, x)


class MixedAdapters:
    """All adapters of a model, ready to run side by side in one batch.

    The model itself stays as PEFT made it; only inside `rows` its adapted layers are exchanged.

    Args:
        model: the base with its adapters, in evaluation.
        arms: names of the adapters.

    Raises:
        ModelError: an adapter is no plain LoRA.
    """

    def __init__(self, model: PeftModel, arms: Sequence[str]) -> None:
        self._numbers = {arm: number for number, arm in enumerate(arms)}
        self._masks = _Masks(len(arms))
        self._stacks: list[_Stack] = []
        self._places: list[tuple[nn.Module, str, LoraLinear, _StackedLinear]] = []
        with torch.no_grad():
            for parent in model.modules():
                layers = {
                    name: layer
                    for name, layer in parent.named_children()
                    if isinstance(layer, LoraLinear)
                }
                for names in _grouped(layers):
                    stack = _Stack([layers[name] for name in names], arms, self._masks)
                    self._stacks.append(stack)
                    self._places += [
                        (parent, name, layers[name], _StackedLinear(stack, number))
                        for number, name in enumerate(names)
                    ]

    @contextmanager
    def rows(self, arms: Sequence[str | None]) -> Iterator[None]:
        """Let the model run batches whose rows are these arms; None is the base alone.

        One caller at a time. Where no row has an adapter, the layers are the base's own.
        """
        owners = [-1 if arm is None else self._numbers[arm] for arm in arms]
        self._masks.set(owners)
        adapted = max(owners) >= 0
        try:
            for parent, name, layer, stacked in self._places:
                setattr(parent, name, stacked if adapted else layer.get_base_layer())
            yield
        finally:
            for parent, name, layer, _ in self._places:
                setattr(parent, name, layer)
            for stack in self._stacks:
                stack.forget()


def _grouped(names: Iterable[str]) -> list[tuple[str, ...]]:
    """The names that share an input together, every other alone."""
    left = list(names)
    groups = []
    for siblings in _SIBLINGS:
        together = tuple(name for name in siblings if name in left)
        if together:
            groups.append(together)
    return groups + [(name,) for name in left if not any(name in group for group in groups)]


def _plain(layer: LoraLinear) -> nn.Linear:
    base = layer.get_base_layer()
    if not isinstance(base, nn.Linear) or layer.lora_variant:
        raise ModelError(
            "An adapter is not a plain LoRA of linear layers, so it cannot share a base with "
            "others; train it as one."
        )
    return base


def _side_by_side(weights: Sequence[nn.Parameter]) -> Tensor:
    """One tensor (outputs of all x inputs) of which the weights are parts from now on."""
    first = weights[0]
    rows = sum(len(weight) for weight in weights)
    inputs = first.shape[1]
    adjoining = all(
        weight.is_contiguous()
        and weight.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        for weight in weights
    ) and all(
        after.storage_offset() == before.storage_offset() + before.numel()
        for before, after in pairwise(weights)
    )
    if adjoining:
        return first.detach().as_strided((rows, inputs), (inputs, 1))
    whole = torch.cat([weight.detach() for weight in weights])
    for weight, part in zip(weights, whole.split([len(w) for w in weights]), strict=True):
        weight.data = part
    return whole
