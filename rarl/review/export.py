"""Flags to JSON lines and to a table."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, TextIO

from rarl.review.case import CaseSnapshot, Flag

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
)
"""The columns of the table. New ones are added at the end only: others read this file."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def flag_as_json(flag: Flag) -> dict[str, Any]:
    """A flag as JSON types; the time in ISO 8601, UTC."""
    return {**asdict(flag), "created": flag.created.isoformat()}


def case_as_json(case: CaseSnapshot, pixels: bool = True) -> dict[str, Any]:
    """A case as JSON types; `png` in base64, or absent without `pixels`."""
    # shallow copies, since asdict() would copy the picture as well
    entry: dict[str, Any] = {
        "id": case.id,
        "created": case.created.isoformat(),
        "app_version": case.app_version,
        "sha256": case.sha256,
        "width": case.width,
        "height": case.height,
        "modality": case.modality,
        "attributes": dict(case.attributes),
        "question": case.question,
        "mode": case.mode,
        "model": case.model,
        "prompt_hash": case.prompt_hash,
        "decoding": asdict(case.decoding),
        "shown_order": list(case.shown_order),
        "answers": [asdict(answer) for answer in case.answers],
    }
    if pixels:
        entry["png"] = base64.b64encode(case.png).decode("ascii")
    return entry


def write_jsonl(
    file: TextIO, flagged: Iterable[tuple[Flag, CaseSnapshot]], pixels: bool = True
) -> int:
    """One line per flag, `{"flag": {...}, "case": {...}}`: enough to ask the question again.

    Returns:
        How many were written.
    """
    written = 0
    for flag, case in flagged:
        line = {"flag": flag_as_json(flag), "case": case_as_json(case, pixels)}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        written += 1
    return written


def write_csv(file: TextIO, flagged: Iterable[tuple[Flag, CaseSnapshot]]) -> int:
    """One row per flag under `COLUMNS`.

    A cell that a spreadsheet would run as a formula gets a leading apostrophe.

    Args:
        file: opened with `newline=""`.
        flagged: flags with their cases.

    Returns:
        How many were written.
    """
    table = csv.writer(file)
    table.writerow(COLUMNS)
    written = 0
    for flag, case in flagged:
        table.writerow([_harmless(cell) for cell in _cells(flag, case)])
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
    )


def _harmless(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS):
        return "'" + cell
    return cell
