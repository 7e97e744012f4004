"""Batched autoregressive decoding in which rows join and leave between steps.

Questions in the app, evaluation, checkpoint selection and GRPO rollouts all run through it. Rows
join and leave between steps (continuous batching, Orca, Yu et al., OSDI 2022); rows of one prompt
share its reading and, on the eager path, its keys and values.

There are two paths with one interface. The eager path runs the library's own layers, one step at
a time. On CUDA the captured path (`rarl.generation.captured`) replays a whole step as one graph.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import Qwen2VLForConditionalGeneration

from rarl.generation.attention import use_group_attention
from rarl.generation.cache import GroupCache, RowCache
from rarl.generation.captured import CannotCaptureError, StaticDecoder
from rarl.generation.multi_lora import MultiLora
from rarl.generation.sampling import Draw
from rarl.models.loader import LARGE

_LOG = logging.getLogger(__name__)

# A small model's step over fewer rows costs more on several threads, which wait for one another
# and for other work on the machine, than on one.
_WORTH_SHARING = 48


@dataclass(frozen=True, slots=True)
class Prompt:
    """Prompts that rows share: tokens, positions and image features.

    Attributes:
        ids: (prompts, tokens), padded on the right.
        mask: (prompts, tokens), 0 where padded.
        kinds: (prompts, tokens), 1 on image tokens (`mm_token_type_ids`).
        positions: (3, prompts, tokens), time, height and width (M-RoPE).
        features: of all prompts' images in order, (image tokens, width); None without images.
    """

    ids: Tensor
    mask: Tensor
    kinds: Tensor
    positions: Tensor
    features: Tensor | None


class Rows(Protocol):
    """Rows that are being decoded, on either path."""

    def running(self) -> AbstractContextManager[None]:
        """A context in which `step` may be called, with the rows' adapters in place."""
        ...

    def step(self) -> list[list[int]]:
        """Write one token in every row, or a few; one list of tokens per step."""
        ...

    def advance(self) -> object:
        """Write one token in every row without waiting for the device."""
        ...

    def take(self, rows: Sequence[int]) -> None:
        """Keep these rows alone, in ascending order."""
        ...

    def join(self, other: Batch) -> None:
        """Append the rows of a batch that was just read; it is of no use afterwards."""
        ...

    def close(self) -> None:
        """Give back what the decoder lent; the rows are of no use afterwards."""
        ...


class Decoder:
    """Reads prompts and decodes rows from them with one model.

    Args:
        base: the model; its layers are exchanged for others while a batch runs.
        adapters: of the model; None where it has none.
        captured: whether steps are captured as a CUDA graph; None captures them on CUDA.

    Raises:
        ModelError: a layer attends to a sliding window.
    """

    def __init__(
        self,
        base: Qwen2VLForConditionalGeneration,
        adapters: MultiLora | None = None,
        captured: bool | None = None,
    ) -> None:
        use_group_attention(base)
        self.base = base
        self.adapters = adapters
        self._small = base.device.type == "cpu" and base.num_parameters() < LARGE
        if captured is None:
            captured = base.device.type == "cuda"
        self._static = StaticDecoder(base, adapters) if captured else None

    def read(
        self,
        prompt: Prompt,
        counts: Sequence[int],
        arms: Sequence[str | None],
        draw: Draw,
        limit: int,
    ) -> Batch:
        """Read prompts, and write the first token of each of their rows.

        Args:
            prompt: what is read.
            counts: rows of each prompt, which stand together.
            arms: the adapter of each prompt's rows; None for the base.
            draw: of all rows.
            limit: tokens that a row may write.
        """
        lengths: list[int] = prompt.mask.sum(1).tolist()
        cache = RowCache(lengths, self.base.device)
        with self._adapted(arms):
            embedded = self.base.get_input_embeddings()(prompt.ids)
            if prompt.features is not None:
                embedded[prompt.kinds.bool()] = prompt.features.to(embedded.dtype)
            # What pads a prompt on the right is seen by nothing: causality is mask enough.
            if self._static is not None:
                hidden = self._static.read(embedded, prompt.positions, cache)
            else:
                hidden = self._hidden(embedded, prompt.positions, None, cache)
            last = hidden[torch.arange(len(lengths)), torch.tensor(lengths) - 1]
            of = [row for row, count in enumerate(counts) for _ in range(count)]
            scores = self.base.lm_head(last).float()[of]
        positions = (prompt.positions.amax((0, 2)) + 1)[of]
        kept: RowCache | GroupCache = cache
        if max(counts) > 1 and self._static is None:
            kept = GroupCache(cache, counts, limit)
        else:
            cache.take(of)
            if self._static is None:
                cache.reserve(max(lengths) + limit)
        return Batch(self, kept, positions, [arms[row] for row in of], draw, draw(scores), limit)

    def start(self, batch: Batch) -> Rows:
        """The path on which a batch that was just read goes on."""
        if self._static is None:
            return batch
        try:
            return self._static.start(batch)
        except CannotCaptureError as error:
            _LOG.warning("Decoding runs without a CUDA graph: %s", error)
            self._static = None
            batch.make_eager()
            return batch

    def spare_memory(self) -> None:
        """Free what is kept for later batches."""
        if self._static is not None:
            self._static.forget()

    def _adapted(self, arms: Sequence[str | None]) -> AbstractContextManager[None]:
        return nullcontext() if self.adapters is None else self.adapters.rows(arms)

    def _threads(self, rows: int) -> AbstractContextManager[None]:
        return _one_thread() if self._small and rows < _WORTH_SHARING else nullcontext()

    def _hidden(
        self,
        embedded: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        cache: RowCache | GroupCache,
    ) -> Tensor:
        """(rows, tokens, width) through the library's layers."""
        rows = isinstance(cache, RowCache)
        hidden = self.base.model.language_model(
            inputs_embeds=embedded,
            position_ids=positions,
            # Made here, since the library's own would take the cache for one of its kind.
            attention_mask={"full_attention": mask},
            past_key_values=cache if rows else None,
            use_cache=rows,
            **({} if rows else {"groups": cache}),
        ).last_hidden_state
        assert isinstance(hidden, Tensor)
        return hidden


