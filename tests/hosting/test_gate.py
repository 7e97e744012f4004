"""Passwords: how often, how fast, and at whose expense they may be guessed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo.authentication import SignIn
from demo.services.uploads import Uploads
from demo.serving import password_sign_in
from demo.serving.attempts import Attempts
from demo.serving.middleware import Guard
from demo.serving.password_sign_in import Gate
from rarl.review.roles import People

BROWSER = {"accept": "text/html"}


@pytest.fixture(scope="module")
def sign_in() -> SignIn:
    hashed = {name: bcrypt.hashpw(b"right", bcrypt.gensalt(cost)) for name, cost in
              (("ada", 4), ("bo", 8))}  # fmt: skip
    return SignIn("htpasswd", People({"ada": "admin"}, otherwise=None), passwords=hashed)


@pytest.fixture
def client(tmp_path: Path, sign_in: SignIn) -> Iterator[TestClient]:
    attempts = Attempts(lambda: 100.0)  # however long a test takes
    app = Starlette(routes=Gate(sign_in, attempts).routes())
    with TestClient(
        Guard(app, sign_in, Uploads(tmp_path), tmp_path), follow_redirects=False
    ) as one:
        yield one


def entered(client: TestClient, name: str, password: str, **headers: str) -> int:
    form = {"username": name, "password": password}
    return client.post("/login", data=form, headers=headers).status_code


def test_signing_in_and_out(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_sign_in, "_SECONDS", 0.0)
    assert client.get("/").headers["location"] == "login"
    page = client.get("/login").text
    assert "Password" in page and "Research use only. Not for diagnosis." in page
    assert '<svg class="logo"' in page
    assert client.get("/config").status_code == 401
    refused = client.post("/login", data={"username": "ada", "password": "<b>"}, headers=BROWSER)
    assert refused.status_code == 400 and "<b>" not in refused.text
    inside = client.post("/login", data={"username": " ADA", "password": "right"}, headers=BROWSER)
    assert (inside.status_code, inside.headers["location"]) == (303, "./")
    # The app itself has no page here: the guard lets the request through to nobody.
    assert client.get("/config").status_code == 404
    assert client.get("/logout").status_code == 405 and client.get("/config").status_code == 404
    other_site = {"origin": "http://evil.example"}
    assert client.post("/logout", headers=other_site).status_code == 403
    assert client.post("/logout").status_code == 303 and client.get("/config").status_code == 401
    assert entered(client, "bo", "right") == 200  # the right password of somebody not listed
    assert client.get("/config").status_code == 403
    assert "not on this site" in client.get("/").text


def test_guesses_are_held_back(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_sign_in, "_SECONDS", 0.0)
    for name in ("ada", "zoe"):  # one exists, one does not: no difference
        statuses = [entered(client, name, f"guess {number}") for number in range(9)]
        assert statuses == [400] * 6 + [429] * 3
    assert entered(client, "ada", "right") == 429, "the right one waits as long"
    held = client.post("/login", data={"username": "ada", "password": "x"})
    assert 1 <= int(held.headers["retry-after"]) <= 60
    several = [entered(client, f"name {number}", "guess") for number in range(20)]
    assert several.count(400) <= 10 and several[-1] == 429, "the address is held back too"


def test_delays_grow_and_end() -> None:
    now = 0.0
    attempts = Attempts(lambda: now)
    waits = []
    for _ in range(12):
        while wait := attempts.begin("ada", "a"):
            waits.append(wait)
            now += wait
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    assert attempts.begin("ada", "b") == 60.0 and attempts.begin("bo", "b") == 0.0
    now += 60
    assert attempts.begin("ada", "a") == 0.0
    attempts.succeeded("ada", "a")
    assert attempts.begin("ada", "a") == 0.0, "a success ends it"
    now += 3700
    assert [attempts.begin("cy", "a") for _ in range(6)] == [0.0] * 6, "and so does time"


def test_every_outcome_takes_the_same_time(client: TestClient) -> None:
    def seconds(name: str, password: str) -> float:
        started = time.perf_counter()
        entered(client, name, password)
        return time.perf_counter() - started

    # The dearest hash and the cheapest, a wrong name and a right password.
    times = [seconds("ada", "x"), seconds("bo", "x"), seconds("zoe", "x"), seconds("ada", "right")]
    assert min(times) >= password_sign_in._SECONDS
    assert bcrypt.checkpw(b"", client.app._sign_in._nobody)  # type: ignore[attr-defined]
    assert int(client.app._sign_in._nobody[4:6]) == 8  # type: ignore[attr-defined]
