"""Sessions that outlive a reload and a restart: encrypted, by a key that the browser alone holds.

A browser's cookie is the key. What is written can be read again only while that cookie is sent, so
that closing the browser makes it unreadable; it is deleted when it expires.

What is kept holds no more than a scan that has been opened: pixels and the allow-list of its
header. Never kept are uploaded files, overlays, scans on which writing was found, or that have
covers, and questions that a reader kept although they looked like somebody's identity.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import logging
import os
import pickle
import secrets
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from pathlib import Path
from threading import Lock
from time import time
from typing import Any, TypeVar

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from PIL import Image

from demo.services.place import Place
from demo.services.volumes import Budget, Volume
from demo.serving.caller import Caller
from demo.session import Asked, OpenScan, Session
from demo.viewer import FrameServer
from rarl.errors import SettingError
from rarl.inference.engine import Answer
from rarl.records import Measurement
from rarl.records.geometry import Shown
from rarl.records.question import Arm, Decoding, NamedImage, Question, Turn
from rarl.response import Check, Response
from rarl.scans import Box, Scan, Stack, View, identity_in_text
from rarl.scans.decoded_file import Frame, Lut, Part
from rarl.scans.phi import keyed_hash
from rarl.scans.scale import Scale
from rarl.scans.windowing import Window
from rarl.settings import read_settings

log = logging.getLogger(__name__)

_T = TypeVar("_T")

SETTING = "RARL_SESSION_KEEP"
# Of a browser that was closed nobody tells the server; by then it is open no more.
_BROWSER_HOURS = 24.0
_MOST_HOURS = 24.0 * 30
_MOST_SESSIONS = 200
# Bytes of one session, and of all together.
_EACH = 256_000_000
_ALL = 4_000_000_000
_FREE = 1_000_000_000
_STATE = "state"
_SHORTEST_TAB, _LONGEST_TAB = 16, 64


@dataclass(frozen=True, slots=True)
class Keep:
    """How long sessions are kept.

    Attributes:
        hours: since they were last used; 0 keeps none.
        cookie_seconds: how long the browser keeps the key; None until it is closed.
    """

    hours: float = _BROWSER_HOURS
    cookie_seconds: int | None = None


def read_keep(environment: Mapping[str, str] | None = None) -> Keep:
    """What RARL_SESSION_KEEP says: "browser" (the default), "off", or a number of hours.

    Raises:
        SettingError: it says something else.

    >>> read_keep({"RARL_SESSION_KEEP": "off"}).hours
    0.0
    """
    word = read_settings(environment).session_keep.lower()
    if word == "browser":
        return Keep()
    if word == "off":
        return Keep(0.0)
    try:
        hours = float(word)
    except ValueError:
        hours = -1.0
    if not 0 < hours <= _MOST_HOURS:
        raise SettingError(
            f"{SETTING} must be browser, off, or a number of hours up to {_MOST_HOURS:g}; correct "
            "or unset it and start again."
        )
    return Keep(hours, round(hours * 3600))


class KeptSessions:
    """The folder of kept sessions.

    Args:
        folder: made when the first session is kept.
        keep: for how long.
    """

    def __init__(self, folder: Path, keep: Keep) -> None:
        self._folder = folder
        self.keep = keep
        self._lock = Lock()

    def place(self, caller: Caller, tab: object) -> Place | None:
        """Where a tab's session is kept.

        Args:
            caller: whose browser it is; without its cookie nothing is kept.
            tab: the tab's own random word, which the page sends.
        """
        known = isinstance(tab, str) and _SHORTEST_TAB <= len(tab) <= _LONGEST_TAB
        if not self.keep.hours or not caller.browser or not known:
            return None
        return sealed_place(self._folder, caller, str(tab))

    def save(self, session: Session, place: Place) -> None:
        """Keep what a page holds; nothing is raised, since the page goes on without.

        Scans and ended exchanges never change and are written once.
        """
        try:
            with self._lock:
                self._save(session, place)
        except OSError as error:
            log.warning("session not kept: %s", type(error).__name__)

    def _save(self, session: Session, place: Place) -> None:
        place.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(place.folder).free < _FREE:
            return
        doubted = {word.split()[1] for word in session.kept if word.startswith("writing ")}
        scans = {
            _name("scan", scan.token): scan
            for scan in session.scans
            if _may_be_kept(scan) and scan.token not in doubted
        }
        exchanges = {
            # With its checks, since what is found out later marks the answers.
            _name("asked", f"{asked.number} {[answer.problems for answer in asked.answers]}"): asked
            for asked in session.history
            if not (session.stage and asked is session.asked)  # names would be told by a reload
            and not doubted.intersection(asked.tokens)
            and not identity_in_text(asked.typed, session.identifiers)
        }
        wanted = {*scans, *exchanges, _STATE}
        for file in place.folder.iterdir():
            if file.name not in wanted:
                file.unlink()
        room = _EACH - sum(file.stat().st_size for file in place.folder.iterdir())
        written: dict[str, Any] = {}
        for name, scan in scans.items():
            if not (place.folder / name).exists() and scan.volume.decoded < room:
                written[name] = _scan_content(scan)
                room -= scan.volume.decoded
        for name, asked in exchanges.items():
            if not (place.folder / name).exists() and asked.size < room:
                # What is drawn changes more often than its pictures are worth writing.
                bare = replace(asked, measurements=())
                written[name] = (bare, session.case_of(asked.number))
                room -= asked.size
        written[_STATE] = {
            "process": _process(),
            "scans": [(name, scan.role, scan.view, scan.region) for name, scan in scans.items()],
            "typed": ""
            if identity_in_text(session.running, session.identifiers)
            else session.running,
            "active": session.active.token if session.active else None,
            "asked": session.asked.number if session.asked else None,
            "count": session.count,
            "drawn": {
                name: [made.plain() for made in scan.volume.measurements]
                for name, scan in scans.items()
            },
            "measured": {
                asked.number: [made.plain() for made in asked.measurements]
                for asked in exchanges.values()
            },
        }
        for name, content in written.items():
            nonce = secrets.token_bytes(12)
            sealed = nonce + place.cipher.encrypt(nonce, _packed(content), name.encode())
            passing = place.folder / f"{name}.new"
            passing.write_bytes(sealed)
            passing.chmod(0o600)
            passing.replace(place.folder / name)
        os.utime(place.folder)

    def restore(
        self, session: Session, place: Place, frames: FrameServer, budget: Budget, page: str
    ) -> bool:
        """Put back what a page held before it was reloaded.

        Args:
            session: empty; changed in place.
            place: where it was kept.
            frames: which is to serve the scans.
            budget: of the app's memory for pixels.
            page: the page that the scans are open on from now on.

        Returns:
            Whether there was anything that can still be read.
        """
        with self._lock:
            state = self._read(place, _STATE)
            if state is None:
                return False
            files = sorted(file.name for file in place.folder.iterdir())
            exchanges = [self._read(place, name) for name in files if name.startswith("asked-")]
        cases = {}
        history: list[Asked] = []
        measured = state.get("measured", {})
        for asked, case in filter(None, exchanges):
            drawn = _measurements(measured.get(asked.number, ()))
            history.append(replace(_whole(asked), measurements=drawn))
            if case is not None:
                cases[asked.number] = case
        history.sort(key=lambda asked: asked.number)
        same_process = state["process"] == _process()
        scans = []
        for name, role, view, region in state["scans"]:
            content = self._read(place, name)
            if content is None:
                continue
            scan = self._scan(place, name, content, same_process, frames, budget, page)
            scan.role, scan.view, scan.region = role, view, region
            scan.volume.measurements = _measurements(state.get("drawn", {}).get(name, ()))
            scans.append(scan)
        number = state["asked"]
        session.running = state["typed"]
        session.put_back(
            scans,
            next((scan for scan in scans if scan.token == state["active"]), None),
            history,
            next((asked for asked in history if asked.number == number), None),
            state["count"],
            cases,
        )
        os.utime(place.folder)
        return bool(scans or history)

    def _scan(
        self,
        place: Place,
        name: str,
        content: dict[str, Any],
        same_process: bool,
        frames: FrameServer,
        budget: Budget,
        page: str,
    ) -> OpenScan:
        def stack(content: dict[str, Any]) -> Stack:
            parts = [_whole(part) for part in content["parts"]]
            for part in parts:
                for frame in part.frames:
                    _whole(frame)
            if not same_process:
                # Hashes of names that nothing can be compared with any more.
                parts = [replace(part, identifiers=frozenset()) for part in parts]
            return Stack(parts, content["said"])

        def again() -> Stack | None:
            kept = self._read(place, name)
            return None if kept is None else stack(kept)

        volume = Volume(stack(content), (), budget, page, again=again)
        frames.admit(volume, content["token"])
        return OpenScan(
            volume,
            content["token"],
            content["source"],
            modality=content["modality"],
            reference=content["reference"],
            asked_about=content["asked_about"],
            nameless=not same_process,
        )

    def holds(self, place: Place) -> bool:
        """Whether something is kept there that can still be read."""
        return self._read(place, _STATE) is not None

    def clear(self, place: Place) -> None:
        """Delete what is kept there, where another session takes its place."""
        with self._lock:
            shutil.rmtree(place.folder, ignore_errors=True)

    def forget(self, caller: Caller) -> None:
        """Delete what was kept of a person's browser, such as when they sign out."""
        if caller.browser:
            shutil.rmtree(self._folder / owner_of(caller), ignore_errors=True)

    def sweep(self) -> int:
        """Delete what has expired, and the oldest where they are too many; returns how many."""
        kept = sorted(
            (folder.stat().st_mtime, folder)
            for folder in self._folder.glob("*/*")
            if folder.is_dir()
        )
        oldest = time() - self.keep.hours * 3600
        sizes = {
            folder: sum(file.stat().st_size for file in folder.iterdir()) for _, folder in kept
        }
        total, count = sum(sizes.values()), len(kept)
        deleted = 0
        for used, folder in kept:
            if used >= oldest and count <= _MOST_SESSIONS and total <= _ALL:
                break
            with self._lock:
                shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                folder.parent.rmdir()
            total, count, deleted = total - sizes[folder], count - 1, deleted + 1
        return deleted

    def _read(self, place: Place, name: str) -> Any:
        """What a file holds; None where it is gone or the key is another."""
        try:
            sealed = (place.folder / name).read_bytes()
            return _unpacked(place.cipher.decrypt(sealed[:12], sealed[12:], name.encode()))
        except (OSError, InvalidTag, ValueError, pickle.UnpicklingError):
            return None


