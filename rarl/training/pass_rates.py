"""How often a base answers each training question rightly, to leave out what RL cannot learn from.

Where all completions of a question earn the same reward, GRPO's advantages are zero. Questions that
the base always or never gets right mostly do. MedVLThinker (arXiv 2508.02669) drops them by the
pass rate of sampled answers before training; DAPO (arXiv 2503.14476) drops such groups as it goes.

`python -m rarl pass-rates` writes one JSON line per question, and `rarl train rl --pass-rates FILE`
trains on those in between.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

from tqdm import tqdm

from rarl.data.example import Example
from rarl.errors import DataError
from rarl.inference.engine import Decoding, Engine, NamedImage, Question
from rarl.response import Mode
from rarl.rewards.accuracy import is_right

# Questions asked in one go.
_BATCH = 8


@dataclass(frozen=True, slots=True)
class PassRate:
    """Sampled answers to one training question.

    Attributes:
        id: of the row.
        right: how many of the sampled answers are right.
        samples: how many were sampled.
        model_revision: twelve hex digits of the base.
        mode: inference mode that it was asked in.
        seed: of the first sample.
    """

    id: str
    right: int
    samples: int
    model_revision: str
    mode: Mode
    seed: int

    @property
    def differs(self) -> bool:
        """Whether some answers are right and others wrong."""
        return 0 < self.right < self.samples


def measure_pass_rates(
    engine: Engine,
    examples: Sequence[Example],
    out: Path,
    *,
    samples: int = 8,
    mode: Mode = "answer",
    seed: int = 0,
    max_new_tokens: int = 64,
) -> list[PassRate]:
    """Sample answers of the base at temperature 1; what `out` already holds is not asked again.

    Args:
        engine: offers the base.
        examples: training rows with pictures.
        out: file of one JSON line per question.
        samples: answers to each.
        mode: "answer" costs a few tokens a sample.
        seed: of the first sample; the others follow.
        max_new_tokens: limit of an answer, in tokens.

    Returns:
        One for each example, in their order.

    Raises:
        DataError: `out` holds answers of another base, or of other settings.
        QuestionError: a picture cannot be read.
    """
    (base,) = (arm for arm in engine.arms if arm.name == "base")
    known = {rate.id: rate for rate in read_pass_rates(out)} if out.exists() else {}
    settings = (samples, base.revision, mode, seed)
    for rate in known.values():
        if (rate.samples, rate.model_revision, rate.mode, rate.seed) != settings:
            raise DataError(
                f"{out} holds pass rates of another base, mode, seed or number of samples; give "
                "another file with --out, or remove it."
            )
    pending = [example for example in examples if example.id not in known]
    decodings = [
        Decoding(max_new_tokens=max_new_tokens, temperature=1.0, seed=seed + number)
        for number in range(samples)
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        for some in tqdm(_batches(pending), total=-(-len(pending) // _BATCH), unit="batch"):
            questions = [
                Question(_pictures(example), example.question, ("base",), mode, decoding)
                for example in some
                for decoding in decodings
            ]
            answers = iter(engine.answer_batch(questions))
            for example in some:
                texts = [next(answers)[0].response.answer for _ in decodings]
                right = sum(
                    is_right(text, example.answer, example.question, example.explanation or "")
                    for text in texts
                )
                rate = PassRate(example.id, right, samples, base.revision, mode, seed)
                known[rate.id] = rate
                file.write(json.dumps(asdict(rate)) + "\n")
            file.flush()
    return [known[example.id] for example in examples]


def read_pass_rates(path: Path) -> list[PassRate]:
    """Read what `measure_pass_rates` wrote; a line that was cut short at the end is left out.

    Raises:
        DataError: the file is missing or is none of these.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise DataError(
            f"The pass rates {path} cannot be read; write them with python -m rarl pass-rates."
        ) from error
    rates = []
    for number, line in enumerate(lines, 1):
        try:
            rates.append(PassRate(**json.loads(line)))
        except (TypeError, ValueError) as error:
            if number == len(lines):
                break
            raise DataError(f"Line {number} of {path} is no pass rate; write it again.") from error
    return rates


def with_differing_answers(
    examples: Sequence[Example], rates: Sequence[PassRate], revision: str
) -> list[Example]:
    """Rows whose sampled answers were partly right.

    Args:
        examples: training rows; one without a pass rate is left out.
        rates: of these rows.
        revision: of the base that is trained.

    Raises:
        DataError: the rates are of another base, or none is left.
    """
    if any(rate.model_revision != revision for rate in rates):
        raise DataError(
            "The pass rates are of another base; write them for this one with "
            "python -m rarl pass-rates."
        )
    differs: Mapping[str, bool] = {rate.id: rate.differs for rate in rates}
    kept = [example for example in examples if differs.get(example.id, False)]
    if not kept:
        raise DataError(
            "No question has both right and wrong answers among its samples; sample more questions "
            "(--limit) or more answers (--samples)."
        )
    return kept


def in_turn(examples: Sequence[Example], seed: int) -> list[Example]:
    """The rows in random order, from each set's kinds of questions in turn.

    So the first of them are a sample in which no large set leaves the others without room.
    """
    queues: dict[tuple[str, str], list[Example]] = {}
    for row in random.Random(seed).sample(list(examples), len(examples)):
        queues.setdefault((row.source, row.category or row.kind), []).append(row)
    rounds = zip_longest(*queues.values())
    return [row for turn in rounds for row in turn if row is not None]


def _batches(examples: Sequence[Example]) -> Iterator[Sequence[Example]]:
    for start in range(0, len(examples), _BATCH):
        yield examples[start : start + _BATCH]


def _pictures(example: Example) -> tuple[NamedImage, ...]:
    return () if example.image is None else (NamedImage(example.image.load()),)
