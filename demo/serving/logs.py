"""Structured logs, one JSON object a line, without user content."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from threading import Lock
from time import monotonic
from typing import Any

_FRAME = re.compile(r'\s+File "(?P<file>.+)", line (?P<line>\d+), in (?P<name>\S+)')
_RAISED = re.compile(r"(?P<type>[A-Za-z_][\w.]*)(:|$)")
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


class Throttle(logging.Filter):
    """Lets through so many records of one place in the code in so many seconds.

    What repeats without end, such as a socket that cannot be accepted, must not fill the disk. How
    many were held back is told when the next one passes.

    Args:
        most: records of one place that pass.
        seconds: in this time.
    """

    def __init__(self, most: int = 20, seconds: float = 10.0) -> None:
        super().__init__()
        self._most = most
        self._seconds = seconds
        self._lock = Lock()
        # Place to when its time began, how many passed in it, and how many did not.
        self._seen: dict[tuple[str, str, int], tuple[float, int, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record passes."""
        place = (record.name, record.pathname, record.lineno)
        now = monotonic()
        with self._lock:
            began, passed, withheld = self._seen.get(place, (now, 0, 0))
            if now - began >= self._seconds:
                began, passed = now, 0
            if passed >= self._most:
                self._seen[place] = (began, passed, withheld + 1)
                return False
            self._seen[place] = (began, passed + 1, 0)
        if withheld:
            facts = record.__dict__.get("facts")
            record.__dict__["facts"] = {
                **(facts if isinstance(facts, dict) else {}),
                "held": withheld,
            }
        return True


class Printed(io.TextIOBase):
    """Stands in for standard error where other packages print tracebacks there, Gradio for one.

    Of what they print, the frames and the type of an error become a record; the rest, which may
    quote anything, is left out.
    """

    def __init__(self) -> None:
        self._rest = ""
        self._frames: list[str] = []

    def write(self, text: str) -> int:
        """Take a piece of text."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if frame := _FRAME.match(line):
                self._frames.append("{file}:{line} {name}".format(**frame.groupdict()))
            elif self._frames and (raised := _RAISED.match(line)):
                facts = {"error": raised["type"], "frames": self._frames}
                logging.getLogger("demo.printed").error("printed", extra={"facts": facts})
                self._frames = []
        return len(text)


def start_logging() -> None:
    """Let every logger of the process, and all that is printed as an error, take this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Structured())
    handler.addFilter(Throttle())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _OWN:
        logging.getLogger(name).setLevel(logging.INFO)
    # Warnings of libraries may quote what they read.
    logging.captureWarnings(True)
    # What keeps the app from starting is told in full: nobody has opened anything yet.
    sys.excepthook = lambda *error: traceback.print_exception(*error, file=sys.__stderr__)
    sys.stderr = Printed()
