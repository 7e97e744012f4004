"""The store of cases, flags and verdicts: nothing said is lost or changed.

Work goes through `open_store` (cases, flags, votes), `Queue` (verdicts, adjudication),
`studies.Studies` (audits and reader studies), `agreement` and `transfer` (export and import).

    store = open_store()  # as the settings say; `store.for_person("bo", "reader")` has bo's rights
    chosen = FlagFilter(arm="rarl", severity="critical")
    writer.export(store, Path("reviewed"), "datasets", chosen)
    hub.push_to_hub(Path("reviewed"), "owner/name")  # private, unless told otherwise
"""

from rarl.records import (
    COMMENT_LIMIT,
    ArmAnswer,
    CaseSnapshot,
    Flag,
    FlagDraft,
    FlagFilter,
    Judgement,
    Picture,
    Region,
    Settled,
    Shown,
    Verdict,
    Vote,
)
from rarl.review.case import case_from
from rarl.review.queue import Queue, QueueFilter, QueueItem
from rarl.review.repositories.flags import Count
from rarl.review.store import ReviewStore, open_store
from rarl.review.taxonomy import CATEGORIES, SEVERITIES
from rarl.review.transfer.table import COLUMNS, case_as_json, flag_as_json

__all__ = [
    "CATEGORIES",
    "COLUMNS",
    "COMMENT_LIMIT",
    "SEVERITIES",
    "ArmAnswer",
    "CaseSnapshot",
    "Count",
    "Flag",
    "FlagDraft",
    "FlagFilter",
    "Judgement",
    "Picture",
    "Queue",
    "QueueFilter",
    "QueueItem",
    "Region",
    "ReviewStore",
    "Settled",
    "Shown",
    "Verdict",
    "Vote",
    "case_as_json",
    "case_from",
    "flag_as_json",
    "open_store",
]
