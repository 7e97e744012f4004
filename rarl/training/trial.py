"""Run the parts of one training step to measure time and memory before training."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch

from rarl.models.loader import LARGE

# Tokens of the trial rollout; its length is multiplied up to the whole one.
_TOKENS = 16
# Share of the device's memory that a step without activation checkpointing may take.
_SPARE = 0.9


class Trial:
    """Measures one pass of each kind on the largest sample, and adds up what a step takes.

    Args:
        passes: micro-batches of a step in each process.
    """

    def __init__(self, passes: int) -> None:
        self.passes = passes
        self.decides = False
        """Whether activation checkpointing is turned on where memory does not suffice without."""
        self.checkpointing = False
        """What was decided."""
        self.seconds: dict[str, float] = {}
        """Of a step by phase, at most: every completion as long as it may be."""

    def update(self, trainer: Any, run: Callable[[], None]) -> None:
        """Measure forward and backward passes of a micro-batch.

        Args:
            trainer: whose model gets activation checkpointing where it must.
            run: one micro-batch.

        Raises:
            RuntimeError: memory does not suffice, with activation checkpointing either.
        """
        cuda = torch.cuda.is_available()
        if self.decides and not cuda:
            # A CPU gives no warning before its memory ends: a large model is always sparing.
            base = trainer.accelerator.unwrap_model(trainer.model)
            self._checkpoint(trainer, base.num_parameters() >= LARGE)
        elif not self.decides:
            self._checkpoint(trainer, bool(trainer.args.activation_checkpointing))
        elif not fits(run):
            self._checkpoint(trainer, True)
        if cuda:
            run()  # what libraries set up at a first pass is not measured
        self.seconds["update"] = self.passes * _seconds(run)

    def reference(self, run: Callable[[], object]) -> None:
        """Measure a pass of a micro-batch without gradients."""
        self.seconds["reference"] = self.passes * _seconds(run)

    def rollout(self, sample: Callable[[int], object], most: int) -> None:
        """Measure a short rollout of all rows.

        Args:
            sample: rolls out so many tokens.
            most: tokens that a completion may have.
        """
        short = min(most, _TOKENS)
        if torch.cuda.is_available():
            sample(short)
        first = _seconds(lambda: sample(1))
        each = max(0.0, _seconds(lambda: sample(short)) - first) / max(1, short - 1)
        self.seconds["rollout"] = first + each * (most - 1)

    def sentence(self, steps: int) -> str:
        """The expected time of so many steps, in words."""
        names = [name for name in ("rollout", "reference", "update") if name in self.seconds]
        parts = ", ".join(f"{name} {self.seconds[name]:.1f}" for name in names)
        total = sum(self.seconds.values())
        without = "" if "rollout" in names or names == ["update"] else " without the rollout"
        turned = ", with activation checkpointing" if self.checkpointing else ""
        whole = duration(steps * total)
        return (
            f"Trial step: at most {total:.1f} s a step{without} ({parts}), {whole} for {steps} "
            f"steps, rewards and checkpoints apart; peak memory {_peak()}{turned}."
        )

    def _checkpoint(self, trainer: Any, wanted: bool) -> None:
        self.checkpointing = wanted
        trainer.args.activation_checkpointing = wanted
        if wanted:
            # The library turns it on when training begins, which is after the trial.
            trainer.accelerator.unwrap_model(trainer.model).activation_checkpointing_enable()


def fits(run: Callable[[], None]) -> bool:
    """Whether a pass leaves a tenth of the device's memory free; False where it runs out."""
    torch.cuda.reset_peak_memory_stats()
    try:
        run()
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return False
    _, total = torch.cuda.mem_get_info()
    return torch.cuda.max_memory_allocated() < _SPARE * total


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it.

    >>> duration(40), duration(600), duration(9000)
    ('40 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _peak() -> str:
    if torch.cuda.is_available():
        _, total = torch.cuda.mem_get_info()
        peak = torch.cuda.max_memory_allocated()
        return f"{peak / 2**30:.1f} GiB of the GPU's {total / 2**30:.0f} GiB"
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f"{peak / 2**30:.1f} GiB"


def _seconds(run: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter() - started
