"""Apply a different LoRA adapter to each row of a batch.

PEFT splits such a batch by adapter in every layer: an index, two small products and a write-back
for each. Here all adapters of a layer stand side by side in one wide pair: its inner columns are
the ranks of all of them, and a mask keeps each row's own, whatever the mixture of rows; the many
tokens of prompts take their row's own part of it.

Two more things make three rows cost little more than one. Layers that read the same input (query,
key and value; gate and up) go through as one product. And a small model in float32 on the CPU runs
its products through oneDNN on weights laid out for it: MKL's product of three rows, which PyTorch
takes there, costs three times that of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from transformers import Qwen2VLForConditionalGeneration

from rarl.compat.torch import pack_linear_weight, packed_linear
from rarl.errors import ModelError
from rarl.models.eight_bit import EightBitLinear
from rarl.models.loader import LARGE

# Of Qwen2's layers, those that read the same input.
_SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))

# Rows that the layout of the weights is chosen for: three adapters.
_ROWS = 3


class _Product(nn.Module):
    """The product that `nn.Linear` computes.

    Args:
        weight: outputs x inputs.
        bias: outputs, or None.
        packed: keep a second copy of the weight, laid out for oneDNN (float32 on the CPU).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, packed: bool) -> None:
        super().__init__()
        self._weight = weight.detach()
        self._bias = None if bias is None else bias.detach()
        self._packed: Tensor | None = None
        if packed:
            self._packed = pack_linear_weight(self._weight, _ROWS)

    def copied(self) -> _Product:
        """The same with a weight of its own."""
        return _Product(self._weight.clone(), self._bias, False)

    def take(self, other: _Product, change: Tensor) -> None:
        """Take another's weight, changed by (outputs, inputs)."""
        self._weight.copy_(other._weight + change)
        if other._packed is not None:
            self._packed = pack_linear_weight(self._weight, _ROWS)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        # One row alone is memory's business, where the plain product is as good and begins sooner.
        if self._packed is None or x.numel() == x.shape[-1]:
            return F.linear(x, self._weight, self._bias)
        return packed_linear(x, self._packed, self._bias)


@dataclass(frozen=True, slots=True)
class _Choice:
    """The adapter of each row of a batch.

    Attributes:
        own: rows x arms, True at the row's own.
        arms: the arm of each row, to index by.
        adapted: (rows, 1, 1), False for a row without an adapter; None where every row has one.
        single: the one adapter that every row has; None where they differ.
    """

    own: Tensor
    arms: Tensor | slice
    adapted: Tensor | None
    single: int | None = None

    @classmethod
    def of(cls, entries: Sequence[int], arms: int, device: torch.device) -> _Choice:
        """From the place of each row's adapter among so many arms, from 1; 0 for none."""
        rows = torch.tensor(entries, device=device)
        own = rows[:, None] == torch.arange(1, arms + 1, device=device)
        first, last = entries[0], entries[-1]
        single = first - 1 if first and set(entries) == {first} else None
        if first and list(entries) == list(range(first, last + 1)):
            # Arms in their own order are there as they are; all else has to be gathered.
            return cls(own, slice(first - 1, last), None, single)
        adapted = None if all(entries) else (rows > 0)[:, None, None]
        return cls(own, rows.clamp(min=1) - 1, adapted, single)


