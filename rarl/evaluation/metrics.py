"""Metrics of each variant, and differences between variants.

Closed and open questions are never mixed without also being told apart, and every figure holds
its n. Shares run from 0 to 1. Greedy answers count everywhere; sampled ones only as a confidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rarl.data.example import KINDS, Split
from rarl.evaluation.image_ablations import ALTERED, Condition, flip_sides, sides
from rarl.evaluation.report_metrics import REPORT_METRICS
from rarl.evaluation.rows import Row, to_frame
from rarl.response import CHECK_SENTENCES, Mode
from rarl.stats.bootstrap import clustered_means, holm, mcnemar
from rarl.stats.calibration import (
    Bin,
    Point,
    expected_calibration_error,
    reliability,
    selective_accuracy,
    self_consistency,
)
from rarl.text.choice import in_words
from rarl.text.normalise import normalise

HELD_OUT: tuple[Split, ...] = ("test", "image-disjoint", "unseen")
# Question types of sets that ask every image the same things; each is a task of its own.
TASKS = ("label", "presence", "count", "view")
BASICS = ("modality", "organ")
BASICS_GROUP = "modality and organ"
ALL_GROUP = "all questions"
# Of the reasoning, over the rows whose reasoning could be held against annotated facts.
REASONING = ("covered", "contradicted", "agrees")
CHOICE = ("ambiguous", "unread")
METRICS = ("exact", "f1", "bleu1", *REPORT_METRICS, "well_formed", "hedged", *CHOICE, *REASONING)
STRATA = ("modality", "organ", "category")

# (source, split) to what the split is called: see `rarl.evaluation.contamination`.
Labels = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        group: which rows, e.g. "vqa_rad test closed".
        arm: who answered.
        mode: inference mode.
        condition: "scan" or "blank".
        metric: one of `METRICS`.
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
        p_holm: the same, corrected over all differences between arms of this mode, or over all
            between scan and blank; the group of all questions, which mixes tasks, is left out and
            keeps its p.
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
    p_holm: float
    changed: float
    seed: int
    model_revision: str
    revisions: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Reliance:
    """Change of a variant's answers under another image, over the rows asked both ways.

    Attributes:
        group: which rows.
        arm: who answered.
        mode: inference mode.
        condition: what stood in for the scan.
        n: rows.
        images: images among them.
        scan: share right about the scan.
        altered: share right about what stood in for it; sides flip in mirrored references.
        value: scan minus altered.
        low: lower end of its paired 95 % interval, or None with fewer than two images.
        high: upper end, or None likewise.
        changed: share of answers that are no longer the same.
        changed_low: lower end of its 95 % interval, or None likewise.
        changed_high: upper end, or None likewise.
        sided: of mirrored scans, rows whose answer about the scan names one side; else 0.
        flipped: share of those whose answer names the other side about the mirrored scan, as it
            must; None where there are none.
    """

    group: str
    arm: str
    mode: Mode
    condition: Condition
    n: int
    images: int
    scan: float
    altered: float
    value: float
    low: float | None
    high: float | None
    changed: float
    changed_low: float | None
    changed_high: float | None
    sided: int
    flipped: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well self-consistency separates a variant's right answers from its wrong ones.

    Attributes:
        group: which rows.
        arm: who answered.
        mode: inference mode.
        draws: sampled answers per question.
        temperature: of them.
        n: questions.
        accuracy: share of greedy answers that is right.
        confidence: mean confidence.
        error: expected calibration error, 0 to 1.
        bins: of the reliability diagram.
        points: selective accuracy, most confident first.
    """

    group: str
    arm: str
    mode: Mode
    draws: int
    temperature: float
    n: int
    accuracy: float
    confidence: float
    error: float
    bins: tuple[Bin, ...]
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class CheckCount:
    """How often the app would mark an arm's answers about the scan.

    Attributes:
        arm: who answered.
        mode: inference mode.
        check: a name of `rarl.response.CheckName`, or "any" for answers with at least one.
        count: greedy answers with that mark.
        n: greedy answers.
    """

    arm: str
    mode: Mode
    check: str
    count: int
    n: int


def checked(rows: Sequence[Row]) -> list[CheckCount]:
    """Counts of the marks, "any" first, for each arm and mode."""
    by_arm: dict[tuple[str, Mode], list[Row]] = {}
    for row in rows:
        if row.condition == "scan" and row.draw == 0:
            by_arm.setdefault((row.arm, row.mode), []).append(row)
    results = []
    for (arm, mode), own in by_arm.items():
        counts = Counter(name for row in own for name in row.checks)
        counts["any"] = sum(bool(row.checks) for row in own)
        for name in ("any", *CHECK_SENTENCES):
            if name == "any" or counts[name]:
                results.append(CheckCount(arm, mode, name, counts[name], len(own)))
    return results


