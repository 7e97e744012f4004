"""`python -m rarl facts MODEL`: what its variants are for, made from, and measured at."""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path

from rarl.data.example import KINDS
from rarl.errors import DataError
from rarl.facts.chai import applied_model_card, training_words
from rarl.facts.label import NOT_MEASURED, NOT_RECORDED, Facts
from rarl.facts.measured import KIND_WORDS
from rarl.facts.sources import SHIPPED, read_facts
from rarl.response import MODES
from rarl.settings import read_settings

HELP = "Print the facts label of a model's variants; loads no model."

FORMATS = ("text", "json", "chai")
_WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model, what is asked of it, and the form of the output."""
    parser.add_argument("model", metavar="MODEL", help="pocket, a model folder or a variants file")
    parser.add_argument("--arm", metavar="NAME", help="one variant; all where it is not given")
    parser.add_argument("--mode", choices=MODES, default="reason", help="of the evaluation")
    parser.add_argument(
        "--modality", metavar="WORD", help="measured accuracy on this modality alone (CT, MRI, US)"
    )
    parser.add_argument("--kind", choices=KINDS, help="and on this kind of question alone")
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER",
        help="an evaluation, or a folder of evaluations; RARL_RESULTS and the shipped one where it "
        "is not given",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=FORMATS, default="text",
        help="chai writes the Applied Model Card of the Coalition for Health AI, XML, of one --arm",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Print the labels.

    Returns:
        The exit status, 0.

    Raises:
        ModelError: the model or the variant is not there.
        DataError: there is no folder --results, or a card of several variants is asked for.
    """
    given = arguments.results
    if given is not None and not given.is_dir():
        raise DataError(f"There is no folder {given}; give one that rarl evaluate --out wrote.")
    own = read_settings().results
    evaluations = [given] if given else [*([own] if own else []), SHIPPED]
    labels = read_facts(arguments.model, arguments.mode, evaluations, arguments.arm)
    if arguments.format == "chai":
        if len(labels) != 1:
            raise DataError("A card is of one variant; choose it with --arm.")
        print(applied_model_card(labels[0]), end="")
    elif arguments.format == "json":
        print(json.dumps([facts.plain() for facts in labels], ensure_ascii=False))
    else:
        print("\n\n".join(_text(facts, arguments.modality, arguments.kind) for facts in labels))
    return 0


def _text(facts: Facts, modality: str | None, kind: str | None) -> str:
    made = facts.made or NOT_RECORDED
    lines = [
        f"{facts.model}, {facts.label}",
        _wrapped("Intended use", facts.intended_use),
        _wrapped("Not for", facts.out_of_scope),
        _wrapped("Users", facts.users),
        _wrapped("Training data", training_words(facts)),
        "Accuracy on held-out questions:",
    ]
    measured = facts.about(modality, kind)
    lines += [
        f"  {line.modality}, {KIND_WORDS[line.kind]}, {line.questions}: {line.percent}, "
        f"n {line.n}, {line.images} images"
        for line in measured
    ] or [f"  {NOT_MEASURED}"]
    lines += ["Known limits:", *(_wrapped("  -", limit, "    ") for limit in facts.limits)]
    lines.append(f"Revision: {facts.revision or NOT_RECORDED} Trained: {made}")
    if facts.base:
        lines.append(f"Base: {facts.base}")
    return "\n".join(lines)


def _wrapped(title: str, text: str, indent: str = "  ") -> str:
    first = title if title.endswith("-") else f"{title}:"
    return textwrap.fill(f"{first} {text}", _WIDTH, subsequent_indent=indent)
