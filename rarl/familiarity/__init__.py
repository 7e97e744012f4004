"""Detect pictures unlike the training data, from features of the vision tower."""

from rarl.models.familiarity import FILE, Familiarity, Verdict, load_familiarity, pooled_features

__all__ = [
    "FILE",
    "Familiarity",
    "Verdict",
    "load_familiarity",
    "pooled_features",
]
