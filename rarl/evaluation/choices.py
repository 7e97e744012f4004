"""Multiple choice: accuracy by the place of the right option, and robustness to their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rarl.evaluation.image_ablations import ROTATED
from rarl.evaluation.metrics import ALL_GROUP, Labels, groups
from rarl.response import Mode
from rarl.stats.bootstrap import clustered_mean, clustered_means
from rarl.text.choice import LETTERS


@dataclass(frozen=True, slots=True)
class Place:
    """One place among the options, in one group of multiple-choice questions.

    A model that looks is right equally often wherever the right option stands. One that prefers a
    letter chooses it more often than it is right.

    Attributes:
        group: which rows.
        arm: who answered.
        mode: inference mode.
        letter: of the place.
        n: questions whose right option stands there.
        right: share of them that is answered right, or None where there are none.
        low: lower end of its 95 % interval, or None with fewer than two images.
        high: upper end, or None likewise.
        wanted: share of all questions whose right option stands there.
        chosen: share of all questions for which the answer names this place alone.
    """

    group: str
    arm: str
    mode: Mode
    letter: str
    n: int
    right: float | None
    low: float | None
    high: float | None
    wanted: float
    chosen: float


@dataclass(frozen=True, slots=True)
class Rotation:
    """How answers hold while the options are moved through all places.

    Attributes:
        group: which rows.
        arm: who answered.
        mode: inference mode.
        n: questions that were asked in every rotation.
        images: images among them.
        once: share right in the order that counts elsewhere.
        mean: share right over all rotations.
        mean_low: lower end of its 95 % interval, or None with fewer than two images.
        mean_high: upper end, or None likewise.
        always: share of the questions that are right in every rotation.
        always_low: lower end of its 95 % interval, or None likewise.
        always_high: upper end, or None likewise.
        same: share of the questions for which the same option is chosen in every rotation.
    """

    group: str
    arm: str
    mode: Mode
    n: int
    images: int
    once: float
    mean: float
    mean_low: float | None
    mean_high: float | None
    always: float
    always_low: float | None
    always_high: float | None
    same: float


def by_place(frame: pd.DataFrame, labels: Labels | None = None) -> list[Place]:
    """Accuracy by the place of the right option, over every order that was asked."""
    frame = frame[
        (frame["kind"] == "choice")
        & (frame["draw"] == 0)
        & frame["condition"].isin(("scan", *ROTATED))
    ]
    places: list[Place] = []
    for group, mode, arm, part in _parts(frame, labels):
        seed = int(part["seed"].iloc[0])
        for place in range(1 + int(part["position"].max())):
            here = part[part["position"] == place]
            right = None
            if len(here):
                right = clustered_mean(
                    here["exact"].astype(float).tolist(), here["image"].tolist(), seed=seed
                )
            places.append(
                Place(
                    group=group,
                    arm=arm,
                    mode=mode,
                    letter=LETTERS[place],
                    n=len(here),
                    right=right.value if right else None,
                    low=right.low if right else None,
                    high=right.high if right else None,
                    wanted=len(here) / len(part),
                    chosen=float((part["chosen"] == place).fillna(False).mean()),
                )
            )
    return places


def rotations(frame: pd.DataFrame, labels: Labels | None = None) -> list[Rotation]:
    """Robustness to the order of the options, over questions that were asked in every rotation."""
    frame = frame[
        (frame["kind"] == "choice")
        & (frame["draw"] == 0)
        & frame["condition"].isin(("scan", *ROTATED))
    ]
    results: list[Rotation] = []
    for group, mode, arm, part in _parts(frame, labels):
        if not part["options"].map(len).all():
            continue  # published without the words of the options
        chosen = [
            None if pd.isna(place) else options[int(place)]
            for place, options in zip(part["chosen"], part["options"], strict=True)
        ]
        asked = part.assign(named=chosen, count=part["options"].map(len)).groupby("id", sort=True)
        of = asked.agg(
            times=("condition", "nunique"),
            count=("count", "first"),
            mean=("exact", "mean"),
            always=("exact", "all"),
            image=("image", "first"),
            named=("named", lambda words: words.nunique(dropna=False) == 1 and words.notna().all()),
        )
        of = of[(of["times"] == of["count"]) & (of["times"] > 1)]
        if of.empty:
            continue
        once = part[part["condition"] == "scan"].set_index("id")["exact"].astype(float)
        mean, always = clustered_means(
            np.column_stack([of["mean"].astype(float), of["always"].astype(float)]),
            of["image"].tolist(),
            seed=int(part["seed"].iloc[0]),
        )
        results.append(
            Rotation(
                group=group,
                arm=arm,
                mode=mode,
                n=mean.n,
                images=mean.clusters,
                once=float(once.loc[of.index].mean()),
                mean=mean.value,
                mean_low=mean.low,
                mean_high=mean.high,
                always=always.value,
                always_low=always.low,
                always_high=always.high,
                same=float(of["named"].astype(float).mean()),
            )
        )
    return results


def _parts(frame: pd.DataFrame, labels: Labels | None) -> list[tuple[str, Mode, str, pd.DataFrame]]:
    if frame.empty:
        return []
    return [
        (group, mode, str(arm), part)
        for group, mask in groups(frame, labels).items()
        if group != ALL_GROUP and not group.endswith(" overall")
        for (mode, arm), part in frame[mask].groupby(["mode", "arm"], sort=False)
        if (part["kind"] == "choice").all()
    ]
