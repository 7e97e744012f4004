"""A server that is down when the app starts, and comes back."""

from __future__ import annotations

from functools import partial

from demo.pages import frame
from demo.services.asking import ask
from demo.services.engine_loader import EngineLoader
from rarl.inference import load_offer
from tests.demo.opened import report_of, scan_of, session_with
from tests.hosting.conftest import Serve, free_port
from tests.hosting.word_server import WORDS


def test_the_app_waits_for_the_server_and_says_so(serve: Serve) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    loader = EngineLoader(partial(load_offer, None, url), again=0.05).start()
    session = session_with(scan_of())
    sentence = f"The server at 127.0.0.1:{port} does not answer; start it, or correct --endpoint."
    started = False
    # The question waits, and is answered once the server is there.
    for progress in ask(loader, session, "Is it new?", "reason", "base", report_of(session)):
        if progress.sentence == sentence and not started:
            assert sentence in frame.engine_pill(loader) and loader.phase == "loading"
            serve(port=port)
            started = True
    assert started and not progress.failed
    assert [answer.response.text for answer in progress.answers] == [" ".join(WORDS)]
    assert "tiny ready" in frame.engine_pill(loader) and not loader.sentence
