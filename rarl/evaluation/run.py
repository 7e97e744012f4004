"""Ask a model many held-out questions and keep every answer.

All questions about one picture, for all arms, go to the engine together, so that the picture is
looked at once. The same question about the same picture is asked once however many rows share it,
which is what makes blank and swapped pictures cheap.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any
from zlib import crc32

from PIL import Image
from tqdm import tqdm

from rarl.data.example import SPLITS, Example, ImageRef, Split
from rarl.data.sets import load_set
from rarl.errors import DataError, QuestionError
from rarl.evaluation.conditions import (
    CONDITIONS,
    Condition,
    Picture,
    image_of,
    image_size,
    picture_for,
    reference_under,
    swap_partners,
)
from rarl.evaluation.leaks import Leak
from rarl.evaluation.measures import score
from rarl.evaluation.metrics import (
    HELD_OUT,
    Labels,
    calibration,
    differences,
    figures,
    reliance,
    strata,
)
from rarl.evaluation.rows import Key, Row, RowFile, Settings
from rarl.evaluation.statistics import LEVEL, RESAMPLES
from rarl.inference.engine import Answer, Decoding, Engine, NamedImage, Question
from rarl.inference.sampling import TEMPERATURE
from rarl.prompts import prompt_hash
from rarl.response import MODES, Mode


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of one set.

    Attributes:
        source: name of the set.
        split: the split taken.
        examples: its rows, or a random part of them.
        pool: all its rows, whose images may be swapped in.
    """

    source: str
    split: Split
    examples: tuple[Example, ...]
    pool: tuple[Example, ...]


def select(name: str, limit: int | None = None, seed: int = 0) -> Selection:
    """Take rows of a set.

    Args:
        name: `NAME` or `NAME:SPLIT`; without a split, the first that is there of test,
            image-disjoint and unseen.
        limit: at most so many rows, drawn at random, in the set's order.
        seed: of that draw.

    Raises:
        DataError: there is no such set or split, or it is not at hand, or it has no picture.
    """
    source, _, wanted = name.partition(":")
    if wanted and wanted not in SPLITS:
        raise DataError(f"There is no split {wanted!r}; choose from {', '.join(SPLITS)}.")
    rows = load_set(source)
    held = {row.split for row in rows}
    choices = [split for split in SPLITS if split == wanted] if wanted else list(HELD_OUT)
    split = next((split for split in choices if split in held), None)
    if split is None:
        there = [split for split in SPLITS if split in held]
        raise DataError(
            f"{source} has no {wanted or 'held-out'} row; it has {', '.join(there) or 'none'}."
        )
    pool = chosen = [row for row in rows if row.split == split]
    if limit is not None and limit < len(chosen):
        kept = sorted(random.Random(seed).sample(range(len(chosen)), limit))
        chosen = [chosen[index] for index in kept]
    return Selection(source, split, tuple(chosen), tuple(pool))


