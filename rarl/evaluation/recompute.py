"""Recompute a run's figures from its rows alone, and say what differs.

Each row holds the exact prompt, the raw text, what it was scored against, the seed and the hashes
of weights and pictures. So every score follows from the row, and every figure from the scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from rarl.data.example import Example, Fact
from rarl.errors import DataError
from rarl.evaluation.asked import Asked
from rarl.evaluation.judge_metrics import judge_figures
from rarl.evaluation.metrics import Labels
from rarl.evaluation.report_metrics import WORD_METRICS
from rarl.evaluation.row_scores import score
from rarl.evaluation.rows import LISTS, Row
from rarl.evaluation.run import summary_of
from rarl.evaluation.run_files import MANIFEST, ROWS, SUMMARY
from rarl.judge import read_verdict

# What a figure is known by, in any of the summary's lists.
_NAMES = (
    "group", "arm", "mode", "condition", "metric", "first", "second", "check", "letter", "score",
    "field", "stratum",
)  # fmt: skip
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Verification:
    """What recomputing a run has shown.

    Attributes:
        differences: a sentence for each; none where every figure follows from the rows.
        notes: what could not be checked, a sentence each.
    """

    differences: tuple[str, ...]
    notes: tuple[str, ...]


def verify(folder: Path) -> Verification:
    """Hold a run's summary against what its rows say.

    Args:
        folder: with `summary.json` and `rows.parquet`.

    Raises:
        DataError: a file is missing, or is none of a run.
    """
    frame, summary = read_run(folder)
    notes: list[str] = []
    differences = list(_files(folder, notes))
    rows = rows_of(frame)
    labels: Labels = {
        (leak["source"], leak["split"]): leak["label"] for leak in summary.get("leakage") or ()
    }
    fresh, sentences = _rescored(rows, notes)
    differences += sentences
    computed = json.loads(json.dumps(summary_of(summary["model"], summary["arms"], fresh, labels)))
    for part, now in computed.items():
        if part not in summary:
            if now:
                notes.append(f"{part}: not in summary.json, which an older version wrote.")
        elif isinstance(now, list) and part != "arms":
            differences += _compared(part, summary.get(part) or [], now)
        elif summary[part] != now:
            differences.append(f"{part}: summary.json has {summary[part]!r}, recomputed {now!r}.")
    differences += _judged(frame, summary, labels)
    return Verification(tuple(differences), tuple(notes))


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """Rows of a table as `rarl.evaluation.rows.to_frame` makes it, whatever columns are beside.

    Raises:
        DataError: a column is missing.
    """
    needed = [field.name for field in fields(Row) if field.default is MISSING]
    if missing := sorted(set(needed) - set(frame.columns)):
        raise DataError(f"The rows have no column {', '.join(missing)}; measure again.")
    names = [field.name for field in fields(Row) if field.name in frame.columns]
    rows = []
    for values in frame[names].to_dict("records"):
        plain = {
            name: tuple(() if _is_missing(value) else value)
            if name in LISTS
            else None
            if _is_missing(value)
            else value
            for name, value in values.items()
        }
        rows.append(Row(**plain))  # type: ignore[arg-type]  # from columns of these types
    return rows


def read_run(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows and the summary of a finished run.

    Raises:
        DataError: a file is missing, or is none of a run.
    """
    try:
        summary = json.loads((folder / SUMMARY).read_text("utf-8"))
        frame = pd.read_parquet(folder / ROWS)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} holds no finished run: it needs {SUMMARY} and {ROWS}."
        ) from error
    if not isinstance(summary, dict) or not {"model", "arms", "figures"} <= summary.keys():
        raise DataError(f"{folder / SUMMARY} is no summary of a run.")
    return frame, summary


def _files(folder: Path, notes: list[str]) -> Iterator[str]:
    path = folder / MANIFEST
    if not path.is_file():
        notes.append(f"There is no {MANIFEST}, so that the files themselves are not checked.")
        return
    for name, wanted in json.loads(path.read_text("utf-8"))["files"].items():
        try:
            digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError:
            yield f"{name} is missing."
            continue
        if digest != wanted:
            yield f"{name} is not the file that the run wrote: its SHA-256 differs."


