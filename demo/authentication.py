"""Authentication and roles: a proxy or the app names the user, the site's list gives the role.

There are no accounts here. RARL_SIGN_IN says who vouches for a name:

    (unset)             whoever opens the address with the key that the start prints is the admin,
                        everybody else a visitor
    htpasswd:FILE       a sign-in page, against a file that `htpasswd -B` writes
    huggingface         Hugging Face OAuth, in a Space with `hf_oauth: true`
    header:NAME         a header that a proxy sets, believed from RARL_TRUSTED_PROXIES alone

RARL_PEOPLE names the list, see `rarl.review.roles.read_people`; `people.yaml` in RARL_HOME where it
is unset. Without a list, a name that was vouched for is a visitor.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

import bcrypt
import gradio as gr
from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser

from demo.compat import space_cookie_secret
from demo.serving.caller import Caller, Network, caller_of, person_address, within
from rarl.errors import ReviewError
from rarl.review.roles import People, Role, account_name, canonical_name, read_people
from rarl.review.store import store_folder
from rarl.settings import read_settings

Way = Literal["local", "htpasswd", "huggingface", "header"]

VISITOR_COOKIE = "rarl-visitor"
LASTING_COOKIE = "rarl-saved"
SIGN_IN_COOKIE = "rarl-sign-in"
KEY_PARAMETER = "token"

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_PRIVATE = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8")
)
_KEY_SECONDS = 30 * 24 * 3600
_SIGNED_IN_SECONDS = 12 * 3600
_MOST_SIGNED_IN = 10_000
# Bcrypt reads no more of a password.
_PASSWORD_BYTES = 72


@dataclass(frozen=True, slots=True)
class Person:
    """Who is behind a request.

    Attributes:
        name: canonical, as vouched for, or None.
        role: what the site's list gives that name; None where the person may do nothing.
    """

    name: str | None
    role: Role | None


class AdminKey:
    """The admin of a site without sign-in: whoever has the secret that the start prints.

    The secret is new with every start. A browser that had it keeps a signed cookie, so that the
    page goes on working when the app starts again; what signs it lies in the store's folder, for
    its owner alone.

    Args:
        folder: where the signing key is kept; in memory alone where it cannot be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.secret = secrets.token_urlsafe(24)
        self._signing = _signing_key(folder)

    def is_secret(self, offered: str) -> bool:
        """Whether this is the secret of this start."""
        return hmac.compare_digest(offered.encode(), self.secret.encode())

    def cookie(self) -> str:
        """What a browser keeps that had the secret."""
        until = str(int(time.time()) + _KEY_SECONDS)
        return f"{until}.{self._mac(until)}"

    def is_cookie(self, offered: str) -> bool:
        """Whether a browser had the secret, of this start or of an earlier one."""
        until, _, mac = offered.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(until).encode()):
            return False
        return until.isdecimal() and int(until) > time.time()

    def _mac(self, until: str) -> str:
        return hmac.new(self._signing, f"admin {until}".encode(), hashlib.sha256).hexdigest()


class SignedIn:
    """Who has signed in with a password, by the random word in a cookie."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def begin(self, name: str) -> str:
        """Sign somebody in; returns the cookie's value."""
        word = secrets.token_urlsafe(32)
        self._names[word] = (name, time.monotonic() + _SIGNED_IN_SECONDS)
        while len(self._names) > _MOST_SIGNED_IN:
            self._names.popitem(last=False)
        return word

    def name(self, word: str) -> str | None:
        """Whose word it is, while it holds."""
        name, until = self._names.get(word, (None, 0.0))
        return name if time.monotonic() < until else None

    def end(self, word: str) -> None:
        """Sign a person out everywhere."""
        name = self.name(word)
        for known, (other, _) in list(self._names.items()):
            if other == name:
                self._names.pop(known, None)


