"""`python -m rarl review ...`: what the review pages do, from a terminal."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rarl.arguments import seed_number, whole_number
from rarl.errors import ReviewError
from rarl.records import CaseSnapshot, Flag, FlagFilter
from rarl.review.dismissals import Dismissals
from rarl.review.files import written_whole
from rarl.review.queue import Queue
from rarl.review.roles import account_name
from rarl.review.store import ReviewStore, open_store
from rarl.review.transfer.forms import EXPORTS, Selection
from rarl.review.transfer.table import flag_as_json
from rarl.settings import read_settings

HELP = "List, show, report, count, export, import and delete what readers flagged and judged."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their arguments."""
    actions = parser.add_subparsers(
        dest="action",
        required=True,
        metavar="list|show|report|stats|measure|power|export|import|withdraw|delete",
    )

    listing = actions.add_parser("list", help="flags, newest first")
    _add_filter(listing)
    listing.add_argument("--limit", type=whole_number(), default=50, help="at most so many (50)")
    listing.add_argument(
        "--offset", type=whole_number(), default=0, help="leave out the newest so many"
    )

    showing = actions.add_parser("show", help="a case with its answers, flags and verdicts")
    showing.add_argument("id", metavar="ID", help="number of a flag, or id of a case")

    reporting = actions.add_parser(
        "report", help="write the report on a case; begin one where there is none"
    )
    _add_report(reporting)

    counting = actions.add_parser(
        "stats", help="counts, progress, agreement, audits and reader studies"
    )
    _add_filter(counting)

    exporting = actions.add_parser("export", help="write everything, or what a filter chooses")
    _add_filter(exporting)
    exporting.add_argument(
        "--format",
        choices=tuple(EXPORTS),
        required=True,
        help="table: flags alone; preferences: pairs for DPO, from blind votes and corrections",
    )
    exporting.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="PATH",
        help="a file (table, jsonl, preferences) or a new folder",
    )
    exporting.add_argument("--no-pixels", action="store_true", help="leave pictures out")
    exporting.add_argument(
        "--names", action="store_true", help="keep readers' names, as for a backup"
    )
    exporting.add_argument(
        "--push", metavar="OWNER/NAME", help="put a datasets export on the Hub, private"
    )
    exporting.add_argument("--public", action="store_true", help="with --push: not private")

    importing = actions.add_parser("import", help="read an export back")
    importing.add_argument("source", type=Path, metavar="PATH", help="the file or folder")

    deleting = actions.add_parser("delete", help="delete a case for good, leaving a tombstone")
    deleting.add_argument("id", metavar="ID", help="id of the case")
    deleting.add_argument("--reason", required=True, help="kind of request; names no patient")

    measuring = actions.add_parser(
        "measure", help="measure what says which answers are most worth judging"
    )
    measuring.add_argument(
        "--model", default="pocket", metavar="NAME", help="that gave the answers (pocket)"
    )
    measuring.add_argument("--audit", metavar="ID", help="answers of an audit, not flagged ones")
    measuring.add_argument("--limit", type=whole_number(1), default=50, help="at most so many (50)")

    withdrawing = actions.add_parser(
        "withdraw", help="take a reader's rows out of exports and training data"
    )
    withdrawing.add_argument("reader", metavar="NAME")
    withdrawing.add_argument("--study", metavar="ID", help="from this study alone")

    sizing = actions.add_parser(
        "power", help="how many readers and cases a reader study needs, by simulation"
    )
    _add_power(sizing)

    for action in (
        listing, showing, reporting, counting, exporting, importing, measuring, withdrawing,
        deleting,
    ):  # fmt: skip
        action.add_argument("--json", action="store_true", help="one JSON object")
        action.add_argument(
            "--as", dest="person", metavar="NAME", help="for the audit; your account's name"
        )


def run(arguments: argparse.Namespace) -> int:
    """Do one of them.

    Returns:
        The exit status, 0.

    Raises:
        ReviewError: the store cannot be used, there is no such flag or case, or a file cannot be
            read or written.
    """
    if arguments.action == "power":
        _power(arguments)
        return 0
    store = open_store()
    try:
        # Whoever may open the database may do everything; the audit says who it was.
        named = store.for_person(arguments.person or account_name(), "admin")
        {
            "list": _list,
            "show": _show,
            "report": _report,
            "stats": _stats,
            "export": _export,
            "import": _import,
            "measure": _measure,
            "withdraw": _withdraw,
            "delete": _delete,
        }[arguments.action](named, arguments)
    finally:
        store.close()
    return 0


