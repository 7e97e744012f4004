import json
import runpy
from pathlib import Path

import pytest

from rarl.evaluation.run import evaluate, select, summarise
from tests.evaluation.scripted_engine import ScriptedEngine

ROOT = Path(__file__).parents[2]


def script(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["readme_table", *words])
    status: int = runpy.run_path(str(ROOT / "scripts/readme_table"))["main"]()
    return status


def test_the_readme_shows_the_summary(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = evaluate(
        ScriptedEngine(),
        select("brain_tumor_mri").examples,
        arms=("sft", "rarl"),
        modes=("reason",),
        out=tmp_path / "run",
        progress=False,
    )
    summary, readme = tmp_path / "summary.json", tmp_path / "README.md"
    summary.write_text(json.dumps(summarise(ScriptedEngine(), rows)), "utf-8")
    readme.write_text("# Before\n<!-- measured -->\n<!-- /measured -->\nafter\n", "utf-8")
    files = ["--pages", str(readme), "--summary", str(summary)]

    assert script(monkeypatch, *files, "--check") == 1
    assert script(monkeypatch, *files) == 0
    assert script(monkeypatch, *files, "--check") == 0
    shown = readme.read_text("utf-8")
    assert shown.startswith("# Before\n<!-- measured -->\n| questions | n | images | sft | rarl |")
    assert "| brain_tumor_mri test label | 8 | 8 | 25.0 [" in shown
    assert "| well-formed: all questions | 32 | 8 | 100.0 [100.0, 100.0] |" in shown
    assert "sft `sft000000000`, rarl `rarl00000000`" in shown
    assert shown.endswith("<!-- /measured -->\nafter\n")

    readme.write_text("no markers\n", "utf-8")
    assert script(monkeypatch, *files) == 2
    assert "needs one line <!-- measured -->" in capsys.readouterr().err


def test_the_documents_show_the_committed_summary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not (ROOT / "assets/results/summary.json").exists():
        pytest.skip("nothing has been measured yet")
    assert script(monkeypatch, "--check") == 0
