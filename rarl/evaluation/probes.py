"""How answers hold under probes, and when a variant says that the image does not tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rarl.evaluation.image_ablations import PROBES, STRESSED, Condition
from rarl.evaluation.metrics import ALL_GROUP, Labels, groups
from rarl.response import Mode
from rarl.stats.bootstrap import clustered_means
from rarl.stats.calibration import RiskPoint, area_under, risk_coverage, self_consistency
from rarl.text.normalise import normalise

# Under these the reference is another one than about the scan, so that no gap can be taken.
_OWN_REFERENCE = ("absent organ", "absent finding", "none right")


@dataclass(frozen=True, slots=True)
class Probe:
    """One variant's answers under one probe, over the rows that were asked both ways.

    Attributes:
        group: which rows.
        arm: who answered.
        mode: inference mode.
        condition: the probe, or the change of the picture.
        n: rows.
        images: images among them.
        scan: share right about the scan as it is.
        probed: share right under the probe.
        gap: scan minus probed; None where the probe has a right answer of its own.
        low: lower end of its paired 95 % interval, or None likewise or with fewer than two images.
        high: upper end, or None likewise.
        followed: share of answers that give what was suggested, over the rows whose answer about
            the scan did not give it anyway; None where there are none.
        followed_low: lower end of its 95 % interval, or None likewise.
        followed_high: upper end, or None likewise.
        abstained: share of answers under the probe that say that the image does not tell.
    """

    group: str
    arm: str
    mode: Mode
    condition: Condition
    n: int
    images: int
    scan: float
    probed: float
    gap: float | None
    low: float | None
    high: float | None
    followed: float | None
    followed_low: float | None
    followed_high: float | None
    abstained: float


@dataclass(frozen=True, slots=True)
class Abstention:
    """When a variant says that the image does not tell.

    It is right to say so about a blank picture; about the scan it costs a question that might have
    been answered. The risk-coverage curve tells how wrong the answers are that are given, the
    surest first.

    Attributes:
        group: which rows.
        arm: who answered.
        mode: inference mode.
        n: questions.
        abstained: share of the questions about the scan.
        blank: share of the questions about a blank picture, None where none was asked.
        risk: share wrong of the answers that were given, or None where none was.
        points: the curve, by self-consistency where answers were sampled, else one point.
        area: mean risk over all coverages up to the largest (El-Yaniv and Wiener, JMLR 2010).
    """

    group: str
    arm: str
    mode: Mode
    n: int
    abstained: float
    blank: float | None
    risk: float | None
    points: tuple[RiskPoint, ...]
    area: float | None


def probes(frame: pd.DataFrame, labels: Labels | None = None) -> list[Probe]:
    """Every probe that was asked, by group, variant and mode, without the group of all."""
    frame = frame[(frame["draw"] == 0) & (frame["kind"] != "report")]
    results: list[Probe] = []
    for group, mask in groups(frame, labels).items():
        if group == ALL_GROUP:
            continue
        for (mode, arm), part in frame[mask].groupby(["mode", "arm"], sort=False):
            scan = part[part["condition"] == "scan"].set_index("id")
            for condition in (*STRESSED, *PROBES):
                probed = part[part["condition"] == condition].set_index("id").sort_index()
                if len(probed):
                    results.append(_probe(group, str(arm), mode, condition, scan, probed))
    return results


def _probe(
    group: str,
    arm: str,
    mode: Mode,
    condition: Condition,
    scan: pd.DataFrame,
    probed: pd.DataFrame,
) -> Probe:
    scan = scan.loc[probed.index]
    before, after = scan["exact"].to_numpy(float), probed["exact"].to_numpy(float)
    followed = probed["followed"].to_numpy(float, na_value=np.nan)
    own = condition in _OWN_REFERENCE
    if not own:
        lures = [normalise(lure) for lure in probed["lure"]]
        followed = np.where((scan["normal"] == lures).to_numpy(bool), np.nan, followed)
    columns = [before - after]
    if not np.isnan(followed).all():
        columns.append(followed)
    gap, *lured = clustered_means(
        np.column_stack(columns), scan["image"].tolist(), seed=int(scan["seed"].iloc[0])
    )
    return Probe(
        group=group,
        arm=arm,
        mode=mode,
        condition=condition,
        n=gap.n,
        images=gap.clusters,
        scan=float(before.mean()),
        probed=float(after.mean()),
        gap=None if own else gap.value,
        low=None if own else gap.low,
        high=None if own else gap.high,
        followed=lured[0].value if lured else None,
        followed_low=lured[0].low if lured else None,
        followed_high=lured[0].high if lured else None,
        abstained=float(probed["abstained"].mean()),
    )


def abstention(frame: pd.DataFrame, labels: Labels | None = None) -> list[Abstention]:
    """Abstention by group, variant and mode, where any answer of the run abstains."""
    frame = frame[frame["kind"] != "report"]
    results: list[Abstention] = []
    if not frame["abstained"].any():
        return results
    for group, mask in groups(frame, labels).items():
        if group == ALL_GROUP:
            continue
        for (mode, arm), part in frame[mask].groupby(["mode", "arm"], sort=False):
            scan = part[(part["condition"] == "scan") & (part["draw"] == 0)].set_index("id")
            blank = part[(part["condition"] == "blank") & (part["draw"] == 0)]
            sampled = part[(part["condition"] == "scan") & (part["draw"] > 0)]
            drawn = sampled.groupby("id")["normal"].agg(list)
            confident = [
                self_consistency(answer, drawn[name]) if name in drawn.index else 1.0
                for name, answer in scan["normal"].items()
            ]
            given = ~scan["abstained"].to_numpy(bool)
            right = scan["exact"].to_numpy(bool)
            points = risk_coverage(confident, right.tolist(), given.tolist())
            results.append(
                Abstention(
                    group=group,
                    arm=str(arm),
                    mode=mode,
                    n=len(scan),
                    abstained=float((~given).mean()),
                    blank=float(blank["abstained"].mean()) if len(blank) else None,
                    risk=float((~right[given]).mean()) if given.any() else None,
                    points=tuple(points),
                    area=area_under(points),
                )
            )
    return results
