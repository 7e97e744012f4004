"""Reliability checks: ask about other pictures, ask repeatedly, and show where the model looked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from demo.services.asking import listed, same_answer_key
from demo.services.examples import OpenedExample
from demo.session import Asked, OpenScan, Session
from rarl.errors import QuestionError
from rarl.evaluation.image_ablations import ALTERED, Condition, blank, flip_sides, sides
from rarl.inference.engine import Answer, Engine, Looks, NamedImage, Question
from rarl.response import Check
from rarl.scans import Box, View, Window

CONDITION_LABELS: dict[Condition, str] = {
    "scan": "This scan",
    "blank": "A blank picture",
    "mirrored": "This scan, mirrored",
    "swapped": "Another scan",
}
# The stand-ins that take the scan's own content away, and what follows from equal answers.
_WITHOUT: tuple[Condition, Condition] = ("blank", "swapped")
_FOLLOWS = {
    (True, True): "{} did not need this image: a blank picture and another scan get the same "
    "answer.",
    (True, False): "{} gave the same answer to a blank picture: this image may not have mattered.",
    (False, True): "{} gave the same answer to another scan: what these scans have in common may "
    "be all that mattered.",
    (False, False): "{} answered otherwise without this image, so it was used.",
}
# By how much of its width a window is moved, and by how much it is widened: a reader's own changes.
_OTHER_WINDOWS = ((-0.2, 1.0), (0.2, 1.0), (0.0, 0.6), (0.0, 1.6))
NOTHING_ASKED = "There is no answer to look into yet; ask first."


@dataclass(frozen=True, slots=True)
class Reliance:
    """The same question asked of pictures that stand in for the scan.

    Attributes:
        asked: the exchange on the page.
        other: what the other scan is, in words.
        answers: condition to the answers of all arms; the scan's own first.
    """

    asked: Asked
    other: str
    answers: Mapping[Condition, tuple[Answer, ...]]


def other_scan(session: Session, examples: Sequence[OpenedExample]) -> tuple[str, Image.Image]:
    """Another scan to ask about: of the same modality where there is one.

    Returns:
        What it is, in words, and its picture.
    """
    open_now = {id(scan.stack) for scan in session.scans}
    modality = session.active.modality if session.active else None
    others = [
        opened
        for opened in examples
        if opened.example.preview is None and id(opened.stack()) not in open_now
    ]
    if not others:
        raise QuestionError("There is no other scan here to ask about instead.")
    same = [opened for opened in others if modality and opened.stack().modality == modality]
    chosen = (same or others)[0]
    return chosen.example.title, chosen.stack().scan().image


def check_reliance(engine: Engine, asked: Asked, other: tuple[str, Image.Image]) -> Reliance:
    """Ask again about a blank, a mirrored and another picture, all in one batch.

    Raises:
        QuestionError: as for `Engine.answer_batch`.
    """
    title, picture = other

    def altered(condition: Condition) -> Question:
        def stand_in(named: NamedImage) -> NamedImage:
            image = named.image
            if condition == "blank":
                return replace(named, image=blank(image.size))
            if condition == "mirrored":
                return replace(named, image=ImageOps.mirror(image))
            return replace(named, image=ImageOps.fit(picture.convert("RGB"), image.size))

        images = tuple(stand_in(named) for named in asked.question.images)
        return replace(asked.question, images=images)

    batch = engine.answer_batch([altered(condition) for condition in ALTERED])
    return Reliance(asked, title, {"scan": asked.answers, **dict(zip(ALTERED, batch, strict=True))})


def reliance_sentence(checked: Reliance, labels: Mapping[str, str]) -> str:
    """Whether the answers needed this image: one sentence for each way they stand."""
    groups: dict[tuple[bool, bool], list[str]] = {}
    for place, answer in enumerate(checked.answers["scan"]):
        own = same_answer_key(answer.response.answer)
        blind, swapped = (
            same_answer_key(checked.answers[condition][place].response.answer) == own
            for condition in _WITHOUT
        )
        groups.setdefault((blind, swapped), []).append(labels.get(answer.arm, answer.arm))
    sentences = [_FOLLOWS[same].format(listed(groups[same])) for same in _FOLLOWS if same in groups]
    wrong_side = [
        labels.get(answer.arm, answer.arm)
        for place, answer in enumerate(checked.answers["scan"])
        if sides(answer.response.answer)
        and same_answer_key(checked.answers["mirrored"][place].response.answer)
        != same_answer_key(flip_sides(answer.response.answer))
    ]
    if wrong_side:
        sentences.append(
            f"{listed(wrong_side)} did not follow the mirrored scan to the other side."
        )
    return " ".join(sentences)


@dataclass(frozen=True, slots=True)
class Rewindowed:
    """The same question asked of the same picture under another window.

    Attributes:
        window: the other window.
        answers: of all arms.
    """

    window: Window
    answers: tuple[Answer, ...]

    @property
    def words(self) -> str:
        """The window, for a reader."""
        return f"level {self.window.center:.4g}, width {self.window.width:.4g}"


def ask_rewindowed(engine: Engine, session: Session, asked: Asked) -> list[Rewindowed]:
    """Ask again with the picture on the stage a little brighter, darker, harder and softer.

    Returns:
        Nothing where the picture has no window, or its scan is open no more.

    Raises:
        QuestionError: as for `Engine.answer_batch`.
    """
    scans = _as_asked(session, asked)
    scan = next(
        (
            open_scan
            for open_scan in scans
            if session.active and open_scan.token == session.active.token
        ),
        None,
    )
    if scan is None or scan.stack.color:
        return []
    view, stack = scan.view, scan.stack
    place = (view.plane, view.frame, view.time)
    own = stack.own_window(*place)
    used = view.window or (own[0] if own else stack.auto_window(*place))
    windows = [
        Window(used.center + shift * used.width, used.width * factor)
        for shift, factor in _OTHER_WINDOWS
    ]
    questions = []
    for window in windows:
        changed = replace(scan, view=replace(view, window=window))
        shown = Session(tuple(changed if open_scan is scan else open_scan for open_scan in scans))
        questions.append(replace(asked.question, images=shown.pictures()[0]))
    batch = engine.answer_batch(questions)
    return [Rewindowed(*pair) for pair in zip(windows, batch, strict=True)]


def _as_asked(session: Session, asked: Asked) -> list[OpenScan]:
    """The open scans as they stood when the question was asked; none where one is open no more."""
    open_scans = {scan.token: scan for scan in session.scans}
    if not all(token in open_scans for token in asked.tokens):
        return []
    whole = [
        (named.name, shown)
        for named, shown in zip(asked.question.images, asked.shown, strict=True)
        if shown.crop is None
    ]
    scans = []
    for token, (name, shown) in zip(asked.tokens, whole, strict=True):
        window = Window(*shown.window) if shown.window else None
        scans.append(
            replace(
                open_scans[token],
                role=name if len(whole) > 1 else open_scans[token].role,
                view=View(shown.plane, shown.frame, shown.time, window, shown.invert),
                region=Box(*shown.region) if shown.region else None,
                masks=tuple(Box(*corners) for corners in shown.masks),
            )
        )
    return scans


def window_checks(asked: Asked, tried: Sequence[Rewindowed]) -> dict[str, Check]:
    """Arm to a check, for arms whose answer is another under one of the windows."""
    checks: dict[str, Check] = {}
    for place, answer in enumerate(asked.answers):
        own = same_answer_key(answer.response.answer)
        for window in tried:
            other = window.answers[place].response.answer
            if same_answer_key(other) != own and answer.arm not in checks:
                checks[answer.arm] = Check(
                    "window-dependent",
                    f"Under another window ({window.words}) the model answers "
                    f"“{other or 'nothing'}”.",
                )
    return checks


def where_it_looked(engine: Engine, asked: Asked) -> Iterator[tuple[str, list[Image.Image]]]:
    """For each arm, its pictures with what moved the answer's words lit.

    Raises:
        QuestionError: the engine cannot tell, or the answer is empty.
    """
    if not isinstance(engine, Looks):
        raise QuestionError("This model runs elsewhere and does not tell where it looked.")
    for answer in asked.answers:
        maps = engine.looked(asked.question, answer)
        pictures = [named.image for named in asked.question.images]
        most = max((float(weights.max()) for weights in maps), default=0.0)
        yield answer.arm, [lit(*pair, most) for pair in zip(pictures, maps, strict=True)]


def lit(picture: Image.Image, weights: NDArray[np.float32], most: float) -> Image.Image:
    """A picture under its weights, orange where they are high.

    Args:
        picture: any size.
        weights: rows x columns, spread evenly over the picture.
        most: the weight that is shown at full strength.
    """
    grey = picture.convert("L").convert("RGB")
    grey.thumbnail((512, 512))
    share = weights / most if most > 0 else np.zeros_like(weights)
    heat = Image.fromarray((255 * np.sqrt(share)).astype(np.uint8))
    mask = heat.resize(grey.size, Image.Resampling.BICUBIC).point(lambda value: value * 0.75)
    return Image.composite(Image.new("RGB", grey.size, (255, 140, 0)), grey, mask)
