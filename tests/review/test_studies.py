"""Audits give rates, studies are balanced and blinded."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from rarl.errors import ReviewError
from rarl.review import CaseSnapshot, Judgement, Queue, ReviewStore
from rarl.review.conditions import USUAL
from rarl.review.studies import Studies, allocate
from rarl.review.summary import overview

MakeCase = Callable[..., CaseSnapshot]


def test_balanced_by_seed() -> None:
    cases = [f"{number:02}" for number in range(18)]
    readers, arms = ["a", "b", "c"], ["sft", "rl", "rarl"]
    tasks = allocate(cases, readers, arms, USUAL, seed=4)
    assert tasks == allocate(cases[::-1], readers, arms, USUAL, seed=4)
    assert tasks != allocate(cases, readers, arms, USUAL, seed=5)
    orders = []
    for reader in readers:
        own = [task for task in tasks if task.reader == reader]
        assert [task.position for task in own] == list(range(18))
        assert sorted(task.case_id for task in own) == cases
        assert set(Counter((task.condition, task.arm) for task in own).values()) == {2}
        orders.append([task.case_id for task in own])
    assert len({tuple(order) for order in orders}) == 3
    for case in cases:  # each case is seen once under each condition, and with each arm
        seen = [task for task in tasks if task.case_id == case]
        assert len({task.condition for task in seen}) == len({task.arm for task in seen}) == 3


def test_a_study_from_draw_to_export(store: ReviewStore, make_case: MakeCase) -> None:
    for number in range(4):
        store.add_case(make_case(f"Question {number}?"))
    runs = Studies(store.for_person("Judge", "admin"))
    study = runs.draw_study("Nodules", ["a", "b"], seed=1, arms=["rarl"], instructions="Look.")
    assert runs.study(study.id) == study and study.population == 4
    tasks = {(task.reader, task.position): task for task in runs.tasks(study.id)}
    reader = Studies(store.for_person("a", "reader"))
    with pytest.raises(ReviewError, match="You may not"):
        reader.tasks(study.id)
    for position in range(4):
        view = reader.next(study.id)
        assert view is not None and view.position == position and view.pictures[0].png
        condition = tasks["a", position].condition
        assert (view.answer is None) == (condition == "no-ai")
        assert (view.reasoning is not None) == (condition == "full-reasoning")
        sent = reader.respond(study.id, position, f"answer {position}", confidence=70, seconds=3)
    assert reader.next(study.id) is None
    better = reader.respond(study.id, 3, "better", replaces=sent.key)
    for bad in (
        lambda: reader.respond(study.id, 3, "again"),
        lambda: reader.respond(study.id, 9, "none such"),
        lambda: reader.respond(study.id, 0, " "),
        lambda: reader.respond(study.id, 0, "x", confidence=101),
        lambda: Studies(store.for_person("c", "reader")).next(study.id),
    ):
        with pytest.raises(ReviewError):
            bad()
    found = runs.responses(study.id)
    assert [response.answer for _, response in found] == [
        *(f"answer {n}" for n in range(3)),
        "better",
    ]
    assert found[-1] == (tasks["a", 3], better)
    assert runs.done(study.id)["a"][0] == len({task.case_id for task, _ in found})
    table = io.StringIO()
    assert runs.export_csv(study.id, table) == len(found)
    rows = list(csv.DictReader(io.StringIO(table.getvalue())))
    assert [row["answer"] for row in rows] == [response.answer for _, response in found]
    assert rows[0]["condition"] == found[0][0].condition
    late = runs.draw_study(
        "Late", ["a"], seed=1, arms=["rarl"], size=2, deadline=datetime.now(UTC) - timedelta(1)
    )
    with pytest.raises(ReviewError, match="deadline"):
        reader.respond(late.id, 0, "x")
    with pytest.raises(ReviewError, match="answer of every arm"):
        runs.draw_study("Base", ["a"], seed=1, arms=["base"])


def test_rates_come_from_a_random_audit_alone(store: ReviewStore, make_case: MakeCase) -> None:
    store.add_flag(store.add_case(make_case()), "sft", "style", "none")
    runs = Studies(store.for_person("Judge", "admin"))
    with pytest.raises(ReviewError, match="0 answers that chance kept"):
        runs.draw_audit("June", 1, ["a", "b"], seed=0)
    for number in range(6):
        store.add_case(make_case(f"Question {number}?", pixel_seed=number, sampled=True))
    audit = runs.draw_audit("June", 10, ["a", "b", "c"], seed=0)
    assert audit.population == 18
    queue = Queue(store, audit.id)
    items = queue.items()
    assert len(items) == 10 and all(len(item.assigned) == 2 for item in items)
    again = runs.draw_audit("June", 10, ["a", "b", "c"], seed=0)
    assert [item.case_id for item in Queue(store, again.id).items()] == [
        item.case_id for item in items
    ]
    assert runs.rates(audit.id) == ()
    for item in items[:9]:
        for name in item.assigned:
            score = 0 if item.arm == "rl" else 3
            own = Queue(store.for_person(name, "reader"), audit.id)
            own.judge(item.case_id, item.arm, Judgement(score, 2))
    rates = {rate.arm: rate for rate in runs.rates(audit.id)}
    assert sum(rate.wrong.n for rate in rates.values()) == 9
    # Where all are alike, the exact interval: 0.025 of the time so many in a row come by chance.
    rl, rarl = rates["rl"].wrong, rates["rarl"].wrong
    assert rl.low is not None and rarl.high is not None
    assert (rl.value, rl.high, rarl.value, rarl.low) == (1, 1, 0, 0)
    assert math.isclose(rl.low, 0.025 ** (1 / rl.clusters))
    assert math.isclose(rarl.high, 1 - 0.025 ** (1 / rarl.clusters))
    assert sum(rate.unsettled for rate in rates.values()) == 1
    # An audit's verdicts are not the flags' verdicts.
    assert Queue(store).readings() == {}


def test_what_a_study_shows(store: ReviewStore, make_case: MakeCase) -> None:
    cases = [make_case(f"Question {number}?", pixel_seed=number) for number in range(9)]
    settler = Queue(store.for_person("Judge", "admin"))
    for number, case in enumerate(cases):
        store.add_case(case)
        if number < 6:  # the last three are never settled
            right = number % 2  # the AI says no, which is right every other time
            for name, explanation in (("c", 3), ("D", 2)):
                Queue(store.for_person(name, "reader")).judge(
                    case.id, "rarl", Judgement(3 * right, explanation)
                )
            correction = "" if right else "yes"
            settler.adjudicate(
                case.id, "rarl", Judgement(3 * right, 3, corrected_answer=correction)
            )
    runs = Studies(store.for_person("Judge", "admin"))
    study = runs.draw_study("Help or harm", ["a", "b", "c"], seed=1, arms=["rarl"])
    shown = {(task.reader, task.position): task.condition for task in runs.tasks(study.id)}
    for name in ("a", "b", "c"):
        reader = Studies(store.for_person(name, "reader"))
        for position in range(9):
            # On their own they say yes, with the AI what it says.
            alone = shown[name, position] == "no-ai"
            answer, seconds = ("Yes, there is.", 40) if alone else ("no", 10 if name == "a" else 20)
            reader.respond(study.id, position, answer, seconds=seconds, confidence=60)
        with pytest.raises(ReviewError, match="You may not"):
            reader.outcomes(study.id)
    found = {one.condition: one for one in runs.outcomes(study.id)}
    assert list(found) == list(USUAL)
    alone, helped = found["no-ai"], found["answer-only"]
    assert (alone.responses, alone.readers) == (9, 3)
    assert alone.right and alone.right.n == 6 and alone.right.value == 0.5
    assert alone.like_ai and alone.like_ai.value == 0 and alone.like_ai.n == 9
    assert helped.right and helped.right.value == 0.5 and helped.right.low is not None
    assert helped.like_ai and helped.like_ai.value == 1
    assert helped.misled and (helped.misled.value, helped.misled.n) == (1, 3)
    assert alone.misled and alone.misled.value == 0
    assert alone.seconds and math.isclose(alone.seconds.value, 40)
    assert helped.seconds and math.isclose(helped.seconds.value, (10 * 20 * 20) ** (1 / 3))
    assert helped.confidence and helped.confidence.value == 60
    table = io.StringIO()
    runs.export_csv(study.id, table)
    rows = list(csv.DictReader(io.StringIO(table.getvalue())))
    assert {row["ai_answer"] for row in rows} == {"no"}
    assert Counter(row["reference"] for row in rows) == {"yes": 9, "no": 9, "": 9}
    assert {row["right"] for row in rows if not row["reference"]} == {""}
    assert [one["title"] for one in overview(store)["studies"]] == ["Help or harm"]
    assert overview(store.for_person("a", "reader"))["studies"] == []
