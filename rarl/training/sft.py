"""The SFT arm: supervised fine-tuning on explanation and answer, through TRL."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from rarl.models.loading import LoadedModel
from rarl.training.adapter import lora_config
from rarl.training.recipe import SftRecipe
from rarl.training.trainers import Silent, shared_arguments


class _Trainer(Silent, SFTTrainer):
    pass


def sft_trainer(
    loaded: LoadedModel, rows: Dataset, recipe: SftRecipe, checkpoints: Path, seed: int
) -> SFTTrainer:
    """TRL's trainer with the recipe's choices; loss on the completion alone.

    TRL's collator for vision keeps `mm_token_type_ids`; it never truncates here, since a cut
    prompt would lose image tokens.
    """
    arguments = SFTConfig(
        **shared_arguments(recipe, checkpoints, seed),
        gradient_accumulation_steps=recipe.batch // recipe.micro_batch,
        max_length=None,
        completion_only_loss=True,
    )
    return _Trainer(
        model=loaded.base,
        args=arguments,
        train_dataset=rows,
        processing_class=loaded.processor,
        peft_config=lora_config(recipe.lora),
    )
