"""The things that RARL stores, exports and sends, one type for each.

All are pydantic types: frozen, without unknown fields, each field described with its unit. Page,
API, store, exports and training use them as they are.
"""

from rarl.records._base import Record, checked, cleaned, explained, storable
from rarl.records.case import ArmAnswer, CaseSnapshot, Picture
from rarl.records.flag import (
    COMMENT_LIMIT,
    TEXT_LIMIT,
    Flag,
    FlagContent,
    FlagDraft,
    FlagFilter,
    new_key,
    sent_key,
)
from rarl.records.geometry import Pixels, Region, Shown
from rarl.records.question import Arm, Decoding, NamedImage, Question, Turn
from rarl.records.queue import Item, Progress, QueueFilter, QueueItem
from rarl.records.report import (
    SENTENCE_LIMIT,
    MeasuredValue,
    Measurement,
    Report,
    ReportContent,
    Section,
    Sentence,
)
from rarl.records.review import (
    SCALE,
    STATUSES,
    AuditEntry,
    Dismissal,
    Judgement,
    Opinion,
    Outcome,
    Settled,
    Status,
    Tombstone,
    Verdict,
    Vote,
)

__all__ = [
    "COMMENT_LIMIT",
    "SCALE",
    "SENTENCE_LIMIT",
    "STATUSES",
    "TEXT_LIMIT",
    "Arm",
    "ArmAnswer",
    "AuditEntry",
    "CaseSnapshot",
    "Decoding",
    "Dismissal",
    "Flag",
    "FlagContent",
    "FlagDraft",
    "FlagFilter",
    "Item",
    "Judgement",
    "MeasuredValue",
    "Measurement",
    "NamedImage",
    "Opinion",
    "Outcome",
    "Picture",
    "Pixels",
    "Progress",
    "Question",
    "QueueFilter",
    "QueueItem",
    "Record",
    "Region",
    "Report",
    "ReportContent",
    "Section",
    "Sentence",
    "Settled",
    "Shown",
    "Status",
    "Tombstone",
    "Turn",
    "Verdict",
    "Vote",
    "checked",
    "cleaned",
    "explained",
    "new_key",
    "sent_key",
    "storable",
]
