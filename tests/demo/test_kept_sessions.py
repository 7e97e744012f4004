"""Sessions that outlive a reload: what is written, who can read it, and when it goes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from opened import report_of, scan_of, session_with
from PIL import Image
from scripted import ScriptedEngine

from demo.pages import render
from demo.services import kept_sessions
from demo.services.asking import ask
from demo.services.engine_loader import EngineLoader
from demo.services.identity import doubts
from demo.services.kept_sessions import Keep, KeptSessions, read_keep
from demo.services.phantoms import ct_series
from demo.services.place import Place
from demo.services.volumes import Budget
from demo.serving.caller import Caller
from demo.session import Session
from demo.viewer import FrameServer, open_scan
from rarl.errors import ScanError, SettingError
from rarl.scans import Box, Window, open_stack
from rarl.scans.phi import process_secret

XAVIER = Caller(name="xavier", browser="cookie-of-a-browser")
TAB = "0123456789abcdef"
QUESTION = "Is there a nodule at the apex?"


@pytest.fixture
def keeper(tmp_path: Path) -> KeptSessions:
    return KeptSessions(tmp_path / "sessions", Keep())


def place_of(keeper: KeptSessions, caller: Caller = XAVIER, tab: str = TAB) -> Place:
    place = keeper.place(caller, tab)
    assert place is not None
    return place


def asked_session(question: str = QUESTION) -> Session:
    session = session_with(open_scan(open_stack(ct_series(16, 4)), FrameServer(), "Your scan"))
    report = report_of(session, frame=2, window=[50.0, 350.0], region=[2, 3, 9, 9])
    list(ask(EngineLoader(ScriptedEngine).start(), session, question, "reason", "compare", report))
    return session


def restored(keeper: KeptSessions, place: Place) -> Session | None:
    session = Session()
    there = keeper.restore(session, place, FrameServer(), Budget(), "page")
    return session if there else None


def test_a_session_comes_back_as_it_was(keeper: KeptSessions) -> None:
    session, place = asked_session(), place_of(keeper)
    keeper.save(session, place)
    again = restored(keeper, place)
    assert again is not None and again.asked is not None and session.asked is not None
    (before,), (scan,) = session.scans, again.scans
    assert again.active is scan and again.count == 1
    assert scan.looked_at() == before.looked_at()
    assert (scan.view.window, scan.region) == (Window(50.0, 350.0), Box(2, 3, 9, 9))
    assert np.array_equal(scan.stack.values("axial", 3), before.stack.values("axial", 3))
    assert scan.stack.attributes == before.stack.attributes
    assert again.history == (again.asked,) and again.asked.typed == QUESTION
    assert again.asked.answers == session.asked.answers
    assert np.array_equal(
        np.asarray(again.asked.question.images[0].image),
        np.asarray(session.asked.question.images[0].image),
    )
    # Words are still compared with the names in its header.
    assert doubts("Is Drawn ill?", again) == doubts("Is Drawn ill?", session) != ()
    # Its pixels make room like those of a file, and are read again.
    scan.volume.let_go()
    assert scan.volume.resident == 0 and scan.stack.frames() == 4


def test_nobody_else_can_read_it(keeper: KeptSessions, tmp_path: Path) -> None:
    place = place_of(keeper)
    keeper.save(asked_session(), place)
    for file in place.folder.iterdir():
        content = file.read_bytes()
        assert QUESTION.encode() not in content and b"Drawn" not in content
        assert file.stat().st_mode & 0o077 == 0
    others = [
        place_of(keeper, replace(XAVIER, browser="another")),
        place_of(keeper, replace(XAVIER, name="bo")),
        place_of(keeper, replace(XAVIER, name=None)),
        place_of(keeper, tab="f" * 16),
    ]
    assert len({place.folder for place in (place, *others)}) == 5
    for other in others:
        assert restored(keeper, other) is None
        assert restored(keeper, Place(place.folder, other.cipher)) is None
    # Neither the cookie nor a name stands in a path.
    paths = " ".join(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert "cookie" not in paths and "xavier" not in paths
    assert keeper.place(Caller(name="xavier"), TAB) is None
    assert keeper.place(XAVIER, "short") is None and keeper.place(XAVIER, None) is None


def test_what_may_identify_somebody_is_not_kept(keeper: KeptSessions) -> None:
    place = place_of(keeper)
    session = asked_session()
    keeper.save(session, place)
    text = kept_sessions._unpacked  # what lies under the cipher
    plain = [
        text(place.cipher.decrypt(file.read_bytes()[:12], file.read_bytes()[12:],
                                  file.name.encode()))
        for file in place.folder.iterdir()
    ]  # fmt: skip
    assert "Drawn" not in repr(plain)
    # A question that was kept as it is although it looked like a name.
    keeper.save(asked_session("Does Drawn have a nodule?"), place)
    again = restored(keeper, place)
    assert again is not None and again.scans and not again.history and again.asked is None
    # A scan with covers, one with writing on it, and one that nobody has decided on.
    for change in ("masks", "kept", "decided", "proposed"):
        session = asked_session()
        (scan,) = session.scans
        if change == "masks":
            scan.masks = (Box(0, 0, 4, 4),)
        elif change == "kept":
            session.kept.add(f"writing {scan.token} axial")
        elif change == "decided":
            scan.decided = False
        else:
            scan.proposed = (Box(0, 0, 4, 4),)
        keeper.save(session, place)
        again = restored(keeper, place)
        assert (again is None) if change == "kept" else (again is not None and not again.scans)


def test_after_a_restart_names_can_no_longer_be_compared(keeper: KeptSessions) -> None:
    place = place_of(keeper)
    keeper.save(asked_session(), place)
    process_secret.cache_clear()
    again = restored(keeper, place)
    assert again is not None and again.scans[0].nameless
    assert not again.scans[0].stack.identifiers
    assert "no longer compared with the names" in render.facts(again)


def test_a_blind_question_is_not_told_by_a_reload(keeper: KeptSessions) -> None:
    place, session = place_of(keeper), asked_session()
    session.stage = "own"
    keeper.save(session, place)
    again = restored(keeper, place)
    assert again is not None and again.scans and not again.history and again.asked is None


def test_a_removed_scan_and_an_old_question_leave_the_disk(keeper: KeptSessions) -> None:
    place, session = place_of(keeper), asked_session()
    keeper.save(session, place)
    assert len(list(place.folder.iterdir())) == 3
    session.show(scan_of(Image.new("L", (40, 30), 9)))
    session.history = ()
    keeper.save(session, place)
    assert len(list(place.folder.iterdir())) == 2
    again = restored(keeper, place)
    assert again is not None and again.scans[0].stack.shape() == (30, 40)


def test_kept_sessions_expire_and_are_bounded(
    keeper: KeptSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_with(scan_of())
    places = [place_of(keeper, tab=f"{number:016x}") for number in range(4)]
    for number, place in enumerate(places):
        keeper.save(session, place)
        os.utime(place.folder, (0, 0) if number == 0 else None)
    assert keeper.sweep() == 1 and not places[0].folder.exists()
    monkeypatch.setattr(kept_sessions, "_MOST_SESSIONS", 2)
    assert keeper.sweep() == 1
    monkeypatch.setattr(kept_sessions, "_ALL", 10)
    assert keeper.sweep() == 2
    scan = session.scans[0]
    keeper.save(session, places[3])
    again = restored(keeper, places[3])
    assert again is not None
    keeper.forget(XAVIER)
    again.scans[0].volume.let_go()
    with pytest.raises(ScanError, match="open it again"):
        _ = again.scans[0].stack
    monkeypatch.setattr(kept_sessions, "_EACH", scan.volume.decoded // 2)
    keeper.save(session, places[3])
    assert restored(keeper, places[3]) is None


def test_how_long_is_a_setting() -> None:
    assert read_keep({}) == Keep(24.0, None)
    assert read_keep({"RARL_SESSION_KEEP": "2.5"}) == Keep(2.5, 9000)
    assert (
        KeptSessions(Path("none"), read_keep({"RARL_SESSION_KEEP": "off"})).place(XAVIER, TAB)
        is None
    )
    for word in ("forever", "-1", "0", "1e9", "nan"):
        with pytest.raises(SettingError, match="RARL_SESSION_KEEP must be"):
            read_keep({"RARL_SESSION_KEEP": word})
