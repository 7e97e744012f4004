"""Ask a model many held-out questions and keep every answer.

All questions about one picture, for all arms, go to the engine together, so that the picture is
looked at once. Answers are greedy; the same question about the same picture is asked once however
many rows share it, which is what makes blank pictures cheap.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from rarl.data.example import SPLITS, Example, ImageRef, Split
from rarl.data.sets import load_set
from rarl.errors import DataError, QuestionError
from rarl.evaluation.metrics import HELD_OUT, differences, figures
from rarl.evaluation.rows import Condition, Key, Row, RowFile, Settings, judge
from rarl.evaluation.statistics import LEVEL, RESAMPLES
from rarl.inference.engine import Answer, Decoding, Engine, NamedImage, Question
from rarl.prompts import prompt_hash
from rarl.response import MODES, Mode

MID_GREY = (128, 128, 128)


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of one set.

    Attributes:
        source: name of the set.
        split: the split taken.
        examples: its rows, or a random part of them.
    """

    source: str
    split: Split
    examples: tuple[Example, ...]


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
    chosen = [row for row in rows if row.split == split]
    if limit is not None and limit < len(chosen):
        kept = sorted(random.Random(seed).sample(range(len(chosen)), limit))
        chosen = [chosen[index] for index in kept]
    return Selection(source, split, tuple(chosen))


