"""Train SFT variants: supervised fine-tuning on explanation and answer, through TRL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate.utils import DistributedType
from datasets import Dataset
from trl.trainer.sft_config import SFTConfig

from rarl.compat.trl import OpenSFTTrainer, Silent
from rarl.generation.image_features import PatchFeatures, as_encoder_outputs
from rarl.models.loader import LoadedModel
from rarl.training.adapter import lora_config
from rarl.training.recipe import SftRecipe
from rarl.training.trl_config import accumulation, shared_arguments


class _Trainer(Silent, OpenSFTTrainer):
    """TRL's, with the frozen tower's features kept and computed for equal sizes at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Qwen2-VL says that it takes no count of tokens, but TRL's loss does. Without one, each
        # micro-batch and each process would weigh alike, however few tokens it holds.
        self.model_accepts_loss_kwargs = True
        # Weights that are spread over processes only run inside the whole model's pass.
        whole = self.accelerator.distributed_type not in {
            DistributedType.FSDP,
            DistributedType.DEEPSPEED,
        }
        base = self.accelerator.unwrap_model(self.model).get_base_model()
        self._features = PatchFeatures(base) if whole else None

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        ready = super().prepare(inputs)
        if self._features is not None and ready.get("pixel_values") is not None:
            pixels, grids = ready.pop("pixel_values"), ready["image_grid_thw"]
            patches = pixels.split(grids.prod(-1).tolist())
            ready["mm_encoder_outputs"] = as_encoder_outputs(self._features(patches, grids))
        return ready


def sft_trainer(
    loaded: LoadedModel,
    rows: Dataset,
    recipe: SftRecipe,
    checkpoints: Path,
    seed: int,
    report_to: tuple[str, ...] = (),
) -> OpenSFTTrainer:
    """TRL's trainer with the recipe's choices; loss on the completion alone.

    TRL's collator for vision keeps `mm_token_type_ids`; it never truncates here, since a cut
    prompt would lose image tokens.
    """
    arguments = SFTConfig(
        **shared_arguments(recipe, checkpoints, seed, report_to),
        gradient_accumulation_steps=accumulation(recipe.batch, recipe.micro_batch, "batch"),
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
