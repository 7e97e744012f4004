"""Private methods of TRL's trainers (1.16) under names that subclasses may override.

The trainers of `rarl.training` override these names and call them by `super()`; the private ones
stand here alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft import PeftModel
from torch import Tensor
from transformers import Trainer
from trl.trainer import utils
from trl.trainer.dpo_trainer import DataCollatorForVisionPreference, DPOTrainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.sft_trainer import SFTTrainer
from trl.trainer.utils import (
    split_pixel_values_by_grid,
    split_tensor_dict,
    unsplit_pixel_values_by_grid,
)


class Silent(Trainer):
    """Sends no telemetry and writes no model card: `rarl.training.card` writes the adapter's."""

    def _send_telemetry(self) -> None:
        pass

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing."""


class OpenGRPOTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` with names for the steps of its training."""

    _step: int
    current_gradient_accumulation_steps: int

    @property
    def tokenizer(self) -> Any:
        """The tokenizer within the processor."""
        return self._tokenizer

    @property
    def step_is_whole(self) -> bool:
        """Whether the micro-batch that was run last completes an optimizer step."""
        return self._step % self.current_gradient_accumulation_steps == 0

    def generate(self, prompts: Any) -> Any:
        """Complete prompts, tool calls included."""
        return super()._generate(prompts)

    def _generate(self, prompts: Any) -> Any:
        return self.generate(prompts)

    def generate_turn(
        self,
        prompt_ids: list[list[int]],
        images: list[list[Any] | None] | None,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], Any]:
        """Complete tokenized prompts.

        Returns:
            Completions as token ids, and their log-probabilities where vLLM tells them.
        """
        result: tuple[list[list[int]], Any] = super()._generate_single_turn(  # type: ignore[no-untyped-call]
            prompt_ids, images, multimodal_fields, num_generations, has_tool_images
        )
        return result

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        return self.generate_turn(*args, **kwargs)

    def calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any, ids: Any
    ) -> Any:
        """Rewards of completions: (rows, rewards)."""
        return super()._calculate_rewards(inputs, prompts, completions, ids)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
        return self.calculate_rewards(*args, **kwargs)

    def score_tokens(self, *args: Any, **kwargs: Any) -> Any:
        """Log-probabilities and entropies of completion tokens, see TRL's method."""
        return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        return self.score_tokens(*args, **kwargs)


class UnshuffledGRPOTrainer(OpenGRPOTrainer):
    """Cuts a generation batch into micro-batches as the rows stand, so that groups stay whole.

    TRL shuffles the rows first; its sampler has shuffled the questions already.
    """

    # What TRL holds here, more closely than it says.
    args: GRPOConfig
    model: PeftModel
    _buffered_inputs: Any

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        if not self.model.training:
            return super()._prepare_inputs(generation_batch)
        count: Any = self.args.steps_per_generation
        every = count * self.num_iterations
        if self._step % every == 0 or self._buffered_inputs is None:
            batch: Any = split_pixel_values_by_grid(
                self._generate_and_score_completions(generation_batch)
            )
            parts: Any = split_tensor_dict(batch, count)
            self._buffered_inputs = [unsplit_pixel_values_by_grid(part) for part in parts]
        return self._buffered_inputs[self._step % count]


class OpenSFTTrainer(SFTTrainer):
    """`trl.SFTTrainer` with a name for what it does to a batch."""

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """A batch on the device, as the model takes it."""
        ready: dict[str, Any] = super()._prepare_inputs(inputs)
        return ready

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return self.prepare(inputs)


class OpenDPOTrainer(DPOTrainer):
    """`trl.DPOTrainer` with a name for what it does to a batch."""

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """A batch on the device, as the model takes it."""
        ready: dict[str, Any] = super()._prepare_inputs(inputs)
        return ready

    def forget_metrics(self) -> None:
        """Forget what has been added up since the last log."""
        self._metrics["train"].clear()

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return self.prepare(inputs)


class OpenKTOTrainer(KTOTrainer):
    """`trl.KTOTrainer` with a name for what it does to a batch."""

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """A batch on the device, as the model takes it."""
        ready: dict[str, Any] = super()._prepare_inputs(inputs)
        return ready

    def forget_metrics(self) -> None:
        """Forget what has been added up since the last log."""
        self._metrics["train"].clear()

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return self.prepare(inputs)


def pair_collator(processor: Any) -> Any:
    """TRL's, which lays the chosen answers above the rejected ones."""
    return DataCollatorForVisionPreference(processor)


def stock_scores(trainer: GRPOTrainer, model: Any, **inputs: Any) -> tuple[Tensor, ...]:
    """What TRL's own scoring of completion tokens returns, whatever a subclass does."""
    scores: tuple[Tensor, ...] = GRPOTrainer._get_per_token_logps_and_entropies(
        trainer, model, **inputs
    )
    return scores


@contextmanager
def completions_scored_alone() -> Iterator[None]:
    """Compute the language model's head for completion tokens only, on the CPU as on CUDA.

    Without Triton, TRL runs the head over every position and then drops those of the prompt (to
    spare compilers a change of shapes). Nothing is compiled here, and on a small model with a
    short completion that is a third of a training step.
    """
    original = utils._use_triton  # type: ignore[attr-defined]
    utils._use_triton = lambda device: True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        utils._use_triton = original  # type: ignore[attr-defined]