class _Stack:
    """Linear layers of one input with all their adapters.

    Args:
        layers: as PEFT made them. Their weights keep their values, but lie side by side from now
            on, so that nothing is held twice.
        arms: adapter names in the order of the stack.
        packed: see `_Product`.
    """

    def __init__(self, layers: Sequence[LoraLinear], arms: Sequence[str], packed: bool) -> None:
        self._layers = list(layers)
        self._arms = list(arms)
        bases = [_plain(layer) for layer in layers]
        self._sizes = [base.out_features for base in bases]
        weight = _side_by_side([base.weight for base in bases])
        bias = None
        known = next((base.bias for base in bases if base.bias is not None), None)
        if known is not None:
            bias = torch.cat(
                [
                    known.new_zeros(base.out_features) if base.bias is None else base.bias
                    for base in bases
                ]
            )
        scales = [base.scale for base in bases if isinstance(base, EightBitLinear)]
        self._product: nn.Module = (
            EightBitLinear(weight, torch.cat(scales), bias)
            if scales
            else _Product(weight, bias, packed)
        )
        self._merged: _Product | None = None
        # What an arm has no ranks for stays zero.
        self.ranks = max(sum(layer.r.get(arm, 0) for layer in layers) for arm in arms)
        dtype = cast(Tensor, next(iter(layers[0].lora_A.values())).weight).dtype
        # Adapters that training holds in float32 run in the type of the layers.
        self.dtype = dtype if weight.dtype == torch.int8 else weight.dtype
        # Arms x ranks x inputs or outputs.
        shape = (len(arms), self.ranks, weight.shape[1])
        self._downs = torch.zeros(shape, dtype=self.dtype, device=weight.device)
        self._ups = self._downs.new_zeros(len(arms), self.ranks, len(weight))
        self.refresh()
        self._choice: _Choice | None = None
        self._own: Tensor | None = None
        # Between the first of the layers that is asked and the last.
        self._input: Tensor | None = None
        self._outputs: dict[int, Tensor] = {}

    def refresh(self) -> None:
        """Copy the adapters' weights as they are now; the copies stay where they are in memory."""
        for downs, ups, arm in zip(self._downs, self._ups, self._arms, strict=True):
            first, output = 0, 0
            for layer, size in zip(self._layers, self._sizes, strict=True):
                if arm in layer.lora_A:
                    last = first + layer.r[arm]
                    downs[first:last] = cast(Tensor, layer.lora_A[arm].weight)
                    up = cast(Tensor, layer.lora_B[arm].weight).float() * layer.scaling[arm]
                    ups[first:last, output : output + size] = up.T
                    first = last
                output += size

    def merge(self, arm: int) -> None:
        """Compute with a copy of the weights that holds this adapter, until `unmerge`."""
        if not isinstance(self._product, _Product):
            raise ModelError("Weights of 8 bits cannot take an adapter into a copy.")
        if self._merged is None:
            self._merged = self._product.copied()
        change = self._ups[arm].T.float() @ self._downs[arm].float()
        self._merged.take(self._product, change)

    def unmerge(self) -> None:
        """Compute with base and adapters apart again."""
        self._merged = None

    def choose(self, choice: _Choice, own: Tensor | None = None) -> None:
        """Take the adapters of the coming batches' rows.

        Args:
            choice: of each row.
            own: (rows, 1, arms * ranks), the mask of each row's own ranks, where it is at hand.
        """
        self._choice = choice
        self._own = self.own_ranks(choice.own) if own is None else own

    def own_ranks(self, own: Tensor) -> Tensor:
        """The mask (rows, 1, arms * ranks) of each row's own ranks, from rows x arms."""
        return own.repeat_interleave(self.ranks, 1)[:, None].to(self.dtype)

    def release(self) -> None:
        """Forget what was chosen, and what a batch that broke off may have left."""
        self._choice = None
        self._own = None
        self._input = None
        self._outputs = {}

    def output(self, number: int, x: Tensor) -> Tensor:
        """(rows, tokens, inputs) to (rows, tokens, outputs) of one of the layers."""
        if len(self._sizes) == 1:
            return self._computed(x)
        # The tensor is held until its last use, so that no other can be taken for it.
        if x is not self._input or number not in self._outputs:
            parts = self._computed(x).split_with_sizes(self._sizes, dim=-1)
            self._outputs = dict(enumerate(parts))
            self._input = x
        output = self._outputs.pop(number)
        if not self._outputs:
            self._input = None
        return output

    def _computed(self, x: Tensor) -> Tensor:
        if self._merged is not None:
            merged: Tensor = self._merged(x)
            return merged
        whole: Tensor = self._product(x)
        assert self._choice is not None and self._own is not None
        single = self._choice.single
        outputs = whole.shape[-1]
        if single is not None:
            ranks = x.reshape(-1, x.shape[-1]) @ self._downs[single].T
            whole.view(-1, outputs).addmm_(ranks, self._ups[single])
            return whole
        if x.shape[1] > 1:
            ranks = x @ self._downs[self._choice.arms].mT
            if self._choice.adapted is not None:
                ranks *= self._choice.adapted
            return whole.baddbmm_(ranks, self._ups[self._choice.arms])
        inner = self._own.shape[-1]
        ranks = (x @ self._downs.view(inner, -1).T).mul_(self._own)
        whole.view(-1, outputs).addmm_(ranks.view(-1, inner), self._ups.view(inner, outputs))
        return whole


class _StackedLinear(nn.Module):
    """One layer of a stack, in the place of PEFT's."""

    def __init__(self, stack: _Stack, number: int) -> None:
        super().__init__()
        self._stack = stack
        self._number = number

    def forward(self, x: Tensor) -> Tensor:
        """(rows, tokens, inputs) to (rows, tokens, outputs)."""
        return self._stack.output(self._number, x)


