"""Sessions that a reader has named, to open them again later.

They are written and encrypted as `kept_sessions` does it, by a cookie that outlives the browser and
signing out: only the person who named one can read it, and only in that browser. The name stands
beside it in plain text, for the list and for admins; it must not identify anybody.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from time import time

from demo.services.kept_sessions import KeptSessions, owner_of, sealed_place
from demo.services.place import Place
from demo.services.volumes import Budget
from demo.serving.caller import Caller
from demo.session import Session
from demo.viewer import FrameServer
from rarl.errors import QuestionError, SettingError
from rarl.review.roles import may, require
from rarl.settings import read_settings

SETTING = "RARL_SAVED_SESSIONS"
NAME_LIMIT = 80
"""Longest name, in characters."""
_MOST_DAYS = 365.0
# Of one browser and person, and of all together.
_EACH, _ALL = 20, 500
_ALL_BYTES = 4_000_000_000
_DAY = 24 * 3600.0
_ID = re.compile(r"[0-9a-f]{32}")
_GONE = "This session is no longer there; it was deleted or has expired."


def read_days(environment: Mapping[str, str] | None = None) -> float:
    """For how many days named sessions are kept, as RARL_SAVED_SESSIONS says; 0 for never.

    Raises:
        SettingError: it says something else.

    >>> read_days({"RARL_SAVED_SESSIONS": "off"})
    0.0
    """
    word = read_settings(environment).saved_sessions.lower()
    if word == "off":
        return 0.0
    try:
        days = float(word)
    except ValueError:
        days = -1.0
    if not 0 < days <= _MOST_DAYS:
        raise SettingError(
            f"{SETTING} must be off or a number of days up to {_MOST_DAYS:g}; correct or unset it "
            "and start again."
        )
    return days


@dataclass(frozen=True, slots=True)
class Saved:
    """A session in the list.

    Attributes:
        id: 32 hex digits.
        name: as the reader typed it.
        person: who saved it; None where nobody was named.
        created: seconds since 1970.
        questions: how many it holds.
        scans: how many it holds.
        folder: name of the folder beside this record that holds its contents.
    """

    id: str
    name: str
    person: str | None
    created: float
    questions: int
    scans: int
    folder: str


class SavedSessions:
    """The folder of named sessions.

    Args:
        folder: made when the first one is saved.
        days: how long each is kept; 0 saves none.
        keeper: writes and reads the contents.
    """

    def __init__(self, folder: Path, days: float, keeper: KeptSessions) -> None:
        self._folder = folder
        self.days = days
        self._keeper = keeper
        self._lock = Lock()

    @property
    def cookie_seconds(self) -> int:
        """How long a browser keeps the key."""
        return round(self.days * _DAY)

    def offered(self, caller: Caller) -> bool:
        """Whether this caller may save one, and its browser could open it again."""
        return self.days > 0 and bool(caller.lasting) and may(caller.role, "save")

    def save(self, session: Session, caller: Caller, name: str) -> Saved:
        """Keep what a page holds now under a name.

        Args:
            session: of the page.
            caller: who saves; with a browser that keeps cookies.
            name: names no patient (the caller of this sees to it).

        Raises:
            ReviewError: the role may not.
            QuestionError: there is nothing to save, no name, or no room.
        """
        require(caller.role, "save")
        title = " ".join(name.split())
        if not self.offered(caller):
            raise QuestionError("This browser keeps no cookies, which a saved session needs.")
        if not session.history and not session.asked:
            raise QuestionError("There is nothing to save yet; ask a question first.")
        if not title or len(title) > NAME_LIMIT:
            raise QuestionError(f"Give the session a name of at most {NAME_LIMIT} characters.")
        self.sweep()
        with self._lock:
            everything = list(self._records())
            if len(self.of(caller)) >= _EACH:
                raise QuestionError(f"You keep {_EACH} sessions already; delete one first.")
            size = sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())
            if len(everything) >= _ALL or size > _ALL_BYTES:
                raise QuestionError("The server has no room for more sessions; delete one first.")
            id_ = secrets.token_hex(16)
            place = self._place(caller, id_)
            self._keeper.save(session, place)
            if not self._keeper.holds(place):
                shutil.rmtree(place.folder, ignore_errors=True)
                raise QuestionError(
                    "The session could not be saved: the server's disk has no room for it."
                )
            files = [file.name for file in place.folder.iterdir()]
            questions, scans = (
                sum(file.startswith(kind) for file in files) for kind in ("asked-", "scan-")
            )
            saved = Saved(id_, title, caller.name, time(), questions, scans, place.folder.name)
            passing = place.folder.parent / f"{id_}.new"
            passing.write_text(json.dumps(asdict(saved)), encoding="utf-8")
            passing.chmod(0o600)
            passing.replace(place.folder.parent / f"{id_}.json")
        return saved

    def of(self, caller: Caller) -> tuple[Saved, ...]:
        """Those that this caller's browser can open, newest first."""
        if not self.offered(caller):
            return ()
        mine = [saved for owner, saved in self._records() if owner == _owner(caller)]
        return tuple(sorted(mine, key=lambda saved: -saved.created))

    def of_others(self, caller: Caller) -> tuple[Saved, ...]:
        """Names of everybody else's, newest first, for whoever manages the site; never contents.

        Raises:
            ReviewError: the role may not.
        """
        require(caller.role, "users")
        others = [saved for owner, saved in self._records() if owner != _owner(caller)]
        return tuple(sorted(others, key=lambda saved: -saved.created))

    def open(
        self,
        session: Session,
        caller: Caller,
        id_: str,
        frames: FrameServer,
        budget: Budget,
        page: str,
    ) -> Saved:
        """Put a saved session on a page, in the place of what it holds.

        Args:
            session: of the page; changed in place.
            caller: whose it is.
            id_: of the list.
            frames: which is to serve the scans.
            budget: of the app's memory for pixels.
            page: the page that the scans are open on from now on.

        Raises:
            QuestionError: it is not this caller's, or gone.
        """
        saved = self._mine(caller, id_)
        opened = Session()
        if not self._keeper.restore(opened, self._place(caller, saved.id), frames, budget, page):
            raise QuestionError(_GONE)
        session.take_over(opened)
        return saved

    def delete(self, caller: Caller, id_: str) -> Saved:
        """Delete one of the caller's own.

        Raises:
            QuestionError: it is not this caller's, or gone.
        """
        saved = self._mine(caller, id_)
        with self._lock:
            self._delete(_owner(caller), saved)
        return saved

    def sweep(self) -> int:
        """Delete what has expired; returns how many."""
        oldest = time() - self.days * _DAY
        with self._lock:
            late = [(owner, saved) for owner, saved in self._records() if saved.created < oldest]
            for owner, saved in late:
                self._delete(owner, saved)
        return len(late)

    def _mine(self, caller: Caller, id_: str) -> Saved:
        for saved in self.of(caller):
            if saved.id == id_:
                return saved
        raise QuestionError(_GONE)

    def _place(self, caller: Caller, id_: str) -> Place:
        return sealed_place(self._folder, _keyed(caller), f"saved {id_}")

    def _delete(self, owner: str, saved: Saved) -> None:
        folder = self._folder / owner
        (folder / f"{saved.id}.json").unlink(missing_ok=True)
        shutil.rmtree(folder / saved.folder, ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()

    def _records(self) -> Iterator[tuple[str, Saved]]:
        """Owner and record of each."""
        for file in self._folder.glob("*/*.json"):
            with suppress(OSError, ValueError, TypeError):
                saved = Saved(**json.loads(file.read_text(encoding="utf-8")))
                if (
                    saved.id == file.stem
                    and _ID.fullmatch(saved.id)
                    and _ID.fullmatch(saved.folder)
                ):
                    yield file.parent.name, saved


def _keyed(caller: Caller) -> Caller:
    """The caller as `kept_sessions` makes keys of, by the lasting cookie."""
    return replace(caller, browser=caller.lasting)


def _owner(caller: Caller) -> str:
    return owner_of(_keyed(caller))
