"""`python -m rarl evaluate --model M --data NAME[:SPLIT] ... --out DIR [--reliance] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from rarl.arguments import check_output_folder, real_number, seed_number, whole_number
from rarl.data.example import Example
from rarl.errors import QuestionError
from rarl.evaluation.contamination import EXCLUSIONS, Leak, find_leaks, training_rows, without_leaks
from rarl.evaluation.exports import FORMS, Form, export
from rarl.evaluation.image_ablations import ALTERED, PROBES, ROTATED, STRESSED, Condition
from rarl.evaluation.metrics import Labels
from rarl.evaluation.rows import Row
from rarl.evaluation.run import Selection, evaluate, select, summarise
from rarl.evaluation.run_files import SUMMARY, write_run
from rarl.evaluation.tables import as_text
from rarl.inference import load_engine, load_offer
from rarl.inference.engine import Engine
from rarl.inference.self_consistency import TEMPERATURE
from rarl.models.making import read_making, variant_folders
from rarl.models.variants import is_arms_file, read_arms
from rarl.response import MODES, Mode
from rarl.settings import read_settings

HELP = "Ask arms of a model held-out questions and report what they get right."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--model",
        help="a model's folder or name, or a variants file; with --endpoint, the server's name",
    )
    parser.add_argument("--arms", help="say base,sft,rl,rarl; without it, all on offer")
    parser.add_argument("--modes", default="reason", help=f"of {','.join(MODES)}")
    parser.add_argument(
        "--data",
        nargs="+",
        metavar="NAME[:SPLIT]",
        help="sets; without a split, the test split, else the one that is held out",
    )
    parser.add_argument("--out", type=Path, help="folder of the run; it resumes")
    parser.add_argument(
        "--verify",
        type=Path,
        metavar="DIR",
        help="ask nothing: recompute every figure of a finished run from its rows, and say what "
        "differs (exit status 1 where anything does)",
    )
    parser.add_argument(
        "--export",
        nargs="+",
        choices=FORMS,
        default=[],
        metavar="FORM",
        help=f"write the run, or that of --verify, for other programs too: {', '.join(FORMS)}",
    )
    parser.add_argument(
        "--reliance",
        action="store_true",
        help="ask again with the image blanked, mirrored and swapped for another",
    )
    parser.add_argument(
        "--blank", action="store_true", help="ask again about a grey picture of the same size"
    )
    parser.add_argument(
        "--rotations",
        action="store_true",
        help="ask multiple-choice questions again in every rotation of their options",
    )
    parser.add_argument(
        "--probes",
        action="store_true",
        help="ask again under probes: wrong suggestions, injected instructions, false premises, "
        "“none of these”, and changes of the picture that leave the finding as it is",
    )
    parser.add_argument(
        "--may-abstain",
        action="store_true",
        help="offer “cannot tell from this image” as an answer to every question",
    )
    parser.add_argument(
        "--samples",
        type=whole_number(0),
        default=0,
        help="answers sampled besides the greedy one, for self-consistency (default: 0)",
    )
    parser.add_argument(
        "--temperature", type=real_number(0, 100), default=TEMPERATURE, help="of these samples"
    )
    parser.add_argument(
        "--trained-on",
        nargs="+",
        metavar="NAME",
        help="sets that trained the model, to look for shared images; without it, those of --data"
        " and those that its adapters name",
    )
    parser.add_argument(
        "--exclude-leaks",
        choices=EXCLUSIONS,
        default="none",
        help="leave out questions about images that training has, or has something alike to",
    )
    parser.add_argument("--endpoint", metavar="URL", help="ask an OpenAI-compatible server instead")
    parser.add_argument(
        "--concurrency",
        type=whole_number(1),
        default=64,
        help="most requests at once, with --endpoint (default: 64); fewer while it says it is busy",
    )
    parser.add_argument(
        "--judge", metavar="URL", help="have answers judged by a model of an OpenAI-compatible API"
    )
    parser.add_argument("--judge-model", metavar="NAME", help="the judge, pinned by name")
    parser.add_argument("--judge-calls", type=whole_number(1), help="most requests to the judge")
    parser.add_argument("--judge-tokens", type=whole_number(1), help="most tokens of the judge")
    parser.add_argument(
        "--limit",
        type=whole_number(1),
        help="questions per set, drawn with the seed; kinds and types of questions and modalities "
        "keep their shares",
    )
    parser.add_argument("--batch", type=whole_number(1), default=16, help="questions asked at once")
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--max-new-tokens", type=whole_number(1), default=256)
    parser.add_argument("--json", action="store_true", help="print summary.json instead of tables")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, write the run's files (see `rarl.evaluation.run_files`), and print.

    Returns:
        The exit status: 0, or 1 where `--verify` finds a difference.

    Raises:
        RarlError: a set, split, arm, mode, model or server that is not there, or a folder of
            another run.
    """
    if arguments.verify is not None:
        return _verified(arguments)
    if not (arguments.model and arguments.data and arguments.out):
        raise QuestionError("Give --model, --data and --out, or --verify with a finished run.")
    check_output_folder(arguments.out)
    modes = [_mode(name) for name in dict.fromkeys(arguments.modes.split(","))]
    if arguments.samples and not arguments.temperature > 0:
        raise QuestionError("Answers can be sampled only with --temperature above 0.")
    if bool(arguments.judge) != bool(arguments.judge_model):
        raise QuestionError("Give --judge and --judge-model together, so that the judge is pinned.")
    selections = [
        select(name, arguments.limit, arguments.seed) for name in dict.fromkeys(arguments.data)
    ]
    examples, leaks = _checked(arguments, selections)
    engine = _engine(arguments)
    offered = [arm.name for arm in engine.arms]
    conditions: tuple[Condition, ...] = ("blank",) if arguments.blank else ()
    if arguments.reliance:
        conditions = ALTERED
    rows = evaluate(
        engine,
        examples,
        arms=list(dict.fromkeys(arguments.arms.split(","))) if arguments.arms else offered,
        modes=modes,
        out=arguments.out,
        altered=lambda example: (
            *conditions,
            *((*STRESSED, *PROBES) if arguments.probes else ()),
            *(ROTATED[: len(example.options) - 1] if arguments.rotations else ()),
        ),
        pool=[example for selection in selections for example in selection.pool],
        draws=lambda example: arguments.samples,
        temperature=arguments.temperature,
        batch=arguments.batch,
        max_new_tokens=arguments.max_new_tokens,
        seed=arguments.seed,
        may_abstain=arguments.may_abstain,
    )
    summary = summarise(engine, rows, leaks)
    if not arguments.endpoint:
        # So that whoever reads the run elsewhere still sees what was measured.
        folders = variant_folders(arguments.model)
        names = [arm["name"] for arm in summary["arms"] if arm["name"] in folders]
        summary["made"] = {name: read_making(folders[name]).plain() for name in names}
    judged = None
    if arguments.judge:
        judged, summary["judge"] = _judged(arguments, rows, examples, leaks)
    write_run(arguments.out, summary, rows, leaks, judged=judged)
    if arguments.export:
        _exported(arguments.out, arguments.export, rows, summary)
    print(json.dumps(summary) if arguments.json else as_text(summary))
    return 0


