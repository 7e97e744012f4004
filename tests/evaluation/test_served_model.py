"""`--endpoint` against transformers' own server: the same answers as in this process."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageDraw

from rarl.inference.engine import Decoding, NamedImage, Question
from rarl.inference.remote import EndpointEngine

ROOT = Path(__file__).parents[2]
TINY = ROOT / "assets/tiny"
START_SECONDS = 300


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("uvicorn", reason="transformers serves only with uvicorn")
    if not (TINY / "config.json").is_file():
        pytest.skip("the tiny model is not built")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("serve") / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("served_model.py")), str(TINY), str(port)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        ends = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).raise_for_status()
                break
            except httpx.HTTPError:
                assert server.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < ends, "the server did not start"
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()
        log.close()


def test_a_third_party_server_answers_as_the_local_engine(url: str) -> None:
    from rarl.inference.local import LocalEngine
    from rarl.models.loader import load_model

    image = Image.new("L", (160, 140), 15)
    ImageDraw.Draw(image).ellipse((30, 20, 130, 120), fill=140, outline=230, width=6)
    questions = [
        Question((NamedImage(image),), text, ("base",), mode, Decoding(max_new_tokens=48))
        for text, mode in (
            ("What imaging modality is this?", "reason"),
            ("Is there a tumor?", "answer"),
        )
    ]
    engine = EndpointEngine(url, str(TINY), {"base": str(TINY)}, concurrency=1, retries=0)
    served = [answers[0].response for answers in engine.answer_batch(questions)]
    local = LocalEngine(load_model("tiny", {})).answer_batch(questions)
    assert [one.text for one in served] == [answers[0].response.text for answers in local]
    assert all(one.answer for one in served)
