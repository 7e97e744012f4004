"""Replies of the unchanged language model, used to preserve its fluency.

The replies are its own, so nothing new is learnt from them; training on them holds the way it
speaks in place. A quarter of the prompts is held out, to measure how much of that is lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import Qwen2VLForConditionalGeneration

from rarl.models.processor import ImageProcessor

TOPICS = (
    "pneumonia",
    "osteoarthritis of the knee",
    "a brain tumor",
    "meningioma",
    "glioma",
    "the pituitary gland",
    "breast cancer",
    "a benign breast lesion",
    "white blood cells",
    "red blood cells",
    "platelets",
    "a stroke",
    "bleeding inside the skull",
    "pregnancy",
    "an ultrasound examination",
    "an X-ray",
    "a CT scan",
    "magnetic resonance imaging",
    "the heart",
    "the lungs",
    "the liver",
    "the kidneys",
    "the spleen",
    "diabetes",
    "high blood pressure",
    "a healthy diet",
    "sleep",
    "the weather",
    "how bread is baked",
    "the history of trains",
    "learning a language",
    "writing a good letter",
)
FORMS = (
    "What is {topic}? Answer in a few sentences.",
    "Explain to a patient, in plain words: {topic}.",
    "Write a short paragraph about {topic}.",
)
TOKENS = 96


def prompts() -> list[str]:
    """All prompts, in a fixed order."""
    return [form.format(topic=topic) for form in FORMS for topic in TOPICS]


@torch.no_grad()
def speak(
    model: Qwen2VLForConditionalGeneration,
    processor: ImageProcessor,
    seed: int,
    count: int | None = None,
    batch: int = 32,
) -> list[tuple[str, str]]:
    """Prompts with the model's own replies, sampled.

    Args:
        model: the language half as it came.
        processor: its processor.
        seed: of sampling.
        count: how many prompts; None takes all.
        batch: prompts at once.
    """
    torch.manual_seed(seed)
    tokenizer = processor.tokenizer
    pairs: list[tuple[str, str]] = []
    asked = prompts()[:count]
    for start in range(0, len(asked), batch):
        some = asked[start : start + batch]
        texts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}],
                chat_template=processor.chat_template,
                tokenize=False,
                add_generation_prompt=True,
            )
            for prompt in some
        ]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs = inputs.to(model.device)
        out = cast(Any, model).generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            mm_token_type_ids=torch.zeros_like(inputs["input_ids"]),
            max_new_tokens=TOKENS,
            do_sample=True,
            temperature=0.7,
            top_p=0.9,
        )
        replies = tokenizer.batch_decode(
            out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        pairs += [(prompt, _whole(reply)) for prompt, reply in zip(some, replies, strict=True)]
    return pairs


def _whole(reply: str) -> str:
    """A reply up to its last full sentence."""
    end = max(reply.rfind(mark) for mark in ".!?")
    return reply[: end + 1].strip() if end > 0 else reply.strip()


def split(pairs: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Training and held-out pairs: every fourth is held out."""
    held = [pair for number, pair in enumerate(pairs) if number % 4 == 3]
    return [pair for number, pair in enumerate(pairs) if number % 4 != 3], held


@torch.no_grad()
def perplexity(
    model: Qwen2VLForConditionalGeneration, processor: ImageProcessor, texts: Sequence[str]
) -> float:
    """Perplexity of a model on plain texts, over all of their tokens.

    Args:
        model: any base.
        processor: its processor.
        texts: each cut at 512 tokens.
    """
    total, count = 0.0, 0
    for text in texts:
        ids = processor.tokenizer(
            text, return_tensors="pt", add_special_tokens=False, truncation=True, max_length=512
        )["input_ids"].to(model.device)
        if ids.shape[1] < 2:
            continue
        scores = model(input_ids=ids, mm_token_type_ids=torch.zeros_like(ids)).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(scores.float(), ids[0, 1:], reduction="sum")
        total += losses.item()
        count += ids.shape[1] - 1
    return math.exp(total / max(count, 1))
