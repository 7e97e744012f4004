"""The answers of a run, one JSON line each, kept as they come."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from rarl.data.example import Kind, Split
from rarl.errors import DataError
from rarl.response import Mode, parse_response
from rarl.rewards.text import exact_match, token_f1

Condition = Literal["scan", "blank"]
Key = tuple[str, str, Mode, Condition]


@dataclass(frozen=True, slots=True)
class Row:
    """One arm's answer to one example.

    Attributes:
        id: the example's.
        source: the example's set.
        split: the example's split.
        category: the set's own question type, or None.
        kind: closed or open.
        reworded: whether a training row asks nearly the same about the same image.
        modality: as annotated, or None.
        organ: as annotated, or None.
        image: key of the image; rows that share it are one cluster.
        condition: "scan", or "blank" where a grey picture of the same size stood in for it.
        arm: who answered.
        mode: inference mode.
        question: as asked, without instructions.
        reference: the reference answer.
        text: the raw text.
        reasoning: text of the think block.
        answer: text of the answer block.
        problems: what is wrong with the form; empty when well formed.
        exact: whether answer and reference have the same normal form.
        f1: token F1 of answer and reference, 0 to 1.
        tokens: completion tokens.
        seconds: from handing the batch over until this answer had ended.
        model: name the base was resolved from.
        model_revision: hash of the base's weights, "" where the engine does not offer the base.
        revision: hash of the arm's weights.
        prompt: hash of the mode's wording.
        seed: the run's.
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
    arm: str
    mode: Mode
    question: str
    reference: str
    text: str
    reasoning: str
    answer: str
    problems: tuple[str, ...]
    exact: bool
    f1: float
    tokens: int
    seconds: float
    model: str
    model_revision: str
    revision: str
    prompt: str
    seed: int

    @property
    def key(self) -> Key:
        """What no two rows of a run share."""
        return (self.id, self.arm, self.mode, self.condition)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the answers of a run depend on, besides the question.

    Attributes:
        model_revision: hash of the base's weights; its name where the base is not on offer.
        revisions: hash of each arm's weights.
        prompts: hash of each mode's wording.
        max_new_tokens: completion limit, in tokens.
        seed: the run's.
    """

    model_revision: str
    revisions: dict[str, str]
    prompts: dict[str, str]
    max_new_tokens: int
    seed: int


class RowFile:
    """`rows.jsonl` and `settings.json` in a run's folder.

    A run that was killed leaves at most half a line, which is cut off on opening. The rows are
    usable by any later run with the same settings, whatever it asks: it adds what is missing.
    Kept texts are judged anew on opening, so that a corrected rule also holds for them.

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
        self._rows: dict[Key, Row] = {}
        outdated = False
        with self._path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    values = json.loads(line)
                except json.JSONDecodeError:
                    values = None
                if not isinstance(values, dict) or values.keys() != names:
                    raise DataError(
                        f"{self._path}, line {number}: not a row of this version; "
                        "remove the folder or choose another --out."
                    )
                kept = Row(**(values | {"problems": tuple(values["problems"])}))
                row = replace(kept, **judge(kept.text, kept.mode, kept.reference))
                outdated |= row != kept
                self._rows[row.key] = row
        if outdated:
            unfinished = self._path.with_suffix(".jsonl.part")
            unfinished.write_text(_lines(self._rows.values()), encoding="utf-8")
            unfinished.replace(self._path)

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


def judge(text: str, mode: Mode, reference: str) -> dict[str, Any]:
    """The fields of a row that follow from its text: the parts, their form and their scores."""
    response = parse_response(text, mode)
    return {
        "reasoning": response.reasoning,
        "answer": response.answer,
        "problems": response.problems,
        "exact": exact_match(response.answer, reference),
        "f1": token_f1(response.answer, reference),
    }


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
                any(kept.get(name, {}).get(key, one) != one for key, one in value.items())
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
