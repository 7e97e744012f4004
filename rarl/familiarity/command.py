"""`python -m rarl fit-familiarity`: fit the out-of-distribution detector of a base model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rarl.errors import ModelError

HELP = "Fit how a base tells pictures of a kind that it never saw; writes a file beside the model."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model, the sets and where the file goes."""
    parser.add_argument("--model", help="a model folder or a name; otherwise RARL_MODEL, or pocket")
    parser.add_argument(
        "--data", metavar="NAME,...", help="sets whose pictures are familiar; otherwise the base's"
    )
    parser.add_argument("--out", type=Path, help="folder of the file; otherwise the model's")
    parser.add_argument("--pictures", type=int, metavar="N", help="most pictures of a kind")
    parser.add_argument("--seed", type=int, default=0, help="0 if not given")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Fit and write.

    Returns:
        The exit status, 0.

    Raises:
        RarlError: the model or a set is not at hand.
    """
    from rarl.data.mixtures import FAMILIAR_SETS
    from rarl.familiarity.fit import PICTURES_A_KIND, fit_familiarity
    from rarl.models.familiarity import FILE
    from rarl.models.loader import load_model, resolve_model

    if arguments.pictures is not None and arguments.pictures < 3:
        raise ModelError("--pictures must be 3 or more.")
    out = arguments.out or resolve_model(arguments.model).directory
    if out is None:
        raise ModelError("Say with --out where the file goes; a model of the Hub has no folder.")
    # A file of an earlier base must not keep its successor from loading.
    (out / FILE).unlink(missing_ok=True)
    model = load_model(arguments.model, adapters={})
    names = [name for name in (arguments.data or "").split(",") if name] or FAMILIAR_SETS
    measure = fit_familiarity(model, names, arguments.pictures or PICTURES_A_KIND, arguments.seed)
    out.mkdir(parents=True, exist_ok=True)
    measure.save(out / FILE)
    record = {
        "file": str(out / FILE),
        "revision": measure.revision,
        "kinds": list(measure.kinds),
        "limit": round(measure.limit, 3),
    }
    if arguments.json:
        print(json.dumps(record))
    else:
        print(f"{record['file']}: {len(measure.kinds)} kinds, limit {measure.limit:.2f}")
    return 0
