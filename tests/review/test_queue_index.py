"""The queue that the database computes is the one that all rows together give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select, text

from rarl.errors import ReviewError
from rarl.records import STATUSES, Status
from rarl.review import (
    CaseSnapshot,
    Flag,
    FlagFilter,
    Judgement,
    Queue,
    QueueFilter,
    ReviewStore,
)
from rarl.review._queue_index import rebuild
from rarl.review._tables import (
    AssignmentRow,
    CaseRow,
    FlagRow,
    QueueItemRow,
    QueuePersonRow,
    VerdictRow,
)
from rarl.review.queue import Item
from rarl.review.studies import Studies

MakeCase = Callable[..., CaseSnapshot]
Listed = tuple[Item, Status, tuple[str, ...], tuple[str, ...], bool]

ARMS = ("sft", "rl")
PEOPLE = ("a", "b", "c")
MOST_CASES = 4

people = st.sampled_from(PEOPLE)
answers = st.tuples(st.integers(0, MOST_CASES - 1), st.sampled_from(ARMS))
actions = st.one_of(
    st.tuples(st.just("flag"), answers, st.sampled_from(["style", "other"]), people),
    st.tuples(st.just("correct"), answers, st.sampled_from(["style", "other"]), people),
    st.tuples(st.just("judge"), answers, st.integers(0, 1), people),
    st.tuples(st.just("judge"), answers, st.integers(0, 1), people),
    st.tuples(st.just("adjudicate"), answers, st.integers(0, 1), people),
    st.tuples(st.just("give"), answers, st.booleans(), people),
    st.tuples(st.just("delete"), answers, st.none(), people),
)
filters = st.builds(
    QueueFilter,
    st.builds(
        FlagFilter,
        arm=st.sampled_from([None, "sft"]),
        category=st.sampled_from([None, None, "style"]),
        text=st.sampled_from(["", "", "number 1"]),
    ),
    status=st.sampled_from([None, None, *STATUSES]),
    reader=st.sampled_from([None, None, "A"]),
    waiting=st.booleans(),
)


Action = tuple[str, tuple[int, str], Any, str]


def act(store: ReviewStore, ids: list[str], study: str | None, action: Action) -> None:
    """Do it, where the rules allow it."""
    kind, (number, arm), value, person = action
    case_id = ids[number]
    own = store.for_person(person, "admin")
    queue = Queue(own, study)
    judgement = Judgement(int(bool(value)), 2, seconds=10 + number)
    try:
        if kind == "flag":
            own.add_flag(case_id, arm, value, "none")
        elif kind == "correct":
            mine = [f for f in own.flags_of(case_id) if (f.arm, f.reader) == (arm, person)]
            own.add_flag(case_id, arm, value, "none", replaces=mine[0].key if mine else None)
        elif kind == "judge":
            given = [v.key for v in queue.verdicts(case_id, arm) if v.reader == person]
            queue.judge(case_id, arm, judgement, replaces=given[0] if given else None)
        elif kind == "adjudicate":
            queue.adjudicate(case_id, arm, judgement)
        elif kind == "give":
            queue.assign([(case_id, arm)], person, given=bool(value))
        else:
            own.delete_case(case_id, "asked for")
    except ReviewError:
        pass


class Plain:
    """The queue, computed from all rows in Python."""

    def __init__(self, store: ReviewStore, study: str | None, me: str) -> None:
        self.store, self.study, self.me = store, study, me
        with store.reading() as session:
            flags = session.query(FlagRow).order_by(FlagRow.id).all()
            verdicts = session.query(VerdictRow).order_by(VerdictRow.id).all()
            given = session.query(AssignmentRow).order_by(AssignmentRow.id).all()
        self.flags = [one for one in flags if one.key not in {each.replaces for each in flags}]
        self.verdicts = [
            one
            for one in verdicts
            if one.key not in {each.replaces for each in verdicts} and one.study_id == study
        ]
        tasks = Studies(store).tasks(study) if study else ()
        self.drawn = {
            (task.case_id, task.arm): task.position
            for task in sorted(tasks, key=lambda task: task.reader, reverse=True)
        }
        latest = {
            (one.case_id, one.arm, one.reader): one.given for one in given if one.study_id == study
        }
        pairs = [((task.case_id, task.arm), task.reader) for task in tasks]
        pairs += [((case_id, arm), name) for (case_id, arm, name), yes in latest.items() if yes]
        self.assigned: dict[Item, list[str]] = {}
        for item, name in pairs:
            if name not in self.assigned.setdefault(item, []):
                self.assigned[item].append(name)

    def status(self, item: Item) -> Status:
        found = [one for one in self.verdicts if (one.case_id, one.arm) == item]
        if any(one.role == "adjudicator" for one in found):
            return "adjudicated"
        if len({one.reader for one in found}) < 2:
            return "one-reader" if found else "new"
        same = len({(one.correctness, one.explanation) for one in found}) == 1
        return "agreed" if same else "differs"

    def judged(self, item: Item) -> bool:
        return any((v.case_id, v.arm) == item and v.reader == self.me for v in self.verdicts)

    def passes(self, item: Item, chosen: FlagFilter) -> bool:
        question = self.store.case(item[0]).question.lower()
        return (chosen.arm in (None, item[1])) and chosen.text in question

    def items(self, chosen: QueueFilter) -> list[Listed]:
        flags: dict[Item, list[str]] = {}
        if self.study is not None:
            for item in sorted(self.drawn, key=lambda item: self.drawn[item]):
                if self.passes(item, chosen.flags):
                    flags[item] = []
        else:
            for one in self.flags:
                item = (one.case_id, one.arm)
                if chosen.flags.category in (None, one.category) and self.passes(
                    item, chosen.flags
                ):
                    flags.setdefault(item, []).append(one.key)
        listed = []
        for item, keys in flags.items():
            status, given = self.status(item), self.assigned.get(item, [])
            waits = (
                status in ("new", "one-reader")
                and not self.judged(item)
                and (not given or self.me in given)
            )
            if (
                chosen.status in (None, status)
                and (not chosen.reader or chosen.reader.lower() in given)
                and (waits or not chosen.waiting)
            ):
                listed.append((item, status, tuple(keys), tuple(given), self.judged(item)))
        return listed

    def following(self, chosen: list[Item], after: Item | None) -> Item | None:
        if after in chosen and chosen.index(after) + 1 < len(chosen):
            return chosen[chosen.index(after) + 1]
        return next((item for item in chosen if item != after), None)


def seen(queue: Queue, chosen: QueueFilter) -> list[Listed]:
    def keys(flags: tuple[Flag, ...]) -> tuple[str, ...]:
        return tuple(flag.key for flag in flags)

    return [
        ((one.case_id, one.arm), one.status, keys(one.flags), one.assigned, one.judged_by_me)
        for one in queue.items(chosen)
    ]


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(actions, min_size=4, max_size=14), filters, people, answers, st.booleans())
def test_the_database_lists_what_all_rows_give(
    store: ReviewStore,
    make_case: MakeCase,
    done: list[Action],
    chosen: QueueFilter,
    me: str,
    after: tuple[int, str],
    audit: bool,
) -> None:
    with store.reading() as session:
        earlier = session.scalars(select(CaseRow.id)).all()
    for case_id in earlier:
        store.delete_case(case_id, "the example before")
    ids = [
        store.add_case(make_case(f"Question number {number}?", sampled=True))
        for number in range(MOST_CASES)
    ]
    for case_id in ids[:3]:
        store.add_flag(case_id, "sft", "style", "none", reader="v")
    study = Studies(store).draw_audit("T", 4, PEOPLE, seed=len(done)).id if audit else None
    for action in done:
        act(store, ids, study, action)
    plain = Plain(store, study, me)
    queue = Queue(store.for_person(me, "adjudicator"), study)

    expected = plain.items(chosen)
    assert seen(queue, chosen) == expected
    places = tuple(one[0] for one in expected)
    assert queue.places(chosen) == places and queue.count(chosen) == len(places)
    page = queue.items(chosen, limit=2, offset=1)
    assert [(one.case_id, one.arm) for one in page] == list(places[1:3])
    assert queue.statuses(chosen) == Counter(one[1] for one in expected)

    everything = QueueFilter(chosen.flags)
    waiting = [one for one in plain.items(QueueFilter(chosen.flags, waiting=True))]
    mine_first = sorted(waiting, key=lambda one: me not in one[3])
    differs = [one[0] for one in plain.items(everything) if one[1] == "differs" and not one[4]]
    for last in (None, (ids[after[0]], after[1])):
        following = queue.next(everything, last)
        wanted = plain.following([one[0] for one in mine_first], last)
        assert (following and (following.case_id, following.arm)) == wanted
        unsettled = queue.next_to_settle(everything, last)
        wanted = plain.following(differs, last)
        assert (unsettled and (unsettled.case_id, unsettled.arm)) == wanted

    for one in queue.progress():
        judged = [v for v in plain.verdicts if (v.reader, v.role) == (one.reader, "reader")]
        given_to = {item for item, names in plain.assigned.items() if one.reader in names}
        done_items = {(v.case_id, v.arm) for v in judged}
        assert (one.assigned, one.judged) == (len(given_to), len(done_items))
        assert one.left == len(given_to - done_items)
        assert one.seconds == (median(v.seconds or 0 for v in judged) if judged else None)
    names = {v.reader for v in plain.verdicts if v.role == "reader"}
    names |= {name for given_to in plain.assigned.values() for name in given_to}
    assert [one.reader for one in queue.progress()] == sorted(names)


def index(store: ReviewStore) -> list[list[tuple[object, ...]]]:
    found = []
    with store.reading() as session:
        for table in (QueueItemRow, QueuePersonRow):
            columns = [column for column in table.__table__.columns if column.name != "id"]
            rows = session.execute(table.__table__.select().with_only_columns(*columns))
            found.append(sorted((tuple(row) for row in rows), key=str))
    return found


def fill(store: ReviewStore, make_case: MakeCase) -> None:
    case_id = store.add_case(make_case(sampled=True))
    store.add_flag(case_id, "sft", "style", "none", reader="v")
    Queue(store.for_person("Di", "admin")).assign([(case_id, "sft")], "A")
    Queue(store.for_person("A", "reader")).judge(case_id, "sft", Judgement(1, 2, seconds=5))
    Studies(store).draw_audit("T", 2, ["a", "b"], seed=0)


def test_a_store_from_before_the_index_gets_one(
    address: str, store: ReviewStore, make_case: MakeCase
) -> None:
    fill(store, make_case)
    expected = index(store)
    assert all(expected)
    store.close()
    engine = create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for table in ("queue_people", "queue_items"):
            connection.execute(text(f"DELETE FROM {table}"))
        # As before the newest migration: with each one the index is derived anew.
        connection.execute(text("DROP TABLE reports"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0008'"))
    engine.dispose()
    opened = ReviewStore(address)
    assert index(opened) == expected
    opened.close()


def test_the_index_follows_every_change(store: ReviewStore, make_case: MakeCase) -> None:
    fill(store, make_case)
    expected = index(store)
    with store.writing() as session:
        rebuild(session)
    assert index(store) == expected
    store.delete_case(store.flags()[0].case_id, "asked for")
    assert index(store) == [[], []]


@pytest.mark.parametrize("waiting", [1, 30])
def test_taking_the_next_answer_is_one_row_of_the_audit(
    store: ReviewStore, make_case: MakeCase, waiting: int
) -> None:
    """Also where readers differ on many answers and an adjudicator takes one of them."""
    ids = [store.add_case(make_case()) for _ in range(waiting)]
    for case_id in ids:
        store.add_flag(case_id, "sft", "style", "none", reader="v")
        for person, score in (("a", 0), ("b", 3)):
            Queue(store.for_person(person, "reader")).judge(case_id, "sft", Judgement(score, 2))
    before = len(store.audit(person="di"))
    judge = Queue(store.for_person("di", "adjudicator"))
    item = judge.next_to_settle()
    assert item is not None and item.case_id == ids[0]
    judge.places(QueueFilter(status="differs"))
    assert len(store.audit(person="di")) == before + 1
