"""Locate the folder that holds the local datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rarl.errors import DataError
from rarl.settings import read_settings

CHECKOUT = Path(__file__).resolve().parents[2]
SPLIT_FILES = Path(__file__).with_name("splits")


def data_root() -> Path | None:
    """The folder of local datasets: `RARL_DATA`, else `../shared/data` beside the checkout.

    Returns:
        The folder, or None where neither exists; sets then come from the Hub.

    Raises:
        DataError: `RARL_DATA` names something that is not a folder.
    """
    path = read_settings().data
    if path is not None:
        if not path.is_dir():
            raise DataError(f"RARL_DATA names {path}, which is not a folder; correct or unset it.")
        return path
    default = CHECKOUT.parent / "shared" / "data"
    return default if default.is_dir() else None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSON Lines file.

    Raises:
        DataError: the file is missing, or a line is not JSON (with its number).
    """
    if not path.is_file():
        raise DataError(f"{path.parent.name} has no {path.name}; fetch the set again.")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path.parent.name}/{path.name}, line {number}: not JSON ({error.msg})."
            ) from error
    return rows


def read_split_file(source: str) -> dict[str, list[str]]:
    """The committed image lists of a source: split -> images (see `scripts/make_splits`)."""
    path = SPLIT_FILES / f"{source}.json"
    splits: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))["images"]
    return splits


def has_split_file(source: str) -> bool:
    """Whether a source has committed image lists."""
    return (SPLIT_FILES / f"{source}.json").is_file()


def read_half_b(source: str) -> frozenset[str]:
    """The training images of a source's half B (see `scripts/make_splits`); empty without halves.

    Args:
        source: a set's name; one without a split file has no halves.
    """
    if not has_split_file(source):
        return frozenset()
    path = SPLIT_FILES / f"{source}.json"
    return frozenset(json.loads(path.read_text(encoding="utf-8")).get("half_b", ()))
