"""Settled reviews as regression cases, training examples and preference pairs.

A case counts once two readers agree or an adjudicator has decided, and only with a corrected
answer. It becomes a row of split "test" (a regression case: is this error fixed?) and, unless its
picture is held out, a row of split "train". A regression case that also trains says so
(`Example.reworded`): being right there may be memory. One picture in five trains nothing; its
cases are the split "image-disjoint" as well.

Held out are also pictures that are, or nearly are, held-out pictures of any set at hand: a reader
who asks about a test image of VQA-RAD must not bring it into training.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rarl.data.example import Example, ImageRef, Kind
from rarl.data.leakage import shared
from rarl.data.sets import REVIEW as SOURCE
from rarl.data.sets import held_out_rows
from rarl.errors import DataError, ReviewError
from rarl.prompts import messages, target_text, user_text
from rarl.records import SCALE
from rarl.response import MODES, Mode
from rarl.review import CaseSnapshot, FlagFilter, Queue, ReviewStore, Settled, open_store
from rarl.review.files import written_whole
from rarl.review.privacy import Withdrawn

if TYPE_CHECKING:
    from datasets import Features

_LICENCE = "not stated"
_HELD_OUT_OF = 5
# DICOM Modality (PS3.3 C.7.3.1.1.1) to the words of the data sets.
_MODALITIES = {
    "CR": "x-ray",
    "DX": "x-ray",
    "RG": "x-ray",
    "MG": "x-ray",
    "CT": "ct",
    "MR": "mri",
    "US": "ultrasound",
    "SM": "light microscopy",
    "GM": "light microscopy",
}


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two texts for one prompt, the first the better, as TRL's `DPOTrainer` takes them.

    Attributes:
        source: "vote" (one arm against another) or "correction" (against what was flagged).
        case_id: see `rarl.review.CaseSnapshot`.
        images: PNG files, in the order of the prompt.
        names: what the prompt calls them.
        question: as the person typed it.
        prompt: text after the pictures.
        chosen: the better completion.
        rejected: the worse completion.
    """

    source: Literal["vote", "correction"]
    case_id: str
    images: tuple[bytes, ...]
    names: tuple[str, ...]
    question: str
    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """A completion that is good or bad by itself, as TRL's `KTOTrainer` takes them.

    Attributes:
        source: "vote" (for all answers or for none) or "flag".
        case_id: see `rarl.review.CaseSnapshot`.
        images: PNG files, in the order of the prompt.
        names: what the prompt calls them.
        prompt: text after the pictures.
        completion: what a variant said.
        good: whether readers want it.
    """

    source: Literal["vote", "flag"]
    case_id: str
    images: tuple[bytes, ...]
    names: tuple[str, ...]
    prompt: str
    completion: str
    good: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """What readers said of answers, in parts that share no picture.

    Attributes:
        pairs: to train on, from blind votes and corrections.
        alone: to train on, from flags and votes for all or for none.
        held_out_votes: blind votes on pictures that train nothing.
    """

    pairs: tuple[PreferencePair, ...]
    alone: tuple[JudgedAnswer, ...]
    held_out_votes: tuple[PreferencePair, ...]


def load_judged() -> Judged:
    """`judged_answers` of the review store that the settings name.

    Raises:
        DataError: the store cannot be used.
    """
    try:
        store = open_store()
        try:
            return judged_answers(store, held_out_rows())
        finally:
            store.close()
    except ReviewError as error:
        raise DataError(str(error)) from error


def load_review(held_out: Sequence[Example]) -> list[Example]:
    """The rows of the review store that the settings name.

    Args:
        held_out: rows of other sets whose images must train nothing.

    Raises:
        DataError: the store cannot be used.
    """
    try:
        store = open_store()
        try:
            return review_examples(store, held_out)
        finally:
            store.close()
    except ReviewError as error:
        raise DataError(str(error)) from error


def review_examples(store: ReviewStore, held_out: Sequence[Example]) -> list[Example]:
    """One row per settled case with a correction and a single, kept picture; see the module.

    Where several arms of a case were corrected, an adjudicator's word comes before two readers',
    and the last before the first.

    Args:
        store: the review store.
        held_out: rows of other sets whose images must train nothing.

    Raises:
        ReviewError: the store cannot be read.
        DataError: an image of `held_out` cannot be read.
    """
    rows = []
    for settled in _corrected(store).values():
        case = store.case(settled.case_id)
        png = case.png
        if len(case.pictures) > 1 or png is None:
            continue
        rows.append(
            Example(
                id=f"{SOURCE}/{case.id}",
                image=ImageRef(f"{SOURCE}/{case.sha256}", data=png),
                question=" ".join(case.question.split()),
                answer=settled.corrected_answer.strip().lower(),
                explanation=settled.corrected_explanation.strip() or None,
                kind=_kind(case.question, settled.corrected_answer),
                modality=_MODALITIES.get(case.modality or ""),
                organ=None,
                facts=(),
                source=SOURCE,
                licence=_LICENCE,
                split="train",
            )
        )
    kept_out = _kept_out(rows, held_out)
    examples: list[Example] = []
    for row in rows:
        assert row.image is not None
        trains = row.image.key not in kept_out
        examples.append(replace(row, id=f"{row.id}/regression", split="test", reworded=trains))
        examples.append(row if trains else replace(row, split="image-disjoint"))
    return examples


