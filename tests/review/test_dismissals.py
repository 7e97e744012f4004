"""Flags are dismissed without a verdict, by a record that another takes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from rarl.errors import ReviewError
from rarl.review import CaseSnapshot, Judgement, Queue, QueueFilter, ReviewStore
from rarl.review.dismissals import Dismissals

MakeCase = Callable[..., CaseSnapshot]
REASON = "The same slip of the mouse"


@pytest.fixture
def flagged(store: ReviewStore, make_case: MakeCase) -> str:
    """A case with two flags on one answer, and one on another."""
    case_id = store.add_case(make_case())
    for arm in ("sft", "sft", "rl"):
        store.add_flag(case_id, arm, "style", "none", reader="ada")
    return case_id


def dismissals(store: ReviewStore) -> Dismissals:
    return Dismissals(store.for_person("bo", "adjudicator"))


def statuses(store: ReviewStore) -> dict[str, str]:
    return {item.arm: item.status for item in Queue(store).items()}


def test_several_answers_with_one_reason(store: ReviewStore, flagged: str) -> None:
    both = [(flagged, "sft"), (flagged, "rl")]
    assert dismissals(store).dismiss(both, f" {REASON} ") == 2
    assert statuses(store) == {"sft": "dismissed", "rl": "dismissed"}
    records = [*dismissals(store).of(*both[0]), *dismissals(store).of(*both[1])]
    assert [(one.reader, one.reason, one.given) for one in records] == [("bo", REASON, True)] * 3
    assert {one.flag_key for one in records} == {flag.key for flag in store.flags_of(flagged)}
    assert dismissals(store).dismiss(both, REASON) == 0  # they are dismissed already


def test_dismissed_flags_count_nowhere_and_wait_for_nobody(
    store: ReviewStore, flagged: str
) -> None:
    Queue(store).assign([(flagged, "sft")], "bo")
    dismissals(store).dismiss([(flagged, "sft")], REASON)
    assert store.count() == 1 and [flag.arm for flag in store.flags()] == ["rl"]
    assert [(one.values, one.flags) for one in store.counts(["arm"])] == [(("rl",), 1)]
    assert [flag.arm for flag, _ in store.flagged()] == ["rl"]
    reader = Queue(store.for_person("bo", "reader"))
    (progress,) = reader.progress()
    assert (progress.assigned, progress.left) == (1, 0)
    waiting = reader.items(QueueFilter(waiting=True))
    assert [item.arm for item in waiting] == ["rl"]
    found = reader.next()
    assert found is not None and found.arm == "rl"
    assert len(store.flags_of(flagged)) == 3  # the flags themselves stay


def test_taken_back(store: ReviewStore, flagged: str) -> None:
    answer = (flagged, "sft")
    dismissals(store).dismiss([answer], REASON)
    assert dismissals(store).restore([answer, (flagged, "rl")], "Looked again") == 1
    assert statuses(store) == {"sft": "new", "rl": "new"} and store.count() == 3
    assert dismissals(store).of(*answer) == ()
    assert dismissals(store).dismiss([answer], REASON) == 1


def test_a_new_flag_brings_the_answer_back(store: ReviewStore, flagged: str) -> None:
    dismissals(store).dismiss([(flagged, "rl")], REASON)
    store.add_flag(flagged, "rl", "other", "major", reader="cy")
    assert statuses(store)["rl"] == "new"


def test_answers_with_a_reading_stay(store: ReviewStore, flagged: str) -> None:
    Queue(store.for_person("cy", "reader")).judge(flagged, "sft", Judgement(1, 1))
    assert dismissals(store).dismiss([(flagged, "sft"), (flagged, "rl")], REASON) == 1
    assert statuses(store) == {"sft": "one-reader", "rl": "dismissed"}


def test_a_dismissal_is_no_confirmed_error(store: ReviewStore, flagged: str) -> None:
    dismissals(store).dismiss([(flagged, "sft")], REASON)
    assert Queue(store).settled() == ()
    for person in ("cy", "di"):  # a judgement that was under way when the flag was dismissed
        Queue(store.for_person(person, "reader")).judge(flagged, "sft", Judgement(3, 3))
    (settled,) = Queue(store).settled()
    assert settled.correctness == 3


@pytest.mark.parametrize("role", ["visitor", "reader"])
def test_only_who_settles_may_dismiss(store: ReviewStore, flagged: str, role: str) -> None:
    mine = Dismissals(store.for_person("eve", role))  # type: ignore[arg-type]
    with pytest.raises(ReviewError, match="may not dismiss flags"):
        mine.dismiss([(flagged, "sft")], REASON)
    with pytest.raises(ReviewError, match="may not dismiss flags"):
        mine.restore([(flagged, "sft")])


def test_a_reason_is_needed(store: ReviewStore, flagged: str) -> None:
    with pytest.raises(ReviewError, match="Say why"):
        dismissals(store).dismiss([(flagged, "sft")], "  ")
    assert store.count() == 3


def test_the_audit_names_who_dismissed(store: ReviewStore, flagged: str) -> None:
    dismissals(store).dismiss([(flagged, "sft")], REASON)
    entries = [(one.person, one.action, one.what, one.case_id) for one in store.audit()]
    assert ("bo", "write", "dismissal", flagged) in entries


def test_the_database_keeps_every_record(store: ReviewStore, flagged: str) -> None:
    dismissals(store).dismiss([(flagged, "sft")], REASON)
    for statement in ("UPDATE dismissals SET reason = 'x'", "DELETE FROM dismissals"):
        with pytest.raises((ReviewError, DatabaseError)), store.writing() as session:
            session.execute(text(statement))
    assert [one.reason for one in dismissals(store).of(flagged, "sft")] == [REASON, REASON]
    store.delete_case(flagged, "asked for")  # goes with its case
    assert dismissals(store).of(flagged, "sft") == ()
