"""Read an evaluation run from its files: figures, and answers that match a filter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import pandas as pd

from rarl.data import Example, load_set
from rarl.data.sets import at_hand
from rarl.errors import DataError, RarlError
from rarl.evaluation.asked import asked_under
from rarl.evaluation.failures import reasoned_right, strata_of
from rarl.evaluation.metrics import ALL_GROUP, groups
from rarl.evaluation.run_files import ROWS, SUMMARY
from rarl.inference.engine import arm_label
from rarl.models.making import Making

RESULTS = Path(__file__).resolve().parents[3] / "assets" / "results"

Filter = Literal["beats", "wrong", "form", "hedged", "unlucky", "lucky", "denies", "all"]
FILTERS: tuple[tuple[str, Filter], ...] = (
    ("Right where the other is wrong", "beats"),
    ("Wrong", "wrong"),
    ("Form broken", "form"),
    ("Hedged", "hedged"),
    ("Reasoning right, answer wrong", "unlucky"),
    ("Answer right, reasoning wrong", "lucky"),
    ("Reasoning denies the answer", "denies"),
    ("All answers", "all"),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One question as the run asked it.

    Attributes:
        id: the example's.
        mode: inference mode.
        example: from the set itself, or None where the set is not at hand.
        rows: one greedy answer about the scan for each arm, in the order of the arms.
        labels: arm name to what people read.
    """

    id: str
    mode: str
    example: Example | None
    rows: tuple[Mapping[str, Any], ...]
    labels: Mapping[str, str] = field(default_factory=dict)

    def label(self, row: Mapping[str, Any]) -> str:
        """What people call the variant of a row."""
        arm = str(row["arm"])
        return self.labels.get(arm, arm)

    @property
    def question(self) -> str:
        """The question's words, "" where neither rows nor set have them."""
        return str(self.rows[0]["question"] or (self.example.question if self.example else ""))

    @property
    def reference(self) -> str:
        """The reference answer, "" likewise."""
        return str(self.rows[0]["reference"] or (self.example.answer if self.example else ""))

    @property
    def options(self) -> tuple[str, ...]:
        """Of a multiple-choice question the options as they were shown; empty for any other."""
        kept = self.rows[0].get("options")
        if kept is not None and len(kept):
            return tuple(str(option) for option in kept)
        if self.example is None or not self.example.options:
            return ()
        # Published without words: the set has them, and the seed their order.
        asked = asked_under(self.example, "scan", int(self.rows[0]["seed"]))
        return asked.options if asked else ()

    @property
    def has_pixels(self) -> bool:
        """Whether the very scan is at hand on this machine."""
        return self.example is not None and self.example.image is not None


