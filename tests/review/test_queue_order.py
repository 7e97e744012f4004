"""The orders in which the queue is listed."""

from __future__ import annotations

from collections.abc import Callable

from demo.pages.review.queue_html import plain_question
from rarl.review import CaseSnapshot, Judgement, Queue, ReviewStore

MakeCase = Callable[..., CaseSnapshot]


def test_by_age_severity_and_disagreement(store: ReviewStore, make_case: MakeCase) -> None:
    severities = ("minor", "critical", "none", "critical")
    for severity in severities:
        store.add_flag(store.add_case(make_case()), "sft", "style", severity, reader="V")
    queue = Queue(store.for_person("A", "reader"))
    places = [item.case_id for item in queue.items()]
    for name, score in (("A", 0), ("B", 3)):
        Queue(store.for_person(name, "reader")).judge(places[2], "sft", Judgement(score, score))
    Queue(store.for_person("A", "reader")).judge(places[0], "sft", Judgement(1, 1))

    def listed(order: str, **page: int) -> list[int]:
        found = queue.items(order=order, **page)  # type: ignore[arg-type]
        return [places.index(item.case_id) for item in found]

    assert listed("oldest") == [0, 1, 2, 3]
    assert listed("newest") == [3, 2, 1, 0]
    assert listed("severity") == [1, 3, 0, 2]
    assert listed("disagreement") == [2, 0, 1, 3]
    # Pages are cut from the list as it is sorted.
    assert listed("severity", limit=2) + listed("severity", limit=2, offset=2) == [1, 3, 0, 2]


def test_a_region_is_shown_and_not_spelt_out() -> None:
    words = "Is it new? The region of prior spans (219,544) to (452,741)."
    assert plain_question(words) == "Is it new? (region)"
    assert plain_question("The region spans the lung?") == "The region spans the lung?"
