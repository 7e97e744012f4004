"""TRL's GRPO trainer with prompts and images shared by each group (see `packing`).

Two steps of `trl.GRPOTrainer` are overridden, each where it is narrowest: how completions are
sampled, and how tokens are scored (reference and update alike). See `rarl.compat.trl` for how a
generation batch is cut into micro-batches. Rewards, advantages, loss, logging and checkpoints are
TRL's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from accelerate.utils import DistributedType
from torch import Tensor, nn
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    Qwen2VLForConditionalGeneration,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from trl.trainer.utils import pad

from rarl.compat.trl import UnshuffledGRPOTrainer
from rarl.errors import ModelError
from rarl.generation.attention import use_group_attention
from rarl.generation.decoder import Decoder
from rarl.generation.image_features import PatchFeatures
from rarl.generation.multi_lora import MultiLora
from rarl.generation.rollout import Rollout, roll_out
from rarl.training.adapter import ADAPTER
from rarl.training.packing import Prompts, gather_prompts, pack

# Tokens of a pass without gradients, padding counted.
_TOKENS_WITHOUT_GRADIENTS = 65536
_NOTHING = {"full_attention": None}


class GroupedGRPOTrainer(UnshuffledGRPOTrainer):
    """GRPO for Qwen2-VL with a LoRA on its language layers; takes what `trl.GRPOTrainer` takes.

    Rows of a group must stand together, as TRL's sampler lays them; micro-batches should hold
    whole groups. The vision tower must be frozen.
    """

    max_completion_length: int  # of TRL, more closely than it says

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        use_group_attention(self.base)
        sharded = {DistributedType.FSDP, DistributedType.DEEPSPEED}
        # A layer whose weights are spread over processes only runs inside the whole model's pass:
        # rollouts then are TRL's own, and the tower runs with the rest.
        self.shares = self.accelerator.distributed_type not in sharded
        self.features = PatchFeatures(self.base) if self.shares else None
        self._decoder: Decoder | None = None

    @property
    def base(self) -> Qwen2VLForConditionalGeneration:
        """The base that carries the adapter."""
        base = self.accelerator.unwrap_model(self.model).get_base_model()
        assert isinstance(base, Qwen2VLForConditionalGeneration)
        return base

    def sample(self, prompts: Prompts, most: int | None = None) -> Rollout:
        """Sample completions as training does.

        Args:
            prompts: what is answered, by how many rows each.
            most: tokens of a completion, instead of the configuration's.
        """
        processors: Any = self._processors()  # typed for calls by name
        decoder = self.decoder
        assert decoder.adapters is not None
        # A copy of the weights that holds the adapter saves the adapter's own products. In
        # bfloat16 it would hold little of a young adapter, see `MultiLora.merge`; on a CPU it
        # gains no more than the copy costs.
        if self.base.device.type == "cuda" and self.base.dtype == torch.float32:
            decoder.adapters.merge(ADAPTER)
        else:
            decoder.adapters.refresh()
        return roll_out(
            decoder,
            prompts.padded(),
            prompts.sizes,
            ADAPTER,
            self.max_completion_length if most is None else most,
            self.eos_token_ids,
            processors,
            self.temperature,
        )

    @property
    def decoder(self) -> Decoder:
        """Decodes with the adapter in training; made at its first use, on the model's device."""
        if self._decoder is None:
            model = self.accelerator.unwrap_model(self.model)
            self._decoder = Decoder(self.base, MultiLora(model, [ADAPTER], packed=False))
        return self._decoder

    def _processors(self) -> LogitsProcessorList:
        """The library's processors for what TRL's configuration asks, in the library's order."""
        config = self.generation_config
        device = self.accelerator.device
        processors: list[LogitsProcessor] = []
        if config.repetition_penalty not in (None, 1.0):
            processors.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
        if config.suppress_tokens:
            processors.append(SuppressTokensLogitsProcessor(config.suppress_tokens, device))
        if config.temperature not in (None, 1.0):
            processors.append(TemperatureLogitsWarper(config.temperature))
        if config.top_k:
            processors.append(TopKLogitsWarper(config.top_k))
        if config.top_p is not None and config.top_p < 1:
            processors.append(TopPLogitsWarper(config.top_p))
        if config.min_p is not None:
            processors.append(MinPLogitsWarper(config.min_p))
        return LogitsProcessorList(processors)

    def generate_turn(
        self,
        prompt_ids: list[list[int]],
        images: list[list[Any] | None] | None,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], Any]:
        """Override: every prompt runs once, then its completions one token a time."""
        if self.use_vllm or not self.shares:
            completions, log_probabilities = super().generate_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
            # vLLM may not rule them out, and they would stand for no image.
            vision = {self.base.config.image_token_id, self.base.config.video_token_id}
            if any(vision & set(ids) for ids in completions):
                raise ModelError("vLLM sampled an image token; update it, or train without it.")
            return completions, log_probabilities
        device = self.accelerator.device

        def padded(rows: list[list[int]], filler: int) -> Tensor:
            tensors = [torch.tensor(row) for row in rows]
            return pad(tensors, padding_value=filler, padding_side="left").to(device)

        def tensor(name: str) -> Tensor | None:
            values = multimodal_fields.get(name)
            if values is None or isinstance(values, Tensor):
                return None if values is None else values.to(device)
            return torch.tensor(np.array(values), device=device)

        kinds = multimodal_fields.get("mm_token_type_ids")
        prompts = gather_prompts(
            self.base,
            padded(prompt_ids, self.tokenizer.pad_token_id),
            padded([[1] * len(row) for row in prompt_ids], 0),
            None if kinds is None else padded(list(kinds), 0),
            tensor("pixel_values"),
            tensor("image_grid_thw"),
            None if images is None else [len(row or ()) for row in images],
            self.features,
        )
        return self.sample(prompts).ids, None

    def score_tokens(
        self,
        model: nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        num_images: list[int] | None = None,
        mm_token_type_ids: Tensor | None = None,
        **others: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Override: each group as one packed sequence.

        Returns:
            Log-probabilities and, where asked for, entropies, both (rows, logits_to_keep) and 0
            where masked; and None, since Qwen2-VL has no auxiliary loss.
        """
        rows, step = len(input_ids), batch_size or len(input_ids)
        if not torch.is_grad_enabled() and input_ids.numel() <= _TOKENS_WITHOUT_GRADIENTS:
            step = rows  # nothing is kept for a backward pass: fewer, larger passes
        counts = [0] * rows if num_images is None else num_images
        # Where each row's images and patches begin.
        first = [sum(counts[:row]) for row in range(rows + 1)]
        patches = [0]
        if image_grid_thw is not None:
            patches += image_grid_thw.prod(-1).cumsum(0).tolist()
        scored: list[tuple[Tensor, Tensor]] = []
        for start in range(0, rows, step):
            end = min(start + step, rows)
            part = slice(start, end)
            has = first[end] > first[start]
            prompts = gather_prompts(
                self.base,
                input_ids[part, :-logits_to_keep],
                attention_mask[part, :-logits_to_keep],
                None if mm_token_type_ids is None else mm_token_type_ids[part, :-logits_to_keep],
                pixel_values[patches[first[start]] : patches[first[end]]]
                if pixel_values is not None and has
                else None,
                image_grid_thw[first[start] : first[end]] if image_grid_thw is not None else None,
                counts[part],
                self.features,
            )
            packed = pack(
                prompts, input_ids[part, -logits_to_keep:], attention_mask[part, -logits_to_keep:]
            )
            with self.accelerator.autocast():
                outputs = model(
                    input_ids=packed.ids,
                    position_ids=packed.positions,
                    attention_mask=_NOTHING,
                    shift_labels=packed.targets,
                    fused_lm_head=True,
                    groups=packed.attention,
                    **prompts.images,
                )
            shape = (end - start, logits_to_keep)
            scored.append(
                (packed.unpack(outputs.log_probs, shape), packed.unpack(outputs.entropy, shape))
            )
        log_probabilities = torch.cat([part for part, _ in scored])
        entropies = torch.cat([other for _, other in scored]) if compute_entropy else None
        return log_probabilities, entropies, None
