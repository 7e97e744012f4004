"""Key-value caches of the eager path: one per row, or one per prompt.

`RowCache` holds each row's keys and values, prompt included, in one place. `GroupCache` holds a
prompt's keys and values once for all rows that answer it (Hydragen, Juravsky et al., arXiv
2402.05099). The captured path has a cache of fixed shape of its own, see
`rarl.generation.captured`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

# The room grows by this many tokens at a time, so that a join seldom moves every row.
_BLOCK = 64


class RowCache:
    """Keys and values of rows that differ in length, in place of the library's cache.

    Args:
        lengths: tokens of each row's prompt.
        device: of the model.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self._lengths = list(lengths)
        self._places = torch.tensor(self._lengths, device=device)
        # For each layer keys and values: rows x heads x room x width.
        self._layers: list[tuple[Tensor, Tensor]] = []

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens that each row holds."""
        return self._lengths

    @property
    def layers(self) -> Sequence[tuple[Tensor, Tensor]]:
        """Keys and values of each layer, (rows, key-value heads, room, head width)."""
        return self._layers

    def mask(self) -> Tensor | None:
        """Mask of each row's next token, (rows, 1, 1, tokens); None where all is visible."""
        longest = max(self._lengths)
        if min(self._lengths) == longest:
            return None
        every = torch.arange(longest + 1, device=self._places.device)
        return every <= self._places[:, None, None, None]

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Store a layer's part of the prompts, or of each row's next token; called by the model.

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
        stored_keys, stored_values = self._layers[layer]
        stored_keys.scatter_(2, places, keys)
        stored_values.scatter_(2, places, values)
        seen = max(self._lengths) + 1
        return stored_keys[:, :, :seen], stored_values[:, :, :seen]

    def advance(self) -> None:
        """Count the token that every layer has stored.

        A row that has ended and has not left yet stays within the room; it overwrites its last
        place.
        """
        last = self._layers[0][0].shape[2] - 1
        self._lengths = [min(length + 1, last) for length in self._lengths]
        self._places.add_(1).clamp_(max=last)

    def take(self, rows: Sequence[int]) -> None:
        """Keep these rows alone; one may be taken several times.

        Where memory does not suffice for the copy, the cache stays as it is.
        """
        if list(rows) == list(range(len(self._lengths))):
            return  # a copy would take as much memory again
        index = torch.tensor(rows, device=self._places.device)
        self._layers = [(keys[index], values[index]) for keys, values in self._layers]
        self._lengths = [self._lengths[row] for row in rows]
        self._places = self._places[index]

    def reserve(self, tokens: int) -> None:
        """Make room for this many tokens in each row."""
        room = self._layers[0][0].shape[2]
        more = -(-tokens // _BLOCK) * _BLOCK - room
        if more > 0:
            self._layers = [
                (pad(keys, (0, 0, 0, more)), pad(values, (0, 0, 0, more)))
                for keys, values in self._layers
            ]

    def join(self, other: RowCache) -> None:
        """Append another's rows; where memory does not suffice, both stay as they are."""
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


class GroupCache:
    """Keys and values of each prompt once, those of its rows' own tokens apart.

    Every row has written the same number of tokens. The rows of smaller groups are filled up to
    the largest group with slots that nobody reads.

    Args:
        prompts: the cache of the prompts alone.
        counts: rows of each prompt, at least one; a prompt's rows stand together.
        room: tokens that a row may write.
    """

    def __init__(self, prompts: RowCache, counts: Sequence[int], room: int) -> None:
        self._prompts = list(prompts.layers)
        self._prompt_lengths = list(prompts.lengths)
        self._counts = list(counts)
        self._room = room
        self._written = 0
        self._layers: list[tuple[Tensor, Tensor]] = []
        self._arrange()

    def _arrange(self) -> None:
        """Work out the slots from the rows of each prompt."""
        device = self._prompts[0][0].device
        self._widest = max(self._counts)
        slots = [
            group * self._widest + place
            for group, count in enumerate(self._counts)
            for place in range(count)
        ]
        self._slots: Tensor | None = None
        self._fill: Tensor | None = None
        if len(slots) < self._widest * len(self._counts):
            self._slots = torch.tensor(slots, device=device)
            # The row that each slot computes; a filler repeats the first row of its group.
            row, fill = 0, []
            for count in self._counts:
                fill += [row + (place if place < count else 0) for place in range(self._widest)]
                row += count
            self._fill = torch.tensor(fill, device=device)
        longest = self._prompts[0][0].shape[2]
        lengths = torch.tensor(self._prompt_lengths, device=device)
        blank = torch.arange(longest, device=device) >= lengths[:, None]
        self._blank = blank[:, None, None] if bool(blank.any()) else None

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """Attention of each row's newest token over its prompt and its own tokens.

        Args:
            layer: index of the layer.
            query: (rows, heads, 1, head width), rotated.
            key: (rows, key-value heads, 1, head width), rotated.
            value: as `key`.
            scaling: of the scores.

        Returns:
            (rows, 1, heads, head width).
        """
        if self._fill is not None:
            query, key, value = (x[self._fill] for x in (query, key, value))
        count, heads, _, width = query.shape
        stores = key.shape[1]
        if layer == len(self._layers):
            shape = (count, stores, self._room, width)
            self._layers.append((key.new_empty(shape), key.new_empty(shape)))
        own_keys, own_values = self._layers[layer]
        own_keys[:, :, self._written] = key[:, :, 0]
        own_values[:, :, self._written] = value[:, :, 0]
        prompt_keys, prompt_values = self._prompts[layer]
        groups, widest = len(self._counts), self._widest
        shared, now = heads // stores, self._written + 1
        alone = (query * scaling).view(count, stores, shared, width)
        # All rows of a prompt read its keys in one product; their own keys each by itself.
        together = alone.view(groups, widest, stores, shared, width).transpose(1, 2)
        together = together.reshape(groups, stores, widest * shared, width)
        first = (together @ prompt_keys.transpose(2, 3)).float()
        if self._blank is not None:
            first.masked_fill_(self._blank, -torch.inf)
        first = first.view(groups, stores, widest, shared, -1)
        second = (alone @ own_keys[:, :, :now].transpose(2, 3)).float()
        second = second.view(groups, widest, stores, shared, now).transpose(1, 2)
        weights = torch.cat([first, second], dim=-1).softmax(-1).to(query.dtype)
        first, second = weights[..., :-now], weights[..., -now:]
        mixed: Tensor = first.reshape(groups, stores, widest * shared, -1) @ prompt_values
        mixed = mixed.view(groups, stores, widest, shared, width).transpose(1, 2)
        second = second.transpose(1, 2).reshape(count, stores, shared, now)
        own = second @ own_values[:, :, :now]
        mixed = mixed + own.view(groups, widest, stores, shared, width)
        mixed = mixed.reshape(count, 1, heads, width)
        return mixed if self._slots is None else mixed[self._slots]

    def advance(self) -> None:
        """Count the token that every layer has stored.

        A batch whose rows have all ended may run on; it overwrites the last place.
        """
        self._written = min(self._written + 1, self._room - 1)

    def take(self, rows: Sequence[int]) -> None:
        """Keep these rows alone, in their order."""
        groups = [group for group, count in enumerate(self._counts) for _ in range(count)]
        if list(rows) == list(range(len(groups))):
            return
        device = self._prompts[0][0].device
        slots = range(len(groups)) if self._slots is None else self._slots.tolist()
        slot_of = [slots[row] for row in rows]
        left = sorted({groups[row] for row in rows})
        kept = torch.tensor(left, device=device)
        prompts = [(keys[kept], values[kept]) for keys, values in self._prompts]
        layers = self._layers
        self._counts = [sum(groups[row] == group for row in rows) for group in left]
        self._prompt_lengths = [self._prompt_lengths[group] for group in left]
        self._prompts = prompts
        self._arrange()
        index = torch.tensor(slot_of, device=device)
        if self._fill is not None:
            index = index[self._fill]
        self._layers = [(keys[index], values[index]) for keys, values in layers]

    def rows(self) -> RowCache:
        """The same as a cache of whole rows, each with a copy of its prompt."""
        device = self._prompts[0][0].device
        of = [group for group, count in enumerate(self._counts) for _ in range(count)]
        lengths = [self._prompt_lengths[group] + self._written for group in of]
        index = torch.tensor(of, device=device)
        starts = torch.tensor([self._prompt_lengths[group] for group in of], device=device)
        places = starts[:, None] + torch.arange(self._written, device=device)
        places = places[:, None, :, None]
        cache = RowCache(lengths, device)

        def joined(prompt: Tensor, own: Tensor) -> Tensor:
            own = own if self._slots is None else own[self._slots]
            own = own[:, :, : self._written]
            whole = pad(prompt[index], (0, 0, 0, self._room))
            return whole.scatter_(2, places.expand_as(own), own)

        for number, prompt in enumerate(self._prompts):
            if self._layers:
                pairs = zip(prompt, self._layers[number], strict=True)
                keys, values = (joined(*pair) for pair in pairs)
            else:
                keys, values = (pad(x[index], (0, 0, 0, self._room)) for x in prompt)
            cache.update(keys, values, number)
        return cache
