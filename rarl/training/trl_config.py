"""Trainer configuration that SFT and GRPO share."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PrinterCallback, Trainer

from rarl.training.progress import Progress
from rarl.training.recipe import Recipe, RecipeError


def processes() -> PartialState:
    """Rank and number of the processes of a run.

    Without a GPU several are only found where the CPU is asked for, as TRL does a little later.
    """
    return PartialState(cpu=not torch.cuda.is_available())


def end_processes() -> None:
    """Leave the group of processes; a process that ends inside it may be aborted by its threads.

    Whatever still holds the group goes first: a wrapped model that outlives it would end those
    threads while Python waits for them and they for Python.
    """
    gc.collect()
    processes().destroy_process_group()


def accumulation(batch: int, micro_batch: int, name: str) -> int:
    """Forward passes of each process to a step.

    Args:
        batch: rows a step, over all processes.
        micro_batch: rows a forward pass of one process.
        name: what the recipe calls `batch`.

    Raises:
        RecipeError: the processes cannot share the batch out evenly.
    """
    count: int = processes().num_processes
    if batch % (micro_batch * count):
        raise RecipeError(
            f"{count} processes with micro_batch ({micro_batch}) cannot share {name} ({batch}) "
            "out evenly; set micro_batch to a smaller divisor."
        )
    return batch // (micro_batch * count)


def shared_arguments(
    recipe: Recipe, checkpoints: Path, seed: int, report_to: Sequence[str] = ()
) -> dict[str, Any]:
    """Arguments that both of TRL's configurations take."""
    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(checkpoints),
        "max_steps": recipe.steps,
        "per_device_train_batch_size": recipe.micro_batch,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": recipe.warmup_steps,
        "lr_scheduler_type": recipe.schedule,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "bf16": recipe.precision == "bf16",
        # "auto" is decided by a trial, see `rarl.training.trial`.
        "activation_checkpointing": recipe.gradient_checkpointing is True,
        "logging_steps": recipe.log_steps,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": recipe.save_steps,
        "save_total_limit": recipe.keep_checkpoints,
        "seed": seed,
        "use_cpu": not cuda,
        "dataloader_pin_memory": cuda,
        # Columns are read by our collation and our rewards.
        "remove_unused_columns": False,
        "report_to": list(report_to) or "none",
        "disable_tqdm": True,
    }


def show(trainer: Trainer, progress: Progress) -> None:
    """Our bar instead of the library's printed dictionaries."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(progress)
    phases = getattr(trainer, "phases", None)  # of GRPO alone
    if phases is not None:
        phases.watch = progress.phase
