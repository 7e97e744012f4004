"""What a run shows and writes down while it trains."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

REWARD_NAMES = {
    "accuracy_reward": "accuracy",
    "format_reward": "format",
    "reasoning_reward": "reasoning",
}
_RENAMED = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "grad_norm": "gradient_norm",
    "mean_token_accuracy": "token_accuracy",
    "reward": "reward",
    "reward_std": "reward_deviation",
    "frac_reward_zero_std": "groups_without_signal",
    "kl": "kl",
    "entropy": "entropy",
    "completions/mean_length": "completion_length",
    "completions/clipped_ratio": "completions_cut_off",
    "step_time": "seconds_per_step",
}


def say(sentence: str) -> None:
    """Tell the person who waits; standard output stays free for the result."""
    tqdm.write(sentence, file=sys.stderr)


def metrics_row(step: int, logs: dict[str, Any]) -> dict[str, Any]:
    """One line of `metrics.jsonl` from what TRL logs, rewards by kind.

    >>> metrics_row(5, {"loss": 0.1, "rewards/accuracy_reward/mean": 0.5, "epoch": 1})
    {'step': 5, 'loss': 0.1, 'rewards': {'accuracy': 0.5}}
    """
    row: dict[str, Any] = {"step": step}
    row |= {ours: logs[theirs] for theirs, ours in _RENAMED.items() if theirs in logs}
    for part, name in (("mean", "rewards"), ("std", "reward_deviations")):
        found = {
            ours: logs[f"rewards/{theirs}/{part}"]
            for theirs, ours in REWARD_NAMES.items()
            if f"rewards/{theirs}/{part}" in logs
        }
        if found:
            row[name] = found
    return row


class Progress(TrainerCallback):
    """A bar with the time left, and one line of `metrics.jsonl` per log.

    Args:
        path: the metrics file; lines after the step that a run resumes from are dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last: dict[str, Any] = {}
        self._bar: tqdm[Any] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar at the step the run starts from."""
        lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= state.global_step]
        self.path.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        self._bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            unit="step",
            smoothing=0.1,
            dynamic_ncols=True,
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the bar, and see to it that the last step is logged."""
        control.should_log |= state.global_step >= state.max_steps
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a line and show it behind the bar; the summary at the end is no step."""
        if not logs or "train_runtime" in logs:
            return
        self.last = metrics_row(state.global_step, logs)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.last) + "\n")
        if self._bar is not None:
            shown = {"loss": self.last.get("loss"), **self.last.get("rewards", {})}
            numbers = {name: f"{value:.3f}" for name, value in shown.items() if value is not None}
            self._bar.set_postfix(numbers)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
