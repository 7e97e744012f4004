"""The style sheets: no rule for what nothing writes, and no measure beside the tokens."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr
import pytest

from demo.theme import STYLE_SHEETS

DEMO = Path(__file__).resolve().parents[2] / "demo"
# Gradio's own classes that the sheets may name; most are in its style sheets, the rest in scripts.
GRADIO = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
OF_GRADIO_SCRIPTS = {"gradio-container", "tabitem"}
# A class whose end is a value: the beginning stands in the code.
BEGINNINGS = ("severity-", "status-")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")


def rules(sheet: str) -> list[tuple[str, str]]:
    """Selectors and declarations of each rule, those inside of conditions too."""
    found = RULE.findall(COMMENT.sub("", sheet))
    return [(head.strip(), body) for head, body in found if not head.strip().startswith("@")]


def names(sheet: str) -> set[str]:
    """Classes and ids that the selectors of a sheet name."""
    heads = " ".join(head for head, _ in rules(sheet))
    return set(re.findall(r"[.#]([A-Za-z][\w-]*)", heads))


def raw_measures(sheet: str) -> list[str]:
    """Declarations with a colour or a type size that is no token."""
    faults = []
    for _, body in rules(sheet):
        for line in body.split(";"):
            name, _, value = (part.strip() for part in line.partition(":"))
            if re.search(r"#[0-9a-fA-F]{3,8}\b|\b(rgb|rgba|hsl)\(|\b(white|black)\b", value):
                faults.append(line.strip())
            if name == "font-size" and value not in {"0", "inherit"}:
                faults.append(line.strip())
            if name == "font" and not re.fullmatch(r"var\(--[\w-]+\)|inherit", value):
                faults.append(line.strip())
    return faults


def test_every_class_in_a_selector_is_written_somewhere() -> None:
    assert names(".a:is(#b, .c-d) > i {}\n@media (x) { .e { color: red } }") == {*"abe", "c-d"}
    sources = [path for ending in ("py", "js", "html") for path in DEMO.rglob(f"*.{ending}")]
    written = "\n".join(path.read_text("utf-8") for path in sources)
    gradio = "\n".join(path.read_text("utf-8") for path in GRADIO.glob("*.css"))
    unknown = {
        name
        for sheet in STYLE_SHEETS
        for name in names(sheet.read_text("utf-8")) - OF_GRADIO_SCRIPTS
        if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", written)
        and not re.search(rf"\.{re.escape(name)}(?![\w-])", gradio)
        and not any(name.startswith(start) and start in written for start in BEGINNINGS)
    }
    assert not unknown, "no code writes these classes or ids; delete their rules"


@pytest.mark.parametrize("sheet", STYLE_SHEETS[1:], ids=lambda sheet: sheet.stem)
def test_colours_and_type_sizes_are_tokens(sheet: Path) -> None:
    assert len(raw_measures("a { color: #fff; font: 400 12px serif; font-size: 3px; }")) == 3
    assert raw_measures(sheet.read_text("utf-8")) == []


def test_a_shorthand_of_a_token_stands_alone() -> None:
    """Gradio writes rules out anew; the parts beside such a shorthand are lost in that."""
    for sheet in STYLE_SHEETS:
        for head, body in rules(sheet.read_text("utf-8")):
            declared = [line.partition(":")[0].strip() for line in body.split(";") if line.strip()]
            for line in body.split(";"):
                name, _, value = (part.strip() for part in line.partition(":"))
                if "var(" in value and name in {"font", "padding", "margin", "border", "inset"}:
                    parts = {other for other in declared if other.startswith(f"{name}-")}
                    parts -= {"border-radius", "border-collapse", "border-spacing"}
                    parts |= {"line-height"} & set(declared) if name == "font" else set()
                    assert not parts, f"{sheet.name}, {head}: {name} beside {sorted(parts)}"


def test_important_gives_its_reason() -> None:
    for sheet in STYLE_SHEETS:
        for line in sheet.read_text("utf-8").splitlines():
            assert "!important" not in line or re.search(r"; /\* .+ \*/$", line), line