@dataclass
class Results:
    """A run, read from its folder when it is first looked at.

    Attributes:
        folder: with `summary.json` and `rows.parquet`.
    """

    folder: Path = RESULTS
    _summary: dict[str, Any] | None = field(default=None, repr=False)
    _rows: pd.DataFrame | None = field(default=None, repr=False)
    _sets: dict[str, dict[str, Example]] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def summary(self) -> dict[str, Any]:
        """The run's figures.

        Raises:
            DataError: there is no run, or its summary is not one.
        """
        if self._summary is None:
            path = self.folder / SUMMARY
            try:
                summary = json.loads(path.read_text("utf-8"))
            except FileNotFoundError:
                raise DataError(
                    "Nothing has been measured yet; run scripts/floors, then start the app again."
                ) from None
            except (OSError, ValueError):
                raise DataError(
                    "The summary of the results cannot be read; measure them again."
                ) from None
            if not isinstance(summary, dict) or not summary.get("figures"):
                raise DataError("The summary of the results is empty; measure them again.")
            self._summary = summary
        return self._summary

    def rows(self) -> pd.DataFrame:
        """The greedy answers about scans.

        Raises:
            DataError: the rows are missing, or of another version.
        """
        if self._rows is None:
            path = self.folder / ROWS
            if not path.is_file():
                raise DataError(
                    "The answers behind these figures are not on this machine; measure again with "
                    "scripts/floors to read them."
                )
            try:
                frame = pd.read_parquet(path)
                self._rows = frame[(frame["condition"] == "scan") & (frame["draw"] == 0)]
            except (OSError, ValueError, KeyError):
                raise DataError(
                    "The answers behind these figures cannot be read; measure again."
                ) from None
        return self._rows

    def arms(self) -> list[str]:
        """Names of the arms, in their order."""
        return [str(arm["name"]) for arm in self.summary()["arms"]]

    def labels(self) -> dict[str, str]:
        """Arm name to what people read."""
        return {str(arm["name"]): arm_name(arm) for arm in self.summary()["arms"]}

    def making(self, arm: str) -> Making:
        """How a variant was made, as the run recorded it; an empty one where it did not."""
        return Making.from_plain((self.summary().get("made") or {}).get(arm))

    def check(self) -> None:
        """See to it that the page can show all of it.

        Raises:
            DataError: figures or rows lack what the page needs.
        """
        try:
            summary = self.summary()
            arms = {str(arm["name"]) for arm in summary["arms"]}
            figures = [
                (figure["group"], figure["mode"], figure["metric"]) for figure in summary["figures"]
            ]
            measured = {str(figure["arm"]) for figure in summary["figures"]}
            numbers = sum(
                float(figure["value"]) + int(figure["n"]) for figure in summary["figures"]
            )
            fine = bool(figures) and bool(self.groups()) and measured <= arms and numbers >= 0
            fine = fine and isinstance(summary["model"], str)
        except (TypeError, KeyError, ValueError, AttributeError):
            fine = False
        if not fine:
            raise DataError("The summary of the results is of another version; measure again.")

    def groups(self) -> list[str]:
        """The groups of questions whose answers were counted."""
        names = dict.fromkeys(figure["group"] for figure in self.summary()["figures"])
        return [name for name in names if name != ALL_GROUP]

    def chosen(
        self,
        mode: str,
        group: str,
        kind: Filter,
        arm: str,
        other: str,
        most: int,
        part: tuple[str, str] | None = None,
    ) -> tuple[int, list[Shown]]:
        """The questions of a group that pass a filter.

        Args:
            mode: inference mode.
            group: a name from `groups`.
            kind: which answers of the arm are meant.
            arm: whose answers.
            other: of "beats", who is wrong.
            most: how many are returned at most.
            part: field and stratum of a cluster (see `rarl.evaluation.failures`) whose questions
                alone are meant; None for the whole group.

        Returns:
            How many there are, and the first of them.

        Raises:
            DataError: the rows cannot be read.
        """
        frame = self.rows()
        frame = frame[frame["mode"] == mode]
        labels = {
            (row["source"], row["split"]): row["label"]
            for row in self.summary().get("leakage") or ()
        }
        masks = groups(frame, labels)
        frame = frame[masks[group]] if group in masks else frame.iloc[:0]
        if part is not None:
            # Of the arm that is looked at: others may have reasoned at another length.
            mine = frame[frame["arm"] == arm]
            inside = set(mine.loc[strata_of(mine, part[0]) == part[1], "id"])
            frame = frame[frame["id"].isin(inside)]
        passed = _passing(frame, kind, arm, other)
        first = passed[:most]
        by_id = {name: own for name, own in frame[frame["id"].isin(first)].groupby("id")}
        return len(passed), [self._shown(name, mode, by_id[name]) for name in first]

    def one(self, name: str, mode: str) -> Shown:
        """One question.

        Raises:
            DataError: the run does not hold it.
        """
        frame = self.rows()
        part = frame[(frame["id"] == name) & (frame["mode"] == mode)]
        if part.empty:
            raise DataError("This answer is no longer in the results; choose another one.")
        return self._shown(name, mode, part)

    def _shown(self, name: str, mode: str, part: pd.DataFrame) -> Shown:
        order = {arm: place for place, arm in enumerate(self.arms())}
        rows = sorted(part.to_dict("records"), key=lambda row: order.get(row["arm"], len(order)))
        example = self._example(str(rows[0]["source"]), name)
        return Shown(name, mode, example, tuple(rows), self.labels())

    def _example(self, source: str, name: str) -> Example | None:
        with self._lock:
            if source not in self._sets:
                try:
                    # Without a copy at hand the Hub would be asked, and the page would wait.
                    rows = load_set(source) if source in at_hand() else []
                except RarlError:
                    rows = []
                self._sets[source] = {row.id: row for row in rows}
        return self._sets[source].get(name)


def arm_name(arm: Mapping[str, Any]) -> str:
    """What people read for an arm of a summary."""
    return str(arm.get("label") or arm_label(str(arm["name"])))


def _passing(frame: pd.DataFrame, kind: Filter, arm: str, other: str) -> list[str]:
    """Ids of the questions whose answer by the arm is of this kind, in the rows' order."""
    mine = frame[frame["arm"] == arm].set_index("id")
    against = mine["facts_contradicted"].fillna(0).astype(int)
    right = mine["exact"].astype(bool)
    if kind == "beats":
        theirs = frame[frame["arm"] == other].set_index("id")["exact"].astype(bool)
        keep = right & ~theirs.reindex(mine.index, fill_value=True)
    elif kind == "wrong":
        keep = ~right
    elif kind == "form":
        keep = mine["problems"].map(len) > 0
    elif kind == "hedged":
        keep = mine["hedged"].astype(bool)
    elif kind == "unlucky":
        keep = ~right & reasoned_right(mine)
    elif kind == "lucky":
        keep = right & (against > 0)
    elif kind == "denies":
        keep = ~mine["agrees"].fillna(True).astype(bool)
    else:
        keep = right | ~right
    return [str(name) for name in mine.index[keep]]
