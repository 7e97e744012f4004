"""The store of cases and flags: nothing flagged is lost, changed or cut off from its picture."""

from rarl.review.case import ArmAnswer, CaseSnapshot, Flag, FlagFilter, case_from
from rarl.review.export import COLUMNS, case_as_json, flag_as_json
from rarl.review.store import ReviewStore, open_store
from rarl.review.taxonomy import CATEGORIES, COMMENT_LIMIT, SEVERITIES

__all__ = [
    "CATEGORIES",
    "COLUMNS",
    "COMMENT_LIMIT",
    "SEVERITIES",
    "ArmAnswer",
    "CaseSnapshot",
    "Flag",
    "FlagFilter",
    "ReviewStore",
    "case_as_json",
    "case_from",
    "flag_as_json",
    "open_store",
]
