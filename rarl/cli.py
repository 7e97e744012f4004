"""`python -m rarl COMMAND ...`.

A command is a module with `HELP`, `add_arguments(parser)` and `run(arguments) -> int`. Only the
module of the command that was asked for is imported, so that `scan` and `review` never load torch.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from rarl import __version__
from rarl.arguments import Parser, check_text
from rarl.errors import RarlError
from rarl.extras import missing_extra

COMMANDS: dict[str, str] = {
    "data": "rarl.data.command",
    "scan": "rarl.scans.command",
    "measure": "rarl.scans.measure_command",
    "ask": "rarl.inference.command",
    "train": "rarl.training.command",
    "pass-rates": "rarl.training.pass_rates_command",
    "evaluate": "rarl.evaluation.command",
    "facts": "rarl.facts.command",
    "fit-familiarity": "rarl.familiarity.command",
    "review": "rarl.review.command",
}

# Here, so that --help imports no command.
SUMMARIES: dict[str, str] = {
    "data": "count the rows of datasets and what their splits share",
    "scan": "open scans and show what is kept of them",
    "measure": "measure lengths, angles, areas and values on a scan",
    "ask": "ask about a scan; read the reasoning and answer of each variant",
    "train": "train a variant (SFT, RL, RARL, DPO or KTO) as a LoRA adapter",
    "pass-rates": "count how often a base is right, to choose the questions of RL",
    "evaluate": "ask held-out questions and report what is right",
    "facts": "print what variants are for, made from and measured at",
    "fit-familiarity": "fit how a model notices images of a kind that it never saw",
    "review": "list, export, import and delete flagged cases",
}
_USAGE = "usage: rarl COMMAND ..."
_HELP = "\n".join(
    [
        _USAGE,
        "",
        "Medical vision-language models: scans, training, evaluation and review.",
        "",
        *(f"  {name:<16} {summary}" for name, summary in SUMMARIES.items()),
        "",
        "rarl COMMAND --help lists the arguments of a command, rarl --version shows the version.",
        "The app is started by scripts/demo in a checkout.",
    ]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0; 2 after one sentence on standard error where the input was bad or the
        output cannot be written; 130 where the user interrupted it.
    """
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal does not have is no reason to stop.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run(argv)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except OSError as error:
        if not _output_failed(error):
            raise
        return 2
    return status


def _output_failed(error: OSError) -> bool:
    """Whether standard output is closed or full; says so, and lets the process end quietly."""
    if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO):
        return False
    # What is buffered would be tried again when the interpreter ends.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
    sentence = "The output cannot be written; is the disk full?"
    if error.errno == errno.EPIPE:
        sentence = "The output was closed before all was written."
    print(sentence, file=sys.stderr)
    return True


def _run(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--version"]:
        print(__version__)
        return 0
    if not words or words[0] in {"-h", "--help"}:
        print(_HELP)
        return 0 if words else 2
    if words[0] not in COMMANDS:
        names = ", ".join(COMMANDS)
        print(f"There is no command {words[0]!r}; choose from {names}.", file=sys.stderr)
        return 2
    try:
        from rarl.settings import check_settings  # not for --help, which needs no pydantic

        check_settings(os.environ)
        module = import_module(COMMANDS[words[0]])
        parser = Parser(prog=f"python -m rarl {words[0]}", description=module.HELP)
        module.add_arguments(parser)
        arguments = parser.parse_args(words[1:])
        check_text(arguments)
        status: int = module.run(arguments)
    except RarlError as error:
        print(error, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        sentence = missing_extra(error)
        if sentence is None:
            raise
        print(sentence, file=sys.stderr)
        return 2
    return status
