"""Cases and flags as the rest of the program sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

import numpy as np
from PIL import Image

from rarl import __version__
from rarl.errors import ReviewError
from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.response import Mode

if TYPE_CHECKING:
    from rarl.scans.scan import Scan


@dataclass(frozen=True, slots=True)
class ArmAnswer:
    """One arm's answer as it was shown.

    Attributes:
        arm: the arm's name.
        label: what the interface called it.
        revision: twelve hex digits of the weights that answered.
        reasoning: text of the think block.
        answer: text of the answer block.
        problems: what is wrong with the form or the content, see `rarl.response`.
        text: the raw text.
        tokens: completion tokens.
        seconds: from the question to this arm's end.
        stopped: True when the person ended it, so that a short answer is not the arm's fault.
        note: why it broke off, or what else must be known of it; mostly "".
    """

    arm: str
    label: str
    revision: str
    reasoning: str
    answer: str
    problems: tuple[str, ...]
    text: str
    tokens: int
    seconds: float
    stopped: bool = False
    note: str = ""


Pixels = tuple[int, int, int, int]
"""left, top, right, bottom: columns left..right - 1, rows top..bottom - 1."""


@dataclass(frozen=True, slots=True)
class Shown:
    """How a picture was looked at when the question was asked.

    Attributes:
        plane: "acquired", "axial", "coronal" or "sagittal".
        frame: index within the plane, from 0.
        time: index of the time point, from 0.
        window: DICOM Window Center and Window Width (0028,1050 and 1051), in the unit of the
            values; None for the file's own.
        invert: whether black and white were swapped.
        crop: the part of the plane that the picture is, or None for all of it.
        region: the part of the picture that the question is about, or None.
        masks: parts of the plane that were covered.
    """

    plane: str = "acquired"
    frame: int = 0
    time: int = 0
    window: tuple[float, float] | None = None
    invert: bool = False
    crop: Pixels | None = None
    region: Pixels | None = None
    masks: tuple[Pixels, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a case.

    Attributes:
        png: the pixels as shown, PNG without any metadata; None where the site keeps hashes only.
        sha256: of the PNG file, 64 hex digits.
        width: pixels.
        height: pixels.
        name: what the prompt calls it ("current", "region", ...), "" for none.
        shown: how it was looked at.
    """

    png: bytes | None = field(repr=False)
    sha256: str
    width: int
    height: int
    name: str = ""
    shown: Shown = Shown()

    def image(self) -> Image.Image:
        """The pixels, 8-bit L or RGB.

        Raises:
            ReviewError: only the hash was kept.
        """
        if self.png is None:
            raise ReviewError(
                "This site keeps only the hashes of pictures; open the scan itself to see the case."
            )
        picture = Image.open(BytesIO(self.png), formats=["PNG"])
        picture.load()
        return picture


@dataclass(frozen=True, slots=True)
class CaseSnapshot:
    """One question and all its answers, complete enough to be asked again years later.

    Attributes:
        id: 32 hex digits.
        created: when the case was made, UTC.
        app_version: version of this package.
        pictures: at least one, in the order of the prompt.
        modality: DICOM Modality, or None.
        attributes: what the scan kept of its header (see `rarl.scans`).
        question: as the person typed it.
        mode: inference mode.
        model: name the base model was resolved from; the same for all arms.
        prompt_hash: of the prompt templates, so that a change of wording shows.
        decoding: how text was drawn, the seed included; the same for all arms.
        shown_order: arm names as the columns stood, left to right.
        answers: one for each arm.
        blind: whether the names of the arms were hidden.
        sampled: whether chance kept the case, not a complaint: only these can give rates.
    """

    id: str
    created: datetime
    app_version: str
    pictures: tuple[Picture, ...]
    modality: str | None
    attributes: Mapping[str, str]
    question: str
    mode: str
    model: str
    prompt_hash: str
    decoding: Decoding
    shown_order: tuple[str, ...]
    answers: tuple[ArmAnswer, ...]
    blind: bool = False
    sampled: bool = False

    @property
    def png(self) -> bytes | None:
        """The first picture's file, or None where only its hash was kept."""
        return self.pictures[0].png

    @property
    def sha256(self) -> str:
        """The first picture's hash."""
        return self.pictures[0].sha256

    @property
    def width(self) -> int:
        """The first picture's, in pixels."""
        return self.pictures[0].width

    @property
    def height(self) -> int:
        """The first picture's, in pixels."""
        return self.pictures[0].height

    def image(self) -> Image.Image:
        """The first picture, 8-bit L or RGB.

        Raises:
            ReviewError: only its hash was kept.
        """
        return self.pictures[0].image()


@dataclass(frozen=True, slots=True)
class Region:
    """A place on a picture of the case.

    Attributes:
        picture: index of the picture, from 0.
        box: pixels of that picture.
    """

    picture: int
    box: Pixels


