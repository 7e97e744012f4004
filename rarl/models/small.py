"""The model of 9 M parameters: Qwen2-VL's architecture at a size that trains on two CPU cores.

It is `Qwen2VLForConditionalGeneration` with nothing changed but numbers, so that whatever holds
for it in code holds for the 2.2 B model, and the reverse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import cast

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.modeling_qwen2_vl import (
    Qwen2VisionTransformerPretrainedModel,
    Qwen2VLVisionBlock,
)

from rarl.models.processor import CHAT_TEMPLATE, ImageProcessor

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Whole tokens, but not special: decoding must keep them.
FORM_TOKENS = ("<think>", "</think>", "<answer>", "</answer>")

# Qwen2's own splitting rule: words with their leading space, digits one by one.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True)
class SmallShape:
    """Sizes of a small model.

    Attributes:
        vision_width, vision_depth, vision_heads: the vision tower.
        width, depth, heads, key_value_heads, intermediate: the language model.
        vocabulary: entries of the tokenizer, added tokens included.
        patch: side of a patch, in pixels; a token of the language model covers 2 x 2 patches.
        min_pixels, max_pixels: area an image is resized to, aspect kept.
    """

    vision_width: int = 192
    vision_depth: int = 6
    vision_heads: int = 6
    width: int = 256
    depth: int = 6
    heads: int = 4
    key_value_heads: int = 2
    intermediate: int = 704
    vocabulary: int = 4096
    patch: int = 14
    min_pixels: int = 112 * 112
    max_pixels: int = 140 * 140


TINY = SmallShape(
    vision_width=32,
    vision_depth=2,
    vision_heads=2,
    width=64,
    depth=2,
    heads=2,
    key_value_heads=1,
    intermediate=96,
    vocabulary=512,
    min_pixels=56 * 56,
    max_pixels=56 * 56,
)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with Qwen2-VL's special tokens.

    Args:
        texts: training text only; never a test row.
        vocabulary: upper limit of entries, added tokens included.
    """
    added = len(SPECIAL_TOKENS) + len(FORM_TOKENS)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - added,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in FORM_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[
            token for token in SPECIAL_TOKENS if token not in {"<|im_end|>", "<|endoftext|>"}
        ],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )


def make_processor(tokenizer: PreTrainedTokenizerFast, shape: SmallShape) -> ImageProcessor:
    """The processor that fits a shape."""
    image_processor = Qwen2VLImageProcessorPil(
        min_pixels=shape.min_pixels,
        max_pixels=shape.max_pixels,
        patch_size=shape.patch,
        temporal_patch_size=1,
        merge_size=2,
    )
    return ImageProcessor(image_processor, tokenizer, chat_template=CHAT_TEMPLATE)


def make_model(
    tokenizer: PreTrainedTokenizerFast, shape: SmallShape, seed: int
) -> Qwen2VLForConditionalGeneration:
    """A randomly initialised model for a tokenizer, in fp32 on the CPU."""

    def token(name: str) -> int:
        return cast(int, tokenizer.convert_tokens_to_ids(name))

    head = shape.width // shape.heads
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": shape.width,
            "intermediate_size": shape.intermediate,
            "num_hidden_layers": shape.depth,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.key_value_heads,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                # Qwen2-VL's shares: a quarter for time, the rest for height and width.
                "mrope_section": [head // 8, 3 * head // 16, 3 * head // 16],
            },
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": shape.vision_depth,
            "embed_dim": shape.vision_width,
            "num_heads": shape.vision_heads,
            "hidden_size": shape.width,
            "patch_size": shape.patch,
            "temporal_patch_size": 1,
            "spatial_merge_size": 2,
            "mlp_ratio": 4,
            # Twelve patches a side need no wavelength of 10,000.
            "rope_parameters": {"rope_type": "axial", "rope_theta": 100.0},
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        eos_token_id=token("<|im_end|>"),
        pad_token_id=token("<|endoftext|>"),
        do_sample=False,
    )
    return model


@torch.no_grad()
def local_attention_init(visual: Qwen2VisionTransformerPretrainedModel, strength: float) -> None:
    """Start each vision head looking at one neighbouring patch, as a convolution would.

    A transformer from scratch on a few thousand images has to learn locality first. With axial
    rotary positions, constant query and key biases alone make attention a function of the offset
    between two patches: a key bias b and the same bias turned by the offset d as query bias score
    sum_f |b_f|^2 cos(w_f (offset - d)), which peaks at d. Heads share out the offsets of a 3 x 3
    neighbourhood; content still adds its part from the first step. Idea: structured
    initialisation of attention (Zheng et al., arXiv 2404.01139), here through biases.

    Args:
        visual: the vision tower, changed in place.
        strength: score difference scale; 0 leaves the tower as it is.
    """
    if strength == 0:
        return
    config = visual.config
    head_dim = config.embed_dim // config.num_heads
    frequencies = visual.rotary_pos_emb.inv_freq
    offsets = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    count = len(frequencies)
    # Every frequency of both axes carries the same share of the score.
    radius = sqrt(strength * sqrt(head_dim) / (2 * count))
    for layer, block in enumerate(cast("list[Qwen2VLVisionBlock]", visual.blocks)):
        query = torch.zeros(config.num_heads, head_dim)
        key = torch.zeros(config.num_heads, head_dim)
        for head in range(config.num_heads):
            dy, dx = offsets[(layer * config.num_heads + head) % len(offsets)]
            phase = torch.cat([dy * frequencies, dx * frequencies])
            key[head, : 2 * count] = radius
            # Rotated pairs are (i, i + head_dim / 2), as in `rotate_half`.
            query[head, : 2 * count] = radius * torch.cos(phase)
            query[head, 2 * count :] = radius * torch.sin(phase)
        bias = block.attn.qkv.bias
        bias[: config.embed_dim] = query.flatten()
        bias[config.embed_dim : 2 * config.embed_dim] = key.flatten()
