"""`python -m rarl evaluate --model M --data NAME[:SPLIT] ... --out DIR [--blank] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rarl.errors import QuestionError
from rarl.evaluation.run import evaluate, select, summarise
from rarl.evaluation.tables import as_text
from rarl.response import MODES, Mode

HELP = "Ask arms of a model held-out questions and report what they get right."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--model", required=True, help="a model's folder or name")
    parser.add_argument("--arms", help="say base,sft,rl,rarl; without it, all on offer")
    parser.add_argument("--modes", default="reason", help=f"of {','.join(MODES)}")
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="NAME[:SPLIT]",
        help="sets; without a split, the test split, else the one that is held out",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; it resumes")
    parser.add_argument(
        "--blank", action="store_true", help="ask again about a grey picture of the same size"
    )
    parser.add_argument("--limit", type=_positive, help="questions per set, drawn with the seed")
    parser.add_argument("--batch", type=_positive, default=16, help="questions asked at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-new-tokens", type=_positive, default=256)
    parser.add_argument("--json", action="store_true", help="print summary.json instead of tables")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, write `summary.json` beside the rows, and print.

    Returns:
        The exit status, 0.

    Raises:
        RarlError: a set, split, arm, mode or model that is not there, or a folder of another run.
    """
    modes = [_mode(name) for name in dict.fromkeys(arguments.modes.split(","))]
    selections = [
        select(name, arguments.limit, arguments.seed) for name in dict.fromkeys(arguments.data)
    ]
    for selection in selections:
        # Which split was taken is never left to guessing.
        print(
            f"{selection.source}: {len(selection.examples)} questions of split {selection.split}",
            file=sys.stderr,
        )
    # Here, since it loads torch, which bad input should not have to wait for.
    from rarl.inference import load_engine

    engine = load_engine(arguments.model)
    offered = [arm.name for arm in engine.arms]
    rows = evaluate(
        engine,
        [example for selection in selections for example in selection.examples],
        arms=list(dict.fromkeys(arguments.arms.split(","))) if arguments.arms else offered,
        modes=modes,
        out=arguments.out,
        blank=lambda example: arguments.blank,
        batch=arguments.batch,
        max_new_tokens=arguments.max_new_tokens,
        seed=arguments.seed,
    )
    summary = summarise(engine, rows)
    written = json.dumps(summary, indent=1)
    (arguments.out / "summary.json").write_text(written + "\n", encoding="utf-8")
    print(json.dumps(summary) if arguments.json else as_text(summary))
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def _mode(name: str) -> Mode:
    for mode in MODES:
        if mode == name:
            return mode
    raise QuestionError(f"There is no mode {name!r}; choose from {', '.join(MODES)}.")
