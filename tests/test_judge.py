"""The judge against a real HTTP server that misbehaves as endpoints do."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rarl.errors import ModelError
from rarl.judge import Graded, Judge
from rarl.rewards.judged import judge_reward_of

GOOD = {"justification": "It fits.", "correctness": 3, "explanation": 2}


class Scripted(ThreadingHTTPServer):
    """Replies with the next fault of an item's script, then with a verdict."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scripts: dict[str, list[object]] = {}
        self.seen: list[dict] = []
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Scripted

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][1]["content"]
        name = text.split("\n")[1]
        with self.server.lock:
            self.server.seen.append(body)
            self.server.asked[name] += 1
            script = self.server.scripts.get(name, [])
            step = script.pop(0) if script else GOOD
        if step == "hang":
            time.sleep(1.5)
            return
        if isinstance(step, int):
            return self._send(step, json.dumps({"error": {"message": "scripted"}}))
        if step == "no json at all":
            return self._send(200, "<html>busy</html>")
        message: dict = {"role": "assistant", "content": None, "refusal": None}
        if step == "refusal":
            message["refusal"] = "I cannot help with that."
        else:
            message["content"] = step if isinstance(step, str) else json.dumps(step)
        reply = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100},
        }
        self._send(200, json.dumps(reply))

    def _send(self, status: int, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    thread = threading.Thread(target=scripted.serve_forever, daemon=True)
    thread.start()
    yield scripted
    scripted.shutdown()
    scripted.server_close()


def item(question: str, reasoning: str = "The lungs are clear.") -> Graded:
    return Graded(question, "no", "Clear lungs.", "no", reasoning)


def judge(server: Scripted, **settings: object) -> Judge:
    return Judge(server.address, "judge-1", **{"pause": 0.01, "attempts": 3, **settings})  # type: ignore[arg-type]


def test_a_verdict_is_read_and_the_request_says_what_it_must(server: Scripted) -> None:
    grader = judge(server)
    (verdict,) = grader.grade([item("Effusion?")])
    assert (verdict.correctness, verdict.explanation, verdict.problem) == (3, 2, None)
    assert json.loads(verdict.raw) == GOOD
    (sent,) = server.seen
    assert sent["response_format"]["json_schema"]["strict"] is True
    assert sent["temperature"] == 0 and sent["model"] == "judge-1"
    prompt_text = json.dumps(sent["messages"])
    assert "rarl" not in prompt_text.lower() and "sft" not in prompt_text.lower()
    assert (grader.usage.calls, grader.usage.tokens) == (1, 100)


@pytest.mark.parametrize("fault", [429, 500, 503, "hang", "{broken", "no json at all", "[]"])
def test_a_passing_fault_is_asked_again(server: Scripted, fault: object) -> None:
    server.scripts["Q"] = [fault]
    grader = judge(server, timeout=1.0)
    (verdict,) = grader.grade([item("Q")])
    assert verdict.correctness == 3
    assert (grader.usage.calls, grader.usage.repeated, grader.usage.problems) == (2, 1, {})


@pytest.mark.parametrize(
    ("script", "problem", "calls"),
    [
        ([429] * 9, "unreachable", 3),
        (["{broken"] * 9, "malformed", 3),
        ([{**GOOD, "correctness": 7}] * 9, "malformed", 3),
        ([{**GOOD, "explanation": True}] * 9, "malformed", 3),
        ([{"correctness": 1}] * 9, "malformed", 3),
        (["refusal"], "refused", 1),
    ],
)
def test_what_cannot_be_had_is_counted_and_is_no_zero(
    server: Scripted, script: list[object], problem: str, calls: int, tmp_path: Path
) -> None:
    server.scripts["Q"] = list(script)
    grader = judge(server, cache=tmp_path)
    bad, good = grader.grade([item("Q"), item("R")])
    assert (bad.correctness, bad.explanation, bad.problem) == (None, None, problem)
    assert good.correctness == 3
    assert grader.usage.problems == {problem: 1}
    assert server.asked["Q"] == calls
    # Only what was scored is kept: the next run asks for the other again.
    assert len(list(tmp_path.iterdir())) == 1


def test_a_wrong_key_stops_at_once(server: Scripted) -> None:
    server.scripts["Q"] = [401]
    with pytest.raises(ModelError, match="status 401"):
        judge(server).grade([item("Q")])
    with pytest.raises(ModelError, match="http"):
        Judge("ftp://somewhere", "m")


def test_the_cache_spares_calls_and_knows_its_judge(server: Scripted, tmp_path: Path) -> None:
    items = [item("A"), item("B"), item("A")]
    first = judge(server, cache=tmp_path).grade(items)
    assert server.asked == {"A": 1, "B": 1}
    again = judge(server, cache=tmp_path)
    assert [(v.raw, v.cached) for v in again.grade(items)] == [(v.raw, True) for v in first]
    assert (again.usage.calls, again.usage.cached) == (0, 2)
    # A damaged file is asked for again; another judge or rubric never uses these verdicts.
    next(tmp_path.iterdir()).write_text("{")
    mended = judge(server, cache=tmp_path)
    assert all(verdict.problem is None for verdict in mended.grade(items))
    assert mended.usage.calls == 1
    other = Judge(server.address, "judge-2", cache=tmp_path)
    other.grade([item("A")])
    assert other.usage.calls == 1


@pytest.mark.parametrize(("limit", "allowed"), [({"calls": 2}, 2), ({"tokens": 150}, 2)])
def test_the_budget_holds(server: Scripted, limit: dict[str, int], allowed: int) -> None:
    grader = judge(server, together=1, **limit)
    verdicts = grader.grade([item(name) for name in "ABCDE"])
    assert grader.usage.calls == allowed
    assert sum(v.problem is None for v in verdicts) == allowed
    assert grader.usage.problems == {"budget": 5 - allowed}


def test_the_order_tells_nothing(server: Scripted) -> None:
    names = [f"Q{number}" for number in range(12)]
    judge(server, together=1).grade([item(name) for name in names])
    sent = [body["messages"][1]["content"].split("\n")[1] for body in server.seen]
    assert sorted(sent) == sorted(names) and sent != names


def test_as_a_reward(server: Scripted) -> None:
    server.scripts["C"] = ["refusal"]
    texts = [
        "<think>Clear lungs.</think><answer>no</answer>",
        "<think></think><answer>no</answer>",
        "<think>Clear lungs.</think><answer>no</answer>",
        "<answer>no</answer>",
    ]
    reward = judge_reward_of(judge(server))
    asked = reward(  # type: ignore[arg-type]
        [""] * 4,
        texts,
        question=["A", "B", "C", "D"],
        answer=["no"] * 4,
        explanation=["Clear."] * 4,
        mode=["reason", "reason", "reason", "answer"],
    )
    # A loop may be running in this thread: the browser tests leave theirs.
    with ThreadPoolExecutor(max_workers=1) as thread:
        rewards = thread.submit(asyncio.run, asked).result()
    assert rewards == [2 / 3, 0.0, None, None]
    assert server.asked == {"A": 1, "C": 1}