@dataclass(frozen=True, slots=True)
class SignIn:
    """How names are vouched for, and what they may do.

    Attributes:
        way: who vouches.
        people: the site's list.
        passwords: canonical name to bcrypt hash, for `htpasswd`.
        header: name of the header, for `header`.
        proxies: what addresses of people, and that header, are believed from.
        key: makes an admin where `way` is "local".
        signed_in: who has signed in with a password.
    """

    way: Way = "local"
    people: People = field(default_factory=People)
    passwords: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    header: str = ""
    proxies: tuple[Network, ...] = ()
    key: AdminKey = field(default_factory=AdminKey, repr=False)
    signed_in: SignedIn = field(default_factory=SignedIn, repr=False)
    _nobody: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        # Checked where there is no such name: a refusal must take as long as for one that exists.
        costs = [int(hashed[4:6]) for hashed in self.passwords.values()]
        hashed = bcrypt.hashpw(b"", bcrypt.gensalt(max(costs))) if costs else b""
        object.__setattr__(self, "_nobody", hashed)

    def person(self, request: gr.Request) -> Person:
        """Who sent a request to a handler: the guard decided it on the outer connection."""
        if request.request is not None:
            caller = caller_of(request)
            return Person(caller.name, caller.role)
        name = canonical_name(request.username)
        return Person(name, self.role(name))

    def role(self, name: str | None) -> Role | None:
        """What a vouched name may do; None for nothing."""
        if self.way == "local" and name is not None:
            return "admin"
        if self.way == "htpasswd" and name is None:
            return None  # everybody signs in
        return self.people.role(name)

    def caller(self, scope: Mapping[str, Any], headers: Headers) -> Caller:
        """Who sends a request, from its connection, its cookies and its headers."""
        client = scope.get("client")
        peer = client[0] if client else ""
        cookies = cookie_parser(headers.get("cookie", ""))
        name = canonical_name(self._vouched(scope, headers, cookies, peer))
        return Caller(
            name=name,
            role=self.role(name),
            address=person_address(peer, headers, self.proxies),
            peer=peer,
            browser=cookies.get(VISITOR_COOKIE, "")[:100],
            lasting=cookies.get(LASTING_COOKIE, "")[:100],
        )

    def _vouched(
        self, scope: Mapping[str, Any], headers: Headers, cookies: Mapping[str, str], peer: str
    ) -> str | None:
        if self.way == "local":
            scheme, _, secret = headers.get("authorization", "").partition(" ")
            bearer = scheme.lower() == "bearer" and self.key.is_secret(secret.strip())
            if bearer or self.key.is_cookie(cookies.get(self.key_cookie(scope), "")):
                return account_name()
        elif self.way == "htpasswd":
            return self.signed_in.name(cookies.get(SIGN_IN_COOKIE, ""))
        elif self.way == "header":
            return headers.get(self.header) if within(peer, self.proxies) else None
        elif self.way == "huggingface":
            return _oauth_name(_space_session(cookies.get("session", "")))
        return None

    @staticmethod
    def key_cookie(scope: Mapping[str, Any]) -> str:
        """Name of the admin's cookie; browsers send a host's cookies to all of its ports."""
        server = scope.get("server") or ("", 0)
        return f"rarl-admin-{server[1]}"

    def may_enter(self, name: str, password: str) -> bool:
        """Whether this is the name's password. Takes as long for names that do not exist."""
        known = self.passwords.get(canonical_name(name) or "")
        right = bcrypt.checkpw(password.encode()[:_PASSWORD_BYTES], known or self._nobody)
        return right and known is not None

    def launch_options(self) -> dict[str, Any]:
        """What `gr.Blocks.launch` must be told: names come from the guard, and from nowhere else.

        Gradio lets in everybody but None; whom the site lets in, the guard has decided before.
        """

        def name(request: Request) -> str:
            return caller_of(request).name or ""

        return {"auth_dependency": name}


