"""`python -m rarl pass-rates`: how often a base answers training questions rightly."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rarl.arguments import seed_number, whole_number
from rarl.errors import DataError
from rarl.response import MODES

HELP = "Sample answers of a base to training questions and count how many are right, for RL."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--model", default="pocket", metavar="NAME", help="pocket, a folder or a Hub name"
    )
    parser.add_argument(
        "--data", required=True, metavar="NAME[,NAME...]", help="sets whose training rows are asked"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help="JSON lines; a later run goes on"
    )
    parser.add_argument("--samples", type=whole_number(2, 64), default=8, help="default: 8")
    parser.add_argument("--mode", choices=MODES, default="answer", help="default: answer")
    parser.add_argument(
        "--limit", type=whole_number(1), metavar="N", help="ask N rows, drawn evenly from the sets"
    )
    parser.add_argument("--seed", type=seed_number, default=0, help="0 if not given")
    parser.add_argument("--threads", type=whole_number(1, 4096), metavar="N", help="CPU threads")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Sample and count.

    Returns:
        The exit status, 0.

    Raises:
        RarlError: the model, a set or a picture is not at hand.
    """
    import torch

    from rarl.data import load_examples
    from rarl.inference import load_engine
    from rarl.training.pass_rates import in_turn, measure_pass_rates

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    names = [name for name in arguments.data.split(",") if name]
    rows = [row for row in load_examples(names, ["train"]) if row.image is not None]
    if not rows:
        raise DataError(f"{arguments.data} hold no training row with a picture.")
    rows = in_turn(rows, arguments.seed)[: arguments.limit]
    rates = measure_pass_rates(
        load_engine(arguments.model),
        rows,
        arguments.out,
        samples=arguments.samples,
        mode=arguments.mode,
        seed=arguments.seed,
    )
    record = {
        "file": str(arguments.out),
        "questions": len(rates),
        "all_right": sum(rate.right == rate.samples for rate in rates),
        "all_wrong": sum(rate.right == 0 for rate in rates),
        "differ": sum(rate.differs for rate in rates),
    }
    if arguments.json:
        print(json.dumps(record))
    else:
        print(
            f"{record['file']}: of {len(rates)} questions the base gets {record['all_right']} "
            f"always right, {record['all_wrong']} always wrong, and "
            f"{100 * sum(rate.differs for rate in rates) / len(rates):.0f} % in part."
        )
    return 0
