"""What is most worth judging comes first, with one answer in five by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from rarl.errors import ReviewError
from rarl.inference.engine import Answer, Arm, Question
from rarl.response import parse_response
from rarl.review import CaseSnapshot, Judgement, Queue, ReviewStore
from rarl.review.agreement import agreement_of
from rarl.review.measuring import measure
from rarl.review.studies import Studies
from rarl.review.worth import ONE_IN, Worth, by_chance, by_worth, record_measures, samples_of

MakeCase = Callable[..., CaseSnapshot]


def test_reasons_order_the_queue(store: ReviewStore, make_case: MakeCase) -> None:
    same = {arm: "<answer>no</answer>" for arm in ("sft", "rl", "rarl")}
    answer_texts: dict[str, str] = {}
    for number in range(24):
        modality = "MG" if number == 20 else "CR"
        more = {**same, "sft": "<answer>yes</answer>"} if number == 21 else same
        case = make_case(f"Question {number}?", modality, pixel_seed=number, **more)
        store.add_case(case)
        store.add_flag(case.id, "sft", "style", "none", reader="V")
        if number == 22:
            values = {"consistency": 0.4, "needs-picture": 0.0}
            record_measures(store, (case.id, "sft"), {"consistency": 1.0})
            record_measures(store, (case.id, "sft"), values)  # type: ignore[arg-type]
        answer_texts[case.id] = str(number)
    queue = Queue(store.for_person("A", "reader"))
    items = queue.items(order="worth")
    assert len(items) == 24
    reasons = {answer_texts[one.case_id]: one.reason for one in items}
    assert reasons["20"] == "rare here: MG"
    assert reasons["21"] == "2 of 2 other variants disagree"
    assert reasons["22"] == "40 % of samples say the same; same answer without the picture"
    assert reasons["0"] == ""
    # Whatever chance did not take stands in the order of its worth.
    valued = [answer_texts[one.case_id] for one in items if not one.by_chance]
    assert valued == sorted(valued, key=lambda one: -{"22": 3, "21": 2, "20": 1}.get(one, 0))
    assert (
        queue.items(order="worth", limit=5) + queue.items(order="worth", limit=50, offset=5)
        == items
    )
    assert all(not one.reason for one in queue.items())
    first = queue.next(order="worth")
    assert first is not None and first.case_id == items[0].case_id
    second = queue.next(after=(items[0].case_id, "sft"), order="worth")
    assert second is not None and second.case_id == items[1].case_id
    with pytest.raises(ReviewError, match="You may not"):
        record_measures(store.for_person("A", "reader"), (items[0].case_id, "sft"), {})


def test_every_page_holds_its_share_by_chance() -> None:
    items = [(f"{number:032x}", "sft") for number in range(400)]
    worth = {item: Worth(number, "", by_chance(item)) for number, item in enumerate(items)}
    mixed = by_worth(worth)
    assert sorted(mixed) == sorted(items)
    chance = sum(map(by_chance, items))
    assert 0.13 < chance / len(items) < 0.27
    whole = min(chance, (len(items) - chance) // (ONE_IN - 1)) * ONE_IN
    for start in range(0, whole, ONE_IN):
        assert sum(worth[item].by_chance for item in mixed[start : start + ONE_IN]) == 1
    # Chance does not ask for worth: the order of the random share is another.
    drawn = [worth[item].score for item in mixed if worth[item].by_chance]
    assert drawn != sorted(drawn) and drawn != sorted(drawn, reverse=True)


class Parrot:
    """An engine whose answer to a question without picture is known, and whose samples differ."""

    arms = (Arm("sft", "SFT", "a" * 12),)

    def answer_batch(self, questions: Sequence[Question]) -> list[tuple[Answer, ...]]:
        found: list[tuple[Answer, ...]] = []
        for number, question in enumerate(questions):
            text = "no" if question.decoding.temperature == 0 or number % 2 else "yes"
            response = parse_response(f"<answer>{text}</answer>")
            found.append((Answer("sft", response, 3, 0.1, done=True),))
        return found


def test_what_is_measured_of_an_answer(store: ReviewStore, make_case: MakeCase) -> None:
    for number in range(2):
        case = make_case(pixel_seed=number)
        store.add_case(case)
        for arm in ("sft", "rl"):
            store.add_flag(case.id, arm, "style", "none", reader="V")
    engine: Any = Parrot()
    named = store.for_person("Judge", "admin")
    assert measure(named, engine, limit=1) == 1
    assert measure(named, engine, limit=9) == 1  # what the model does not offer is left out
    assert measure(named, engine, limit=9) == 0  # what was measured is not measured again
    kept = samples_of(store, [item[0] for item in Queue(named).places()])
    assert len(kept) == 2
    for texts in kept.values():
        assert sorted(texts) == ["<answer>no</answer>", "<answer>yes</answer>"]
    reasons = {one.arm: one.reason for one in Queue(named).items(order="worth")}
    assert "same answer without the picture" in reasons["sft"]
    assert "of samples say the same" in reasons["sft"]
    assert "samples" not in reasons["rl"]


def test_rates_come_from_the_share_by_chance_alone(store: ReviewStore, make_case: MakeCase) -> None:
    for number in range(12):
        store.add_case(make_case(f"Question {number}?", pixel_seed=number, sampled=True))
    runs = Studies(store.for_person("Judge", "admin"))
    audit = runs.draw_audit("June", 36, ["a", "b"], seed=0, by_worth=True)
    assert runs.study(audit.id).by_worth
    for name in ("a", "b"):
        own = Queue(store.for_person(name, "reader"), audit.id)
        order = own.items(order="worth")
        for expected in order:
            item = own.next()
            assert item is not None and item.case_id == expected.case_id
            # Answers that are there by chance are right, all others wrong.
            score = 3 if item.by_chance else 0
            own.judge(item.case_id, item.arm, Judgement(score, 2))
        assert own.next() is None
    rates = runs.rates(audit.id)
    assert sum(rate.wrong.n for rate in rates) == sum(one.by_chance for one in order) < 36
    assert {rate.wrong.value for rate in rates} == {0}


def test_agreement_comes_from_the_share_by_chance_alone(
    store: ReviewStore, make_case: MakeCase
) -> None:
    kept: dict[bool, list[CaseSnapshot]] = {True: [], False: []}
    while min(map(len, kept.values())) < 4:  # ids are drawn anew
        seed = len(kept[True]) + len(kept[False])
        case = make_case(pixel_seed=seed, sampled=True)
        kept[by_chance((case.id, "sft"))].append(case)
    scores: dict[str, tuple[int, int]] = {}
    for place in range(4):
        # Readers differ on every answer that is not there by chance.
        scores[kept[True][place].id] = (place, place)
        scores[kept[False][place].id] = (place, 3 - place)
    for case in (*kept[True][:4], *kept[False][:4]):
        store.add_case(case)
        store.add_flag(case.id, "sft", "style", "none", reader="V")
    runs = Studies(store.for_person("Judge", "admin"))
    audit = runs.draw_audit("June", 8, ["a", "b"], seed=0, arms=["sft"])
    for study_id in (None, audit.id):
        for number, name in enumerate(("a", "b")):
            own = Queue(store.for_person(name, "reader"), study_id)
            for item in own.places():
                own.judge(*item, Judgement(scores[item[0]][number], 2))
    flagged = agreement_of(store, Queue(store))["correctness kappa"]
    assert flagged is not None and (flagged.value, flagged.n) == (1, 4)
    # An audit that nobody works by worth was drawn at random as a whole.
    drawn = agreement_of(store, Queue(store, audit.id))["correctness kappa"]
    assert drawn is not None and drawn.value < 0.5 and drawn.n == 8
