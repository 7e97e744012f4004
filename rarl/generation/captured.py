"""Decoding with fixed shapes, captured once as a CUDA graph and replayed.

A step of the 2.2 B shape launches some 1,700 small kernels through the library's layers and their
adapters, and launching takes a hundred times as long as reading the weights once. Here the step is
written over the model's own modules with a key-value cache of fixed shape: `index_copy_` at a
tensor of places, attention over the whole length under a mask, no wait for the host. Cache and
graph come in buckets of rows and of length; rows join and leave by taking and freeing slots.
The layers compute what the library's do, to rounding.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import Qwen2VLForConditionalGeneration

from rarl.generation.cache import RowCache
from rarl.generation.multi_lora import MultiLora, Slots
from rarl.generation.sampling import Draw

_LOG = logging.getLogger(__name__)

# Rows of a bucket; beyond the last, multiples of it. Few, since every bucket is captured once.
_ROWS = (4, 16, 32)
# A bucket's length is this many tokens, or twice as many, or four times, and so on.
_LENGTH = 256
# Buckets whose graph and cache are kept, beside the one in use.
_KEPT = 4
# Steps between two looks of the host at what was written. Stop and a new question wait as long.
STRIDE = 4


class ReadRows(Protocol):
    """Rows whose prompts were just read, with their first token (see `rarl.generation.decoder`)."""

    cache: Any
    positions: Tensor
    arms: list[str | None]
    draw: Draw
    newest: Tensor
    limit: int


class CannotCaptureError(Exception):
    """A step cannot be captured here; `str(error)` is the reason."""


def bucket(rows: int, tokens: int) -> tuple[int, int]:
    """Rows and length of the smallest bucket that holds these.

    >>> bucket(3, 300), bucket(33, 1030)
    ((4, 512), (64, 2048))
    """
    fitting = next((size for size in _ROWS if size >= rows), -(-rows // _ROWS[-1]) * _ROWS[-1])
    length = _LENGTH
    while length < tokens:
        length *= 2
    return fitting, length


class StaticDecoder:
    """Buckets of one model, and its layers without the library's Python around them.

    Args:
        base: the model.
        adapters: of the model, or None.

    Raises:
        CannotCaptureError: a layer is not one that this code knows.
    """

    def __init__(self, base: Qwen2VLForConditionalGeneration, adapters: MultiLora | None) -> None:
        self.base = base
        self.adapters = adapters
        self._kept: OrderedDict[tuple[int, int], Bucket] = OrderedDict()
        self._pool: Any = None

    def read(self, embedded: Tensor, positions: Tensor, cache: RowCache) -> Tensor:
        """Prompts through the layers.

        Args:
            embedded: (prompts, tokens, width), padded on the right.
            positions: (3, prompts, tokens).
            cache: empty; it gets the prompts' keys and values.

        Returns:
            (prompts, tokens, width).
        """

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            key, value = (x.transpose(1, 2) for x in (key, value))
            cache.update(key, value, layer)
            return F.scaled_dot_product_attention(
                query.transpose(1, 2), key, value, is_causal=True, enable_gqa=True
            ).transpose(1, 2)

        return layers_of(self.base, embedded, positions, attend)

    def start(self, batch: ReadRows) -> StaticBatch:
        """Move a batch that was just read into a bucket.

        Raises:
            CannotCaptureError: the graph cannot be captured here.
        """
        return StaticBatch(self, batch)

    def lend(self, rows: int, tokens: int, required: bool = True) -> Bucket:
        """A bucket for so many rows of so many tokens, which no other batch uses.

        Args:
            rows: it holds at least so many.
            tokens: of the longest row.
            required: whether its step must be captured; otherwise it may run without a graph.

        Raises:
            CannotCaptureError: its step cannot be captured, but must be.
        """
        key = bucket(rows, tokens)
        lent = self._kept.pop(key, None)
        if lent is None:
            while len(self._kept) >= _KEPT:
                self._kept.popitem(last=False)
            lent = Bucket(self.base, self.adapters, *key)
            if self.base.device.type == "cuda":
                if self._pool is None:
                    self._pool = torch.cuda.graph_pool_handle()
                try:
                    lent.capture(self._pool)
                except CannotCaptureError as error:
                    if required:
                        raise
                    _LOG.warning("A bucket of %d x %d runs without a graph: %s", *key, error)
        return lent

    def give_back(self, lent: Bucket) -> None:
        """Keep a bucket for the next batch of its size."""
        self._kept[lent.rows, lent.length] = lent

    def forget(self) -> None:
        """Free the memory of all buckets that are not in use."""
        self._kept.clear()


class Bucket:
    """A key-value cache of fixed shape, and the step over it.

    Args:
        base: the model.
        adapters: of the model, or None.
        rows: slots.
        length: tokens that a slot holds.
    """

    def __init__(
        self,
        base: Qwen2VLForConditionalGeneration,
        adapters: MultiLora | None,
        rows: int,
        length: int,
    ) -> None:
        config = base.config.get_text_config()
        attention = base.model.language_model.layers[0].self_attn
        self._base = base
        self._stores: int = config.num_key_value_heads
        self._width: int = attention.head_dim
        self.rows = rows
        self.length = length
        device = base.device
        weight: Any = base.get_input_embeddings().weight
        shape = (config.num_hidden_layers, rows, length, self._stores, self._width)
        # Zeros, since what a mask hides must still be a number.
        self.keys = torch.zeros(shape, dtype=weight.dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.tokens = torch.zeros(rows, dtype=torch.long, device=device)
        self.places = torch.zeros(rows, dtype=torch.long, device=device)
        self.positions = torch.zeros(rows, dtype=torch.long, device=device)
        self.scores = torch.zeros(rows, config.vocab_size, device=device)
        self._first = torch.arange(rows, device=device) * length
        self._every = torch.arange(length, device=device)
        self.slots: Slots | None = None if adapters is None else adapters.slots(rows)
        self._graph: torch.cuda.CUDAGraph | None = None

    def compute(self) -> None:
        """One step of all slots: `scores` of the next token, from `tokens` at `places`."""
        base = self._base
        at = self._first + self.places
        mask = torch.zeros(
            self.rows, 1, 1, self.length, dtype=self.keys.dtype, device=self.keys.device
        )
        mask.masked_fill_((self._every > self.places[:, None])[:, None, None], -torch.inf)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            for store, new in ((self.keys[layer], key), (self.values[layer], value)):
                store.view(-1, self._stores, self._width).index_copy_(0, at, new[:, 0])
            heads = query.shape[2]
            # Heads that share keys become further queries on them, so that no key is copied.
            asked = query[:, 0].view(self.rows, self._stores, heads // self._stores, self._width)
            mixed = F.scaled_dot_product_attention(
                asked,
                self.keys[layer].transpose(1, 2),
                self.values[layer].transpose(1, 2),
                attn_mask=mask,
            )
            return mixed.reshape(self.rows, 1, heads, self._width)

        embedded = base.get_input_embeddings()(self.tokens[:, None])
        positions = self.positions[None, :, None].expand(3, -1, -1)
        hidden = layers_of(base, embedded, positions, attend)
        self.scores.copy_(base.lm_head(hidden[:, 0]))

    def capture(self, pool: Any) -> None:
        """Capture the step as a CUDA graph.

        Raises:
            CannotCaptureError: it cannot be captured.
        """
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            # The one kernel that takes both the mask and heads laid out as they are here.
            kernels = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
            with self._chosen(), sdpa_kernel(kernels):
                with torch.cuda.stream(stream):
                    for _ in range(2):  # what libraries set up at a first call is not captured
                        self.compute()
                torch.cuda.current_stream().wait_stream(stream)
                graph = torch.cuda.CUDAGraph()
                # Other threads may use the device meanwhile.
                with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                    self.compute()
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, AttributeError, TypeError) as error:
            raise CannotCaptureError(str(error).splitlines()[0]) from error
        self._graph = graph

    def run(self) -> None:
        """Compute a step, by the graph where there is one."""
        if self._graph is None:
            self.compute()
        else:
            self._graph.replay()

    def running(self) -> AbstractContextManager[None]:
        """A context for `run`; a graph needs none."""
        return nullcontext() if self._graph is not None else self._chosen()

    def _chosen(self) -> AbstractContextManager[None]:
        return nullcontext() if self.slots is None else self.slots.chosen()


class StaticBatch:
    """Rows in the slots of a bucket.

    Args:
        decoder: lends the buckets.
        batch: rows whose prompts are read.

    Raises:
        CannotCaptureError: the step cannot be captured.
    """

    def __init__(self, decoder: StaticDecoder, batch: ReadRows) -> None:
        self._decoder = decoder
        self._arms: list[str | None] = []
        # Of each row its slot, the tokens that it holds, and the most it may come to hold.
        self._slots: list[int] = []
        self._held: list[int] = []
        self._most: list[int] = []
        self.draw = batch.draw
        self._bucket = decoder.lend(len(batch.arms), self._needed(batch))
        self._place(batch)

    @contextmanager
    def running(self) -> Iterator[None]:
        """See `rarl.generation.decoder.Rows`."""
        with self._bucket.running():
            yield

    def step(self) -> list[list[int]]:
        """See `rarl.generation.decoder.Rows`."""
        return self.steps(1 if self.draw.synchronises else STRIDE)

    def steps(self, count: int) -> list[list[int]]:
        """Write so many tokens in every row; the host waits for the device once, at the end."""
        written = torch.stack([self.advance() for _ in range(count)])
        tokens: list[list[int]] = written.tolist()
        return tokens

    def advance(self) -> Tensor:
        """Write one token in every row, and return them (rows,) without waiting for them."""
        lent = self._bucket
        lent.run()
        whole = self._slots == list(range(lent.rows))
        tokens = self.draw(lent.scores if whole else lent.scores[self._index])
        if whole:
            lent.tokens.copy_(tokens)
        else:
            lent.tokens.index_copy_(0, self._index, tokens)
        # A row that has ended and not yet left stays within its slot.
        lent.places.add_(1).clamp_(max=lent.length - 1)
        lent.positions.add_(1)
        self._held = [length + 1 for length in self._held]
        return tokens

    def take(self, rows: Sequence[int]) -> None:
        """See `rarl.generation.decoder.Rows`; nothing is moved unless a smaller bucket will do."""
        if list(rows) == list(range(len(self._slots))):
            return
        self.draw.take(rows)
        self._keep(rows)
        smaller, _ = bucket(len(rows), max(self._most))
        if 4 * smaller <= self._bucket.rows:
            self._move(len(rows), max(self._most))
        else:
            self._settle()

    def join(self, other: ReadRows) -> None:
        """See `rarl.generation.decoder.Rows`."""
        rows = len(self._slots) + len(other.arms)
        needed = max(*self._most, self._needed(other))
        if rows > self._bucket.rows or needed > self._bucket.length:
            self._move(rows, needed)
        self._place(other)
        self.draw.join(other.draw)

    def close(self) -> None:
        """Give the bucket back; the rows are of no use afterwards."""
        self._decoder.give_back(self._bucket)

    @staticmethod
    def _needed(batch: ReadRows) -> int:
        """Tokens that the longest row may come to hold, looked at every few steps."""
        assert isinstance(batch.cache, RowCache)
        return max(batch.cache.lengths) + batch.limit + STRIDE

    def _keep(self, rows: Sequence[int]) -> None:
        self._arms = [self._arms[row] for row in rows]
        self._slots = [self._slots[row] for row in rows]
        self._held = [self._held[row] for row in rows]
        self._most = [self._most[row] for row in rows]

    def _place(self, batch: ReadRows) -> None:
        """Copy a batch's rows into free slots."""
        lent = self._bucket
        assert isinstance(batch.cache, RowCache)
        free = [slot for slot in range(lent.rows) if slot not in set(self._slots)]
        slots = free[: len(batch.arms)]
        index = torch.tensor(slots, device=lent.tokens.device)
        longest = max(batch.cache.lengths)
        for layer, (keys, values) in enumerate(batch.cache.layers):
            for store, new in ((lent.keys[layer], keys), (lent.values[layer], values)):
                store[index, :longest] = new[:, :, :longest].transpose(1, 2)
        lent.tokens[index] = batch.newest
        lent.places[index] = torch.tensor(batch.cache.lengths, device=index.device)
        lent.positions[index] = batch.positions
        self._arms += batch.arms
        self._slots += slots
        self._held += list(batch.cache.lengths)
        self._most += [length + batch.limit + STRIDE for length in batch.cache.lengths]
        self._settle()

    def _move(self, rows: int, tokens: int) -> None:
        """Go on in another bucket."""
        before = self._bucket
        after = self._decoder.lend(rows, tokens, required=False)
        length = min(before.length, after.length)
        count = len(self._slots)
        index = torch.tensor(self._slots, device=before.tokens.device)
        after.keys[:, :count, :length] = before.keys[:, index, :length]
        after.values[:, :count, :length] = before.values[:, index, :length]
        for name in ("tokens", "places", "positions"):
            getattr(after, name)[:count] = getattr(before, name)[index]
        self._slots = list(range(count))
        self._bucket = after
        self._decoder.give_back(before)
        self._settle()

    def _settle(self) -> None:
        """Tell the bucket which slot has which adapter; free slots run as the base."""
        lent = self._bucket
        self._index = torch.tensor(self._slots, device=lent.tokens.device)
        if lent.slots is not None:
            arms: list[str | None] = [None] * lent.rows
            for slot, arm in zip(self._slots, self._arms, strict=True):
                arms[slot] = arm
            lent.slots.assign(arms)


