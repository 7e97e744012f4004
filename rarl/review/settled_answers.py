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
    found: dict[Item, str] = {}
    with store.reading() as session:
        for batch in batches(sorted(set(case_ids))):
            statement = select(AnswerRow.case_id, AnswerRow.arm, AnswerRow.answer).where(
                AnswerRow.case_id.in_(batch)
            )
            found |= {(row[0], row[1]): row[2] for row in session.execute(statement)}
    return found


def settled_answers(store: ReviewStore, answers: Mapping[Item, str]) -> dict[str, str]:
    """The settled answer of each case that has one, from the queue and from audits.

    Raises:
        ReviewError: the database cannot be read.
    """
    with store.reading() as session:
        audits = session.scalars(
            select(StudyRow.id).where(StudyRow.kind == "audit").order_by(StudyRow.created.desc())
        ).all()
    settled = [one for work in (None, *audits) for one in Queue(store, work).settled()]
    found = {}
    # The better founded come last, and stay.
    for one in sorted(settled, key=lambda one: (bool(one.corrected_answer), one.adjudicated)):
        answer = one.corrected_answer
        if not answer and one.correctness == max(SCALE):
            answer = answers.get((one.case_id, one.arm), "")
        if answer.strip():
            found[one.case_id] = answer.strip()
    return found
