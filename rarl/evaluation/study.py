"""Test the paper's claims on a grid of variants, seeds and inference modes.

An arm of the grid is named KIND-SEED ("rarl-0"); what is said of a kind is the mean over its seeds,
question by question, so that the interval over images stands for the kind. How far the seeds lie
apart is told beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any

import numpy as np
import pandas as pd

from rarl.evaluation.image_ablations import PERTURBED
from rarl.evaluation.tables import percent
from rarl.response import Mode
from rarl.stats.bootstrap import clustered_means

# (source, split) to what its questions stand for.
DOMAINS = {
    ("brain_tumor_mri", "test"): "held-out images",
    ("busi_breast_us", "test"): "held-out images",
    ("bccd_blood", "test"): "held-out images",
    ("vqa_rad", "test"): "images seen",
    ("vqa_rad", "image-disjoint"): "image-disjoint",
    ("covid_chestxray", "unseen"): "unseen sources",
    ("vqa_med_2019_mini", "unseen"): "unseen sources",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of the paper, as a difference between two kinds of arm.

    Attributes:
        name: in a few words.
        first, second: kind and inference mode; the claim says that the first is better.
        domain: of `DOMAINS`, whose questions tell.
        metric: "exact", or "covered", the share of annotated facts that the reasoning states.
        paper: the paper's difference in points, or None where it gives no number.
    """

    name: str
    first: tuple[str, Mode]
    second: tuple[str, Mode]
    domain: str
    metric: str = "exact"
    paper: float | None = None


