"""Progress bar and logs of a training run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rarl.rewards.table import REWARDS
from rarl.training.adapter import adapter_change

PHASES = ("rollout", "reward", "reference", "update")
PREFIX = "seconds/"
"""Before a phase's name in what the trainer logs; see `rarl.training.phases`."""

# What the bar says of each phase, and the share of a step that it takes until a step was measured.
_WORDS = {
    "rollout": "sampling answers",
    "reward": "scoring answers",
    "reference": "asking the base",
    "update": "updating",
}
_SHARES = {"rollout": 0.5, "reward": 0.1, "reference": 0.1, "update": 0.3}

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
    "clip_ratio/region_mean": "clipped",
    "rewards/margins": "preference_margin",
    "rewards/accuracies": "preferred",
    "reasoning/covered": "facts_covered",
    "reasoning/contradicted": "facts_contradicted",
    "reasoning/neutral": "statements_neutral",
    "reasoning/disagrees": "reasoning_disagrees",
    "num_tokens": "tokens",
    "step_time": "seconds_per_step",
}


def say(sentence: str) -> None:
    """Tell the person who waits; standard output stays free for the result."""
    tqdm.write(sentence, file=sys.stderr)


def metrics_row(step: int, logs: dict[str, Any]) -> dict[str, Any]:
    """One line of `metrics.jsonl` from what TRL logs, rewards by kind.

    >>> metrics_row(5, {"loss": 0.1, "rewards/accuracy/mean": 0.5, "epoch": 1})
    {'step': 5, 'loss': 0.1, 'rewards': {'accuracy': 0.5}}
    """
    row: dict[str, Any] = {"step": step}
    row |= {ours: logs[theirs] for theirs, ours in _RENAMED.items() if theirs in logs}
    for part, name in (("mean", "rewards"), ("std", "reward_deviations")):
        values = {
            reward: logs[f"rewards/{reward}/{part}"]
            for reward in REWARDS
            if f"rewards/{reward}/{part}" in logs
        }
        if values:
            row[name] = values
    seconds = {phase: logs[f"{PREFIX}{phase}"] for phase in PHASES if f"{PREFIX}{phase}" in logs}
    if seconds:
        row["seconds"] = seconds
    return row


class Progress(TrainerCallback):
    """A bar with the time left, and one line of `metrics.jsonl` per log.

    The bar moves within a step: with each forward pass of a step, and with each phase where the
    trainer reports phases.

    Args:
        path: the metrics file; lines after the step that a run resumes from are dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last: dict[str, Any] = {}
        self._bar: tqdm[Any] | None = None
        self._steps = 0
        self._passes, self._whole = 0, 1
        self._ended: set[str] = set()
        self._shares: dict[str, float] = {"update": 1.0}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar at the step the run starts from."""
        if not state.is_world_process_zero:
            return
        lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= state.global_step]
        self.path.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        self._steps, self._whole = state.global_step, args.gradient_accumulation_steps
        self._bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            unit="step",
            dynamic_ncols=True,
        )

    def phase(self, name: str, ended: bool) -> None:
        """A phase of a step begins, or has ended; see `rarl.training.phases`."""
        if self._bar is None:
            return
        if len(self._shares) == 1:
            self._shares = dict(_SHARES)
        if ended and name != "update":
            self._ended.add(name)
        self._bar.set_description(_WORDS["update" if ended else name], refresh=False)
        self._move()

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the bar by a forward pass of several to a step."""
        self._passes += 1
        self._move()

    def _move(self) -> None:
        """Put the bar where the step stands; it never goes back."""
        if self._bar is None:
            return
        within = sum(self._shares[name] for name in self._ended)
        within += self._shares["update"] * self._passes / self._whole
        # Never a whole step before the step has ended.
        self._bar.n = max(self._bar.n, round(self._steps + min(within, 0.99), 2))
        self._bar.refresh()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the bar, and see to it that the last step is logged."""
        control.should_log |= state.global_step >= state.max_steps
        self._steps, self._passes = state.global_step, 0
        self._ended.clear()
        if self._bar is not None:
            self._bar.n = state.global_step
            self._bar.refresh()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a line and show it behind the bar; the summary at the end is no step."""
        if not logs or "train_runtime" in logs or not state.is_world_process_zero:
            return
        self.last = metrics_row(state.global_step, logs)
        self.last["adapter_change"] = adapter_change(kwargs["model"])
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.last) + "\n")
        if self._bar is not None:
            names = ("loss", "kl", "entropy", "clipped")
            shown = {name: self.last.get(name) for name in names} | self.last.get("rewards", {})
            numbers = {name: f"{value:.3f}" for name, value in shown.items() if value is not None}
            seconds = self.last.get("seconds", {})
            if whole := sum(seconds.values()):
                self._shares = {phase: value / whole for phase, value in seconds.items()}
            numbers |= {phase: f"{value:.1f}s" for phase, value in seconds.items()}
            self._bar.set_postfix(numbers)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Close the bar, also where training ends in an error."""
        if self._bar is not None:
            self._bar.set_description(None, refresh=False)
            self._bar.close()


def draw_curves(metrics: Path, picture: Path) -> None:
    """Draw loss, rewards by kind, and KL with entropy over the steps of a `metrics.jsonl`."""
    rows = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    if not rows:
        return
    flat = [{**row, **row.get("rewards", {})} for row in rows]
    kinds = [name for name in REWARDS if any(name in row for row in flat)]
    panels = [
        ("loss", ["loss"]),
        ("rewards", kinds),
        ("preference", ["preference_margin", "preferred"]),
        ("KL, entropy", ["kl", "entropy"]),
    ]
    panels = [
        (title, [name for name in names if any(row.get(name) is not None for row in flat)])
        for title, names in panels
    ]
    panels = [(title, names) for title, names in panels if names]
    figure = Figure(figsize=(4.5 * len(panels), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, names) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        for name in names:
            points = [(row["step"], row[name]) for row in flat if row.get(name) is not None]
            axes.plot(*zip(*points, strict=True), label=name)
        axes.set_title(title)
        axes.set_xlabel("step")
        if len(names) > 1:
            axes.legend()
    figure.savefig(picture, dpi=120)
