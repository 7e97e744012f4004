"""Run one training from examples to a saved adapter."""

from __future__ import annotations

import errno
import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import datasets
import torch
from accelerate.utils import DistributedType
from peft import PeftModel
from safetensors import SafetensorError
from transformers import set_seed
from transformers.trainer import TRAINER_STATE_NAME

from rarl import __version__
from rarl.compat.trl import completions_scored_alone
from rarl.data import Example
from rarl.errors import ModelError
from rarl.judge import Judge
from rarl.models.loader import LoadedModel, load_model
from rarl.response import Mode
from rarl.training.adapter import AdapterNorm, adapter_norm, check_language_only
from rarl.training.card import model_card
from rarl.training.checkpoint_selection import Selection
from rarl.training.dataset import check_training_rows, grpo_rows, sft_rows
from rarl.training.preference import Preferences, dpo_rows, kto_rows, preference_trainer
from rarl.training.preference_selection import PreferenceSelection
from rarl.training.preflight import Checked, check_grpo, check_preference, check_rows, check_sft
from rarl.training.progress import Progress, draw_curves, say
from rarl.training.recipe import (
    AnyRecipe,
    DpoRecipe,
    GrpoRecipe,
    KtoRecipe,
    RecipeError,
    RecipeName,
    SftRecipe,
    load_recipe,
    recipe_text,
)
from rarl.training.rl import grpo_trainer
from rarl.training.sft import sft_trainer
from rarl.training.trial import Trial
from rarl.training.trl_config import processes, show

# The recipes' own values fit a model of 9 M parameters.
SMALLEST = "9m"
# Models of more parameters take the variant of the recipe that is made for them.
_SIZES = ((500_000_000, "2b"), (50_000_000, "135m"), (0, SMALLEST))
_PACKAGES = ("torch", "transformers", "trl", "peft", "datasets")
# Tokens that a held-out answer may have beyond the longest target of SFT.
_ROOM = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The arguments of a run.

    Attributes:
        recipe: which arm.
        model: "pocket", a folder or a Hub name.
        out: where the adapter goes; checkpoints lie in its `checkpoints` folder.
        data: names of the sets, for the record.
        variant: entry of the recipe's variants, "9m" for the recipe's own values, or None to
            choose by the model's size.
        overrides: `key=value` over the recipe.
        steps: instead of the recipe's, or None.
        seed: of the adapter's start, the order of rows, the forms drawn and the rollouts.
        resume: go on from the last checkpoint in `out`.
        report_to: trackers, as in "tensorboard", "trackio" or "wandb".
        judge: scores reasoning where the recipe gives that a weight.
        vllm_server: address of a server that samples completions.
        vllm_colocate: whether vLLM samples them in this process.
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
    report_to: tuple[str, ...] = ()
    judge: Judge | None = None
    vllm_server: str | None = None
    vllm_colocate: bool = False


def train(
    options: Options,
    examples: Sequence[Example],
    held_out: Sequence[Example] = (),
    preferences: Preferences | None = None,
) -> dict[str, Any]:
    """Train one arm and save its adapter.

    `out` then holds the adapter with its model card, `recipe.yaml` (every choice), `rarl.json`
    (what it was made of), `metrics.jsonl` and `curves.png`; with held-out questions also
    `selection.jsonl`. Under `accelerate launch` the first process writes.

    Args:
        options: what to do.
        examples: training rows; those of `preferences` for DPO and KTO.
        held_out: rows to choose the checkpoint by; none takes the last one.
        preferences: what DPO and KTO are trained on.

    Returns:
        The content of `rarl.json`.

    Raises:
        RarlError: the recipe, the rows, the model, the folder or the disk do not allow a run.
    """
    check_training_rows(examples)
    _recipe(options, options.variant or SMALLEST)  # a mistyped key shows before a long load
    first = processes().is_main_process
    checkpoint = _last_checkpoint(options)
    processes().wait_for_everyone()
    started = time.monotonic()
    try:
        with warnings.catch_warnings():
            # Silence deprecation warnings that the libraries raise about each other.
            warnings.filterwarnings(
                "ignore", category=FutureWarning, module="(transformers|trl|peft)"
            )
            return _trained(options, examples, held_out, preferences, checkpoint, first, started)
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _disk_is_full(error):
            raise
        kept = _checkpoints(options.out)
        raise ModelError(
            f"The disk that holds {options.out} is full; free some space and add --resume "
            + (f"(the last checkpoint is {kept[-1].name})." if kept else "or start again.")
        ) from error