def _rescored(rows: Sequence[Row], notes: list[str]) -> tuple[list[Row], list[str]]:
    """The rows with every score taken anew from their texts, and what differs."""
    fresh, different, silent, without = [], dict[str, list[str]](), 0, 0
    for row in rows:
        if row.question is None or row.scored_against is None:
            silent += 1
            fresh.append(row)
            continue
        values = score(row.text, row.mode, _example(row), row.condition, _asked(row))
        if row.kind == "report" and row.rouge_l is None:
            # An earlier version did without where their packages were missing.
            values |= dict.fromkeys(WORD_METRICS)
            without += 1
        for name, value in values.items():
            if _plain(getattr(row, name)) != _plain(value):
                different.setdefault(name, []).append(f"{row.id} ({row.arm})")
        fresh.append(Row(**{**_values(row), **values}))
    differences = [
        f"{name}: {len(places)} rows are scored otherwise by this version, such as "
        f"{', '.join(places[:_SHOWN])}."
        for name, places in different.items()
    ]
    if without:
        notes.append(f"{without} reports were measured without BLEU, ROUGE-L and METEOR.")
    if silent:
        notes.append(
            f"{silent} rows were published without questions and references: their scores are "
            "taken as they stand."
        )
    return fresh, differences


def _values(row: Row) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(Row)}


def _example(row: Row) -> Example:
    """What a row was scored against, as an example without its image."""
    scored = json.loads(row.scored_against or "{}")
    return Example(
        id=row.id,
        image=None,
        question=row.question,
        answer=row.reference,
        explanation=scored.get("explanation") or None,
        # A probe may ask an open or closed question in the place of one with options.
        kind="closed" if row.kind == "choice" and not row.options else row.kind,
        modality=row.modality,
        organ=row.organ,
        facts=tuple(Fact(**fact) for fact in scored.get("facts", ())),
        source=row.source,
        licence="",
        split=row.split,
        category=row.category,
        options=row.options,
    )


def _asked(row: Row) -> Asked:
    return Asked(row.question, row.options, row.reference, row.lure)


def _compared(
    part: str, kept: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    before, after = ({_name(entry): entry for entry in ones} for ones in (kept, now))
    for name, entry in after.items():
        if name not in before:
            yield f"{part}, {_title(name)}: not in summary.json."
            continue
        for key, value in entry.items():
            if before[name].get(key) != value:
                yield (
                    f"{part}, {_title(name)}: {key} is {_short(before[name].get(key))} in "
                    f"summary.json, {_short(value)} recomputed."
                )
    for name in before.keys() - after.keys():
        yield f"{part}, {_title(name)}: in summary.json, and not recomputed."


def _judged(frame: pd.DataFrame, summary: Mapping[str, Any], labels: Labels) -> Iterator[str]:
    kept = summary.get("judge")
    if not kept or "judge_raw" not in frame:
        return
    asked = frame[frame["judge_model"].notna()]
    wrong = []
    for row in asked.to_dict("records"):
        if not row["judge_raw"] or row["judge_problem"] in ("refused", "budget"):
            continue
        verdict = read_verdict(row["judge_raw"])
        kept_scores = [_plain(row[f"judge_{name}"]) for name in ("correctness", "explanation")]
        if [verdict.correctness, verdict.explanation] != kept_scores:
            wrong.append(str(row["id"]))
    if wrong:
        yield (
            f"judge: {len(wrong)} scores are not what the judge's text says, such as "
            f"{', '.join(wrong[:_SHOWN])}."
        )
    now = json.loads(json.dumps(judge_figures(frame, labels)))
    yield from _compared("judge", kept["figures"], now)


def _name(entry: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (key, entry[key]) for key in _NAMES if key in entry and isinstance(entry[key], str)
    )


def _title(name: tuple[tuple[str, Any], ...]) -> str:
    return ", ".join(str(value) for _, value in name)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _plain(value: Any) -> Any:
    if _is_missing(value):
        return None
    return list(value) if isinstance(value, tuple) else value
