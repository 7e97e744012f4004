"""What the command line and the programming interface say of a store, ready for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rarl.records import FlagFilter
from rarl.review.agreement import agreement_of
from rarl.review.dismissals import Dismissals
from rarl.review.queue import Queue
from rarl.review.reliance import reliance
from rarl.review.roles import may
from rarl.review.store import ReviewStore
from rarl.review.studies import Studies
from rarl.review.transfer.table import case_as_json, flag_as_json


def overview(store: ReviewStore, chosen: FlagFilter | None = None) -> dict[str, Any]:
    """Counts of flags, how far the queue is, agreement, rates from audits, outcomes of studies.

    The outcomes are for whoever may save a study's responses: its readers must not see them.

    Args:
        store: with the person who asks.
        chosen: which flags are counted; all where not given.

    Raises:
        ReviewError: the person may not, or the database cannot be read.
    """
    queue, studies = Queue(store), Studies(store)
    drawn = studies.all()
    return {
        "flags": store.count(chosen),
        "counts": {
            name: {
                count.values[0] or "unknown": count.flags for count in store.counts([name], chosen)
            }
            for name in ("category", "arm", "modality", "severity")
        },
        "statuses": queue.statuses(),
        "progress": [reader.plain() for reader in queue.progress()],
        "agreement": {
            name: interval and asdict(interval)
            for name, interval in agreement_of(store, queue).items()
        },
        "audits": [
            {
                "title": study.title,
                "id": study.id,
                "rates": [asdict(rate) for rate in studies.rates(study.id)],
            }
            for study in drawn
            if study.kind == "audit"
        ],
        "studies": [
            {
                "title": study.title,
                "id": study.id,
                "outcomes": [asdict(each) for each in studies.outcomes(study.id)],
                "reliance": [asdict(each) for each in reliance(studies, study.id)],
            }
            for study in drawn
            if study.kind == "study" and may(store.role, "export")
        ],
    }


def whole_case(store: ReviewStore, case_id: str) -> dict[str, Any]:
    """A case without its pixels, its flags, what was dismissed, and the verdicts that one may see.

    Raises:
        ReviewError: there is none, the person may not, or the database cannot be read.
    """
    case = store.case(case_id)
    queue, dismissals = Queue(store), Dismissals(store)
    return {
        "case": case_as_json(case, pixels=False),
        "flags": [flag_as_json(flag) for flag in store.flags_of(case.id)],
        "dismissals": [
            dismissal.plain()
            for shown in case.answers
            for dismissal in dismissals.of(case.id, shown.arm)
        ],
        "verdicts": [
            verdict.plain()
            for shown in case.answers
            for verdict in queue.verdicts(case.id, shown.arm)
        ],
    }
