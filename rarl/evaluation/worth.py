"""What it is worth that variants give the same answer: how often that answer is right."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rarl.data.example import Kind
from rarl.evaluation.metrics import BASICS, HELD_OUT, TASKS
from rarl.response import Mode
from rarl.stats.bootstrap import Interval, clustered_mean
from rarl.text.normalise import normalise

# Fewer agreements tell nothing.
_FEWEST = 20
_RESAMPLES = 2000


def worth_of_agreement(
    rows: pd.DataFrame, revisions: Mapping[str, str], kind: Kind, mode: Mode
) -> Interval | None:
    """How often an answer that all of some variants give is right, on held-out questions.

    Questions that a set asks of every image alike (its modality, its label) are left out: they are
    easier than what people ask, and many more.

    Args:
        rows: of a run, see `rarl.evaluation.rows.Row`; greedy answers about scans are taken.
        revisions: variant to the revision of its weights, at least two.
        kind: of the questions.
        mode: inference mode.

    Returns:
        The share that is right with its interval, whole images resampled; None where these very
        weights were not measured, or hardly ever agree.
    """
    if len(revisions) < 2:
        return None
    taken = rows[
        (rows["condition"] == "scan")
        & (rows["draw"] == 0)
        & (rows["mode"] == mode)
        & (rows["kind"] == kind)
        & rows["split"].isin(HELD_OUT)
        & ~rows["reworded"]
        & ~rows["category"].isin((*TASKS, *BASICS))
        & (rows["revision"] == rows["arm"].map(dict(revisions)))
    ]
    normalised = taken.assign(said=[normalise(answer) for answer in taken["answer"]])
    by_question = normalised.groupby("id").agg(
        arms=("arm", "nunique"),
        different=("said", "nunique"),
        said=("said", "first"),
        right=("exact", "first"),
        image=("image", "first"),
    )
    agreed = by_question[
        (by_question["arms"] == len(revisions))
        & (by_question["different"] == 1)
        & (by_question["said"] != "")
    ]
    if len(agreed) < _FEWEST:
        return None
    return clustered_mean(
        agreed["right"].astype(float).tolist(),
        agreed["image"].tolist(),
        seed=0,
        resamples=_RESAMPLES,
    )
