"""Run questions on Hugging Face ZeroGPU, each in a forked process with a GPU.

`spaces.GPU` lends it and counts the time against the visitor's quota, so that the time asked for
depends on the question. The fork has the engine that was loaded here; what crosses the border is
pickled, so that a stop is carried over by closing the stream.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from math import ceil
from threading import Event

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rarl.inference.engine import Answer, Arm, Engine, KnowsPictures, Looks, Question, Seen

# Seconds to move the weights and read the prompt, and for one step of all arms at its slowest.
# An estimate on the safe side; nothing was measured there.
_START_SECONDS = 12.0
_STEP_SECONDS = 0.08


def on_zero_gpu(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs on ZeroGPU, by the variable that `spaces` itself goes by."""
    return environment.get("SPACES_ZERO_GPU", "").lower() in {"1", "t", "true"}


def seconds_for(questions: Sequence[Question]) -> int:
    """The GPU time to request, in seconds.

    >>> seconds_for([])
    12
    """
    steps = sum(question.decoding.max_new_tokens for question in questions)
    return ceil(_START_SECONDS + steps * _STEP_SECONDS)


class ZeroGpuEngine:
    """An engine whose work is done on a GPU that is lent for it; see `Engine`.

    Args:
        engine: what answers, with its weights on "cuda" as `spaces` makes believe; it must be
            able to tell where it looks.
    """

    def __init__(self, engine: Engine) -> None:
        # It exists on a Space only, and takes torch over when it is imported.
        import spaces

        def stream(question: Question) -> Iterator[tuple[Answer, ...]]:
            yield from engine.stream(question)

        def answer_batch(questions: Sequence[Question]) -> list[tuple[Answer, ...]]:
            return engine.answer_batch(questions)

        def looked(question: Question, answer: Answer) -> tuple[NDArray[np.float32], ...]:
            assert isinstance(engine, Looks)
            return engine.looked(question, answer)

        def unfamiliar(question: Question) -> Mapping[str, str]:
            assert isinstance(engine, KnowsPictures)
            return engine.unfamiliar(question)

        self._engine = engine
        self._unfamiliar = spaces.GPU(duration=lambda question: seconds_for([]))(unfamiliar)
        self._stream = spaces.GPU(duration=lambda question: seconds_for([question]))(stream)
        self._answer_batch = spaces.GPU(duration=seconds_for)(answer_batch)
        self._looked = spaces.GPU(duration=lambda question, answer: seconds_for([]))(looked)

    @property
    def model_name(self) -> str:
        """Name or path the base was resolved from."""
        return self._engine.model_name

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms on offer."""
        return self._engine.arms

    def stream(self, question: Question, stop: Event | None = None) -> Iterator[tuple[Answer, ...]]:
        """Yield all arms' answers so far; see `Engine.stream`.

        Raises:
            QuestionError: at once, before a GPU is asked for.
        """
        self._engine.stream(question)  # a look at the question; nothing runs before the first item
        return self._streamed(question, stop or Event())

    def answer_batch(self, questions: Sequence[Question]) -> list[tuple[Answer, ...]]:
        """Answer many questions at once; see `Engine.answer_batch`."""
        answers: list[tuple[Answer, ...]] = self._answer_batch(list(questions))
        return answers

    def seen(self, image: Image.Image) -> Seen:
        """The picture as the model receives it; needs no GPU."""
        return self._engine.seen(image)

    def looked(self, question: Question, answer: Answer) -> tuple[NDArray[np.float32], ...]:
        """Attribution of an answer; see `Looks.looked`."""
        weights: tuple[NDArray[np.float32], ...] = self._looked(question, answer)
        return weights

    @property
    def measures_pictures(self) -> bool:
        """Whether a measure of familiarity lies beside the model."""
        return isinstance(self._engine, KnowsPictures) and self._engine.measures_pictures

    def unfamiliar(self, question: Question) -> Mapping[str, str]:
        """What is known of the pictures; see `KnowsPictures.unfamiliar`."""
        if not self.measures_pictures:
            return {}
        warnings: Mapping[str, str] = self._unfamiliar(question)
        return warnings

    def _streamed(self, question: Question, stop: Event) -> Iterator[tuple[Answer, ...]]:
        with closing(self._stream(question)) as stream:
            for answers in stream:
                if stop.is_set():
                    yield tuple(
                        answer if answer.done else replace(answer, done=True, stopped=True)
                        for answer in answers
                    )
                    return
                yield answers
