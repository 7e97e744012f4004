"""What one visitor's page holds, in memory only."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
from typing import Any, Literal

from demo.services.volumes import Volume
from rarl.inference.engine import Answer, Arm, NamedImage, Question, Turn
from rarl.review import Shown
from rarl.scans import Box, Identifiers, Scan, Stack, View
from rarl.scans.dicomweb import Series

ROLES = ("current", "prior", "frontal", "lateral")
"""What scans of one question can be called, in the order in which they are given out."""

_FRONTAL, _LATERAL = frozenset(["PA", "AP"]), frozenset(["LL", "RL", "LAT", "LATERAL"])
# A region smaller than this holds nothing that a model could see.
_SMALLEST_REGION = 16
# Questions that are kept per set of scans; each keeps its pictures.
_KEPT_QUESTIONS = 50
_KEPT_BYTES = 64_000_000
# Of a long conversation the model reads the last turns only: prompts must end somewhere.
_TURNS = 3

Stage = Literal["", "own", "vote"]
"""Of a blind question: the reader's own answer, then the vote; "" once the names are known."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One exchange as it stands on the page, ready to be frozen into a case by a flag.

    Attributes:
        scan: the scan that was asked about; of several, the one on the stage.
        question: as it was handed to the engine.
        shown: how each of its pictures was looked at.
        answers: one per arm, in the order of the columns.
        arms: the arms that answer, with their revisions.
        model_name: what the engine says it runs.
        typed: the question as it was typed, without the words on regions.
        number: counts the questions of a page, from 1.
        blind: whether the arms stood under letters.
        views: how each scan stood on the stage, as the viewer's `recall` takes it.
    """

    scan: Scan
    question: Question
    shown: tuple[Shown, ...]
    answers: tuple[Answer, ...]
    arms: tuple[Arm, ...]
    model_name: str
    typed: str = ""
    number: int = 0
    blind: bool = False
    views: tuple[dict[str, Any], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of its pictures."""
        images = (self.scan.image, *(named.image for named in self.question.images))
        return sum(len(image.getbands()) * image.width * image.height for image in images)

    def turn(self) -> Turn:
        """This exchange as an earlier turn of the next question."""
        answers = {answer.arm: answer.response.text for answer in self.answers}
        return Turn(self.question.text, self.question.mode, answers)


@dataclass(eq=False)
class OpenScan:
    """One scan on the page, and how the reader looks at it.

    Attributes:
        volume: holds the pixels at full depth, or what they can be decoded from.
        token: by which the page may read its frames.
        source: where it came from in words ("Your scan", "Example: brain MR"); no file names.
        role: one of `ROLES`, its own among the scans of a question.
        modality: for the suggested questions, also where the file does not say it.
        reference: a test row's reference answer, shown only when asked for.
        proposed: covers for burned-in text that were found in the pixels.
        decided: whether burned-in text, where it was found or is likely, has been covered or ruled
            out.
        asked_about: whether a person is asked about burned-in text, or has said beforehand that
            there is none; else each picture is searched when it is asked about.
        searched: views, with their covers, to whether there is writing on them.
        view: what is on the stage.
        masks: covers on that plane.
        region: what the question is about, in pixels of that plane, or None for all of it.
    """

    volume: Volume
    token: str = field(repr=False)
    source: str
    role: str = ROLES[0]
    modality: str | None = None
    reference: str | None = None
    proposed: tuple[Box, ...] = ()
    decided: bool = True
    asked_about: bool = True
    searched: dict[tuple[View, tuple[Box, ...]], bool] = field(default_factory=dict, repr=False)
    view: View = field(default_factory=View)
    masks: tuple[Box, ...] = ()
    region: Box | None = None

    @property
    def stack(self) -> Stack:
        """The pixels at full depth.

        Raises:
            ScanError: they had to make room, and so had what they came from.
        """
        return self.volume.stack()

    def looked_at(self) -> dict[str, Any]:
        """How it stands on the stage, covers left out, as the viewer's `recall` takes it."""
        view = self.view
        return {
            "token": self.token,
            "plane": view.plane,
            "frame": view.frame,
            "time": view.time,
            "window": [view.window.center, view.window.width] if view.window else None,
            "invert": view.invert,
            "region": _corners(self.region) if self.region else None,
        }

    def shown(self) -> Scan:
        """The picture on the stage, covers included."""
        return self.stack.scan(self.view, self.masks)


