"""What the programming interface says of its parameters, at `/gradio_api/info` and in clients.

Gradio lists names and types alone; descriptions are in the docstrings of the endpoints, and some
parameters take few words, which depend on the model and on the site's taxonomy.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from demo.context import Parts
from rarl.response import MODES
from rarl.scans.shapes import Shape

_PARAMETER = re.compile(r"^    (\w+): (.*)$")


def describe_api(app: gr.Blocks, parts: Parts) -> None:
    """Add descriptions and enumerations to what an app lists.

    Args:
        app: with its endpoints.
        parts: of the app; what they offer is read whenever somebody asks.
    """
    listed = app.get_api_info
    endpoints: dict[str, Callable[..., Any]] = {
        f"/{each.api_name}": each.fn for each in app.fns.values() if each.fn and each.api_name
    }

    def described(*arguments: Any, **more: Any) -> Any:
        info = listed(*arguments, **more)
        words = offered_words(parts)
        for name, endpoint in info["named_endpoints"].items():
            if name not in endpoints:
                continue
            descriptions = parameter_words(endpoints[name])
            for parameter in endpoint["parameters"]:
                word = parameter["parameter_name"]
                if word == "shapes":
                    parameter["type"] = {"type": "array", "items": shape_schema()}
                _describe(parameter, descriptions.get(word, ""), words.get(word, ()))
        return info

    # Gradio has no hook for this.
    app.get_api_info = described  # type: ignore[method-assign]


def shape_schema() -> dict[str, Any]:
    """What `measure` takes as a shape, as JSON schema."""
    schema = Shape.model_json_schema()
    return {key: schema[key] for key in ("type", "properties", "required", "additionalProperties")}


def offered_words(parts: Parts) -> Mapping[str, Sequence[str]]:
    """Parameter name to the words that it takes, for those that take few."""
    arms = [arm.name for arm in parts.arms()]
    taxonomy = parts.desk.taxonomy()
    return {
        "arm": arms,
        "arms": [*arms, "all"],
        "mode": MODES,
        "category": [key for key, _ in taxonomy.categories],
        "severity": [key for key, _ in taxonomy.severities],
    }


def parameter_words(endpoint: Callable[..., Any]) -> dict[str, str]:
    """Parameter name to its description in the docstring's "Args:".

    >>> def endpoint(): '''Do it.
    ...
    ...     Args:
    ...         scan: the file,
    ...             uploaded.
    ...         arm: a name.
    ...     '''
    >>> parameter_words(endpoint)
    {'scan': 'the file, uploaded.', 'arm': 'a name.'}
    """
    lines = (inspect.getdoc(endpoint) or "").splitlines()
    if "Args:" not in lines:
        return {}
    words: dict[str, str] = {}
    name = ""
    for line in lines[lines.index("Args:") + 1 :]:
        if not line.startswith("    "):
            break
        if started := _PARAMETER.match(line):
            name = started[1]
            words[name] = started[2]
        elif name:
            words[name] += f" {line.strip()}"
    return words


def _describe(parameter: dict[str, Any], words: str, offered: Sequence[str]) -> None:
    # Where leaving it empty means something, the description says so.
    may_be_empty = parameter.get("parameter_default") == ""
    if offered:
        choice = ["", *offered] if may_be_empty else list(offered)
        kind = parameter["type"]
        if kind.get("type") == "array":
            parameter["type"] = {**kind, "items": {"type": "string", "enum": choice}}
        else:
            parameter["type"] = {**kind, "enum": choice}
        words += f" One of: {', '.join(offered)}."
    parameter["python_type"] = {**parameter["python_type"], "description": words.strip()}
