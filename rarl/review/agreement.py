"""How far the readers of the review queue agree, on each scale."""

from __future__ import annotations

from rarl.review.queue import Queue
from rarl.review.store import ReviewStore
from rarl.review.worth import by_chance
from rarl.stats.agreement import cohen_kappa, krippendorff_alpha
from rarl.stats.bootstrap import Interval


def agreement_of(store: ReviewStore, queue: Queue, seed: int = 0) -> dict[str, Interval | None]:
    """How far the readers of a queue agree, on each scale.

    Where readers choose what they read, as among flagged answers, or take the most valuable first,
    only the answers count that chance put into the random share (`rarl.review.worth`): what is
    hard to judge would else weigh more than it occurs.

    Cohen's kappa (quadratic weights) takes the two readings of each answer in the order in which
    they came, whoever gave them; alpha (ordinal) knows no order.

    Returns:
        "correctness kappa", "correctness alpha", "explanation kappa", "explanation alpha"; None
        where one is not defined.

    Raises:
        ReviewError: the person may not, or the database cannot be read.
    """
    readings = queue.readings()
    if queue.is_by_worth():
        readings = {item: given for item, given in readings.items() if by_chance(item)}
    pictures = store.picture_hashes(case_id for case_id, _ in readings)
    clusters = [pictures[case_id] for case_id, _ in readings]
    scores = {
        "correctness": [
            [verdict.correctness for verdict in given.values()] for given in readings.values()
        ],
        "explanation": [
            [verdict.explanation for verdict in given.values()] for given in readings.values()
        ],
    }
    results: dict[str, Interval | None] = {}
    for scale, rows in scores.items():
        firsts, seconds = [row[0] for row in rows], [row[1] for row in rows]
        results[f"{scale} kappa"] = cohen_kappa(firsts, seconds, clusters, seed=seed)
        results[f"{scale} alpha"] = krippendorff_alpha(rows, clusters, seed=seed)
    return results
