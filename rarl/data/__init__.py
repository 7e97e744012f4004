"""Load every dataset as `Example` rows, split by image."""

from rarl.data.example import SPLITS, Example, Fact, Half, ImageRef, Kind, Split
from rarl.data.sets import load_examples, load_set

__all__ = [
    "SPLITS",
    "Example",
    "Fact",
    "Half",
    "ImageRef",
    "Kind",
    "Split",
    "load_examples",
    "load_set",
]
