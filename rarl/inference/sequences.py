"""One sequence of a batch: its request and the text generated so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from rarl.inference.engine import Answer, Question
from rarl.response import parse_response


@dataclass(frozen=True, slots=True)
class Row:
    """One question for one arm."""

    question: Question
    arm: str

    @property
    def max_new_tokens(self) -> int:
        """Tokens that the row may write."""
        return self.question.decoding.max_new_tokens


class Progress:
    """The text that a row has generated so far.

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
        self._row = row
        self._tokenizer = tokenizer
        self._end_ids = frozenset(end_ids)
        self._started = started
        self.begin()

    def begin(self, note: str = "") -> None:
        """Begin anew: what was written is forgotten.

        Args:
            note: what a reader must know of the new answer.
        """
        self.done = False
        self._note = note
        self._tokens = 0
        self._seconds = 0.0
        self._stopped = False
        self._failure = ""
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

    def fail(self, sentence: str, at: float) -> None:
        """End the row where it stands, and say why."""
        self.done = True
        self._failure = sentence
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
            failure=self._failure,
            note=self._note,
        )
