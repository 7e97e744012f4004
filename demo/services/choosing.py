"""What one upload holds: its series, to be chosen from, and what was left out of it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from demo.services.fair_queue import current_session
from demo.services.volumes import Budget, Originals, Volume
from demo.session import OpenScan, Session
from demo.viewer import FrameServer, open_scan, thumbnail_url
from rarl.scans import LeftOut, Opened


@dataclass(eq=False)
class Choice:
    """One series of an upload.

    Attributes:
        title: kind, description and number of pictures; no free text of the file.
        pictures: how many it has.
        thumbnail: the address of its middle picture.
        volume: holds its pixels.
        group: which file it is from, where each is a scan of its own; else 0.
        source: where it came from, in words.
        scan: as it stands on the page, once it was opened.
    """

    title: str
    pictures: int
    thumbnail: str
    volume: Volume
    group: int
    source: str
    scan: OpenScan | None = None

    def opened(self, frames: FrameServer, checked: bool = False) -> OpenScan:
        """The series on the page; the same scan each time, so that answers about it find it.

        Args:
            frames: which is to serve its frames.
            checked: see `open_scan`.

        Raises:
            ScanError: it had to make room for others.
        """
        if self.scan is None:
            stack = self.volume.stack()
            self.scan = open_scan(stack, frames, self.source, checked=checked, volume=self.volume)
        return self.scan


@dataclass(eq=False)
class Upload:
    """The files that were sent together.

    Attributes:
        choices: all series, in the order of the files.
        left_out: files of no series.
        name: random; the page keeps the files' own names under it, which the server never gets.
    """

    choices: tuple[Choice, ...]
    left_out: tuple[LeftOut, ...]
    name: str

    def holds(self, scan: OpenScan) -> bool:
        """Whether a scan is one of its series."""
        return any(choice.scan is scan for choice in self.choices)

    def first(self) -> list[Choice]:
        """What opens by itself: of each archive or series the one with the most pictures."""
        largest: dict[int, Choice] = {}
        for choice in self.choices:
            known = largest.get(choice.group)
            if known is None or choice.pictures > known.pictures:
                largest[choice.group] = choice
        return list(largest.values())

    def choose(self, session: Session, choice: Choice, frames: FrameServer, beside: bool) -> None:
        """Open a series, in place of the one of this upload that is on the stage.

        Args:
            session: of the page.
            choice: one of `choices`.
            frames: which is to serve its frames.
            beside: leave the other one open as well (the caller sees to `has_room`).

        Raises:
            ScanError: it had to make room for others.
        """
        scan = choice.opened(frames)
        if scan in session.scans:
            session.active = scan
            return
        mine = [series.scan for series in self.choices if series.scan in session.scans]
        replaced = session.active if session.active in mine else next(iter(mine), None)
        if beside or replaced is None:
            session.show(scan, beside=bool(session.scans) and session.has_room(1))
        else:
            session.exchange(replaced, scan)

    def move_to(self, session: Session, page: str) -> None:
        """Belong to another page, on which its scans have been restored.

        Args:
            session: of that page.
            page: its hash.
        """
        restored = {scan.token: scan for scan in session.scans}
        for choice in self.choices:
            choice.volume.owner = page  # its files are those of the others too
            scan = choice.scan and restored.get(choice.scan.token)
            if scan:
                choice.scan, choice.volume = scan, scan.volume
        session.upload = self

    def spec(self, session: Session) -> dict[str, Any]:
        """What the page is told: the series where there are several, and what was left out."""
        several = len(self.choices) > 1
        return {
            "name": self.name,
            "series": [
                {
                    "title": choice.title,
                    "thumbnail": choice.thumbnail,
                    "open": choice.scan is not None and choice.scan in session.scans,
                }
                for choice in self.choices
                if several
            ],
            "left_out": [
                {"source": file.source, "name": file.name, "kind": file.kind}
                for file in self.left_out
            ],
        }


def hold(
    opened: Sequence[Opened], contents: Sequence[bytes], budget: Budget | None, source: str
) -> Upload:
    """Hold what was opened within the app's memory for pixels.

    Args:
        opened: from `open_uploads`.
        contents: the files that it came from.
        budget: of the app.
        source: where it came from, in words.
    """
    choices = []
    for group, result in enumerate(opened):
        # A scan of a file of its own is decoded again from that file alone.
        sources = {part.source for series in result.series for part in series.parts}
        used_files = [contents[place] for place in sorted(sources)] if len(opened) > 1 else contents
        originals = Originals(used_files)
        for index, series in enumerate(result.series):
            volume = Volume(series.stack(), originals, budget, current_session(), index)
            picture = thumbnail_url(series.thumbnail())
            choices.append(Choice(series.title, series.pictures, picture, volume, group, source))
    left_out = tuple(file for result in opened for file in result.left_out)
    return Upload(tuple(choices), left_out, secrets.token_hex(8))


def upload_of(session: Session) -> Upload | None:
    """What was opened last on a page."""
    return session.upload if isinstance(session.upload, Upload) else None
