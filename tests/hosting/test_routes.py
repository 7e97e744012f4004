"""Every route of the real app, under three prefixes, with each guard in front of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Match
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from demo.authentication import SignIn
from demo.context import make_parts
from demo.interface import build, own_routes
from demo.services.uploads import Uploads
from demo.serving.middleware import Guard, Rate
from demo.serving.routes import DOORS, Door, find_door, route_path
from rarl.review.roles import People

PREFIXES = ("", "/rarl", "/a/b")
SAMPLES = {
    "path": "logo.svg", "url_path": "http://198.51.100.1/", "path_or_url": "/etc/passwd",
    "session_hash": "somebody", "event_id": "somebody", "component_id": "1", "size": "192",
    "version": "0123456789abcdef", "module": "main.js",
    "api_name": "ask", "environment": "client", "token": "x",
}  # fmt: skip


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[BaseRoute]]:
    """Gradio's own and ours, as the app is launched with them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RARL_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("RARL_SIGN_IN", raising=False)
        parts = make_parts()
        blocks = build(parts)
    blocks.run_history = False
    blocks.config = blocks.get_config_file()
    app = gr.routes.App.create_app(
        blocks, app_kwargs={"routes": own_routes(parts)}, mcp_server=False
    )
    yield list(flat(app.routes))


def flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Routes, and those of routers among them."""
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is None:
            yield route
        else:
            yield from flat(router.routes)


def requests_of(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Method and address of every route, its parameters filled in."""
    for route in routes:
        path = str(getattr(route, "path", ""))
        assert path, f"{route} has no address; think about it"
        filled = re.sub(
            r"\{(\w+)(:\w+)?\}", lambda match: SAMPLES.get(match[1], "x"), path
        ) or "/"  # fmt: skip
        for method in sorted(getattr(route, "methods", None) or {"GET", "POST"}):
            yield method, filled


class Inner:
    """Stands where the app stands, and notes what reaches it."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while scope["method"] == "POST" and (await receive()).get("more_body"):
            pass
        self.reached.append(scope["path"])
        await PlainTextResponse("reached")(scope, receive, send)


def guarded(
    folder: Path, prefix: str, sign_in: SignIn | None = None, rate: Rate | None = None
) -> tuple[Inner, TestClient]:
    inner = Inner()
    guard = Guard(inner, sign_in or SignIn(), Uploads(folder), folder, prefix, rate)
    client = TestClient(guard, client=("198.51.100.7", 1))
    return inner, client


def sent(client: TestClient, method: str, address: str, **more: Any) -> int:
    """Send a request that is sound but for what is changed in it."""
    if method == "POST":
        door = find_door(method, re.sub("^(/rarl|/a/b)|/$", "", address) or "/")
        kinds = {"form": "application/x-www-form-urlencoded", "upload": "multipart/form-data"}
        kind = kinds.get(door[0].body if isinstance(door, tuple) else "", "application/json")
        more.setdefault("content", b"{}")
        more["headers"] = {"content-type": kind, **more.get("headers", {})}
    return client.request(method, address, follow_redirects=False, **more).status_code


@pytest.mark.parametrize("prefix", PREFIXES)
def test_each_guard_stands_before_each_route(
    routes: list[BaseRoute], tmp_path: Path, prefix: str
) -> None:
    nobody = SignIn("header", People(otherwise=None, unnamed=None), header="X-User")
    walked = 0
    for method, path in requests_of(routes):
        walked += 1
        plain = route_path(path, "")  # without a slash at its end
        found = find_door(method, plain) if plain else None
        door = found[0] if isinstance(found, tuple) else None
        address = prefix + path
        inner, client = guarded(tmp_path, prefix)
        status = sent(client, method, address)
        if door is None:
            assert (status in (404, 405), inner.reached) == (True, []), address
            continue
        assert inner.reached == [plain], f"{method} {address} gives {status}"
        for spelling in (f"/{address}", f"{address}//", address.upper(), f"/x/..{address}"):
            inner, client = guarded(tmp_path, prefix)
            if spelling != address and find_door(method, spelling.removeprefix(prefix)) is None:
                sent(client, method, f"http://testserver{spelling}")
                assert set(inner.reached) <= {plain}, spelling
                assert not any("file" in one for one in inner.reached)
        evil = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "origin": "http://evil"}
        for headers in (evil, {"origin": "http://evil"}):
            inner, client = guarded(tmp_path, prefix)
            assert sent(client, method, address, headers=headers) == 403, address
            assert inner.reached == []
        inner, client = guarded(tmp_path, prefix, nobody)
        assert (sent(client, method, address) in (401, 403)) != door.open, address
        assert bool(inner.reached) == door.open
        if door.body != "none":
            inner, client = guarded(tmp_path, prefix, rate=Rate(burst=0))
            assert sent(client, method, address) == 429
            inner, client = guarded(tmp_path, prefix)
            huge = {"content-length": str(10**10)}
            assert sent(client, method, address, headers=huge) == 413
            assert inner.reached == []
        if "somebody" in path:
            inner, client = guarded(tmp_path, prefix)
            owner, other = {"cookie": "rarl-visitor=a"}, {"cookie": "rarl-visitor=b"}
            assert sent(client, method, address, headers=owner) == 200
            assert sent(client, method, address, headers=other) == 403
    assert walked > 60


def test_every_door_leads_somewhere(routes: list[BaseRoute]) -> None:
    """A door that no route stands behind is one that nobody has thought of."""
    behind = set()
    for method, path in requests_of(routes):
        found = find_door(method, path)
        if isinstance(found, tuple):
            behind.add(found[0])
            scope = {"type": "http", "method": method, "path": path, "headers": []}
            assert any(route.matches(scope)[0] == Match.FULL for route in routes)
    optional = ("huggingface", "mcp")  # on a Space, and with --mcp
    left: list[Door] = [
        door for door in DOORS
        if door not in behind and not any(word in door.pattern.pattern for word in optional)
    ]  # fmt: skip
    assert not left