def _date(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a date is written as 2026-03-31") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arm")
    parser.add_argument("--category", help="key of the taxonomy")
    parser.add_argument("--severity", help="key of the taxonomy")
    parser.add_argument("--modality", help="DICOM modality, such as CT")
    parser.add_argument("--reader", help="who flagged")
    parser.add_argument("--since", type=_date, metavar="DATE", help="flagged then or later, UTC")
    parser.add_argument("--until", type=_date, metavar="DATE", help="flagged before, UTC")
    parser.add_argument("--text", default="", help="occurs in comment, question or answer")


def _filter(store: ReviewStore, arguments: argparse.Namespace) -> FlagFilter:
    for value, choices in (
        (arguments.category, store.taxonomy.category_labels()),
        (arguments.severity, store.taxonomy.severity_labels()),
    ):
        if value is not None and value not in choices:
            offered = ", ".join(choices)
            raise ReviewError(f"There is no {value!r} in the taxonomy; choose from {offered}.")
    return FlagFilter(
        arm=arguments.arm,
        category=arguments.category,
        severity=arguments.severity,
        modality=arguments.modality,
        text=arguments.text,
        reader=arguments.reader,
        since=arguments.since,
        until=arguments.until,
    )


def _list(store: ReviewStore, arguments: argparse.Namespace) -> None:
    chosen = _filter(store, arguments)
    total = store.count(chosen)
    flags = store.flags(chosen, arguments.limit, arguments.offset)
    if arguments.json:
        print(json.dumps({"total": total, "flags": [flag_as_json(flag) for flag in flags]}))
        return
    for flag in flags:
        _print_flag(store, flag)
        print(f"   {flag.question}")
    print(f"{len(flags)} of {total} flags")


