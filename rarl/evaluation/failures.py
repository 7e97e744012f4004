"""Where a variant is wrong more often than elsewhere, and where reasoning and answer part.

The rows of a group are cut by what is known of question, picture and reasoning. Each part is held
against the rest of its group; p-values are corrected over all parts that one variant is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rarl.evaluation.metrics import ALL_GROUP, Labels, groups
from rarl.response import Mode
from rarl.stats.bootstrap import clustered_means, holm
from rarl.stats.strata import clustered_excess
from rarl.text.choice import LETTERS

FIELDS = {
    "modality": "Modality",
    "organ": "Organ",
    "kind": "Kind of question",
    "category": "Question type",
    "size": "Size of the picture",
    "contrast": "Contrast of the picture",
    "length": "Length of the reasoning",
    "option": "Place of the right option",
}
# Smaller parts tell nothing.
_FEWEST_ROWS, _FEWEST_IMAGES = 10, 5
# Short side in pixels; deviation of grey levels, of 255; words of reasoning.
_SIDES = (0, 256, 512, 1024)
_CONTRASTS = (0, 30, 60)
_WORDS = (1, 21, 61)


@dataclass(frozen=True, slots=True)
class Cluster:
    """One part of a group's rows, and how often it is answered wrong.

    Attributes:
        group: which rows.
        arm: who answered.
        mode: inference mode.
        field: of `FIELDS`.
        stratum: the part, such as "ct" or "under 256 pixels".
        n: rows of the part.
        images: images among them.
        wrong: share of them that is answered wrong.
        low: lower end of its 95 % interval, whole images resampled; None with fewer than two.
        high: upper end, or None likewise.
        rest: share wrong among the other rows of the group.
        excess: wrong minus rest.
        excess_low: lower end of its cluster-robust 95 % interval, or None likewise.
        excess_high: upper end, or None likewise.
        p: of the hypothesis that part and rest are wrong equally often.
        p_holm: the same, corrected after Holm over all parts of this variant and mode.
    """

    group: str
    arm: str
    mode: Mode
    field: str
    stratum: str
    n: int
    images: int
    wrong: float
    low: float | None
    high: float | None
    rest: float
    excess: float
    excess_low: float | None
    excess_high: float | None
    p: float
    p_holm: float


@dataclass(frozen=True, slots=True)
class Crossing:
    """How often reasoning and answer part, over the rows whose reasoning could be checked.

    Reasoning counts as right where it states all that the reference says and contradicts no
    annotated fact, as wrong where it contradicts one. To name the kind of image is not enough where
    the reference says more.

    Attributes:
        group: which rows.
        arm: who answered.
        mode: inference mode.
        n: rows with checked reasoning.
        unlucky: share with right reasoning and a wrong answer.
        unlucky_low: lower end of its 95 % interval, or None with fewer than two images.
        unlucky_high: upper end, or None likewise.
        lucky: share with wrong reasoning and a right answer.
        lucky_low: lower end of its 95 % interval, or None likewise.
        lucky_high: upper end, or None likewise.
    """

    group: str
    arm: str
    mode: Mode
    n: int
    unlucky: float
    unlucky_low: float | None
    unlucky_high: float | None
    lucky: float
    lucky_low: float | None
    lucky_high: float | None


def strata_of(frame: pd.DataFrame, field: str) -> pd.Series:
    """The part that each row belongs to, None where it is not known.

    Args:
        frame: rows as a table; a column that an older run lacks is not known of any row.
        field: of `FIELDS`.
    """
    column = {
        "size": "picture_side",
        "contrast": "picture_contrast",
        "length": "reasoning_words",
        "option": "position",
    }.get(field, field)
    if column == "reasoning_words" and "reasoning" in frame:
        values = frame["reasoning"].fillna("").map(lambda text: len(str(text).split()))
    elif column in frame:
        values = frame[column]
    else:
        return pd.Series(None, index=frame.index, dtype=object)
    if field == "size":
        return _cut(values, _SIDES, "pixels")
    if field == "contrast":
        return _cut(values, _CONTRASTS, "grey levels")
    if field == "length":
        return _cut(values, _WORDS, "words").where(values > 0, "no reasoning")
    if field == "option":
        named = [None if pd.isna(place) else LETTERS[int(place)] for place in values]
        return pd.Series(named, index=frame.index, dtype=object)
    return values.astype(object).where(values.notna(), None)


def clusters(frame: pd.DataFrame, labels: Labels | None = None) -> list[Cluster]:
    """Every part of every group with enough rows, the most excessive first within a group."""
    frame = _answers(frame)
    failures: list[Cluster] = []
    strata = {field: strata_of(frame, field) for field in FIELDS}
    for group, mask in groups(frame, labels).items():
        if group == ALL_GROUP:
            continue
        for (mode, arm), part in frame[mask].groupby(["mode", "arm"], sort=False):
            wrong = 1.0 - part["exact"].to_numpy(float)
            images = part["image"].tolist()
            parts = _parts(part, strata)
            if not parts:
                continue
            # One set of resamples for all parts.
            columns = [np.where(inside, wrong, np.nan) for inside in parts.values()]
            shares = clustered_means(
                np.column_stack(columns), images, seed=int(part["seed"].iloc[0])
            )
            for (field, value), share in zip(parts, shares, strict=True):
                inside = parts[field, value]
                excess = clustered_excess(wrong.tolist(), inside.tolist(), images)
                failures.append(
                    Cluster(
                        group=group,
                        arm=str(arm),
                        mode=mode,
                        field=field,
                        stratum=value,
                        n=share.n,
                        images=share.clusters,
                        wrong=share.value,
                        low=share.low,
                        high=share.high,
                        rest=float(wrong[~inside].mean()),
                        excess=excess.value,
                        excess_low=excess.low,
                        excess_high=excess.high,
                        p=excess.p,
                        p_holm=excess.p,
                    )
                )
    failures = _corrected(failures)
    order = {
        name: place
        for place, name in enumerate(dict.fromkeys(cluster.group for cluster in failures))
    }
    return sorted(
        failures,
        key=lambda cluster: (order[cluster.group], cluster.mode, cluster.arm, -cluster.excess),
    )


def reasoned_right(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Of each row, whether its reasoning counts as right, see `Crossing`.

    A table of an older version does not tell: then none does.
    """
    if "claims" not in frame:
        return np.zeros(len(frame), bool)
    claims, covered, against = (
        frame[name].fillna(0).to_numpy(int)
        for name in ("claims", "claims_covered", "facts_contradicted")
    )
    right: NDArray[np.bool_] = (claims > 0) & (covered == claims) & (against == 0)
    return right


