"""Flags and cases as JSON types, and flags as a table for reading."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Any, TextIO

from rarl.records import CaseSnapshot, Flag
from rarl.review.taxonomy import Taxonomy

COLUMNS: tuple[str, ...] = (
    "flag",
    "created",
    "case",
    "arm",
    "label",
    "revision",
    "category",
    "severity",
    "comment",
    "reader",
    "modality",
    "question",
    "reasoning",
    "answer",
    "problems",
    "tokens",
    "seconds",
    "stopped",
    "mode",
    "model",
    "prompt_hash",
    "shown_order",
    "width",
    "height",
    "image_sha256",
    "app_version",
    "key",
    "sentence",
    "corrected_answer",
    "corrected_explanation",
    "blind",
    "category_label",
    "severity_label",
)
"""The columns of the table. New ones are added at the end only: others read this file."""

# OWASP, CSV injection: what spreadsheets take for the start of a formula, also in full width. A
# spreadsheet that expects other separators than commas, as in much of Europe, begins a cell after
# each of them and does not see the quotes, so that every such place is a start.
_START = "=+\\-@\uff1d\uff0b\uff0d\uff20"
# The apostrophe is escaped as well, so that `harmful` can undo it.
_BEGINS = rf"(?=[\t\r\n]|[\"\s]*[{_START}'])"
_LATER = r"[;,|\t\r\n][\"\s]*"
_DANGEROUS = re.compile(rf"\A{_BEGINS}|{_LATER}(?=[{_START}'])")
_ESCAPED = re.compile(rf"\A'{_BEGINS}|{_LATER}'(?=[{_START}'])")


def flag_as_json(flag: Flag) -> dict[str, Any]:
    """A flag as JSON types; the time in ISO 8601, UTC."""
    return flag.plain()


def case_as_json(case: CaseSnapshot, pixels: bool = True) -> dict[str, Any]:
    """A case as JSON types; each picture's `png` in base64, or absent without `pixels`."""
    exclude = None if pixels else {"pictures": {"__all__": {"png"}}}
    plain = case.model_dump(mode="json", exclude=exclude)
    for picture in plain["pictures"]:
        if picture.get("png", "") is None:
            del picture["png"]
    return {**plain, "sha256": case.sha256, "width": case.width, "height": case.height}


def harmless(cell: str) -> str:
    """A cell with an apostrophe before whatever a spreadsheet would run as a formula.

    >>> harmless("=1+1"), harmless("see;=1+1"), harmless("no")
    ("'=1+1", "see;'=1+1", 'no')
    """
    return _DANGEROUS.sub(lambda match: f"{match[0]}'", cell)


def harmful(cell: str) -> str:
    """What `harmless` was given.

    >>> [harmful(harmless(cell)) for cell in ("=1+1", "'tis", "see;=1+1", "no")]
    ['=1+1', "'tis", 'see;=1+1', 'no']
    """
    return _ESCAPED.sub(lambda match: match[0].removesuffix("'"), cell)


def write_csv(
    file: TextIO, flagged: Iterable[tuple[Flag, CaseSnapshot]], taxonomy: Taxonomy
) -> int:
    """One row per flag under `COLUMNS`.

    A cell that a spreadsheet would run as a formula gets a leading apostrophe.

    Args:
        file: opened with `newline=""`.
        flagged: flags with their cases.
        taxonomy: of the site, for the labels of categories and severities.

    Returns:
        How many were written.
    """
    table = csv.writer(file)
    table.writerow(COLUMNS)
    written = 0
    for flag, case in flagged:
        cells = (
            *_cells(flag, case),
            taxonomy.category_labels().get(flag.category, flag.category),
            taxonomy.severity_labels().get(flag.severity, flag.severity),
        )
        table.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in cells])
        written += 1
    return written


def _cells(flag: Flag, case: CaseSnapshot) -> tuple[object, ...]:
    answer = next(answer for answer in case.answers if answer.arm == flag.arm)
    return (
        flag.id,
        flag.created.isoformat(),
        flag.case_id,
        flag.arm,
        flag.label,
        answer.revision,
        flag.category,
        flag.severity,
        flag.comment,
        flag.reader or "",
        flag.modality or "",
        flag.question,
        answer.reasoning,
        answer.answer,
        " ".join(answer.problems),
        answer.tokens,
        round(answer.seconds, 3),
        "yes" if answer.stopped else "no",
        case.mode,
        case.model,
        case.prompt_hash,
        " ".join(case.shown_order),
        case.width,
        case.height,
        case.sha256,
        case.app_version,
        flag.key,
        flag.sentence,
        flag.corrected_answer,
        flag.corrected_explanation,
        "yes" if case.blind else "no",
    )
