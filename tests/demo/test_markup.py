"""Text of people, files and models never becomes part of a page's markup.

By construction: HTML in `demo` is `Markup`, which escapes what is put into it. And in fact: markup
in every column of every table of the review store, and all that the pages make of it.
"""

from __future__ import annotations

import ast
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from markupsafe import Markup
from PIL import Image

from demo.authentication import read_sign_in
from demo.context import make_parts
from demo.interface import build, start
from demo.services.flagging import Desk
from demo.templating import render_template
from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.response import parse_response
from rarl.review import Judgement, Queue, Region, ReviewStore, case_from, open_store
from rarl.review.dismissals import Dismissals
from rarl.review.studies import Studies
from rarl.review.transfer.importer import import_from
from rarl.review.transfer.writer import export

ROOT = Path(__file__).resolve().parents[2]
# Names of groups in patterns look alike.
TAG = re.compile(r"(?<!\?P)</?[a-zA-Z][^<]*>|&[a-z]+;")
# What ties rows together, or is one of a few words that the code looks up.
KEPT = {
    "table", "id", "key", "flag_key", "case_id", "study_id", "replaces", "sha256", "png", "created",
    "deadline", "kind", "role", "outcome", "condition", "conditions", "prompt_hash", "mode",
}  # fmt: skip
ARMS = (Arm("sft", "SFT", "a" * 12), Arm("rl", "RL", "b" * 12))


def html_outside_markup(source: str) -> list[int]:
    """Lines with HTML that is no literal inside of `Markup(...)`."""
    tree = ast.parse(source)
    allowed: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            allowed.add(id(node.value))  # docstrings
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Markup":
            allowed |= {id(one) for one in node.args if isinstance(one, ast.Constant)}
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(one.value) for one in node.values if isinstance(one, ast.Constant))
            allowed |= {id(one) for one in node.values}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = "" if id(node) in allowed else node.value
        else:
            continue
        if TAG.search(text):
            faults.append(node.lineno)
    return faults


def test_html_is_written_as_markup_only() -> None:
    assert html_outside_markup("x = f'<b>{y}</b>'") == [1] == html_outside_markup("x = '<b>' + y")
    assert html_outside_markup("Markup('<b>{}</b>').format(y)") == []
    assert html_outside_markup("Markup(f'<b>{y}</b>')") == [1]
    # The page's head is built from files of the repository alone.
    files = [path for path in (ROOT / "demo").rglob("*.py") if path.name != "theme.py"]
    assert len(files) > 40
    faults = {str(path): html_outside_markup(path.read_text("utf-8")) for path in files}
    assert not {path: lines for path, lines in faults.items() if lines}
    words = dict.fromkeys(("title", "words", "trouble", "form"), "<b>")
    assert "<b>" not in render_template("gate.html", **words)
    templates = list((ROOT / "demo" / "templates").rglob("*.html"))
    assert len(templates) > 40
    for template in templates:
        # Neither the filter nor the block that turns escaping off, nor a value outside of quotes.
        text = template.read_text("utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape|[\w-]=\{\{", text), template.name


def filled(store: ReviewStore) -> None:
    """Something in every table."""
    for number in range(3):
        pictures = (NamedImage(Image.new("L", (64, 48), 40 * number + 30)),)
        question = Question(pictures, "Is it?", ("sft", "rl"), decoding=Decoding())
        text = "<think>It is dense. It is large.</think><answer>yes</answer>"
        answers = [
            Answer(arm.name, parse_response(text), 12, 1.0, done=True, note="note") for arm in ARMS
        ]
        case = case_from(
            question, answers, arms=ARMS, model="m", prompt_hash="f" * 64, sampled=True
        )
        store.add_case(case)
        flag = store.add_flag(
            case.id, "rl", "false-finding", "major", "comment", "ada", sentence="It is dense.",
            region=Region(0, (8, 8, 30, 30)), corrected_answer="no", corrected_explanation="why",
        )  # fmt: skip
        store.for_person("ada", "admin").add_flag(
            case.id, "rl", "style", "minor", "again", replaces=flag.key
        )
        store.add_vote(case.id, "better", "rl", reason="reason", own_answer="own", reader="ada")
    items = [(item.case_id, item.arm) for item in Queue(store.for_person("di", "admin")).items()]
    Queue(store.for_person("di", "admin")).assign(items[2:], "bo")
    for number, (case_id, arm) in enumerate(items[:2]):
        for name in ("bo", "cy"):
            judgement = Judgement(number, len(name), True, "right", "why", "comment", seconds=3)
            Queue(store.for_person(name, "reader")).judge(case_id, arm, judgement)
    Dismissals(store.for_person("di", "adjudicator")).dismiss(items[2:], "reason")
    studies = Studies(store.for_person("di", "adjudicator"))
    studies.draw_audit("title", 2, ["bo", "ada"], seed=1)
    study = studies.draw_study("title", ["ada"], seed=1, arms=["rl"], instructions="instructions")
    Studies(store.for_person("ada", "reader")).respond(study.id, 0, "answer", comment="comment")
    extra = case_from(question, answers, arms=ARMS, model="m", prompt_hash="f" * 64)
    store.for_person("ada", "admin").delete_case(store.add_case(extra), "reason")


