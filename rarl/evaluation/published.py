"""Results that others have published, beside those of a run on the same questions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from rarl.data.example import Split
from rarl.errors import DataError
from rarl.yaml_file import KEYS_ONLY, Amount, Count, Text, checked, read_yaml

_FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True, slots=True, config=KEYS_ONLY)
class Published:
    """One figure of somebody else's.

    Attributes:
        set: name of the set.
        split: its split.
        kind: of the questions, or "overall".
        model: whose figure it is.
        value: accuracy in per cent.
        n: questions, None where it is not known.
        source: where it was published.
        differs: where their scoring or questions are not those of a run here; "" where both are
            alike.
    """

    set: Text
    split: Split
    kind: Literal["closed", "open", "choice", "overall"]
    model: Text
    value: Amount
    n: Count | None
    source: Text
    differs: str = ""


@dataclass(frozen=True, slots=True, config=KEYS_ONLY)
class Compared:
    """One line of the table that sets a run beside what others have published.

    Attributes:
        group: which questions, as the run calls them.
        model: whose figure.
        value: accuracy, 0 to 1.
        low: lower end of the 95 % interval, None where none is known.
        high: upper end, or None likewise.
        n: questions, None where it is not known.
        source: where it was published; "" for the run itself.
        differs: as `Published.differs`.
    """

    group: str
    model: str
    value: float
    low: float | None
    high: float | None
    n: int | None
    source: str
    differs: str


@lru_cache(maxsize=1)
def published() -> tuple[Published, ...]:
    """All figures of others that are known here.

    Raises:
        DataError: the file of them is damaged.
    """
    listed = read_yaml(_FILE, DataError)
    return tuple(checked(Published, entry, _FILE.name, DataError) for entry in listed)


def beside_others(summary: Mapping[str, Any], mode: str) -> list[Compared]:
    """The run's figures on sets of which others have published, each group followed by theirs."""
    called = {
        (leak["source"], leak["split"]): leak["label"] for leak in summary.get("leakage") or ()
    }
    lines: list[Compared] = []
    for place in dict.fromkeys((entry.set, entry.split, entry.kind) for entry in published()):
        source, split, kind = place
        group = f"{source} {called.get((source, split), split)} {kind}"
        own = [
            Compared(
                group,
                figure["arm"],
                figure["value"],
                figure["low"],
                figure["high"],
                figure["n"],
                "",
                "",
            )
            for figure in summary["figures"]
            if (figure["group"], figure["mode"], figure["condition"], figure["metric"])
            == (group, mode, "scan", "exact")
        ]
        if own:
            lines += own
            lines += [
                Compared(
                    group,
                    entry.model,
                    round(entry.value / 100, 6),
                    None,
                    None,
                    entry.n,
                    entry.source,
                    entry.differs,
                )
                for entry in published()
                if (entry.set, entry.split, entry.kind) == place
            ]
    return lines