def _show(store: ReviewStore, arguments: argparse.Namespace) -> None:
    named: str = arguments.id
    # A case's id has 32 digits; a flag's number never gets near that.
    is_number = named.isdecimal() and len(named) < 19
    case = store.case(store.flag(int(named)).case_id if is_number else named)
    if arguments.json:
        from rarl.review.summary import whole_case  # which loads scipy

        print(json.dumps(whole_case(store, case.id)))
        return
    flags = store.flags_of(case.id)
    queue = Queue(store)
    verdicts = [verdict for shown in case.answers for verdict in queue.verdicts(case.id, shown.arm)]
    _print_case(case)
    dismissed = {
        dismissal.flag_key: dismissal
        for shown in case.answers
        for dismissal in Dismissals(store).of(case.id, shown.arm)
    }
    for flag in flags:
        _print_flag(store, flag)
        if flag.key in dismissed:
            dismissal = dismissed[flag.key]
            print(f"   dismissed by {dismissal.reader or 'nobody named'}: {dismissal.reason}")
    for verdict in verdicts:
        grades = verdict.judgement
        print(
            f"{verdict.role} {verdict.reader} on {verdict.arm}: correctness {grades.correctness}, "
            f"explanation {grades.explanation}"
        )


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="CASE", help="id of a case")
    parser.add_argument(
        "--format",
        choices=("text", "sr", "gsps", "fhir", "pdf"),
        default="text",
        help="the form (text)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="instead of the terminal")
    parser.add_argument("--report", default="", metavar="ID", help="not the case's newest report")
    parser.add_argument("--template", default="", metavar="NAME", help="begin one from a template")
    parser.add_argument("--arm", default="", metavar="NAME", help="begin one from its answer")
    parser.add_argument(
        "--send",
        choices=("pacs", "fhir"),
        help="send a signed report to RARL_DICOMWEB or RARL_FHIR_SERVER",
    )


def _report(store: ReviewStore, arguments: argparse.Namespace) -> None:
    # Here, since they load reportlab, highdicom or fhir.resources.
    from rarl.reports.forms import chosen_report, written_as
    from rarl.reports.sending import send_to_fhir, send_to_pacs
    from rarl.reports.store import Reports

    is_binary = arguments.format in ("sr", "gsps", "pdf")
    if is_binary and arguments.out is None and not arguments.json and arguments.send is None:
        raise ReviewError(f"The form {arguments.format} is no text; name a file with --out.")
    report = chosen_report(
        Reports(store), arguments.id, arguments.report, arguments.template, arguments.arm
    )
    case = store.case(report.case_id)
    if arguments.send is not None:
        send = send_to_pacs if arguments.send == "pacs" else send_to_fhir
        send(report, case, read_settings())
    if arguments.out is not None:
        _, content = written_as(arguments.format, report, case)
        with written_whole(arguments.out) as part:
            part.write_bytes(content)
    if arguments.json:
        print(json.dumps(report.plain()))
    elif arguments.out is None and arguments.send is None:
        print(written_as(arguments.format, report, case)[1].decode("utf-8").rstrip())
    else:
        done = f"sent to {arguments.send}" if arguments.send else f"written to {arguments.out}"
        print(f"report {report.id}, version {report.version}, {done}")


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


def _print_flag(store: ReviewStore, flag: Flag) -> None:
    categories = store.taxonomy.category_labels()
    severities = store.taxonomy.severity_labels()
    print(
        f"flag {flag.id}, {flag.created:%Y-%m-%d %H:%M} UTC, {flag.label}: "
        f"{categories.get(flag.category, flag.category)}. "
        f"{severities.get(flag.severity, flag.severity)}."
    )
    if flag.comment:
        print(f"   {flag.comment}")
    if flag.corrected_answer:
        print(f"   should be: {flag.corrected_answer}")


def _stats(store: ReviewStore, arguments: argparse.Namespace) -> None:
    from rarl.review.summary import overview  # which loads scipy, for which nobody else waits

    summary = overview(store, _filter(store, arguments))
    if arguments.json:
        print(json.dumps(summary))
        return
    print(f"{summary['flags']} flags (counts, not rates: nobody knows what was not flagged)")
    for name, values in summary["counts"].items():
        print(f"{name}: " + ", ".join(f"{key} {number}" for key, number in values.items()))
    print("answers: " + ", ".join(f"{key} {n}" for key, n in summary["statuses"].items()))
    for reader in summary["progress"]:
        print(f"{reader['reader']}: {reader['judged']} judged, {reader['left']} assigned and left")
    for name, value in summary["agreement"].items():
        if value is not None:
            print(f"{name}: {_interval(value, '.2f')}, {value['n']} answers chosen by chance")
    for audit in summary["audits"]:
        for rate in audit["rates"]:
            wrong = _interval(rate["wrong"], ".1%")
            print(f"audit {audit['title']}, {rate['arm']}: {wrong} wrong")
    for study in summary["studies"]:
        for outcome in study["outcomes"]:
            figures = (
                f"{outcome['responses']} responses",
                f"right {_interval(outcome['right'], '.1%')}",
                f"as the AI {_interval(outcome['like_ai'], '.1%')}",
                f"as the AI where it was wrong {_interval(outcome['misled'], '.1%')}",
                f"{_interval(outcome['seconds'], '.0f')} seconds",
            )
            print(f"study {study['title']}, {outcome['condition']}: {', '.join(figures)}")
        for group in study["reliance"]:
            _print_reliance(study["title"], group)


def _print_reliance(title: str, group: dict[str, Any]) -> None:
    from rarl.review.reliance import WORDS  # as above

    name = f"study {title}, {group['group']}" if group["group"] else f"study {title}"
    for key, value in group["figures"].items():
        if value is not None:
            label, _ = WORDS[key]
            print(
                f"{name}, {label}: {_interval(value, '.1%')}, {value['n']} answers of "
                f"{value['readers']} readers on {value['cases']} cases"
            )


def _interval(interval: dict[str, Any] | None, form: str) -> str:
    if interval is None:
        return "unknown"
    if interval["low"] is None:
        return format(interval["value"], form)
    return f"{interval['value']:{form}} ({interval['low']:{form}} to {interval['high']:{form}})"


def _export(store: ReviewStore, arguments: argparse.Namespace) -> None:
    chosen = _filter(store, arguments)
    out: Path = arguments.out
    pixels = not arguments.no_pixels
    if arguments.push and arguments.format != "datasets":
        raise ReviewError("Only --format datasets goes to the Hub; choose it with --push.")
    # As earlier versions named the table.
    one_file = arguments.format == "csv" and out.suffix.lower() == ".csv"
    form = EXPORTS["table" if one_file else arguments.format]
    counts = form.write(store, out, Selection(chosen, pixels, arguments.names))
    if arguments.push:
        from rarl.review.transfer.hub import push_to_hub  # which loads Arrow

        address = push_to_hub(out, arguments.push, private=not arguments.public)
        if arguments.json:
            print(json.dumps({**counts, "address": address}))
            return
        print(address)
    _say(arguments, counts, "written")


def _import(store: ReviewStore, arguments: argparse.Namespace) -> None:
    from rarl.review.transfer.importer import import_from

    _say(arguments, import_from(store, arguments.source), "new")


def _measure(store: ReviewStore, arguments: argparse.Namespace) -> None:
    from rarl.inference import load_offer  # which loads a model
    from rarl.review.measuring import measure

    engine = load_offer(arguments.model).engine
    done = measure(store, engine, arguments.limit, arguments.audit)
    _say(arguments, {"answers": done}, "measured")


def _withdraw(store: ReviewStore, arguments: argparse.Namespace) -> None:
    from rarl.review.studies import Studies  # which loads scipy

    Studies(store).withdraw(arguments.study, arguments.reader)
    if arguments.json:
        print(json.dumps({"withdrawn": True}))
    else:
        print(
            "Withdrawn: these rows leave exports and training data. Exports, backups and adapters "
            "made before still hold what was said."
        )


def _add_power(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--figure",
        choices=("gain", "automation_bias", "lost_to_wrong_advice", "anchoring"),
        default="automation_bias",
        help="whose difference from 0 the study shall find (automation_bias)",
    )
    parser.add_argument(
        "--difference", type=_share, default=0.15, help="the difference to find, 0 to 1 (0.15)"
    )
    parser.add_argument(
        "--readers", type=_counts, default=(6, 10, 16), help="numbers to try (6,10,16)"
    )
    parser.add_argument(
        "--cases", type=_counts, default=(20, 40, 80), help="numbers to try (20,40,80)"
    )
    parser.add_argument(
        "--accuracy", type=_share, default=0.75, help="of a reader without AI (0.75)"
    )
    parser.add_argument(
        "--wrong-share", type=_share, default=0.3, help="of the advice that is wrong (0.3)"
    )
    parser.add_argument("--wished", type=_share, default=0.8, help="the power wished (0.8)")
    parser.add_argument(
        "--studies", type=whole_number(2), default=300, help="simulated of each size (300)"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="instead: how often the intervals hold the truth, at the first number of each",
    )
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def _power(arguments: argparse.Namespace) -> None:
    from rarl.review.reliance import WORDS
    from rarl.stats.simulated_readers import Power, Readers, coverage, power, with_difference

    known = Readers(accuracy=arguments.accuracy, wrong_share=arguments.wrong_share)
    if arguments.check:
        size = (arguments.readers[0], arguments.cases[0])
        covered = coverage(known, *size, arguments.studies, arguments.seed)
        if arguments.json:
            print(json.dumps(covered))
            return
        print(
            f"{arguments.studies} simulated studies of {size[0]} readers and {size[1]} cases: "
            "95 % intervals hold the truth in"
        )
        for name, share in covered.items():
            print(f"{share:6.1%}  {WORDS[name][0]}")
        return
    try:
        known = with_difference(known, arguments.figure, arguments.difference, arguments.seed)
    except ValueError as error:
        raise ReviewError(f"No such difference can be simulated: {error}.") from None

    def show(size: Power) -> None:
        if not arguments.json:
            print(
                f"{size.readers:3} readers, {size.cases:3} cases: power {size.power:4.0%}, "
                f"interval {size.width:.2f} wide",
                flush=True,
            )

    planned = power(
        known, arguments.figure, arguments.readers, arguments.cases, arguments.studies,
        arguments.seed, show,
    )  # fmt: skip
    enough = next((plan for plan in planned if plan.power >= arguments.wished), None)
    if arguments.json:
        answer = None if enough is None else asdict(enough)
        print(json.dumps({"sizes": [asdict(plan) for plan in planned], "smallest": answer}))
    elif enough is None:
        print("None of these is large enough; try more readers or more cases.")
    else:
        print(f"Smallest that is large enough: {enough.readers} readers, {enough.cases} cases.")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError("a number between 0 and 1, such as 0.15")
    return share


def _counts(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 2 <= int(part) <= 1000 for part in parts):
        raise argparse.ArgumentTypeError("numbers from 2 to 1000 with commas between, as 6,10,16")
    return tuple(int(part) for part in parts)


def _delete(store: ReviewStore, arguments: argparse.Namespace) -> None:
    tombstone = store.delete_case(arguments.id, arguments.reason)
    if arguments.json:
        print(json.dumps(tombstone.plain()))
    else:
        print(f"case {tombstone.case_id} is deleted; exports and backups made before are not")


def _say(arguments: argparse.Namespace, counts: Mapping[str, int], what: str) -> None:
    if arguments.json:
        print(json.dumps(counts))
    else:
        print(", ".join(f"{n} {name}" for name, n in counts.items() if n) or "nothing", what)
