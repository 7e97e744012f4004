"""The settled answer of a case, against which readers of a study are held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import select

from rarl.records import SCALE
from rarl.records.queue import Item
from rarl.review._queue_index import batches
from rarl.review._tables import AnswerRow, StudyRow
from rarl.review.queue import Queue
from rarl.review.store import ReviewStore


def answers_of(store: ReviewStore, case_ids: Iterable[str]) -> dict[Item, str]:
    """What each variant answered in these cases.

    Raises:
        ReviewError: the database cannot be read.
    """
    texts: dict[Item, str] = {}
    with store.reading() as session:
        for batch in batches(sorted(set(case_ids))):
            statement = select(AnswerRow.case_id, AnswerRow.arm, AnswerRow.answer).where(
                AnswerRow.case_id.in_(batch)
            )
            texts |= {(row[0], row[1]): row[2] for row in session.execute(statement)}
    return texts


def settled_answers(store: ReviewStore, answers: Mapping[Item, str]) -> dict[str, str]:
    """The settled answer of each case that has one, from the queue and from audits.

    Raises:
        ReviewError: the database cannot be read.
    """
    with store.reading() as session:
        audits = session.scalars(
            select(StudyRow.id).where(StudyRow.kind == "audit").order_by(StudyRow.created.desc())
        ).all()
    settled = [decision for work in (None, *audits) for decision in Queue(store, work).settled()]
    by_case = {}
    # The better founded come last, and stay.
    for decision in sorted(
        settled, key=lambda decision: (bool(decision.corrected_answer), decision.adjudicated)
    ):
        answer = decision.corrected_answer
        if not answer and decision.correctness == max(SCALE):
            answer = answers.get((decision.case_id, decision.arm), "")
        if answer.strip():
            by_case[decision.case_id] = answer.strip()
    return by_case