def sealed_place(root: Path, caller: Caller, word: str) -> Place:
    """A folder below `root`, and its key, that only this caller's browser can name again.

    Args:
        root: folder of all places.
        caller: whose browser it is, with its cookie.
        word: tells one place of this caller from another.
    """
    # Another person who signs in with the same browser has another key.
    about = f"{caller.name or ''}\n{word}".encode()
    material = HKDF(SHA256(), 64, None, b"rarl session\n" + about).derive(caller.browser.encode())
    return Place(root / owner_of(caller) / material[:16].hex(), AESGCM(material[32:]))


def owner_of(caller: Caller) -> str:
    """The folder of a browser and a person, which the name of neither can be read from."""
    return hmac.new(
        caller.browser.encode(), f"owner\n{caller.name or ''}".encode(), hashlib.sha256
    ).hexdigest()[:32]


def _name(kind: str, word: str) -> str:
    return f"{kind}-{hashlib.sha256(word.encode()).hexdigest()[:16]}"


def _process() -> str:
    """Tells whether hashes of names are of this process, whose secret goes with it."""
    return keyed_hash("process")


def _may_be_kept(scan: OpenScan) -> bool:
    return scan.decided and not scan.masks and not scan.proposed


def _scan_content(scan: OpenScan) -> dict[str, Any]:
    stack = scan.stack
    return {
        # What a file draws over its picture may spell a name.
        "parts": [replace(part, overlays=(), name="") for part in stack.parts],
        "said": stack.notes,  # as sessions that are kept already name it
        "token": scan.token,
        "source": scan.source,
        "modality": scan.modality,
        "reference": scan.reference,
        "asked_about": scan.asked_about,
    }


