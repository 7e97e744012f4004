"""Rows that write side by side, each from a prompt of its own; rows join and leave between steps.

This is the decoding half of the library's `generate`, without its demand that a batch begins and
ends together. The model's own layers run; a row's keys and values lie from place 0 on, and a mask
hides what lies beyond its length. Continuous batching follows Orca (Yu et al., OSDI 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import Qwen2VLForConditionalGeneration

from rarl.errors import ModelError
from rarl.inference.rows import Sampler
from rarl.models.loading import LARGE

# A small model's step over fewer rows costs more on several threads, which wait for one another
# and for whoever reads the answers, than on one.
_WORTH_SHARING = 48
# Room is made for so many tokens at a time, so that rows that join seldom make everything move.
_BLOCK = 64


class Cache:
    """Keys and values of rows that differ in length, in the place of the library's cache.

    Args:
        lengths: tokens of each row's prompt.
        device: where the model lies.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self._lengths = list(lengths)
        self._places = torch.tensor(self._lengths, device=device)
        # For each layer keys and values: rows x heads x room x width.
        self._layers: list[tuple[Tensor, Tensor]] = []

    def mask(self) -> Tensor | None:
        """What each row's next token sees, (rows, 1, 1, tokens); None where that is everything."""
        longest = max(self._lengths)
        if min(self._lengths) == longest:
            return None
        every = torch.arange(longest + 1, device=self._places.device)
        return every <= self._places[:, None, None, None]

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Take a layer's part of the prompts, or of each row's next token; called by the model.

        Args:
            keys: (rows, heads, tokens, width); prompts are padded on the right.
            values: as `keys`.
            layer: index of the layer.

        Returns:
            Keys and values that the layer attends to.
        """
        if layer == len(self._layers):
            self._layers.append((keys, values))
            return keys, values
        places = self._places[:, None, None, None].expand_as(keys)
        held_keys, held_values = self._layers[layer]
        held_keys.scatter_(2, places, keys)
        held_values.scatter_(2, places, values)
        seen = max(self._lengths) + 1
        return held_keys[:, :, :seen], held_values[:, :, :seen]

    def advance(self) -> None:
        """Count the token that every layer has taken."""
        self._lengths = [length + 1 for length in self._lengths]
        self._places += 1

    def take(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone; one may be taken several times.

        Where there is no room for it, everything stays as it was.
        """
        if list(rows) == list(range(len(self._lengths))):
            return  # a copy would take as much room again
        index = torch.tensor(rows, device=self._places.device)
        self._layers = [(keys[index], values[index]) for keys, values in self._layers]
        self._lengths = [self._lengths[row] for row in rows]
        self._places = self._places[index]

    def reserve(self, tokens: int) -> None:
        """Have room for so many tokens in each row."""
        room = self._layers[0][0].shape[2]
        more = -(-tokens // _BLOCK) * _BLOCK - room
        if more > 0:
            self._layers = [
                (pad(keys, (0, 0, 0, more)), pad(values, (0, 0, 0, more)))
                for keys, values in self._layers
            ]

    def join(self, other: Cache) -> None:
        """Take in another's rows behind one's own; without room for it, they stay as they were."""
        room = max(cache._layers[0][0].shape[2] for cache in (self, other))
        for cache in (self, other):
            cache.reserve(room)
        self._layers = [
            (torch.cat([keys, other_keys]), torch.cat([values, other_values]))
            for (keys, values), (other_keys, other_values) in zip(
                self._layers, other._layers, strict=True
            )
        ]
        self._lengths += other._lengths
        self._places = torch.cat([self._places, other._places])


@dataclass(frozen=True, slots=True)
class Prompt:
    """What rows read before they write.

    Attributes:
        ids: (rows, tokens), padded on the right.
        mask: (rows, tokens), 0 where padded.
        kinds: (rows, tokens), 1 on image tokens; without it positions would silently be
            one-dimensional.
        grids: (pictures of all rows, 3), patches in time, down and across.
        features: of all rows' pictures, (image tokens, width).
    """

    ids: Tensor
    mask: Tensor
    kinds: Tensor
    grids: Tensor
    features: Tensor


class Writing:
    """Rows that write side by side; a step adds a token to each.

    Whoever calls has the rows' adapters in place and runs in inference mode.

    Args:
        base: the model.
        forbidden: tokens that are never written.
        prompt: what the rows read; they have written their first token afterwards.
        samplers: for each row of the prompt those that draw from it, each a row from then on.
        room: tokens that a row may come to hold, prompt and answer.
    """

    def __init__(
        self,
        base: Qwen2VLForConditionalGeneration,
        forbidden: Sequence[int],
        prompt: Prompt,
        samplers: Sequence[Sequence[Sampler]],
        room: int,
    ) -> None:
        self._base = base
        self._small = base.device.type == "cpu" and base.num_parameters() < LARGE
        self._forbidden = torch.tensor(forbidden, device=base.device)
        self._samplers = [sampler for each in samplers for sampler in each]
        lengths: list[int] = prompt.mask.sum(1).tolist()
        self._cache = Cache(lengths, base.device)
        embedded = base.get_input_embeddings()(prompt.ids)
        embedded[prompt.kinds.bool()] = prompt.features.to(embedded.dtype)
        positions, _ = base.model.get_rope_index(
            prompt.ids, prompt.kinds, image_grid_thw=prompt.grids, attention_mask=prompt.mask
        )
        # Padded on the right, what is padded is seen by nothing, and causality is mask enough.
        hidden = self._read(embedded, positions, None)
        last = hidden[torch.arange(len(lengths)), torch.tensor(lengths) - 1]
        shared = [row for row, each in enumerate(samplers) for _ in each]
        self._positions = (positions.amax((0, 2)) + 1)[shared]
        self._cache.take(shared)
        self._cache.reserve(room)
        self._tokens = self._drawn(last[shared])

    @property
    def tokens(self) -> list[int]:
        """The newest token of each row."""
        return self._tokens

    def step(self) -> None:
        """Write a token in every row."""
        alone = self._small and len(self._tokens) < _WORTH_SHARING
        with _one_thread() if alone else nullcontext():
            newest = torch.tensor(self._tokens, device=self._base.device)
            embedded = self._base.get_input_embeddings()(newest[:, None])
            positions = self._positions[None, :, None].expand(3, -1, -1)
            hidden = self._read(embedded, positions, self._cache.mask())
            # Counted only now: a step that failed can be taken again.
            tokens = self._drawn(hidden[:, -1])
        self._cache.advance()
        self._positions = self._positions + 1
        self._tokens = tokens

    def take(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        self._cache.take(rows)
        self._positions = self._positions[list(rows)]
        self._samplers = [self._samplers[row] for row in rows]
        self._tokens = [self._tokens[row] for row in rows]

    def join(self, other: Writing) -> None:
        """Take in another's rows behind one's own; the other is of no use afterwards."""
        self._cache.join(other._cache)
        self._positions = torch.cat([self._positions, other._positions])
        self._samplers += other._samplers
        self._tokens += other._tokens

    def _read(self, embedded: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """(rows, tokens, width) through the layers."""
        hidden = self._base.model.language_model(
            inputs_embeds=embedded,
            position_ids=positions,
            # Made here, since the library's own would take the cache for one of its kind.
            attention_mask={"full_attention": mask},
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        assert isinstance(hidden, Tensor)
        return hidden

    def _drawn(self, hidden: Tensor) -> list[int]:
        """The next token of each row, from its newest state (rows, width)."""
        scores: Tensor = self._base.lm_head(hidden).float()
        scores.index_fill_(-1, self._forbidden, -torch.inf)
        tokens: list[int] = scores.argmax(-1).tolist()
        for row, sampler in enumerate(self._samplers):
            if sampler.random:
                tokens[row] = sampler.draw(scores[row])
        return tokens


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_attention(base: Qwen2VLForConditionalGeneration) -> None:
    """Raise `ModelError` where a layer attends to a sliding window, which is not known here."""
    if "sliding_attention" in base.config.get_text_config().layer_types:
        raise ModelError("This model attends to a sliding window, which cannot be used here.")
