"""Gather the facts of a variant from the files beside its weights and from an evaluation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rarl.checks import modality_group
from rarl.facts.measured import Measured
from rarl.models.intended_use import HOW_TO_USE, INTENDED_USE, LIMITS, OUT_OF_SCOPE, USERS
from rarl.models.making import Making
from rarl.response import Mode

NOT_MEASURED = "Not measured."
NOT_RECORDED = "Not recorded."
_MOST_CARD_LIMITS = 16
_LIMIT_HEADING = re.compile(r"limit|cannot|out.of.scope|\brisk|\bbias", re.IGNORECASE)
_HEADING = re.compile(r"^#{1,6}\s+(.*)$")
_LICENCE = re.compile(r"^licen[cs]es?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A data set that weights were trained on, and the licence that it is under."""

    name: str
    licence: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a reader of an answer may want to know of the variant that gave it.

    Attributes:
        model: what people call the model.
        variant: its name among the variants.
        label: what people call it.
        revision: twelve hex digits of its weights, "" where a server does not tell.
        base: the model that it was trained from, with its revision; "" where nothing says so.
        recipe: how it was trained ("sft", "rl", ...), or "".
        made: the day on which training ended, ISO 8601, or "".
        training: the sets that it was trained on; empty where nothing says so.
        rows: training rows, None where nothing says so.
        images: images among them, None likewise.
        limits: known limits, sentences.
        mode: inference mode that was measured.
        measured: accuracy on held-out questions; empty where it was not measured.
    """

    model: str
    variant: str
    label: str
    revision: str
    base: str
    recipe: str
    made: str
    training: tuple[TrainingSet, ...]
    rows: int | None
    images: int | None
    limits: tuple[str, ...]
    mode: Mode
    measured: tuple[Measured, ...]
    intended_use: str = INTENDED_USE
    users: str = USERS
    how_to_use: str = HOW_TO_USE
    out_of_scope: str = OUT_OF_SCOPE

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def about(self, modality: str | None, kind: str | None) -> tuple[Measured, ...]:
        """The measurements that speak of one kind of picture and one kind of question.

        Args:
            modality: a DICOM code or a word such as "ultrasound"; None takes all.
            kind: of the question; None takes all.
        """
        group = (modality_group(modality) or modality) if modality else None
        return tuple(
            line
            for line in self.measured
            if (group is None or line.modality == group) and (kind is None or line.kind == kind)
        )


def facts_of(
    model: str,
    variant: str,
    label: str,
    revision: str,
    making: Making,
    base: Making,
    mode: Mode,
    measured: Sequence[Measured] = (),
) -> Facts:
    """Put a label together; what no file says is left empty.

    Args:
        model: what people call the model.
        variant: its name among the variants.
        label: what people call it.
        revision: of its weights.
        making: what the files beside its weights say.
        base: what those beside the base's weights say, which is the variant's own for the base.
        mode: inference mode that was measured.
        measured: its accuracy.
    """
    record = making.record
    data = record.get("data")
    data = data if isinstance(data, Mapping) else {}
    base_name = " ".join(str(record[key]) for key in ("base", "base_revision") if record.get(key))
    cards = dict.fromkeys((base.card, making.card))
    limits = [limit for card in cards for limit in limits_of_card(card)]
    return Facts(
        model, variant, label, revision, base_name,
        recipe=str(record.get("recipe") or ""),
        made=str(record.get("made") or ""),
        training=_training(data, making.card),
        rows=_count(data.get("rows")),
        images=_count(data.get("images")),
        limits=tuple(dict.fromkeys((*LIMITS, *limits))),
        mode=mode,
        measured=tuple(measured),
    )  # fmt: skip


def limits_of_card(card: str) -> tuple[str, ...]:
    r"""The items under those headings of a model card that speak of limits.

    Args:
        card: its Markdown.

    >>> limits_of_card("# Model\n- fast\n## Known limits\n- English\n  only\n- **slow**")
    ('English only', 'slow')
    """
    items: list[list[str]] = []
    inside = open_item = False
    for line in card.splitlines():
        heading = _HEADING.match(line)
        if heading:
            inside, open_item = bool(_LIMIT_HEADING.search(heading[1])), False
        elif inside and re.match(r"^\s*[-*+]\s+", line):
            items.append([re.sub(r"^\s*[-*+]\s+", "", line)])
            open_item = True
        elif open_item and line.strip():
            items[-1].append(line)
        else:
            open_item = False
    texts = [" ".join(" ".join(lines).split()) for lines in items]
    return tuple(re.sub(r"\*\*|__|`", "", text) for text in texts)[:_MOST_CARD_LIMITS]


def _training(data: Mapping[str, Any], card: str) -> tuple[TrainingSet, ...]:
    """What the record says, or else the card's table with a column of licences."""
    licences = data.get("licences")
    if isinstance(licences, Mapping):
        return tuple(TrainingSet(str(name), str(text)) for name, text in licences.items())
    column: int | None = None
    sets = []
    for line in card.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.lstrip().startswith("|") or len(cells) < 2:
            column = None
        elif column is None:
            places = [place for place, cell in enumerate(cells) if place and _LICENCE.match(cell)]
            column = places[0] if places else None
        elif len(cells) > column and not set(cells[0]) <= set("-: "):
            sets.append(TrainingSet(cells[0], cells[column]))
    return tuple(sets)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
