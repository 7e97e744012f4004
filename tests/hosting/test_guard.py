"""Limits and rules of the guard, at sizes that a test can send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from demo.authentication import SignIn
from demo.services.uploads import Uploads
from demo.serving import middleware
from demo.serving.caller import Caller, caller_of
from demo.serving.middleware import Guard, Rate, content_security_policy, embedding_origins
from demo.serving.routes import find_door, route_path
from rarl.review.roles import People, Role

PROXIES = (ip_network("10.0.0.0/8"),)


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(
        {
            "message": json.loads(await request.body() or b"{}"),
            "headers": dict(request.headers),
            "name": caller_of(request).name,
        },
        headers={"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true"},
    )


def client(
    folder: Path,
    rate: Rate | None = None,
    sign_in: SignIn | None = None,
    address: str = "10.0.0.1",
    prefix: str = "",
) -> TestClient:
    routes = [
        Route("/gradio_api/upload", length, methods=["POST"]),
        Route("/gradio_api/queue/join", echo, methods=["POST"]),
        Route("/config", echo),
    ]
    app = Guard(
        Starlette(routes=routes),
        sign_in or SignIn(proxies=PROXIES),
        Uploads(folder),
        folder,
        prefix,
        rate,
    )
    return TestClient(app, client=(address, 1234))


def test_a_flood_is_held_back_by_person_and_over_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(middleware, "monotonic", lambda: now)
    sign_in = SignIn("header", header="X-User", proxies=PROXIES)
    flooding = client(tmp_path, Rate(burst=3, per_second=1), sign_in)

    def post(**headers: str) -> int:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return flooding.post("/gradio_api/queue/join", json={}, headers=named).status_code

    first = {"x_forwarded_for": "198.51.100.1"}
    assert [post(**first) for _ in range(5)] == [200, 200, 200, 429, 429]
    # Neither the others behind the proxy nor those with a name pay for it, whatever is forged.
    assert post(x_forwarded_for="198.51.100.2") == 200
    assert post(x_forwarded_for="198.51.100.1", x_user="bo") == 200
    assert post(x_forwarded_for="203.0.113.9, 198.51.100.1") == 429
    assert post(x_forwarded_for="2001:db8::1") == 200
    now += 2
    assert [post(**first) for _ in range(3)] == [200, 200, 429]
    # One person with many addresses of a network has one share.
    each = [post(x_forwarded_for=f"2001:db8:1::{number}") for number in range(5)]
    assert each == [200, 200, 200, 429, 429]


def test_a_peer_that_is_no_proxy_cannot_choose_its_address(tmp_path: Path) -> None:
    flooding = client(tmp_path, Rate(burst=2, per_second=0), address="198.51.100.9")
    statuses = [
        flooding.post(
            "/gradio_api/queue/join", json={}, headers={"X-Forwarded-For": f"192.0.2.{number}"}
        ).status_code
        for number in range(4)
    ]
    assert statuses == [200, 200, 429, 429]


def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RARL_LIMIT_FILE_BYTES", "1000")
    monkeypatch.setattr(middleware, "_AROUND_FILE_BYTES", 0)
    monkeypatch.setattr(middleware, "_MESSAGE_BYTES", 1000)

    def pieces() -> Iterator[bytes]:
        for _ in range(5):
            yield b"x" * 300

    kind = {"content-type": "application/json"}
    join = "/gradio_api/queue/join"
    whole = client(tmp_path).post(join, content=b"{}" + b" " * 998, headers=kind)
    assert whole.status_code == 200
    assert client(tmp_path).post(join, content=pieces(), headers=kind).status_code == 413
    assert client(tmp_path).post("/gradio_api/upload", content=b"x" * 1001).status_code == 413
    # An upload is not gathered here, so it has to say its size beforehand.
    assert client(tmp_path).post("/gradio_api/upload", content=pieces()).status_code == 411


def test_a_full_disk_takes_no_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "_FREE_BYTES", 10**18)
    answer = client(tmp_path).post("/gradio_api/upload", content=b"x")
    assert (answer.status_code, answer.text) == (
        507,
        "The server is out of disk space. Contact your administrator.",
    )


def test_only_named_origins_may_show_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    assert content_security_policy(embedding_origins({})).endswith("frame-ancestors 'self'")
    on_space = embedding_origins({"SPACE_ID": "owner/rarl"})
    assert content_security_policy(on_space).endswith("frame-ancestors https://huggingface.co")
    portal = embedding_origins({"RARL_EMBED_ORIGINS": "https://a.example, http://b, *"})
    assert portal == ("https://a.example",)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"origin": "http://testserver"}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "https://behind.example"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://testserver.evil.example"}, 403),
        ({"origin": "http://testserver:81"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),  # another host of the same organisation
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://testserver"}, 403),
    ],
)
def test_other_sites_neither_read_nor_write(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    asked = client(tmp_path)
    posted = asked.post("/gradio_api/queue/join", json={}, headers=headers)
    assert (posted.status_code, asked.get("/config", headers=headers).status_code) == (
        status, status,
    )  # fmt: skip
    assert not [name for name in posted.headers if name.startswith("access-control-")]
    early = asked.options("/gradio_api/queue/join", headers={
        "origin": "http://evil.example", "access-control-request-method": "POST"})  # fmt: skip
    assert early.status_code == 405


@pytest.mark.parametrize(
    "spelling",
    [
        "//config", "/config//", "/%2e/config", "/x/%2e%2e/config", "/conf%69g%2f..%2fconfig",
        "/Config", "/CONFIG", "/config%00", "/config;x", "/config%5c", "/%63onfig/%2e",
        "/config%253f",
        "/rarl//config", "/rarl/rarl/config", "/RARL/config", "/config.",
        "/config%20", "/config%0a",
    ],
)  # fmt: skip
def test_an_address_has_one_spelling(tmp_path: Path, spelling: str) -> None:
    for prefix in ("", "/rarl"):
        assert client(tmp_path, prefix=prefix).get(spelling).status_code == 404
    inside = client(tmp_path, prefix="/rarl")
    assert inside.get("/rarl/conf%69g").status_code == 200
    assert inside.get("/rarl", follow_redirects=False).headers["location"] == "/rarl/"


def test_a_message_is_read_before_it_is_judged(tmp_path: Path) -> None:
    asked = client(tmp_path)
    kind = {"content-type": "application/json"}
    for message in (
        b'{"data": [{"path": "http:\\/\\/198.51.100.1\\/", "meta": {"_type": "gradio.FileData"}}]}',
        b'{"data": [{"p\\u0061th": "x", "m\\u0065ta": {"_type": "gradio.FileD\\u0061ta"}}]}',
        b'{"data": [{"path": "/etc/passwd"}]}',
        b'{"data": [[{"deep": {"path": "upload-guessed"}}]]}',
        b'{"data": [{"url": "http://a", "meta": {"_type": "gradio.FileData"}}]}',
        b'{"data": [{"path": "data:image/png;base64,AAAA"}]}',
        b"[1, 2]",
        b'{"data": [NaN]}',
        b"{" * 100_000,
        b"\xff",
    ):
        answer = asked.post("/gradio_api/queue/join", content=message, headers=kind)
        assert answer.status_code == 400, message
    form = asked.post("/gradio_api/queue/join", data={"data": "[]"})
    assert form.status_code == 415
    twice = asked.post(
        "/gradio_api/queue/join", content=b'{"data": 1, "data": 2}', headers=kind
    ).json()
    assert twice["message"] == {"data": 2}, "what was judged is what is handed on"


def test_an_upload_is_named_and_its_sender_s(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    (tmp_path / "hash").mkdir()
    (tmp_path / "hash" / "scan-0").write_bytes(b"pixels")
    mine, other = Caller(address="10.0.0.1"), Caller(address="10.0.0.2")
    name = uploads.admit(str(tmp_path / "hash" / "scan-0"), mine)
    inner = Guard(Starlette(), SignIn(), uploads, tmp_path)
    file = {"path": name, "url": "http://198.51.100.1/", "meta": {"_type": "gradio.FileData"}}
    (kept,) = inner._with_files([file], mine)
    assert Path(kept["path"]).read_bytes() == b"pixels" and "url" not in kept
    for path in (name, kept["path"]):
        with pytest.raises(middleware.RefusedError):
            inner._with_files([file | {"path": path}], other)


def test_a_session_belongs_to_who_began_it(tmp_path: Path) -> None:
    asked = client(tmp_path)
    join = "/gradio_api/queue/join"
    for mark, foreign in (
        ({"cookie": "rarl-visitor=first"}, {"cookie": "rarl-visitor=second"}),
        ({"cookie": "rarl-visitor=first"}, {}),
        ({}, {"x-forwarded-for": "198.51.100.1"}),
    ):
        message = {"session_hash": f"s{len(mark)}{len(foreign)}"}
        assert asked.post(join, json=message, headers=mark).status_code == 200
        assert asked.post(join, json=message, headers=foreign).status_code == 403
        event = {"session_hash": "other", "event_id": message["session_hash"]}
        assert asked.post(join, json=event, headers=foreign).status_code == 403
        assert asked.post(join, json=message, headers=mark).status_code == 200
    assert asked.post(join, json={"session_hash": {"$ne": 1}}).status_code == 400
    assert asked.get("/config?session_hash=a&session_hash=b").status_code == 400


@pytest.mark.parametrize("name", ["X-User", "Host", "Origin", "Content-Type", "Sec-Fetch-Site"])
def test_a_header_that_decides_stands_there_once(tmp_path: Path, name: str) -> None:
    asked = client(tmp_path, sign_in=SignIn("header", header="X-User", proxies=PROXIES))
    twice = [(name, "testserver"), (name.upper(), "testserver")]
    assert asked.get("/config", headers=twice).status_code == 400


def test_only_a_proxy_says_what_was_forwarded(tmp_path: Path) -> None:
    headers = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    stranger = client(tmp_path, address="198.51.100.1").get("/config", headers=headers).json()
    assert not [name for name in stranger["headers"] if "forwarded" in name]
    proxy = client(tmp_path).get("/config", headers=headers).json()
    assert proxy["headers"]["x-forwarded-host"] == "evil.example"


@pytest.mark.parametrize(
    ("space", "proto", "kept"),
    [
        ("", "", ("HttpOnly", "SameSite=Lax")),
        ("", "https", ("HttpOnly", "SameSite=Lax", "Secure")),
        ("owner/rarl", "", ("HttpOnly", "SameSite=None", "Secure", "Partitioned")),
    ],
)
def test_cookies_stay_on_this_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: str, proto: str, kept: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SPACE_ID", space)
    cookie = (
        client(tmp_path).get("/config", headers={"x-forwarded-proto": proto}).headers["set-cookie"]
    )
    attributes = {part.strip() for part in cookie.split(";")[1:]}
    assert attributes == {"Path=/", *kept}


@pytest.mark.parametrize("role", ["visitor", "reader"])
def test_only_who_may_save_sessions_gets_a_lasting_cookie(tmp_path: Path, role: Role) -> None:
    sign_in = SignIn("header", People({"bo": role}), header="X-User", proxies=PROXIES)
    guard = Guard(
        Starlette(routes=[Route("/", echo)]), sign_in, Uploads(tmp_path), tmp_path,
        lasting_seconds=99,
    )  # fmt: skip
    browser = TestClient(guard, client=("10.0.0.1", 1234), headers={"X-User": "bo"})

    def lasting() -> list[str]:
        lines = browser.get("/").headers.get_list("set-cookie")
        return [line for line in lines if line.startswith("rarl-saved=")]

    first, again = lasting(), lasting()
    assert bool(first) is (role == "reader") and first == again  # each visit prolongs it
    assert all("Max-Age=99" in line and "HttpOnly" in line for line in first)
    browser.cookies.clear()
    browser.headers["cookie"] = "rarl-saved=of-somebody-elses-making"
    assert all("elses" not in line for line in lasting())


def test_doors_are_few() -> None:
    for method, path in (
        ("GET", "/gradio_api/file=/etc/passwd"), ("GET", "/gradio_api/proxy=http://a"),
        ("GET", "/gradio_api/user"), ("GET", "/gradio_api/token"), ("GET", "/monitoring"),
        ("POST", "/gradio_api/component_server"), ("POST", "/gradio_api/vibe-edit"),
        ("GET", "/gradio_api/runs"), ("GET", "/gradio_api/stream/a/b/1/playlist.m3u8"),
        ("POST", "/gradio_api/process_recording"), ("GET", "/gradio_api/deep_link"),
    ):  # fmt: skip
        known: Any = find_door(method, str(route_path(path, "")))
        assert known is None, path