@dataclass
class Session:
    """The state behind one open page. Handlers change it in place.

    Attributes:
        scans: the scans of the question, in the order of the tray.
        active: the one on the stage, or None.
        asked: the exchange on the right, once there is one.
        history: the exchanges about these scans, oldest first.
        count: how many questions this page has asked.
        stage: where a blind question stands.
        own_answer: the reader's, given before the columns of a blind question are shown.
        alone: the arm that is looked at alone, or None for all columns.
        flagging: the arm whose flag panel is open.
        kept: texts in which the person has kept what looked like identity.
        doubted: the text that the person is being asked about.
        stop: set to end the running answers.
        offered: what the PACS has of the study that was searched for last.
    """

    scans: tuple[OpenScan, ...] = ()
    active: OpenScan | None = None
    asked: Asked | None = None
    history: tuple[Asked, ...] = ()
    count: int = 0
    stage: Stage = ""
    own_answer: str = ""
    alone: str | None = None
    flagging: str | None = None
    kept: set[str] = field(default_factory=set)
    doubted: str = ""
    stop: Event | None = field(default=None, repr=False)
    offered: tuple[Series, ...] = field(default=(), repr=False)
    _fetch: Event | None = field(default=None, repr=False)
    _cases: dict[int, str] = field(default_factory=dict)

    @property
    def identifiers(self) -> tuple[Identifiers, ...]:
        """What stood in the headers of the open scans, as keyed hashes."""
        return tuple(scan.stack.identifiers for scan in self.scans)

    @property
    def case_id(self) -> str | None:
        """The case of the exchange on the right in the review store, once it is kept."""
        return self._cases.get(self.asked.number) if self.asked else None

    @case_id.setter
    def case_id(self, case_id: str | None) -> None:
        if self.asked is None:
            return
        if case_id is None:
            self._cases.pop(self.asked.number, None)
        else:
            self._cases[self.asked.number] = case_id

    def remember(self) -> None:
        """Put the exchange on the right into the history, once it has come to rest.

        The oldest ones leave where the pictures of all would take too much memory.
        """
        asked = self.asked
        if asked is not None and all(asked.number != one.number for one in self.history):
            self.history = (*self.history, asked)[-_KEPT_QUESTIONS:]
            while len(self.history) > 1 and sum(one.size for one in self.history) > _KEPT_BYTES:
                self.history = self.history[1:]

    def leave(self) -> None:
        """Let go of everything: nobody looks at the page any more."""
        self.change()
        self.offered = ()

    def reopen(self, number: int) -> Asked | None:
        """Put an earlier exchange back on the right; None where it is not remembered."""
        found = next((one for one in self.history if one.number == number), None)
        if found is not None:
            self.asked, self.alone, self.flagging, self.stage = found, None, None, ""
        return found

    def begin_fetch(self) -> Event:
        """Let go of what the PACS offered, and end what still comes from it.

        Returns:
            What is set once this in its turn is to end.
        """
        if self._fetch is not None:
            self._fetch.set()
        self.offered, self._fetch = (), Event()
        return self._fetch

    def turns(self) -> tuple[Turn, ...]:
        """What a follow-up question comes after, oldest first."""
        return tuple(one.turn() for one in self.history[-_TURNS:])

    def show(self, scan: OpenScan, beside: bool = False) -> None:
        """Put a scan on the page. What was said of the last one goes with it.

        Args:
            scan: the scan; its role is changed to one that no other has.
            beside: add it to those that are open (the caller sees to `has_room`).
        """
        others = self.scans if beside else ()
        self.change(*others, scan)
        self.active = scan
        projection = _projection(scan.stack)
        if len(others) == 1 and projection and _projection(others[0].stack) not in ("", projection):
            # Two projections of one chest are no prior of each other.
            others[0].role, scan.role = _projection(others[0].stack), projection
            return
        taken = {other.role for other in others}
        scan.role = next(role for role in ROLES if role not in taken)

    def change(self, *scans: OpenScan) -> None:
        """Let the page hold these scans; answers to others must never stand beside them."""
        if self.stop is not None:
            self.stop.set()
        self.scans = scans
        if self.active not in scans:
            self.active = scans[0] if scans else None
        self.asked = self.flagging = self.alone = None
        self.history, self.stage, self.own_answer = (), "", ""

    def has_room(self, more: int) -> bool:
        """Whether so many more scans may be added."""
        return len(self.scans) + more <= len(ROLES)

    def pictures(self) -> tuple[tuple[NamedImage, ...], tuple[Shown, ...]]:
        """What the model is given, every scan as it stands followed by its region; and how.

        A region is a picture of its own beside the whole, not instead of it: the crop has the
        detail, and the whole says where it lies and which side is which.
        """
        found: list[NamedImage] = []
        shown: list[Shown] = []
        several = len(self.scans) > 1
        for scan in self.scans:
            image = scan.shown().image
            found.append(NamedImage(image, scan.role if several else "scan"))
            shown.append(_how(scan, crop=None))
            if scan.region is not None:
                crop = _grown(scan.region, *image.size)
                name = f"region of {scan.role}" if several else "region"
                found.append(NamedImage(image.crop(crop), name))
                shown.append(_how(scan, crop))
        return tuple(found), tuple(shown)

    def region_words(self) -> str:
        """One sentence per region that says where it lies, or "".

        In thousandths of width and height from the upper left corner, the grid in which
        Qwen2-VL was taught to give boxes (arXiv 2409.12191, section 2.2).
        """
        said = []
        several = len(self.scans) > 1
        for scan in self.scans:
            if scan.region is None:
                continue
            width, height = scan.shown().image.size
            left, right = (round(1000 * x / width) for x in (scan.region.left, scan.region.right))
            top, bottom = (round(1000 * y / height) for y in (scan.region.top, scan.region.bottom))
            where = f" of {scan.role}" if several else ""
            said.append(f"The region{where} spans ({left},{top}) to ({right},{bottom}).")
        return " ".join(said)


