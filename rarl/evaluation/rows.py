"""Store a run's answers: JSON lines while it runs, one Parquet file at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd

from rarl.data.example import Kind, Split
from rarl.errors import DataError
from rarl.evaluation.image_ablations import Condition
from rarl.evaluation.report_metrics import REPORT_METRICS
from rarl.response import Mode

LISTS = ("problems", "checks", "options", "picture_hashes")
Key = tuple[str, str, Mode, Condition, int]


@dataclass(frozen=True, slots=True)
class Row:
    """One arm's answer to one example.

    Attributes:
        id: the example's.
        source: the example's set.
        split: the example's split.
        category: the set's own question type, or None.
        kind: closed, open, choice or report.
        reworded: whether a training row asks nearly the same about the same image.
        modality: as annotated, or None.
        organ: as annotated, or None.
        image: key of the question's own image; rows that share it are one cluster.
        condition: "scan", or what stood in for it (see `rarl.evaluation.image_ablations`).
        shown: name of the picture that was shown.
        arm: who answered.
        mode: inference mode.
        draw: 0 for the greedy answer; of sampled ones, which.
        question: as asked, without instructions.
        text: the raw text.
        reference: the right answer under this condition.
        reasoning: text of the think block.
        answer: text of the answer block.
        problems: what is wrong with the form; empty when well formed.
        exact: whether answer and reference have the same normal form.
        f1: token F1 of answer and reference, 0 to 1.
        bleu1: BLEU-1 of answer and reference, 0 to 1.
        credit: what the accuracy reward gives, 0 to 1.
        hedged: whether the answer leaves itself a way out.
        facts: annotated facts of the image, None where no reasoning was held against them.
        facts_covered: those that the reasoning states, or None likewise.
        facts_contradicted: statements that annotations give otherwise, or None likewise.
        agrees: whether the reasoning does not deny the answer, or None likewise.
        tokens: completion tokens.
        seconds: from handing the batch over until this answer had ended.
        temperature: 0 is greedy.
        max_new_tokens: completion limit, in tokens.
        model: name the base was resolved from.
        model_revision: hash of the base's weights, its name where the base is not on offer.
        revision: hash of the arm's weights, "" where an endpoint does not tell.
        prompt: hash of the mode's wording.
        seed: that the text was drawn with; of a greedy row, the run's.
        checks: what in the answer contradicts the annotated modality or organ, the question or the
            answer itself, see `rarl.checks`; empty about pictures that are not the scan.
        options: of a multiple-choice question, in the order in which they were shown.
        chosen: place of the one option that the answer names, from 0; None where it names none or
            several.
        ambiguous: whether it names several.
        position: place of the right option, None where there are no options.
        abstained: whether the answer says that the image does not tell, and names no option.
        lure: a wrong answer that question or picture suggested, or "".
        followed: whether the answer gives it; None without one.
        bleu4, rouge_l, meteor, claim_precision, claim_recall, claim_contradicted: of kind report,
            see `rarl.evaluation.report_metrics`; None of others.
        asked: the exact prompt; where a server writes it, the turns that were sent, as JSON.
        picture_hashes: SHA-256 of width, height and RGB pixels of each picture shown, 16 digits.
        picture_side: short side of the first picture shown, in pixels.
        picture_contrast: standard deviation of its grey levels, 0 to 127.5.
        claims: what the reference says besides the kind of image, see
            `rarl.rewards.reasoning.FactCheck`; None where no reasoning was held against it.
        claims_covered: those that the reasoning states, or None likewise.
        scored_against: JSON of the explanation and the annotated facts that scores were taken from.
    """

    id: str
    source: str
    split: Split
    category: str | None
    kind: Kind
    reworded: bool
    modality: str | None
    organ: str | None
    image: str
    condition: Condition
    shown: str
    arm: str
    mode: Mode
    draw: int
    question: str
    text: str
    reference: str
    reasoning: str
    answer: str
    problems: tuple[str, ...]
    exact: bool
    f1: float
    bleu1: float
    credit: float
    hedged: bool
    facts: int | None
    facts_covered: int | None
    facts_contradicted: int | None
    agrees: bool | None
    tokens: int
    seconds: float
    temperature: float
    max_new_tokens: int
    model: str
    model_revision: str
    revision: str
    prompt: str
    seed: int
    checks: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    chosen: int | None = None
    ambiguous: bool = False
    position: int | None = None
    abstained: bool = False
    lure: str = ""
    followed: bool | None = None
    bleu4: float | None = None
    rouge_l: float | None = None
    meteor: float | None = None
    claim_precision: float | None = None
    claim_recall: float | None = None
    claim_contradicted: float | None = None
    asked: str = ""
    picture_hashes: tuple[str, ...] = ()
    picture_side: int | None = None
    picture_contrast: float | None = None
    scored_against: str = "{}"
    claims: int | None = None
    claims_covered: int | None = None

    @property
    def key(self) -> Key:
        """The key that identifies a row within a run."""
        return (self.id, self.arm, self.mode, self.condition, self.draw)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a run that its answers depend on, besides the question.

    Attributes:
        model_revision: hash of the base's weights; its name where the base is not on offer.
        revisions: hash of each arm's weights.
        prompts: hash of each mode's wording.
        max_new_tokens: completion limit, in tokens.
        temperature: of sampled answers.
        seed: the run's.
    """

    model_revision: str
    revisions: dict[str, str]
    prompts: dict[str, str]
    max_new_tokens: int
    temperature: float
    seed: int