def _verified(arguments: argparse.Namespace) -> int:
    """Recompute a finished run; the exit status."""
    from rarl.evaluation.recompute import read_run, rows_of, verify

    verification = verify(arguments.verify)
    if arguments.export:
        frame, summary = read_run(arguments.verify)
        _exported(arguments.verify, arguments.export, rows_of(frame), summary)
    if arguments.json:
        print(json.dumps(asdict(verification)))
    else:
        print("\n".join(verification.differences) or "Every figure follows from the rows.")
        for note in verification.notes:
            print(note, file=sys.stderr)
    return 1 if verification.differences else 0


def _exported(
    folder: Path, forms: Sequence[Form], rows: Sequence[Row], summary: Mapping[str, Any]
) -> None:
    written = datetime.fromtimestamp((folder / SUMMARY).stat().st_mtime, UTC)
    for path in export(folder, forms, rows, summary, written.isoformat(timespec="seconds")):
        print(path, file=sys.stderr)


def _checked(
    arguments: argparse.Namespace, selections: list[Selection]
) -> tuple[list[Example], list[Leak]]:
    """The questions that are left, and what their sets share with training."""
    names = [selection.source for selection in selections]
    names += arguments.trained_on or _noted(arguments.model if not arguments.endpoint else None)
    training, missing = training_rows(names)
    asked = [example for selection in selections for example in selection.examples]
    leaks = find_leaks(training, asked)
    examples = without_leaks(asked, leaks, arguments.exclude_leaks)
    labels = {(leak.source, leak.split): leak for leak in leaks}
    for selection in selections:
        kept = sum(
            (example.source, example.split) == (selection.source, selection.split)
            for example in examples
        )
        leak = labels.get((selection.source, selection.split))
        seen = len(leak.keys(near=False)) if leak else 0
        # Which split was taken, and what training has of it, is never left to guessing.
        print(
            f"{selection.source}: {kept} questions of split {selection.split}"
            + (f"; training has {seen} of its {leak.images} images" if leak and seen else ""),
            file=sys.stderr,
        )
    if missing:
        print(
            f"Not at hand, so not searched for shared images: {', '.join(missing)}",
            file=sys.stderr,
        )
    return examples, leaks