class MultiLora:
    """All adapters of a model, ready to run side by side in one batch.

    The model itself stays as PEFT made it; its layers are exchanged inside `rows` and
    `Slots.chosen` only.

    Args:
        model: the base with its adapters, in evaluation or in training without dropout.
        arms: names of the adapters.
        packed: keep a second copy of a small model's weights, laid out for oneDNN.

    Raises:
        ModelError: an adapter is no plain LoRA.
    """

    def __init__(self, model: PeftModel, arms: Sequence[str], packed: bool = True) -> None:
        base = model.get_base_model()
        assert isinstance(base, Qwen2VLForConditionalGeneration)
        weight = base.lm_head.weight
        packed = (
            packed
            and weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and torch.backends.mkldnn.is_available()
            # A second copy of a large model's weights would cost more than it gains.
            and base.num_parameters() < LARGE
        )
        self._entries: dict[str | None, int] = {None: 0}
        self._entries |= {arm: entry for entry, arm in enumerate(arms, 1)}
        self._stacks: list[_Stack] = []
        # The parent module, the child's name, PEFT's layer, and what takes its place.
        self._places: list[tuple[nn.Module, str, LoraLinear, _StackedLinear]] = []
        self._base = base
        self._head = base.lm_head
        with torch.no_grad():
            self._packed_head = _Product(weight, base.lm_head.bias, True) if packed else None
            for parent in base.modules():
                layers = {
                    name: layer
                    for name, layer in parent.named_children()
                    if isinstance(layer, LoraLinear)
                }
                for names in _grouped(layers):
                    stack = _Stack([layers[name] for name in names], arms, packed)
                    self._stacks.append(stack)
                    self._places += [
                        (parent, name, layers[name], _StackedLinear(stack, number))
                        for number, name in enumerate(names)
                    ]

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the adapters' weights as they are now, after a step of training."""
        for stack in self._stacks:
            stack.refresh()

    @contextmanager
    def rows(self, arms: Sequence[str | None]) -> Iterator[None]:
        """Let the model run batches whose rows have these adapters; None is the base alone.

        One caller at a time. Where no row has an adapter, the layers are the base's own.
        """
        entries = [self._entries[arm] for arm in arms]
        with self._exchanged(any(entries)):
            if any(entries):
                choice = _Choice.of(entries, len(self._entries) - 1, self._base.device)
                for stack in self._stacks:
                    stack.choose(choice)
            yield

    @torch.no_grad()
    def merge(self, arm: str) -> None:
        """Compute adapted rows with a copy of the weights that holds this adapter, as it is now.

        In float32 this computes what the layers apart do, with fewer and larger products. In
        bfloat16 it does not: a weight takes a change only where that is more than half a unit in
        its last place, and most changes of a young adapter are smaller. A second call updates the
        copy where it lies in memory; `unmerge` frees it.
        """
        for stack in self._stacks:
            stack.refresh()
            stack.merge(self._entries[arm] - 1)

    def unmerge(self) -> None:
        """Compute with base and adapters apart again."""
        for stack in self._stacks:
            stack.unmerge()

    def slots(self, count: int) -> Slots:
        """Adapters of a batch of fixed shape, whose rows come and go."""
        return Slots(self, self._stacks, self._entries, count, self._base.device)

    @contextmanager
    def _exchanged(self, adapted: bool) -> Iterator[None]:
        try:
            for parent, name, layer, stacked in self._places:
                setattr(parent, name, stacked if adapted else layer.get_base_layer())
            if adapted and self._packed_head is not None:
                self._base.lm_head = self._packed_head
            yield
        finally:
            self._base.lm_head = self._head
            for parent, name, layer, _ in self._places:
                setattr(parent, name, layer)
            for stack in self._stacks:
                stack.release()


class Slots:
    """The adapter of each slot of a batch with fixed shape; tensors keep their addresses.

    Args:
        lora: the adapters.
        stacks: of the same.
        entries: adapter name to its place, from 1; None to 0.
        count: slots.
        device: of the model.
    """

    def __init__(
        self,
        lora: MultiLora,
        stacks: Sequence[_Stack],
        entries: dict[str | None, int],
        count: int,
        device: torch.device,
    ) -> None:
        self._lora = lora
        self._stacks = stacks
        self._entries = entries
        arms = len(entries) - 1
        self._own = torch.zeros(count, arms, dtype=torch.bool, device=device)
        rows = torch.zeros(count, dtype=torch.long, device=device)
        self._choice = _Choice(self._own, rows, None)
        # Stacks of as many ranks share a mask.
        self._masks = {(s.ranks, s.dtype): s.own_ranks(self._own) for s in stacks}
        self._of = {(s.ranks, s.dtype): s for s in stacks}

    def assign(self, arms: Sequence[str | None]) -> None:
        """Give each slot an adapter, or none."""
        entries = torch.tensor([self._entries[arm] for arm in arms], device=self._own.device)
        every = torch.arange(1, len(self._entries), device=self._own.device)
        self._own.copy_(entries[:, None] == every)
        for key, mask in self._masks.items():
            mask.copy_(self._of[key].own_ranks(self._own))

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """Let the model run batches of all slots."""
        with self._lora._exchanged(True):
            for stack in self._stacks:
                stack.choose(self._choice, self._masks[stack.ranks, stack.dtype])
            yield


def _grouped(names: Iterable[str]) -> list[tuple[str, ...]]:
    """The names that share an input together, every other alone."""
    left = list(names)
    groups = []
    for siblings in _SIBLINGS:
        together = tuple(name for name in siblings if name in left)
        if together:
            groups.append(together)
    return groups + [(name,) for name in left if not any(name in group for group in groups)]


def _plain(layer: LoraLinear) -> nn.Linear | EightBitLinear:
    base = layer.get_base_layer()
    if not isinstance(base, (nn.Linear, EightBitLinear)) or layer.lora_variant:
        raise ModelError(
            "An adapter is not a plain LoRA of linear layers, so it cannot share a base with "
            "others; train it as one."
        )
    return base


def _side_by_side(weights: Sequence[Tensor]) -> Tensor:
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