def evaluate(
    engine: Engine,
    examples: Sequence[Example],
    *,
    arms: Sequence[str],
    modes: Sequence[Mode],
    out: Path,
    blank: Callable[[Example], bool] = lambda example: False,
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
        blank: which examples are asked a second time about a mid-grey picture of the same size.
        batch: questions handed over at once, each for all arms. Where a model's arithmetic
            depends on the size of a batch, resuming with the same number repeats its answers
            exactly.
        max_new_tokens: completion limit, in tokens.
        seed: recorded with every row; it draws nothing here, since decoding is greedy.
        progress: whether to show a bar with the time left on standard error.

    Returns:
        One row per example, mode, condition and arm, in the order of the arguments.

    Raises:
        QuestionError: an arm is not on offer.
        DataError: an example has no picture, or `out` holds something else.
    """
    revisions = {arm.name: arm.revision for arm in engine.arms}
    for arm in arms:
        if arm not in revisions:
            raise QuestionError(f"There is no arm {arm!r}; choose from {', '.join(revisions)}.")
    if len({example.id for example in examples}) < len(examples):
        raise DataError("Two of these questions have the same id; name each set and split once.")
    settings = Settings(
        model_revision=revisions.get("base", engine.model_name),
        revisions=revisions,
        prompts={mode: prompt_hash(mode) for mode in MODES},
        max_new_tokens=max_new_tokens,
        seed=seed,
    )
    kept = RowFile(out, settings)
    inquiries = _inquiries(examples, modes, blank)

    def keys(inquiry: _Inquiry) -> list[Key]:
        return [
            (example.id, arm, inquiry.mode, inquiry.condition)
            for example in inquiry.examples
            for arm in arms
        ]

    def to_row(inquiry: _Inquiry, example: Example, answer: Answer) -> Row:
        return Row(
            id=example.id,
            source=example.source,
            split=example.split,
            category=example.category,
            kind=example.kind,
            reworded=example.reworded,
            modality=example.modality,
            organ=example.organ,
            image=_image(example).key,
            condition=inquiry.condition,
            arm=answer.arm,
            mode=inquiry.mode,
            question=example.question,
            reference=example.answer,
            text=answer.response.text,
            **judge(answer.response.text, inquiry.mode, example.answer),
            tokens=answer.tokens,
            seconds=round(answer.seconds, 3),
            model=engine.model_name,
            model_revision=settings.model_revision,
            revision=revisions[answer.arm],
            prompt=settings.prompts[inquiry.mode],
            seed=seed,
        )

    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=0.0, seed=seed)
    wanted = [key for inquiry in inquiries for key in keys(inquiry)]
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
                        images=(NamedImage(pictures[inquiry.picture]),),
                        text=inquiry.text,
                        arms=tuple(arms),
                        mode=inquiry.mode,
                        decoding=decoding,
                    )
                    for inquiry in asked
                ]
            )
            kept.add(
                to_row(inquiry, example, answer)
                for inquiry, columns in zip(asked, answers, strict=True)
                for example in inquiry.examples
                for answer in columns
            )
            bar.update(sum(len(keys(inquiry)) for inquiry in asked))
    conditions: tuple[Condition, ...] = ("scan", "blank")
    every = (
        (example.id, arm, mode, condition)
        for example in examples
        for mode in modes
        for condition in conditions
        for arm in arms
    )
    asked_for = set(wanted)
    rows = [kept[key] for key in every if key in asked_for]
    words = {example.id: (example.question, example.answer) for example in examples}
    for row in rows:
        if (row.question, row.reference) != words[row.id]:
            raise DataError(
                f"{out} holds answers to another wording of {row.id}; choose another --out."
            )
    return rows


def summarise(engine: Engine, rows: Sequence[Row]) -> dict[str, Any]:
    """All figures and differences of a run, ready for JSON.

    Returns:
        `model`, `arms` (name, label and revision each), `interval` (how intervals were made),
        `figures` (see `Figure`) and `differences` (see `Difference`).
    """
    answered = {row.arm for row in rows}
    return {
        "model": engine.model_name,
        "arms": [asdict(arm) for arm in engine.arms if arm.name in answered],
        "interval": {
            "level": LEVEL,
            "method": "percentile bootstrap, whole images resampled",
            "resamples": RESAMPLES,
        },
        "figures": [asdict(figure) for figure in figures(rows)],
        "differences": [asdict(difference) for difference in differences(rows)],
    }


@dataclass(frozen=True, slots=True)
class _Inquiry:
    """One question about one picture, and the examples it answers.

    Attributes:
        picture: names the picture among all of the run; a blank one is named by its size.
        size: the picture's width and height, in pixels.
        source: where a scan is read, None for a blank picture.
    """

    picture: str
    size: tuple[int, int]
    source: ImageRef | None
    text: str
    mode: Mode
    examples: tuple[Example, ...]

    @property
    def condition(self) -> Condition:
        return "blank" if self.source is None else "scan"


def _inquiries(
    examples: Sequence[Example], modes: Sequence[Mode], blank: Callable[[Example], bool]
) -> list[_Inquiry]:
    """What to ask, ordered so that neighbours make even batches: by size, then by picture."""
    images = {_image(example).key: _image(example) for example in examples}
    sizes = {key: _size(image) for key, image in images.items()}
    shared: dict[tuple[Mode, str, str], list[Example]] = {}
    for example in examples:
        width, height = sizes[_image(example).key]
        names = [_image(example).key]
        if blank(example):
            names.append(f"blank {width} x {height}")
        for name in names:
            for mode in modes:
                shared.setdefault((mode, name, example.question), []).append(example)
    found = []
    for (mode, name, text), of in shared.items():
        image = _image(of[0])
        source = image if name == image.key else None
        found.append(_Inquiry(name, sizes[image.key], source, text, mode, tuple(of)))
    found.sort(
        key=lambda one: (modes.index(one.mode), one.condition, one.size, one.picture, len(one.text))
    )
    return found


def _batches(inquiries: Sequence[_Inquiry], batch: int) -> Iterator[list[_Inquiry]]:
    """Cut into batches of one mode, not within a picture unless it has more questions than fit."""
    waiting: list[_Inquiry] = []
    for _, group in groupby(inquiries, key=lambda one: (one.mode, one.picture)):
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
        one.picture: Image.new("RGB", one.size, MID_GREY)
        if one.source is None
        else one.source.load()
        for one in {inquiry.picture: inquiry for inquiry in asked}.values()
    }


def _image(example: Example) -> ImageRef:
    if example.image is None:
        raise DataError(f"{example.id} has no picture, so it cannot be asked.")
    return example.image


def _size(image: ImageRef) -> tuple[int, int]:
    """Width and height in pixels, from the file's header alone."""
    try:
        with Image.open(io.BytesIO(image.read()), formats=("PNG", "JPEG", "WEBP")) as opened:
            return opened.size
    except UnidentifiedImageError as error:
        raise DataError(f"Image {image.key} is not a PNG, JPEG or WebP file.") from error
