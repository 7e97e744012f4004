"""Attention of the language model over prompts that several rows share.

The library's layers run unchanged; only their attention function is replaced, and only where a
call passes `groups`. Every other call gets the library's own attention.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, Qwen2VLForConditionalGeneration
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rarl.errors import ModelError

ATTENTION = "rarl_grouped"


class Attention(Protocol):
    """Attention of one layer over rows that share prompts."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """Mix the values.

        Args:
            layer: index of the layer.
            query: (rows, heads, tokens, head width), rotated.
            key: (rows, key-value heads, tokens, head width), rotated.
            value: as `key`.
            scaling: of the scores.

        Returns:
            (rows, tokens, heads, head width).
        """
        ...


def use_group_attention(base: Qwen2VLForConditionalGeneration) -> None:
    """Let the language model take `groups`; all other calls run as before.

    Raises:
        ModelError: a layer attends to a sliding window, which neither caches nor packs know.
    """
    if "sliding_attention" in base.config.get_text_config().layer_types:
        raise ModelError(
            "This model attends to a sliding window, which cannot be used here; for training add "
            "--set shared=false."
        )
    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    base.set_attn_implementation({"text_config": ATTENTION})


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    groups: Attention | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    if groups is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **rest
        )
    return groups.attend(module.layer_idx, query, key, value, scaling), None
