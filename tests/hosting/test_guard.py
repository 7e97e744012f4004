"""Limits of the guard, at sizes that a test can send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from demo.serving import guard
from demo.serving.guard import Guard, Rate, content_security_policy


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def client(folder: Path, rate: Rate | None = None) -> TestClient:
    routes = [
        Route("/gradio_api/upload", length, methods=["POST"]),
        Route("/gradio_api/queue/join", length, methods=["POST"]),
    ]
    middleware = [Middleware(Guard, cache=folder, uploaded=lambda path: False, rate=rate)]
    return TestClient(Starlette(routes=routes, middleware=middleware))


def test_a_flood_is_held_back_by_address_and_over_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(guard, "monotonic", lambda: now)
    flooding = client(tmp_path, Rate(burst=3, per_second=1))

    def post() -> int:
        return flooding.post("/gradio_api/queue/join", json={}).status_code

    assert [post() for _ in range(5)] == [200, 200, 200, 429, 429]
    now += 2
    assert [post() for _ in range(3)] == [200, 200, 429]
    other = TestClient(flooding.app, client=("10.0.0.9", 1))
    assert other.post("/gradio_api/queue/join", json={}).status_code == 200


def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_UPLOAD_BYTES", 1000)
    monkeypatch.setattr(guard, "_MESSAGE_BYTES", 1000)

    def pieces() -> Iterator[bytes]:
        for _ in range(5):
            yield b"x" * 300

    whole = client(tmp_path).post("/gradio_api/queue/join", content=b"x" * 1000)
    assert whole.text == "1000"
    assert client(tmp_path).post("/gradio_api/queue/join", content=pieces()).status_code == 413
    assert client(tmp_path).post("/gradio_api/upload", content=b"x" * 1001).status_code == 413
    # An upload is not gathered here, so it has to say its size beforehand.
    assert client(tmp_path).post("/gradio_api/upload", content=pieces()).status_code == 411


def test_a_full_disk_takes_no_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_FREE_BYTES", 10**18)
    answer = client(tmp_path).post("/gradio_api/upload", content=b"x")
    assert (answer.status_code, answer.text) == (507, "The server's disk is full; tell its keeper.")


def test_only_a_space_may_be_shown_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert content_security_policy().endswith("frame-ancestors 'self'")
    monkeypatch.setenv("SPACE_ID", "owner/rarl")
    assert content_security_policy().endswith("frame-ancestors https://huggingface.co")