def preference_pairs(store: ReviewStore, held_out: Sequence[Example]) -> list[PreferencePair]:
    """Pairs from blind votes for the better arm, and from corrections of what an arm said.

    Whoever sees the names of the variants may vote for a name. Arms that said the same word for
    word give no pair; nor do held-out pictures.

    Args:
        store: the review store.
        held_out: rows of other sets whose images must train nothing.

    Raises:
        ReviewError: the store cannot be read.
        DataError: an image of `held_out` cannot be read.
    """
    pairs = [*_from_votes(store), *_from_corrections(store)]
    left_out = held_out_cases({pair.case_id: pair.images for pair in pairs}, held_out)
    return list(dict.fromkeys(pair for pair in pairs if pair.case_id not in left_out))


def judged_answers(store: ReviewStore, held_out: Sequence[Example]) -> Judged:
    """What readers prefer and what they reject, for training on preferences.

    Of the votes only the blind ones: whoever sees the names of the variants may vote for a name.

    Args:
        store: the review store.
        held_out: rows of other sets whose images must train nothing.

    Raises:
        ReviewError: the store cannot be read.
        DataError: an image of `held_out` cannot be read.
    """
    votes = list(dict.fromkeys(_from_votes(store)))
    corrections = list(dict.fromkeys(_from_corrections(store)))
    alone = list(dict.fromkeys(_alone(store)))
    pictures = {pair.case_id: pair.images for pair in (*votes, *corrections)}
    pictures |= {answer.case_id: answer.images for answer in alone}
    left_out = held_out_cases(pictures, held_out)
    return Judged(
        pairs=tuple(pair for pair in [*votes, *corrections] if pair.case_id not in left_out),
        alone=tuple(answer for answer in alone if answer.case_id not in left_out),
        held_out_votes=tuple(vote for vote in votes if vote.case_id in left_out),
    )


def held_out_cases(
    pictures: Mapping[str, Sequence[bytes]], held_out: Sequence[Example]
) -> set[str]:
    """The cases with a picture that must train nothing: one picture in five, and those of others.

    Args:
        pictures: PNG files of each case.
        held_out: rows of other sets whose images must train nothing.

    Raises:
        DataError: an image of `held_out` cannot be read.
    """
    rows = [_picture_row(case_id, png) for case_id, files in pictures.items() for png in files]
    out = _kept_out(rows, held_out)
    return {
        row.id.removeprefix(f"{SOURCE}/")
        for row in rows
        if row.image is not None and row.image.key in out
    }


def write_preferences(
    store: ReviewStore,
    out: Path,
    chosen: FlagFilter | None = None,
    held_out: Sequence[Example] | None = None,
) -> int:
    """Write the pairs as Parquet for `datasets.load_dataset("parquet", data_files=...)` and TRL.

    Columns: `images`, and `prompt`, `chosen`, `rejected` as chat messages.

    Args:
        store: the review store, with the right to export.
        out: the file.
        chosen: only cases with a flag that passes; all where not given.
        held_out: see `preference_pairs`; those of the sets at hand where not given.

    Returns:
        How many pairs.

    Raises:
        ReviewError: the person may not, there is no pair, or the file cannot be written.
    """
    from datasets import Dataset

    store.need("export")
    if held_out is None:
        held_out = held_out_rows()
    pairs = preference_pairs(store, held_out)
    if chosen is not None and chosen != FlagFilter():
        cases = {flag.case_id for flag in store.flags(chosen)}
        pairs = [pair for pair in pairs if pair.case_id in cases]
    if not pairs:
        raise ReviewError(
            "There is no preference yet: vote for the better of two answers with the names of the "
            "variants hidden, or settle a correction, and export again."
        )
    table = Dataset.from_list([_as_row(pair) for pair in pairs], features=_features())
    with written_whole(out) as part:
        table.to_parquet(part)
    return len(pairs)


def _corrected(store: ReviewStore) -> dict[str, Settled]:
    """The correction of each case."""
    by_case: dict[str, Settled] = {}
    for settled in Queue(store).settled(withdrawn=False):
        if not settled.corrected_answer.strip():
            continue
        known = by_case.get(settled.case_id)
        if known is None or settled.adjudicated or not known.adjudicated:
            by_case[settled.case_id] = settled
    return by_case


def _kept_out(rows: Sequence[Example], held_out: Sequence[Example]) -> set[str]:
    """Keys of the images that must train nothing."""
    refs = {row.image.key: row.image for row in rows if row.image is not None}
    kept = {key for key, ref in refs.items() if int(ref.sha256(), 16) % _HELD_OUT_OF == 0}
    others = [row for row in held_out if row.image is not None and row.split != "train"]
    for overlap in shared([*rows, *others]).overlaps:
        if overlap.first.source == SOURCE:
            kept |= {ours for ours, _ in (*overlap.identical, *overlap.near)}
            kept |= set(overlap.images)
    return kept


