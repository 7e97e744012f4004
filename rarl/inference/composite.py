"""Merge the streams of several engines into one.

What answers on its own (a model of a server, another checkpoint) streams in a thread of its own.
One that breaks off leaves its answer so far and a sentence; the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rarl.errors import ModelError, QuestionError, RarlError
from rarl.inference.engine import (
    Answer,
    Arm,
    Engine,
    KnowsPictures,
    Looks,
    Question,
    Seen,
    Turn,
    Verbatim,
)
from rarl.response import Mode, parse_response

log = logging.getLogger(__name__)

Answers = tuple[Answer, ...]

# How soon a stop is noticed, and how long a stream has to end by itself, in seconds.
_GLANCE = 0.05
_GRACE = 0.3
_BROKE_OFF = "This variant broke off on our side; the others are not affected. Ask again."


@dataclass(frozen=True, slots=True)
class _News:
    """One message of a stream: answers, an error, or (neither) its end."""

    stream: int
    answers: Answers = ()
    error: BaseException | None = None


def side_by_side(
    streams: Sequence[tuple[Question, Callable[[], Iterator[Answers]]]], stop: Event
) -> Iterator[Answers]:
    """Run streams at once and yield the answers of all of them so far.

    Args:
        streams: for each, its question and what begins it; it yields the answers to its question's
            arms so far, in their order, and may block.
        stop: ends all of them; one that does not end by itself within moments is left behind.

    Yields:
        The answers of the first stream's arms, then those of the second's, and so on. A stream
        that raises leaves `Answer.failure`.
    """
    started = perf_counter()
    closed = Event()
    news: SimpleQueue[_News] = SimpleQueue()

    def follow(number: int, begin: Callable[[], Iterator[Answers]]) -> None:
        try:
            with closing(begin()) as stream:  # type: ignore[type-var]
                for answers in stream:
                    news.put(_News(number, answers))
                    if closed.is_set():
                        return
            news.put(_News(number))
        except BaseException as error:
            news.put(_News(number, error=error))

    state = [
        tuple(
            Answer(arm, parse_response("", question.mode), tokens=0, seconds=0.0, done=False)
            for arm in question.arms
        )
        for question, _ in streams
    ]
    running = set(range(len(streams)))
    for number, (_, begin) in enumerate(streams):
        # A thread that waits for a server must not keep the process from ending.
        Thread(target=follow, args=(number, begin), name="rarl-side", daemon=True).start()
    given_up: float | None = None
    try:
        while running:
            changed = False
            for item in _arrived(news):
                changed = True
                if item.answers:
                    state[item.stream] = item.answers
                    continue
                running.discard(item.stream)
                state[item.stream] = _ended(
                    state[item.stream], perf_counter() - started, item.error
                )
            if stop.is_set() and running:
                given_up = given_up or perf_counter() + _GRACE
                if perf_counter() > given_up:
                    changed = True
                    seconds = perf_counter() - started
                    for number in running:
                        state[number] = _ended(state[number], seconds, None)
                    running.clear()
            if changed:
                yield tuple(answer for answers in state for answer in answers)
    finally:
        closed.set()


def _arrived(news: SimpleQueue[_News]) -> Iterator[_News]:
    """Messages that have arrived, after a short wait."""
    try:
        yield news.get(timeout=_GLANCE)
        while True:
            yield news.get_nowait()
    except Empty:
        return


def _ended(answers: Answers, seconds: float, error: BaseException | None) -> Answers:
    """Answers of a stream that is over; those that had not ended say why."""
    failure = ""
    if isinstance(error, RarlError):
        failure = str(error)
    elif error is not None:
        log.error("a variant broke off: %s", type(error).__name__)
        failure = _BROKE_OFF
    return tuple(
        answer
        if answer.done
        else replace(answer, seconds=seconds, done=True, stopped=not failure, failure=failure)
        for answer in answers
    )


@dataclass(frozen=True, slots=True)
class Side:
    """An engine and what it contributes.

    Attributes:
        engine: what answers.
        arms: each arm as it is offered, with the name that the engine knows it by.
        mode: the inference mode of all its answers; None for the question's.
    """

    engine: Engine
    arms: tuple[tuple[Arm, str], ...]
    mode: Mode | None = None


class SideBySide:
    """Several engines as one; see `Engine`. Arms of one engine share its batch.

    Args:
        sides: the engines, in the order of the arms.
        name: what the whole is called.

    Raises:
        ModelError: two arms have one name.
    """

    def __init__(self, sides: Sequence[Side], name: str) -> None:
        names = [arm.name for side in sides for arm, _ in side.arms]
        for twice in (name for name in names if names.count(name) > 1):
            raise ModelError(f"Two variants are called {twice!r}; give one of them another name.")
        self._sides = tuple(sides)
        self._name = name

    @property
    def model_name(self) -> str:
        """The name of the composite."""
        return self._name

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms of all engines."""
        return tuple(arm for side in self._sides for arm, _ in side.arms)

    def stream(self, question: Question, stop: Event | None = None) -> Iterator[Answers]:
        """Yield all arms' answers so far; see `Engine.stream`.

        An engine that fails leaves `Answer.failure`, and the others go on.

        Raises:
            QuestionError: at once, not with the first item.
        """
        shares = self._shares(question)
        over = stop or Event()
        # Every engine looks at its question before any of them begins.
        streams = [side.engine.stream(share, over) for side, share, _ in shares]
        begun = [
            (replace(share, arms=outer), partial(_renamed, stream, outer))
            for (_, share, outer), stream in zip(shares, streams, strict=True)
        ]
        order = [arm for _, _, outer in shares for arm in outer]
        return (
            tuple(answers[order.index(arm)] for arm in question.arms)
            for answers in side_by_side(begun, over)
        )

    def answer_batch(self, questions: Sequence[Question]) -> list[Answers]:
        """Answer many questions at once, the engines beside each other."""
        asked: dict[int, list[tuple[int, Question, tuple[str, ...]]]] = {}
        for number, question in enumerate(questions):
            for side, share, outer in self._shares(question):
                asked.setdefault(self._sides.index(side), []).append((number, share, outer))
        answered_by_arm: dict[tuple[int, str], Answer] = {}
        with ThreadPoolExecutor(max(1, len(asked))) as pool:
            batches = pool.map(
                lambda item: self._sides[item[0]].engine.answer_batch([q for _, q, _ in item[1]]),
                asked.items(),
            )
            for shares, answered in zip(asked.values(), batches, strict=True):
                for (number, _, outer), answers in zip(shares, answered, strict=True):
                    for arm, answer in zip(outer, answers, strict=True):
                        answered_by_arm[number, arm] = replace(answer, arm=arm)
        return [
            tuple(answered_by_arm[number, arm] for arm in question.arms)
            for number, question in enumerate(questions)
        ]

    def seen(self, image: Image.Image) -> Seen:
        """The picture as the model receives it, from the first engine that knows.

        Raises:
            QuestionError: none knows, or the picture is too narrow to be read.
        """
        trouble: QuestionError | None = None
        for side in self._sides:
            try:
                return side.engine.seen(image)
            except QuestionError as error:
                trouble = trouble or error
        raise trouble or QuestionError("There is no model to look with.")

    def prompt(self, question: Question, arm: str) -> str:
        """The text that an arm reads; see `Verbatim.prompt`."""
        ((side, share, _),) = self._shares(replace(question, arms=(arm,)))
        if not isinstance(side.engine, Verbatim):
            raise QuestionError("This variant's prompt is written where its model runs.")
        return side.engine.prompt(share, share.arms[0])

    def looked(self, question: Question, answer: Answer) -> tuple[NDArray[np.float32], ...]:
        """Attribution of an answer; see `Looks.looked`."""
        ((side, share, _),) = self._shares(replace(question, arms=(answer.arm,)))
        if not isinstance(side.engine, Looks):
            raise QuestionError("Where this variant looked is known only where its model runs.")
        return side.engine.looked(share, replace(answer, arm=share.arms[0]))

    @property
    def measures_pictures(self) -> bool:
        """Whether any engine can tell pictures of a kind it never saw."""
        return any(
            isinstance(side.engine, KnowsPictures) and side.engine.measures_pictures
            for side in self._sides
        )

    def unfamiliar(self, question: Question) -> dict[str, str]:
        """What the engines know of the pictures; see `KnowsPictures.unfamiliar`."""
        warnings: dict[str, str] = {}
        for side, share, outer in self._shares(question):
            if isinstance(side.engine, KnowsPictures) and side.engine.measures_pictures:
                inner_warnings = side.engine.unfamiliar(share)
                warnings |= {
                    arm: inner_warnings[inner]
                    for arm, inner in zip(outer, share.arms, strict=True)
                    if inner in inner_warnings
                }
        return warnings

    def _shares(self, question: Question) -> list[tuple[Side, Question, tuple[str, ...]]]:
        """Each engine's part of a question, and the arms as they are offered."""
        offered = [arm.name for arm in self.arms]
        for arm in question.arms:
            if arm not in offered:
                raise QuestionError(f"There is no arm {arm!r}; choose from {', '.join(offered)}.")
        if not question.arms:
            raise QuestionError(f"Choose at least one of the arms {', '.join(offered)}.")
        shares = []
        for side in self._sides:
            inner = {arm.name: name for arm, name in side.arms}
            outer = tuple(arm for arm in question.arms if arm in inner)
            if outer:
                share = replace(
                    question,
                    arms=tuple(inner[arm] for arm in outer),
                    mode=side.mode or question.mode,
                    earlier=tuple(_known(turn, inner, side.mode) for turn in question.earlier),
                )
                shares.append((side, share, outer))
        return shares


def _known(turn: Turn, inner: Mapping[str, str], mode: Mode | None) -> Turn:
    """A turn with the answers of one side's arms, by its engine's names for them."""
    answers = {inner[arm]: text for arm, text in turn.answers.items() if arm in inner}
    return replace(turn, answers=answers, mode=mode or turn.mode)


def _renamed(stream: Iterator[Answers], names: Sequence[str]) -> Iterator[Answers]:
    for answers in stream:
        yield tuple(replace(answer, arm=name) for answer, name in zip(answers, names, strict=True))
