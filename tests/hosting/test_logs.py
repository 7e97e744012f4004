"""One JSON object a line, and nothing of what anybody opened, asked or wrote."""

from __future__ import annotations

import io
import json
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from demo.serving import logs
from demo.serving.logs import start_logging

NAME = "Zebedee Quillfeather"


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """What goes to standard error while logging runs as in the app; all is put back after."""
    written = io.StringIO()
    root = logging.getLogger()
    kept = root.handlers[:], root.level, sys.stderr, sys.excepthook
    sys.stderr = written
    try:
        start_logging()
        yield written
    finally:
        root.handlers[:], _, sys.stderr, sys.excepthook = kept
        root.setLevel(kept[1])
        logging.captureWarnings(False)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_own_words_and_facts_are_told() -> None:
    with logged() as stream:
        logging.getLogger("demo.x").info("question", extra={"facts": {"seconds": 1.5}})
    (line,) = lines(stream)
    assert (line["level"], line["logger"]) == ("INFO", "demo.x")
    assert line["message"] == "question" and line["seconds"] == 1.5
    assert line["time"].endswith("+00:00")


def test_nothing_that_others_quote_is() -> None:
    with logged() as stream:
        logging.getLogger("pydicom").warning("Invalid value for %s", NAME)
        logging.getLogger("pydicom").warning(f"Invalid value for {NAME}")
        warnings.warn(f"PatientName is {NAME}", stacklevel=1)
        try:
            raise ValueError(NAME)
        except ValueError:
            logging.getLogger("rarl.x").exception("decoding")
            traceback.print_exc()  # as Gradio does
        print(NAME, file=sys.stderr)
    assert "Zebedee" not in stream.getvalue()
    found = lines(stream)
    assert found[0]["message"] == "Invalid value for %s" and "message" not in found[1]
    assert [line["logger"] for line in found[2:]] == ["py.warnings", "rarl.x", "demo.printed"]
    for line in found[3:]:
        assert line["error"] == "ValueError"
        assert line["frames"][-1].endswith("test_nothing_that_others_quote_is")


def test_what_repeats_without_end_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(logs, "monotonic", lambda: now)
    throttle = logs.Throttle(most=3, seconds=10)

    def record(line: int) -> logging.LogRecord:
        return logging.LogRecord("asyncio", 40, "/x.py", line, "socket.accept()", None, None)

    passed = [throttle.filter(record(1)) for _ in range(1000)]
    assert sum(passed) == 3
    assert throttle.filter(record(2)), "another place is another matter"
    now += 10
    logged = record(1)
    assert throttle.filter(logged) and logged.__dict__["facts"] == {"held": 997}