def _projection(stack: Stack) -> str:
    """The role that the header's view position speaks for, or ""."""
    position = stack.attributes.get("ViewPosition", "").upper()
    if position in _FRONTAL:
        return "frontal"
    return "lateral" if position in _LATERAL else ""


def _how(scan: OpenScan, crop: tuple[int, int, int, int] | None) -> Shown:
    view = scan.view
    return Shown(
        plane=view.plane,
        frame=view.frame,
        time=view.time,
        window=(view.window.center, view.window.width) if view.window else None,
        invert=view.invert,
        crop=crop,
        region=_corners(scan.region) if scan.region and crop is None else None,
        masks=tuple(_corners(box) for box in scan.masks),
    )


def _corners(box: Box) -> tuple[int, int, int, int]:
    return box.left, box.top, box.right, box.bottom


def _grown(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The region as (left, top, right, bottom), widened where it is too small to be seen."""

    def grown(start: int, end: int, most: int) -> tuple[int, int]:
        missing = max(0, min(_SMALLEST_REGION, most) - (end - start))
        first = min(max(0, start - missing // 2), most - (end - start) - missing)
        return first, first + (end - start) + missing

    left, right = grown(box.left, box.right, width)
    top, bottom = grown(box.top, box.bottom, height)
    return left, top, right, bottom
