"""What the model reads around the pictures."""

from __future__ import annotations

import doctest

from rarl import prompts
from rarl.models.loader import LoadedModel
from rarl.prompts import messages, prompt_hash, user_text


def test_the_examples_hold() -> None:
    found = doctest.testmod(prompts)
    assert found.attempted and not found.failed


def test_one_picture_is_asked_about_as_in_training(tiny_loaded: LoadedModel) -> None:
    # The very words that the shipped model was trained on; a change needs a new model.
    prompt = tiny_loaded.processor.apply_chat_template(
        messages(user_text("is it new?", "reason"), ["frontal"]),
        add_generation_prompt=True,
        tokenize=False,
    )
    assert prompt == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Is it new?\n"
        "Reason in <think> </think>, then answer in <answer> </answer>.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_several_pictures_are_named_before_each(tiny_loaded: LoadedModel) -> None:
    prompt = tiny_loaded.processor.apply_chat_template(
        messages("Is it new?", ["current", "prior", ""]), tokenize=False
    )
    one = "<|vision_start|><|image_pad|><|vision_end|>"
    assert f"Picture 1 (current): {one}Picture 2 (prior): {one}Picture 3: {one}Is it new?" in prompt


def test_the_hash_of_one_picture_is_that_of_the_published_results() -> None:
    assert prompt_hash("reason") == prompt_hash("reason", 1) == "de924d81eb0f"
    assert len({prompt_hash("reason", pictures) for pictures in (1, 2, 3)}) == 3
