"""Who is who. Names come from whoever signs people in; the site's list gives them their role.

There are no accounts here. RARL_SIGN_IN says who vouches for a name:

    (unset)             whoever sits at this machine is the admin, everybody else a visitor
    htpasswd:FILE       Gradio's own login, against a file that `htpasswd -B` writes
    huggingface         Hugging Face OAuth, in a Space with `hf_oauth: true`
    header:NAME         a header that a proxy sets, believed from RARL_TRUSTED_PROXIES alone

RARL_PEOPLE names the list, see `rarl.review.roles.read_people`; `people.yaml` in RARL_HOME where it
is unset. Without a list, a name that was vouched for is a visitor.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Literal

import bcrypt
import gradio as gr
from starlette.requests import Request

from rarl.errors import ReviewError
from rarl.review.roles import People, Role, account_name, read_people
from rarl.review.store import store_folder

Way = Literal["local", "htpasswd", "huggingface", "header"]
Network = IPv4Network | IPv6Network

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
# Somebody to compare with where there is no such name: a refusal must take as long.
_NOBODY = bcrypt.hashpw(b"", bcrypt.gensalt(10))


@dataclass(frozen=True, slots=True)
class Person:
    """Who is behind a request.

    Attributes:
        name: as vouched for, or None.
        role: what the site's list gives that name; None where the person may do nothing.
    """

    name: str | None
    role: Role | None


@dataclass(frozen=True, slots=True)
class SignIn:
    """How names are vouched for, and what they may do.

    Attributes:
        way: who vouches.
        people: the site's list.
        passwords: name to bcrypt hash, for `htpasswd`.
        header: name of the header, for `header`.
        proxies: where that header is believed from.
    """

    way: Way = "local"
    people: People = field(default_factory=People)
    passwords: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    header: str = ""
    proxies: tuple[Network, ...] = _LOOPBACK

    def person(self, request: gr.Request) -> Person:
        """Who sent a request to a handler: Gradio has asked `name` or checked a password."""
        name = request.username or None
        if self.way == "local" and name is not None:
            return Person(name, "admin")
        return Person(name, self.people.role(name))

    def name(self, request: Request) -> str | None:
        """The name that is vouched for; "" for nobody's, None where the site wants a name.

        For Gradio's `auth_dependency`, which lets in everybody but None.
        """
        found = ""
        if self.way == "local":
            found = account_name() if _is_local(request) else ""
        elif self.way == "header":
            if _within(request, self.proxies):
                found = request.headers.get(self.header, "").strip()
        elif self.way == "huggingface":
            # The page must open before anybody can sign in on it.
            return _oauth_name(request.session)
        return found if found or self.people.unnamed is not None else None

    def may_enter(self, name: str, password: str) -> bool:
        """Whether this is the name's password, for Gradio's own login."""
        known = self.passwords.get(name)
        right = bcrypt.checkpw(password.encode()[:72], known or _NOBODY)
        return right and known is not None

    def launch_options(self) -> dict[str, Any]:
        """What `gr.Blocks.launch` must be told."""
        if self.way == "htpasswd":
            return {"auth": self.may_enter, "auth_message": "Sign in to RARL."}
        if self.way == "header":
            # Else uvicorn puts the visitor's address in place of the proxy's, which is checked.
            os.environ["FORWARDED_ALLOW_IPS"] = ""
        return {"auth_dependency": self.name}


def read_sign_in(environment: Mapping[str, str] = os.environ) -> SignIn:
    """The sign-in that the settings describe.

    Raises:
        ReviewError: a setting or a file that it names cannot be used.
    """
    named = environment.get("RARL_PEOPLE")
    listed = Path(named).expanduser() if named else store_folder(environment) / "people.yaml"
    people = read_people(listed) if named or listed.is_file() else People()
    said = environment.get("RARL_SIGN_IN", "").strip()
    way, _, rest = said.partition(":")
    if not said:
        return SignIn(people=people)
    if way == "htpasswd" and rest:
        return SignIn("htpasswd", people, passwords=_passwords(Path(rest).expanduser()))
    if said == "huggingface":
        if not environment.get("OAUTH_CLIENT_ID") or not environment.get("SPACE_ID"):
            # Elsewhere Gradio would sign everybody in under the name of the machine's own token.
            raise ReviewError(
                "RARL_SIGN_IN=huggingface works in a Space alone: add `hf_oauth: true` to its "
                "README.md, or sign people in another way."
            )
        return SignIn("huggingface", people)
    if way == "header" and rest.strip():
        proxies = _networks(environment.get("RARL_TRUSTED_PROXIES", ""))
        return SignIn("header", people, header=rest.strip(), proxies=proxies)
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
    found = {}
    for line in lines:
        name, _, hashed = line.strip().partition(":")
        if not name or name.startswith("#"):
            continue
        if not hashed.startswith(("$2a$", "$2b$", "$2y$")) or len(hashed) != 60:
            raise ReviewError(
                f"{path.name} holds a password that is not hashed with bcrypt; write it with "
                "`htpasswd -B` and start again."
            )
        found[name] = hashed.encode()
    if not found:
        raise ReviewError(f"{path.name} names nobody; add people with `htpasswd -B`.")
    return found


def _networks(said: str) -> tuple[Network, ...]:
    try:
        found = tuple(ip_network(word.strip()) for word in said.split(",") if word.strip())
    except ValueError:
        raise ReviewError(
            "RARL_TRUSTED_PROXIES must list addresses or networks, such as 10.0.0.0/8, with commas "
            "between; correct it and start again."
        ) from None
    return found or _LOOPBACK


def _within(request: Request, networks: tuple[Network, ...]) -> bool:
    try:
        address = ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    return any(address in network for network in networks)


def _is_local(request: Request) -> bool:
    """Whether a browser on this machine asked, and neither a proxy nor a tunnel.

    The name in the address is looked at too: a page of another host must not reach in by a name
    that it makes resolve to this machine.
    """
    return (
        _within(request, _LOOPBACK)
        and request.url.hostname in _LOCAL_NAMES
        and not any(header in request.headers for header in _FORWARDED)
    )


def _oauth_name(session: Mapping[str, Any]) -> str:
    info = session.get("oauth_info") or {}
    ends = info.get("expires_at")
    if ends is not None and ends < time.time():
        return ""
    return str(info.get("userinfo", {}).get("preferred_username") or "")
