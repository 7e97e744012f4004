"""`Engine`: the protocol that every inference backend implements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rarl.records.question import Arm as Arm
from rarl.records.question import Decoding as Decoding
from rarl.records.question import NamedImage as NamedImage
from rarl.records.question import Question as Question
from rarl.records.question import Turn as Turn
from rarl.response import Check, Response

_LABELS = {"base": "Base", "sft": "SFT", "rl": "RL", "rarl": "RARL"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture as the model receives it.

    Attributes:
        image: the pixels after the processor's resizing, 8-bit RGB.
        tokens: how many tokens of the prompt it takes.
    """

    image: Image.Image
    tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One arm's answer, whole or so far.

    Attributes:
        arm: the arm's name.
        response: parsed text; while streaming, the form problems are provisional.
        tokens: completion tokens so far.
        seconds: since the question was handed over.
        done: True when this arm has ended.
        stopped: True when it ended because the person stopped it.
        place: where the question stands in line; 1 is next, 0 is being answered.
        failure: why this arm broke off though others may go on, in one sentence; "" otherwise.
        note: what a reader must know of how the answer came about, in sentences; mostly "".
        checks: what in the ended answer contradicts the header, the question or itself.
    """

    arm: str
    response: Response
    tokens: int
    seconds: float
    done: bool
    stopped: bool = False
    failure: str = ""
    place: int = 0
    note: str = ""
    checks: tuple[Check, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Names of what is wrong with the form, then of the checks, as API and store have them."""
        return (*self.response.problems, *(check.name for check in self.checks))


def arm_label(name: str) -> str:
    """The default label of a variant.

    >>> arm_label("rarl"), arm_label("med-r1")
    ('RARL', 'med-r1')
    """
    return _LABELS.get(name, name)


def chosen_variants(names: Sequence[str], offered: Sequence[Arm]) -> tuple[str, ...]:
    """The variants that are meant, each once; an unknown one is the engine's to refuse.

    Args:
        names: "all" stands for every variant besides the base, or for the base where it is alone;
            none at all for the last on offer.
        offered: the arms on offer.

    >>> offered = (Arm("base", "Base", ""), Arm("sft", "SFT", ""), Arm("mine", "Mine", ""))
    >>> chosen_variants(["all"], offered), chosen_variants(["mine", "base"], offered)
    (('sft', 'mine'), ('mine', 'base'))
    >>> chosen_variants([], offered)
    ('mine',)
    """
    whole = [arm.name for arm in offered if arm.mode is None]
    every = [name for name in whole if name != "base"] or whole
    meant = [each for name in names for each in (every if name == "all" else [name])]
    return tuple(dict.fromkeys(meant or every[-1:]))


class Engine(Protocol):
    """Answers questions. Implementations are safe to call from several threads."""

    @property
    def model_name(self) -> str:
        """Name or path the base was resolved from."""
        ...

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms on offer, base first where it is offered."""
        ...

    def stream(self, question: Question, stop: Event | None = None) -> Iterator[tuple[Answer, ...]]:
        """Yield all arms' answers so far, in the question's order, until every arm is done.

        The last item has `done` True throughout. Setting `stop` ends generation within a few
        tokens and keeps what came. The caller may also simply close the iterator.

        Raises:
            QuestionError: empty or overlong text, an arm that is not on offer, no picture or too
                many, or pictures whose names repeat.
        """
        ...

    def seen(self, image: Image.Image) -> Seen:
        """The picture as the model receives it.

        Raises:
            QuestionError: the picture is too narrow to be read.
        """
        ...

    def answer_batch(self, questions: Sequence[Question]) -> list[tuple[Answer, ...]]:
        """Answer many questions at once (evaluation); one tuple per question, in order.

        Raises:
            QuestionError: as for `stream`.
        """
        ...


@runtime_checkable
class AnswersAsTheyCome(Protocol):
    """An engine that keeps many questions under way and hands each answer over when it is there."""

    def answer_each(
        self, questions: Iterable[Question]
    ) -> Iterator[tuple[int, tuple[Answer, ...]]]:
        """Answer questions in whatever order they end.

        A question is taken from `questions` only when there is room for it.

        Returns:
            The place of each question, from 0, with the answers of its variants.

        Raises:
            QuestionError: as for `Engine.stream`; what was answered before has been handed over.
        """
        ...


@runtime_checkable
class Verbatim(Protocol):
    """An engine that writes the prompt itself and can show it."""

    def prompt(self, question: Question, arm: str) -> str:
        """The very text that an arm reads, special tokens included.

        Each picture stands as one placeholder, which the model reads once for each of the
        picture's tokens (see `Seen`).

        Raises:
            QuestionError: as for `Engine.stream`; or the arm's prompt is written elsewhere.
        """
        ...


@runtime_checkable
class Looks(Protocol):
    """An engine that can attribute an answer to regions of its pictures."""

    def looked(self, question: Question, answer: Answer) -> tuple[NDArray[np.float32], ...]:
        """Weights of each picture's tokens for what an arm said, by gradient x input.

        It says which parts moved the words, not why, and explains nothing by itself.

        Args:
            question: as it was asked.
            answer: one of the answers to it, whole or so far.

        Returns:
            One map per picture, in the question's order: rows x columns of image tokens, which
            spread evenly over the picture, none below 0. All maps together sum to 1; they are 0
            throughout where nothing in the pictures mattered.

        Raises:
            QuestionError: as for `Engine.stream`; or the answer has no text, or its arm cannot
                tell.
        """
        ...


@runtime_checkable
class KnowsPictures(Protocol):
    """What an engine offers besides answers where it can tell pictures of a kind it never saw."""

    @property
    def measures_pictures(self) -> bool:
        """Whether it can tell for any variant."""
        ...

    def unfamiliar(self, question: Question) -> Mapping[str, str]:
        """What is known of the pictures of a question before it is answered.

        Returns:
            Arm to a sentence, for arms to which a picture is unfamiliar; others are left out, and
            so are those of which nothing is known.

        Raises:
            QuestionError: as for `Engine.stream`.
        """
        ...