def hostile(table: str, column: str) -> str:
    """Breaks out of text, of attributes in either quotes, and of none; it names its column."""
    return f"{table}-{column} \"'> <xss onxss=1 data-of={table}-{column}> &lt;xss onxss=2&gt;"


def with_markup(export_file: Path, out: Path) -> set[str]:
    """The export with markup in every column; returns which."""
    columns = set()
    lines = []
    for line in export_file.read_text("utf-8").splitlines():
        row = json.loads(line)
        for name, value in row.items():
            if name == "arm" or (row["table"], name) == ("votes", "preferred"):
                row[name] = hostile("answers", "arm") + str(value)
            elif name not in KEPT and isinstance(value, str) and value:
                # Two readers stay two.
                row[name] = hostile(row["table"], name) + (value if name == "reader" else "")
                columns.add(f"{row['table']}-{name}")
            elif name == "readers":
                row[name] = [*value, hostile("studies", "readers")]
        lines.append(json.dumps(row))
    out.write_text("\n".join(lines), "utf-8")
    return columns


class Marked(HTMLParser):
    """Collects what foreign markup has become."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []
        self.shown = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "xss" or any(name == "onxss" for name, _ in attrs):
            self.made.append(f"<{tag} {attrs}>")
        self.shown += "".join(value or "" for _, value in attrs)

    def handle_data(self, data: str) -> None:
        self.shown += data


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[set[str], list[str]]]:
    """The columns with markup, and everything that any event of the page gives an admin."""
    folder = tmp_path_factory.mktemp("markup")
    first = open_store(folder / "first")
    filled(first)
    export(first.for_person("ada", "admin"), folder / "out.jsonl", "jsonl", None, True)
    first.close()
    columns = with_markup(folder / "out.jsonl", folder / "hostile.jsonl")
    home = folder / "home"
    store = open_store(home)
    import_from(store.for_person("ada", "admin"), folder / "hostile.jsonl")
    (home / "people.yaml").write_text("people: {ada: admin}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RARL_HOME", str(home))
        sign_in = read_sign_in({"RARL_HOME": str(home), "RARL_SIGN_IN": "header:X-User"})
        parts = replace(make_parts(), desk=Desk(store=store, sign_in=sign_in))
        app = build(parts)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        start(app, parts, server_port=port)
    try:
        yield columns, everything(f"http://127.0.0.1:{port}", store)
    finally:
        app.close(verbose=False)
        store.close()


def everything(address: str, store: ReviewStore) -> list[str]:
    """All strings that the events of the page give, whatever is pressed."""
    admin = store.for_person("ada", "admin")
    studies = Studies(admin).all()
    strings: list[str] = []
    with httpx.Client(base_url=address, headers={"X-User": "ada"}, timeout=60) as client:
        config = client.get("/config").json()
        names = {one["id"]: one["props"].get("elem_id") or "" for one in config["components"]}
        events = [event for event in config["dependencies"] if event["backend_fn"]]
        session = uuid4().hex
        for number in range(len(Queue(admin).items())):
            for study in studies if number == 0 else studies[:1]:
                event_data = {"number": str(number), "study": study.id, "work": "", "flag": "2"}
                for event in events:
                    reached = [names.get(one, "") for one in (*event["inputs"], *event["outputs"])]
                    slow = any(
                        name in ("export-form", "import-file", "delete-reason") for name in reached
                    )
                    if slow or (number and not any("case" in name for name in reached)):
                        continue
                    body = {
                        "data": [None for _ in event["inputs"]], "fn_index": event["id"],
                        "session_hash": session, "event_data": event_data,
                        "trigger_id": (event["targets"] or [[None]])[0][0],
                    }  # fmt: skip
                    if client.post("/gradio_api/queue/join", json=body).status_code != 200:
                        continue
                    with client.stream(
                        "GET", "/gradio_api/queue/data", params={"session_hash": session}
                    ) as stream:
                        for line in stream.iter_lines():
                            if line.startswith("data:"):
                                strings += words_in(json.loads(line[5:]))
                            if "close_stream" in line or "process_completed" in line:
                                break
    return strings


def words_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from words_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from words_in(one)


def test_no_column_of_the_store_becomes_markup(pages: tuple[set[str], list[str]]) -> None:
    columns, strings = pages
    assert len(columns) > 25
    made, shown = [], ""
    for text in strings:
        if not text.lstrip().startswith("<"):
            continue  # the value of a field, which Gradio puts in as text
        parser = Marked()
        parser.feed(text)
        made += parser.made
        shown += parser.shown
    assert made == []
    seen = {column for column in columns if f"{column} \"'> <xss" in shown}
    # The hole that was found once, and the columns that are always on a page.
    for column in ("answers-revision", "answers-label", "answers-answer", "answers-reasoning",
                   "cases-question", "dismissals-reason", "flags-comment", "studies-title",
                   "tombstones-reason", "verdicts-comment"):  # fmt: skip
        assert column in seen, f"{column} is on no page: {sorted(seen)}"
    assert isinstance(Markup("<b>{}</b>").format(hostile("a", "b")), Markup)