def crossings(frame: pd.DataFrame, labels: Labels | None = None) -> list[Crossing]:
    """How often reasoning and answer part, by group, variant and mode."""
    frame = _answers(frame)
    results: list[Crossing] = []
    if "claims" not in frame:
        return results
    frame = frame[frame["claims"].fillna(0).astype(int) > 0]
    if frame.empty:
        return results
    for group, mask in groups(frame, labels).items():
        if group == ALL_GROUP:
            continue
        for (mode, arm), part in frame[mask].groupby(["mode", "arm"], sort=False):
            right = part["exact"].to_numpy(bool)
            against = part["facts_contradicted"].to_numpy(int) > 0
            unlucky, lucky = clustered_means(
                np.column_stack([~right & reasoned_right(part), right & against]).astype(float),
                part["image"].tolist(),
                seed=int(part["seed"].iloc[0]),
            )
            results.append(
                Crossing(
                    group=group,
                    arm=str(arm),
                    mode=mode,
                    n=unlucky.n,
                    unlucky=unlucky.value,
                    unlucky_low=unlucky.low,
                    unlucky_high=unlucky.high,
                    lucky=lucky.value,
                    lucky_low=lucky.low,
                    lucky_high=lucky.high,
                )
            )
    return results


def _answers(frame: pd.DataFrame) -> pd.DataFrame:
    """Greedy answers about the scan that are right or wrong."""
    return frame[
        (frame["condition"] == "scan") & (frame["draw"] == 0) & (frame["kind"] != "report")
    ]


def _parts(
    part: pd.DataFrame, strata: dict[str, pd.Series]
) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """Parts that are large enough, each as a mask over the rows."""
    parts = {}
    for field, every in strata.items():
        named = every.loc[part.index]
        for value in sorted({part for part in named if part is not None}):
            inside = (named == value).to_numpy(bool)
            enough = min(inside.sum(), (~inside).sum()) >= _FEWEST_ROWS
            if enough and part.loc[inside, "image"].nunique() >= _FEWEST_IMAGES:
                parts[field, str(value)] = inside
    return parts


def _corrected(clusters: list[Cluster]) -> list[Cluster]:
    looks: dict[tuple[str, str], list[int]] = {}
    for index, cluster in enumerate(clusters):
        looks.setdefault((cluster.mode, cluster.arm), []).append(index)
    for places in looks.values():
        for index, p in zip(places, holm([clusters[place].p for place in places]), strict=True):
            clusters[index] = replace(clusters[index], p_holm=p)
    return clusters


def _cut(values: pd.Series, edges: tuple[int, ...], unit: str) -> pd.Series:
    """Numbers as ranges, such as "256 to 511 pixels"; None where a number is missing."""
    names = [f"{low} to {high - 1} {unit}" for low, high in pairwise(edges)]
    if edges[0] == 0:
        names[0] = f"under {edges[1]} {unit}"
    names.append(f"{edges[-1]} or more {unit}")
    numbers = values.astype("Float64").to_numpy(float, na_value=np.nan)
    places = np.searchsorted(edges, numbers, side="right") - 1
    named = [
        None if np.isnan(number) or place < 0 else names[place]
        for number, place in zip(numbers, places, strict=True)
    ]
    return pd.Series(named, index=values.index, dtype=object)