class Batch:
    """Rows on the eager path; one step at a time.

    Args:
        decoder: of the rows.
        cache: their keys and values, the prompts read.
        positions: (rows,) of the next token.
        arms: the adapter of each row.
        draw: of all rows.
        tokens: (rows,), the first token of each.
        limit: tokens that a row may write.
    """

    def __init__(
        self,
        decoder: Decoder,
        cache: RowCache | GroupCache,
        positions: Tensor,
        arms: Sequence[str | None],
        draw: Draw,
        tokens: Tensor,
        limit: int,
    ) -> None:
        self._decoder = decoder
        self.cache = cache
        self.positions = positions
        self.arms = list(arms)
        self.draw = draw
        self.newest = tokens
        self.limit = limit

    @property
    def tokens(self) -> list[int]:
        """The newest token of each row."""
        tokens: list[int] = self.newest.tolist()
        return tokens

    @contextmanager
    def running(self) -> Iterator[None]:
        """See `Rows.running`."""
        with self._decoder._adapted(self.arms):
            yield

    def advance(self) -> None:
        """Write a token in every row."""
        decoder = self._decoder
        with decoder._threads(len(self.arms)):
            embedded = decoder.base.get_input_embeddings()(self.newest[:, None])
            positions = self.positions[None, :, None].expand(3, -1, -1)
            mask = self.cache.mask() if isinstance(self.cache, RowCache) else None
            hidden = decoder._hidden(embedded, positions, mask, self.cache)
            # Counted only now: a step that failed can be taken again.
            tokens = self.draw(decoder.base.lm_head(hidden[:, -1]).float())
        self.cache.advance()
        self.positions = self.positions + 1
        self.newest = tokens

    def step(self) -> list[list[int]]:
        """See `Rows.step`."""
        self.advance()
        return [self.tokens]

    def take(self, rows: Sequence[int]) -> None:
        """See `Rows.take`."""
        self.cache.take(rows)
        self.draw.take(rows)
        self.positions = self.positions[list(rows)]
        self.newest = self.newest[list(rows)]
        self.arms = [self.arms[row] for row in rows]

    def join(self, other: Batch) -> None:
        """See `Rows.join`; prompts that were shared are copied to each row."""
        own, theirs = self._whole_rows(), other._whole_rows()
        own.join(theirs)
        self.cache = own
        self.positions = torch.cat([self.positions, other.positions])
        self.draw.join(other.draw)
        self.newest = torch.cat([self.newest, other.newest])
        self.arms += other.arms
        self.limit = max(self.limit, other.limit)

    def close(self) -> None:
        """See `Rows.close`; nothing was lent."""

    def make_eager(self) -> None:
        """Make the room that a batch read for the captured path does without."""
        assert isinstance(self.cache, RowCache)
        self.cache.reserve(max(self.cache.lengths) + self.limit)

    def _whole_rows(self) -> RowCache:
        return self.cache if isinstance(self.cache, RowCache) else self.cache.rows()


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
