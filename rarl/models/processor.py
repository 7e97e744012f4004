"""A Qwen2-VL processor for images without video.

The library's processor also builds a video processor, which imports torchvision; torchvision has
no CPU build that fits, so this subclass leaves video out. Its files are the library's.
"""

from __future__ import annotations

from math import ceil, sqrt
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import PreTrainedTokenizerFast
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor
from transformers.processing_utils import ProcessorMixin


def chat_template(system: str) -> str:
    """Qwen2-VL's chat template for text and images, without its video branch.

    Args:
        system: the system turn, where a conversation does not begin with one of its own.
    """
    return (
        "{% for message in messages %}"
        "{% if loop.first and message['role'] != 'system' %}"
        f"<|im_start|>system\n{system}<|im_end|>\n"
        "{% endif %}"
        "<|im_start|>{{ message['role'] }}\n"
        "{% if message['content'] is string %}{{ message['content'] }}"
        "{% else %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
        "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
        "{% endfor %}{% endif %}<|im_end|>\n"
        "{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


CHAT_TEMPLATE = chat_template("You are a helpful assistant.")


class ImageProcessor(Qwen2VLProcessor):
    """Qwen2-VL's processor without its video half."""

    def __init__(
        self,
        image_processor: Qwen2VLImageProcessorPil | None = None,
        tokenizer: PreTrainedTokenizerFast | None = None,
        chat_template: str | None = None,
    ) -> None:
        self.image_token = "<|image_pad|>"
        self.video_token = "<|video_pad|>"
        if tokenizer is not None:
            self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
            self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def load_processor(directory: Path | str) -> ImageProcessor:
    """Load the processor that lies beside a model's weights (a folder or a Hub name).

    Raises:
        OSError: the files are missing (as the library raises it).
    """
    image_processor = Qwen2VLImageProcessorPil.from_pretrained(directory)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
    template = tokenizer.chat_template or CHAT_TEMPLATE
    return ImageProcessor(image_processor, tokenizer, chat_template=template)


def image_tokens(processor: ImageProcessor, picture: Image.Image) -> int:
    """The number of prompt tokens of a picture, which is at most 200 times as long as narrow."""
    settings = processor.image_processor
    patches = settings.get_number_of_image_patches(picture.height, picture.width)
    return int(patches // settings.merge_size**2)


def with_fewer_tokens(processor: ImageProcessor, picture: Image.Image) -> Image.Image:
    """A picture of about a quarter of the tokens; the same one where there can be no fewer.

    Args:
        processor: the model's.
        picture: any mode, at most 200 times as long as narrow.
    """
    settings = processor.image_processor
    side = settings.patch_size * settings.merge_size
    tokens = image_tokens(processor, picture)
    # Its pixels as the model gets them may be far fewer than its own.
    ratio = side * sqrt(tokens / (picture.width * picture.height)) / 2
    # Rounded up, it becomes no narrower.
    width, height = (ceil(length * ratio) for length in picture.size)
    smaller = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    return smaller if image_tokens(processor, smaller) < tokens else picture


def pixels_seen(processor: ImageProcessor, picture: Image.Image) -> tuple[Image.Image, int]:
    """The picture as the model receives it, reconstructed from its patches.

    Args:
        processor: the model's.
        picture: 8-bit RGB, at most 200 times as long as narrow.

    Returns:
        The pixels after resizing, 8-bit RGB, and how many tokens of the prompt they take.
    """
    settings = processor.image_processor
    inputs = settings(images=[picture], return_tensors="np")
    _, rows, columns = (int(side) for side in inputs["image_grid_thw"][0])
    merge, patch = settings.merge_size, settings.patch_size
    # Rows and columns of merged blocks, place in the block, channel, repeats in time, pixels.
    patches = inputs["pixel_values"].reshape(
        rows // merge, columns // merge, merge, merge, 3, -1, patch, patch
    )[:, :, :, :, :, 0]
    pixels = patches.transpose(0, 2, 5, 1, 3, 6, 4).reshape(rows * patch, columns * patch, 3)
    levels = pixels * settings.image_std + settings.image_mean
    exact = np.rint(levels / settings.rescale_factor).clip(0, 255).astype(np.uint8)
    return Image.fromarray(exact), rows * columns // merge**2
