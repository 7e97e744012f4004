"""How a variant was made, read from the files beside its weights; loads no model.

`rarl train` leaves these in the adapter's folder: `rarl.json` (data, seed, selection, versions),
`recipe.yaml`, `metrics.jsonl` (a line per logged step) and `README.md`, the model card. Any of them
may be missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from rarl.errors import ModelError
from rarl.models.variants import EMBEDDED, Checkpoint, is_arms_file, read_arms

_WEIGHTS = "adapter_model.safetensors"
# Files of others are read too: none of them needs more.
_MOST_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Making:
    """What is known of how a variant was made.

    Attributes:
        record: what `rarl.json` says; {} where there is none.
        recipe: the text of `recipe.yaml`, or "".
        curve: one mapping per line of `metrics.jsonl`, oldest first.
        card: the text of the model card, or "".
    """

    record: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""
    curve: tuple[Mapping[str, Any], ...] = ()
    card: str = ""

    def __bool__(self) -> bool:
        return bool(self.record or self.recipe or self.curve or self.card)

    def plain(self) -> dict[str, Any]:
        """As JSON; read by `from_plain`."""
        return asdict(self)

    @classmethod
    def from_plain(cls, content: object) -> Self:
        """What `plain` gave; whatever is of another kind is left out."""
        if not isinstance(content, Mapping):
            return cls()
        record, curve = content.get("record"), content.get("curve")
        recipe, card = content.get("recipe"), content.get("card")
        return cls(
            record if isinstance(record, Mapping) else {},
            recipe if isinstance(recipe, str) else "",
            tuple(row for row in curve if isinstance(row, Mapping))
            if isinstance(curve, list | tuple)
            else (),
            card if isinstance(card, str) else "",
        )


def read_making(folder: Path) -> Making:
    """Read what a folder of weights says of itself; files that are missing or damaged are not said.

    Args:
        folder: of an adapter or of a whole model.
    """
    record: object = {}
    with suppress(ValueError):
        record = json.loads(_text(folder / "rarl.json") or "{}")
    curve = []
    for line in _text(folder / "metrics.jsonl").splitlines():
        with suppress(ValueError):
            curve.append(json.loads(line))
    return Making.from_plain(
        {
            "record": record,
            "recipe": _text(folder / "recipe.yaml"),
            "curve": curve,
            "card": _text(folder / "README.md"),
        }
    )


def variant_folders(model: str) -> dict[str, Path]:
    """The folders that a model's variants lie in, by their names, the base as "base".

    Args:
        model: "pocket", a model folder, a name on the Hub or a variants file. What is no folder on
            this machine is left out.

    >>> sorted(variant_folders("owner/name"))
    []
    """
    if is_arms_file(model):
        try:
            arms = read_arms(model)
        except ModelError:
            return {}
        checkpoints = {
            name: variant.checkpoint
            for name, variant in arms.variants.items()
            if isinstance(variant, Checkpoint)
        }
        named = {**arms.adapters, **checkpoints}
        folders = {name: Path(place) for name, place in named.items() if Path(place).is_dir()}
        return {**_base(arms.base or ""), **folders}
    base_folders = _base(model)
    for folder in base_folders.values():
        adapters = sorted(path for path in (folder / "adapters").glob("*") if path.is_dir())
        return {**base_folders, **{path.name: path for path in adapters}}
    return {}


def _base(model: str) -> dict[str, Path]:
    folder = EMBEDDED.get(model) or Path(model).expanduser()
    return {"base": folder} if model and folder.is_dir() else {}


def adapter_revision(folder: Path) -> str:
    """Twelve hex digits of an adapter's weights, as variants have them; "" where there are none."""
    try:
        with (folder / _WEIGHTS).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:12]
    except OSError:
        return ""


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        if path.stat().st_size <= _MOST_BYTES:
            return path.read_text("utf-8")
    return ""
