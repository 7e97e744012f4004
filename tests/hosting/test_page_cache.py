"""The page is drawn once for those who ask for the same one, and never for somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from demo.serving.caller import Caller, caller_of, put_caller
from demo.serving.page_cache import PageCache


class Named:
    """Stands where the guard does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            put_caller(scope, Caller(name=headers.get(b"x-user", b"").decode() or None))
        await self._app(scope, receive, send)


@pytest.fixture
def drawn() -> list[str]:
    return []


def client_of(drawn: list[str], seconds: float = 3600.0) -> TestClient:
    def page(request: Request) -> Response:
        drawn.append(str(request.url))
        if request.url.path not in ("/", "/config") or request.headers.get("x-fail"):
            return Response(status_code=500)
        answer = HTMLResponse(f"{len(drawn)} for {caller_of(request).name} at {request.url}")
        if request.headers.get("x-cookie"):
            answer.set_cookie("a", "b")
        return answer

    routes = [Route("/{rest:path}", page, methods=["GET", "POST"])]
    return TestClient(Named(PageCache(Starlette(routes=routes), seconds)))


@pytest.fixture
def client(drawn: list[str]) -> Iterator[TestClient]:
    with client_of(drawn) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/config"])
def test_the_same_page_is_drawn_once(client: TestClient, drawn: list[str], path: str) -> None:
    first, second = client.get(path), client.get(path)
    assert first.content == second.content and first.headers == second.headers
    assert first.text.startswith("1 for None") and len(drawn) == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"headers": {"X-User": "bo"}},
        {"headers": {"Host": "elsewhere"}},
        {"headers": {"X-Forwarded-Proto": "https"}},
        {"headers": {"Accept-Encoding": "identity"}},
        {"params": {"token": "secret"}},
        {"url": "/config"},
    ],
    ids=["name", "host", "scheme", "packing", "query", "path"],
)
def test_another_page_is_drawn_anew(
    client: TestClient, drawn: list[str], asked: dict[str, Any]
) -> None:
    client.get("/")
    answer: httpx.Response = client.get(**{"url": "/", **asked})
    assert answer.text.startswith("2 for") and len(drawn) == 2


def test_only_whole_pages_are_remembered(client: TestClient, drawn: list[str]) -> None:
    for headers in ({"X-Fail": "1"}, {"X-Cookie": "1"}):
        before = len(drawn)
        for _ in range(2):
            client.get("/", headers=headers)
        assert len(drawn) == before + 2
    for _ in range(2):
        client.get("/a")
        client.post("/")
    assert len(drawn) == 8


def test_it_is_forgotten_in_time(drawn: list[str]) -> None:
    with client_of(drawn, seconds=0.0) as client:
        client.get("/")
        client.get("/")
    assert len(drawn) == 2