CLAIMS = (
    Claim("RARL's reasoning states more than SFT's", ("rarl", "reason"), ("sft", "reason"),
          "held-out images", "covered", 7.78),
    Claim("RARL answers better than SFT", ("rarl", "reason"), ("sft", "reason"), "image-disjoint"),
    Claim("RARL answers better than SFT on unseen sources", ("rarl", "reason"), ("sft", "reason"),
          "unseen sources", paper=27),
    Claim("RARL answers better than RL on unseen sources", ("rarl", "reason"), ("rl", "reason"),
          "unseen sources", paper=4),
    Claim("Diversity prompting is crucial", ("rarl", "reason"), ("rarl-plain", "reason"),
          "unseen sources"),
    Claim("The contradiction term helps", ("rarl", "reason"), ("rarl-uncontradicted", "reason"),
          "held-out images"),
    Claim("SFT on explanations beats SFT on short answers", ("sft", "reason"),
          ("sft-short", "answer"), "image-disjoint"),
    Claim("Reasoning prompting is crucial", ("rarl", "reason"), ("rarl", "answer"),
          "unseen sources"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """The measured result of a claim.

    Attributes:
        claim: the claim.
        value: first minus second, -1 to 1.
        low: lower end of the paired 95 % interval, whole images resampled; None with one image.
        high: upper end, or None likewise.
        n: questions.
        images: images among them.
        by_seed: the same difference for each seed that both kinds have.
    """

    claim: Claim
    value: float
    low: float | None
    high: float | None
    n: int
    images: int
    by_seed: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """One sentence that follows from the interval alone."""
        if self.low is None or self.high is None:
            return "Too few images to tell."
        if self.low > 0:
            verdict = "Confirmed here: the interval lies above zero"
        elif self.high < 0:
            verdict = "Contradicted here: the interval lies below zero"
        else:
            verdict = "Not decided here: the interval includes zero"
        paper = self.claim.paper
        if paper is None:
            return f"{verdict}."
        inside = self.low <= paper / 100 <= self.high
        return f"{verdict}; the paper's {paper:+g} points lie {'in' if inside else 'out'}side it."


def kind_of(arm: str) -> str:
    """The kind of an arm of the grid.

    >>> kind_of("rarl-plain-0"), kind_of("base")
    ('rarl-plain', 'base')
    """
    kind, _, seed = arm.rpartition("-")
    return kind if seed.isdigit() else arm


def find(frame: pd.DataFrame, claims: Sequence[Claim] = CLAIMS, *, seed: int = 0) -> list[Finding]:
    """Hold claims against the rows; those whose arms or questions were not asked are left out.

    Args:
        frame: as `rarl.evaluation.metrics.measured_frame` gives it.
        claims: what to look at.
        seed: of the intervals.
    """
    asked = frame[(frame["draw"] == 0) & (frame["condition"] == "scan")]
    domain = pd.Series(
        [DOMAINS.get(pair) for pair in zip(asked["source"], asked["split"], strict=True)],
        index=asked.index,
    )
    findings = []
    for claim in claims:
        part = asked[domain == claim.domain]
        first, second = (_of_kind(part, side, claim.metric) for side in (claim.first, claim.second))
        seeds = [name for name in first if name in second]
        if not seeds:
            continue
        gaps = {name: (first[name] - second[name]).dropna() for name in seeds}
        gap = (first.mean(axis=1) - second.mean(axis=1)).dropna()
        if gap.empty:
            continue
        images = part.drop_duplicates("id").set_index("id")["image"].loc[gap.index]
        (interval,) = clustered_means(gap.to_numpy()[:, None], images.tolist(), seed=seed)
        findings.append(
            Finding(
                claim,
                interval.value,
                interval.low,
                interval.high,
                interval.n,
                interval.clusters,
                tuple(float(gap.mean()) for gap in gaps.values()),
            )
        )
    return findings


def scores(frame: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Exact match of every kind and mode in every domain, in per cent with 95 % intervals."""
    asked = frame[(frame["draw"] == 0) & (frame["condition"] == "scan")]
    kinds = list(dict.fromkeys(kind_of(arm) for arm in asked["arm"]))
    rows = []
    for domain in dict.fromkeys(DOMAINS.values()):
        pairs = {pair for pair, name in DOMAINS.items() if name == domain}
        inside = [pair in pairs for pair in zip(asked["source"], asked["split"], strict=True)]
        for mode, part in asked[inside].groupby("mode", sort=False):
            row: dict[str, Any] = {"questions": domain, "mode": mode, "n": part["id"].nunique()}
            images = part.drop_duplicates("id").set_index("id")["image"]
            for kind in kinds:
                of_kind = _of_kind(part, (kind, mode), "exact").mean(axis=1).dropna()
                if of_kind.empty:
                    row[kind] = ""
                    continue
                (estimate,) = clustered_means(
                    of_kind.to_numpy()[:, None], images.loc[of_kind.index].tolist(), seed=seed
                )
                row[kind] = percent(estimate.value, estimate.low, estimate.high)
            rows.append(row)
    return pd.DataFrame(rows)


def stress(frame: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Loss of accuracy on perturbed pictures, by kind, in `reason` mode.

    Returns:
        For each domain and perturbation the exact match on the perturbed picture minus that on the
        scan, in points with paired 95 % intervals, a column for each kind; empty where nothing was
        perturbed.
    """
    asked = frame[(frame["draw"] == 0) & (frame["mode"] == "reason")]
    # Not every seed need be asked about perturbed pictures.
    asked = asked[asked["arm"].isin(set(asked.loc[asked["condition"].isin(PERTURBED), "arm"]))]
    kinds = list(dict.fromkeys(kind_of(arm) for arm in asked["arm"]))
    domain = pd.Series(
        [DOMAINS.get(pair) for pair in zip(asked["source"], asked["split"], strict=True)],
        index=asked.index,
    )
    rows = []
    for name, part in asked.groupby(domain, sort=False):
        scan = part[part["condition"] == "scan"]
        images = scan.drop_duplicates("id").set_index("id")["image"]
        for condition in PERTURBED:
            changed = part[part["condition"] == condition]
            if changed.empty:
                continue
            row: dict[str, Any] = {
                "questions": name, "picture": condition, "n": changed["id"].nunique(),
            }  # fmt: skip
            for kind in kinds:
                after, before = (
                    _of_kind(rows_of, (kind, "reason"), "exact").mean(axis=1)
                    for rows_of in (changed, scan)
                )
                gap = (after - before).dropna()
                (estimate,) = clustered_means(
                    gap.to_numpy()[:, None], images.loc[gap.index].tolist(), seed=seed
                )
                row[kind] = percent(estimate.value, estimate.low, estimate.high, signed=True)
            rows.append(row)
    return pd.DataFrame(rows)


def median_seed(validation: Mapping[int, float]) -> int:
    """The seed whose validation accuracy is the median one, the lower of an even number's two.

    >>> median_seed({0: 0.5, 1: 0.4, 2: 0.6})
    0
    """
    middle = median_low(validation.values())
    return min(seed for seed, value in validation.items() if value == middle)


def report(
    findings: Sequence[Finding],
    table: pd.DataFrame,
    stressed: pd.DataFrame,
    costs: pd.DataFrame,
    setting: str,
) -> str:
    """The study in Markdown; every sentence on a result follows from its interval.

    Args:
        findings: see `find`.
        table: see `scores`.
        stressed: see `stress`.
        costs: a row for each trained arm.
        setting: one paragraph on model, seeds and rows.
    """
    lines = [
        "# Is reasoning-aware reinforcement learning better?",
        "",
        setting,
        "",
        "## The paper's claims",
        "",
        "| claim | questions | n | images | points, 95 % interval | each seed | what it says |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for finding in findings:
        claim = finding.claim
        sides = " − ".join(f"{kind}, `{mode}`" for kind, mode in (claim.first, claim.second))
        shares = "facts stated" if claim.metric == "covered" else "exact match"
        seeds = ", ".join(f"{100 * value:+.1f}" for value in finding.by_seed)
        lines.append(
            f"| {claim.name} ({sides}; {shares}) | {claim.domain} | {finding.n} "
            f"| {finding.images} "
            f"| {percent(finding.value, finding.low, finding.high, signed=True)} "
            f"| {seeds} | {finding.verdict} |"
        )
    lines += [
        "",
        "Paired over the same questions, whole images resampled; several looks at once, not "
        "corrected for it. A kind is the mean over its seeds.",
        "",
        "## Exact match, %",
        "",
        *_markdown(table),
        "",
    ]
    if not stressed.empty:
        lines += [
            "## Perturbed pictures, points of exact match lost or won in `reason` mode",
            "",
            "Noise of 20 grey levels, half the contrast, and a tenth cut off each side; one seed.",
            "",
            *_markdown(stressed),
            "",
        ]
    lines += [
        "## What it cost",
        "",
        *_markdown(costs),
        "",
        "Seconds by the clock of the machine it ran on, with checks and looks at validation rows; "
        "tokens of prompts and pictures, and of what was sampled from them.",
        "",
    ]
    return "\n".join(lines)


def _of_kind(part: pd.DataFrame, side: tuple[str, Mode], metric: str) -> pd.DataFrame:
    """A metric of a kind's arms: a row for each question, a column for each seed."""
    kind, mode = side
    mine = part[(part["mode"] == mode) & (part["arm"].map(kind_of) == kind)]
    values = mine.assign(
        seed=[arm.rpartition("-")[2] for arm in mine["arm"]], value=mine[metric].astype(float)
    )
    return values.pivot(index="id", columns="seed", values="value").astype(np.float64)


def _markdown(table: pd.DataFrame) -> list[str]:
    lines = [list(table.columns), ["---"] * len(table.columns), *table.values.tolist()]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]
