"""One training run, from examples to a saved adapter."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import datasets
import torch
from peft import PeftModel
from transformers import set_seed
from transformers.trainer_utils import get_last_checkpoint

from rarl import __version__
from rarl.data import Example
from rarl.errors import ModelError
from rarl.models.loading import load_model
from rarl.training.adapter import adapter_norm, check_language_only
from rarl.training.preflight import preflight
from rarl.training.progress import Progress, say
from rarl.training.recipe import (
    GrpoRecipe,
    RecipeError,
    RecipeName,
    SftRecipe,
    load_recipe,
    recipe_text,
)
from rarl.training.rl import grpo_trainer
from rarl.training.rows import check_training_rows, grpo_rows, sft_rows
from rarl.training.sft import sft_trainer
from rarl.training.trainers import completions_scored_alone, show

# Models of this many parameters take the variant of the recipe that is made for them.
_LARGE = 500_000_000
_PACKAGES = ("torch", "transformers", "trl", "peft", "datasets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is asked to do.

    Attributes:
        recipe: which arm.
        model: "pocket", a folder or a Hub name.
        out: where the adapter goes; checkpoints lie in its `checkpoints` folder.
        data: names of the sets, for the record.
        variant: entry of the recipe's variants, "pocket" for the recipe's own values, or None to
            choose by the model's size.
        overrides: `key=value` over the recipe.
        steps: instead of the recipe's, or None.
        seed: of the adapter's start, the order of rows, the forms drawn and the rollouts.
        resume: go on from the last checkpoint in `out`.
    """

    recipe: RecipeName
    model: str
    out: Path
    data: tuple[str, ...]
    variant: str | None = None
    overrides: tuple[str, ...] = ()
    steps: int | None = None
    seed: int = 0
    resume: bool = False


def train(options: Options, examples: Sequence[Example]) -> dict[str, Any]:
    """Train one arm and save its adapter.

    `out` then holds the adapter, `recipe.yaml` (every choice), `rarl.json` (what it was made of)
    and `metrics.jsonl`.

    Returns:
        The content of `rarl.json`.

    Raises:
        RarlError: the recipe, the rows, the model or the folder do not allow a run.
    """
    check_training_rows(examples)
    _recipe(options, options.variant or "pocket")  # a mistyped key shows before a long load
    checkpoint = _last_checkpoint(options)
    started = time.monotonic()

    # Small weights arrive in fp32 on the CPU and are rounded only where the recipe says so.
    loaded = load_model(options.model, adapters={}, device="cpu")
    variant = options.variant or ("2b" if loaded.base.num_parameters() > _LARGE else "pocket")
    recipe = _recipe(options, variant)
    loaded.base.to(dtype=torch.bfloat16 if recipe.precision == "bf16" else torch.float32)  # type: ignore[call-arg]
    _write_recipe(options, variant, recipe)

    datasets.disable_progress_bars()
    set_seed(options.seed)
    checkpoints = options.out / "checkpoints"
    images = loaded.processor.image_processor
    if isinstance(recipe, SftRecipe):
        rows = sft_rows(examples, recipe, options.seed, images)
        say(preflight(loaded.base, loaded.processor, rows, _longest_target(loaded, rows)))
        trainer: Any = sft_trainer(loaded, rows, recipe, checkpoints, options.seed)
    else:
        rows = grpo_rows(examples, recipe, options.seed, images)
        say(preflight(loaded.base, loaded.processor, rows, recipe.max_completion))
        trainer = grpo_trainer(loaded, rows, recipe, checkpoints, options.seed)
    adapted: PeftModel = trainer.model
    layers = check_language_only(adapted)
    say(
        f"Training {options.recipe} ({variant}) on {len(examples)} rows for {recipe.steps} steps: "
        f"{adapted.get_nb_trainable_parameters()[0]:,} parameters in {layers} language layers."
    )
    progress = Progress(options.out / "metrics.jsonl")
    show(trainer, progress)
    with warnings.catch_warnings(), completions_scored_alone():
        # What the libraries owe each other is no news to the person who trains.
        warnings.filterwarnings("ignore", category=FutureWarning, module="(transformers|trl|peft)")
        trainer.train(resume_from_checkpoint=checkpoint)

    norm = adapter_norm(adapted)
    if not norm.moved:
        say("The adapter has not moved: its answers are the base's. Check rewards and rate.")
    elif norm.still:
        say(f"{norm.still} of {norm.layers} adapted layers have not moved.")
    # Where the base lies on this machine is nobody's business.
    adapted.peft_config["default"].base_model_name_or_path = (
        Path(options.model).name if Path(options.model).is_dir() else options.model
    )
    adapted.save_pretrained(str(options.out), save_embedding_layers=False)
    (options.out / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    record = {
        "base_revision": loaded.revision,
        "base": adapted.peft_config["default"].base_model_name_or_path,
        "recipe": options.recipe,
        "variant": variant,
        "steps": recipe.steps,
        "seed": options.seed,
        "data": _described(options.data, examples),
        "adapter_norm": norm.change,
        "adapter_norm_relative": norm.relative,
        "moved": norm.moved,
        "seconds": round(time.monotonic() - started, 1),
        "last": progress.last,
        "versions": {
            "rarl": __version__,
            "python": python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
    }
    (options.out / "rarl.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    return record


def _recipe(options: Options, variant: str) -> SftRecipe | GrpoRecipe:
    recipe = load_recipe(
        options.recipe, None if variant == "pocket" else variant, options.overrides
    )
    return recipe if options.steps is None else replace(recipe, steps=options.steps)


def _last_checkpoint(options: Options) -> str | None:
    """The checkpoint to go on from; makes the folder where a run starts anew."""
    folder = options.out / "checkpoints"
    last: str | None = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if options.resume:
        if last is None:
            raise ModelError(f"{options.out} holds no checkpoint to resume from.")
        return last
    if last is not None or (options.out / "adapter_model.safetensors").exists():
        raise ModelError(
            f"{options.out} already holds a run; add --resume or choose another folder."
        )
    options.out.mkdir(parents=True, exist_ok=True)
    return None


def _write_recipe(options: Options, variant: str, recipe: SftRecipe | GrpoRecipe) -> None:
    """Keep the recipe beside the adapter; a resumed run must not change it, except its length."""
    path = options.out / "recipe.yaml"
    text = recipe_text(options.recipe, variant, options.seed, recipe)
    if options.resume and path.exists():
        before, now = (
            [line for line in lines.splitlines() if not line.startswith("steps:")]
            for lines in (path.read_text("utf-8"), text)
        )
        if before != now:
            changed = sorted({line.split(":")[0].strip() for line in set(before) ^ set(now)})
            raise RecipeError(
                f"The run in {options.out} was begun with another recipe ({', '.join(changed)})."
            )
    path.write_text(text, "utf-8")


def _longest_target(loaded: Any, rows: datasets.Dataset) -> int:
    targets = rows.with_format(None)["target"]
    return len(loaded.processor.tokenizer(max(targets, key=len))["input_ids"]) + 2


def _described(names: Sequence[str], examples: Sequence[Example]) -> dict[str, Any]:
    identity = "\n".join(sorted(example.id for example in examples))
    return {
        "sets": list(names),
        "rows": len(examples),
        "images": len({example.image.key for example in examples if example.image}),
        "sha256_of_ids": hashlib.sha256(identity.encode()).hexdigest()[:12],
    }
