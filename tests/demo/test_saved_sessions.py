"""Named sessions: saved, listed, opened and deleted by their owner alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from opened import report_of, session_with
from scripted import ScriptedEngine

from demo.services import kept_sessions, saved_sessions
from demo.services.asking import ask
from demo.services.engine_loader import EngineLoader
from demo.services.kept_sessions import Keep, KeptSessions
from demo.services.phantoms import ct_series
from demo.services.saved_sessions import SavedSessions, read_days
from demo.services.volumes import Budget
from demo.serving.caller import Caller
from demo.session import Session
from demo.viewer import FrameServer, open_scan
from rarl.errors import QuestionError, ReviewError, SettingError
from rarl.scans import open_stack

XAVIER = Caller(name="xavier", role="reader", lasting="cookie-of-a-browser")
BO = replace(XAVIER, name="bo")
ADMIN = Caller(name="ada", role="admin", lasting="another-cookie")


@pytest.fixture
def saved(tmp_path: Path) -> SavedSessions:
    keeper = KeptSessions(tmp_path / "kept", Keep())
    return SavedSessions(tmp_path / "saved", 30.0, keeper)


def asked_session(question: str = "Is there a nodule?") -> Session:
    session = session_with(open_scan(open_stack(ct_series(16, 4)), FrameServer(), "Your scan"))
    report = report_of(session, frame=2)
    list(ask(EngineLoader(ScriptedEngine).start(), session, question, "reason", "compare", report))
    return session


def opened(saved: SavedSessions, caller: Caller, id_: str, on: Session | None = None) -> Session:
    session = on or Session()
    saved.open(session, caller, id_, FrameServer(), Budget(), "page")
    return session


def test_a_session_is_named_and_opened_again(saved: SavedSessions) -> None:
    session = asked_session()
    record = saved.save(session, XAVIER, "  Nodule,\n  right  apex ")
    assert saved.of(XAVIER) == (record,)
    assert (record.name, record.person, record.questions) == ("Nodule, right apex", "xavier", 1)
    again = asked_session("Which organ is shown?")
    again.note_flag(again.history[0], "sft")
    again.kept.add("said")
    opened(saved, XAVIER, record.id, on=again)
    assert again.asked is not None and session.asked is not None
    assert again.asked.typed == "Is there a nodule?" and again.history == (again.asked,)
    assert again.asked.answers == session.asked.answers
    values = again.scans[0].stack.values("axial", 3)
    assert np.array_equal(values, session.scans[0].stack.values("axial", 3))
    # Nothing of what stood on the page before counts for it.
    assert not again.is_flagged("sft") and not again.kept and not again.can_undo


def test_only_its_own_browser_can_read_it(saved: SavedSessions, tmp_path: Path) -> None:
    record = saved.save(asked_session(), XAVIER, "Apex")
    for other in (BO, replace(XAVIER, lasting="else"), replace(XAVIER, name=None), ADMIN):
        assert saved.of(other) == ()
        for act in (saved.delete, lambda who, id_: opened(saved, who, id_)):
            with pytest.raises(QuestionError, match="no longer there"):
                act(other, record.id)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert file.stat().st_mode & 0o077 == 0
            assert b"nodule" not in file.read_bytes()
    assert saved.of(XAVIER) == (record,)


def test_an_admin_sees_names_and_nobody_else_does(saved: SavedSessions) -> None:
    saved.save(asked_session(), XAVIER, "Apex")
    assert [(one.name, one.person) for one in saved.of_others(ADMIN)] == [("Apex", "xavier")]
    for other in (BO, replace(BO, role="adjudicator"), Caller(role="visitor", lasting="b")):
        with pytest.raises(ReviewError, match="You may not"):
            saved.of_others(other)


@pytest.mark.parametrize("role", ["visitor", None])
def test_visitors_save_nothing(saved: SavedSessions, role: str | None) -> None:
    visitor = replace(XAVIER, role=role)  # type: ignore[arg-type]
    with pytest.raises(ReviewError, match="may not save sessions"):
        saved.save(asked_session(), visitor, "Apex")
    assert saved.of(visitor) == ()


def test_what_cannot_be_saved_is_said(
    saved: SavedSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = asked_session()
    for name in ("", "  ", "x" * 81):
        with pytest.raises(QuestionError, match="Give the session a name"):
            saved.save(session, XAVIER, name)
    with pytest.raises(QuestionError, match="nothing to save"):
        saved.save(Session(), XAVIER, "Apex")
    with pytest.raises(QuestionError, match="keeps no cookies"):
        saved.save(session, replace(XAVIER, lasting=""), "Apex")
    monkeypatch.setattr(saved_sessions, "_EACH", 1)
    saved.save(session, XAVIER, "One")
    with pytest.raises(QuestionError, match="1 sessions already"):
        saved.save(session, XAVIER, "Two")
    monkeypatch.setattr(saved_sessions, "_ALL", 1)
    with pytest.raises(QuestionError, match="no room"):
        saved.save(session, BO, "Two")
    monkeypatch.setattr(saved_sessions, "_ALL", 9)
    monkeypatch.setattr(kept_sessions, "_FREE", 1 << 62)
    with pytest.raises(QuestionError, match="disk has no room"):
        saved.save(session, BO, "Two")
    assert saved.of(BO) == ()


def test_deleted_and_expired(saved: SavedSessions, tmp_path: Path) -> None:
    first, second = (saved.save(asked_session(), XAVIER, name) for name in ("One", "Two"))
    assert saved.delete(XAVIER, first.id) == first
    assert saved.of(XAVIER) == (second,)
    saved.days = -1.0
    assert saved.sweep() == 1
    assert not list((tmp_path / "saved").rglob("*"))


def test_how_long_is_a_setting() -> None:
    assert read_days({}) == 30.0 and read_days({"RARL_SAVED_SESSIONS": "2.5"}) == 2.5
    for word in ("forever", "-1", "0", "1e9", "nan"):
        with pytest.raises(SettingError, match="RARL_SAVED_SESSIONS must be"):
            read_days({"RARL_SAVED_SESSIONS": word})
