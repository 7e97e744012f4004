"""The sets by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rarl.data.example import Example, Split
from rarl.data.labelled import bccd_blood, brain_tumor_mri, busi_breast_us, covid_chestxray
from rarl.data.root import data_root
from rarl.data.vqa_rad import vqa_rad, vqa_rad_basics
from rarl.errors import DataError

LOCAL: dict[str, Callable[[Path], list[Example]]] = {
    "vqa_rad": vqa_rad,
    "vqa_rad_basics": vqa_rad_basics,
    "brain_tumor_mri": brain_tumor_mri,
    "busi_breast_us": busi_breast_us,
    "bccd_blood": bccd_blood,
    "covid_chestxray": covid_chestxray,
}


def load_set(name: str) -> list[Example]:
    """All rows of one set.

    Raises:
        DataError: there is no such set, or it is not at hand.
    """
    if name not in LOCAL:
        raise DataError(f"There is no data set {name!r}; choose from {', '.join(LOCAL)}.")
    root = data_root()
    if root is None:
        raise DataError(f"{name} is not at hand: set RARL_DATA to the folder that holds it.")
    return LOCAL[name](root)


def load_examples(names: Sequence[str], splits: Sequence[Split]) -> list[Example]:
    """The rows of several sets that belong to the given splits, in order.

    Raises:
        DataError: a set is unknown or not at hand, or nothing belongs to these splits.
    """
    wanted = set(splits)
    rows = [row for name in names for row in load_set(name) if row.split in wanted]
    if not rows:
        raise DataError(f"{', '.join(names)} hold no row of split {', '.join(splits)}.")
    return rows
