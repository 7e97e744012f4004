"""Logs as one JSON object a line, with nothing of what people opened, asked or wrote."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

_OWN = ("rarl", "demo", "app", "__main__")


class Structured(logging.Formatter):
    """Records as JSON: time (UTC), level, logger, what happened and where.

    Messages of other packages may quote a header or a question, and so may the message of any
    exception: of the former only the unfilled template stays, of the latter its type and frames.
    A record's own facts are given as `extra={"facts": {...}}`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
        }
        if record.name.partition(".")[0] in _OWN:
            line["message"] = record.getMessage()
        else:
            line["at"] = f"{record.module}:{record.lineno}"
            if record.args and isinstance(record.msg, str):
                line["message"] = record.msg
        facts = record.__dict__.get("facts")
        if isinstance(facts, dict):
            line |= facts
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            line["frames"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(error.__traceback__)
            ]
        return json.dumps(line, ensure_ascii=False, default=str)


def start_logging() -> None:
    """Let every logger of the process write to standard error in this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Structured())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _OWN:
        logging.getLogger(name).setLevel(logging.INFO)
    # Warnings of libraries may quote what they read.
    logging.captureWarnings(True)
