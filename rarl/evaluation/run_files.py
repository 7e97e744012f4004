"""Write a run's files: summary, rows, images and report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from rarl import __version__
from rarl.errors import DataError
from rarl.evaluation.contamination import Leak
from rarl.evaluation.report import report_html
from rarl.evaluation.rows import Row, to_frame, write_parquet

SUMMARY, ROWS, LEAKAGE, REPORT = "summary.json", "rows.parquet", "leakage.json", "report.html"
MANIFEST = "manifest.json"
# What a set's owner wrote; a published run may leave it to whoever has the set.
WORDS = ("question", "reference", "asked", "scored_against", "options")

JUDGE_WORDS = ("judge_asked",)
# What a figure may depend on besides the code.
PACKAGES = ("numpy", "pandas", "scipy", "pillow")


def write_run(
    folder: Path,
    summary: Mapping[str, Any],
    rows: Sequence[Row],
    leaks: Sequence[Leak] | None = None,
    *,
    judged: pd.DataFrame | None = None,
    words: bool = True,
    report: bool = True,
) -> None:
    """Write everything a reader of the run needs; each file as a whole or not at all.

    Args:
        folder: made if need be.
        summary: as `rarl.evaluation.run.summarise` returns it.
        rows: every answered row.
        leaks: what the sets share with training, where that was looked at.
        judged: a judge's columns, one row for each of `rows` in their order.
        words: whether questions and references are written out; without them, the rows name the
            examples by id alone.
        report: whether the report is written too; see `write_report`.

    Raises:
        DataError: a file cannot be written.
    """
    frame = to_frame(rows)
    if judged is not None:
        frame = pd.concat([frame, judged.reset_index(drop=True)], axis=1)
    if not words:
        written = [name for name in (*WORDS, *JUDGE_WORDS) if name in frame]
        frame = frame.assign(**dict.fromkeys(written))
    write_parquet(frame, folder / ROWS)
    _write(folder / SUMMARY, compact_json(summary) + "\n")
    if leaks is not None:
        _write(folder / LEAKAGE, json.dumps([asdict(leak) for leak in leaks], indent=1) + "\n")
    if report:
        write_report(folder / REPORT, summary)
    files = [name for name in (ROWS, SUMMARY, LEAKAGE) if (folder / name).is_file()]
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    packages = {name: version(name) for name in PACKAGES}
    manifest = {"rarl": __version__, "packages": packages, "files": hashes}
    _write(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def write_report(path: Path, summary: Mapping[str, Any]) -> None:
    """Write the page with all figures of a run and their charts.

    Raises:
        DataError: it cannot be written.
    """
    _write(path, report_html(summary))


def compact_json(summary: Mapping[str, Any]) -> str:
    r"""A summary as JSON, with a line for each entry of its lists.

    >>> print(compact_json({"model": "pocket", "figures": [{"value": 0.5}, {"value": 1}]}))
    {
    "model": "pocket",
    "figures": [
    {"value":0.5},
    {"value":1}]
    }
    """
    parts = []
    for key, value in summary.items():
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(_line(entry) for entry in value) + "]"
        else:
            text = _line(value)
        parts.append(f"{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}"


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(path.name + ".part")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}.") from error
