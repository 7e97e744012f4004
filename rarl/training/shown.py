"""After training: the file that shows the adapter beside others, and the lines that use it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

VARIANTS = "variants.yaml"
_UNUSABLE = re.compile(r"[^A-Za-z0-9_-]+")


def write_variants(out: Path, recipe: str, model: str, others: Mapping[str, Path | str]) -> str:
    """Write the variants file that offers a new adapter beside those that its base has already.

    Args:
        out: the adapter's folder; the file goes there.
        recipe: which recipe made it.
        model: the base: "pocket", a folder or a name on the Hub.
        others: adapter name to folder, of the base.

    Returns:
        The name of the new variant in the file.
    """
    name = _UNUSABLE.sub("-", out.resolve().name).strip("-_")
    if not name[:1].isalpha() or name in {"base", "all"}:
        name = f"{recipe}-{name}".rstrip("-")
    if name in others and Path(others[name]).resolve() != out.resolve():
        name = f"my-{name}"
    arms = {
        other: {"adapter": _beside(out, folder)}
        for other, folder in others.items()
        if Path(folder).resolve() != out.resolve()
    }
    label = name if name == recipe else f"{name} ({recipe.upper()})"
    arms[name] = {"adapter": ".", "label": label}
    content = {"base": _beside(out, model), "arms": arms}
    (out / VARIANTS).write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return name


def next_steps(out: Path, name: str, sets: Sequence[str]) -> str:
    """Where the adapter is, and the commands that evaluate and show it, a line each.

    Args:
        out: the adapter's folder, with its variants file.
        name: of the variant in that file.
        sets: names of the sets that it was trained on.
    """
    folder, file = shlex.quote(str(out)), shlex.quote(str(out / VARIANTS))
    data = " ".join(shlex.quote(each) for each in sets)
    evaluate = f"python -m rarl evaluate --model {file} --data {data} --out {folder}/evaluation"
    return (
        f"The adapter is in {folder}; README.md there is its model card.\n"
        f"Evaluate it:        {evaluate}\n"
        f"Show it in the app: RARL_MODEL={file} RARL_RESULTS={folder} scripts/demo\n"
        f"It is the variant {name!r} of {file}, beside those of its base."
    )


def _beside(out: Path, place: Path | str) -> str:
    """A folder as seen from the file, so that both may be moved together; a name as it is."""
    return os.path.relpath(place, out) if Path(place).is_dir() else str(place)
