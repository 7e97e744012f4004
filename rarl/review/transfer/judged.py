"""The table of flags with what readers and adjudicators made of each answer."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TextIO

from rarl.records import FlagFilter
from rarl.review.privacy import Withdrawn
from rarl.review.queue import Queue
from rarl.review.store import ReviewStore
from rarl.review.transfer.table import harmless

VERDICT_COLUMNS: tuple[str, ...] = (
    "review",
    "readers_correctness",
    "readers_explanation",
    "final_correctness",
    "final_explanation",
    "final_answer",
)
"""Behind `COLUMNS`; empty until two readings are in, so that no reader learns the first one."""


def export_flags(
    store: ReviewStore, file: TextIO, chosen: FlagFilter | None = None, names: bool = False
) -> int:
    """Write one row per flag, with the verdicts on its answer behind the columns of the flag.

    `review` is "agreed", "differs", "adjudicated" or empty; the readers' scores stand in one cell,
    each 0 to 3, with a space between; `final` is what readers agree on or an adjudicator decided.

    Args:
        store: with the person who exports.
        file: opened with `newline=""`.
        chosen: all flags where not given.
        names: whether readers keep their names; otherwise they are pseudonyms.

    Returns:
        How many flags were written.

    Raises:
        ReviewError: the person may not, or the database cannot be read.
    """
    queue = Queue(store)
    with store.reading() as session:
        withdrawn = Withdrawn.of(session)
    readings = queue.readings()
    settled = {
        (settlement.case_id, settlement.arm): settlement
        for settlement in queue.settled(withdrawn=False)
    }
    flags = StringIO(newline="")
    written = store.export_csv(flags, chosen, names)
    flags.seek(0)
    rows = csv.reader(flags)
    columns = next(rows)
    place = columns.index("case"), columns.index("arm")
    table = csv.writer(file)
    table.writerow([*columns, *VERDICT_COLUMNS])
    for row in rows:
        item = (row[place[0]], row[place[1]])
        given = [
            opinion
            for reader, opinion in readings.get(item, {}).items()
            if not withdrawn.holds(reader)
        ]
        final = settled.get(item)
        status = "differs" if given else ""
        if final is not None:
            status = "adjudicated" if final.adjudicated else "agreed"
        cells = [
            status,
            " ".join(str(opinion.correctness) for opinion in given),
            " ".join(str(opinion.explanation) for opinion in given),
            "" if final is None else str(final.correctness),
            "" if final is None else str(final.explanation),
            "" if final is None else harmless(final.corrected_answer),
        ]
        table.writerow([*row, *cells])
    return written
