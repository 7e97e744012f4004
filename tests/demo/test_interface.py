from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import gradio as gr
import pytest
from scripted import ScriptedEngine

from demo import theme
from demo.interface import build, make_parts
from demo.services.engine_loader import EngineLoader


def test_the_page_builds_without_torch_or_sql_in_its_imports() -> None:
    """In a process of its own: others here may have imported torch already."""
    code = (
        "import sys, demo.interface, app\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
    for module in (root / "demo").rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        for name in ("torch", "transformers", "sqlalchemy", "sqlite3"):
            assert f"import {name}" not in text and f"from {name}" not in text, module.name


def test_the_page_builds_and_its_cache_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    parts = make_parts(EngineLoader(ScriptedEngine).start())
    assert stat.S_IMODE(parts.cache.stat().st_mode) == 0o700
    assert os.environ["GRADIO_TEMP_DIR"] == str(parts.cache)
    app = build(parts)
    assert isinstance(app, gr.Blocks)
    assert not app.analytics_enabled
    assert "pacs" not in {block.elem_id for block in app.blocks.values()}, "no PACS is set"
    # What the page's own widgets do is nobody's programming interface.
    offered = {fn.api_name for fn in app.fns.values() if fn.api_visibility != "private"}
    review = {f"review_{name}" for name in ("list", "show", "stats", "export", "import")}
    own = {"ask", "compare", "measure", "facts", "flag", "report", "report_save"}
    assert offered == own | review
    info = app.get_api_info()["named_endpoints"]
    described = {
        f"{name} {each['parameter_name']}": each
        for name, endpoint in info.items()
        for each in endpoint["parameters"]
    }
    assert len(described) > 20
    assert not [name for name, each in described.items() if not each["python_type"]["description"]]
    assert "missed-finding" in described["/flag category"]["type"]["enum"]
    assert described["/compare arms"]["type"]["items"]["enum"][-1] == "all"
    assert described["/ask arm"]["type"]["enum"][0] == ""
    shape = described["/measure shapes"]["type"]["items"]["properties"]
    assert shape["kind"]["enum"] == ["ruler", "angle", "rectangle", "ellipse"]
    assert shape["plane"]["enum"][1:] == ["acquired", "axial", "coronal", "sagittal"]
    # Model text must never be part of a template.
    panels = [block for block in app.blocks.values() if isinstance(block, gr.HTML)]
    templates = {panel.html_template for panel in panels} - {"${value}"}
    (viewer,) = templates
    assert not any(mark in viewer for mark in ("${", "{{", "`", "@children"))


def test_the_theme_asks_no_other_host() -> None:
    made = theme.reading_room()
    assert not made._stylesheets
    for sheet in theme.STYLE_SHEETS:
        assert "http" not in sheet.read_text(encoding="utf-8")
    assert "http" not in theme.head().replace("http://www.w3.org/2000/svg", "")


def _tokens(block: str) -> dict[str, str]:
    lines = [line.strip().rstrip(";") for line in block.splitlines() if line.strip()[:2] == "--"]
    return dict(line.split(": ", 1) for line in lines)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_meet_wcag_aa_in_both_themes() -> None:
    sheet = theme.STYLE_SHEETS[0].read_text(encoding="utf-8")
    light, rest = sheet.split("body.dark {", 1)
    for tokens in (_tokens(light), _tokens(rest.split("}", 1)[0])):
        for ground in ("ground", "surface", "raised", "well"):
            for ink in ("ink", "ink-soft", "ink-faint", "accent"):
                ratio = _contrast(tokens[f"--{ink}"], tokens[f"--{ground}"])
                assert ratio >= 4.5, f"{ink} on {ground}: {ratio:.2f}"
            # Borders of inputs are what marks them as inputs.
            assert _contrast(tokens["--edge"], tokens[f"--{ground}"]) >= 3
        for ink, ground in (
            ("on-accent", "accent"),
            ("on-accent", "accent-strong"),
            ("caution", "caution-wash"),
            ("caution", "surface"),
            ("caution", "ground"),
            ("trouble", "trouble-wash"),
            ("ink", "accent-wash"),
            ("ink-soft", "accent-wash"),
            ("ink-faint", "accent-wash"),
        ):
            ratio = _contrast(tokens[f"--{ink}"], tokens[f"--{ground}"])
            assert ratio >= 4.5, f"{ink} on {ground}: {ratio:.2f}"