def evaluate(
    engine: Engine,
    examples: Sequence[Example],
    *,
    arms: Sequence[str],
    modes: Sequence[Mode],
    out: Path,
    altered: Callable[[Example], Collection[Condition]] = lambda example: (),
    pool: Sequence[Example] | None = None,
    draws: int = 0,
    temperature: float = TEMPERATURE,
    batch: int = 16,
    max_new_tokens: int = 256,
    seed: int = 0,
    progress: bool = True,
) -> list[Row]:
    """Ask what is not yet answered in `out`, and return all rows of this run.

    Args:
        engine: who answers.
        examples: the questions; ids are unique.
        arms: who shall answer, all of them on offer.
        modes: inference modes, each asked in turn.
        out: the run's folder, see `RowFile`.
        altered: what each example is asked about besides its scan. Left out where the right
            answer would not be known, or where there is no image to swap for.
        pool: examples whose images may be swapped in; those asked, where not given.
        draws: answers sampled about the scan besides the greedy one.
        temperature: of these.
        batch: questions handed over at once, each for all arms. Where a model's arithmetic
            depends on the size of a batch, resuming with the same number repeats its answers
            exactly.
        max_new_tokens: completion limit, in tokens.
        seed: of swaps and sampled answers.
        progress: whether to show a bar with the time left on standard error.

    Returns:
        One row per example, mode, condition, draw and arm, in the order of the arguments.

    Raises:
        QuestionError: an arm is not on offer.
        DataError: an example has no picture, or `out` holds something else.
    """
    revisions = {arm.name: arm.revision for arm in engine.arms}
    for arm in arms:
        if arm not in revisions:
            raise QuestionError(f"There is no arm {arm!r}; choose from {', '.join(revisions)}.")
    by_id = {example.id: example for example in examples}
    if len(by_id) < len(examples):
        raise DataError("Two of these questions have the same id; name each set and split once.")
    settings = Settings(
        model_revision=revisions.get("base", engine.model_name),
        revisions=revisions,
        prompts={mode: prompt_hash(mode) for mode in MODES},
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
    )
    partners = swap_partners(examples if pool is None else pool, seed)
    inquiries = _inquiries(examples, modes, altered, partners, draws)
    kept = RowFile(out, settings)

    def keys(inquiry: _Inquiry) -> list[Key]:
        return [
            (example.id, arm, inquiry.mode, condition, inquiry.draw)
            for example, condition in inquiry.rows
            for arm in arms
        ]

    def decoding(inquiry: _Inquiry) -> Decoding:
        if inquiry.draw == 0:
            return Decoding(max_new_tokens=max_new_tokens, temperature=0.0, seed=seed)
        # A seed for each question: with one for all, every question would share its luck.
        drawn = crc32(f"{seed} {inquiry.draw} {inquiry.picture.name} {inquiry.text}".encode())
        return Decoding(max_new_tokens=max_new_tokens, temperature=temperature, seed=drawn)

    def to_row(inquiry: _Inquiry, example: Example, condition: Condition, answer: Answer) -> Row:
        drawn = decoding(inquiry)
        return Row(
            id=example.id,
            source=example.source,
            split=example.split,
            category=example.category,
            kind=example.kind,
            reworded=example.reworded,
            modality=example.modality,
            organ=example.organ,
            image=image_of(example).key,
            condition=condition,
            shown=inquiry.picture.name,
            arm=answer.arm,
            mode=inquiry.mode,
            draw=inquiry.draw,
            question=example.question,
            text=answer.response.text,
            **score(answer.response.text, inquiry.mode, example, condition),
            tokens=answer.tokens,
            seconds=round(answer.seconds, 3),
            temperature=drawn.temperature,
            max_new_tokens=max_new_tokens,
            model=engine.model_name,
            model_revision=settings.model_revision,
            revision=revisions[answer.arm],
            prompt=settings.prompts[inquiry.mode],
            seed=drawn.seed,
        )

    wanted = {key: inquiry.picture.name for inquiry in inquiries for key in keys(inquiry)}
    # A batch that a killed run left half written is asked again as a whole, so that every answer
    # comes from the batch it would have come from.
    missing = [
        asked
        for asked in _batches(inquiries, batch)
        if not all(key in kept for inquiry in asked for key in keys(inquiry))
    ]
    open_rows = sum(len(keys(inquiry)) for asked in missing for inquiry in asked)
    with tqdm(
        total=len(wanted),
        initial=len(wanted) - open_rows,
        unit=" answers",
        disable=not progress,
        mininterval=1.0,
    ) as bar:
        for asked in missing:
            pictures = _pictures(asked)
            answers = engine.answer_batch(
                [
                    Question(
                        images=(NamedImage(pictures[inquiry.picture.name]),),
                        text=inquiry.text,
                        arms=tuple(arms),
                        mode=inquiry.mode,
                        decoding=decoding(inquiry),
                    )
                    for inquiry in asked
                ]
            )
            kept.add(
                to_row(inquiry, example, condition, answer)
                for inquiry, columns in zip(asked, answers, strict=True)
                for example, condition in inquiry.rows
                for answer in columns
            )
            bar.update(sum(len(keys(inquiry)) for inquiry in asked))
    every = [
        key
        for example in examples
        for mode in modes
        for condition in CONDITIONS
        for draw in range(draws + 1)
        for arm in arms
        if (key := (example.id, arm, mode, condition, draw)) in wanted
    ]
    rows = []
    for key in every:
        row = kept[key]
        # Judged anew, so that a corrected rule also holds for kept texts.
        fresh = score(row.text, row.mode, by_id[row.id], row.condition)
        if (row.question, row.reference) != (by_id[row.id].question, fresh["reference"]):
            raise DataError(
                f"{out} holds answers to another wording of {row.id}; choose another --out."
            )
        if row.shown != wanted[key]:
            raise DataError(
                f"{out} holds answers about another picture for {row.id}; choose another --out."
            )
        rows.append(replace(row, **fresh))
    outdated = {row.key: row for row in rows if row != kept[row.key]}
    if outdated:
        kept.replace(outdated)
    return rows