@dataclass(frozen=True, slots=True)
class Flag:
    """One reader's complaint about one arm's answer. Flags are never changed or removed.

    Attributes:
        id: counts up in the order of storing.
        case_id: see `CaseSnapshot`.
        arm: the arm's name.
        category: a key of the taxonomy.
        severity: a key of the taxonomy.
        comment: free text, "" where none was given.
        created: when it was stored, UTC.
        reader: who flagged, or None.
        label: what the interface called the arm (from the case).
        modality: of the scan, or None (from the case).
        question: (from the case).
        answer: the arm's answer (from the case).
        key: 32 hex digits; the same key sent again stores nothing.
        sentence: the part of the reasoning that is wrong, or "".
        sentence_start: where it begins, in characters of the reasoning from 0.
        region: a place on the scan, or None.
        corrected_answer: what would have been right, or "".
        corrected_explanation: and why, or "".
        replaces: key of the flag that this one corrects, or None.
    """

    id: int
    case_id: str
    arm: str
    category: str
    severity: str
    comment: str
    created: datetime
    reader: str | None
    label: str
    modality: str | None
    question: str
    answer: str
    key: str = ""
    sentence: str = ""
    sentence_start: int | None = None
    region: Region | None = None
    corrected_answer: str = ""
    corrected_explanation: str = ""
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class FlagFilter:
    """Which flags are meant; None and "" leave everything in.

    Attributes:
        arm: exact name.
        category: key of the taxonomy.
        severity: key of the taxonomy.
        modality: exact DICOM Modality.
        text: occurs in comment, question, reasoning or answer, whatever the case of its letters.
        reader: who flagged, exact name.
        since: stored then or later, aware.
        until: stored before, aware.
    """

    arm: str | None = None
    category: str | None = None
    severity: str | None = None
    modality: str | None = None
    text: str = ""
    reader: str | None = None
    since: datetime | None = None
    until: datetime | None = None


Outcome = Literal["better", "tie", "all-good", "all-bad"]


@dataclass(frozen=True, slots=True)
class Vote:
    """Which arm answered best, as one reader sees it.

    Attributes:
        id: counts up in the order of storing.
        key: 32 hex digits; the same key sent again stores nothing.
        case_id: see `CaseSnapshot`; its `shown_order` says what was compared, its `blind` how.
        outcome: "better", "tie", "all-good" or "all-bad".
        preferred: the better arm, or None.
        reason: free text.
        own_answer: what the reader answered before the columns were shown.
        created: when it was stored, UTC.
        reader: who, or None.
        replaces: key of the vote that this one corrects, or None.
    """

    id: int
    key: str
    case_id: str
    outcome: Outcome
    preferred: str | None
    reason: str
    own_answer: str
    created: datetime
    reader: str | None
    replaces: str | None


def case_from(
    question: Question,
    answers: Sequence[Answer],
    *,
    arms: Sequence[Arm],
    model: str,
    prompt_hash: str,
    scan: Scan | None = None,
    shown_order: Sequence[str] | None = None,
    case_id: str | None = None,
    shown: Sequence[Shown] | None = None,
    blind: bool = False,
    sampled: bool = False,
) -> CaseSnapshot:
    """Freeze what is on the screen.

    Args:
        question: as it was asked; its pictures are what is kept, without metadata.
        answers: one for each arm, ended or stopped.
        arms: at least those that answered, for label and revision (`Engine.arms`).
        model: `Engine.model_name`.
        prompt_hash: of the prompt templates in use.
        scan: where the image came from, for modality and attributes.
        shown_order: the columns left to right; the order of `answers` where not given.
        case_id: 32 hex digits, to make one case of several flags; new where not given.
        shown: how each picture was looked at, in the order of `question.images`.
        blind: whether the names of the arms were hidden.
        sampled: whether chance chose the case, for audits (see `rarl.review.studies`).

    Raises:
        ReviewError: there is no answer, or one of an arm that is not in `arms`.
    """
    known = {arm.name: arm for arm in arms}
    if not answers or any(answer.arm not in known for answer in answers):
        raise ReviewError("There is no answer yet that could be flagged; ask the question first.")
    looked_at = shown or [Shown()] * len(question.images)
    return CaseSnapshot(
        id=case_id or uuid4().hex,
        created=datetime.now(UTC),
        app_version=__version__,
        pictures=tuple(
            _picture(named, how) for named, how in zip(question.images, looked_at, strict=True)
        ),
        modality=scan.modality if scan else None,
        attributes=dict(scan.attributes) if scan else {},
        question=_in_words(question),
        mode=question.mode,
        model=model,
        prompt_hash=prompt_hash,
        decoding=question.decoding,
        shown_order=tuple(shown_order or (answer.arm for answer in answers)),
        answers=tuple(_arm_answer(known[answer.arm], answer, question.mode) for answer in answers),
        blind=blind,
        sampled=sampled,
    )


def _in_words(question: Question) -> str:
    """The question, and what it follows up where something went before."""
    before = [f"“{turn.text.strip()}”" for turn in question.earlier]
    return f"After {', '.join(before)}: {question.text}" if before else question.text


def _picture(named: NamedImage, shown: Shown) -> Picture:
    png = _png(named.image)
    return Picture(
        png=png,
        sha256=hashlib.sha256(png).hexdigest(),
        width=named.image.width,
        height=named.image.height,
        name=named.name,
        shown=shown,
    )


def _arm_answer(arm: Arm, answer: Answer, mode: Mode) -> ArmAnswer:
    response = answer.response
    own = f"Asked in the mode {arm.mode}." if arm.mode not in (None, mode) else ""
    return ArmAnswer(
        arm=arm.name,
        label=arm.label,
        revision=arm.revision,
        reasoning=response.reasoning,
        answer=response.answer,
        problems=answer.problems,
        text=response.text,
        tokens=answer.tokens,
        seconds=answer.seconds,
        stopped=answer.stopped,
        note=" ".join(said for said in (answer.failure, answer.note, own) if said),
    )


def _png(image: Image.Image) -> bytes:
    """PNG of the pixels alone: rebuilt, since Pillow would write the profile and EXIF along."""
    bare = Image.fromarray(np.array(image if image.mode == "L" else image.convert("RGB")))
    buffer = BytesIO()
    bare.save(buffer, "PNG")
    return buffer.getvalue()
