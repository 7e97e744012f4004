"""The real app as a process of its own, as programs and attackers meet it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from rarl.review import open_store
from tests.browser.app_process import ROOT, running

NAMES = ("Zebedee-Quillfeather", "1987-03-05")
SECRET = "sk-not-for-any-log"


@dataclass(frozen=True)
class Running:
    """The app under test.

    Attributes:
        address: where it listens.
        log: what it wrote to standard output and error.
        home: its RARL_HOME.
        hosts: hosts but this one that it wanted to reach, one a line.
        process: the app.
    """

    address: str
    log: Path
    home: Path
    hosts: Path
    process: subprocess.Popen[bytes]

    @property
    def api(self) -> str:
        return f"{self.address}/gradio_api/"


@pytest.fixture(scope="module")
def app(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("app")
    hosts = folder / "hosts"
    hosts.touch()
    settings = {
        "PYTHONPATH": str(Path(__file__).with_name("watched")),
        "HOSTS_REACHED": str(hosts),
        "OPENAI_API_KEY": SECRET,
    }
    with running(folder / "home", str(tiny_model), **settings) as (address, log, process):
        yield Running(address, log, folder / "home", hosts, process)
    assert hosts.read_text() == "", "the app wanted to reach another host"
    log_text = log.read_text("utf-8")
    assert not any(word in log_text for word in (*NAMES, SECRET)), "the log tells too much"
    for line in log_text.splitlines():
        assert line.startswith(("{", "*")) or not line, line


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / f"{NAMES[0]}.png"
    values = np.random.default_rng(0).integers(0, 255, (56, 56), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture(scope="module")
def client(app: Running) -> Client:
    return Client(app.address, verbose=False)


def test_the_example_asks_and_flags(app: Running, picture: Path) -> None:
    words = [str(picture), "Is it new?", "--address", app.address, "--flag", "rl"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/client.py"), *words],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if line[0] != " "][:3] == [
        "SFT", "RL", "RARL",
    ]  # fmt: skip
    store = open_store(app.home)
    flag = store.flag(1)
    case = store.case(flag.case_id)
    store.close()
    assert "Flag 1 is kept." in done.stdout
    assert (flag.arm, flag.category) == ("rl", "missed-finding")
    assert case.question == "Is it new?" and len(case.answers) == 3


def test_the_facts_of_a_variant_are_told(client: Client) -> None:
    facts: dict[str, Any] = client.predict(arm="rl", form="chai", api_name="/facts")
    assert facts["variant"] == "rl" and len(facts["revision"]) == 12
    assert facts["measured"] == [] and facts["chai"].startswith("<?xml")
    with pytest.raises(AppError, match="choose from"):
        client.predict(arm="theirs", api_name="/facts")


def test_one_arm_and_what_it_is(client: Client, picture: Path) -> None:
    response: dict[str, Any] = client.predict(
        scans=[handle_file(str(picture))],
        question="Is it new?",
        arm="base",
        mode="answer",
        api_name="/ask",
    )
    (answer,) = response["answers"]
    assert (answer["arm"], answer["label"]) == ("base", "Base")
    assert len(answer["revision"]) == 12 and answer["tokens"] and not answer["failure"]


@pytest.mark.parametrize(
    ("name", "told", "sentence"),
    [
        ("ask", {"question": "", "arm": "rl"}, "Type a question"),
        ("ask", {"question": "Is it?", "arm": "dpo"}, "There is no arm 'dpo'"),
        ("ask", {"question": "Is it?", "mode": "shout"}, "There is no mode 'shout'"),
        ("ask", {"question": f"Born {NAMES[1]}?"}, "say checked=True"),
        ("ask", {"question": "Is it?", "scans": []}, "did not arrive"),
        ("flag", {"exchange": "guessed", "arm": "rl"}, "no longer remembered"),
    ],
)
def test_a_refusal_is_one_sentence(
    client: Client, picture: Path, name: str, told: dict[str, Any], sentence: str
) -> None:
    if name == "ask":
        told = {"scans": [handle_file(str(picture))], **told}
    else:
        told = {"category": "other", "severity": "minor", **told}
    with pytest.raises(AppError, match=sentence):
        client.predict(**told, api_name=f"/{name}")


def test_measuring(client: Client, picture: Path) -> None:
    shapes = [
        {"kind": "ruler", "points": [[3, 4], [6, 8]]},
        {"kind": "ellipse", "points": [[3, 4], [26, 28]]},
    ]
    told = client.predict(scans=[handle_file(picture)], shapes=shapes, api_name="/measure")
    ruler, ellipse = told["measurements"]
    assert ruler["values"] == [{"quantity": "length", "value": 5.0, "unit": "px"}]
    assert "pixel spacing" in ruler["notes"][0] and ellipse["text"].startswith("Ellipse, slice 1")
    shapes[0]["points"] = [[3, 4], [6, 8000]]
    with pytest.raises(AppError, match="outside of the picture"):
        client.predict(scans=[handle_file(picture)], shapes=shapes, api_name="/measure")


def test_every_answer_carries_the_headers(app: Running) -> None:
    for path in ("", "healthz", "config", "gradio_api/info", "gradio_api/file=/etc/passwd"):
        headers = httpx.get(f"{app.address}/{path}").headers
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


def test_no_file_can_be_read(app: Running, picture: Path) -> None:
    (name,) = httpx.post(
        f"{app.api}upload", files={"files": ("mine.png", picture.read_bytes())}
    ).json()
    # The sender gets no path; whoever knew it all the same would be refused.
    (uploaded,) = (app.home.parent / "tmp").glob("rarl-*/upload-*/mine.png")
    assert str(uploaded.parent) not in name
    store = next(app.home.glob("*.sqlite3"))
    for path in (
        name,
        str(uploaded),
        f"{uploaded.parent}/../{uploaded.parent.name}/mine.png",
        f"{uploaded.parent.parent}/./{uploaded.parent.name}//mine.png",
        "/etc/passwd",
        "../../../../etc/passwd",
        "app.py",
        "requirements.txt",
        str(ROOT / "app.py"),
        str(store),
        "file:///etc/passwd",
    ):
        for address in (f"file={path}", f"file={quote(path, safe='')}", f"file/{path}"):
            status = httpx.get(app.api + address).status_code
            assert status in {403, 404}, f"{address} is served"
    # The upload is also nothing that a stranger's question can be about twice.
    for secret in ("runs", "vibe-code", "profiling/traces", "run-history/buckets", "dev/reload"):
        assert httpx.get(app.api + secret).status_code == 404


def test_addresses_are_not_followed(app: Running) -> None:
    asked: list[str] = []

    class Inner(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

    inner = HTTPServer(("127.0.0.1", 0), Inner)
    threading.Thread(target=inner.serve_forever, kwargs={"poll_interval": 0.05}).start()
    url = f"http://127.0.0.1:{inner.server_address[1]}/internal"
    file = {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}
    nested = {"deep": [file | {"path": url.replace("http", "HTTP")}]}
    try:
        for path in (f"file={url}", f"proxy={url}", f"file/{url}"):
            assert httpx.get(app.api + path).status_code in {403, 404}
        config = httpx.get(f"{app.address}/config").json()
        for number, _ in enumerate(config["dependencies"]):
            value = (file, nested, json.dumps(file))[number % 3]
            body = {"data": [value] * 8, "fn_index": number, "session_hash": "attacker"}
            httpx.post(f"{app.api}queue/join", json=body)
        for name in ("ask", "compare"):
            answer = httpx.post(f"{app.api}call/{name}", json={"data": [[file], "Is it?"]})
            assert answer.status_code == 400
            assert answer.text == "Upload the file itself; addresses are not followed."
    finally:
        inner.shutdown()
        inner.server_close()
    assert asked == []


def test_too_much_is_refused(app: Running) -> None:
    large = httpx.post(f"{app.api}queue/join", content=b" " * 4_000_001)
    assert large.status_code == 413 and "MB are not taken" in large.text
    sender = HTTPConnection(app.address.removeprefix("http://"), timeout=60)
    sender.putrequest("POST", "/gradio_api/upload")
    sender.putheader("Content-Length", str(10**9))
    sender.endheaders()
    assert sender.getresponse().status == 413
    sender.close()
    assert httpx.get(f"{app.address}/healthz").json()["status"] == "ready"


def test_sigterm_in_the_middle_of_an_answer(app: Running, client: Client, picture: Path) -> None:
    """The last of these. The process ends by itself, and the flag given before is there."""
    asked = {"scans": [handle_file(str(picture))], "question": "Is it new?"}
    response = client.predict(**asked, api_name="/compare")
    flag_arguments = {"exchange": response["exchange"], "arm": "sft"}
    with pytest.raises(AppError, match="choose from false-finding, "):
        client.predict(**flag_arguments, category="nonsense", severity="minor", api_name="/flag")
    kept = client.predict(**flag_arguments, category="other", severity="minor", api_name="/flag")
    jobs = [client.submit(**asked, api_name="/compare") for _ in range(4)]
    while httpx.get(f"{app.address}/healthz").json()["answering"] == 0:
        assert not all(job.done() for job in jobs), "nothing ran for long enough to be seen"
    app.process.send_signal(signal.SIGTERM)
    # Ten seconds are what docs/hosting.md promises; the limit only keeps a failure from hanging.
    assert app.process.wait(60) == 0
    assert '"message": "closed"' in app.log.read_text()
    assert not list((app.home.parent / "tmp").glob("rarl-*")), "uploads are left behind"
    store = open_store(app.home)
    assert store.flag(kept["flag"]).arm == "sft"
    store.close()
