"""The page under a path of another server, which passes its requests on."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from app_process import served, with_key

from demo.serving.modules import module_addresses

pytestmark = pytest.mark.browser
PREFIX = "/reading/rarl"
PER_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@contextmanager
def proxy(target: str) -> Iterator[str]:
    """A server that takes `PREFIX` off each address and asks `target`, a host and port."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            path = self.path.removeprefix(PREFIX)
            if path == self.path:
                self.send_error(404)
                return
            connection = http.client.HTTPConnection(target)
            length = int(self.headers.get("content-length") or 0)
            headers = {**self.headers, "X-Forwarded-Host": self.headers["host"]}
            connection.request(self.command, path or "/", self.rfile.read(length), headers)
            response = connection.getresponse()
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in PER_CONNECTION:
                    self.send_header(name, value)
            self.end_headers()
            try:
                while piece := response.read1(65536):
                    self.wfile.write(piece)
            except OSError:
                pass  # the page was closed
            connection.close()

        do_GET = do_POST = do_HEAD = answer  # noqa: N815 - the names that the library calls

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}/"
    finally:
        server.shutdown()
        server.server_close()


def test_the_modules_are_found_below_the_path(
    model: str | None, browser: Any, tmp_path: Path
) -> None:
    with (
        served(tmp_path, model, GRADIO_ROOT_PATH=PREFIX) as (app_address, _),
        proxy(urlsplit(app_address).netloc) as address,
    ):
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{address}?{urlsplit(with_key(app_address)).query}")
        page.click("[data-key=phantom-chest]")
        page.wait_for_selector("#viewer .viewer-stage[data-frame]")
        loaded = page.evaluate(
            "performance.getEntriesByType('resource').map((entry) => new URL(entry.name).pathname)"
        )
        page.close()
    assert {PREFIX + path for path in module_addresses()} <= set(loaded)
