"""The allow-list of routes. All other addresses are refused.

Gradio serves more than this app needs: files by path, other hosts' files by address, a proxy, run
histories, a monitor. The list says what the page, the programming interface and a browser use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Body = Literal["none", "json", "form", "upload", "mcp"]

_NAME = r"[A-Za-z0-9_-]{1,100}"
# Names of sessions, events and uploads, as Gradio's clients make them.
ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, slots=True)
class Door:
    """One address, or one family of addresses, that is answered.

    Attributes:
        methods: HTTP methods, upper case.
        pattern: of the whole path, without the prefix that the app lives under.
        body: what a POST carries.
        open: whether nobody has to be known: sign-in, health, and files of the page itself.
        navigable: whether a link or a form of another site may lead here; it changes nothing and
            what comes back is shown to the person alone.
        kept: whether browsers may keep the answer.
    """

    methods: frozenset[str]
    pattern: re.Pattern[str]
    body: Body = "none"
    open: bool = False
    navigable: bool = False
    kept: bool = False


def _get(pattern: str, *, open: bool = False, navigable: bool = False, kept: bool = False) -> Door:
    methods = frozenset({"GET", "HEAD"})
    return Door(methods, re.compile(pattern), open=open, navigable=navigable, kept=kept)


def _post(pattern: str, body: Body, *, open: bool = False) -> Door:
    return Door(frozenset({"POST"}), re.compile(pattern), body, open=open)


API = "/gradio_api"
DOORS: tuple[Door, ...] = (
    # The page and its parts.
    _get("/", navigable=True),
    _get("/config"),
    _get(r"/(assets|static)/[A-Za-z0-9_.@+/-]+", open=True, navigable=True, kept=True),
    _get(rf"({API})?/theme\.css", open=True, navigable=True, kept=True),
    _get(r"/(favicon\.ico|manifest\.json|robots\.txt)", open=True, navigable=True),
    # Ours.
    _get(r"/modules/[0-9a-f]{16}/([a-z]+/)?[a-z_]+\.js", open=True, navigable=True, kept=True),
    _get("/healthz", open=True, navigable=True),
    _get("/login", open=True, navigable=True),
    _post("/login", "form", open=True),
    _post("/logout", "form", open=True),
    _get("/scan/frame"),
    _post("/scan/measure", "json"),
    _get(rf"/review/export/{_NAME}"),
    # Sign-in by Hugging Face, which exists in a Space alone.
    _get("/login/(huggingface|callback)", open=True, navigable=True),
    # The programming interface, which the page uses too.
    _get(f"{API}/(info|openapi\\.json|app_id|login_check)"),
    _get(f"{API}/startup-events", open=True),
    _get(f"{API}/heartbeat/(?P<session_hash>{_NAME})"),
    _get(f"{API}/queue/data"),
    _get(f"{API}/upload_progress"),
    _get(f"{API}/call/(v2/)?{_NAME}/(?P<event_id>{_NAME})"),
    _post(f"{API}/call/(v2/)?{_NAME}", "json"),
    _post(f"{API}/run/{_NAME}", "json"),
    _post(f"{API}/(queue/join|cancel|reset)", "json"),
    _post(f"{API}/upload", "upload"),
    _post(f"{API}/mcp", "mcp"),
)


def find_door(method: str, path: str) -> tuple[Door, Mapping[str, str]] | Literal["method"] | None:
    """The door of a request, with the names in its path.

    Args:
        method: HTTP method.
        path: from `route_path`.

    Returns:
        None where the address is not answered, "method" where it is by another method.
    """
    known = False
    for door in DOORS:
        match = door.pattern.fullmatch(path)
        if match is None:
            continue
        if method in door.methods:
            return door, match.groupdict()
        known = True
    return "method" if known else None


def route_path(path: str, prefix: str) -> str | None:
    """The path that the app's routes see, or None where it is not in its plain form.

    Slashes in a row, dots, escapes that are left after one decoding, backslashes and control
    characters have no use in an address of this app; a second reader of the same bytes might see
    another address in them.

    Args:
        path: decoded, as the server gives it.
        prefix: under which the app lives, such as "/rarl"; "" for none.

    >>> route_path("/rarl/config", "/rarl"), route_path("/config/", "/rarl"), route_path("//a", "")
    ('/config', '/config', None)
    """
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        path = path[len(prefix) :] or "/"
    if not path.startswith("/") or not path.isascii() or not path.isprintable():
        return None
    segments = path.split("/")[1:]
    if len(segments) > 1 and segments[-1] == "":
        segments.pop()
    if segments != [""] and not all(segments):
        return None
    if {".", ".."} & set(segments) or any(sign in path for sign in "%\\;?#"):
        return None
    return "/" + "/".join(segments)