def layers_of(
    base: Qwen2VLForConditionalGeneration,
    hidden: Tensor,
    positions: Tensor,
    attend: Any,
) -> Tensor:
    """The language model's layers over their own modules, without the library's Python.

    Args:
        base: the model.
        hidden: (rows, tokens, width), embedded.
        positions: (3, rows, tokens).
        attend: (layer, query (rows, tokens, heads, head width), key, value) to the mixed values
            in the shape of the query; stores keys and values.

    Returns:
        (rows, tokens, width), after the last norm.
    """
    language: Any = base.model.language_model
    cosine, sine = language.rotary_emb(hidden, positions)
    half = cosine.shape[-1] // 2
    # Rotating by half a head swaps its halves and negates the first: the sign goes to the sine.
    sine = torch.cat([-sine[..., :half], sine[..., half:]], dim=-1)[:, :, None]
    cosine = cosine[:, :, None]
    rows, tokens, _ = hidden.shape
    for number, layer in enumerate(language.layers):
        attention = layer.self_attn
        x = _norm(hidden, layer.input_layernorm)
        query, key, value = (
            product(x).view(rows, tokens, -1, attention.head_dim)
            for product in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        both = torch.cat([query, key], dim=2)
        both = torch.addcmul(both * cosine, both.roll(half, -1), sine)
        query, key = both.split_with_sizes([query.shape[2], key.shape[2]], dim=2)
        mixed = attend(number, query, key, value)
        hidden = hidden + attention.o_proj(mixed.reshape(rows, tokens, -1))
        x = _norm(hidden, layer.post_attention_layernorm)
        mlp = layer.mlp
        hidden = hidden + mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(x))
    return _norm(hidden, language.norm)


def _norm(hidden: Tensor, norm: Any) -> Tensor:
    return F.rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)
