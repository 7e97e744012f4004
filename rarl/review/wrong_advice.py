"""Wrong advice that a study shows on purpose, so that one sees whether its readers notice.

It is kept in a table of its own (`advice`), never among the answers of a variant: flags, training
data and the statistics of variants do not see it.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from rarl.errors import ReviewError
from rarl.records import CaseSnapshot
from rarl.response import parse_response
from rarl.review.reader_metrics import agreement_with
from rarl.text.normalise import tokens

Source = Literal["variant", "sample", "flip"]
SOURCES: tuple[Source, ...] = get_args(Source)

_T = TypeVar("_T", bound=Hashable)
_OPPOSITES = (
    ("yes", "no"), ("left", "right"), ("upper", "lower"), ("anterior", "posterior"),
    ("medial", "lateral"), ("proximal", "distal"), ("benign", "malignant"),
    ("normal", "abnormal"), ("present", "absent"), ("acute", "chronic"),
    ("increased", "decreased"), ("enlarged", "reduced"),
)  # fmt: skip
_OPPOSITE = {word: other for pair in _OPPOSITES for word, other in (pair, pair[::-1])}


@dataclass(frozen=True, slots=True)
class WrongAdvice:
    """What a study's owner asks for.

    Attributes:
        share: of the tasks with AI that show wrong advice, 0 to 1.
        sources: where it may come from, the preferred first: "variant" (another variant's answer to
            the same case), "sample" (an answer sampled from a model) or "flip" (the settled answer
            turned round).
        samples: for each case, completions sampled from a model; those that the store keeps, see
            `rarl.review.measuring`, where not given.
    """

    share: float
    sources: tuple[Source, ...] = SOURCES
    samples: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ReviewError: the share or a source is none.
        """
        if not 0 < self.share < 1:
            raise ReviewError("The share of wrong advice lies between 0 and 1; choose again.")
        if not self.sources or not set(self.sources) <= set(SOURCES):
            raise ReviewError(f"Wrong advice comes from {', '.join(SOURCES)}; choose of these.")


@dataclass(frozen=True, slots=True)
class Advice:
    """One piece of wrong advice.

    Attributes:
        source: where it comes from.
        answer: what is shown as the AI's answer.
        reasoning: what is shown as its reasoning; empty where there is none to show.
    """

    source: Source
    answer: str
    reasoning: str


def flipped(answer: str) -> str | None:
    """A short answer turned round; None where no word of it has an opposite.

    >>> flipped("yes"), flipped("left lower lobe"), flipped("glioma")
    ('no', 'right lower lobe', None)
    """
    words = answer.split()
    for place, word in enumerate(words):
        (plain,) = tokens(word)[:1] or [""]
        other = _OPPOSITE.get(plain)
        if other is not None:
            words[place] = other if word.islower() else other.capitalize()
            return " ".join(words)
    return None


def wrong_for(
    case: CaseSnapshot, arm: str, reference: str, asked: WrongAdvice, reasoning: bool
) -> Advice | None:
    """Plausible wrong advice for a case; None where no source has any.

    Args:
        case: with the answers of all variants.
        arm: whose right advice it would replace.
        reference: the settled answer.
        asked: the sources, in order.
        reasoning: whether reasoning must come with it.
    """
    others = [other for other in case.answers if other.arm != arm and not other.stopped]
    stored = [(other.answer.strip(), other.reasoning.strip()) for other in others]
    sampled = [
        (parsed.answer.strip(), parsed.reasoning.strip())
        for text in (asked.samples or {}).get(case.id, ())
        for parsed in [parse_response(text)]
    ]
    for source in asked.sources:
        if source == "flip":
            turned = flipped(reference)
            # Reasoning is not made up: it is what a model has said for the same answer.
            known = [*stored, *sampled]
            candidates = [] if turned is None else [(turned, "")]
            candidates += [
                (turned, why)
                for answer_text, why in known
                if turned and answer_text == turned and why
            ]
        else:
            candidates = stored if source == "variant" else sampled
        for answer_text, why in candidates:
            if (
                answer_text
                and agreement_with(answer_text, reference) == 0
                and (why or not reasoning)
            ):
                return Advice(source, answer_text, why if reasoning else "")
    return None


def choose(
    tasks: Sequence[tuple[_T, Hashable]], share: float, start: float, eligible: set[_T]
) -> set[_T]:
    """Which tasks of one reader show wrong advice: a systematic sample over the strata.

    Each stratum gets its share to within one task.

    Args:
        tasks: with the stratum of each.
        share: of all tasks, 0 to 1.
        start: 0 to 1; where the sample begins, other for each reader so that a case is shown with
            wrong advice to some readers and with the variant's own to others.
        eligible: tasks for which there is wrong advice.

    Raises:
        ReviewError: too few tasks are eligible.

    >>> sorted(choose([(n, n % 2) for n in range(8)], 0.5, 0.1, set(range(8))))
    [2, 3, 6, 7]
    """
    strata: dict[Hashable, list[_T]] = defaultdict(list)
    for task, stratum in tasks:
        strata[stratum].append(task)
    ordered = [task for stratum in sorted(strata, key=str) for task in strata[stratum]]
    wanted = {
        number
        for number in range(len(ordered))
        if math.floor((number + 1) * share + start) > math.floor(number * share + start)
    }
    count = len(wanted)
    possible = [number for number, task in enumerate(ordered) if task in eligible]
    if len(possible) < count:
        raise ReviewError(
            f"Wrong advice can be made for {len(possible)} of {len(ordered)} tasks of a reader, "
            f"and {count} are asked for: settle more cases, choose more sources (`review measure` "
            "samples answers), or a smaller share."
        )
    # A task without wrong advice to show hands its turn to the nearest one that has some.
    chosen: set[int] = set()
    for number in sorted(wanted):
        free = [other for other in possible if other not in chosen]
        chosen.add(min(free, key=lambda other: (abs(other - number), other)))
    return {ordered[number] for number in chosen}


def starts(readers: int, seed: int) -> list[float]:
    """Where each reader's sample begins: evenly spread, from a place that the seed draws."""
    first = random.Random(f"wrong advice {seed}").random()
    return [(first + number / readers) % 1 for number in range(readers)]
