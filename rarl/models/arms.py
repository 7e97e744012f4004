"""A file that names the arms on offer; it stands where a model's name does.

    base: Qwen/Qwen2-VL-2B-Instruct
    arms:
      rarl: {adapter: adapters/rarl}
      med-r1: {checkpoint: yuxianglai117/Med-R1, label: Med-R1}
      large: {endpoint: "http://127.0.0.1:8000/v1", model: qwen-32b, key: LARGE_KEY}

`base` is the model that adapters share, itself offered as the arm "base". An adapter is a plain
LoRA on its language layers; a checkpoint a whole model of the same class; an endpoint any server
that speaks OpenAI's protocol, with the server's name of the model and, where it wants one, the
environment variable that holds its key. Folders are relative to the file; what is no folder is
looked for on the Hub.

Reading such a file loads no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rarl.errors import ModelError

SUFFIXES = (".yaml", ".yml")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# What makes an arm of each kind, and what may stand beside it.
_KINDS = {
    "adapter": {"label"},
    "checkpoint": {"label"},
    "endpoint": {"label", "model", "key"},
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model of a server.

    Attributes:
        url: where the server's `/v1` is.
        model: the server's name of the model.
        key: the environment variable that holds the server's key, or None.
    """

    url: str
    model: str
    key: str | None


@dataclass(frozen=True, slots=True)
class ArmsFile:
    """What such a file says, in its order.

    Attributes:
        base: the model that the adapters share, or None where there is none.
        adapters: arm name to a LoRA's folder or name on the Hub.
        checkpoints: arm name to a model's folder or name on the Hub.
        endpoints: arm name to a model of a server.
        labels: arm name to what people read, where the file says so.
    """

    base: str | None
    adapters: Mapping[str, str]
    checkpoints: Mapping[str, str]
    endpoints: Mapping[str, Endpoint]
    labels: Mapping[str, str]


def is_arms_file(name: str | None) -> bool:
    """Whether a model's name is that of such a file.

    >>> is_arms_file("arms.yaml"), is_arms_file("pocket")
    (True, False)
    """
    return name is not None and name.endswith(SUFFIXES)


def read_arms(path: Path | str) -> ArmsFile:
    """Read such a file.

    Raises:
        ModelError: it cannot be read, or an entry is not one of the three kinds.
    """
    path = Path(path).expanduser()
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"The arms file {path} cannot be read; check its name.") from error
    except yaml.YAMLError as error:
        raise ModelError(f"The arms file {path} is not YAML; mend it.") from error
    if not isinstance(content, dict) or not set(content) <= {"base", "arms"}:
        raise ModelError(f'The arms file {path} must say "base", "arms" or both, and no more.')
    base, arms = content.get("base"), content.get("arms") or {}
    if not (base is None or isinstance(base, str)) or not isinstance(arms, dict):
        raise ModelError(
            f'In the arms file {path}, "base" must be a model\'s name and "arms" a list of '
            "NAME: {adapter, checkpoint or endpoint}."
        )
    places: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    labels = {}
    for name, entry in arms.items():
        kind = _kind(path, name, entry)
        if kind == "endpoint":
            places[kind][name] = Endpoint(entry[kind], entry["model"], entry.get("key"))
        else:
            places[kind][name] = _place(path.parent, entry[kind])
        if "label" in entry:
            labels[name] = entry["label"]
    if places["adapter"] and base is None:
        raise ModelError(f'The arms file {path} names adapters; say which "base" they share.')
    if base is None and not arms:
        raise ModelError(f"The arms file {path} names no arm; add one.")
    return ArmsFile(
        base=None if base is None else _place(path.parent, base),
        adapters=places["adapter"],
        checkpoints=places["checkpoint"],
        endpoints=places["endpoint"],
        labels=labels,
    )


def _kind(path: Path, name: object, entry: object) -> str:
    """Which of the three an entry is."""
    kinds = [kind for kind in _KINDS if isinstance(entry, dict) and kind in entry]
    if isinstance(name, str) and len(kinds) == 1 and isinstance(entry, dict):
        (kind,) = kinds
        known = {kind, *_KINDS[kind]}
        words = all(isinstance(value, str) and value for value in entry.values())
        if set(entry) <= known and words and (kind != "endpoint" or "model" in entry):
            if name in {"base", "all"} or not _NAME.fullmatch(name):
                raise ModelError(
                    f"In the arms file {path}, no arm can be called {name!r}; use letters, digits, "
                    '- and _, and neither "base" nor "all".'
                )
            return kind
    raise ModelError(
        f"In the arms file {path}, the arm {name!r} must say one of adapter: FOLDER, "
        "checkpoint: FOLDER, or endpoint: URL with model: NAME (and key: VARIABLE); and may say "
        "label: TEXT."
    )


def _place(beside: Path, value: str) -> str:
    """A folder beside the file as its path; anything else (a name on the Hub) as it is."""
    folder = beside / Path(value).expanduser()
    return str(folder) if folder.is_dir() else value
