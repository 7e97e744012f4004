"""What one row of a batch needs: how its tokens are drawn, when it ends, what it has written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import (
    LogitsProcessor,
    PreTrainedTokenizerFast,
    StoppingCriteria,
)
from transformers.generation.streamers import BaseStreamer

from rarl.inference.engine import Answer, Decoding, Question
from rarl.response import parse_response


@dataclass(frozen=True, slots=True)
class Row:
    """One question for one arm."""

    question: Question
    arm: str


class Progress:
    """What a row has written so far.

    Args:
        row: the row.
        tokenizer: byte-level, so that texts of consecutive tokens add up.
        end_ids: tokens that end an answer.
        started: when the question was handed over (`perf_counter`, in seconds).
    """

    def __init__(
        self,
        row: Row,
        tokenizer: PreTrainedTokenizerFast,
        end_ids: Sequence[int],
        started: float,
    ) -> None:
        self.done = False
        self._row = row
        self._tokenizer = tokenizer
        self._end_ids = frozenset(end_ids)
        self._started = started
        self._tokens = 0
        self._seconds = 0.0
        self._stopped = False
        self._text = ""
        # Tokens since the last whole character: a character may span several.
        self._pending: list[int] = []
        self._tail = ""

    def add(self, token: int, at: float) -> None:
        """Take the token of a step; what comes after the end of the row is padding."""
        if self.done:
            return
        self._seconds = at - self._started
        if token in self._end_ids:
            self.done = True
            return
        self._tokens += 1
        self.done = self._tokens >= self._row.question.decoding.max_new_tokens
        self._pending.append(token)
        self._tail = str(self._tokenizer.decode(self._pending, skip_special_tokens=True))
        if not self._tail.endswith("\ufffd"):
            self._text += self._tail
            self._pending.clear()
            self._tail = ""

    def stop(self, at: float) -> None:
        """End the row where it stands, unless it has ended by itself."""
        if not self.done:
            self.done = self._stopped = True
            self._seconds = at - self._started

    def answer(self) -> Answer:
        """The row as the caller sees it; half a character at the end is left out."""
        text = self._text + self._tail.rstrip("\ufffd")
        return Answer(
            arm=self._row.arm,
            response=parse_response(text, self._row.question.mode),
            tokens=self._tokens,
            seconds=self._seconds,
            done=self.done,
            stopped=self._stopped,
        )


class Tap(BaseStreamer):
    """Hands every step's tokens on, one per row; the library's streamers take one row only.

    Args:
        put: called with one token per row.
    """

    def __init__(self, put: Callable[[list[int]], None]) -> None:
        self._put = put
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt (rows x tokens) the first time, then one token per row."""
        if self._prompt_seen:
            self._put(value.tolist())
        self._prompt_seen = True

    def end(self) -> None:
        """Nothing is held back, so there is nothing to flush."""


class Sampler(LogitsProcessor):
    """Draws each row's token with that row's own generator; the largest score then is the draw.

    Adding Gumbel noise to log-probabilities and taking the maximum samples from them. One
    generator per row, seeded by the question, means that an answer depends neither on what else
    is in the batch nor on the process's random state, and that arms asked with one seed share
    their luck: where two arms agree on the probabilities, they say the same.

    Args:
        decodings: one per row; rows with temperature 0 are left as they are (greedy).
    """

    def __init__(self, decodings: Sequence[Decoding]) -> None:
        self._rows = [
            # Always on the CPU, so that a seed means the same on every machine.
            (index, decoding, torch.Generator().manual_seed(decoding.seed))
            for index, decoding in enumerate(decodings)
            if decoding.temperature > 0
        ]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores (rows x vocabulary) to scores whose maximum is the drawn token."""
        drawn = scores.clone()
        for index, decoding, generator in self._rows:
            logits = scores[index] / decoding.temperature
            if decoding.top_p < 1:
                ordered, order = logits.sort(descending=True)
                mass = ordered.softmax(-1)
                # The token that crosses the mass still belongs to the nucleus.
                outside = mass.cumsum(-1) - mass >= decoding.top_p
                logits[order[outside]] = -torch.inf
            noise = torch.empty(logits.shape[-1]).exponential_(generator=generator).log_().neg_()
            drawn[index] = logits + noise.to(logits.device)
        return drawn  # type: ignore[return-value]


class RowEnds(StoppingCriteria):
    """Ends each row at its own limit, and all of them when asked to.

    Args:
        limits: new tokens, one per row.
        prompt_tokens: columns of the padded prompt.
        over: asked after every token; True ends the batch.
    """

    def __init__(self, limits: Sequence[int], prompt_tokens: int, over: Callable[[], bool]) -> None:
        self._limits = torch.tensor(limits)
        self._prompt_tokens = prompt_tokens
        self._over = over

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: object
    ) -> torch.BoolTensor:
        """One truth value per row: has it ended."""
        ended = self._limits <= input_ids.shape[1] - self._prompt_tokens
        if self._over():
            ended = torch.ones_like(ended)
        return ended.to(input_ids.device)  # type: ignore[return-value]