def read_sign_in(environment: Mapping[str, str] = os.environ) -> SignIn:
    """The sign-in that the settings describe.

    Raises:
        ReviewError: a setting or a file that it names cannot be used.
    """
    settings = read_settings(environment)
    listed = settings.people or store_folder(environment) / "people.yaml"
    people = read_people(listed) if settings.people or listed.is_file() else People()
    proxies = settings.trusted_proxies
    if not proxies and environment.get("SPACE_ID"):
        proxies = _PRIVATE  # a Space is reached through Hugging Face's own proxies alone
    setting = settings.sign_in
    way, _, rest = setting.partition(":")
    if not setting:
        key = AdminKey(store_folder(environment))
        return SignIn(people=people, proxies=proxies, key=key)
    if way == "htpasswd" and rest:
        passwords = _passwords(Path(rest).expanduser())
        return SignIn("htpasswd", people, passwords=passwords, proxies=proxies)
    if setting == "huggingface":
        if not environment.get("OAUTH_CLIENT_ID") or not environment.get("SPACE_ID"):
            # Elsewhere Gradio would sign everybody in under the name of the machine's own token.
            raise ReviewError(
                "RARL_SIGN_IN=huggingface works in a Space alone: add `hf_oauth: true` to its "
                "README.md, or sign people in another way."
            )
        return SignIn("huggingface", people, proxies=proxies)
    if way == "header" and rest.strip():
        return SignIn("header", people, header=rest.strip(), proxies=proxies or _LOOPBACK)
    raise ReviewError(
        "RARL_SIGN_IN must be htpasswd:FILE, huggingface or header:NAME; correct or unset it and "
        "start again."
    )


def _passwords(path: Path) -> dict[str, bytes]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ReviewError(
            f"The file of passwords ({path.name}) cannot be read; correct RARL_SIGN_IN and start "
            "again."
        ) from None
    passwords: dict[str, bytes] = {}
    for line in lines:
        name, _, hashed = line.strip().partition(":")
        person = canonical_name(name)
        if person is None or name.startswith("#"):
            continue
        if not hashed.startswith(("$2a$", "$2b$", "$2y$")) or len(hashed) != 60:
            raise ReviewError(
                f"{path.name} holds a password that is not hashed with bcrypt; write it with "
                "`htpasswd -B` and start again."
            )
        if person in passwords:
            raise ReviewError(f"{path.name} names one person twice; keep one of the lines.")
        passwords[person] = hashed.encode()
    if not passwords:
        raise ReviewError(f"{path.name} names nobody; add people with `htpasswd -B`.")
    return passwords


def _signing_key(folder: Path | None) -> bytes:
    fresh = secrets.token_bytes(32)
    if folder is None:
        return fresh
    file = folder / "admin.key"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(fresh)
        return fresh
    except FileExistsError:
        pass
    except OSError:
        return fresh  # a folder that cannot be written: cookies end with this process
    try:
        file.chmod(0o600)
        stored = file.read_bytes()
    except OSError:
        return fresh
    return stored if len(stored) == len(fresh) else fresh


def _space_session(cookie: str) -> Mapping[str, Any]:
    """The session that Gradio's OAuth keeps in a signed cookie, or an empty one."""
    if not cookie:
        return {}
    # It comes with gradio[oauth], which a Space has.
    import itsdangerous

    secret = space_cookie_secret(os.environ.get("OAUTH_CLIENT_SECRET") or "")
    signer = itsdangerous.TimestampSigner(secret)
    try:
        content = json.loads(base64.b64decode(signer.unsign(cookie, max_age=14 * 24 * 3600)))
    except (itsdangerous.BadSignature, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _oauth_name(session: Mapping[str, Any]) -> str:
    info = session.get("oauth_info") or {}
    ends = info.get("expires_at")
    if ends is not None and ends < time.time():
        return ""
    return str(info.get("userinfo", {}).get("preferred_username") or "")
