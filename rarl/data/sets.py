"""Load datasets by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from rarl.data.example import Example, Split
from rarl.data.hub import HUB, HubSet, load_hub, read_hub_set
from rarl.data.imaging import (
    chest_pneumonia,
    dsbowl_nuclei,
    hc18_fetal_head,
    head_ct_hemorrhage,
    knee_oa,
    mednist,
    pbc_blood_cells,
)
from rarl.data.labelled import (
    bccd_blood,
    brain_tumor_mri,
    brain_tumor_mri_more,
    busi_breast_us,
    covid_chestxray,
)
from rarl.data.published import slake_text, vqa_med_2019_mini
from rarl.data.root import data_root
from rarl.data.vqa_rad import vqa_rad, vqa_rad_basics
from rarl.errors import DataError

LOCAL: Mapping[str, Callable[[Path], list[Example]]] = {
    "vqa_rad": vqa_rad,
    "vqa_rad_basics": vqa_rad_basics,
    "brain_tumor_mri": brain_tumor_mri,
    "busi_breast_us": busi_breast_us,
    "bccd_blood": bccd_blood,
    "brain_tumor_mri_more": brain_tumor_mri_more,
    "chest_pneumonia": chest_pneumonia,
    "knee_oa": knee_oa,
    "pbc_blood_cells": pbc_blood_cells,
    "head_ct_hemorrhage": head_ct_hemorrhage,
    "hc18_fetal_head": hc18_fetal_head,
    "dsbowl_nuclei": dsbowl_nuclei,
    "covid_chestxray": covid_chestxray,
    "mednist": mednist,
    "vqa_med_2019_mini": vqa_med_2019_mini,
    "slake": slake_text,
}
# Where the folder of a local copy is not named like its set.
_FOLDERS = {"vqa_rad_basics": "vqa_rad", "slake": "slake_qa_text_only"}
_HUB_FOLDERS = {"slake_zh": "slake"}
REVIEW = "review"  # no set of its own name: its rows are this site's
# The package of the review store is above this one, so its module is imported by name, on demand.
_REVIEW_ROWS = "rarl.review.training_rows"
NAMES: Sequence[str] = tuple(dict.fromkeys((*LOCAL, *HUB)))


def place(name: str) -> Path | HubSet:
    """Locate a set: a local copy comes before the Hub.

    Args:
        name: one of `NAMES`, "review" (readers' corrections, see `rarl.review.training_rows`), or
            a YAML file that describes a set (see `rarl.data.hub`).

    Returns:
        The folder of local datasets, or the set in its Hub form. A folder of `RARL_DATA` that is
        named like a Hub set, and has no local form of its own, holds the Hub form.

    Raises:
        DataError: there is no such set, or it is not at hand.
    """
    if name.endswith((".yaml", ".yml")):
        return read_hub_set(Path(name))
    if name == REVIEW:
        return Path(REVIEW)
    if name not in NAMES:
        raise DataError(
            f"There is no data set {name!r}; choose from {', '.join(NAMES)}, {REVIEW} (what readers"
            " corrected), or describe yours in a YAML file (see rarl/data/hub.py) and name that"
            " file."
        )
    root = data_root()
    folder = _FOLDERS.get(name, name)
    if root is not None:
        copy = root / _HUB_FOLDERS.get(name, name)
        if name in HUB and (name not in LOCAL or folder != name) and copy.is_dir():
            return replace(HUB[name], repository=str(copy))
        if name in LOCAL and (root / folder).is_dir():
            return root
    if name in HUB:
        return HUB[name]
    raise DataError(
        f"{name} is not at hand: set RARL_DATA to the folder that holds {folder}; the Hub has no"
        " form of it that is known here."
    )


def at_hand() -> list[str]:
    """The named sets that need no network."""
    if data_root() is None:
        return []
    names = []
    for name in NAMES:
        try:
            where = place(name)
        except DataError:
            continue
        if isinstance(where, Path) or where.folder is not None:
            names.append(name)
    return names


def held_out_rows() -> list[Example]:
    """Every row with an image that must train nothing, of all sets that need no network.

    Raises:
        DataError: a set is malformed.
    """
    return [
        row
        for name in at_hand()
        for row in load_set(name)
        if row.split != "train" and row.image is not None
    ]


def load_set(name: str) -> list[Example]:
    """All rows of one set.

    Raises:
        DataError: there is no such set, it is not at hand, or it is malformed.
    """
    if name == REVIEW:
        rows: list[Example] = import_module(_REVIEW_ROWS).load_review(held_out_rows())
        if not rows:
            raise DataError(
                "The review store holds no settled correction yet; have flags judged by two "
                "readers, or adjudicated, with a corrected answer."
            )
        return rows
    where = place(name)
    rows = load_hub(where) if isinstance(where, HubSet) else LOCAL[name](where)
    if not rows:
        raise DataError(f"{name} holds no row; fetch it again.")
    return rows


def load_examples(names: Sequence[str], splits: Sequence[Split]) -> list[Example]:
    """The rows of several sets that belong to the given splits, in order.

    Args:
        names: the sets; "NAME:A" and "NAME:B" take of the training rows those of one half.
        splits: which rows to take.

    Raises:
        DataError: a set is unknown or not at hand, has no such half, or nothing belongs to these
            splits.
    """
    wanted = set(splits)
    rows = []
    for name in names:
        bare, half = name, None
        if name.endswith((":A", ":B")):
            bare, _, half = name.rpartition(":")
        set_rows = [row for row in load_set(bare) if row.split in wanted]
        if half is not None:
            set_rows = [row for row in set_rows if row.split != "train" or row.half == half]
            if "train" in wanted and not any(row.split == "train" for row in set_rows):
                raise DataError(f"{bare} has no half {half}; name the whole set.")
        rows += set_rows
    if not rows:
        raise DataError(f"{', '.join(names)} hold no row of split {', '.join(splits)}.")
    return rows
