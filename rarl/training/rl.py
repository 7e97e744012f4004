"""Train RL and RARL variants: GRPO (Shao et al., arXiv 2402.03300) through TRL.

Departures from GRPO as published, all in the recipe: the loss of Dr. GRPO (no division by a
completion's length), one update per rollout, LoRA dropout off.
RARL adds the reward for the reasoning and diversity prompting (arXiv 2506.06600). Prompt and image
run once per group (`rarl.training.packing`), which changes the cost and not the result.
"""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig

from rarl.compat.trl import OpenGRPOTrainer, Silent
from rarl.judge import Judge
from rarl.models.loader import LoadedModel
from rarl.rewards.table import RewardSettings, reward_functions
from rarl.training.adapter import lora_config
from rarl.training.grpo import GroupedGRPOTrainer
from rarl.training.likelihood import AnswerLikelihood
from rarl.training.phases import Timed
from rarl.training.recipe import GrpoRecipe
from rarl.training.trl_config import accumulation, shared_arguments


class _Stock(Silent, AnswerLikelihood, Timed):
    pass


class _Grouped(Silent, AnswerLikelihood, Timed, GroupedGRPOTrainer):
    pass


def grpo_trainer(
    loaded: LoadedModel,
    rows: Dataset,
    recipe: GrpoRecipe,
    checkpoints: Path,
    seed: int,
    report_to: tuple[str, ...] = (),
    judge: Judge | None = None,
    vllm_server: str | None = None,
    vllm_colocate: bool = False,
) -> OpenGRPOTrainer:
    """TRL's trainer with the recipe's choices and rewards.

    TRL samples in training mode; with dropout on, rollouts, reference and update would each see
    another policy, so it is off (`disable_dropout`). Rollouts may not sample special tokens
    except those that end them: an `<|image_pad|>` would stand for an image that is not there.

    Args:
        loaded: the base without adapters.
        rows: see `rarl.training.dataset.grpo_rows`.
        recipe: all choices.
        checkpoints: folder for them, and for the tables of completions.
        seed: of the adapter's start and the rollouts.
        report_to: trackers, by the library's names.
        judge: who scores reasoning, where the recipe gives that a weight.
        vllm_server: address of a server (`trl vllm-serve`) that samples completions.
        vllm_colocate: whether vLLM samples them in this process, on the same GPU. Its weights and
            its cache leave the GPU's memory during an update (TRL's sleep mode).

    Raises:
        ModelError: a reward needs what is not given, such as a judge.
    """
    rewards = reward_functions(recipe.rewards, RewardSettings(recipe.contradictions, judge))
    arguments = GRPOConfig(
        **shared_arguments(recipe, checkpoints, seed, report_to),
        gradient_accumulation_steps=accumulation(
            recipe.prompts * recipe.group, recipe.micro_batch, "prompts * group"
        ),
        num_generations=recipe.group,
        max_completion_length=recipe.max_completion,
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        beta=recipe.beta,
        epsilon=recipe.epsilon,
        epsilon_high=recipe.epsilon_high,
        loss_type=recipe.loss,
        scale_rewards=recipe.scale_rewards,
        multi_objective_aggregation=recipe.aggregation,
        reward_weights=list(rewards.values()),
        disable_dropout=True,
        use_vllm=vllm_server is not None or vllm_colocate,
        vllm_mode="colocate" if vllm_colocate else "server",
        vllm_enable_sleep_mode=vllm_colocate,
        vllm_server_base_url=vllm_server,
        # A table of the sampled completions at every logged step; none on the screen.
        log_completions=True,
        num_completions_to_print=0,
        generation_kwargs={}
        if vllm_server or vllm_colocate
        else {"suppress_tokens": list(loaded.forbidden_ids)},
    )
    return (_Grouped if recipe.shared else _Stock)(
        model=loaded.base,
        reward_funcs=list(rewards),
        args=arguments,
        train_dataset=rows,
        processing_class=loaded.processor,
        peft_config=lora_config(recipe.lora),
    )