class _Packer(pickle.Pickler):
    """Pictures and arrays as their bytes; everything else is built from `_KNOWN`."""

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, Image.Image):
            buffer = io.BytesIO()
            value.save(buffer, "PNG", compress_level=1)
            return "picture", buffer.getvalue()
        if isinstance(value, np.ndarray):
            return "array", value.dtype.str, value.shape, np.ascontiguousarray(value).tobytes()
        if isinstance(value, np.generic):
            return "number", value.item()
        return None


class _Unpacker(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        kind, *rest = pid
        if kind == "picture":
            picture = Image.open(io.BytesIO(rest[0]), formats=["PNG"])
            picture.load()
            return picture
        if kind == "array":
            return np.frombuffer(rest[2], rest[0]).reshape(rest[1])
        return rest[0]

    def find_class(self, module: str, name: str) -> Any:
        known = _known_classes().get((module, name))
        if known is None:
            raise pickle.UnpicklingError(name)
        return known


@cache
def _known_classes() -> dict[tuple[str, str], type]:
    """The only classes that are built when a kept session is read."""
    classes = (
        *(frozenset, Asked, Answer, Arm, Decoding, NamedImage, Question, Turn, Check, Response),
        *(Shown, Frame, Lut, Part, Scale, Scan, Box, View, Window),
    )
    return {(kind.__module__, kind.__qualname__): kind for kind in classes}


def _packed(content: Any) -> bytes:
    buffer = io.BytesIO()
    _Packer(buffer, pickle.HIGHEST_PROTOCOL).dump(content)
    return buffer.getvalue()


def _unpacked(content: bytes) -> Any:
    return _Unpacker(io.BytesIO(content)).load()


def _measurements(kept: Iterable[dict[str, Any]]) -> tuple[Measurement, ...]:
    return tuple(Measurement(**made) for made in kept)


def _whole(record: _T) -> _T:
    """A record that an earlier version has kept; what it did not know yet gets its default."""
    for field in fields(record):  # type: ignore[arg-type]
        if not hasattr(record, field.name):
            make = field.default_factory
            default = field.default if make is MISSING else make()
            object.__setattr__(record, field.name, default)
    return record