def _trained(
    options: Options,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    preferences: Preferences | None,
    checkpoint: str | None,
    first: bool,
    started: float,
) -> dict[str, Any]:
    loaded, variant, recipe = _loaded(options)
    if first:
        _write_recipe(options, variant, recipe)
    datasets.disable_progress_bars()
    set_seed(options.seed)
    note = say if first else _nothing
    rows, most = _rows(options, examples, preferences, loaded, recipe)
    checked = check_rows(loaded.base, loaded.processor, rows, most)
    for line in checked.lines:
        note(line)
    trainer, trial, checks = _trainer(options, loaded, rows, recipe, checked)
    adapted: PeftModel = trainer.model
    layers = check_language_only(adapted)
    if _is_spread(trainer):
        # Not yet spread over processes here, so that it proves nothing of what will be.
        note("Pre-flight: the weights will be spread over processes; no trial on the whole model.")
        trainer.args.activation_checkpointing = recipe.gradient_checkpointing is not False
    else:
        trial.decides = recipe.gradient_checkpointing == "auto"
        for line in checks:
            note(line)
        done = int(checkpoint.rpartition("-")[2]) if checkpoint else 0
        note(trial.sentence(recipe.steps - done))
    note(
        f"Training {options.recipe} ({variant}) on {len(examples)} rows for {recipe.steps} steps: "
        f"{adapted.get_nb_trainable_parameters()[0]:,} parameters in {layers} language layers."
    )
    progress = Progress(options.out / "metrics.jsonl")
    show(trainer, progress)
    selection = _selection(options, loaded, recipe, held_out, preferences, most, trainer)
    if selection is not None:
        trainer.add_callback(selection)
    try:
        with completions_scored_alone():
            trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        progress.close()

    settled = selection.settle(adapted) if selection is not None and first else None
    norm = adapter_norm(adapted)
    _note_movement(norm, note)
    # Do not record the local path of the base model.
    base = Path(options.model).name if Path(options.model).is_dir() else options.model
    adapted.peft_config["default"].base_model_name_or_path = base
    record = {
        "base_revision": loaded.revision,
        "base": base,
        "recipe": options.recipe,
        "variant": variant,
        "steps": recipe.steps,
        "seed": options.seed,
        "data": _described(options.data, examples),
        "selection": settled,
        "adapter_norm": norm.change,
        "adapter_norm_relative": norm.relative,
        "moved": norm.moved,
        "judge": _judged(options.judge),
        "processes": processes().num_processes,
        "seconds": round(time.monotonic() - started, 1),
        "made": datetime.now(UTC).date().isoformat(),
        "last": progress.last,
        "versions": _versions(),
    }
    _save(options, trainer, adapted, record, first)
    return record


def _loaded(options: Options) -> tuple[LoadedModel, str, AnyRecipe]:
    """The base in the precision of the recipe, and the variant of the recipe that fits its size."""
    # Small weights arrive in fp32 on the CPU and are rounded only where the recipe says so.
    loaded = load_model(options.model, adapters={}, device="cpu", eight_bit=False)
    parameters = loaded.base.num_parameters()
    variant = options.variant or next(name for least, name in _SIZES if parameters > least)
    recipe = _recipe(options, variant)
    loaded.base.to(dtype=torch.bfloat16 if recipe.precision == "bf16" else torch.float32)  # type: ignore[call-arg]
    return loaded, variant, recipe