def measured_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows as a table of what figures are taken of; longer texts are left out.

    Added are `well_formed`; `reasoning_words`, how many there are; `unread`, whether an answer to a
    multiple-choice question names no option (NaN of other questions, as is `ambiguous`); `normal`,
    the answer's normal form;
    `covered` and `contradicted`, as shares of the annotated facts, NaN where nothing is annotated
    or no reasoning was checked.
    """
    frame = to_frame(rows)
    frame["reasoning_words"] = [len(text.split()) for text in frame["reasoning"]]
    frame = frame.drop(columns=["question", "text", "reasoning", "asked", "scored_against"])
    frame["well_formed"] = [not problems for problems in frame["problems"]]
    choice = frame["kind"] == "choice"
    frame["unread"] = (frame["chosen"].isna() & ~frame["ambiguous"]).astype(float).where(choice)
    frame["ambiguous"] = frame["ambiguous"].astype(float).where(choice)
    frame["normal"] = [
        normalise(in_words(answer, options))
        for answer, options in zip(frame["answer"], frame["options"], strict=True)
    ]
    annotated = frame["facts"].astype("Float64").replace(0, pd.NA)
    for share in ("covered", "contradicted"):
        shares = (frame[f"facts_{share}"] / annotated).astype("Float64")
        frame[share] = shares.clip(upper=1).to_numpy(dtype=float, na_value=np.nan)
    return frame


def groups(frame: pd.DataFrame, labels: Labels | None = None) -> dict[str, pd.Series]:
    """The groups that are reported, each as a mask over the table's rows.

    A set that asks every image the same questions is reported by task (`TASKS`); any other as
    closed, open and overall, and again without the test rows that a training row rewords.
    Questions for modality and organ (`BASICS`) are one group over the held-out rows of the sets
    that also train; of an unseen set they are its own tasks. The last group is everything.

    Args:
        frame: rows as a table.
        labels: what to call a split instead, say where "unseen" would be wrong.
    """
    results: dict[str, pd.Series] = {}
    for name, here, part in _sets(frame, labels or {}):
        tasks = [task for task in TASKS if (part["category"] == task).any()]
        if tasks:
            if (part["split"] == "unseen").all():
                # What kind of image an unseen one is belongs to its set, not to the group below.
                tasks += [task for task in BASICS if (part["category"] == task).any()]
            results |= {f"{name} {task}": here & (frame["category"] == task) for task in tasks}
        elif not part["category"].isin(BASICS).all():
            for kind in KINDS:
                results[f"{name} {kind}"] = here & (frame["kind"] == kind)
            if not part["kind"].isin(("choice", "report")).all():
                results[f"{name} overall"] = here & (frame["kind"] != "report")
            if part["reworded"].any():
                for kind in ("closed", "open"):
                    new = here & (frame["kind"] == kind) & ~frame["reworded"]
                    results[f"{name} {kind}, not reworded in training"] = new
    held_out = frame["split"].isin(("test", "image-disjoint"))
    results[BASICS_GROUP] = frame["category"].isin(BASICS) & held_out
    results[ALL_GROUP] = pd.Series(True, index=frame.index)
    return {name: mask for name, mask in results.items() if mask.any()}


def strata_groups(frame: pd.DataFrame, labels: Labels | None = None) -> dict[str, pd.Series]:
    """Each kind of question of each set by modality, organ and question type.

    A set of one task per question type is told apart by `groups` already; it appears here only
    where its images are of several modalities or organs. Rows without the annotation are not
    told apart.
    """
    results: dict[str, pd.Series] = {}
    for name, here, part in _sets(frame, labels or {}):
        for kind in KINDS:
            if kind == "report":
                continue  # exact match says nothing of a free text
            of_kind = here & (frame["kind"] == kind)
            for field in STRATA:
                values = sorted(part.loc[part["kind"] == kind, field].dropna().unique())
                fixed = set(values) <= {*TASKS, *BASICS}
                if len(values) < 2 or (field == "category" and fixed):
                    continue
                for value in values:
                    results[f"{name} {kind}, {field} {value}"] = of_kind & (frame[field] == value)
    return results


def figures(frame: pd.DataFrame, labels: Labels | None = None) -> list[Figure]:
    """Every metric of every group, arm and mode, about the scan and about a blank picture.

    Exact match, token F1 and BLEU-1 are left out of the group of all questions, which mixes
    tasks, and BLEU-1 of closed questions; the rate of well-formed answers is given for that group
    alone. Blank pictures are reported for a group only where all its rows were asked about one, so
    that both rates are over the same rows.
    """
    frame = _greedy(frame)
    results = []
    for group, mask in groups(frame, labels).items():
        for mode, part in frame[mask].groupby("mode", sort=False):
            metrics: tuple[str, ...] = ("exact", "f1", "bleu1", "hedged", *REASONING)
            if group == ALL_GROUP:
                metrics = ("well_formed", "hedged", *REASONING)
            elif (part["kind"] == "closed").all():
                metrics = ("exact", "f1", "hedged", *REASONING)
            elif (part["kind"] == "choice").all():
                metrics = ("exact", *CHOICE, "hedged", *REASONING)
            elif (part["kind"] == "report").all():
                metrics = ("f1", *REPORT_METRICS, *REASONING)
            columns = [("scan", metric) for metric in metrics]
            if group != ALL_GROUP and _all_blank(part):
                columns += [("blank", metric) for metric in ("exact", "f1") if metric in metrics]
            results += _figures(group, mode, part, columns)
    return results


def strata(frame: pd.DataFrame, labels: Labels | None = None) -> list[Figure]:
    """Exact match by modality, organ and question type, about the scan."""
    frame = _greedy(frame)
    results = []
    for group, mask in strata_groups(frame, labels).items():
        for mode, part in frame[mask].groupby("mode", sort=False):
            results += _figures(group, mode, part, [("scan", "exact")])
    return results


def differences(frame: pd.DataFrame, labels: Labels | None = None) -> list[Difference]:
    """Exact match: each later arm minus each earlier one, and each arm's scan minus blank.

    For the group of all questions the arms are compared too: there `changed` tells how often
    two arms say different things at all.
    """
    frame = _answered(_greedy(frame))
    results: list[Difference] = []
    for group, mask in groups(frame, labels).items():
        for mode, part in frame[mask].groupby("mode", sort=False):
            of = _by_answerer(part)
            arms = list(dict.fromkeys(arm for arm, _ in of))
            pairs = [
                ((later, "scan"), (earlier, "scan")) for earlier, later in combinations(arms, 2)
            ]
            if group != ALL_GROUP and _all_blank(part):
                pairs += [((arm, "scan"), (arm, "blank")) for arm in arms]
            if pairs:
                results += _differences(group, mode, of, pairs)
    return _corrected(results)


def reliance(frame: pd.DataFrame, labels: Labels | None = None) -> list[Reliance]:
    """Each arm's answers about the scan against those about what stood in for it.

    The group of all questions, which mixes tasks, is left out.
    """
    frame = _answered(_greedy(frame))
    results = []
    for group, mask in groups(frame, labels).items():
        if group == ALL_GROUP:
            continue
        for mode, part in frame[mask].groupby("mode", sort=False):
            of = _by_answerer(part)
            for condition in ALTERED:
                for arm in dict.fromkeys(arm for arm, _ in of):
                    if (arm, condition) in of:
                        two = of[arm, "scan"], of[arm, condition]
                        results.append(_reliance(group, arm, mode, condition, *two))
    return results


def calibration(frame: pd.DataFrame, labels: Labels | None = None) -> list[Calibration]:
    """Self-consistency of each arm, where answers were sampled; all questions are left out."""
    frame = _answered(frame[frame["condition"] == "scan"])
    results: list[Calibration] = []
    if not (frame["draw"] > 0).any():
        return results
    for group, mask in groups(frame, labels).items():
        if group == ALL_GROUP:
            continue
        for (mode, arm), part in frame[mask].groupby(["mode", "arm"], sort=False):
            greedy = part[part["draw"] == 0].set_index("id")
            sampled = part[part["draw"] > 0]
            if sampled.empty:
                continue
            drawn = sampled.groupby("id")["normal"].agg(list)
            greedy = greedy.loc[greedy.index.intersection(drawn.index)]
            confident = [
                self_consistency(answer, drawn[name]) for name, answer in greedy["normal"].items()
            ]
            right = greedy["exact"].tolist()
            bins = reliability(confident, right)
            results.append(
                Calibration(
                    group=group,
                    arm=str(arm),
                    mode=mode,
                    draws=int(sampled["draw"].max()),
                    temperature=float(sampled["temperature"].iloc[0]),
                    n=len(right),
                    accuracy=float(np.mean(right)),
                    confidence=float(np.mean(confident)),
                    error=expected_calibration_error(bins),
                    bins=tuple(bins),
                    points=tuple(selective_accuracy(confident, right)),
                )
            )
    return results


def _sets(frame: pd.DataFrame, labels: Labels) -> Iterator[tuple[str, pd.Series, pd.DataFrame]]:
    """Each set and split: its name, a mask over all rows, and its rows."""
    for (source, split), part in frame.groupby(["source", "split"], sort=False):
        here = (frame["source"] == source) & (frame["split"] == split)
        yield f"{source} {labels.get((source, split), split)}", here, part


def _greedy(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["draw"] == 0]


def _answered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that are right or wrong, which a free text is not."""
    return frame[frame["kind"] != "report"]


