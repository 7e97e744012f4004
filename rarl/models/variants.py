"""A file that names the variants on offer; it stands where a model's name does.

    base: Qwen/Qwen2-VL-2B-Instruct
    arms:
      rarl: {adapter: adapters/rarl}
      med-r1: {checkpoint: yuxianglai117/Med-R1, label: Med-R1}
      large: {endpoint: "http://127.0.0.1:8000/v1", model: qwen-32b, key: LARGE_KEY}

`base` is the model that adapters share, itself offered as the variant "base". An adapter is a plain
LoRA on its language layers; a checkpoint a whole model of the same class; an endpoint any server
that speaks OpenAI's protocol, with the server's name of the model and, where it wants one, the
environment variable that holds its key. Folders are relative to the file; what is no folder is
looked for on the Hub.

Reading such a file loads no model. Another kind of variant is a class here, an entry of `KINDS`,
and an entry of `OPENERS` in `rarl.inference.resolve`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic.dataclasses import dataclass

from rarl.errors import ModelError
from rarl.yaml_file import KEYS_ONLY, Text, checked, read_yaml

SUFFIXES = (".yaml", ".yml")
# The embedded model, and the one of 9 M parameters that the tests load.
POCKET, TINY = "pocket", "tiny"
# Where they lie in a checkout.
EMBEDDED = {name: Path(__file__).parents[2] / "assets" / name for name in (POCKET, TINY)}

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_RESERVED = frozenset({"base", "all"})


@dataclass(frozen=True, slots=True, kw_only=True, config=KEYS_ONLY)
class Variant:
    """What every kind of variant has.

    Attributes:
        label: what people read; None takes the name.
    """

    label: Text | None = None

    def beside(self, folder: Path) -> Self:
        """The same, with its folders taken from where the file stands."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=KEYS_ONLY)
class Adapter(Variant):
    """A LoRA on the base: its folder, or its name on the Hub."""

    adapter: Text

    def beside(self, folder: Path) -> Self:  # noqa: D102
        return replace(self, adapter=_place(folder, self.adapter))


@dataclass(frozen=True, slots=True, kw_only=True, config=KEYS_ONLY)
class Checkpoint(Variant):
    """A whole model: its folder, or its name on the Hub."""

    checkpoint: Text

    def beside(self, folder: Path) -> Self:  # noqa: D102
        return replace(self, checkpoint=_place(folder, self.checkpoint))


@dataclass(frozen=True, slots=True, kw_only=True, config=KEYS_ONLY)
class Endpoint(Variant):
    """A model of a server.

    Attributes:
        endpoint: address of the server's `/v1`.
        model: the server's name of the model.
        key: the environment variable that holds the server's key, or None.
    """

    endpoint: Text
    model: Text
    key: Text | None = None


KINDS: Mapping[str, type[Variant]] = {
    "adapter": Adapter,
    "checkpoint": Checkpoint,
    "endpoint": Endpoint,
}
"""The key that makes an entry of each kind."""


@dataclass(frozen=True, slots=True, config=KEYS_ONLY)
class _Content:
    """The file before its entries are checked."""

    base: Text | None = None
    arms: Mapping[str, Mapping[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class ArmsFile:
    """The content of a variants file, in its order.

    Attributes:
        base: the model that the adapters share, or None where there is none.
        variants: by name.
    """

    base: str | None
    variants: Mapping[str, Variant]

    @property
    def adapters(self) -> dict[str, str]:
        """Name to a LoRA's folder or name on the Hub."""
        return {
            name: variant.adapter
            for name, variant in self.variants.items()
            if isinstance(variant, Adapter)
        }


def is_arms_file(name: str | None) -> bool:
    """Whether a model's name is that of such a file.

    >>> is_arms_file("arms.yaml"), is_arms_file("pocket")
    (True, False)
    """
    return name is not None and name.endswith(SUFFIXES)


def read_arms(path: Path | str) -> ArmsFile:
    """Read such a file.

    Raises:
        ModelError: it cannot be read, or an entry is of none of the kinds.
    """
    path = Path(path).expanduser()
    content = checked(_Content, read_yaml(path, ModelError), str(path), ModelError)
    variants: dict[str, Variant] = {}
    for name, entry in (content.arms or {}).items():
        if name in _RESERVED or not _NAME.fullmatch(name):
            raise ModelError(
                f"{path}: no variant can be called {name!r}; use letters, digits, - and _, and "
                'neither "base" nor "all".'
            )
        kinds = [kind for key, kind in KINDS.items() if key in entry]
        if len(kinds) != 1:
            raise ModelError(
                f"{path}: arms.{name} must have one of the keys {', '.join(KINDS)}, and one alone."
            )
        variant = checked(kinds[0], entry, str(path), ModelError, "arms", name)
        variants[name] = variant.beside(path.parent)
    arms = ArmsFile(None if content.base is None else _place(path.parent, content.base), variants)
    if arms.adapters and arms.base is None:
        raise ModelError(f"{path} names adapters; add the base that they share.")
    if arms.base is None and not variants:
        raise ModelError(f"{path} names no variant; add one under arms.")
    return arms


def _place(beside: Path, value: str) -> str:
    """A folder beside the file as its path; anything else (a name on the Hub) as it is."""
    folder = beside / Path(value).expanduser()
    return str(folder) if folder.is_dir() else value