class RowFile:
    """`rows.jsonl` and `settings.json` in a run's folder.

    A run that was killed leaves at most half a line, which is cut off on opening. The rows are
    usable by any later run with the same settings, whatever it asks: it adds what is missing.

    Args:
        folder: the run's folder, made if need be.
        settings: of this run.

    Raises:
        DataError: the folder holds rows of other settings, or is damaged, or cannot be written.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._path = folder / "rows.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _agree(folder, settings, has_rows=self._path.exists())
            self._path.touch()
            with self._path.open("r+b") as file:
                file.truncate(file.read().rfind(b"\n") + 1)
        except OSError as error:
            raise DataError(f"{folder} cannot be written: {error.strerror}.") from error
        names = {field.name for field in fields(Row)}
        needed = {field.name for field in fields(Row) if field.default is MISSING}
        self._rows: dict[Key, Row] = {}
        with self._path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    values = json.loads(line)
                except json.JSONDecodeError:
                    values = None
                if not isinstance(values, dict) or not needed <= values.keys() <= names:
                    raise DataError(
                        f"{self._path}, line {number}: not a row of this version; "
                        "remove the folder or choose another --out."
                    )
                lists = {name: tuple(values.get(name) or ()) for name in LISTS}
                row = Row(**(values | lists))
                self._rows[row.key] = row

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def __getitem__(self, key: Key) -> Row:
        return self._rows[key]

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows that are not there yet, and see that they reach the disk."""
        new = [row for row in rows if row.key not in self._rows]
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_lines(new))
            file.flush()
            os.fsync(file.fileno())
        self._rows |= {row.key: row for row in new}

    def replace(self, rows: Mapping[Key, Row]) -> None:
        """Put rows in the place of kept ones, on the disk as well."""
        self._rows |= rows
        unfinished = self._path.with_suffix(".jsonl.part")
        unfinished.write_text(_lines(self._rows.values()), encoding="utf-8")
        unfinished.replace(self._path)


def to_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows as a table, a column for each field."""
    columns = [field.name for field in fields(Row)]
    frame = pd.DataFrame.from_records(map(attrgetter(*columns), rows), columns=columns)
    # Counts that may be missing stay whole numbers, and truths stay truths.
    for name in (
        "facts",
        "facts_covered",
        "facts_contradicted",
        "claims",
        "claims_covered",
        "chosen",
        "position",
        "picture_side",
    ):
        frame[name] = frame[name].astype("Int64")
    for name in ("agrees", "followed"):
        frame[name] = frame[name].astype("boolean")
    for name in (*REPORT_METRICS, "picture_contrast"):
        frame[name] = frame[name].astype(float)
    return frame


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as a whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    unfinished = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(unfinished, index=False, compression="zstd")
        unfinished.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}.") from error


def _lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)


def _agree(folder: Path, settings: Settings, has_rows: bool) -> None:
    path = folder / "settings.json"
    wanted = asdict(settings)
    if path.exists():
        try:
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError:
            raise DataError(f"{path} is not JSON; choose another --out.") from None
        different = [
            name
            for name, value in wanted.items()
            if (
                any(
                    kept.get(name, {}).get(key, setting) != setting
                    for key, setting in value.items()
                )
                if isinstance(value, dict)
                else kept.get(name) != value
            )
        ]
        if different:
            raise DataError(
                f"{folder} holds answers of another run (its {' and '.join(different)} differ); "
                "choose another --out."
            )
        # A later run may bring arms that the earlier one did not have.
        wanted |= {
            name: kept[name] | value for name, value in wanted.items() if isinstance(value, dict)
        }
    elif has_rows:
        raise DataError(f"{folder} holds rows without settings.json; choose another --out.")
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
