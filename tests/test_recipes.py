"""The recipes of CONTRIBUTING.md name files and tables that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECIPES = (
    (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Recipes")[2].partition("\n## ")[0]
)


def test_every_recipe_says_how_many_files_it_takes() -> None:
    titles = re.findall(r"^### (.+)$", RECIPES, re.MULTILINE)
    assert len(titles) == 6
    for title in titles:
        count = re.fullmatch(r"A.+ \((\d) files\)", title)
        assert count and int(count[1]) <= 4, title


def test_every_path_is_there() -> None:
    paths = set(re.findall(r"`([\w.]+(?:/[\w.]+)+/?)`", RECIPES))
    assert len(paths) > 15
    missing = {path for path in paths if not (ROOT / path).exists()}
    assert not missing


def test_every_table_is_in_the_file_that_is_named_with_it() -> None:
    named = re.findall(r"`(\w+)` (?:in|of)\s+`([\w/.]+\.py)`", RECIPES)
    assert {name for name, _ in named} == {
        "REWARDS", "LOCAL", "OPENERS", "_AFTER", "EVENTS", "FlagContent", "FlagRow",
    }  # fmt: skip
    for name, path in named:
        text = (ROOT / path).read_text("utf-8")
        assert re.search(rf"^(class )?{name}\b", text, re.MULTILINE), (name, path)
