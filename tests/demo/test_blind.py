"""Blind reading: nothing on the page says which column is which until the vote is in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from opened import report_of, scan_of, session_with
from scripted import ScriptedEngine

from demo.pages import answer_html
from demo.pages.results.ratings import blind_ballots, votes_table
from demo.services.asking import COMPARED, Progress, ask
from demo.services.engine_loader import EngineLoader
from demo.session import Session
from rarl.review import case_from
from rarl.review.store import ReviewStore
from rarl.stats.bradley_terry import Ballot, bradley_terry

LABELS = {"sft": "SFT", "rl": "RL", "rarl": "RARL"}


def asked_blind() -> Session:
    session = session_with(scan_of(modality="CR"))
    loader = EngineLoader(ScriptedEngine).start()
    loader.wait(5)
    list(ask(loader, session, "Nodule?", "reason", "compare", report_of(session), blind=True))
    return session


def page_of(session: Session) -> str:
    asked = session.asked
    assert asked is not None
    progress = Progress(asked.question.arms, asked.answers)
    return (
        answer_html.board(progress, session, LABELS)
        + answer_html.history(session, False)
        + answer_html.after(session)
    )


def test_no_answer_shows_before_ones_own_and_no_name_before_the_vote() -> None:
    session = asked_blind()
    assert session.stage == "own" and session.asked is not None and session.asked.blind
    page = page_of(session)
    assert "nodule" not in page.lower().replace("nodule?", "")
    session.stage = "vote"
    page = page_of(session)
    assert "smooth edge" in page
    assert not re.search(r"sft|\brl\b|rarl|rewarded|imitates", page, re.IGNORECASE)
    assert page.count(" disabled") == 6  # nothing else opens either
    session.stage = ""
    assert all(f"<h3>{label}</h3>" in page_of(session) for label in LABELS.values())


def test_the_order_is_drawn_anew() -> None:
    orders: set[tuple[str, ...]] = set()
    for _ in range(40):
        asked = asked_blind().asked
        assert asked is not None and sorted(asked.question.arms) == sorted(COMPARED)
        orders.add(asked.question.arms)
        if len(orders) > 1:
            return
    pytest.fail(f"every order is {orders}")


def test_votes_become_a_table(tmp_path: Path) -> None:
    store = ReviewStore(f"sqlite:///{tmp_path / 'review.sqlite3'}")
    for best in ("rarl", "rarl", None):
        asked = asked_blind().asked
        assert asked is not None
        case = case_from(
            asked.question, asked.answers, arms=asked.arms, model="m", prompt_hash="p",
            blind=asked.blind,
        )  # fmt: skip
        number = store.add_case(case)
        store.add_vote(number, "better" if best else "tie", best)
    ballots = blind_ballots(store)
    assert [ballot.tie for ballot in ballots] == [False, False, True]
    assert all(set(ballot.arms) == set(COMPARED) for ballot in ballots)
    ratings = bradley_terry(ballots)
    assert ratings[0].arm == "rarl" and ratings[0].best == 2 and ratings[0].votes == 3
    few = votes_table(ratings, len(ballots))
    assert "RARL" in few and "%" not in few and "Ratings need 10 votes; there are 3." in few
    assert "%" in votes_table(ratings, 10) and "Bradley-Terry from 10" in votes_table(ratings, 10)
    assert "No votes yet" in votes_table((), 0)


def test_strengths_are_those_of_the_model_that_drew_the_votes() -> None:
    # Out of 400 pairs, 300 go to the stronger: a chance of 3/4 against the other, and by the
    # model sqrt(3) : 1 / sqrt(3) against the average arm.
    ballots = [Ballot(str(n), ("a", "b"), "a" if n % 4 else "b") for n in range(400)]
    first, second = bradley_terry(ballots)
    assert first.arm == "a" and abs(first.chance - 3**0.5 / (1 + 3**0.5)) < 0.01
    assert first.low is not None and first.high is not None
    assert first.low < first.chance < first.high < 0.68
    assert abs(first.chance + second.chance - 1) < 1e-9
    # Whoever likes none has voted, and preferred nobody.
    bad = bradley_terry([Ballot("1", ("a", "b"), None)])
    assert [one.chance for one in bad] == [0.5, 0.5] and bad[0].low is None
