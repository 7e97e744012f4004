"""Ask a model held-out questions and record every answer.

All questions about one picture, for all arms, go to the engine one batch after the other, so that
the picture is looked at once. The same question about the same picture is asked once however many
rows share it, which is what makes blank and swapped pictures cheap.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from PIL import Image
from tqdm import tqdm

from rarl.data.example import SPLITS, Example, ImageRef, Split
from rarl.data.sets import load_set
from rarl.errors import DataError, QuestionError
from rarl.evaluation.asked import Asked, asked_under
from rarl.evaluation.choices import by_place, rotations
from rarl.evaluation.contamination import Leak
from rarl.evaluation.failures import clusters, crossings
from rarl.evaluation.image_ablations import (
    CONDITIONS,
    ROTATED,
    Condition,
    Picture,
    image_of,
    image_size,
    picture_for,
    swap_partners,
)
from rarl.evaluation.metrics import (
    HELD_OUT,
    Labels,
    calibration,
    checked,
    differences,
    figures,
    measured_frame,
    reliance,
    strata,
)
from rarl.evaluation.probes import abstention, probes
from rarl.evaluation.row_scores import score
from rarl.evaluation.rows import Key, Row, RowFile, Settings
from rarl.inference.engine import (
    Answer,
    AnswersAsTheyCome,
    Decoding,
    Engine,
    NamedImage,
    Question,
    Verbatim,
)
from rarl.inference.self_consistency import TEMPERATURE
from rarl.prompts import messages, prompt_hash, words_of
from rarl.response import MODES, Mode
from rarl.stats.bootstrap import LEVEL, RESAMPLES

# Pictures whose questions are asked in one go; engines keep at least so many encoded.
NEIGHBOURS = 12


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
    draws: Callable[[Example], int] = lambda example: 0,
    temperature: float = TEMPERATURE,
    batch: int = 16,
    max_new_tokens: int = 256,
    seed: int = 0,
    progress: bool = True,
    may_abstain: bool = False,
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
        draws: how many answers are sampled about each example's scan besides the greedy one.
        temperature: of these.
        batch: questions handed over at once, each for all arms; of no account where an engine
            keeps many under way itself (`AnswersAsTheyCome`). Where a model's arithmetic
            depends on the size of a batch, resuming with the same number repeats its answers
            exactly.
        max_new_tokens: completion limit, in tokens.
        seed: of swaps and sampled answers.
        may_abstain: whether every question offers "cannot tell from this image" as an answer.
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
        prompts={mode: prompt_hash(mode) for mode in MODES}
        | {f"{mode}, multiple choice": prompt_hash(mode, choice=True) for mode in MODES},
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
    )
    ask = partial(asked_under, seed=seed, may_abstain=may_abstain)
    partners = swap_partners(examples if pool is None else pool, seed)
    inquiries = _inquiries(examples, modes, altered, partners, draws, ask)
    wordings = {(each.mode, len(each.pictures), bool(each.options)) for each in inquiries}
    prompts = {
        (mode, count, choice): prompt_hash(mode, count, choice) for mode, count, choice in wordings
    }
    kept = RowFile(out, settings)
    # The same object for the same picture, so that the engine sees which questions share it.
    load = lru_cache(2 * NEIGHBOURS)(Picture.load)

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
        drawn = crc32(f"{seed} {inquiry.draw} {inquiry.shown} {inquiry.text}".encode())
        return Decoding(max_new_tokens=max_new_tokens, temperature=temperature, seed=drawn)

    def asked_of(example: Example, condition: Condition) -> Asked:
        asked = ask(example, condition)
        assert asked is not None
        return asked

    def question_of(inquiry: _Inquiry) -> Question:
        return Question(
            images=tuple(NamedImage(load(one)) for one in inquiry.pictures),
            text=inquiry.text,
            options=inquiry.options,
            arms=tuple(arms),
            mode=inquiry.mode,
            decoding=decoding(inquiry),
        )

    questions: dict[int, Question] = {}

    @lru_cache(4 * NEIGHBOURS)
    def seen(picture: Picture) -> tuple[str, float]:
        image = load(picture)
        return pixel_hash(image), round(float(np.asarray(image.convert("L")).std()), 1)

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
            shown=inquiry.shown,
            arm=answer.arm,
            mode=inquiry.mode,
            draw=inquiry.draw,
            question=inquiry.text,
            text=answer.response.text,
            **score(
                answer.response.text, inquiry.mode, example, condition, asked_of(example, condition)
            ),
            tokens=answer.tokens,
            seconds=round(answer.seconds, 3),
            temperature=drawn.temperature,
            max_new_tokens=max_new_tokens,
            model=engine.model_name,
            model_revision=settings.model_revision,
            revision=revisions[answer.arm],
            prompt=prompts[inquiry.mode, len(inquiry.pictures), bool(inquiry.options)],
            seed=drawn.seed,
            asked=prompt_text(engine, questions[id(inquiry)], answer.arm),
            picture_hashes=tuple(seen(one)[0] for one in inquiry.pictures),
            picture_side=min(inquiry.pictures[0].size),
            picture_contrast=seen(inquiry.pictures[0])[1],
            scored_against=scored_against(example, condition),
        )

    wanted = {key: inquiry.shown for inquiry in inquiries for key in keys(inquiry)}
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
        if isinstance(engine, AnswersAsTheyCome):
            # A server has no batches: whatever is not kept is asked, as fast as it answers.
            open_ones = [
                inquiry
                for together in missing
                for inquiry in together
                if not all(key in kept for key in keys(inquiry))
            ]

            def asking() -> Iterator[Question]:
                for inquiry in open_ones:
                    questions[id(inquiry)] = question_of(inquiry)
                    yield questions[id(inquiry)]

            for place, columns in engine.answer_each(asking()):
                inquiry = open_ones[place]
                kept.add(
                    to_row(inquiry, example, condition, answer)
                    for example, condition in inquiry.rows
                    for answer in columns
                )
                del questions[id(inquiry)]
                bar.update(len(keys(inquiry)))
            missing = []
        for together in missing:
            questions = {id(inquiry): question_of(inquiry) for inquiry in together}
            answers = engine.answer_batch(list(questions.values()))
            kept.add(
                to_row(inquiry, example, condition, answer)
                for inquiry, columns in zip(together, answers, strict=True)
                for example, condition in inquiry.rows
                for answer in columns
            )
            bar.update(sum(len(keys(inquiry)) for inquiry in together))
    every = [
        key
        for example in examples
        for mode in modes
        for condition in CONDITIONS
        for draw in range(draws(example) + 1)
        for arm in arms
        if (key := (example.id, arm, mode, condition, draw)) in wanted
    ]
    rows = []
    for key in every:
        row = kept[key]
        # Judged anew, so that a corrected rule also holds for kept texts.
        asked = asked_of(by_id[row.id], row.condition)
        fresh = score(row.text, row.mode, by_id[row.id], row.condition, asked)
        if (row.question, row.reference, row.options) != (
            asked.text,
            asked.reference,
            asked.options,
        ):
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


def prompt_text(engine: Engine, question: Question, arm: str) -> str:
    """What an arm reads; the turns that are sent to it, as JSON, where a server writes the text."""
    if isinstance(engine, Verbatim):
        # One arm of several may run on a server.
        with suppress(QuestionError):
            return engine.prompt(question, arm)
    names = [named.name for named in question.images]
    return json.dumps(messages(words_of(question), names), ensure_ascii=False)


def pixel_hash(image: Image.Image) -> str:
    """16 hex digits of the SHA-256 of width, height and RGB pixels."""
    pixels = image.convert("RGB")
    return hashlib.sha256(f"{pixels.size}".encode() + pixels.tobytes()).hexdigest()[:16]


def scored_against(example: Example, condition: Condition) -> str:
    """JSON of what a row's scores are taken from, besides its reference."""
    held: dict[str, Any] = {}
    if example.explanation:
        held["explanation"] = example.explanation
    if example.facts and (condition == "scan" or condition in ROTATED):
        held["facts"] = [asdict(fact) for fact in example.facts]
    return json.dumps(held, ensure_ascii=False)


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
        classes of these names), `failures` and `crossings` (see `rarl.evaluation.failures`),
        `probes` and `abstention` (see `rarl.evaluation.probes`), `places` and `rotations` of
        multiple choice (see `rarl.evaluation.choices`), `checks` (see `CheckCount`) and `leakage`
        (counts for each set, or None).
    """
    answered = {row.arm for row in rows}
    labels: Labels = {(leak.source, leak.split): leak.label for leak in leaks or ()}
    arms = [asdict(arm) for arm in engine.arms if arm.name in answered]
    summary = summary_of(engine.model_name, arms, rows, labels)
    return summary | {"leakage": None if leaks is None else [leak.counts() for leak in leaks]}


def summary_of(
    model: str, arms: Sequence[Mapping[str, Any]], rows: Sequence[Row], labels: Labels
) -> dict[str, Any]:
    """`summarise` without leakage, from what the rows alone say.

    Args:
        model: name the base was resolved from.
        arms: name, label and revision of each that answered.
        rows: every row of the run.
        labels: what each set and split is called, see `rarl.evaluation.metrics.groups`.
    """
    frame = measured_frame(rows)
    return {
        "model": model,
        "arms": list(arms),
        "interval": {
            "level": LEVEL,
            "method": "percentile bootstrap, whole images resampled",
            "resamples": RESAMPLES,
        },
        "figures": [asdict(one) for one in figures(frame, labels)],
        "strata": [asdict(one) for one in strata(frame, labels)],
        "differences": [asdict(one) for one in differences(frame, labels)],
        "reliance": [asdict(one) for one in reliance(frame, labels)],
        "calibration": [asdict(one) for one in calibration(frame, labels)],
        "probes": [asdict(one) for one in probes(frame, labels)],
        "abstention": [asdict(one) for one in abstention(frame, labels)],
        "failures": [asdict(one) for one in clusters(frame, labels)],
        "crossings": [asdict(one) for one in crossings(frame, labels)],
        "places": [asdict(one) for one in by_place(frame, labels)],
        "rotations": [asdict(one) for one in rotations(frame, labels)],
        "checks": [asdict(one) for one in checked(rows)],
    }


@dataclass(frozen=True, slots=True)
class _Inquiry:
    """One question about one picture or several, and the rows it answers.

    Attributes:
        pictures: what is shown, in order.
        text: the question.
        options: of a multiple-choice question, in the order in which they are shown.
        mode: inference mode.
        draw: 0 for the greedy answer, else which of the sampled ones.
        rows: each example with the condition under which this is what it is asked.
    """

    pictures: tuple[Picture, ...]
    text: str
    options: tuple[str, ...]
    mode: Mode
    draw: int
    rows: tuple[tuple[Example, Condition], ...]

    @property
    def shown(self) -> str:
        """Names of the pictures."""
        return _shown(self.pictures)

    @property
    def length(self) -> int:
        """Characters of the question with its options."""
        return len(self.text) + sum(map(len, self.options))


def _inquiries(
    examples: Sequence[Example],
    modes: Sequence[Mode],
    altered: Callable[[Example], Collection[Condition]],
    partners: dict[str, ImageRef],
    draws: Callable[[Example], int],
    ask: Callable[[Example, Condition], Asked | None],
) -> list[_Inquiry]:
    """The questions to ask, ordered by size of the picture, then by picture."""
    for example in examples:
        image_of(example)  # says which example has no picture
    images = {image.key: image for example in examples for image in example.images}
    # Images that are swapped in need a size too.
    needed = images | {partners[key].key: partners[key] for key in images if key in partners}
    sizes = {key: image_size(image) for key, image in needed.items()}
    pictures: dict[str, tuple[Picture, ...]] = {}
    shared: dict[tuple[Mode, str, str, tuple[str, ...], int], list[tuple[Example, Condition]]] = {}
    for example in examples:
        extra = altered(example)
        for condition in CONDITIONS:
            if condition != "scan" and condition not in extra:
                continue
            asked = ask(example, condition)
            if asked is None:
                continue
            found = [
                picture_for(one, condition, sizes, partners, asked.burned_in)
                for one in example.images
            ]
            shown = tuple(picture for picture in found if picture is not None)
            if len(shown) < len(found):
                continue
            name = _shown(shown)
            pictures[name] = shown
            for draw in range(1 + (draws(example) if condition == "scan" else 0)):
                for mode in modes:
                    key = (mode, name, asked.text, asked.options, draw)
                    shared.setdefault(key, []).append((example, condition))
    inquiries = [
        _Inquiry(pictures[name], text, options, mode, draw, tuple(of))
        for (mode, name, text, options, draw), of in shared.items()
    ]
    inquiries.sort(
        key=lambda one: (
            modes.index(one.mode),
            one.draw > 0,
            one.pictures[0].source is None,
            CONDITIONS.index(one.pictures[0].change),
            one.pictures[0].size,
            one.shown,
        )
    )
    return inquiries


def _shown(pictures: Iterable[Picture]) -> str:
    return " + ".join(picture.name for picture in pictures)


def _batches(inquiries: Iterable[_Inquiry], batch: int) -> Iterator[list[_Inquiry]]:
    """Cut into batches of one mode, in which questions and answers are about equally long.

    The questions about a few neighbouring pictures are put together by their wording: padding
    costs as much as text does, and an engine keeps that many pictures encoded.
    """
    for _, of_mode in groupby(inquiries, key=lambda one: (one.mode, one.draw > 0)):
        pictures = [list(group) for _, group in groupby(of_mode, key=lambda one: one.shown)]
        ordered = [
            inquiry
            for first in range(0, len(pictures), NEIGHBOURS)
            for inquiry in sorted(
                chain.from_iterable(pictures[first : first + NEIGHBOURS]),
                key=lambda one: (one.length, one.text, one.options),
            )
        ]
        yield from (ordered[first : first + batch] for first in range(0, len(ordered), batch))
