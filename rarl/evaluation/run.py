"""Ask a model held-out questions and record every answer.

All questions about one picture, for all arms, go to the engine one batch after the other, so that
the picture is looked at once. The same question about the same picture is asked once however many
rows share it, which is what makes blank and swapped pictures cheap.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rarl.data.example import SPLITS, Example, Split
from rarl.data.sets import load_set
from rarl.errors import DataError, QuestionError
from rarl.evaluation.asked import asked_under
from rarl.evaluation.choices import by_place, rotations
from rarl.evaluation.contamination import Leak
from rarl.evaluation.failures import clusters, crossings
from rarl.evaluation.image_ablations import (
    CONDITIONS,
    Condition,
    swap_partners,
)
from rarl.evaluation.inquiries import Inquiry, batches, inquiries_of
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
from rarl.evaluation.recording import Recorder
from rarl.evaluation.row_scores import score
from rarl.evaluation.rows import Row, RowFile, Settings
from rarl.inference.engine import (
    AnswersAsTheyCome,
    Engine,
    Question,
)
from rarl.inference.self_consistency import TEMPERATURE
from rarl.prompts import prompt_hash
from rarl.response import MODES, Mode
from rarl.stats.bootstrap import LEVEL, RESAMPLES


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
        limit: at most so many rows, drawn at random, in the set's order. Kinds and types of
            questions and modalities keep their shares, to within one row each.
        seed: of that draw.

    Raises:
        DataError: there is no such set or split, or it is not at hand, or it has no picture.
    """
    source, _, wanted = name.partition(":")
    if wanted and wanted not in SPLITS:
        raise DataError(f"There is no split {wanted!r}; choose from {', '.join(SPLITS)}.")
    rows = load_set(source)
    splits = {row.split for row in rows}
    choices = [split for split in SPLITS if split == wanted] if wanted else list(HELD_OUT)
    split = next((split for split in choices if split in splits), None)
    if split is None:
        there = [split for split in SPLITS if split in splits]
        raise DataError(
            f"{source} has no {wanted or 'held-out'} row; it has {', '.join(there) or 'none'}."
        )
    pool = chosen = [row for row in rows if row.split == split]
    if limit is not None and limit < len(chosen):
        chosen = [chosen[index] for index in _drawn(chosen, limit, random.Random(seed))]
    return Selection(source, split, tuple(chosen), tuple(pool))


def _drawn(rows: Sequence[Example], limit: int, random_numbers: random.Random) -> list[int]:
    """Places of rows drawn in proportion to the strata, in order; `limit` of them."""
    strata: dict[tuple[str, str, str], list[int]] = {}
    for place, row in enumerate(rows):
        stratum = (row.kind, row.category or "", row.modality or "")
        strata.setdefault(stratum, []).append(place)
    # Places at equal distances in the strata, one after the other, each of them shuffled.
    line: list[int] = []
    for _, places in sorted(strata.items()):
        random_numbers.shuffle(places)
        line += places
    step = len(rows) / limit
    start = random_numbers.random() * step
    return sorted(line[min(int(start + number * step), len(line) - 1)] for number in range(limit))


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
    inquiries = inquiries_of(examples, modes, altered, partners, draws, ask)
    recorder = Recorder(engine, arms, ask, settings)
    kept = RowFile(out, settings)
    _answer_missing(engine, recorder, inquiries, kept, batch, progress)
    shown = {key: inquiry.shown for inquiry in inquiries for key in recorder.keys(inquiry)}
    keys = [
        key
        for example in examples
        for mode in modes
        for condition in CONDITIONS
        for draw in range(draws(example) + 1)
        for arm in arms
        if (key := (example.id, arm, mode, condition, draw)) in shown
    ]
    rows = [_scored_anew(kept[key], by_id[key[0]], shown[key], recorder, out) for key in keys]
    outdated = {row.key: row for row in rows if row != kept[row.key]}
    if outdated:
        kept.replace(outdated)
    return rows


