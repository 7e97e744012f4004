"""`python -m rarl data [NAME ...]`: list datasets, their rows and the overlap of their splits."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rarl.data.example import KINDS, SPLITS, Example, Split
from rarl.data.hub import HUB
from rarl.data.leakage import Group, Overlap, Shared, shared
from rarl.data.sets import NAMES, at_hand, load_set, place
from rarl.errors import DataError

HELP = "Count the rows of the data sets and show what their splits share."


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A set with where it came from and what to know about that."""

    name: str
    origin: str
    note: str
    rows: Sequence[Example]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the names of the sets and the form of the output."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(NAMES)}, or a YAML file that describes a set; without one, all at hand",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the report.

    Returns:
        The exit status, 0.

    Raises:
        DataError: a set is unknown, out of reach or malformed, or none is at hand.
    """
    names = list(dict.fromkeys(arguments.names)) or at_hand()
    if not names:
        raise DataError(
            "No data set is at hand: set RARL_DATA to the folder that holds them, or name one that"
            f" the Hub has ({', '.join(HUB)})."
        )
    sets = [_load(name) for name in names]
    report = shared(row for loaded in sets for row in loaded.rows)
    if arguments.json:
        print(json.dumps(_as_json(sets, report)))
    else:
        _print(sets, report)
    return 0


def _load(name: str) -> _Loaded:
    where = place(name)
    rows = load_set(name)
    if isinstance(where, Path):
        # A local copy without images is the exception that needs saying.
        note = "" if any(row.image for row in rows) else "Questions alone, without their images."
        return _Loaded(rows[0].source, f"{where}", note, rows)
    return _Loaded(where.name, where.repository, where.note, rows)


def _seen(loaded: _Loaded, split: Split, report: Shared) -> int:
    """Count the images of a held-out split that have rows in training as well, in any set."""
    seen: set[str] = set()
    for overlap in report.overlaps:
        if overlap.second == Group(loaded.name, split) and overlap.first.split == "train":
            seen |= set(overlap.images)
    return len(seen)


def _by_split(rows: Iterable[Example]) -> dict[Split, list[Example]]:
    grouped: dict[Split, list[Example]] = {split: [] for split in SPLITS}
    for row in rows:
        grouped[row.split].append(row)
    return {split: entries for split, entries in grouped.items() if entries}


def _unseen(sets: Sequence[_Loaded]) -> list[str]:
    return [loaded.name for loaded in sets if all(row.split == "unseen" for row in loaded.rows)]


def _as_json(sets: Sequence[_Loaded], report: Shared) -> dict[str, Any]:
    return {
        "sets": [
            {
                "name": loaded.name,
                "from": loaded.origin,
                "note": loaded.note,
                "splits": {
                    split: {
                        "rows": len(rows),
                        **Counter(row.kind for row in rows),
                        "images": report.images[Group(loaded.name, split)],
                        "images_seen_in_training": _seen(loaded, split, report),
                        "licences": Counter(row.licence for row in rows),
                        "modalities": Counter(row.modality or "unknown" for row in rows),
                    }
                    for split, rows in _by_split(loaded.rows).items()
                },
            }
            for loaded in sets
        ],
        "unseen": _unseen(sets),
        "shared": [
            {
                "first": overlap.first._asdict(),
                "second": overlap.second._asdict(),
                "images": len(overlap.images),
                "identical": len({second for _, second in overlap.identical}),
                "near": len({second for _, second in overlap.near}),
                "questions": len(overlap.questions),
            }
            for overlap in report.overlaps
        ],
    }


def _print(sets: Sequence[_Loaded], report: Shared) -> None:
    asked = {row.kind for loaded in sets for row in loaded.rows}
    # Most sets have closed and open questions alone.
    columns = [kind for kind in KINDS if kind in asked or kind in ("closed", "open")]
    table = [("set", "split", "rows", *columns, "images", "modality", "licence")]
    for loaded in sets:
        name = loaded.name
        for split, rows in _by_split(loaded.rows).items():
            images = report.images[Group(loaded.name, split)]
            seen = _seen(loaded, split, report)
            kinds = Counter(row.kind for row in rows)
            table.append(
                (
                    name,
                    split + (" (images seen)" if images and seen == images else ""),
                    f"{len(rows)}",
                    *(f"{kinds[kind]}" for kind in columns),
                    f"{images or '-'}",
                    _shares(Counter(row.modality or "unknown" for row in rows)),
                    _shares(Counter(row.licence for row in rows)),
                )
            )
            name = ""
    _print_table(table, right=set(range(2, 4 + len(columns))))

    if unseen := _unseen(sets):
        print(f"\nUnseen, so they train nothing: {', '.join(unseen)}")
    for loaded in sets:
        if loaded.note:
            print(f"{loaded.name}: {loaded.note}")
    _print_shared(report.overlaps)


def _print_shared(overlaps: Sequence[Overlap]) -> None:
    # What held-out parts share with each other spoils no score; --json has it all.
    leaks = [overlap for overlap in overlaps if overlap.first.split == "train"]
    if not leaks:
        print("\nNo held-out part shares an image with training, nor has a near-duplicate in it.")
        return
    print("\nImages of held-out parts that training has, too")
    table = [("training", "held out", "the same", "identical", "near", "repeated questions")]
    table += [
        (
            overlap.first.source,
            f"{overlap.second.source} {overlap.second.split}",
            f"{len(overlap.images)}",
            f"{len({second for _, second in overlap.identical})}",
            f"{len({second for _, second in overlap.near})}",
            f"{len(overlap.questions)}",
        )
        for overlap in leaks
    ]
    _print_table(table, right={2, 3, 4, 5})
    print(
        "the same: one image with rows in both; identical: another file with the same pixels;\n"
        "near: alike to a 64-bit difference hash (4 bits), often another patient's same view."
    )


def _shares(counts: Mapping[str, int]) -> str:
    """The kinds there are, most frequent first, and how often where there are several."""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(most) == 1:
        return most[0][0]
    return ", ".join(f"{name} {count}" for name, count in most)


def _print_table(table: Sequence[Sequence[str]], right: set[int]) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
