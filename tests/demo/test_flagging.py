"""Flags into the store and their case out of it, also where the store is locked for a while."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from opened import report_of, scan_of, session_with
from scripted import ScriptedEngine

from demo.authentication import SignIn
from demo.pages import render
from demo.pages.review.common import Chosen, Labels
from demo.pages.review.queue_html import case_view, flag_list
from demo.services.asking import ask
from demo.services.engine_loader import EngineLoader
from demo.services.flagging import Desk, draft_from_browser
from demo.session import Asked, Session
from rarl.errors import ReviewError, StoreError
from rarl.records import FlagDraft
from rarl.review import Queue, Region
from rarl.review.roles import People
from rarl.review.store import ReviewStore
from rarl.review.taxonomy import Taxonomy

EVIL = "<img src=x onerror=alert(1)>${alert(2)}{{value}}\"'"
CASE = "c" * 32
LABELS = Labels.of(Taxonomy())
BO = gr.Request(username="bo")


def draft(
    arm: str, category: str | None, severity: str | None, comment: str = "", **more: Any
) -> FlagDraft:
    return FlagDraft.checked(
        **{"case_id": CASE, "arm": arm, "category": category, "severity": severity,
           "comment": comment, **more}
    )  # fmt: skip


def asked_session() -> tuple[Session, Asked]:
    session = session_with(scan_of())
    loader = EngineLoader(ScriptedEngine).start()
    list(ask(loader, session, "Is it a nodule?", "reason", "compare", report_of(session)))
    assert session.asked is not None
    return session, session.asked


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    store = ReviewStore(f"sqlite:///{tmp_path / 'review.sqlite3'}", busy_seconds=0.1)
    return Desk(store, SignIn("header", People({"bo": "reader"})))


def test_a_flag_and_its_case_come_back(desk: Desk) -> None:
    _, asked = asked_session()
    for choices, sentence in (
        ((None, "minor"), "what is wrong with the answer"),
        (("", "minor"), "what is wrong with the answer"),
        (("style", None), "how much it would matter"),
    ):
        with pytest.raises(ReviewError, match=sentence):
            draft("rarl", *choices)
    step = "In the right upper lung there is a rounded density about 2.5 cm wide."
    flag_draft = draft(
        "rarl", "wrong-location", "major", f" {EVIL} ", sentence=step,
        region=Region(0, (1, 2, 30, 40)), corrected_answer=EVIL, corrected_explanation="Left.",
    )  # fmt: skip
    flag = desk.flag(flag_draft, asked, BO)
    second = desk.flag(draft("sft", "style", "minor"), asked, gr.Request())
    assert (flag.reader, second.reader) == ("bo", None)
    assert flag.sentence_start is not None and flag.region == flag_draft.region
    with pytest.raises(ReviewError, match="see the cases of others"):
        desk.for_request(gr.Request()).case(CASE)

    store = desk.for_request(BO)
    case = store.case(CASE)
    items = Queue(store).items()
    item = next(one for one in items if one.arm == "rarl")
    listed = flag_list(
        items, (CASE, "rarl"), more=False, empty=("", ""), blind=False, labels=LABELS
    )
    shown = case_view(
        item, case, item.flags, place="1", blind=False, labels=LABELS, me=None, earlier={},
        dismissed={},
    )  # fmt: skip
    for page in (listed, shown, render.flag_saved(flag)):
        assert "<img src=x" not in page
    assert 'aria-current="true"' in listed and f"<mark>{step}</mark>" in shown
    assert all(f">{label}</h3>" in shown for label in ("SFT", "RL", "RARL"))
    assert "Could delay or change the treatment" in shown

    # In an audit nothing tells which arm it is, nor what the others said.
    hidden = case_view(
        item, case, (), place="1", blind=True, labels=LABELS, me=None, earlier={}, dismissed={}
    )
    hidden += flag_list(items, None, more=False, empty=("", ""), blind=True, labels=LABELS)
    revisions = [arm.revision for arm in asked.arms]
    assert not any(word in hidden for word in ("RARL", "rarl", "sft", "scripted", *revisions))
    assert "Yes, in the right upper lung" in hidden


def test_a_flag_waits_while_the_store_is_locked(desk: Desk, tmp_path: Path) -> None:
    _, asked = asked_session()
    words = draft("rl", "style", "minor", "too sure", region=Region(0, (1, 2, 3, 4)))
    with sqlite3.connect(tmp_path / "review.sqlite3") as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="busy; nothing typed was lost"):
            desk.flag(words, asked, BO)
        other.rollback()
    # What the browser kept: words alone, no pixels.
    kept = json.dumps(words.plain())
    assert "png" not in kept and len(kept) < 600
    first = desk.send(draft_from_browser(json.loads(kept)), BO)
    again = desk.send(draft_from_browser(json.loads(kept)), BO)
    assert first == again and desk.open().count() == 1
    assert desk.open().case(CASE).image().size == (64, 48)

    # After a restart the pixels are gone; the sentence says what to do.
    later = draft_from_browser({**json.loads(kept), "case_id": "d" * 32, "key": "e" * 32})
    with pytest.raises(ReviewError, match="ask the question again"):
        desk.send(later, BO)
    cut_off = {**json.loads(kept), "region": {"picture": 0, "box": [1]}}
    faults: tuple[Any, ...] = (None, [], {}, cut_off)
    for damaged in faults:
        with pytest.raises(ReviewError, match="is no flag"):
            draft_from_browser(damaged)


def test_chance_keeps_whole_answers(desk: Desk) -> None:
    session, asked = asked_session()
    desk.sample(session)
    assert session.case_id is None  # nothing, where no share is set
    desk.share = 1.0
    desk.sample(session)
    assert session.case_id is not None and desk.open().case(session.case_id).sampled
    # A flag on it is a flag on the same case, which stays one that chance kept.
    desk.flag(draft("rl", "style", "minor", case_id=session.case_id), asked, BO)
    assert desk.open().case(session.case_id).sampled


def test_dates_of_the_filter() -> None:
    flags = Chosen(since="2026-11-01", until="2026-11-02").flags()
    assert flags.since is not None and flags.until is not None
    assert (flags.until - flags.since).days == 2  # the last day is meant too
    with pytest.raises(ReviewError, match="Write dates as"):
        Chosen(since="1.11.").queue()
