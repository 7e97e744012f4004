"""The state of one visitor's page, in memory; `kept_sessions` restores it after a reload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, Literal, Protocol

from demo.services.place import Place
from demo.services.volumes import Volume
from rarl.checks import HeaderFacts, header_facts
from rarl.inference.checking import with_checks
from rarl.inference.engine import Answer, Arm, NamedImage, Question, Turn
from rarl.records import Measurement
from rarl.response import Check
from rarl.review import Shown
from rarl.scans import Box, Identifiers, Scan, Stack, View
from rarl.scans.dicomweb import Series

ROLES = ("current", "prior", "frontal", "lateral")
"""What scans of one question can be called, in the order in which they are given out."""

_FRONTAL, _LATERAL = frozenset(["PA", "AP"]), frozenset(["LL", "RL", "LAT", "LATERAL"])
# A region smaller than this holds nothing that a model could see.
_SMALLEST_REGION = 16
# Questions that a page keeps; each keeps its pictures.
_KEPT_QUESTIONS = 50
_KEPT_BYTES = 64_000_000
# Scans that were removed or replaced and can still be brought back.
_CLOSED_SCANS = 4
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
        unfamiliar: arm to a sentence, where a picture is of a kind that it never saw.
        measurements: what was drawn on its scans, before and after the question was asked.
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
    unfamiliar: Mapping[str, str] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()

    def is_same(self, other: Asked | None) -> bool:
        """Whether another is this exchange, whatever was marked or measured since."""
        return other is not None and other.question is self.question

    @property
    def tokens(self) -> tuple[str, ...]:
        """The scans that were asked about, by token, in the order of the prompt."""
        return tuple(str(view["token"]) for view in self.views)

    def picture_words(self) -> tuple[str, ...]:
        """How each picture was shown, in a few words each: "Slice 41 · L 40 W 400 · region"."""
        several = sum(shown.crop is None for shown in self.shown) > 1
        words = []
        for named, shown in zip(self.question.images, self.shown, strict=True):
            if shown.crop is None:
                words.append(shown_words(shown, named.name if several else ""))
        return tuple(text for text in words if text)

    @property
    def size(self) -> int:
        """Bytes of its pictures."""
        images = (self.scan.image, *(named.image for named in self.question.images))
        return sum(len(image.getbands()) * image.width * image.height for image in images)

    def turn(self) -> Turn:
        """This exchange as an earlier turn of the next question."""
        answers = {answer.arm: answer.response.text for answer in self.answers}
        return Turn(self.question.text, self.question.mode, answers, self.question.options)


def shown_words(shown: Shown, name: str = "") -> str:
    """How a picture was shown, for the head of an answer.

    Args:
        shown: plane, slice, window and region.
        name: what the question calls the picture, or "".

    >>> shown_words(Shown("axial", 40, 0, (40.0, 400.0), True), "prior")
    'Prior · axial · slice 41 · level 40, width 400 · inverted'
    """
    words = [name.capitalize()] if name else []
    if shown.plane != "acquired":
        words.append(shown.plane)
    if shown.plane != "acquired" or shown.frame:
        words.append(f"slice {shown.frame + 1}")
    if shown.time:
        words.append(f"time {shown.time + 1}")
    if shown.window is not None:
        words.append(f"level {shown.window[0]:g}, width {shown.window[1]:g}")
    words += ["inverted"] * shown.invert
    words += ["region marked"] if shown.region is not None else []
    return " · ".join(words)


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
        nameless: whether typed words can no longer be compared with the names in its header, since
            the app was restarted.
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
    nameless: bool = False

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


class Holding(Protocol):
    """What was opened together, with all its series; see `demo.services.choosing.Upload`."""

    def holds(self, scan: OpenScan) -> bool:
        """Whether a scan is one of its series, to be chosen again at once."""
        ...


@dataclass
class Session:
    """The state behind one open page. Handlers change it in place.

    Attributes:
        scans: the scans of the question, in the order of the tray.
        active: the one on the stage, or None.
        asked: the exchange on the right, once there is one.
        history: the exchanges of this page, oldest first; each names the scans that it is about.
        count: how many questions this page has asked.
        stage: where a blind question stands.
        own_answer: the reader's, given before the columns of a blind question are shown.
        alone: the arm that is looked at alone, or None for all columns.
        flagging: the arm whose flag panel is open.
        kept: texts in which the person has kept what looked like identity.
        doubted: the text that the person is being asked about.
        stop: set to end the running answers.
        place: where the session is kept over a reload, or None.
        offered: what the PACS has of the study that was searched for last.
        upload: what was opened last, with all its series.
        closed: scans that were removed or replaced, latest last, which an undo or an earlier
            question brings back.
        queued: identity of the question that waits for the running answers, or None.
        running: the question that is being answered, as it was typed, or "".
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
    place: Place | None = field(default=None, repr=False)
    offered: tuple[Series, ...] = field(default=(), repr=False)
    upload: Holding | None = field(default=None, repr=False)
    closed: tuple[OpenScan, ...] = ()
    queued: object | None = field(default=None, repr=False)
    running: str = ""
    _before: tuple[OpenScan, ...] | None = None
    # Of every scan that was open, also where its pixels have been let go.
    _known: dict[str, Identifiers] = field(default_factory=dict, repr=False)
    _fetch: Event | None = field(default=None, repr=False)
    _cases: dict[int, str] = field(default_factory=dict)
    _flagged: set[tuple[int, str]] = field(default_factory=set)

    @property
    def identifiers(self) -> tuple[Identifiers, ...]:
        """What stood in the headers of the scans of this page, as keyed hashes."""
        for scan in self.scans:
            if scan.token not in self._known:
                self._known[scan.token] = scan.stack.identifiers
        return tuple(self._known.values())

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

    def is_flagged(self, arm: str) -> bool:
        """Whether an answer on the right was flagged from this page."""
        return self.asked is not None and (self.asked.number, arm) in self._flagged

    def note_flag(self, exchange: Asked, arm: str) -> None:
        """Remember that an answer was flagged."""
        self._flagged.add((exchange.number, arm))

    def case_of(self, number: int) -> str | None:
        """The case of an exchange in the review store, once it is kept."""
        return self._cases.get(number)

    def put_back(
        self,
        scans: Sequence[OpenScan],
        active: OpenScan | None,
        history: Sequence[Asked],
        asked: Asked | None,
        count: int,
        cases: Mapping[int, str],
    ) -> None:
        """Hold again what a page held before it was reloaded.

        Args:
            scans: those that were open.
            active: the one on the stage.
            history: oldest first.
            asked: the exchange on the right.
            count: how many questions the page has asked.
            cases: number of an exchange to its case.
        """
        self.scans, self.active = tuple(scans), active or next(iter(scans), None)
        self.history, self.asked, self.count = tuple(history), asked, count
        self._cases = dict(cases)

    def take_over(self, other: Session) -> None:
        """Hold what another session holds, in the place of everything that is held now."""
        self.leave()
        self._flagged.clear()
        self.kept.clear()
        self.own_answer, self.queued, self.running = "", None, other.running
        self.put_back(
            other.scans, other.active, other.history, other.asked, other.count, other._cases
        )

    def remember(self) -> None:
        """Put the exchange on the right into the history, once it has come to rest.

        The oldest ones leave where the pictures of all would take too much memory.
        """
        asked = self.asked
        if asked is not None and all(asked.number != exchange.number for exchange in self.history):
            self.history = (*self.history, asked)[-_KEPT_QUESTIONS:]
            while (
                len(self.history) > 1
                and sum(exchange.size for exchange in self.history) > _KEPT_BYTES
            ):
                self.history = self.history[1:]

    def leave(self) -> None:
        """Let go of everything: nobody looks at the page any more."""
        self.change()
        self.asked, self.history, self.closed, self.offered = None, (), (), ()
        self.upload = None
        self._before = None
        self._known.clear()

    def reopen(self, number: int) -> Asked | None:
        """Put an earlier exchange back on the right, and its scans on the left.

        Scans that are no longer held stay closed; the answers come back all the same.

        Returns:
            The exchange; None where it is not remembered.
        """
        exchange = next((asked for asked in self.history if asked.number == number), None)
        if exchange is None:
            return None
        known_scans = {scan.token: scan for scan in (*self.closed, *self.scans)}
        tokens = exchange.tokens
        if tokens != self._tokens and all(token in known_scans for token in tokens):
            self._put(tuple(known_scans[token] for token in tokens))
        self.asked, self.alone, self.flagging, self.stage = exchange, None, None, ""
        return exchange

    def mark(self, exchange: Asked, checks: Mapping[str, Check]) -> None:
        """Note what was found out about answers after they were given.

        Args:
            exchange: which answers.
            checks: by name of the variant.
        """

        def marked(asked: Asked) -> Asked:
            if asked.number != exchange.number:
                return asked
            return replace(asked, answers=with_checks(asked.answers, checks))

        self.history = tuple(map(marked, self.history))
        if self.asked is not None:
            self.asked = marked(self.asked)

    def note_measurements(self) -> None:
        """Keep what is drawn on the scans now with the exchanges about them."""
        drawn = {scan.token: scan.volume.measurements for scan in (*self.closed, *self.scans)}

        def noted(asked: Asked) -> Asked:
            if not all(token in drawn for token in asked.tokens):
                return asked
            found = tuple(
                made.model_copy(update={"series": series})
                for series, token in enumerate(asked.tokens)
                for made in drawn[token]
            )
            return asked if found == asked.measurements else replace(asked, measurements=found)

        self.history = tuple(map(noted, self.history))
        if self.asked is not None:
            self.asked = noted(self.asked)

    def measured_on(self, case_id: str) -> tuple[Measurement, ...]:
        """What is drawn on the scans of a case of this page now, also since the case was kept."""
        self.note_measurements()
        exchanges = self.history if self.asked is None else (*self.history, self.asked)
        found = [asked for asked in exchanges if self._cases.get(asked.number) == case_id]
        return found[-1].measurements if found else ()

    def about_open_scans(self, exchange: Asked) -> bool:
        """Whether an exchange is about the scans that are open, and no others."""
        return exchange.tokens == self._tokens

    @property
    def can_undo(self) -> bool:
        """Whether `undo` would bring back the scans that the last change took away."""
        return self._before is not None

    def undo(self) -> bool:
        """Bring back the scans as they were before the last one was removed or replaced.

        Returns:
            Whether there was anything to bring back.
        """
        before = self._before
        if before is None:
            return False
        self._put(before)
        return True

    @property
    def _tokens(self) -> tuple[str, ...]:
        return tuple(scan.token for scan in self.scans)

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
        """What a follow-up question comes after, oldest first: questions about the open scans."""
        exchanges = [asked for asked in self.history if self.about_open_scans(asked)]
        return tuple(asked.turn() for asked in exchanges[-_TURNS:])

    def show(self, scan: OpenScan, beside: bool = False) -> None:
        """Put a scan on the page. Answers about the last ones stay under "Asked".

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

    def exchange(self, scan: OpenScan, other: OpenScan) -> None:
        """Put a scan in the place and the role of one that is open."""
        other.role = scan.role
        self.change(*(other if known is scan else known for known in self.scans))
        self.active = other

    def change(self, *scans: OpenScan) -> None:
        """Let the page hold these scans.

        The history stays. The answers on the right stay too as long as one of their scans is open;
        the page marks them as given about other pictures.
        """
        lost = [scan for scan in self.scans if scan not in scans]
        before = self.scans if lost else None
        self._put(scans)
        self._before = before

    def _put(self, scans: tuple[OpenScan, ...]) -> None:
        if self.stop is not None:
            self.stop.set()
            if self.asked is not None:
                self.asked = replace(
                    self.asked,
                    answers=tuple(
                        replace(answer, done=True, stopped=answer.stopped or not answer.done)
                        for answer in self.asked.answers
                    ),
                )
        self.remember()
        gone = [scan for scan in (*self.closed, *self.scans) if scan not in scans]
        for scan in self.scans:
            self._known.setdefault(scan.token, scan.stack.identifiers)
        self.closed = tuple(dict.fromkeys(gone))[-_CLOSED_SCANS:]
        for scan in self.closed:
            scan.volume.shown = False
            if self.upload is None or not self.upload.holds(scan):
                scan.volume.let_go()  # decoded again when it comes back
        for scan in scans:
            scan.volume.shown = True
        self.scans, self._before = scans, None
        if self.active not in scans:
            self.active = scans[0] if scans else None
        asked = self.asked
        if asked is not None and not set(asked.tokens) & set(self._tokens):
            self.asked = None
        self.flagging = self.alone = None
        self.stage, self.own_answer = "", ""

    def has_room(self, more: int) -> bool:
        """Whether so many more scans may be added."""
        return len(self.scans) + more <= len(ROLES)

    def pictures(self) -> tuple[tuple[NamedImage, ...], tuple[Shown, ...]]:
        """What the model is given, every scan as it stands followed by its region; and how.

        A region is a picture of its own beside the whole, not instead of it: the crop has the
        detail, and the whole says where it lies and which side is which.
        """
        images: list[NamedImage] = []
        shown: list[Shown] = []
        several = len(self.scans) > 1
        for scan in self.scans:
            image = scan.shown().image
            images.append(NamedImage(image, scan.role if several else "scan"))
            shown.append(_how(scan, crop=None))
            if scan.region is not None:
                crop = _grown(scan.region, *image.size)
                name = f"region of {scan.role}" if several else "region"
                images.append(NamedImage(image.crop(crop), name))
                shown.append(_how(scan, crop))
        return tuple(images), tuple(shown)

    def facts(self) -> HeaderFacts:
        """What the headers of the open scans state."""
        return header_facts(
            ((scan.modality, scan.stack.attributes) for scan in self.scans),
            (scan.view.plane for scan in self.scans),
        )

    def region_words(self) -> str:
        """One sentence per region that says where it lies, or "".

        In thousandths of width and height from the upper left corner, the grid in which
        Qwen2-VL was taught to give boxes (arXiv 2409.12191, section 2.2).
        """
        sentences = []
        several = len(self.scans) > 1
        for scan in self.scans:
            if scan.region is None:
                continue
            width, height = scan.shown().image.size
            left, right = (round(1000 * x / width) for x in (scan.region.left, scan.region.right))
            top, bottom = (round(1000 * y / height) for y in (scan.region.top, scan.region.bottom))
            where = f" of {scan.role}" if several else ""
            sentences.append(f"The region{where} spans ({left},{top}) to ({right},{bottom}).")
        return " ".join(sentences)


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
