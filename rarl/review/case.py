"""Cases and flags as the rest of the program sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
from PIL import Image

from rarl import __version__
from rarl.errors import ReviewError
from rarl.inference.engine import Answer, Arm, Decoding, Question

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
        problems: what is wrong with the form, see `rarl.response.Problem`.
        text: the raw text.
        tokens: completion tokens.
        seconds: from the question to this arm's end.
        stopped: True when the person ended it, so that a short answer is not the arm's fault.
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


@dataclass(frozen=True, slots=True)
class CaseSnapshot:
    """One question and all its answers, complete enough to be asked again years later.

    Attributes:
        id: 32 hex digits.
        created: when the case was made, UTC.
        app_version: version of this package.
        png: the pixels as shown, PNG without any metadata.
        sha256: of `png`, 64 hex digits.
        width: pixels.
        height: pixels.
        modality: DICOM Modality, or None.
        attributes: what the scan kept of its header (see `rarl.scans`).
        question: as the person typed it.
        mode: inference mode.
        model: name the base model was resolved from.
        prompt_hash: of the prompt templates, so that a change of wording shows.
        decoding: how text was drawn, the seed included.
        shown_order: arm names as the columns stood, left to right.
        answers: one for each arm.
    """

    id: str
    created: datetime
    app_version: str
    png: bytes
    sha256: str
    width: int
    height: int
    modality: str | None
    attributes: Mapping[str, str]
    question: str
    mode: str
    model: str
    prompt_hash: str
    decoding: Decoding
    shown_order: tuple[str, ...]
    answers: tuple[ArmAnswer, ...]

    def image(self) -> Image.Image:
        """The pixels, 8-bit L or RGB."""
        picture = Image.open(BytesIO(self.png), formats=["PNG"])
        picture.load()
        return picture


@dataclass(frozen=True, slots=True)
class Flag:
    """One reader's complaint about one arm's answer. Flags are never changed or removed.

    Attributes:
        id: counts up in the order of storing.
        case_id: see `CaseSnapshot`.
        arm: the arm's name.
        category: a key of `CATEGORIES`.
        severity: a key of `SEVERITIES`.
        comment: free text, "" where none was given.
        created: when it was stored, UTC.
        reader: who flagged, or None.
        label: what the interface called the arm (from the case).
        modality: of the scan, or None (from the case).
        question: (from the case).
        answer: the arm's answer (from the case).
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


@dataclass(frozen=True, slots=True)
class FlagFilter:
    """Which flags are meant; None and "" leave everything in.

    Attributes:
        arm: exact name.
        category: key of `CATEGORIES`.
        severity: key of `SEVERITIES`.
        modality: exact DICOM Modality.
        text: occurs in comment, question, reasoning or answer, whatever the case of its letters.
    """

    arm: str | None = None
    category: str | None = None
    severity: str | None = None
    modality: str | None = None
    text: str = ""


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
) -> CaseSnapshot:
    """Freeze what is on the screen.

    Args:
        question: as it was asked; its image is what is kept, without metadata.
        answers: one for each arm, ended or stopped.
        arms: at least those that answered, for label and revision (`Engine.arms`).
        model: `Engine.model_name`.
        prompt_hash: of the prompt templates in use.
        scan: where the image came from, for modality and attributes.
        shown_order: the columns left to right; the order of `answers` where not given.
        case_id: 32 hex digits, to make one case of several flags; new where not given.

    Raises:
        ReviewError: there is no answer, or one of an arm that is not in `arms`.
    """
    known = {arm.name: arm for arm in arms}
    if not answers or any(answer.arm not in known for answer in answers):
        raise ReviewError("There is no answer yet that could be flagged; ask the question first.")
    first, *_ = question.images
    png = _png(first.image)
    return CaseSnapshot(
        id=case_id or uuid4().hex,
        created=datetime.now(UTC),
        app_version=__version__,
        png=png,
        sha256=hashlib.sha256(png).hexdigest(),
        width=first.image.width,
        height=first.image.height,
        modality=scan.modality if scan else None,
        attributes=dict(scan.attributes) if scan else {},
        question=question.text,
        mode=question.mode,
        model=model,
        prompt_hash=prompt_hash,
        decoding=question.decoding,
        shown_order=tuple(shown_order or (answer.arm for answer in answers)),
        answers=tuple(_arm_answer(known[answer.arm], answer) for answer in answers),
    )


def _arm_answer(arm: Arm, answer: Answer) -> ArmAnswer:
    response = answer.response
    return ArmAnswer(
        arm=arm.name,
        label=arm.label,
        revision=arm.revision,
        reasoning=response.reasoning,
        answer=response.answer,
        problems=tuple(response.problems),
        text=response.text,
        tokens=answer.tokens,
        seconds=answer.seconds,
        stopped=answer.stopped,
    )


def _png(image: Image.Image) -> bytes:
    """PNG of the pixels alone: rebuilt, since Pillow would write the profile and EXIF along."""
    bare = Image.fromarray(np.array(image if image.mode == "L" else image.convert("RGB")))
    buffer = BytesIO()
    bare.save(buffer, "PNG")
    return buffer.getvalue()
