"""`--endpoint` against a server that speaks the protocol, and stumbles as servers do."""

import base64
import io
import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rarl.cli import main
from rarl.errors import ModelError, QuestionError
from rarl.inference.engine import AnswersAsTheyCome, NamedImage, Question
from rarl.inference.remote import EndpointEngine, Gate
from rarl.prompts import user_text
from rarl.response import Mode
from tests.evaluation.chat_server import serving

MODELS = ("med-2b", "sft", "rarl")


def say(body: Mapping[str, Any]) -> str:
    """A glioma where the picture that was sent is red; sft never thinks."""
    content = body["messages"][0]["content"]
    url = next(part["image_url"]["url"] for part in content if part["type"] == "image_url")
    image = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
    red, green, _ = image.convert("RGB").getpixel((0, 0))  # type: ignore[misc]
    answer = f"<answer>{'glioma' if red > green else 'no tumor'}</answer>"
    return answer if body["model"] == "sft" else f"<think>{body['model']}.</think>{answer}"


def words(url: str, out: Path, *more: str) -> list[str]:
    return [
        "evaluate", "--endpoint", url, "--model", "med-2b", "--data", "brain_tumor_mri",
        "--out", str(out), "--limit", "6", "--json", *more,
    ]  # fmt: skip


def test_a_whole_run_over_http_with_faults(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = (429, 500, 503, 429)
    with serving(say, MODELS, faults) as server:
        assert main(words(server.url, tmp_path / "run", "--concurrency", "3")) == 0
        assert len(server.bodies) == 6 * 3 + len(faults)
        assert server.most <= 3
        assert {body["model"] for body in server.bodies} == set(MODELS)
        assert {body["temperature"] for body in server.bodies} == {0}
        summary = json.loads(capsys.readouterr().out)
        assert [arm["name"] for arm in summary["arms"]] == ["base", "sft", "rarl"]
        rows = [json.loads(line) for line in (tmp_path / "run/rows.jsonl").open("r")]
        assert {row["model"] for row in rows} == {"med-2b"}
        assert {tuple(row["problems"]) for row in rows if row["arm"] == "sft"} == {("no-think",)}
        assert all(row["tokens"] == len(row["text"]) for row in rows)
        # All is answered, so the second run asks nothing.
        asked = len(server.bodies)
        assert main(words(server.url, tmp_path / "run")) == 0
        assert len(server.bodies) == asked


def test_a_server_that_stays_down_keeps_what_was_answered(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answered = iter(range(1000))

    def sometimes(body: Mapping[str, Any]) -> str | int:
        return say(body) if next(answered) < 7 else 400

    run = tmp_path / "run"
    with serving(sometimes, MODELS) as server:
        assert main(words(server.url, run, "--batch", "1", "--concurrency", "1")) == 2
        assert "refused with status 400" in capsys.readouterr().err.splitlines()[-1]
    kept = (run / "rows.jsonl").read_text("utf-8").splitlines()
    assert len(kept) == 6
    with serving(say, MODELS) as server:
        assert main(words(server.url, run, "--batch", "1")) == 0
        assert len(server.bodies) == 6 * 3 - 6
    assert (run / "rows.jsonl").read_text("utf-8").splitlines()[:6] == kept


def engine(url: str, **settings: Any) -> EndpointEngine:
    return EndpointEngine(url, "med-2b", **{"retries": 1, "timeout": 0.5, **settings})


def test_the_words_are_those_of_the_local_engine() -> None:
    images = (
        NamedImage(Image.new("L", (8, 4), 9), "current"),
        NamedImage(Image.new("RGB", (4, 4)), "prior"),
    )
    with serving(lambda body: "<answer>no</answer>", MODELS) as server:
        ((answer,),) = engine(server.url).answer_batch(
            [Question(images, "is it new?", ("rarl",), "answer")]
        )
        (body,) = server.bodies
    assert answer.response.answer == "no" and answer.response.well_formed
    kinds = [part["type"] for part in body["messages"][0]["content"]]
    assert kinds == ["text", "image_url", "text", "image_url", "text"]
    assert body["messages"][0]["content"][0]["text"] == "Picture 1 (current): "
    assert body["messages"][0]["content"][-1]["text"] == user_text("is it new?", "answer")
    assert (body["model"], body["max_tokens"]) == ("rarl", 256)


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("reason", "<think>Clear.</think><answer>no</answer>"),
        ("answer-then-reason", "<answer>no</answer><think>Clear.</think>"),
    ],
)
@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_that_a_server_cuts_out_is_put_back(mode: Mode, text: str, name: str) -> None:
    question = Question((NamedImage(Image.new("RGB", (4, 4))),), "Is it?", ("base",), mode)
    reply = {"content": "<answer>no</answer>", name: "Clear."}
    with serving(lambda body: reply, MODELS) as server:
        ((answer,),) = engine(server.url).answer_batch([question])
    assert answer.response.text == text and answer.response.well_formed