def _all_blank(part: pd.DataFrame) -> bool:
    """Whether every row of a group in one mode was asked about a blank picture too."""
    counts = part["condition"].value_counts()
    return bool(counts.get("blank", 0) == counts.get("scan", 0))


def _by_answerer(part: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """Rows of one mode by arm and condition, each ordered by id."""
    return {
        (arm, condition): answers.set_index("id").sort_index()
        for (arm, condition), answers in part.groupby(["arm", "condition"], sort=False)
    }


def _numbers(answers: pd.DataFrame, metric: str) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = answers[metric].to_numpy(dtype=float, na_value=np.nan)
    return numbers


def _figures(
    group: str, mode: Mode, part: pd.DataFrame, columns: Sequence[tuple[str, str]]
) -> list[Figure]:
    """Figures of one group and mode; `columns` are conditions with metrics."""
    of = _by_answerer(part)
    arms = list(dict.fromkeys(arm for arm, _ in of))
    wanted = [
        (arm, condition, metric, _numbers(of[arm, condition], metric))
        for metric, condition in dict.fromkeys((m, c) for c, m in columns)
        for arm in arms
    ]
    wanted = [entry for entry in wanted if not np.isnan(entry[3]).all()]
    first = of[arms[0], "scan"]
    seed = int(first["seed"].iloc[0])
    intervals = clustered_means(
        np.column_stack([entry[3] for entry in wanted]), first["image"].tolist(), seed=seed
    )
    return [
        Figure(
            group=group,
            arm=arm,
            mode=mode,
            condition=condition,  # type: ignore[arg-type]  # from a column of conditions
            metric=metric,
            value=interval.value,
            low=interval.low,
            high=interval.high,
            n=interval.n,
            images=interval.clusters,
            seed=seed,
            model_revision=of[arm, condition]["model_revision"].iloc[0],
            revision=of[arm, condition]["revision"].iloc[0],
        )
        for (arm, condition, metric, _), interval in zip(wanted, intervals, strict=True)
    ]


def _differences(
    group: str,
    mode: Mode,
    of: dict[tuple[str, str], pd.DataFrame],
    pairs: Sequence[tuple[tuple[str, str], tuple[str, str]]],
) -> list[Difference]:
    any_frame = next(iter(of.values()))
    seed = int(any_frame["seed"].iloc[0])
    gaps = [_numbers(of[first], "exact") - _numbers(of[second], "exact") for first, second in pairs]
    intervals = clustered_means(np.column_stack(gaps), any_frame["image"].tolist(), seed=seed)
    results = []
    for (first, second), interval in zip(pairs, intervals, strict=True):
        here, there = of[first], of[second]
        test = mcnemar(here["exact"].tolist(), there["exact"].tolist())
        results.append(
            Difference(
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
                p_holm=test.p,
                changed=float((here["normal"] != there["normal"]).mean()),
                seed=seed,
                model_revision=here["model_revision"].iloc[0],
                revisions=(here["revision"].iloc[0], there["revision"].iloc[0]),
            )
        )
    return results


def _corrected(unadjusted: list[Difference]) -> list[Difference]:
    """Fill in the corrected p-values, a table at a time."""
    tables: dict[tuple[str, bool], list[int]] = {}
    for index, difference in enumerate(unadjusted):
        if difference.group != ALL_GROUP:
            of_arms = difference.second.endswith(" scan")
            tables.setdefault((difference.mode, of_arms), []).append(index)
    for places in tables.values():
        corrected = holm([unadjusted[index].p for index in places])
        for index, p in zip(places, corrected, strict=True):
            unadjusted[index] = replace(unadjusted[index], p_holm=p)
    return unadjusted


def _reliance(
    group: str,
    arm: str,
    mode: Mode,
    condition: Condition,
    scan: pd.DataFrame,
    altered: pd.DataFrame,
) -> Reliance:
    scan = scan.loc[altered.index]
    before, after = _numbers(scan, "exact"), _numbers(altered, "exact")
    differs = (scan["normal"] != altered["normal"]).to_numpy(dtype=float)
    gap, changed = clustered_means(
        np.column_stack([before - after, differs]),
        scan["image"].tolist(),
        seed=int(scan["seed"].iloc[0]),
    )
    flips = []
    if condition == "mirrored":
        flips = [
            normalise(flip_sides(answer)) == mirrored
            for answer, mirrored in zip(scan["answer"], altered["normal"], strict=True)
            if len(sides(answer)) == 1
        ]
    return Reliance(
        group=group,
        arm=arm,
        mode=mode,
        condition=condition,
        n=gap.n,
        images=gap.clusters,
        scan=float(before.mean()),
        altered=float(after.mean()),
        value=gap.value,
        low=gap.low,
        high=gap.high,
        changed=changed.value,
        changed_low=changed.low,
        changed_high=changed.high,
        sided=len(flips),
        flipped=float(np.mean(flips)) if flips else None,
    )
