"""Self-consistency: sample several answers to one question and count them.

The share of sampled answers that say the same is self-consistency (Wang et al., ICLR 2023). How far
it tells right answers from wrong ones is measured by `rarl.stats.calibration`, with the same
temperature and the same normal form of answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rarl.errors import QuestionError
from rarl.inference.engine import Answer, Engine, Question
from rarl.stats.calibration import self_consistency
from rarl.text.normalise import normalise

TEMPERATURE = 0.7
SAMPLES = 10
MOST_SAMPLES = 32


@dataclass(frozen=True, slots=True)
class Group:
    """Sampled answers that say the same.

    Attributes:
        answer: the first of them as it was written; "" where there was no answer.
        count: how many.
        share: of all sampled answers, in (0, 1].
    """

    answer: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Sampled:
    """Answers of one variant to a question asked several times.

    Attributes:
        arm: the arm's name.
        temperature: of the sampling.
        answers: whole answers in the order of their seeds.
    """

    arm: str
    temperature: float
    answers: tuple[Answer, ...]

    @property
    def groups(self) -> tuple[Group, ...]:
        """Most frequent first, equals in the order in which they were first said."""
        return grouped([answer.response.answer for answer in self.answers])

    def consistency(self, answer: str) -> float:
        """Share of the sampled answers that say the same as this one."""
        drawn = [normalise(sample.response.answer) for sample in self.answers]
        return self_consistency(normalise(answer), drawn)


def sample_answers(
    engine: Engine,
    question: Question,
    arm: str,
    samples: int = SAMPLES,
    temperature: float = TEMPERATURE,
) -> Sampled:
    """Ask an arm several times over, in one batch.

    The seeds follow the question's own, so that the same question gives the same samples.

    Args:
        engine: who answers.
        question: as it was asked; its temperature is left aside.
        arm: the one to ask.
        samples: how many answers.
        temperature: of the sampling.

    Raises:
        QuestionError: as for `Engine.answer_batch`, or the number of samples is out of range.
    """
    if not 2 <= samples <= MOST_SAMPLES:
        raise QuestionError(f"Ask for 2 to {MOST_SAMPLES} samples, not {samples}.")
    first = question.decoding.seed + 1
    asked = [
        replace(
            question,
            arms=(arm,),
            decoding=replace(question.decoding, temperature=temperature, seed=seed),
        )
        for seed in range(first, first + samples)
    ]
    return Sampled(arm, temperature, tuple(answer for (answer,) in engine.answer_batch(asked)))


def grouped(answers: Sequence[str]) -> tuple[Group, ...]:
    """Answers by what they say, most frequent first.

    >>> [(group.answer, group.share) for group in grouped(["No.", "Yes", "no", "no"])]
    [('No.', 0.75), ('Yes', 0.25)]
    """
    same: dict[str, list[str]] = {}
    for answer in answers:
        same.setdefault(normalise(answer), []).append(answer)
    groups = [Group(texts[0], len(texts), len(texts) / len(answers)) for texts in same.values()]
    return tuple(sorted(groups, key=lambda group: -group.count))
