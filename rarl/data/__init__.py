"""Every dataset as one row type, split by image."""

from rarl.data.example import SPLITS, Example, Fact, ImageRef, Kind, Split

__all__ = ["SPLITS", "Example", "Fact", "ImageRef", "Kind", "Split"]