def test_a_timeout_is_tried_again() -> None:
    question = Question((NamedImage(Image.new("RGB", (4, 4))),), "Is it?", ("base",))
    with serving(lambda body: "<think>.</think><answer>no</answer>", faults=(1.0,)) as server:
        ((answer,),) = engine(server.url).answer_batch([question])
        assert answer.response.answer == "no" and len(server.bodies) == 2
        time.sleep(0.6)  # the request that hangs ends before its server


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://x", "x is not the address of a server"),
        ("http://u:secret@127.0.0.1:9/v1", "The server at 127.0.0.1:9 does not answer"),
    ],
)
def test_no_server_is_one_sentence(url: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence) as raised:
        engine(url, retries=0)
    assert "secret" not in str(raised.value)


def test_models_and_arms_must_be_there() -> None:
    with serving(say, ("other",)) as server, pytest.raises(ModelError, match="it has other"):
        engine(server.url)
    question = Question((NamedImage(Image.new("RGB", (4, 4))),), "Is it?", ("dpo",))
    with serving(say, MODELS) as server:
        with pytest.raises(QuestionError, match="no arm 'dpo'; choose from base, sft, rarl"):
            engine(server.url).answer_batch([question])
        with pytest.raises(QuestionError, match="only where the model runs"):
            engine(server.url).seen(Image.new("RGB", (4, 4)))


def test_many_requests_are_under_way_and_questions_are_taken_when_there_is_room() -> None:
    most, count = 16, 40
    full = threading.Event()

    def say_when_full(body: Mapping[str, Any]) -> str:
        if server.running >= most:
            full.set()
        assert full.wait(60)
        return "<answer>no</answer>"

    taken: list[int] = []
    ended: list[int] = []
    picture = NamedImage(Image.new("RGB", (4, 4)))

    def questions() -> Iterator[Question]:
        for number in range(count):
            assert len(taken) - len(ended) < most
            taken.append(number)
            yield Question((picture,), f"Is it number {number}?", ("base",), "answer")

    with serving(say_when_full, MODELS) as server:
        asked = engine(server.url, concurrency=most, timeout=90.0)
        assert isinstance(asked, AnswersAsTheyCome)
        for place, (answer,) in asked.answer_each(questions()):
            ended.append(place)
            assert answer.response.answer == "no"
        assert server.most == most
    assert sorted(ended) == taken == list(range(count))


def test_a_busy_server_is_asked_less_and_then_more_again() -> None:
    gate = Gate(8)
    gate.told(busy=True)
    assert gate.limit == 4
    gate.told(busy=True)  # one of the requests that were under way with it
    assert gate.limit == 4
    for _ in range(8):
        gate.told(busy=False)
    assert gate.limit == 5
    for _ in range(50):
        gate.told(busy=True)
    assert gate.limit == 1
    for _ in range(100):
        gate.told(busy=False)
    assert gate.limit == 8


def test_responses_of_a_busy_server_reach_the_gate() -> None:
    picture = NamedImage(Image.new("RGB", (4, 4)))
    question = Question((picture,), "Is it?", ("base",), "answer")
    with serving(lambda body: "<answer>no</answer>", MODELS, (429,)) as server:
        asked = engine(server.url, concurrency=8, retries=2, timeout=60.0)
        ((answer,),) = asked.answer_batch([question])
        assert answer.response.answer == "no"
        assert asked.requests_at_once == 4


def test_a_stopped_run_asks_only_what_is_missing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted = iter(range(1000))

    def fails_later(body: Mapping[str, Any]) -> str | int:
        return say(body) if next(counted) < 12 else 400

    run = tmp_path / "run"
    with serving(fails_later, MODELS) as server:
        assert main(words(server.url, run, "--concurrency", "4")) == 2
    kept = [json.loads(line) for line in (run / "rows.jsonl").open("r")]
    assert 0 < len(kept) < 6 * 3
    with serving(say, MODELS) as server:
        assert main(words(server.url, run, "--concurrency", "4")) == 0
        assert len(server.bodies) == 6 * 3 - len(kept)
