"""Who is who, by each way of signing in, and who is not."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from pathlib import Path

import bcrypt
import gradio as gr
import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

from demo.authentication import Person, SignIn, read_sign_in
from demo.serving.caller import Caller, put_caller
from rarl.errors import ReviewError
from rarl.review.roles import People, account_name

PEOPLE = "people: {ada: admin, Bo: reader}\n"


def caller(sign_in: SignIn, address: str, *headers: tuple[str, str]) -> Caller:
    """Whom a request with these headers from this peer is by."""
    scope = {"type": "http", "client": (address, 1234), "server": ("127.0.0.1", 7860)}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return sign_in.caller(scope, Headers(raw=raw))


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "people.yaml").write_text(PEOPLE)
    return {"RARL_HOME": str(tmp_path)}


def test_without_settings_only_the_key_makes_an_admin(settings: dict[str, str]) -> None:
    sign_in = read_sign_in(settings)
    for address, host in (
        ("127.0.0.1", "127.0.0.1:7860"),  # also where a forwarder stands on this machine
        ("::1", "localhost:7860"),
        ("10.0.0.7", "localhost"),
    ):
        nobody = caller(sign_in, address, ("host", host))
        assert (nobody.name, nobody.role) == (None, "visitor")
    cookie = f"{sign_in.key_cookie({'server': ('', 7860)})}={sign_in.key.cookie()}"
    for proof in (("cookie", cookie), ("authorization", f"Bearer {sign_in.key.secret}")):
        admin = caller(sign_in, "10.0.0.7", proof)
        assert (admin.name, admin.role) == (account_name(), "admin")
    for forged in (
        ("cookie", cookie[:-1] + ("0" if cookie[-1] != "0" else "1")),
        ("cookie", cookie.replace("=1", "=2", 1)),  # a later end than was signed
        ("cookie", "rarl-admin-7860=9999999999."),
        ("authorization", "Bearer "),
        ("authorization", f"Bearer {sign_in.key.secret}x"),
    ):
        assert caller(sign_in, "127.0.0.1", forged).name is None
    # The next start has another key, and knows the browsers that had this one.
    again = read_sign_in(settings)
    assert again.key.secret != sign_in.key.secret
    assert caller(again, "127.0.0.1", ("cookie", cookie)).role == "admin"
    kept = Path(settings["RARL_HOME"]) / "admin.key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.unlink()
    assert caller(read_sign_in(settings), "127.0.0.1", ("cookie", cookie)).name is None


def test_handlers_see_whom_the_guard_found(settings: dict[str, str]) -> None:
    sign_in = read_sign_in({**settings, "RARL_SIGN_IN": "header:X-User"})
    request = Request({"type": "http", "headers": [(b"x-user", b"ada")]})
    assert sign_in.person(gr.Request(request, username="ada")) == Person(None, None)
    put_caller(request.scope, Caller("bo", "reader"))
    assert sign_in.person(gr.Request(request, username="ada")) == Person("bo", "reader")


def test_a_header_is_believed_from_the_proxy_alone(settings: dict[str, str]) -> None:
    sign_in = read_sign_in(
        {**settings, "RARL_SIGN_IN": "header:X-User", "RARL_TRUSTED_PROXIES": "10.1.0.0/16, ::1"}
    )
    for written in ("bo", "BO", "Bo "):
        person = caller(sign_in, "10.1.2.3", ("x-user", written))
        assert (person.name, person.role) == ("bo", "reader")
    assert caller(sign_in, "10.2.2.3", ("x-user", "bo")).name is None
    # This machine is no proxy here, and whoever sits at it no admin.
    assert caller(sign_in, "127.0.0.1", ("x-user", "ada")).name is None
    assert caller(sign_in, "10.1.2.3", ("x-user", "zoe")).role == "visitor"
    closed = SignIn(
        "header", People(otherwise=None, unnamed=None), header="X-User", proxies=sign_in.proxies
    )
    assert caller(closed, "10.1.2.3").role is None
    assert caller(closed, "10.1.2.3", ("x-user", "zoe")).role is None


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.1.2.3", "198.51.100.7", "198.51.100.7"),
        ("10.1.2.3", "1.1.1.1, 198.51.100.7", "198.51.100.7"),  # the first was sent along
        ("10.1.2.3", "198.51.100.7, 10.1.9.9", "198.51.100.7"),  # through two proxies
        ("10.1.2.3", "nonsense", "10.1.2.3"),
        ("10.2.2.3", "198.51.100.7", "10.2.2.3"),  # no proxy of ours
        ("127.0.0.1", "198.51.100.7", "127.0.0.1"),
    ],
)
def test_the_address_of_a_person_comes_from_the_proxy(
    settings: dict[str, str], peer: str, forwarded: str, address: str
) -> None:
    sign_in = read_sign_in({**settings, "RARL_TRUSTED_PROXIES": "10.1.0.0/16"})
    person = caller(sign_in, peer, ("x-forwarded-for", forwarded))
    assert (person.address, person.peer) == (address, peer)


def test_passwords_are_checked_against_bcrypt(settings: dict[str, str], tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()
    listed = tmp_path / "passwords"
    listed.write_text(f"# people\nAda:{hashed}\n")
    sign_in = read_sign_in({**settings, "RARL_SIGN_IN": f"htpasswd:{listed}"})
    assert sign_in.may_enter("ada", "correct horse") and sign_in.may_enter("ADA ", "correct horse")
    for name, password in (("ada", "wrong"), ("bo", "correct horse"), ("", ""), ("zoe", "")):
        assert not sign_in.may_enter(name, password)
    assert hashed not in repr(sign_in)
    word = sign_in.signed_in.begin("ada")
    signed_in = ("cookie", f"rarl-sign-in={word}")
    assert caller(sign_in, "10.0.0.7", signed_in).role == "admin"
    sign_in.signed_in.end(word)
    assert caller(sign_in, "10.0.0.7", signed_in).role is None


def test_hugging_face_names_hold_until_they_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    itsdangerous = pytest.importorskip("itsdangerous")
    monkeypatch.setenv("OAUTH_CLIENT_SECRET", "secret")
    secret = hashlib.sha256(b"secret-v4").hexdigest()
    sign_in = SignIn("huggingface", People({"ada": "admin"}))
    for info, name in (
        (None, None),
        ({"userinfo": {"preferred_username": "Ada"}, "expires_at": 4e9}, "ada"),
        ({"userinfo": {"preferred_username": "ada"}, "expires_at": 1e9}, None),
    ):
        session = {} if info is None else {"oauth_info": info}
        content = base64.b64encode(json.dumps(session).encode())
        cookie = itsdangerous.TimestampSigner(secret).sign(content).decode()
        assert caller(sign_in, "10.0.0.7", ("cookie", f"session={cookie}")).name == name
        forged = itsdangerous.TimestampSigner("guessed").sign(content).decode()
        assert caller(sign_in, "10.0.0.7", ("cookie", f"session={forged}")).name is None


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("password", "must be htpasswd:FILE, huggingface or header:NAME"),
        ("header:", "must be htpasswd:FILE"),
        ("htpasswd:/nonexistent", "cannot be read"),
        ("htpasswd:{home}/people.yaml", "not hashed with bcrypt"),
        # Outside a Space Gradio would take the token of the machine for everybody's.
        ("huggingface", "in a Space alone"),
    ],
)
def test_settings_that_cannot_be_used_say_so(
    settings: dict[str, str], said: str, sentence: str
) -> None:
    with pytest.raises(ReviewError, match=sentence):
        read_sign_in({**settings, "RARL_SIGN_IN": said.format(home=settings["RARL_HOME"])})
