"""Recipes are files a person can read; a wrong key is named."""

import pytest
import yaml

from rarl.training.recipe import (
    RECIPES,
    DpoRecipe,
    GrpoRecipe,
    KtoRecipe,
    RecipeError,
    SftRecipe,
    load_recipe,
    recipe_text,
)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("variant", [None, "2b"])
def test_every_recipe_and_variant_loads(name: str, variant: str | None) -> None:
    recipe = load_recipe(name, variant)
    kinds = {"sft": SftRecipe, "dpo": DpoRecipe, "kto": KtoRecipe}
    assert isinstance(recipe, kinds.get(name, GrpoRecipe))
    assert (recipe.lora.rank, recipe.lora.alpha) == (8, 16)
    # On a CPU dropout costs more than a small model gains by it; preference training has none.
    none = name in ("dpo", "kto") or (name == "sft" and variant is None)
    assert recipe.lora.dropout == (0.0 if none else 0.05)
    assert yaml.safe_load(recipe_text(name, variant or "9m", 0, recipe))["recipe"] == name


def test_rl_and_rarl_differ_in_reward_and_diversity_alone() -> None:
    rl, rarl = load_recipe("rl"), load_recipe("rarl")
    assert isinstance(rl, GrpoRecipe) and isinstance(rarl, GrpoRecipe)
    different = {
        key
        for key in yaml.safe_load(recipe_text("rl", "9m", 0, rl))
        if getattr(rl, key, None) != getattr(rarl, key, None)
    }
    assert different == {"rewards", "diversity"}
    assert "reasoning" not in rl.rewards and rarl.rewards["reasoning"] == 1.0


def test_overrides_lie_over_variant_and_file() -> None:
    recipe = load_recipe("rl", "2b", ["learning_rate=3e-6", "lora.rank=4", "forms.hint=0"])
    assert isinstance(recipe, GrpoRecipe)
    assert (recipe.learning_rate, recipe.lora.rank, recipe.max_completion) == (3e-6, 4, 512)
    assert recipe.forms["hint"] == 0 and recipe.forms["short"] == 1


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("lerning_rate=1", "recipe rarl: the file has no key lerning_rate; it has steps, micro"),
        ("lora.rnk=1", "lora has no key rnk; it has rank, alpha, dropout, modules"),
        ("lora.modules=q_proj", "lora.modules must be a list, not 'q_proj'"),
        ("rewards.length=1", "rewards has no key length; it has accuracy"),
        ("rewards.accuracy=true", "rewards.accuracy must be a number, not true or false"),
        ("forms.poem=1", "forms has no key poem; it has 'short'"),
        ("group=1", "group must be 2 or more"),
        ("group=2.5", "group must be a whole number, 0 or more, not 2.5"),
        ("steps=true", "steps must be a number, not true or false"),
        ("steps=null", "steps must be a whole number, 0 or more, not empty"),
        ("beta=-1", "beta must be a number, 0 or more, not -1"),
        ("beta=much", "beta must be a number, 0 or more, not 'much'"),
        ("diversity=1", "diversity must be true or false, not 1"),
        ("loss=sft", "loss must be grpo, dr_grpo, dapo or bnpo, not 'sft'"),
        ("lora=8", "lora must be a mapping, not 8"),
        ("steps", "KEY=VALUE"),
        ("micro_batch=5", "micro_batch"),
    ],
)
def test_a_mistake_is_named(override: str, named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        load_recipe("rarl", overrides=[override])


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("dpo", "beta=0", "beta must be above 0"),
        ("dpo", "length_limit=0.5", "length_limit must be 1 or more"),
        ("kto", "micro_batch=1", "micro_batch must be 2 or more"),
        ("kto", "loss=sigmoid", "loss"),
    ],
    ids=["beta", "length", "pass", "key of another recipe"],
)
def test_preference_recipes_refuse_what_cannot_train(name: str, change: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        load_recipe(name, None, [change])
