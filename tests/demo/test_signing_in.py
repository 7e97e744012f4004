"""Who is who, by each way of signing in, and who is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bcrypt
import gradio as gr
import pytest
from starlette.requests import Request

from demo.signing_in import Person, SignIn, read_sign_in
from rarl.errors import ReviewError
from rarl.review.roles import People, account_name

PEOPLE = "people: {ada: admin, Bo: reader}\n"


def asked_from(address: str, host: str = "127.0.0.1:7860", **headers: str) -> Request:
    named = {"host": host, **{key.replace("_", "-"): value for key, value in headers.items()}}
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "query_string": b"",
        "server": ("127.0.0.1", 7860),
        "client": (address, 1234),
        "headers": [(key.encode(), value.encode()) for key, value in named.items()],
    }
    return Request(scope)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "people.yaml").write_text(PEOPLE)
    return {"RARL_HOME": str(tmp_path)}


def test_without_settings_only_this_machine_is_the_admin(settings: dict[str, str]) -> None:
    sign_in = read_sign_in(settings)
    for request in (
        asked_from("127.0.0.1"),
        asked_from("::1", "[::1]:7860"),
        asked_from("127.0.0.1", "localhost:7860"),
    ):
        assert sign_in.name(request) == account_name()
    for request in (
        asked_from("10.0.0.7"),
        asked_from("127.0.0.1", "abc.gradio.live"),  # through a tunnel
        asked_from("127.0.0.1", x_forwarded_for="10.0.0.7"),  # through a proxy
        asked_from("127.0.0.1", "evil.example"),  # a name that was made to lead here
    ):
        assert sign_in.name(request) == ""
    assert sign_in.person(gr.Request(username=account_name())).role == "admin"
    assert sign_in.person(gr.Request(username="")) == Person(None, "visitor")
    assert sign_in.person(gr.Request()) == Person(None, "visitor")


def test_a_header_is_believed_from_the_proxy_alone(settings: dict[str, str]) -> None:
    sign_in = read_sign_in(
        {**settings, "RARL_SIGN_IN": "header:X-User", "RARL_TRUSTED_PROXIES": "10.1.0.0/16, ::1"}
    )
    assert sign_in.name(asked_from("10.1.2.3", x_user="bo")) == "bo"
    assert sign_in.name(asked_from("10.2.2.3", x_user="bo")) == ""
    # This machine is no proxy here, and whoever sits at it no admin.
    assert sign_in.name(asked_from("127.0.0.1", x_user="ada")) == ""
    assert sign_in.person(gr.Request(username="bo")) == Person("bo", "reader")
    assert sign_in.person(gr.Request(username="zoe")) == Person("zoe", "visitor")
    closed = SignIn("header", People(unnamed=None), header="X-User")
    assert closed.name(asked_from("127.0.0.1")) is None  # Gradio answers 401
    assert closed.name(asked_from("127.0.0.1", x_user="bo")) == "bo"


def test_passwords_are_checked_against_bcrypt(settings: dict[str, str], tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()
    listed = tmp_path / "passwords"
    listed.write_text(f"# people\nada:{hashed}\n")
    sign_in = read_sign_in({**settings, "RARL_SIGN_IN": f"htpasswd:{listed}"})
    assert sign_in.may_enter("ada", "correct horse")
    for name, password in (("ada", "wrong"), ("bo", "correct horse"), ("", ""), ("zoe", "")):
        assert not sign_in.may_enter(name, password)
    assert sign_in.launch_options()["auth"]("ada", "correct horse")
    assert hashed not in repr(sign_in)


def test_hugging_face_names_hold_until_they_expire() -> None:
    sign_in = SignIn("huggingface", People({"ada": "admin"}))
    for info, name in (
        (None, ""),
        ({"userinfo": {"preferred_username": "ada"}, "expires_at": 4e9}, "ada"),
        ({"userinfo": {"preferred_username": "ada"}, "expires_at": 1e9}, ""),
    ):
        request = asked_from("10.0.0.7")
        request.scope["session"] = {} if info is None else {"oauth_info": info}
        assert sign_in.name(request) == name


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