def _noted(model: str | None) -> list[str]:
    """The sets that a model's adapters say they were trained on."""
    if model is None:
        return []
    folders: Iterable[Path | str]
    if is_arms_file(model):
        folders = read_arms(model).adapters.values()
    else:
        # Here, since it loads torch, which bad input should not have to wait for.
        from rarl.models.loader import resolve_model

        folders = resolve_model(model).adapters.values()
    names: list[str] = []
    for folder in folders:
        note = Path(folder) / "rarl.json"
        if note.is_file():
            try:
                names += json.loads(note.read_text("utf-8")).get("data", {}).get("sets", [])
            except (ValueError, AttributeError):
                continue  # loading the model says what is wrong with it
    return names


def _engine(arguments: argparse.Namespace) -> Engine:
    if arguments.endpoint:
        from rarl.inference.remote import EndpointEngine

        return EndpointEngine(
            arguments.endpoint,
            arguments.model,
            key=read_settings().openai_api_key,
            concurrency=arguments.concurrency,
        )
    if not is_arms_file(arguments.model):
        return load_engine(arguments.model)
    offer = load_offer(arguments.model)
    for reason in offer.missing.values():
        print(reason, file=sys.stderr)
    return offer.engine


def _judged(
    arguments: argparse.Namespace,
    rows: Sequence[Row],
    examples: Sequence[Example],
    leaks: Sequence[Leak],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The judge's columns and figures; judgements are kept in the run's folder."""
    # Here, since most runs have no judge and need neither the client nor the store.
    from rarl.evaluation.judge_metrics import human_scores, judge_rows, judge_summary
    from rarl.judge import Judge
    from rarl.review import open_store

    judge = Judge(
        arguments.judge,
        arguments.judge_model,
        cache=arguments.out / "judgements",
        calls=arguments.judge_calls,
        tokens=arguments.judge_tokens,
    )
    judged = judge_rows(judge, rows, {example.id: example for example in examples})
    store = open_store()
    try:
        humans = human_scores(store)
    finally:
        store.close()
    labels: Labels = {(leak.source, leak.split): leak.label for leak in leaks}
    return judged, judge_summary(judge, rows, judged, humans, labels)


def _mode(name: str) -> Mode:
    for mode in MODES:
        if mode == name:
            return mode
    raise QuestionError(f"There is no mode {name!r}; choose from {', '.join(MODES)}.")