def _picture_row(case_id: str, png: bytes) -> Example:
    """A picture in the form that the leakage check reads."""
    ref = ImageRef("", data=png)
    return Example(
        id=f"{SOURCE}/{case_id}",
        image=ImageRef(f"{SOURCE}/{ref.sha256()}", data=png),
        question="",
        answer="",
        explanation=None,
        kind="open",
        modality=None,
        organ=None,
        facts=(),
        source=SOURCE,
        licence=_LICENCE,
        split="train",
    )


def _from_votes(store: ReviewStore) -> Iterator[PreferencePair]:
    """Of votes that did not see which variant gave which answer."""
    with store.reading() as session:
        withdrawn = Withdrawn.of(session)
    for vote in store.votes():
        if vote.preferred is None or withdrawn.holds(vote.reader):
            continue
        case = store.case(vote.case_id)
        if not case.blind:
            continue
        texts = {answer.arm: answer.text for answer in case.answers if not answer.stopped}
        better = texts.get(vote.preferred)
        for arm, text in texts.items():
            if better is not None and arm != vote.preferred and text != better:
                yield from _pair("vote", case, better, text)


def _alone(store: ReviewStore) -> Iterator[JudgedAnswer]:
    """Answers that are good or bad by themselves: flagged, or of a vote for all or for none."""
    with store.reading() as session:
        withdrawn = Withdrawn.of(session)
    right = {
        (answer.case_id, answer.arm)
        for answer in Queue(store).settled(withdrawn=False)
        if answer.correctness == max(SCALE)
    }
    for flag in store.flags():
        if not withdrawn.holds(flag.reader) and (flag.case_id, flag.arm) not in right:
            case = store.case(flag.case_id)
            yield from _judged(case, "flag", {flag.arm}, good=False)
    for vote in store.votes():
        if vote.outcome not in ("all-good", "all-bad") or withdrawn.holds(vote.reader):
            continue
        case = store.case(vote.case_id)
        if case.blind:
            arms = {answer.arm for answer in case.answers}
            yield from _judged(case, "vote", arms, good=vote.outcome == "all-good")


def _judged(
    case: CaseSnapshot, source: Literal["vote", "flag"], arms: Collection[str], good: bool
) -> Iterator[JudgedAnswer]:
    images = [picture.png for picture in case.pictures if picture.png is not None]
    if len(images) < len(case.pictures):
        return
    for answer in case.answers:
        if answer.arm in arms and not answer.stopped:
            yield JudgedAnswer(
                source=source,
                case_id=case.id,
                images=tuple(images),
                names=tuple(picture.name for picture in case.pictures),
                prompt=user_text(case.question, _mode(case)),
                completion=answer.text,
                good=good,
            )


def _from_corrections(store: ReviewStore) -> Iterator[PreferencePair]:
    for settled in Queue(store).settled(withdrawn=False):
        if not settled.corrected_answer.strip():
            continue
        case = store.case(settled.case_id)
        explanation = settled.corrected_explanation.strip()
        mode = _mode(case)
        if mode != "answer" and not explanation:
            # Without reasoning it would teach the model to leave its reasoning out.
            continue
        wanted = target_text(settled.corrected_answer.strip(), explanation or None, mode)
        answer_text = next(answer.text for answer in case.answers if answer.arm == settled.arm)
        if answer_text != wanted:
            yield from _pair("correction", case, wanted, answer_text)


def _pair(
    source: Literal["vote", "correction"], case: CaseSnapshot, chosen: str, rejected: str
) -> Iterator[PreferencePair]:
    """One pair, or none where the site keeps no pixels."""
    images = [picture.png for picture in case.pictures if picture.png is not None]
    if len(images) == len(case.pictures):
        yield PreferencePair(
            source=source,
            case_id=case.id,
            images=tuple(images),
            names=tuple(picture.name for picture in case.pictures),
            question=case.question,
            prompt=user_text(case.question, _mode(case)),
            chosen=chosen,
            rejected=rejected,
        )


def _mode(case: CaseSnapshot) -> Mode:
    return next((mode for mode in MODES if mode == case.mode), "reason")


def _kind(question: str, answer: str) -> Kind:
    """Closed where the answer is yes or no, or one of the choices that the question gives."""
    word, asked = answer.strip().lower(), question.lower()
    return "closed" if word in ("yes", "no") or (" or " in asked and word in asked) else "open"


def _as_row(pair: PreferencePair) -> dict[str, Any]:
    def said(text: str) -> list[dict[str, Any]]:
        return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]

    return {
        "images": [{"bytes": png, "path": None} for png in pair.images],
        "prompt": messages(pair.prompt, pair.names),
        "chosen": said(pair.chosen),
        "rejected": said(pair.rejected),
    }


def _features() -> Features:
    from datasets import Features, Image, List, Value

    text = Value("string")
    turns = List({"role": text, "content": List({"type": text, "text": text})})
    return Features({"images": List(Image()), "prompt": turns, "chosen": turns, "rejected": turns})