def _answer_missing(
    engine: Engine,
    recorder: Recorder,
    inquiries: Sequence[Inquiry],
    kept: RowFile,
    batch: int,
    progress: bool,
) -> None:
    """Ask what `kept` has no row for, and add the rows."""
    count = sum(len(recorder.keys(inquiry)) for inquiry in inquiries)
    # A batch that a killed run left half written is asked again as a whole, so that every answer
    # comes from the batch it would have come from.
    missing = [
        together
        for together in batches(inquiries, batch)
        if not all(key in kept for inquiry in together for key in recorder.keys(inquiry))
    ]
    open_rows = sum(len(recorder.keys(inquiry)) for together in missing for inquiry in together)
    with tqdm(
        total=count,
        initial=count - open_rows,
        unit=" answers",
        disable=not progress,
        mininterval=1.0,
    ) as bar:
        if isinstance(engine, AnswersAsTheyCome):
            _ask_each(engine, recorder, list(chain.from_iterable(missing)), kept, bar)
        else:
            _ask_in_batches(engine, recorder, missing, kept, bar)


def _ask_each(
    engine: AnswersAsTheyCome,
    recorder: Recorder,
    inquiries: Sequence[Inquiry],
    kept: RowFile,
    bar: tqdm[Any],
) -> None:
    """Ask a server, which has no batches: whatever is not kept, as fast as it answers."""
    missing = [
        inquiry for inquiry in inquiries if not all(key in kept for key in recorder.keys(inquiry))
    ]
    under_way: dict[int, Question] = {}

    def questions() -> Iterator[Question]:
        for place, inquiry in enumerate(missing):
            under_way[place] = recorder.question(inquiry)
            yield under_way[place]

    for place, answers in engine.answer_each(questions()):
        kept.add(recorder.rows(missing[place], under_way.pop(place), answers))
        bar.update(len(recorder.keys(missing[place])))


def _ask_in_batches(
    engine: Engine,
    recorder: Recorder,
    missing: Sequence[Sequence[Inquiry]],
    kept: RowFile,
    bar: tqdm[Any],
) -> None:
    for together in missing:
        questions = [recorder.question(inquiry) for inquiry in together]
        answers = engine.answer_batch(questions)
        kept.add(
            row
            for inquiry, question, columns in zip(together, questions, answers, strict=True)
            for row in recorder.rows(inquiry, question, columns)
        )
        bar.update(sum(len(recorder.keys(inquiry)) for inquiry in together))


def _scored_anew(row: Row, example: Example, shown: str, recorder: Recorder, out: Path) -> Row:
    """A kept row, judged anew, so that a corrected rule also holds for kept texts.

    Raises:
        DataError: it answers another wording, or is about another picture.
    """
    asked = recorder.asked(example, row.condition)
    wording = (asked.text, asked.reference, asked.options)
    if (row.question, row.reference, row.options) != wording:
        raise DataError(
            f"{out} holds answers to another wording of {row.id}; choose another --out."
        )
    if row.shown != shown:
        raise DataError(
            f"{out} holds answers about another picture for {row.id}; choose another --out."
        )
    return replace(row, **score(row.text, row.mode, example, row.condition, asked))


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
        "figures": [asdict(entry) for entry in figures(frame, labels)],
        "strata": [asdict(entry) for entry in strata(frame, labels)],
        "differences": [asdict(entry) for entry in differences(frame, labels)],
        "reliance": [asdict(entry) for entry in reliance(frame, labels)],
        "calibration": [asdict(entry) for entry in calibration(frame, labels)],
        "probes": [asdict(entry) for entry in probes(frame, labels)],
        "abstention": [asdict(entry) for entry in abstention(frame, labels)],
        "failures": [asdict(entry) for entry in clusters(frame, labels)],
        "crossings": [asdict(entry) for entry in crossings(frame, labels)],
        "places": [asdict(entry) for entry in by_place(frame, labels)],
        "rotations": [asdict(entry) for entry in rotations(frame, labels)],
        "checks": [asdict(entry) for entry in checked(rows)],
    }