def _rows(
    options: Options,
    examples: Sequence[Example],
    preferences: Preferences | None,
    loaded: LoadedModel,
    recipe: AnyRecipe,
) -> tuple[datasets.Dataset, int]:
    """The rows of a training, and the most tokens that a completion has."""
    images = loaded.processor.image_processor
    if isinstance(recipe, SftRecipe):
        rows = sft_rows(examples, recipe, options.seed, images)
        return rows, _longest_target(loaded, rows)
    if isinstance(recipe, DpoRecipe | KtoRecipe):
        assert preferences is not None, "the command loads them"
        count = recipe.steps * recipe.batch
        if isinstance(recipe, DpoRecipe):
            rows = dpo_rows(preferences.pairs, count, options.seed, images)
        else:
            rows = kto_rows(preferences.singles(), count, options.seed, images)
        return rows, _longest_completion(loaded, preferences)
    return grpo_rows(examples, recipe, options.seed, images), recipe.max_completion


def _trainer(
    options: Options,
    loaded: LoadedModel,
    rows: datasets.Dataset,
    recipe: AnyRecipe,
    checked: Checked,
) -> tuple[Any, Trial, Iterable[str]]:
    """The trainer of a recipe, with its trial step and the lines of its pre-flight checks."""
    checkpoints = options.out / "checkpoints"
    a_step = recipe.prompts * recipe.group if isinstance(recipe, GrpoRecipe) else recipe.batch
    trial = Trial(a_step // (recipe.micro_batch * processes().num_processes))
    trainer: Any
    if isinstance(recipe, SftRecipe):
        trainer = sft_trainer(loaded, rows, recipe, checkpoints, options.seed, options.report_to)
        return trainer, trial, check_sft(trainer, checked, recipe.micro_batch, trial)
    if isinstance(recipe, DpoRecipe | KtoRecipe):
        trainer = preference_trainer(
            loaded, rows, recipe, checkpoints, options.seed, options.report_to
        )
        return trainer, trial, check_preference(trainer, checked, recipe, trial)
    trainer = grpo_trainer(
        loaded,
        rows,
        recipe,
        checkpoints,
        options.seed,
        options.report_to,
        options.judge,
        options.vllm_server,
        options.vllm_colocate,
    )
    return trainer, trial, check_grpo(trainer, checked, recipe.micro_batch, trial)


def _is_spread(trainer: Any) -> bool:
    """Whether the weights are spread over processes."""
    kind = trainer.accelerator.distributed_type
    return kind in {DistributedType.FSDP, DistributedType.DEEPSPEED}


def _note_movement(norm: AdapterNorm, note: Callable[[str], None]) -> None:
    if not norm.moved:
        note("The adapter has not moved: its answers are the base's. Check rewards and rate.")
    elif norm.still:
        note(f"{norm.still} of {norm.layers} adapted layers have not moved.")


def _versions() -> dict[str, str]:
    """Of what a training depends on."""
    packages = {package: version(package) for package in _PACKAGES}
    return {"rarl": __version__, "python": python_version(), **packages}


def _save(
    options: Options, trainer: Any, adapted: PeftModel, record: dict[str, Any], first: bool
) -> None:
    trainer.accelerator.wait_for_everyone()
    if _is_spread(trainer):
        trainer.save_model(str(options.out))  # gathers what is spread over processes
    elif first:
        adapted.save_pretrained(str(options.out), save_embedding_layers=False)
    if first:
        draw_curves(options.out / "metrics.jsonl", options.out / "curves.png")
        recipe_file = (options.out / "recipe.yaml").read_text("utf-8")
        (options.out / "README.md").write_text(model_card(record, recipe_file), "utf-8")
        (options.out / "rarl.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _selection(
    options: Options,
    loaded: LoadedModel,
    recipe: AnyRecipe,
    held_out: Sequence[Example],
    preferences: Preferences | None,
    most: int,
    trainer: Any,
) -> Selection | None:
    votes = () if preferences is None else preferences.held_out_votes
    if not votes and (not recipe.held_out or not held_out):
        return None
    if _is_spread(trainer):
        say("The weights are spread over processes: the last checkpoint is kept, not the best.")
        return None
    # The same questions whatever the order of the rows or the seed of the run.
    chosen = sorted(held_out, key=lambda row: hashlib.sha256(row.id.encode()).hexdigest())
    # Whatever training hardly asks, since the base knows it, would hide what training changes.
    asked = [row for row in chosen if recipe.keep.get(row.category or "", 1.0) == 1.0]
    chosen = [row for row in asked or chosen if row.image is not None][: recipe.held_out]
    # As most training rows ask; under diversity prompting, as the app does.
    mode: Mode = "reason"
    if isinstance(recipe, SftRecipe):
        mode = max(recipe.modes, key=lambda name: recipe.modes[name])
    if isinstance(recipe, DpoRecipe | KtoRecipe):
        return PreferenceSelection(loaded, chosen, votes, recipe, most, mode, options.out, trainer)
    if isinstance(recipe, SftRecipe):
        most += _ROOM  # the base may say more than any target
    return Selection(loaded, chosen, most, mode, options.out)


def _nothing(sentence: str) -> None:
    """Discard output; used by all processes but the first."""


def _judged(judge: Judge | None) -> dict[str, Any] | None:
    if judge is None:
        return None
    return {"model": judge.model, "prompt_hash": judge.prompt_hash, **asdict(judge.usage)}


def _disk_is_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return True
    # Libraries that write in another language say it in their message.
    message = str(error)
    return any(
        words in message
        for words in (
            "No space left",
            "File too large",
            "PytorchStreamWriter",
            "inline_container",  # torch.save, where it cannot end its archive
        )
    )


def _checkpoints(out: Path) -> list[Path]:
    """Checkpoints that were written to their end, oldest first; the trainer's state comes last."""
    whole = []
    for folder in out.glob("checkpoints/checkpoint-*"):
        try:
            json.loads((folder / TRAINER_STATE_NAME).read_text("utf-8"))
        except (OSError, ValueError):
            continue
        whole.append(folder)
    return sorted(whole, key=lambda folder: int(folder.name.rpartition("-")[2]))


def _recipe(options: Options, variant: str) -> AnyRecipe:
    recipe = load_recipe(
        options.recipe, None if variant == SMALLEST else variant, options.overrides
    )
    return recipe if options.steps is None else replace(recipe, steps=options.steps)


def _last_checkpoint(options: Options) -> str | None:
    """The checkpoint to go on from; makes the folder where a run starts anew."""
    whole = _checkpoints(options.out)
    if options.resume:
        if not whole:
            raise ModelError(f"{options.out} holds no checkpoint to resume from.")
        return str(whole[-1])
    if whole or (options.out / "adapter_model.safetensors").exists():
        raise ModelError(
            f"{options.out} already holds a run; add --resume or choose another folder."
        )
    options.out.mkdir(parents=True, exist_ok=True)
    return None


def _write_recipe(options: Options, variant: str, recipe: AnyRecipe) -> None:
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


def _longest_completion(loaded: Any, preferences: Preferences) -> int:
    texts = [answer.completion for answer in preferences.singles()]
    return len(loaded.processor.tokenizer(max(texts, key=len))["input_ids"]) + 2


def _described(names: Sequence[str], examples: Sequence[Example]) -> dict[str, Any]:
    ids = "\n".join(sorted(example.id for example in examples))
    rows = sorted(
        json.dumps([row.id, row.question, row.answer, row.explanation, row.image and row.image.key])
        for row in examples
    )
    return {
        "sets": list(names),
        "rows": len(examples),
        "images": len({example.image.key for example in examples if example.image}),
        "licences": {row.source: row.licence for row in examples},
        "sha256_of_ids": hashlib.sha256(ids.encode()).hexdigest()[:12],
        "sha256_of_rows": hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12],
    }
