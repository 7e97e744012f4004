"""An exchange, frozen as a case."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
from PIL import Image

from rarl import __version__
from rarl.errors import ReviewError
from rarl.inference.engine import Answer, Arm, NamedImage, Question
from rarl.records import ArmAnswer, CaseSnapshot, Measurement, Picture, Shown
from rarl.response import Mode
from rarl.text.choice import option_lines

if TYPE_CHECKING:
    from rarl.scans.scan import Scan


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
    measurements: Sequence[Measurement] = (),
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
        measurements: what was drawn on its pictures.

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
        measurements=tuple(measurements),
    )


def _in_words(question: Question) -> str:
    """The question, and what it follows up where something went before."""
    before = [f"“{turn.text.strip()}”" for turn in question.earlier]
    text = question.text
    if question.options:
        text = f"{text.strip()}\n{option_lines(question.options)}"
    return f"After {', '.join(before)}: {text}" if before else text


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
        note=" ".join(note for note in (answer.failure, answer.note, own) if note),
    )


def _png(image: Image.Image) -> bytes:
    """PNG of the pixels alone: rebuilt, since Pillow would write the profile and EXIF along."""
    bare = Image.fromarray(np.array(image if image.mode == "L" else image.convert("RGB")))
    buffer = BytesIO()
    bare.save(buffer, "PNG")
    return buffer.getvalue()
