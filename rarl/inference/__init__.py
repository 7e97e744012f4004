"""Answer questions through one interface, `Engine`.

Importing this loads no torch; `load_engine` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rarl.errors import ModelError
from rarl.inference.engine import Answer, Arm, Decoding, Engine, NamedImage, Question, Seen
from rarl.inference.resolve import Offer, load_offer, with_modes
from rarl.models.variants import is_arms_file
from rarl.settings import read_settings

__all__ = [
    "Answer",
    "Arm",
    "Decoding",
    "Engine",
    "NamedImage",
    "Offer",
    "Question",
    "Seen",
    "load_engine",
    "load_offer",
    "with_modes",
]


def load_engine(
    model: str | None = None, adapters: Mapping[str, Path | str] | None = None
) -> Engine:
    """Load a model and return the engine that answers with it.

    Args:
        model: "pocket", a model folder, a name on the Hub, or a variants file; None takes
            `RARL_MODEL`, or else "pocket".
        adapters: arm name to adapter folder; None takes those in the model folder.

    Raises:
        ModelError: the model, an adapter or another arm cannot be loaded; see `load_offer` for
            what can be had all the same.
    """
    name = model or read_settings().model
    if adapters is None and is_arms_file(name):
        offer = load_offer(name)
        if offer.missing:
            raise ModelError(next(iter(offer.missing.values())))
        return offer.engine
    from rarl.inference.local import LocalEngine
    from rarl.models.loader import load_model

    return LocalEngine(load_model(model, adapters))
