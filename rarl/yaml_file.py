"""YAML files of a site, checked against a type; each mistake is one sentence.

The sentence names the file, the place in it and what to write there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError

from rarl.errors import RarlError

T = TypeVar("T")

KEYS_ONLY = ConfigDict(extra="forbid")
"""For a dataclass that is read from a file: a key that it does not have is a mistake."""

_SHOWN = 40  # characters of a value that a sentence quotes
_MUST = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "dataclass_type": "a mapping",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
}


def _not_bool(value: object) -> object:
    """Refuse true and false, which Python takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Text = Annotated[str, Field(min_length=1)]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, BeforeValidator(_not_bool), Field(ge=0)]
"""A whole number, 0 or more."""
Amount = Annotated[float, BeforeValidator(_not_bool), Field(ge=0, allow_inf_nan=False)]
"""A finite number, 0 or more."""


def read_yaml(path: Path, error: Callable[[str], RarlError]) -> Any:
    """The content of a YAML file in UTF-8.

    Args:
        path: of the file.
        error: makes the exception from its sentence.

    Raises:
        RarlError: the file cannot be read, is not YAML, or has one key twice.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as failure:
        raise error(f"{path} cannot be read ({failure.strerror}); check its name.") from None
    except UnicodeDecodeError:
        raise error(f"{path} is not a YAML file: it is not text in UTF-8; save it again.") from None
    try:
        return yaml.load(text, _UniqueKeys)
    except _TwiceError as failure:
        raise error(f"{path}, {failure}") from None
    except yaml.MarkedYAMLError as failure:
        line = f"; correct line {failure.problem_mark.line + 1}" if failure.problem_mark else ""
        raise error(f"{path} is not a YAML file{line or '; correct it'}.") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise error(f"{path} is not a YAML file; correct it.") from None


def checked(
    kind: type[T], content: Any, source: str, error: Callable[[str], RarlError], *within: str
) -> T:
    """A value of a type, from what stands in a file.

    Args:
        kind: a pydantic dataclass.
        content: as `read_yaml` returns it.
        source: what the sentence calls the file.
        error: makes the exception from its sentence.
        within: keys that lead to the content.

    Raises:
        RarlError: the first mistake.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as failure:
        # A mistyped key is also missing under its right name; the typing error says more.
        details = sorted(failure.errors(), key=lambda detail: detail["type"] != _EXTRA)
        raise error(f"{source}: {_mistake(kind, details[0], within)}.") from None


_EXTRA = "unexpected_keyword_argument"


def _mistake(kind: type, detail: Mapping[str, Any], within: Sequence[str]) -> str:
    """What is wrong, without the name of the file."""
    inside = [str(part) for part in detail["loc"] if part != "[key]"]
    place = ".".join((*within, *inside)) or "the file"
    outer = ".".join((*within, *inside[:-1])) or "the file"
    reason, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if reason == _EXTRA:
        return f"{outer} has no key {inside[-1]}; it has {', '.join(_keys(kind, inside[:-1]))}"
    if reason == "missing":
        return f"{outer} lacks {inside[-1]}; add it"
    if detail["loc"][-1:] == ("[key]",):
        return f"{outer} has no key {value}; it has {context.get('expected', 'text')}"
    if reason == "value_error":
        return f"{place} {context['error']}"
    if reason == "literal_error":
        must = str(context["expected"]).replace("'", "")
    elif reason in _MUST:
        must = _MUST[reason]
    elif reason == "string_too_short":
        must = "text that is not empty"
    elif reason.startswith("int"):
        must = "a whole number, 0 or more"
    else:
        must = "a number, 0 or more"
    return f"{place} must be {must}, not {_quoted(value)}"


def _keys(kind: Any, location: Sequence[str]) -> list[str]:
    """The keys of the dataclass at a place of another."""
    for part in location:
        hint = get_type_hints(kind)[part]
        kind = next(entry for entry in (hint, *get_args(hint)) if is_dataclass(entry))
    return [field.name for field in fields(kind)]


def _quoted(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "empty"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


class _TwiceError(yaml.YAMLError):
    """A key that occurs twice; the text says where and what to do."""


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key occurs once, where the standard loader keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the standard loader, but refuse a second entry under the same key."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise _TwiceError(
                        f"line {line}: {key.value} occurs twice; rename or remove one."
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)
