"""Recipes: the configuration of a training run as a readable file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic.dataclasses import dataclass

from rarl.errors import RarlError
from rarl.prompts import Form
from rarl.response import Mode
from rarl.rewards.table import REWARDS
from rarl.yaml_file import KEYS_ONLY, Amount, Count, Flag, checked, read_yaml

RecipeName = Literal["sft", "rl", "rarl", "dpo", "kto"]
RECIPES: tuple[RecipeName, ...] = ("sft", "rl", "rarl", "dpo", "kto")
_FOLDER = Path(__file__).with_name("recipes")


class RecipeError(RarlError):
    """A recipe or an override that does not say what can be done."""


@dataclass(frozen=True, slots=True, kw_only=True, config=KEYS_ONLY)
class Lora:
    """A low-rank adapter.

    Attributes:
        rank: of the two factors; 8 in the paper.
        alpha: the product of the factors is scaled by alpha / rank.
        dropout: on the input of the first factor.
        modules: which linear layers of the language model take one.
    """

    rank: Count
    alpha: Count
    dropout: Amount
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, config=KEYS_ONLY)
class Recipe:
    """Keys that SFT and GRPO share; the recipe's file explains each."""

    steps: Count
    micro_batch: Count
    learning_rate: Amount
    warmup_steps: Count
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    weight_decay: Amount
    max_grad_norm: Amount
    precision: Literal["fp32", "bf16"]
    gradient_checkpointing: Literal[True, False, "auto"]
    log_steps: Count
    save_steps: Count
    keep_checkpoints: Count
    held_out: Count
    keep: Mapping[str, Amount]
    lora: Lora


@dataclass(frozen=True, slots=True, kw_only=True, config=KEYS_ONLY)
class SftRecipe(Recipe):
    """Supervised fine-tuning on explanation and answer."""

    batch: Count
    modes: Mapping[Mode, Amount]

    def __post_init__(self) -> None:
        _check_batch(self.batch, self.micro_batch, "batch")
        _check_shares(self.modes, "modes")


@dataclass(frozen=True, slots=True, kw_only=True, config=KEYS_ONLY)
class GrpoRecipe(Recipe):
    """RL and RARL, which differ in `rewards` and `diversity` alone.

    `rewards` gives a weight to each reward of `rarl.rewards.table.REWARDS` that is on.
    """

    prompts: Count
    group: Count
    max_completion: Count
    temperature: Amount
    top_p: Amount
    beta: Amount
    epsilon: Amount
    epsilon_high: Amount
    loss: Literal["grpo", "dr_grpo", "dapo", "bnpo"]
    scale_rewards: Literal["none", "group", "batch"]
    aggregation: Literal["sum_then_normalize", "normalize_then_sum"]
    shared: Flag
    rewards: Mapping[str, Amount]
    contradictions: Flag
    diversity: Flag
    forms: Mapping[Form, Amount]

    def __post_init__(self) -> None:
        if self.group < 2:
            raise RecipeError("group must be 2 or more: GRPO compares completions of one question.")
        _check_batch(self.prompts * self.group, self.micro_batch, "prompts * group")
        if self.shared and self.micro_batch % self.group:
            raise RecipeError(
                f"micro_batch ({self.micro_batch}) must be a multiple of group ({self.group}), so "
                "that each question runs once for all its completions; or set shared=false."
            )
        for name in self.rewards.keys() - REWARDS.keys():
            raise RecipeError(f"rewards has no key {name}; it has {', '.join(REWARDS)}.")
        if not any(self.rewards.values()):
            raise RecipeError("rewards: give at least one reward a weight.")
        if self.diversity:
            _check_shares(self.forms, "forms")


@dataclass(frozen=True, slots=True, kw_only=True, config=KEYS_ONLY)
class PreferenceRecipe(Recipe):
    """DPO and KTO on what readers prefer.

    `length_limit` and `image_limit` say which checkpoints may be chosen, see
    `rarl.training.preference_selection`.
    """

    batch: Count
    beta: Amount
    length_limit: Amount
    image_limit: Amount

    def __post_init__(self) -> None:
        _check_batch(self.batch, self.micro_batch, "batch")
        if self.beta <= 0:
            raise RecipeError("beta must be above 0: without it nothing holds the base.")
        if self.length_limit < 1:
            raise RecipeError("length_limit must be 1 or more.")


@dataclass(frozen=True, slots=True, kw_only=True, config=KEYS_ONLY)
class DpoRecipe(PreferenceRecipe):
    """Pairs of a chosen and a rejected answer."""

    loss: Literal["sigmoid", "ipo", "robust"]
    label_smoothing: Amount
    length_weight: Amount


@dataclass(frozen=True, slots=True, kw_only=True, config=KEYS_ONLY)
class KtoRecipe(PreferenceRecipe):
    """Single answers, good or bad."""

    good_weight: Amount
    bad_weight: Amount

    def __post_init__(self) -> None:
        # Not super(): `slots` makes the class anew.
        PreferenceRecipe.__post_init__(self)
        if self.micro_batch < 2:
            raise RecipeError("micro_batch must be 2 or more: KTO compares answers of a pass.")


AnyRecipe = SftRecipe | GrpoRecipe | DpoRecipe | KtoRecipe
_KINDS: Mapping[RecipeName, type[AnyRecipe]] = {
    "sft": SftRecipe,
    "rl": GrpoRecipe,
    "rarl": GrpoRecipe,
    "dpo": DpoRecipe,
    "kto": KtoRecipe,
}


def load_recipe(
    name: RecipeName, variant: str | None = None, overrides: Sequence[str] = ()
) -> AnyRecipe:
    """Read a recipe, lay a variant and then overrides over it.

    Args:
        name: which recipe.
        variant: an entry of the file's `variants`, or None for the file's own values.
        overrides: `key=value`, with a dot for nested keys (`lora.rank=4`).

    Raises:
        RecipeError: a key is unknown or missing, or a value does not fit; the key is named.
    """
    values: dict[str, Any] = read_yaml(_FOLDER / f"{name}.yaml", RecipeError)
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
    return checked(_KINDS[name], values, f"The recipe {name}", RecipeError)


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


def _check_batch(batch: int, micro_batch: int, name: str) -> None:
    if micro_batch < 1 or batch < 1 or batch % micro_batch:
        raise RecipeError(f"micro_batch ({micro_batch}) must divide {name} ({batch}).")


def _check_shares(shares: Mapping[Any, float], name: str) -> None:
    if not any(shares.values()):
        raise RecipeError(f"{name}: give at least one a share above 0.")
