"""Choose the next token of each row from its logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor


class SamplingSettings(Protocol):
    """Sampling parameters of a row."""

    @property
    def temperature(self) -> float:
        """0 takes the likeliest token."""
        ...

    @property
    def top_p(self) -> float:
        """Probability mass of the nucleus, in (0, 1]."""
        ...

    @property
    def seed(self) -> int:
        """Of the row's own generator."""
        ...


class Sampler:
    """Draws a row's tokens with the row's own generator; the largest score then is the draw.

    Adding Gumbel noise to log-probabilities and taking the maximum samples from them. One
    generator per row, seeded by the question, means that an answer depends neither on what else
    is in the batch nor on the process's random state, and that variants asked with one seed get
    the same noise: where two variants agree on the probabilities, they write the same.

    Args:
        settings: temperature, nucleus and seed.
    """

    def __init__(self, settings: SamplingSettings) -> None:
        self._settings = settings
        # Always on the CPU, so that a seed means the same on every machine.
        self._generator = torch.Generator().manual_seed(settings.seed)

    @property
    def random(self) -> bool:
        """False where the likeliest token is taken."""
        return self._settings.temperature > 0

    def draw(self, scores: Tensor) -> int:
        """A token, given the scores (vocabulary,) of all."""
        logits = scores / self._settings.temperature
        if self._settings.top_p < 1:
            ordered, order = logits.sort(descending=True)
            mass = ordered.softmax(-1)
            # The token that crosses the mass still belongs to the nucleus.
            outside = mass.cumsum(-1) - mass >= self._settings.top_p
            logits[order[outside]] = -torch.inf
        noise = torch.empty(logits.shape[-1]).exponential_(generator=self._generator)
        return int((logits - noise.log_().to(logits.device)).argmax())


class Draw(Protocol):
    """Chooses the next token of every row of a batch."""

    @property
    def synchronises(self) -> bool:
        """Whether a draw waits for the device."""
        ...

    def __call__(self, scores: Tensor) -> Tensor:
        """Tokens (rows,), from scores (rows, vocabulary) in float32."""
        ...

    def take(self, rows: Sequence[int]) -> None:
        """Keep these rows alone."""
        ...

    def join(self, other: Self) -> None:
        """Append another's rows."""
        ...


class RowDraw:
    """Each row by a sampler of its own: greedy, or with its own seed.

    Args:
        samplers: one for each row.
        forbidden: tokens that are never drawn.
    """

    def __init__(self, samplers: Sequence[Sampler], forbidden: Tensor) -> None:
        self._samplers = list(samplers)
        self._forbidden = forbidden

    @property
    def synchronises(self) -> bool:
        """Whether a draw waits for the device; greedy ones do not."""
        return any(sampler.random for sampler in self._samplers)

    def __call__(self, scores: Tensor) -> Tensor:
        """See `Draw`; the scores of forbidden tokens are overwritten."""
        scores.index_fill_(-1, self._forbidden, -torch.inf)
        tokens = scores.argmax(-1)
        for row, sampler in enumerate(self._samplers):
            if sampler.random:
                tokens[row] = sampler.draw(scores[row])
        return tokens

    def take(self, rows: Sequence[int]) -> None:
        """Keep these rows alone."""
        self._samplers = [self._samplers[row] for row in rows]

    def join(self, other: RowDraw) -> None:
        """Append another's rows."""
        self._samplers += other._samplers


class PolicyDraw:
    """All rows from one distribution, as the library's `generate` does under given processors.

    It keeps what was drawn, and how likely each token was under the policy itself.

    Args:
        processors: (tokens so far, logits) to logits to sample from; None takes the likeliest.
        temperature: that `processors` apply; the log-probabilities are taken at it.
        forbidden: tokens that are never drawn.
    """

    def __init__(
        self,
        processors: Callable[[Tensor, Tensor], Tensor] | None,
        temperature: float,
        forbidden: Tensor | None = None,
    ) -> None:
        self._processors = processors
        self._temperature = temperature
        self._forbidden = forbidden
        self.tokens: Tensor | None = None
        """(rows, tokens) drawn so far."""
        self.log_probabilities: list[Tensor] = []
        """For each step (rows,), before tokens were ruled out."""

    @property
    def synchronises(self) -> bool:
        """Never: all of it stays on the device."""
        return False

    def __call__(self, scores: Tensor) -> Tensor:
        """See `Draw`."""
        before = self.tokens
        if before is None:
            before = torch.empty(len(scores), 0, dtype=torch.long, device=scores.device)
        allowed = scores
        if self._forbidden is not None:
            allowed = scores.index_fill(-1, self._forbidden, -torch.inf)
        if self._processors is None:
            drawn = allowed.argmax(-1)
        else:
            likely = self._processors(before, allowed).softmax(-1)
            # What `torch.multinomial` computes for one sample, without its check of the input.
            drawn = (likely / torch.empty_like(likely).exponential_()).argmax(-1)
        scaled = scores if self._temperature == 1 else scores / self._temperature
        own = scaled.gather(1, drawn[:, None])[:, 0]
        self.log_probabilities.append(own - scaled.logsumexp(-1))
        self.tokens = torch.cat([before, drawn[:, None]], dim=1)
        return drawn

    def take(self, rows: Sequence[int]) -> None:
        """Not used: a rollout keeps all of its rows to the end."""
        raise NotImplementedError

    def join(self, other: PolicyDraw) -> None:
        """Not used: a rollout begins with all of its rows."""
        raise NotImplementedError
