"""GRPO scoring passes with each prompt and image computed once per group.

The G completions of a question share its prompt and its image. Here the prompt stands once in a
packed sequence and its completions behind it, each attending to the prompt and to itself: the same
log-probabilities, and by autograd the same gradients, from far fewer tokens, without padding. The
library's layers run unchanged, adapters and activation checkpointing included; only their
attention is told which tokens belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import Qwen2VLForConditionalGeneration

from rarl.errors import ModelError
from rarl.generation.decoder import Prompt
from rarl.generation.image_features import PatchFeatures, as_encoder_outputs


@dataclass(frozen=True, slots=True)
class Prompts:
    """The distinct prompts of a batch whose rows stand group by group.

    Attributes:
        ids: one (tokens,) per prompt, image tokens included, without padding.
        positions: one (3, tokens) per prompt: time, height and width (M-RoPE).
        images: what the model takes images as, `mm_encoder_outputs` or `pixel_values` with
            `image_grid_thw`, each distinct prompt's once; empty where there is none.
        features: of the same images in order, where the tower ran apart; empty otherwise.
        kinds: one (tokens,) per prompt, 1 on image tokens.
        sizes: rows of each prompt.
    """

    ids: tuple[Tensor, ...]
    positions: tuple[Tensor, ...]
    images: dict[str, Any]
    features: tuple[Tensor, ...]
    kinds: tuple[Tensor, ...]
    sizes: tuple[int, ...]

    def padded(self) -> Prompt:
        """The same as a batch that the decoder reads."""
        longest = max(len(ids) for ids in self.ids)

        def right(rows: Sequence[Tensor]) -> Tensor:
            return torch.stack([pad(row, (0, longest - row.shape[-1])) for row in rows])

        return Prompt(
            ids=right(self.ids),
            mask=right([torch.ones_like(ids) for ids in self.ids]),
            kinds=right(self.kinds),
            positions=right(self.positions).transpose(0, 1),
            features=torch.cat(self.features) if self.features else None,
        )


def gather_prompts(
    base: Qwen2VLForConditionalGeneration,
    ids: Tensor,
    mask: Tensor,
    kinds: Tensor | None,
    pixels: Tensor | None,
    grids: Tensor | None,
    counts: Sequence[int] | None,
    features: PatchFeatures | None,
) -> Prompts:
    """Find the distinct prompts of a batch and the images that belong to them.

    Args:
        base: the model.
        ids: (rows, tokens), padded on the left.
        mask: (rows, tokens), 0 where padded.
        kinds: (rows, tokens), 1 on image tokens (`mm_token_type_ids`); None without images.
        pixels: (all patches, patch values) of all rows' images in order.
        grids: (all images, 3).
        counts: images of each row.
        features: the tower, or None where it must run inside the model's own forward pass
            because its weights are spread over processes.

    Raises:
        ModelError: there are images, but not what their positions are computed from.
    """
    rows = len(ids)
    counts = [0] * rows if counts is None else list(counts)
    patches: list[list[Tensor]] = [[] for _ in range(rows)]
    shapes: list[Tensor] = []
    if pixels is not None:
        if grids is None or kinds is None:
            raise ModelError("Images came without grid or mm_token_type_ids: no right positions.")
        each = iter(pixels.split(grids.prod(-1).tolist()))
        patches = [[next(each) for _ in range(count)] for count in counts]
        shapes = list(grids.split(list(counts)))

    def same(first: int, other: int) -> bool:
        if not (torch.equal(ids[first], ids[other]) and torch.equal(mask[first], mask[other])):
            return False
        if pixels is None:
            return True
        return torch.equal(shapes[first], shapes[other]) and all(
            torch.equal(a, b) for a, b in zip(patches[first], patches[other], strict=True)
        )

    firsts: list[int] = []
    for row in range(rows):
        if not firsts or not same(firsts[-1], row):
            firsts.append(row)
    sizes = tuple(b - a for a, b in zip(firsts, [*firsts[1:], rows], strict=True))
    kept = mask[firsts].bool()
    images: dict[str, Any] = {}
    encoded: list[Tensor] = []
    if pixels is None:
        positions = (kept.long().cumsum(1) - 1).expand(3, -1, -1)
    else:
        assert kinds is not None
        grid = torch.cat([shapes[row] for row in firsts])
        positions, _ = base.model.get_rope_index(
            ids[firsts], kinds[firsts], image_grid_thw=grid, attention_mask=mask[firsts]
        )
        own = [patch for row in firsts for patch in patches[row]]
        if features is None:
            images = {"pixel_values": torch.cat(own), "image_grid_thw": grid}
        else:
            encoded = features(own, grid)
            images = {"mm_encoder_outputs": as_encoder_outputs(encoded)}
    marks = torch.zeros_like(ids) if kinds is None else kinds
    return Prompts(
        ids=tuple(ids[row][keep] for row, keep in zip(firsts, kept, strict=True)),
        positions=tuple(positions[:, i][:, keep] for i, keep in enumerate(kept)),
        images=images,
        features=tuple(encoded),
        kinds=tuple(marks[row][keep] for row, keep in zip(firsts, kept, strict=True)),
        sizes=sizes,
    )


@dataclass(frozen=True, slots=True)
class Packed:
    """Prompts and their completions as one sequence, for `model(**inputs)`.

    A prompt's last token stands at the head of each of its completions, since it predicts another
    first token in each; the prompt itself goes without it.

    Attributes:
        ids: (1, tokens): for each prompt the prompt, then its completions one after the other.
        positions: (3, 1, tokens).
        targets: (1, tokens), the token that follows, -100 in prompts.
        attention: which tokens see each other.
        rows: (scored tokens,), row of each token of a completion, in packed order.
        columns: (scored tokens,), its place in its completion.
    """

    ids: Tensor
    positions: Tensor
    targets: Tensor
    attention: GroupAttention
    rows: Tensor
    columns: Tensor

    def unpack(self, values: Tensor, shape: tuple[int, int]) -> Tensor:
        """Values of packed tokens (1, tokens) as (rows, columns), 0 where nothing was scored."""
        scored = values[0][self.targets[0] != -100]
        return values.new_zeros(shape).index_put((self.rows, self.columns), scored)


def pack(prompts: Prompts, completions: Tensor, mask: Tensor) -> Packed:
    """Lay prompts and completions one behind the other.

    Args:
        prompts: with as many rows as there are completions.
        completions: (rows, tokens), padded on the right.
        mask: (rows, tokens), 0 where padded; a row may be all 0.
    """
    lengths = mask.sum(1).tolist()
    ids: list[Tensor] = []
    positions: list[Tensor] = []
    targets: list[Tensor] = []
    row = 0
    for prompt, at, size in zip(prompts.ids, prompts.positions, prompts.sizes, strict=True):
        ids.append(prompt[:-1])
        positions.append(at[:, :-1])
        targets.append(torch.full_like(prompt[:-1], -100))
        for length in lengths[row : row + size]:
            if length:
                written = completions[row, :length]
                steps = torch.arange(length, device=at.device)
                ids.append(torch.cat([prompt[-1:], written[:-1]]))
                positions.append(at[:, -1:] + steps)
                targets.append(written)
            row += 1
    counts = torch.tensor(lengths, device=completions.device)
    columns = torch.cat([torch.arange(n, device=completions.device) for n in lengths])
    place, groups = 0, []
    for prompt, size in zip(prompts.ids, prompts.sizes, strict=True):
        groups.append((len(prompt) - 1, tuple(n for n in lengths[place : place + size] if n)))
        place += size
    return Packed(
        ids=torch.cat(ids).unsqueeze(0),
        positions=torch.cat(positions, dim=1).unsqueeze(1),
        targets=torch.cat(targets).unsqueeze(0),
        attention=GroupAttention(tuple(groups)),
        rows=torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts),
        columns=columns,
    )


@dataclass(frozen=True, slots=True)
class GroupAttention:
    """Causal attention in which completions see their prompt and themselves.

    Attributes:
        groups: for each prompt its tokens and those of its completions.
    """

    groups: tuple[tuple[int, tuple[int, ...]], ...]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """See `rarl.generation.attention.Attention`; one row of packed tokens."""
        query, key, value = query[0], key[0], value[0]
        mixed, start = [], 0
        for prefix, lengths in self.groups:
            middle = start + prefix
            end = middle + sum(lengths)
            if prefix:
                mixed.append(
                    scaled_dot_product_attention(
                        query[None, :, start:middle],
                        _repeated(key[:, start:middle], query),
                        _repeated(value[:, start:middle], query),
                        is_causal=True,
                        scale=scaling,
                    )[0].transpose(0, 1)
                )
            if lengths:
                asked, keys, values = (x[:, start:end] for x in (query, key, value))
                mixed.append(_completions(asked, keys, values, prefix, lengths, scaling))
            start = end
        return torch.cat(mixed)[None]


def _completions(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prefix: int,
    lengths: tuple[int, ...],
    scaling: float,
) -> Tensor:
    """Attention of one group's completions, (completion tokens, heads, head width)."""
    count, longest = len(lengths), max(lengths)
    heads, width = query.shape[0], query.shape[2]
    stores = key.shape[0]
    shared = heads // stores

    def rows(packed: Tensor) -> Tensor:
        """(heads, completion tokens, width) to (completions, heads, longest, width)."""
        each = packed.split(list(lengths), dim=1)
        return torch.stack([pad(x, (0, 0, 0, longest - x.shape[1])) for x in each])

    def with_prefix(packed: Tensor) -> Tensor:
        prompt = packed[:, :prefix].expand(count, -1, -1, -1)
        return torch.cat([prompt, rows(packed[:, prefix:])], dim=2)

    # Heads that share keys become further queries on them, so that no key is ever copied.
    asked = rows(query[:, prefix:]).reshape(count, stores, shared * longest, width)
    # What pads a shorter completion comes after it, so being causal hides it.
    seen = torch.ones(longest, prefix + longest, dtype=torch.bool, device=query.device)
    mixed = scaled_dot_product_attention(
        asked,
        with_prefix(key),
        with_prefix(value),
        attn_mask=seen.tril(prefix).repeat(shared, 1),
        scale=scaling,
    )
    mixed = mixed.view(count, heads, longest, width).transpose(1, 2)
    return torch.cat([row[:length] for row, length in zip(mixed, lengths, strict=True)])


def _repeated(packed: Tensor, query: Tensor) -> Tensor:
    """Keys or values (key-value heads, tokens, width) for every head, with a batch of one."""
    return packed.repeat_interleave(query.shape[0] // packed.shape[0], dim=0).unsqueeze(0)
