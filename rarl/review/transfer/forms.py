"""The forms of an export: one table, which the command line, the page and the API read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rarl.records import FlagFilter
from rarl.review.files import written_whole
from rarl.review.store import ReviewStore
from rarl.review.transfer.judged import export_flags


@dataclass(frozen=True, slots=True)
class Selection:
    """What goes into an export.

    Attributes:
        chosen: cases by their flags; everything where None.
        pixels: whether pictures go along, or only their hashes.
        names: whether readers keep their names; otherwise they are pseudonyms.
    """

    chosen: FlagFilter | None = None
    pixels: bool = True
    names: bool = False


@dataclass(frozen=True, slots=True)
class ExportForm:
    """One form.

    Attributes:
        label: what the page calls it.
        file: name of the file, or of the folder, that the page hands out.
        write: writes it to a path, and returns how many rows of each table were written; raises
            ReviewError.
    """

    label: str
    file: str
    write: Callable[[ReviewStore, Path, Selection], Mapping[str, int]]

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of files."""
        return not Path(self.file).suffix


def _write_table(store: ReviewStore, out: Path, selection: Selection) -> Mapping[str, int]:
    with written_whole(out) as part, part.open("w", encoding="utf-8", newline="") as file:
        return {"flags": export_flags(store, file, selection.chosen, selection.names)}


def _write_preferences(store: ReviewStore, out: Path, selection: Selection) -> Mapping[str, int]:
    from rarl.review.training_rows import write_preferences  # which loads Arrow

    return {"pairs": write_preferences(store, out, selection.chosen)}


def _write_jsonl(store: ReviewStore, out: Path, selection: Selection) -> Mapping[str, int]:
    from rarl.review.transfer.writer import export  # which loads Arrow

    return export(store, out, "jsonl", selection.chosen, selection.pixels, selection.names)


def _write_csv(store: ReviewStore, out: Path, selection: Selection) -> Mapping[str, int]:
    from rarl.review.transfer.writer import export  # as above

    return export(store, out, "csv", selection.chosen, selection.pixels, selection.names)


def _write_parquet(store: ReviewStore, out: Path, selection: Selection) -> Mapping[str, int]:
    from rarl.review.transfer.writer import export  # as above

    return export(store, out, "parquet", selection.chosen, selection.pixels, selection.names)


def _write_datasets(store: ReviewStore, out: Path, selection: Selection) -> Mapping[str, int]:
    from rarl.review.transfer.writer import export  # as above

    return export(store, out, "datasets", selection.chosen, selection.pixels, selection.names)


EXPORTS: dict[str, ExportForm] = {
    "table": ExportForm("CSV: one row per flag, for a spreadsheet", "rarl-flags.csv", _write_table),
    "jsonl": ExportForm("JSONL: everything, one file", "rarl-review.jsonl", _write_jsonl),
    "csv": ExportForm("CSV: every table and the pictures", "rarl-review-csv", _write_csv),
    "parquet": ExportForm("Parquet: every table", "rarl-review-parquet", _write_parquet),
    "datasets": ExportForm("Hugging Face datasets folder", "rarl-review-datasets", _write_datasets),
    "preferences": ExportForm(
        "Preference pairs for DPO, Parquet", "rarl-preferences.parquet", _write_preferences
    ),
}
"""Name to form; the name stands wherever a command or the API takes one."""
