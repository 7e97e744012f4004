"""Time of a GRPO step by phase: rollout, reward, reference and update."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch

from rarl.compat.trl import OpenGRPOTrainer
from rarl.training.progress import PHASES, PREFIX


class PhaseClock:
    """Adds up the seconds of each phase of a step.

    A phase ends when the device has done its work. A phase that runs outside an update, such as
    the trial's or checkpoint selection's, is no part of a step.
    """

    watch: Callable[[str, bool], None] | None = None
    """Told the name of each phase as it begins (False) and after it has ended (True)."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._steps = 0
        self._in_update = False

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Add the seconds of what runs inside to a phase, and take them from `update`."""
        is_update = phase == "update"
        if not is_update and not self._in_update:
            yield
            return
        self._in_update = True
        started = _now()
        self._tell(phase, ended=False)
        try:
            yield
        finally:
            self._tell(phase, ended=True)
            seconds = _now() - started
            self._seconds[phase] += seconds
            if is_update:
                self._in_update = False
            else:
                # These run inside the trainer's step, whose rest is the update.
                self._seconds["update"] -= seconds

    def _tell(self, phase: str, *, ended: bool) -> None:
        if self.watch is not None:
            self.watch(phase, ended)

    def count_step(self) -> None:
        """Count a whole optimizer step."""
        self._steps += 1

    def take(self) -> dict[str, float]:
        """Mean seconds a step of each phase since the last call; empty without a whole step."""
        if not self._steps:
            return {}
        means = {phase: max(0.0, s) / self._steps for phase, s in self._seconds.items()}
        self.reset()
        return means


class Timed(OpenGRPOTrainer):
    """A GRPO trainer that logs the seconds of each phase."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.phases = PhaseClock()

    def generate(self, prompts: Any) -> Any:
        """Override: measure it."""
        with self.phases.measure("rollout"):
            return super().generate(prompts)

    def calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
        """Override: measure it."""
        with self.phases.measure("reward"):
            return super().calculate_rewards(*args, **kwargs)

    def score_tokens(self, *args: Any, **kwargs: Any) -> Any:
        """Override: measure the reference; an update is measured as a whole."""
        if torch.is_grad_enabled():
            return super().score_tokens(*args, **kwargs)
        with self.phases.measure("reference"):
            return super().score_tokens(*args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Override: measure it as a whole."""
        with self.phases.measure("update"):
            loss = super().training_step(*args, **kwargs)  # type: ignore[no-untyped-call]
        if self.step_is_whole:
            self.phases.count_step()
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Override: add the phases' mean seconds a step."""
        seconds = {f"{PREFIX}{phase}": value for phase, value in self.phases.take().items()}
        super().log({**logs, **seconds}, start_time)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter()
