"""Recipes: the configuration of a training run as a readable file."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from rarl.errors import RarlError
from rarl.prompts import Form
from rarl.response import Mode
from rarl.rewards.table import REWARDS

RecipeName = Literal["sft", "rl", "rarl"]
RECIPES: tuple[RecipeName, ...] = ("sft", "rl", "rarl")
_FOLDER = Path(__file__).with_name("recipes")


class RecipeError(RarlError):
    """A recipe or an override that does not say what can be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """A low-rank adapter.

    Attributes:
        rank: of the two factors; 8 in the paper.
        alpha: the product of the factors is scaled by alpha / rank.
        dropout: on the input of the first factor.
        modules: which linear layers of the language model take one.
    """

    rank: int
    alpha: int
    dropout: float
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Keys that SFT and GRPO share; the recipe's file explains each."""

    steps: int
    micro_batch: int
    learning_rate: float
    warmup_steps: int
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    weight_decay: float
    max_grad_norm: float
    precision: Literal["fp32", "bf16"]
    gradient_checkpointing: Literal[True, False, "auto"]
    log_steps: int
    save_steps: int
    keep_checkpoints: int
    held_out: int
    keep: Mapping[str, float]
    lora: Lora


@dataclass(frozen=True, slots=True, kw_only=True)
class SftRecipe(Recipe):
    """Supervised fine-tuning on explanation and answer."""

    batch: int
    modes: Mapping[Mode, float]

    def __post_init__(self) -> None:
        _check_batch(self.batch, self.micro_batch, "batch")
        _check_shares(self.modes, "modes")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpoRecipe(Recipe):
    """RL and RARL, which differ in `rewards` and `diversity` alone.

    `rewards` gives a weight to each reward of `rarl.rewards.table.REWARDS` that is on.
    """

    prompts: int
    group: int
    max_completion: int
    temperature: float
    top_p: float
    beta: float
    epsilon: float
    epsilon_high: float
    loss: Literal["grpo", "dr_grpo", "dapo", "bnpo"]
    scale_rewards: Literal["none", "group", "batch"]
    aggregation: Literal["sum_then_normalize", "normalize_then_sum"]
    shared: bool
    rewards: Mapping[str, float]
    contradictions: bool
    diversity: bool
    forms: Mapping[Form, float]

    def __post_init__(self) -> None:
        if self.group < 2:
            raise RecipeError("group must be 2 or more: GRPO compares completions of one question.")
        _check_batch(self.prompts * self.group, self.micro_batch, "prompts * group")
        if self.shared and self.micro_batch % self.group:
            raise RecipeError(
                f"micro_batch ({self.micro_batch}) must be a multiple of group ({self.group}), so "
                "that each question runs once for all its completions; or set shared=false."
            )
        _check_keys(self.rewards, list(REWARDS), "rewards")
        if not any(self.rewards.values()):
            raise RecipeError("rewards: give at least one reward a weight.")
        if self.diversity:
            _check_shares(self.forms, "forms")


def load_recipe(
    name: RecipeName, variant: str | None = None, overrides: Sequence[str] = ()
) -> SftRecipe | GrpoRecipe:
    """Read a recipe, lay a variant and then overrides over it.

    Args:
        name: which recipe.
        variant: an entry of the file's `variants`, or None for the file's own values.
        overrides: `key=value`, with a dot for nested keys (`lora.rank=4`).

    Raises:
        RecipeError: a key is unknown or missing, or a value does not fit; the key is named.
    """
    values: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text("utf-8"))
    variants: dict[str, dict[str, Any]] = values.pop("variants", {})
    if variant is not None:
        if variant not in variants:
            raise RecipeError(
                f"Recipe {name} has no variant {variant!r}; choose from {', '.join(variants)}."
            )
        _lay_over(values, variants[variant])
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise RecipeError(f"--set takes KEY=VALUE, not {override!r}.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"--set {path}: {text!r} is not a value.") from error
        for key in reversed(path.split(".")):
            value = {key: value}
        _lay_over(values, value)
    recipe: SftRecipe | GrpoRecipe = _build(SftRecipe if name == "sft" else GrpoRecipe, values, "")
    return recipe


def recipe_text(name: RecipeName, variant: str, seed: int, recipe: Recipe) -> str:
    """All choices of a run as YAML, to lie beside the adapter."""
    plain = asdict(recipe)
    plain["lora"]["modules"] = list(recipe.lora.modules)
    head = {"recipe": name, "variant": variant, "seed": seed}
    return yaml.safe_dump(head | plain, sort_keys=False)


def _lay_over(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _lay_over(values[key], value)
        else:
            values[key] = value


def _build(kind: Any, value: Any, path: str) -> Any:
    """A value of a type, or a sentence that names the key."""
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise RecipeError(f"{path} has keys of its own; set one of them.")
        hints = typing.get_type_hints(kind)
        _check_keys(value, [field.name for field in fields(kind)], path)
        for field in fields(kind):
            if field.name not in value and field.default is MISSING:
                raise RecipeError(f"The recipe lacks {_join(path, field.name)}.")
        return kind(  # type: ignore[operator]
            **{key: _build(hints[key], value[key], _join(path, key)) for key in value}
        )
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        # YAML reads a bare `none` as text, but `null`, `no` and `off` as something else.
        if value not in inner:
            choices = ", ".join(str(choice).lower() for choice in inner)
            raise RecipeError(f"{path} must be one of {choices}, not {value!r}.")
        return value
    if origin is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise RecipeError(f"{path} must be a list of words, not {value!r}.")
        return tuple(value)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise RecipeError(f"{path} has keys of its own; set one of them.")
        if inner[0] is not str:
            _check_keys(value, list(typing.get_args(inner[0])), path)
        return {key: _build(inner[1], share, _join(path, key)) for key, share in value.items()}
    return _number_or_flag(kind, value, path)


def _number_or_flag(kind: type, value: Any, path: str) -> Any:
    if kind is bool:
        if not isinstance(value, bool):
            raise RecipeError(f"{path} must be true or false, not {value!r}.")
        return value
    try:
        if isinstance(value, (bool, types.NoneType)):
            raise ValueError
        number = float(value)  # YAML 1.1 reads `1e-4` as text
        if not 0 <= number < float("inf") or (kind is int and number != int(number)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        what = "a whole number" if kind is int else "a number"
        raise RecipeError(f"{path} must be {what}, 0 or more, not {value!r}.") from None
    return int(number) if kind is int else number


def _check_keys(value: Mapping[str, Any], known: Sequence[str], path: str) -> None:
    for key in value:
        if key not in known:
            raise RecipeError(
                f"The recipe knows no {_join(path, key)}; known here: {', '.join(known)}."
            )


def _check_batch(batch: int, micro_batch: int, name: str) -> None:
    if micro_batch < 1 or batch < 1 or batch % micro_batch:
        raise RecipeError(f"micro_batch ({micro_batch}) must divide {name} ({batch}).")


def _check_shares(shares: Mapping[Any, float], name: str) -> None:
    if not any(shares.values()):
        raise RecipeError(f"{name}: give at least one a share above 0.")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
