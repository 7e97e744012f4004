"""`python -m rarl ask IMAGE... QUESTION`: ask one variant or several."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rarl.arguments import real_number, seed_number, whole_number
from rarl.checks import header_facts
from rarl.errors import ModelError, QuestionError, ScanError
from rarl.inference.checking import check_answers, unfamiliar_pictures
from rarl.inference.engine import (
    Answer,
    Arm,
    Decoding,
    Engine,
    NamedImage,
    Question,
    chosen_variants,
)
from rarl.prompts import messages, user_text
from rarl.response import MODES, PROBLEM_SENTENCES, Mode
from rarl.scans import open_scan_file
from rarl.scans.scan import Scan
from rarl.text.choice import labelled, read_choice

HELP = "Ask a question about one or more scans and read the reasoning and the answer of each arm."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    default = Decoding()
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="a scan; several for one question"
    )
    parser.add_argument("question", metavar="QUESTION")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="what the prompt calls a scan (frontal, lateral, current, prior); "
        "once for each, in their order",
    )
    parser.add_argument(
        "--arm",
        default="all",
        help="one or several variants, separated by commas, such as sft,mine; all (the default) "
        "is every variant that the model offers besides its base",
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="TEXT",
        help="an option of a multiple-choice question; once for each, in their order",
    )
    parser.add_argument("--mode", choices=MODES, default="reason", help="default: reason")
    parser.add_argument(
        "--model", help="pocket, a model folder or a name on the Hub (default: RARL_MODEL)"
    )
    parser.add_argument(
        "--adapter",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="an adapter beside or instead of those in the model folder; may be repeated",
    )
    parser.add_argument(
        "--max-new-tokens", type=whole_number(1, 100_000), default=default.max_new_tokens
    )
    parser.add_argument(
        "--temperature",
        type=real_number(0, 100),
        default=default.temperature,
        help="0 is greedy (default)",
    )
    parser.add_argument(
        "--seed",
        type=seed_number,
        default=default.seed,
        help="used where the temperature is above 0",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Ask, then print.

    Returns:
        The exit status, 0.

    Raises:
        RarlError: the scan, the question or the model is unusable.
    """
    mode: Mode = arguments.mode
    # What can fail at once should not wait for a model to load.
    paths: list[Path] = arguments.images
    names = arguments.name or [""] * len(paths)
    if len(names) != len(paths):
        raise QuestionError(
            f"Give --name once for each of the {len(paths)} scans, in their order, or not at all."
        )
    messages(user_text(arguments.question, mode, options=arguments.option), names)
    scans = _opened(paths)
    engine = _engine(arguments.model, arguments.adapter)
    question = Question(
        images=tuple(NamedImage(scan.image, name) for scan, name in zip(scans, names, strict=True)),
        text=arguments.question,
        arms=chosen_variants(
            [name.strip() for name in arguments.arm.split(",") if name.strip()], engine.arms
        ),
        mode=mode,
        decoding=Decoding(
            max_new_tokens=arguments.max_new_tokens,
            temperature=arguments.temperature,
            seed=arguments.seed,
        ),
        options=tuple(arguments.option),
    )
    unfamiliar = unfamiliar_pictures(engine, question)
    (answered,) = engine.answer_batch([question])
    arms = {arm.name: arm for arm in engine.arms}
    answers = check_answers(
        answered,
        question.text,
        header_facts((scan.modality, scan.attributes) for scan in scans),
        engine.arms,
        unfamiliar,
        question.options,
    )
    if arguments.json:
        print(json.dumps(_described(scans, question, engine, answers)))
        return 0
    for number, scan in enumerate(scans, 1):
        for sentence in scan.warnings:
            print(f"! {_which(number, len(scans))}{sentence}")
    for sentence in dict.fromkeys(unfamiliar.values()):
        print(f"! {sentence}")
    for answer in answers:
        _show(answer, arms[answer.arm], question.options)
    return 0


def _opened(paths: list[Path]) -> list[Scan]:
    scans = []
    for number, path in enumerate(paths, 1):
        try:
            scans.append(open_scan_file(path))
        except ScanError as error:
            raise ScanError(f"{_which(number, len(paths))}{error}") from None
    return scans


def _which(number: int, count: int) -> str:
    # By position, since the names of files may name people.
    return f"File {number} of {count}: " if count > 1 else ""


def _engine(model: str | None, pairs: list[str]) -> Engine:
    from rarl.inference import load_engine
    from rarl.models.loader import resolve_model

    adapters: dict[str, Path | str] = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder):
            raise ModelError(f"Give an adapter as NAME=FOLDER, not as {pair!r}.")
        adapters[name] = folder
    if not adapters:
        return load_engine(model)
    return load_engine(model, {**resolve_model(model).adapters, **adapters})


def _show(answer: Answer, arm: Arm, options: Sequence[str] = ()) -> None:
    print(
        f"{arm.label} ({arm.revision}), {answer.tokens} tokens in {answer.seconds:.1f} s\n"
        f"   Reasoning: {_printable(answer.response.reasoning) or '-'}\n"
        f"   Answer:    {_printable(answer.response.answer) or '-'}"
    )
    if options:
        print(f"   Option:    {_printable(_option(answer, options) or 'none, or more than one')}")
    for problem in answer.response.problems:
        print(f"   ! {PROBLEM_SENTENCES[problem]}")
    for check in answer.checks:
        if check.name == "unfamiliar-picture":
            continue  # said once, before all answers
        print(f"   ! {check.sentence}")


def _option(answer: Answer, options: Sequence[str]) -> str | None:
    """The option that an answer names, with its letter; None where none or several."""
    chosen = read_choice(answer.response.answer, options).index
    return None if chosen is None else labelled(options, chosen)


def _printable(text: str) -> str:
    # What a model writes must neither steer the terminal nor look like another arm's lines.
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def _described(
    scans: list[Scan], question: Question, engine: Engine, answers: tuple[Answer, ...]
) -> dict[str, Any]:
    revisions = {arm.name: arm.revision for arm in engine.arms}
    return {
        "images": [
            {
                "name": named.name,
                "format": scan.format,
                "modality": scan.modality,
                "width": scan.image.width,
                "height": scan.image.height,
                "warnings": list(scan.warnings),
            }
            for scan, named in zip(scans, question.images, strict=True)
        ],
        "question": question.text,
        "options": list(question.options),
        "mode": question.mode,
        "model": engine.model_name,
        "revision": engine.arms[0].revision,
        "decoding": {
            "max_new_tokens": question.decoding.max_new_tokens,
            "temperature": question.decoding.temperature,
            "seed": question.decoding.seed,
        },
        "arms": [
            {
                "arm": answer.arm,
                "revision": revisions[answer.arm],
                "reasoning": answer.response.reasoning,
                "answer": answer.response.answer,
                "option": _option(answer, question.options) if question.options else None,
                "problems": list(answer.problems),
                "cautions": [check.sentence for check in answer.checks],
                "text": answer.response.text,
                "tokens": answer.tokens,
                "seconds": round(answer.seconds, 3),
            }
            for answer in answers
        ],
    }
