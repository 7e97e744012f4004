"""`python -m rarl review list | show ID | export`: the flags, from the command line."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from rarl.errors import ReviewError
from rarl.review.case import CaseSnapshot, Flag, FlagFilter
from rarl.review.export import case_as_json, flag_as_json
from rarl.review.store import ReviewStore, open_store
from rarl.review.taxonomy import CATEGORIES, SEVERITIES

HELP = "List, show and export what readers flagged."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the three actions and their arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|export")

    listing = actions.add_parser("list", help="flags, newest first")
    _add_filter(listing)
    listing.add_argument("--limit", type=_count, default=50, help="at most so many (50)")
    listing.add_argument("--offset", type=_count, default=0, help="leave out the newest so many")
    listing.add_argument("--json", action="store_true", help="one JSON object")

    showing = actions.add_parser("show", help="a case with its answers and flags")
    showing.add_argument("id", metavar="ID", help="number of a flag, or id of a case")
    showing.add_argument("--json", action="store_true", help="one JSON object, without pixels")

    exporting = actions.add_parser("export", help="write flags to a file")
    _add_filter(exporting)
    exporting.add_argument("--format", choices=("jsonl", "csv"), required=True)
    exporting.add_argument("--out", type=Path, required=True, metavar="FILE")
    exporting.add_argument("--no-pixels", action="store_true", help="leave pictures out (jsonl)")
    exporting.add_argument("--json", action="store_true", help="one JSON object with the count")


def run(arguments: argparse.Namespace) -> int:
    """Do one of the three.

    Returns:
        The exit status, 0.

    Raises:
        ReviewError: the store cannot be used, there is no such flag or case, or the file cannot
            be written.
    """
    store = open_store()
    try:
        if arguments.action == "list":
            _list(store, arguments)
        elif arguments.action == "show":
            _show(store, arguments)
        else:
            _export(store, arguments)
    finally:
        store.close()
    return 0


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 31:
        raise ValueError("out of range")
    return number


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arm")
    parser.add_argument("--category", choices=[key for key, _ in CATEGORIES])
    parser.add_argument("--severity", choices=[key for key, _ in SEVERITIES])
    parser.add_argument("--modality", help="DICOM modality, such as CT")
    parser.add_argument("--text", default="", help="occurs in comment, question or answer")


def _filter(arguments: argparse.Namespace) -> FlagFilter:
    return FlagFilter(
        arm=arguments.arm,
        category=arguments.category,
        severity=arguments.severity,
        modality=arguments.modality,
        text=arguments.text,
    )


def _list(store: ReviewStore, arguments: argparse.Namespace) -> None:
    chosen = _filter(arguments)
    total = store.count(chosen)
    flags = store.flags(chosen, arguments.limit, arguments.offset)
    if arguments.json:
        print(json.dumps({"total": total, "flags": [flag_as_json(flag) for flag in flags]}))
        return
    for flag in flags:
        _print_flag(flag)
        print(f"   {flag.question}")
    print(f"{len(flags)} of {total} flags")


def _show(store: ReviewStore, arguments: argparse.Namespace) -> None:
    named: str = arguments.id
    # A case's id has 32 digits; a flag's number never gets near that.
    is_number = named.isdecimal() and len(named) < 19
    case = store.case(store.flag(int(named)).case_id if is_number else named)
    flags = store.flags_of(case.id)
    if arguments.json:
        entry = case_as_json(case, pixels=False)
        print(json.dumps({"case": entry, "flags": [flag_as_json(flag) for flag in flags]}))
        return
    _print_case(case)
    for flag in flags:
        _print_flag(flag)


def _print_case(case: CaseSnapshot) -> None:
    print(f"case {case.id}, {case.created:%Y-%m-%d %H:%M} UTC")
    print(f"{case.modality or 'picture'}, {case.width} x {case.height} pixels, {case.model}")
    print(f"question ({case.mode}): {case.question}")
    for answer in case.answers:
        print(f"\n{answer.label} ({answer.revision})")
        if answer.reasoning:
            print(f"   reasoning: {answer.reasoning}")
        print(f"   answer: {answer.answer}")
    print()


def _print_flag(flag: Flag) -> None:
    categories, severities = dict(CATEGORIES), dict(SEVERITIES)
    print(
        f"flag {flag.id}, {flag.created:%Y-%m-%d %H:%M} UTC, {flag.label}: "
        f"{categories.get(flag.category, flag.category)}. "
        f"{severities.get(flag.severity, flag.severity)}."
    )
    if flag.comment:
        print(f"   {flag.comment}")


def _export(store: ReviewStore, arguments: argparse.Namespace) -> None:
    """Write beside the target and then rename, so that no half export is ever found."""
    out: Path = arguments.out
    try:
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=".rarl-export-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                if arguments.format == "csv":
                    written = store.export_csv(file, _filter(arguments))
                else:
                    written = store.export_jsonl(
                        file, _filter(arguments), pixels=not arguments.no_pixels
                    )
            os.replace(name, out)
        except BaseException:
            os.unlink(name)
            raise
    except OSError:
        raise ReviewError(
            "The export cannot be written; choose another file with --out, or free some space."
        ) from None
    print(json.dumps({"flags": written}) if arguments.json else f"{written} flags written")
