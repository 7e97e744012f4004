"""Helpers that the review pages share: error messages, the filter and small HTML pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, Self

import gradio as gr
from PIL import Image, ImageDraw

from demo.context import Update
from demo.pages import render
from demo.services.asking import log_fault
from demo.templating import render_template
from rarl.errors import RarlError, ReviewError
from rarl.records import STATUSES, Item, Status
from rarl.review import Flag, FlagFilter, Picture, QueueFilter, Region
from rarl.review.taxonomy import Taxonomy

STATUS_WORDS: dict[str, str] = {
    "new": "not judged",
    "one-reader": "one reading",
    "agreed": "readers agree",
    "differs": "readers differ",
    "adjudicated": "adjudicated",
    "dismissed": "dismissed",
}
WAITING = "waiting"
Data = dict[Any, Any]
"""What Gradio hands to a handler whose inputs are a set: each widget with its value."""
OUR_FAULT = "Something went wrong on our side. What you typed is still here; please try again."


@dataclass(frozen=True, slots=True)
class Labels:
    """What the keys of flags are called: the site's words, and the usual ones for older flags.

    Attributes:
        categories: key to label.
        severities: key to label, mildest first.
        taxonomy: of the site.
    """

    categories: Mapping[str, str]
    severities: Mapping[str, str]
    taxonomy: Taxonomy

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> Self:
        """The labels of a store."""
        return cls(taxonomy.category_labels(), taxonomy.severity_labels(), taxonomy)

    def category(self, key: str) -> str:
        """The label of a category."""
        return self.categories.get(key, key)

    def severity(self, key: str, short: bool = False) -> str:
        """With its square, the colour of which grows with it.

        Args:
            key: of the taxonomy.
            short: show the square alone; its label is read aloud and shown under the pointer.
        """
        return render_template(
            "review/severity.html",
            grade=self.taxonomy.severity_grade(key),
            label=self.severities.get(key, key),
            short=short,
        )

    def gravest(self, flags: Sequence[Flag]) -> Flag | None:
        """The newest of the gravest."""
        order = list(self.severities)
        return max(
            flags,
            key=lambda flag: (
                order.index(flag.severity) if flag.severity in order else -1,
                flag.id,
            ),
            default=None,
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """The queue's filters as its widgets hold them; "" leaves everything in.

    Attributes:
        work: id of an audit, "" for the flagged answers.
        status: one of `STATUSES`, or `WAITING` for what waits for oneself.
        text: see `FlagFilter`.
        arm: see `FlagFilter`.
        category: see `FlagFilter`.
        severity: see `FlagFilter`.
        modality: see `FlagFilter`.
        reader: who flagged.
        assigned: whom the answer was given to.
        since: date, YYYY-MM-DD, UTC.
        until: date that is still meant.
    """

    work: str = ""
    status: str = ""
    text: str = ""
    arm: str = ""
    category: str = ""
    severity: str = ""
    modality: str = ""
    reader: str = ""
    assigned: str = ""
    since: str = ""
    until: str = ""

    @property
    def study_id(self) -> str | None:
        """The audit whose queue it is, or None."""
        return self.work or None

    def flags(self) -> FlagFilter:
        """The part about flags.

        Raises:
            ReviewError: a date is none.
        """
        until = day(self.until)
        return FlagFilter(
            arm=self.arm or None,
            category=self.category or None,
            severity=self.severity or None,
            modality=self.modality or None,
            text=self.text or "",
            reader=self.reader or None,
            since=day(self.since),
            until=until and until + timedelta(days=1),
        )

    def queue(self) -> QueueFilter:
        """All of it.

        Raises:
            ReviewError: a date is none.
        """
        status: Status | None = next((name for name in STATUSES if name == self.status), None)
        return QueueFilter(
            self.flags(), status, self.assigned or None, waiting=self.status == WAITING
        )


def day(text: str) -> datetime | None:
    """The beginning of a day, UTC; None for "".

    Raises:
        ReviewError: it is no date.
    """
    if not text.strip():
        return None
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC)
    except ValueError:
        raise ReviewError("Write dates as 2026-11-30.") from None


@dataclass
class Place:
    """Where one page stands in the queue.

    Attributes:
        item: the open answer, or None.
        study_id: the audit that it is judged in, or None.
        key: of the verdict that is being written, so that a second press on Save stores nothing
            twice.
        replaces: key of one's own verdict that it would correct, or None.
        adjudicates: whether it would settle the answer.
        listed: the answers as the list shows them.
        shown: how many pages of them the list may have.
        drafts: what was typed about an answer that was left unsaved.
    """

    item: Item | None
    study_id: str | None
    key: str
    replaces: str | None
    adjudicates: bool
    listed: tuple[Item, ...]
    shown: int
    drafts: dict[tuple[str | None, Item], tuple[object, ...]]


def guarded(trouble: gr.HTML, where: str, work: Callable[[], Update]) -> Update:
    """Do something for a page, and turn what fails into a sentence on it."""
    try:
        return {trouble: "", **work()}
    except RarlError as error:
        return {trouble: render.sentence(str(error))}
    except Exception as error:
        log_fault(where, error)
        return {trouble: render.sentence(OUR_FAULT)}


def names_in(text: str) -> list[str]:
    """Names with commas, semicolons or line breaks between.

    >>> names_in("Dr. A, b; b")
    ['Dr. A', 'b']
    """
    words = text.replace(";", ",").replace("\n", ",").split(",")
    return list(dict.fromkeys(word.strip() for word in words if word.strip()))


def when(moment: datetime) -> str:
    """Date and time as the pages write them."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def nothing(title: str, sentence: str) -> str:
    """Empty-state placeholder."""
    return render_template("nothing.html", title=title, sentence=sentence)


def stage(picture: Picture, number: int, regions: Sequence[Region] = ()) -> str:
    """A picture that the reader can zoom, with the places that were marked on it."""
    address = ""
    if picture.png is not None:
        boxes = [region.box for region in regions if region.picture == number]
        address = render.picture_url(with_boxes(picture.image(), boxes))
    title = f"{picture.name} of the case" if picture.name else "scan of the case"
    return render_template("review/stage.html", title=title, address=address)


def with_boxes(image: Image.Image, boxes: Sequence[tuple[int, int, int, int]]) -> Image.Image:
    """A copy with frames around boxes: bright within dark, to be seen on any ground."""
    if not boxes:
        return image
    drawn = image.convert("RGB")
    pen = ImageDraw.Draw(drawn)
    width = max(1, round(max(image.size) / 250))
    for left, top, right, bottom in boxes:
        for grow, colour in ((width, "#000000"), (0, "#70d6c4")):
            pen.rectangle(
                (left - grow, top - grow, right - 1 + grow, bottom - 1 + grow),
                outline=colour,
                width=width,
            )
    return drawn


def thumbnail_url(png: bytes) -> str:
    """A small copy of a stored picture, inside its own address."""
    image = Image.open(BytesIO(png), formats=["PNG"])
    return render.picture_url(image, side=220)


def select_box(
    every: str, choices: Sequence[tuple[str, str]], elem_id: str, value: str = ""
) -> gr.Dropdown:
    """A filter: `every` leaves everything in."""
    return gr.Dropdown(
        [(every, ""), *choices],
        value=value,
        label=every,
        show_label=False,
        container=False,
        filterable=False,
        elem_id=elem_id,
        min_width=100,
    )
