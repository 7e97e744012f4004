"""Resolve a model name, a variants file or an endpoint to an engine.

Importing this loads neither torch nor a client for servers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rarl.errors import ModelError
from rarl.inference.composite import Side, SideBySide
from rarl.inference.engine import Arm, Engine, arm_label
from rarl.inference.zerogpu import ZeroGpuEngine, on_zero_gpu
from rarl.models.variants import (
    POCKET,
    Adapter,
    ArmsFile,
    Checkpoint,
    Endpoint,
    Variant,
    is_arms_file,
    read_arms,
)
from rarl.response import MODE_LABELS
from rarl.settings import read_settings

# A person waits: a server that is silent for so many seconds has failed, after so many tries.
_PATIENCE = 60.0
_RETRIES = 2


@dataclass(frozen=True, slots=True)
class Offer:
    """An engine, and what it lacks.

    Attributes:
        engine: answers for the arms that could be had.
        missing: arm name to the reason, in a sentence, for those that could not.
        model: the name that was configured, "" for a server's.
    """

    engine: Engine
    missing: Mapping[str, str]
    model: str = ""


def load_offer(model: str | None = None, endpoint: str | None = None) -> Offer:
    """Load whatever can be had of what is configured.

    Args:
        model: "pocket", a model folder, a name on the Hub or a variants file (see
            `rarl.models.variants`); None takes `RARL_MODEL`, or else "pocket". With an endpoint,
            the server's name of the base; None then takes the one that it lists.
        endpoint: address of an OpenAI-compatible server; None takes `RARL_ENDPOINT`. Its key, if
            it wants one, is `OPENAI_API_KEY`.

    Raises:
        UnreachableError: the endpoint does not answer now.
        ModelError: there is no arm at all.
    """
    settings = read_settings()
    model = model or settings.model
    endpoint = endpoint or settings.endpoint
    if endpoint:
        return Offer(_served(endpoint, model, key=settings.openai_api_key), {})
    if model is not None and is_arms_file(model):
        return replace(_of_file(Path(model), read_arms(model)), model=model)
    return replace(_local(model), model=model or POCKET)


def with_modes(offer: Offer) -> Offer:
    """Offer a model without variants in each inference mode too: arms "reason", "answer", ..."""
    if len(offer.engine.arms) != 1:
        return offer
    (arm,) = offer.engine.arms
    sides = [Side(offer.engine, ((arm, arm.name),))]
    for mode, label in MODE_LABELS.items():
        own = replace(arm, name=mode, label=label, mode=mode)
        sides.append(Side(offer.engine, ((own, arm.name),), mode))
    return replace(offer, engine=SideBySide(sides, offer.engine.model_name))


def _local(model: str | None, adapters: Mapping[str, Path | str] | None = None) -> Offer:
    """A model in this process; see `load_model`."""
    lent = on_zero_gpu()
    if lent:
        # `spaces` patches torch to report CUDA; it must be imported before torch.
        import spaces  # noqa: F401
    from rarl.inference.local import LocalEngine
    from rarl.models.loader import load_model

    loaded = load_model(model, adapters, leave_out=True)
    # A process forked for a single question has no time to capture a graph.
    engine = LocalEngine(loaded, captured=False if lent else None)
    return Offer(ZeroGpuEngine(engine) if lent else engine, loaded.unfit)


def _of_file(path: Path, arms: ArmsFile) -> Offer:
    sides: list[Side] = []
    missing: dict[str, str] = {}
    labels = {name: entry.label for name, entry in arms.variants.items() if entry.label}

    def add(engine: Engine, names: Mapping[str, str]) -> None:
        """Offer an engine's arms under other names."""
        sides.append(
            Side(
                engine,
                tuple(
                    (replace(arm, name=name, label=labels.get(name, arm_label(name))), inner)
                    for name, inner in names.items()
                    for arm in engine.arms
                    if arm.name == inner
                ),
            )
        )

    if arms.base is not None:
        try:
            own = _local(arms.base, arms.adapters)
            add(own.engine, {arm.name: arm.name for arm in own.engine.arms})
            missing |= own.missing
        except ModelError as error:
            missing |= {name: str(error) for name in ("base", *arms.adapters)}
    for name, variant in arms.variants.items():
        if isinstance(variant, Adapter):
            continue  # with the base
        try:
            engine, inner = OPENERS[type(variant)](name, variant)
            add(engine, {name: inner})
        except ModelError as error:
            missing[name] = str(error)
    if not sides:
        raise ModelError(
            f"None of the variants of {path} can be had. {next(iter(missing.values()))}"
        )
    whole = sides[0].engine
    offered: list[Arm] = [arm for side in sides for arm, _ in side.arms]
    if len(sides) > 1 or tuple(offered) != whole.arms:
        whole = SideBySide(sides, path.name)
    return Offer(whole, missing)


def _checkpoint(_: str, variant: Checkpoint) -> tuple[Engine, str]:
    return _local(variant.checkpoint, {}).engine, "base"


def _endpoint(name: str, variant: Endpoint) -> tuple[Engine, str]:
    key = os.environ.get(variant.key) if variant.key else None
    if variant.key and not key:
        raise ModelError(f"The variant {name!r} wants its server's key in {variant.key}; set it.")
    return _served(variant.endpoint, variant.model, {name: variant.model}, key), name


OPENERS: Mapping[type[Variant], Callable[[str, Any], tuple[Engine, str]]] = {
    Checkpoint: _checkpoint,
    Endpoint: _endpoint,
}
"""For each kind but adapters, from a variant's name and entry to its engine and the name there."""


def _served(
    url: str,
    model: str | None,
    arms: Mapping[str, str] | None = None,
    key: str | None = None,
) -> Engine:
    # Here, since most apps ask no server and need not wait for its client.
    from rarl.inference.remote import EndpointEngine

    return EndpointEngine(url, model, arms, key=key, retries=_RETRIES, timeout=_PATIENCE)
