"""Generate completions for batches of prompts: GRPO rollouts and checkpoint selection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rarl.generation.captured import StaticBatch
from rarl.generation.decoder import Decoder, Prompt
from rarl.generation.sampling import PolicyDraw

# Steps between two looks at whether every row has ended, where a look waits for the device.
_STRIDE = 16


@dataclass(frozen=True, slots=True)
class Rollout:
    """Sampled completions.

    Attributes:
        ids: of each row, its end token included; without padding.
        log_probabilities: (rows, tokens) of the sampled tokens under the model at the sampling
            temperature, before tokens were ruled out; what follows an end is without meaning.
    """

    ids: list[list[int]]
    log_probabilities: Tensor


@torch.no_grad()
def roll_out(
    decoder: Decoder,
    prompt: Prompt,
    counts: Sequence[int],
    arm: str | None,
    most: int,
    end_ids: Sequence[int],
    processors: Callable[[Tensor, Tensor], Tensor] | None,
    temperature: float = 1.0,
    forbidden: Sequence[int] = (),
) -> Rollout:
    """Complete each row; every prompt is read once.

    Args:
        decoder: of the model.
        prompt: what is completed.
        counts: rows of each prompt.
        arm: the adapter of all rows; None for the base.
        most: tokens of a completion.
        end_ids: tokens that end one.
        processors: (tokens so far, logits) to logits to sample from, as the library's logits
            processors; None takes the likeliest token.
        temperature: that `processors` apply, for `log_probabilities`.
        forbidden: tokens that are never drawn, besides what `processors` rule out.
    """
    device = decoder.base.device
    ruled_out = torch.tensor(list(forbidden), device=device) if forbidden else None
    draw = PolicyDraw(processors, temperature, ruled_out)
    ends = torch.tensor(list(end_ids), device=device)
    with _in_evaluation(decoder.base):
        batch = decoder.read(prompt, counts, [arm] * len(counts), draw, most)
        ended = torch.isin(batch.newest, ends)
        rows = decoder.start(batch)
        stride = _STRIDE if isinstance(rows, StaticBatch) else 1
        with rows.running():
            for step in range(1, most):
                if step % stride == 0 and bool(ended.all()):
                    break
                rows.advance()
                assert draw.tokens is not None
                ended |= torch.isin(draw.tokens[:, -1], ends)
        rows.close()
    assert draw.tokens is not None
    return Rollout(
        ids=[until_end(row, frozenset(end_ids)) for row in draw.tokens.tolist()],
        log_probabilities=torch.stack(draw.log_probabilities, dim=1),
    )


def until_end(tokens: Sequence[int], end_ids: frozenset[int]) -> list[int]:
    """The tokens up to the first that ends a completion, itself included.

    >>> until_end([5, 6, 2, 7], frozenset([2]))
    [5, 6, 2]
    """
    for place, token in enumerate(tokens):
        if token in end_ids:
            return list(tokens[: place + 1])
    return list(tokens)


@contextmanager
def _in_evaluation(module: nn.Module) -> Iterator[None]:
    """Out of training mode, in which activation checkpointing would drop the cache."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
