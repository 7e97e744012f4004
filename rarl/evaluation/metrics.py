"""What is counted over which rows: figures for every arm, differences between arms.

Closed and open questions are never mixed without also being told apart, and every figure holds
its n. Shares run from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import pandas as pd

from rarl.data.example import Split
from rarl.evaluation.rows import Condition, Row
from rarl.evaluation.statistics import clustered_mean, mcnemar, paired_difference
from rarl.response import Mode
from rarl.rewards.text import normalise

HELD_OUT: tuple[Split, ...] = ("test", "image-disjoint", "unseen")
# Question types of sets that ask every image the same things; each is a task of its own.
TASKS = ("label", "presence", "count", "view")
BASICS = ("modality", "organ")
BASICS_GROUP = "modality and organ"
ALL_GROUP = "all questions"
METRICS = ("exact", "f1", "well_formed")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        group: which rows, e.g. "vqa_rad test closed".
        arm: who answered.
        mode: inference mode.
        condition: "scan" or "blank".
        metric: "exact", "f1" or "well_formed".
        value: mean over the rows, 0 to 1.
        low: lower end of its 95 % interval, or None with fewer than two images.
        high: upper end, or None likewise.
        n: rows.
        images: images among them.
        seed: of the run and of the interval.
        model_revision: hash of the base's weights.
        revision: hash of the arm's weights.
    """

    group: str
    arm: str
    mode: Mode
    condition: Condition
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    images: int
    seed: int
    model_revision: str
    revision: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Exact match of one condition minus another over the same rows.

    Attributes:
        group: which rows.
        mode: inference mode.
        first: the arm and condition subtracted from, e.g. "rarl scan".
        second: the arm and condition subtracted.
        value: mean difference, -1 to 1.
        low: lower end of its paired 95 % interval, or None with fewer than two images.
        high: upper end, or None likewise.
        n: rows.
        images: images among them.
        only_first: rows that only the first has right.
        only_second: rows that only the second has right.
        p: exact McNemar p-value, rows taken as independent.
        changed: share of rows whose normalised answers differ, right or wrong.
        seed: of the run and of the interval.
        model_revision: hash of the base's weights.
        revisions: hashes of the weights of the first's and the second's arm.
    """

    group: str
    mode: Mode
    first: str
    second: str
    value: float
    low: float | None
    high: float | None
    n: int
    images: int
    only_first: int
    only_second: int
    p: float
    changed: float
    seed: int
    model_revision: str
    revisions: tuple[str, str]


def to_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows as a table, with `well_formed` and the answer's normal form `normal` added."""
    frame = pd.DataFrame([asdict(row) for row in rows])
    frame["well_formed"] = [not row.problems for row in rows]
    frame["normal"] = [normalise(row.answer) for row in rows]
    return frame


def groups(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """The groups that are reported, each as a mask over the table's rows.

    A set that asks every image the same questions is reported by task (`TASKS`); any other as
    closed, open and overall, and again without the test rows that a training row rewords.
    Questions for modality and organ (`BASICS`) are one group over all held-out rows. The last
    group is everything.
    """
    found: dict[str, pd.Series] = {}
    for (source, split), part in frame.groupby(["source", "split"], sort=False):
        here = (frame["source"] == source) & (frame["split"] == split)
        tasks = [task for task in TASKS if (part["category"] == task).any()]
        if tasks:
            found |= {
                f"{source} {split} {task}": here & (frame["category"] == task) for task in tasks
            }
        elif not part["category"].isin(BASICS).all():
            for kind in ("closed", "open"):
                found[f"{source} {split} {kind}"] = here & (frame["kind"] == kind)
            found[f"{source} {split} overall"] = here
            if part["reworded"].any():
                for kind in ("closed", "open"):
                    new = here & (frame["kind"] == kind) & ~frame["reworded"]
                    found[f"{source} {split} {kind}, not reworded in training"] = new
    found[BASICS_GROUP] = frame["category"].isin(BASICS) & frame["split"].isin(HELD_OUT)
    found[ALL_GROUP] = pd.Series(True, index=frame.index)
    return {name: mask for name, mask in found.items() if mask.any()}


def figures(rows: Sequence[Row]) -> list[Figure]:
    """Every metric of every group, arm, mode and condition.

    Exact match and token F1 are left out of the group of all questions, which mixes tasks; the
    rate of well-formed answers is given for that group alone. Blank pictures are reported for a
    group only where all its rows were asked about one, so that both rates are over the same rows.
    """
    frame = to_frame(rows)
    found = []
    for group, mask in groups(frame).items():
        metrics = ("well_formed",) if group == ALL_GROUP else ("exact", "f1")
        for (mode, condition, arm), part in frame[mask].groupby(
            ["mode", "condition", "arm"], sort=False
        ):
            if condition == "blank" and not _all_blank(frame[mask & (frame["mode"] == mode)]):
                continue
            for metric in metrics:
                one = part.iloc[0]
                interval = clustered_mean(
                    part[metric].astype(float).tolist(), part["image"].tolist(), seed=one["seed"]
                )
                found.append(
                    Figure(
                        group=group,
                        arm=arm,
                        mode=mode,
                        condition=condition,
                        metric=metric,
                        value=interval.value,
                        low=interval.low,
                        high=interval.high,
                        n=interval.n,
                        images=interval.clusters,
                        seed=int(one["seed"]),
                        model_revision=one["model_revision"],
                        revision=one["revision"],
                    )
                )
    return found


def differences(rows: Sequence[Row]) -> list[Difference]:
    """Exact match: each later arm minus each earlier one, and each arm's scan minus blank.

    For the group of all questions the arms are compared too: there `changed` tells how often
    two arms say different things at all.
    """
    frame = to_frame(rows)
    found = []
    for group, mask in groups(frame).items():
        for mode, part in frame[mask].groupby("mode", sort=False):
            of = {
                (arm, condition): answers.set_index("id").sort_index()
                for (arm, condition), answers in part.groupby(["arm", "condition"], sort=False)
            }
            arms = list(dict.fromkeys(arm for arm, _ in of))
            pairs = [
                ((later, "scan"), (earlier, "scan")) for earlier, later in combinations(arms, 2)
            ]
            if group != ALL_GROUP and _all_blank(part):
                pairs += [((arm, "scan"), (arm, "blank")) for arm in arms]
            found += [
                _difference(group, mode, first, second, of[first], of[second])
                for first, second in pairs
            ]
    return found


def _all_blank(part: pd.DataFrame) -> bool:
    """Whether every row of a group in one mode was asked about a blank picture too."""
    blank = part["condition"] == "blank"
    return bool(blank.sum() * 2 == len(part))


def _difference(
    group: str,
    mode: Mode,
    first: tuple[str, str],
    second: tuple[str, str],
    one: pd.DataFrame,
    other: pd.DataFrame,
) -> Difference:
    right, other_right = one["exact"].tolist(), other["exact"].tolist()
    seed = int(one["seed"].iloc[0])
    interval = paired_difference(right, other_right, one["image"].tolist(), seed=seed)
    test = mcnemar(right, other_right)
    return Difference(
        group=group,
        mode=mode,
        first=" ".join(first),
        second=" ".join(second),
        value=interval.value,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        images=interval.clusters,
        only_first=test.only_first,
        only_second=test.only_second,
        p=test.p,
        changed=float((one["normal"] != other["normal"]).mean()),
        seed=seed,
        model_revision=one["model_revision"].iloc[0],
        revisions=(one["revision"].iloc[0], other["revision"].iloc[0]),
    )
