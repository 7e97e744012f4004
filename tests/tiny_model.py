"""A random model of the small model's class, small enough for tests of the machinery."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rarl.models.small import TINY, make_model, make_processor, train_tokenizer


def save_tiny(directory: Path, texts: Iterable[str], seed: int = 0) -> None:
    """Write the model folder: random weights, tokenizer and processor."""
    tokenizer = train_tokenizer(texts, TINY.vocabulary)
    make_model(tokenizer, TINY, seed).save_pretrained(directory)
    make_processor(tokenizer, TINY).save_pretrained(directory)
