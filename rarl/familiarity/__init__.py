"""Whether a picture is of a kind that a model was trained on, from its vision tower's features."""

from rarl.models.familiarity import FILE, Familiarity, Verdict, load_familiarity, pooled_features

__all__ = [
    "FILE",
    "Familiarity",
    "Verdict",
    "load_familiarity",
    "pooled_features",
]
