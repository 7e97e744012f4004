"""The facts of a model's variants, read from files; loads no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rarl.errors import ModelError
from rarl.evaluation.run_files import ROWS
from rarl.facts.label import Facts, facts_of
from rarl.facts.measured import Measured, held_out_accuracy
from rarl.inference.engine import arm_label
from rarl.models.making import Making, adapter_revision, read_making, variant_folders
from rarl.response import Mode

# The evaluation of the embedded model in a checkout.
SHIPPED = Path(__file__).parents[2] / "assets" / "results"

_COLUMNS = [
    "condition", "draw", "mode", "split", "reworded", "modality", "revision", "category", "source",
    "kind", "exact", "image",
]  # fmt: skip


def read_facts(
    model: str, mode: Mode, evaluations: Sequence[Path], variant: str | None = None
) -> list[Facts]:
    """The labels of the variants of a model whose folders are on this machine.

    Args:
        model: "pocket", a model folder or a variants file.
        mode: inference mode whose accuracy is meant.
        evaluations: folders of runs, or of folders of runs; of each variant the first that
            measured its very weights counts.
        variant: the name of one; None takes all.

    Raises:
        ModelError: the model is not on this machine, or has no such variant.
    """
    folders = variant_folders(model)
    if not folders:
        raise ModelError(
            f"{model} is no model on this machine; give pocket, a model folder or a variants file."
        )
    if variant is not None and variant not in folders:
        raise ModelError(f"There is no variant {variant!r}; choose from {', '.join(folders)}.")
    base = read_making(folders["base"]) if "base" in folders else Making()
    makings = {name: read_making(folder) for name, folder in folders.items()}
    revisions = {name: adapter_revision(folder) for name, folder in folders.items()}
    if "base" in folders and not revisions["base"]:
        revisions["base"] = _base_revision(makings, folders["base"])
    tables = [place for folder in evaluations for place in _runs(folder)]
    return [
        facts_of(
            Path(model).stem or model, name, arm_label(name), revisions[name], makings[name], base,
            mode, _measured(tables, revisions[name], mode),
        )
        for name in ([variant] if variant else folders)
    ]  # fmt: skip


def _base_revision(makings: dict[str, Making], folder: Path) -> str:
    """What an adapter's record says of its base, which spares hashing gigabytes and torch."""
    for making in makings.values():
        if making.record.get("base_revision"):
            return str(making.record["base_revision"])
    from rarl.models.loader import weights_revision

    return weights_revision(folder)


def _runs(folder: Path) -> list[Path]:
    """The tables of rows in a folder and in the folders in it, newest first."""
    places = [folder, *(folder.iterdir() if folder.is_dir() else ())]
    tables = [place / ROWS for place in places if (place / ROWS).is_file()]
    return sorted(tables, key=lambda path: -path.stat().st_mtime_ns)


def _measured(tables: Sequence[Path], revision: str, mode: Mode) -> tuple[Measured, ...]:
    for table in tables:
        try:
            rows = pd.read_parquet(table, columns=_COLUMNS, filters=[("revision", "==", revision)])
        except (OSError, ValueError, KeyError):
            continue  # a run of another version
        if lines := held_out_accuracy(rows, revision, mode):
            return lines
    return ()
