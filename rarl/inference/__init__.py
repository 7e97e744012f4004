"""Asking: one interface (`Engine`), whatever answers.

Importing this loads no torch; `load_engine` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rarl.inference.engine import Answer, Arm, Decoding, Engine, NamedImage, Question, Seen

__all__ = [
    "Answer",
    "Arm",
    "Decoding",
    "Engine",
    "NamedImage",
    "Question",
    "Seen",
    "load_engine",
]


def load_engine(
    model: str | None = None, adapters: Mapping[str, Path | str] | None = None
) -> Engine:
    """Load a model and return the engine that answers with it.

    Args:
        model: "pocket", a model folder, or a name on the Hub; None takes `RARL_MODEL`, or else
            "pocket".
        adapters: arm name to adapter folder; None takes those in the model folder.

    Raises:
        ModelError: the model or an adapter cannot be loaded.
    """
    from rarl.inference.local import LocalEngine
    from rarl.models.loading import load_model

    return LocalEngine(load_model(model, adapters))
