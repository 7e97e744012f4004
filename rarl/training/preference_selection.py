"""Which checkpoint of a preference run is kept: by held-out votes, and within guards.

A checkpoint wins a held-out vote where it raises the likelihood of the chosen answer, against the
base, by more than that of the rejected one. That is the preference DPO and KTO learn, measured on
pictures that trained nothing. Two things that a win rate does not show are guarded: that answers
grow or shrink without end, and that the adapter answers without looking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor

from rarl.compat.trl import pair_collator
from rarl.data import Example
from rarl.models.loader import LoadedModel
from rarl.response import Mode, parse_response
from rarl.review.training_rows import PreferencePair
from rarl.stats.bootstrap import Interval, clustered_mean
from rarl.text.normalise import exact_match
from rarl.training.checkpoint_selection import Selection
from rarl.training.preference import PreferenceTrainer, as_example, dpo_rows
from rarl.training.progress import say
from rarl.training.recipe import DpoRecipe, KtoRecipe

_BATCH = 8
# Questions that are asked with their own picture and with another one.
_LOOKED_AT = 64


@torch.no_grad()
def margins(trainer: PreferenceTrainer, rows: Dataset) -> list[float]:
    """How much more the adapter raises the chosen answer than the rejected one, in nats.

    Args:
        trainer: with the adapter as it is now.
        rows: see `rarl.training.preference.dpo_rows`.
    """
    collator: Any = pair_collator(trainer.processing_class)
    model: Any = trainer.model
    differences: list[float] = []
    training = model.training
    model.eval()
    try:
        for start in range(0, len(rows), _BATCH):
            part = [rows[index] for index in range(start, min(start + _BATCH, len(rows)))]
            inputs = trainer.prepare(collator(part))
            labels = inputs["input_ids"].masked_fill(inputs.pop("completion_mask") == 0, -100)

            def score(inputs: dict[str, Any] = inputs, labels: Tensor = labels) -> Tensor:
                with trainer.accelerator.autocast():
                    outputs = model(**inputs, labels=labels, use_cache=False, fused_lm_head=True)
                scores: Tensor = outputs.log_probs.float().sum(1)
                return scores

            own = score()
            with model.disable_adapter():
                change = own - score()
            chosen, rejected = change.chunk(2)
            differences += (chosen - rejected).tolist()
    finally:
        model.train(training)
    return differences


def win_rate(
    differences: Sequence[float], pairs: Sequence[PreferencePair], seed: int = 0
) -> Interval:
    """Share of votes that are won, half of those without a difference, over cases."""
    wins = [1.0 if margin > 0 else 0.5 if margin == 0 else 0.0 for margin in differences]
    return clustered_mean(wins, [pair.case_id for pair in pairs], seed=seed)


class PreferenceSelection(Selection):
    """Measures each checkpoint on held-out votes, with its guards, before it is saved.

    Args:
        loaded: the base that is trained.
        examples: held-out questions with answers, for accuracy; may be empty.
        votes: held-out votes; may be empty, then accuracy decides.
        recipe: with the guards' limits.
        most: tokens an answer may have.
        mode: how questions are asked.
        folder: of the run.
        trainer: whose adapter is measured.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        examples: Sequence[Example],
        votes: Sequence[PreferencePair],
        recipe: DpoRecipe | KtoRecipe,
        most: int,
        mode: Mode,
        folder: Path,
        trainer: PreferenceTrainer,
    ) -> None:
        super().__init__(loaded, examples, most, mode, folder)
        self._votes = list(votes)
        self._recipe = recipe
        self._trainer = trainer
        images = loaded.processor.image_processor
        self._rows = dpo_rows(self._votes, None, 0, images) if votes else None
        # Where no other set gives questions, those of the votes; and each with another's picture.
        alone = [_asked(pair) for pair in self._votes if len(pair.images) == 1]
        asked = [*examples, *alone][:_LOOKED_AT]
        self._asked = [row for row in asked if row.image is not None]
        self._swapped = [
            replace(row, image=other.image)
            for row, other in zip(self._asked, [*self._asked[1:], *self._asked[:1]], strict=True)
        ]
        self._chosen_length = fmean(self._tokens(pair.chosen) for pair in votes) if votes else None

    def measures(self, model: PeftModel, adapted: bool) -> dict[str, float]:
        """Win rate, length of answers in tokens and share that changes with the picture."""
        own = self.answers(model, self._asked, adapted)
        other = self.answers(model, self._swapped, adapted)
        measured = {
            "length": fmean(map(self._tokens, own)),
            "looks": fmean(
                not exact_match(*(parse_response(text, self.mode).answer for text in two))
                for two in zip(own, other, strict=True)
            ),
        }
        if self._rows is not None:
            won = [0.0] * len(self._votes) if not adapted else margins(self._trainer, self._rows)
            rate = win_rate(won, self._votes)
            measured["win_rate"] = rate.value
            if rate.low is not None and rate.high is not None:
                measured |= {"win_rate_low": rate.low, "win_rate_high": rate.high}
        return measured

    def rank(self, row: dict[str, float]) -> tuple[float, ...]:
        """Within the guards first, then by votes won, then by accuracy."""
        return (
            float(not self.broken(row)),
            row.get("win_rate", 0.0),
            row.get("accuracy", 0.0),
            row["step"],
        )

    def broken(self, row: dict[str, float]) -> list[str]:
        """The guards that a checkpoint does not keep, a clause each."""
        start, limit = self.table[0], self._recipe.length_limit
        wanted = [start["length"]]
        if self._chosen_length is not None:
            wanted.append(self._chosen_length)
        clauses = []
        if not min(wanted) / limit <= row["length"] <= max(wanted) * limit:
            clauses.append(
                f"its answers are {row['length']:.0f} tokens long, the base's {start['length']:.0f}"
            )
        if row["looks"] < self._recipe.image_limit * start["looks"]:
            clauses.append(
                f"{100 * row['looks']:.0f} % of its answers change with the picture, of the "
                f"base's {100 * start['looks']:.0f} %"
            )
        return clauses

    def described(self, row: dict[str, float]) -> str:
        """A sentence about a measured step."""
        parts = []
        if "win_rate" in row:
            between = (
                f" ({100 * row['win_rate_low']:.0f} to {100 * row['win_rate_high']:.0f})"
                if "win_rate_low" in row
                else ""
            )
            parts.append(
                f"{100 * row['win_rate']:.1f} %{between} of {len(self._votes)} held-out votes won"
            )
        if "accuracy" in row:
            parts.append(
                f"{100 * row['accuracy']:.1f} % of {len(self.examples)} held-out questions right"
            )
        parts.append(f"answers of {row['length']:.0f} tokens")
        parts.append(f"{100 * row['looks']:.0f} % change with the picture")
        return f"Step {int(row['step'])}: {', '.join(parts)}."

    def settle(self, model: PeftModel) -> dict[str, Any]:
        """Give a trained model the best adapter; see `Selection.settle`."""
        settled = super().settle(model)
        best = next(row for row in self.table if row["step"] == settled["step"])
        broken = self.broken(best)
        if broken:
            say(f"No checkpoint keeps the guards; of the one that is kept, {' and '.join(broken)}.")
        if best.get("win_rate_low", 1.0) <= 0.5:
            say("The held-out votes do not show that the adapter is preferred.")
        return {
            **settled,
            "votes": len(self._votes),
            "guards": broken,
            "limits": {
                name: value
                for name, value in asdict(self._recipe).items()
                if name in ("length_limit", "image_limit")
            },
        }

    def _tokens(self, text: str) -> int:
        return len(self._loaded.processor.tokenizer(text)["input_ids"])


def _asked(pair: PreferencePair) -> Example:
    """A vote's question, as held-out questions are asked."""
    return replace(as_example(pair, 0), question=pair.question)
