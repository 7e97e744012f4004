"""The table of flags says what readers and adjudicators made of each answer."""

from __future__ import annotations

import csv
from collections.abc import Callable
from io import StringIO

from rarl.review import COLUMNS, CaseSnapshot, Judgement, Queue, ReviewStore
from rarl.review.transfer.judged import VERDICT_COLUMNS, export_flags

MakeCase = Callable[..., CaseSnapshot]


def test_verdicts_stand_behind_the_flag(store: ReviewStore, make_case: MakeCase) -> None:
    for arm in ("sft", "rl", "rarl", "sft"):
        store.add_flag(store.add_case(make_case()), arm, "style", "minor", "=1+1", reader="V")
    first, second, judge = (
        Queue(store.for_person(name, role))  # type: ignore[arg-type]
        for name, role in (("A", "reader"), ("B", "reader"), ("J", "adjudicator"))
    )
    agreed, differs, adjudicated, one_reading = first.items()
    for item, scores in ((agreed, (2, 2)), (differs, (0, 3)), (adjudicated, (1, 2))):
        for queue, score in zip((first, second), scores, strict=True):
            queue.judge(item.case_id, item.arm, Judgement(score, score))
    judge.adjudicate(adjudicated.case_id, adjudicated.arm, Judgement(1, 0, True, "=cmd", "why"))
    first.judge(one_reading.case_id, one_reading.arm, Judgement(0, 0))
    file = StringIO(newline="")
    assert export_flags(store, file) == 4
    rows = list(csv.DictReader(StringIO(file.getvalue(), newline="")))
    assert list(rows[0])[: len(COLUMNS)] == list(COLUMNS)
    assert list(rows[0])[-len(VERDICT_COLUMNS) :] == list(VERDICT_COLUMNS)
    by_case = {row["case"]: [row[name] for name in VERDICT_COLUMNS] for row in rows}
    assert by_case[agreed.case_id] == ["agreed", "2 2", "2 2", "2", "2", ""]
    assert by_case[differs.case_id] == ["differs", "0 3", "0 3", "", "", ""]
    assert by_case[adjudicated.case_id] == ["adjudicated", "1 2", "1 2", "1", "0", "'=cmd"]
    assert by_case[one_reading.case_id] == [""] * 6, "nobody learns the first reading from here"
    assert all(row["comment"] == "'=1+1" for row in rows)
