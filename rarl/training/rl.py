"""The RL and RARL arms: GRPO (Shao et al., arXiv 2402.03300) through TRL.

Departures from GRPO as published, all in the recipe: the loss of Dr. GRPO (no division by a
completion's length, none by a group's deviation), one update per rollout, LoRA dropout off.
RARL adds the reward for the reasoning and diversity prompting (arXiv 2506.06600).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from rarl.models.loading import LoadedModel
from rarl.rewards import accuracy_reward, format_reward, reasoning_reward
from rarl.training.adapter import lora_config
from rarl.training.recipe import GrpoRecipe
from rarl.training.trainers import Silent, shared_arguments


class _Trainer(Silent, GRPOTrainer):
    pass


def grpo_trainer(
    loaded: LoadedModel, rows: Dataset, recipe: GrpoRecipe, checkpoints: Path, seed: int
) -> GRPOTrainer:
    """TRL's trainer with the recipe's choices and rewards.

    TRL samples in training mode; with dropout on, rollouts, reference and update would each see
    another policy, so it is off (`disable_dropout`). Rollouts may not sample special tokens
    except those that end them: an `<|image_pad|>` would stand for an image that is not there.
    """
    weights: dict[Callable[..., Any], float] = {
        accuracy_reward: recipe.rewards.accuracy,
        format_reward: recipe.rewards.format,
        reasoning_reward: recipe.rewards.reasoning,
    }
    used = {reward: weight for reward, weight in weights.items() if weight}
    arguments = GRPOConfig(
        **shared_arguments(recipe, checkpoints, seed),
        gradient_accumulation_steps=recipe.prompts * recipe.group // recipe.micro_batch,
        num_generations=recipe.group,
        max_completion_length=recipe.max_completion,
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        beta=recipe.beta,
        epsilon=recipe.epsilon,
        epsilon_high=recipe.epsilon_high,
        loss_type=recipe.loss,
        scale_rewards=recipe.scale_rewards,
        reward_weights=list(used.values()),
        disable_dropout=True,
        generation_kwargs={"suppress_tokens": list(loaded.forbidden_ids)},
    )
    return _Trainer(
        model=loaded.base,
        reward_funcs=list(used),
        args=arguments,
        train_dataset=rows,
        processing_class=loaded.processor,
        peft_config=lora_config(recipe.lora),
    )
