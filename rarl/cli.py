"""`python -m rarl COMMAND ...`.

A command is a module with `HELP`, `add_arguments(parser)` and `run(arguments) -> int`. Only the
module of the command that was asked for is imported, so that `scan` and `review` never load torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from rarl import __version__
from rarl.errors import RarlError

COMMANDS: dict[str, str] = {
    "data": "rarl.data.command",
    "scan": "rarl.scans.command",
    "ask": "rarl.inference.command",
    "train": "rarl.training.command",
    "evaluate": "rarl.evaluation.command",
    "fit-familiarity": "rarl.familiarity.command",
    "review": "rarl.review.command",
}

_USAGE = f"usage: python -m rarl {{{','.join(COMMANDS)}}} ...  (add --help to a command)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, or 2 after one sentence on standard error where the input was bad.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--version"]:
        print(__version__)
        return 0
    if not words or words[0] in {"-h", "--help"}:
        print(_USAGE)
        return 0 if words else 2
    if words[0] not in COMMANDS:
        print(f"There is no command {words[0]!r}.\n{_USAGE}", file=sys.stderr)
        return 2
    module = import_module(COMMANDS[words[0]])
    parser = argparse.ArgumentParser(prog=f"python -m rarl {words[0]}", description=module.HELP)
    module.add_arguments(parser)
    try:
        status: int = module.run(parser.parse_args(words[1:]))
    except RarlError as error:
        print(error, file=sys.stderr)
        return 2
    return status
