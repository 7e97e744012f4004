"""The load test itself, small: nobody is refused, nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.browser.app_process import ROOT


def test_five_people_for_a_few_seconds() -> None:
    words = ["--users", "5", "--minutes", "0.05", "--rounds", "3", "--pace", "25", "--json"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/load_test"), *words],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["errors"], figures["refused"], figures["lost_flags"]) == (0, 0, 0), done.stderr
    assert min(figures["rounds"][name] for name in ("compare", "ask", "flag")) >= 3
    assert figures["page_seconds"] and figures["answer_seconds"] and "memory_growth" in figures