def summarise(
    engine: Engine, rows: Sequence[Row], leaks: Sequence[Leak] | None = None
) -> dict[str, Any]:
    """All figures and differences of a run, ready for JSON.

    Args:
        engine: who answered.
        rows: as `evaluate` returns them.
        leaks: what the sets share with training, None where that was not looked at.

    Returns:
        `model`, `arms` (name, label and revision each), `interval` (how intervals were made),
        `figures` and `strata` (see `Figure`), `differences`, `reliance`, `calibration` (see the
        classes of these names) and `leakage` (counts for each set, or None).
    """
    answered = {row.arm for row in rows}
    labels: Labels = {(leak.source, leak.split): leak.label for leak in leaks or ()}
    return {
        "model": engine.model_name,
        "arms": [asdict(arm) for arm in engine.arms if arm.name in answered],
        "interval": {
            "level": LEVEL,
            "method": "percentile bootstrap, whole images resampled",
            "resamples": RESAMPLES,
        },
        "figures": [asdict(one) for one in figures(rows, labels)],
        "strata": [asdict(one) for one in strata(rows, labels)],
        "differences": [asdict(one) for one in differences(rows, labels)],
        "reliance": [asdict(one) for one in reliance(rows, labels)],
        "calibration": [asdict(one) for one in calibration(rows, labels)],
        "leakage": None if leaks is None else [leak.counts() for leak in leaks],
    }


@dataclass(frozen=True, slots=True)
class _Inquiry:
    """One question about one picture, and the rows it answers.

    Attributes:
        picture: what is shown.
        text: the question.
        mode: inference mode.
        draw: 0 for the greedy answer, else which of the sampled ones.
        rows: each example with the condition under which this is what it is asked.
    """

    picture: Picture
    text: str
    mode: Mode
    draw: int
    rows: tuple[tuple[Example, Condition], ...]


def _inquiries(
    examples: Sequence[Example],
    modes: Sequence[Mode],
    altered: Callable[[Example], Collection[Condition]],
    partners: dict[str, ImageRef],
    draws: int,
) -> list[_Inquiry]:
    """What to ask, ordered so that neighbours make even batches: by size, then by picture."""
    images = {image.key: image for image in map(image_of, examples)}
    # Images that are swapped in need a size too.
    shown = images | {partners[key].key: partners[key] for key in images if key in partners}
    sizes = {key: image_size(image) for key, image in shown.items()}
    pictures: dict[str, Picture] = {}
    shared: dict[tuple[Mode, str, str, int], list[tuple[Example, Condition]]] = {}
    for example in examples:
        extra = altered(example)
        for condition in CONDITIONS:
            if condition != "scan" and condition not in extra:
                continue
            picture = picture_for(image_of(example), condition, sizes, partners)
            if picture is None or reference_under(example, condition) is None:
                continue
            pictures[picture.name] = picture
            for draw in range(1 + (draws if condition == "scan" else 0)):
                for mode in modes:
                    asked = shared.setdefault((mode, picture.name, example.question, draw), [])
                    asked.append((example, condition))
    found = [
        _Inquiry(pictures[name], text, mode, draw, tuple(of))
        for (mode, name, text, draw), of in shared.items()
    ]
    found.sort(
        key=lambda one: (
            modes.index(one.mode),
            one.draw > 0,
            one.picture.source is None,
            one.picture.mirrored,
            one.picture.size,
            one.picture.name,
            len(one.text),
        )
    )
    return found


def _batches(inquiries: Sequence[_Inquiry], batch: int) -> Iterator[list[_Inquiry]]:
    """Cut into batches of one mode, not within a picture unless it has more questions than fit."""
    waiting: list[_Inquiry] = []
    for _, group in groupby(inquiries, key=lambda one: (one.mode, one.draw > 0, one.picture.name)):
        of_picture = list(group)
        if waiting and (
            len(waiting) + len(of_picture) > batch or waiting[0].mode != of_picture[0].mode
        ):
            yield waiting
            waiting = []
        waiting += of_picture
        while len(waiting) > batch:
            yield waiting[:batch]
            waiting = waiting[batch:]
    if waiting:
        yield waiting


def _pictures(asked: Sequence[_Inquiry]) -> dict[str, Image.Image]:
    """Each picture of a batch once, so that the engine sees which questions share it."""
    return {
        picture.name: picture.load()
        for picture in {one.picture.name: one.picture for one in asked}.values()
    }
