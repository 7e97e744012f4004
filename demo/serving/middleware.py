"""Middleware that authorises each request and sets the security headers of each response.

The guard stands outside of everything that Gradio serves, so that nothing answers before it: not
Gradio's own CORS rules, and no route under another spelling. What it has judged (path, headers,
caller, body) is what it hands on, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.authentication import KEY_PARAMETER, LASTING_COOKIE, VISITOR_COOKIE, SignIn
from demo.services.disk import Disk
from demo.services.uploads import Uploads, max_upload_bytes
from demo.serving.caller import Caller, put_caller, within
from demo.serving.owners import Owners
from demo.serving.routes import ID, Door, find_door, route_path
from demo.templating import render_template
from rarl.errors import ScanError
from rarl.review.roles import may
from rarl.settings import read_settings

log = logging.getLogger(__name__)

# A form's boundaries and names come on top of its file.
_AROUND_FILE_BYTES = 1_000_000
_MESSAGE_BYTES = 4_000_000
_FORM_BYTES = 10_000
_FREE_BYTES = 256_000_000
# A sender that pauses for longer has gone; nobody who sends slower than this is waited for.
_PAUSE_SECONDS = 20.0
_BODY_SECONDS = 60.0
_BYTES_PER_SECOND = 32_000
_SWEEP_SECONDS = 60.0

# As `secrets.token_urlsafe(24)` writes it: what a browser sends back is set again in a header.
_COOKIE_WORD = re.compile(r"[A-Za-z0-9_-]{32}")
# Headers that say who or where somebody is: a request that has one of them twice is read one way
# here and another way elsewhere.
_SINGLE = ("host", "origin", "authorization", "content-type", "content-length", "sec-fetch-site",
           "sec-fetch-mode", "x-forwarded-host", "x-forwarded-proto", "cookie")  # fmt: skip
# What only a trusted proxy may say.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
              "x-forwarded-prefix", "x-forwarded-port", "x-forwarded-server", "x-real-ip",
              "x-gradio-user")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests that change something one person may send.

    People are told apart by name, and those without a name by address. Many people may share one
    address, and a series of slices is as many uploads.

    Attributes:
        burst: at once.
        per_second: in the long run.
        shares: how many people are remembered.
        at_once: requests of one person that may be answered at the same time.
    """

    burst: float = 6000
    per_second: float = 60
    shares: int = 10_000
    at_once: int = 400


_NO_SPACE = "The server is out of disk space. Contact your administrator."


class RefusedError(Exception):
    """A request that is turned away, with the answer to it."""

    def __init__(self, sentence: str, status: int, headers: Mapping[str, str] | None = None):
        super().__init__(sentence)
        self.response: Response = PlainTextResponse(sentence, status, headers)


class AnsweredError(Exception):
    """A request that is answered here."""

    def __init__(self, response: Response):
        super().__init__()
        self.response = response


def embedding_origins(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Origins whose pages may show this one in a frame, besides this host's own.

    RARL_EMBED_ORIGINS lists them, with commas between; huggingface.co on a Space (`SPACE_ID`).
    """
    listed = tuple(origin.rstrip("/") for origin in read_settings(environment).embed_origins)
    if not listed and environment.get("SPACE_ID"):
        return ("https://huggingface.co",)
    return tuple(word for word in listed if word.startswith("https://"))


def content_security_policy(ancestors: tuple[str, ...] = ()) -> str:
    """What a browser lets the page do.

    Everything comes from this host alone. Gradio starts from inline scripts and builds components
    from text, so that neither can be forbidden: what people and models write is kept from becoming
    markup where it is rendered.

    Args:
        ancestors: origins whose pages may show this one in a frame; only this host's own if none.
    """
    return "; ".join(
        [
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            f"frame-ancestors {' '.join(ancestors) or chr(39) + 'self' + chr(39)}",
        ]
    )


class Guard:
    """ASGI application that lets through what is needed, and adds the headers.

    Args:
        app: what is guarded.
        sign_in: who is who.
        uploads: whose files are whose.
        cache: the folder that uploads are written into.
        prefix: the path that the app lives under, such as "/rarl"; "" for none.
        rate: of requests, per person.
        disk: what uploads may write.
        visitor_seconds: how long a browser keeps the visitor's cookie; None until it is closed.
        lasting_seconds: how long it keeps the key to named sessions; 0 where none are saved.
    """

    def __init__(
        self,
        app: ASGIApp,
        sign_in: SignIn,
        uploads: Uploads,
        cache: Path,
        prefix: str = "",
        rate: Rate | None = None,
        disk: Disk | None = None,
        visitor_seconds: int | None = None,
        lasting_seconds: int = 0,
    ) -> None:
        self._app = app
        self._sign_in = sign_in
        self._uploads = uploads
        self._cache = cache.resolve()
        self._prefix = prefix.rstrip("/")
        self._rate = rate or Rate()
        self._disk = disk or Disk()
        self._visitor_seconds = visitor_seconds
        self._lasting_seconds = lasting_seconds
        self._owners = Owners()
        self._upload_bytes = max_upload_bytes() + _AROUND_FILE_BYTES
        self._embedding = embedding_origins()
        self._policy = content_security_policy(self._embedding)
        # Share to what is left of its burst, and when that was reckoned; oldest first.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._answering: Counter[str] = Counter()
        self._swept = monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        self._sweep()
        reply = _Reply(send, self._policy)
        try:
            inner, receive = await self._admitted(scope, receive, reply)
        except (RefusedError, AnsweredError) as refused:
            await refused.response(scope, receive, reply.send)
            return
        share = inner["rarl.caller"].share
        self._answering[share] += 1
        try:
            await self._app(inner, receive, reply.send)
        except ClientDisconnect:
            log.info("broken off")
        finally:
            self._disk.release(reply.reserved)
            self._answering[share] -= 1
            if not self._answering[share]:
                del self._answering[share]

    async def _admitted(
        self, scope: Scope, receive: Receive, reply: _Reply
    ) -> tuple[Scope, Receive]:
        """The request as the app shall see it.

        Raises:
            RefusedError: it is turned away.
            AnsweredError: it is answered here.
        """
        headers = Headers(scope=scope)
        path = route_path(scope["path"], self._prefix)
        entry = find_door(scope["method"], path) if path is not None else None
        if entry is None:
            raise RefusedError("There is nothing here.", 404)
        if entry == "method":
            raise RefusedError("This address is not asked in this way.", 405)
        assert path is not None
        door, named = entry
        reply.kept = door.kept
        self._check_single(headers)
        caller = self._sign_in.caller(scope, headers)
        trusted = within(caller.peer, self._sign_in.proxies)
        secure = scope.get("scheme") == "https"
        secure = secure or (trusted and headers.get("x-forwarded-proto", "") == "https")
        embedded = bool(self._embedding)  # browsers take such cookies over TLS alone
        reply.cookies = Cookies(secure or embedded, embedded, self._prefix)
        self._check_origin(door, scope["method"], headers, trusted)
        query = _query(scope)
        if path == "/" and self._prefix and scope["path"] == self._prefix:
            # Relative addresses on the page start from here.
            raise AnsweredError(Response(status_code=308, headers={"Location": f"{self._prefix}/"}))
        if path == "/":
            self._check_key(scope, query, caller, reply)
        self._check_role(door, path, caller)
        self._check_rate(door, caller)
        if path in ("/", "/config") and not caller.browser:
            word = secrets.token_urlsafe(24)
            reply.cookies.set(VISITOR_COOKIE, word, self._visitor_seconds)
        if path == "/" and self._lasting_seconds and may(caller.role, "save"):
            # Each visit prolongs it.
            known = _COOKIE_WORD.fullmatch(caller.lasting) is not None
            word = caller.lasting if known else secrets.token_urlsafe(24)
            reply.cookies.set(LASTING_COOKIE, word, self._lasting_seconds)
        asked_for = (query.get(key) for key in ("session_hash", "upload_id"))
        for owned in (*named.values(), *asked_for):
            if owned is not None:
                self._check_owner(owned, caller)
        changed = MutableHeaders(raw=list(headers.raw))
        if not trusted:
            for name in _FORWARDED:
                del changed[name]
        if door.body != "none" and scope["method"] == "POST":
            receive = await self._body(door, path, headers, changed, caller, receive, reply)
        plain = quote(path, safe="/@+=,:~!$&'()*")
        inner = {
            **scope,
            "path": path,
            "raw_path": plain.encode(),
            "headers": changed.raw,
            "client": (caller.address, 0),
            "scheme": "https" if secure else scope.get("scheme", "http"),
        }
        put_caller(inner, caller)
        inner["rarl.cookies"] = reply.cookies
        return inner, receive

    # --- Who, and from where ------------------------------------------------------------------

    def _check_single(self, headers: Headers) -> None:
        names = (*_SINGLE, self._sign_in.header.lower()) if self._sign_in.header else _SINGLE
        if any(len(headers.getlist(name)) > 1 for name in names):
            raise RefusedError("A header of this request is there twice.", 400)

    def _check_origin(self, door: Door, method: str, headers: Headers, trusted: bool) -> None:
        """Let in pages of this host alone, and programs, which are no pages.

        Browsers say where a request comes from: `Sec-Fetch-Site` over HTTPS and on this machine,
        `Origin` also elsewhere. No script can set either.
        """
        site = headers.get("sec-fetch-site")
        origin = headers.get("origin")
        if site is not None:
            foreign = site not in ("same-origin", "none")
        elif origin is not None:
            forwarded = headers.get("x-forwarded-host") if trusted else None
            hosts = {headers.get("host", ""), (forwarded or "").split(",")[0].strip()} - {""}
            foreign = urlsplit(origin).netloc.lower() not in {host.lower() for host in hosts}
        else:
            return
        followed = method != "POST" and headers.get("sec-fetch-mode", "navigate") == "navigate"
        if foreign and not (door.navigable and followed and (origin is None or site is not None)):
            raise RefusedError("Requests of other sites are not answered.", 403)

    def _check_key(
        self, scope: Scope, query: Mapping[str, str], caller: Caller, reply: _Reply
    ) -> None:
        """Take the key that the start has printed, and keep it out of the address from then on."""
        offered = query.get(KEY_PARAMETER)
        if offered is None or self._sign_in.way != "local":
            return
        if self._sign_in.key.is_secret(offered):
            reply.cookies.set(
                self._sign_in.key_cookie(scope), self._sign_in.key.cookie(), 30 * 24 * 3600
            )
        elif caller.name is None:
            page = render_template(
                "gate.html",
                title="This key is of an earlier start",
                words="Open the address that the app has printed when it started last, or go on "
                "without the rights of an admin: leave out what follows the question mark.",
                trouble="",
                form="",
            )
            raise AnsweredError(HTMLResponse(page, 403))
        raise AnsweredError(Response(status_code=303, headers={"Location": "./"}))

    def _check_role(self, door: Door, path: str, caller: Caller) -> None:
        """Refuse everything but signing in to whoever may do nothing: pages, API, MCP and files."""
        if door.open or caller.role is not None:
            return
        signs_in = caller.name is None and self._sign_in.way in ("htpasswd", "huggingface")
        if path == "/" and signs_in:
            raise AnsweredError(Response(status_code=303, headers={"Location": "login"}))
        if path == "/":
            page = render_template(
                "gate.html",
                title="You are not on this site's list",
                words="Ask an administrator of this site for a role.",
                trouble="",
                form="sign-out" if self._sign_in.way == "htpasswd" and caller.name else "",
            )
            raise AnsweredError(HTMLResponse(page, 401 if caller.name is None else 403))
        sentence = "Sign in first." if caller.name is None else "You are not on this site's list."
        raise AnsweredError(JSONResponse({"detail": sentence}, 401 if caller.name is None else 403))

    def _check_rate(self, door: Door, caller: Caller) -> None:
        wait = {"Retry-After": "60"}
        if self._answering[caller.share] >= self._rate.at_once:
            raise RefusedError("Too many requests of yours at once; wait a minute.", 429, wait)
        if door.body != "none" and not self._in_time(caller.share):
            raise RefusedError("Too many requests of yours; wait a minute.", 429, wait)

    def _in_time(self, share: str) -> bool:
        now = monotonic()
        left, then = self._left.pop(share, (self._rate.burst, now))
        left = min(self._rate.burst, left + (now - then) * self._rate.per_second)
        self._left[share] = (max(0.0, left - 1), now)
        while len(self._left) > self._rate.shares:
            self._left.popitem(last=False)
        return left >= 1

    def _check_owner(self, word: object, caller: Caller) -> None:
        if not isinstance(word, str) or not ID.fullmatch(word):
            raise RefusedError("This is the name of no session.", 400)
        if not self._owners.claim(word, caller):
            raise RefusedError("This session is somebody else's; reload the page.", 403)

    # --- Bodies -------------------------------------------------------------------------------

    async def _body(
        self,
        door: Door,
        path: str,
        headers: Headers,
        changed: MutableHeaders,
        caller: Caller,
        receive: Receive,
        reply: _Reply,
    ) -> Receive:
        """Check the size, the pace and, of a message, the content; returns what the app reads."""
        limit = {
            "upload": self._upload_bytes,
            "form": _FORM_BYTES,
            "mcp": self._upload_bytes * 4 // 3,
        }.get(door.body, _MESSAGE_BYTES)
        length = _length(headers)
        if length is not None and length > limit:
            raise RefusedError(_too_large(limit), 413)
        timed = _timed(receive, length or limit)
        if door.body == "upload":
            if length is None:
                # Every browser says so, and the server holds the sender to what was declared.
                raise RefusedError("Content-Length required.", 411)
            if not self._disk.reserve(self._cache, length, _FREE_BYTES):
                raise RefusedError(
                    "The server is out of disk space. Contact your administrator.", 507
                )
            reply.reserved = length
            del changed["accept-encoding"]
            reply.rewrite = lambda content: self._uploaded(content, caller)
            return timed
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        wanted = {
            "json": ("application/json",),
            "mcp": ("application/json",),
            "form": ("application/x-www-form-urlencoded", "multipart/form-data"),
        }[door.body]
        if kind not in wanted and not (door.body == "form" and length in (None, 0)):
            raise RefusedError(f"Send this as {wanted[0]}.", 415)
        body = await _whole(timed, limit)
        if door.body == "json":
            message = self._judged(body, caller)
            body = json.dumps(message).encode()
            del changed["accept-encoding"]
            reply.rewrite = lambda content: self._joined(content, caller)
        del changed["transfer-encoding"]
        changed["content-length"] = str(len(body))
        return _replayed({"type": "http.request", "body": body, "more_body": False}, receive)

    def _judged(self, body: bytes, caller: Caller) -> Any:
        """A message with its files in their places.

        It is read first and judged then, whatever way its letters are escaped; the app gets what
        was judged, written anew.
        """
        try:
            message = json.loads(body, parse_constant=_no_number)
            if not isinstance(message, dict):
                raise ValueError
            for word in ("session_hash", "event_id"):
                if message.get(word) is not None:
                    self._check_owner(message[word], caller)
            return self._with_files(message, caller)
        except (ValueError, RecursionError):
            raise RefusedError("This is no message that can be read.", 400) from None

    def _with_files(self, value: Any, caller: Caller) -> Any:
        if isinstance(value, list):
            return [self._with_files(item, caller) for item in value]
        if not isinstance(value, dict):
            return value
        meta = value.get("meta")
        typed = isinstance(meta, dict) and meta.get("_type") == "gradio.FileData"
        path = value.get("path")
        if not typed and not isinstance(path, str):
            return {key: self._with_files(item, caller) for key, item in value.items()}
        if not isinstance(path, str) or ":" in path:
            raise RefusedError("Upload the file itself; addresses are not followed.", 400)
        name = path if self._uploads.find(path, caller) else self._uploads.name_of(path, caller)
        file = self._uploads.find(name or "", caller)
        if file is None:
            raise RefusedError("This file is not one that you have uploaded; upload it again.", 400)
        kept = {key: value[key] for key in ("orig_name", "size", "mime_type") if key in value}
        return {**kept, "path": str(file), "meta": {"_type": "gradio.FileData"}}

    def _uploaded(self, content: Any, caller: Caller) -> Any:
        """The names that the sender of uploads gets, in place of paths of this machine."""
        try:
            return [self._uploads.admit(path, caller) for path in content]
        except ScanError:
            return []

    def _joined(self, content: Any, caller: Caller) -> Any:
        """Note whose event a new one is."""
        word = content.get("event_id") if isinstance(content, dict) else None
        if isinstance(word, str):
            self._owners.claim(word, caller)
        return content

    def _sweep(self) -> None:
        if monotonic() - self._swept > _SWEEP_SECONDS:
            self._swept = monotonic()
            self._uploads.sweep()


class Cookies:
    """The cookies that an answer sets.

    Args:
        secure: whether they are sent over TLS alone.
        embedded: whether the page may stand in a frame of another site; then each of these sites
            has cookies of its own.
        prefix: the path that the app lives under.
    """

    def __init__(self, secure: bool, embedded: bool, prefix: str) -> None:
        self._more = "; Secure" if secure else ""
        self._more += "; SameSite=None; Partitioned" if embedded else "; SameSite=Lax"
        self._path = prefix or "/"
        self.lines: list[str] = []

    def set(self, name: str, value: str, seconds: int | None = None) -> None:
        """Set one that scripts cannot read; until the browser closes where no time is given."""
        age = "" if seconds is None else f"; Max-Age={seconds}"
        self.lines.append(f"{name}={value}; Path={self._path}; HttpOnly{age}{self._more}")

    def restricted(self, line: str) -> str:
        """One that the app behind has set, with the same restrictions."""
        parts = [part.strip() for part in line.split(";")]
        ours = ("samesite", "secure", "partitioned", "httponly")
        kept = [part for part in parts if part.partition("=")[0].lower() not in ours]
        return "; ".join([*kept, "HttpOnly"]) + self._more


class _Reply:
    """Sends an answer with the headers that every answer has.

    Attributes:
        kept: whether browsers may keep it.
        cookies: what is set with it.
        rewrite: changes the content of a JSON answer, or None.
        reserved: bytes of the disk that were promised to the request.
    """

    def __init__(self, send: Send, policy: str) -> None:
        self._send = send
        self._policy = policy
        self._start: Message | None = None
        self._body = bytearray()
        self.kept = False
        self.cookies = Cookies(False, False, "")
        self.rewrite: Callable[[Any], Any] | None = None
        self.reserved = 0

    async def send(self, message: Message) -> None:
        """Pass one message of the answer on."""
        if message["type"] == "http.response.start":
            message = self._headed(message)
            if self.rewrite is not None and message["status"] == 200:
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body"):
                return
            body = self._rewritten(bytes(self._body))
            MutableHeaders(scope=self._start)["content-length"] = str(len(body))
            await self._send(self._start)
            self._start = None
            message = {"type": "http.response.body", "body": body, "more_body": False}
        await self._send(message)

    def _rewritten(self, body: bytes) -> bytes:
        assert self.rewrite is not None
        try:
            content = json.loads(body)
        except ValueError:
            return body
        return json.dumps(self.rewrite(content)).encode()

    def _headed(self, message: Message) -> Message:
        # Nobody else's page may read an answer: no CORS, whatever the app behind says.
        raw = [
            (name, value)
            for name, value in message.get("headers", [])
            if not name.lower().startswith(b"access-control-")
            and name.lower() not in (b"set-cookie", b"server")
        ]
        raw += [
            (b"set-cookie", self.cookies.restricted(value.decode("latin-1")).encode("latin-1"))
            for name, value in message.get("headers", [])
            if name.lower() == b"set-cookie"
        ]
        raw += [(b"set-cookie", line.encode("latin-1")) for line in self.cookies.lines]
        message = {**message, "headers": raw}
        headers = MutableHeaders(scope=message)
        headers["Content-Security-Policy"] = self._policy
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
        if not self.kept:
            headers["Cache-Control"] = "no-store"
        return message


def _query(scope: Scope) -> dict[str, str]:
    """The query, each name once: twice is read one way here and another way elsewhere."""
    pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    query = dict(pairs)
    if len(query) != len(pairs):
        raise RefusedError("A part of this address is there twice.", 400)
    return query


def _length(headers: Headers) -> int | None:
    declared = headers.get("content-length")
    if declared is None:
        return None
    if not declared.isascii() or not declared.isdecimal():
        raise RefusedError("The length of this message is no number.", 400)
    return int(declared)


def _too_large(limit: int) -> str:
    most = f"{limit // 1_000_000} MB" if limit >= 1_000_000 else f"{limit // 1000} kB"
    return f"More than {most} are not taken."


def _no_number(word: str) -> float:
    raise ValueError(word)


async def _whole(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RefusedError("The message broke off or came too slowly.", 408)
        body += message.get("body", b"")
        if len(body) > limit:
            raise RefusedError(_too_large(limit), 413)
        if not message.get("more_body"):
            return bytes(body)


def _timed(receive: Receive, length: int) -> Receive:
    """A channel that takes a sender for gone whose body comes too slowly.

    Args:
        receive: the channel.
        length: bytes of the body, or the most that there may be.
    """
    until = monotonic() + _BODY_SECONDS + length / _BYTES_PER_SECOND
    complete = False

    async def give() -> Message:
        nonlocal complete
        if complete:  # what is left is the end of the connection, for which an answer waits
            return await receive()
        seconds = min(_PAUSE_SECONDS, max(0.01, until - monotonic()))
        try:
            message = await asyncio.wait_for(receive(), seconds)
        except TimeoutError:
            return {"type": "http.disconnect"}
        complete = message["type"] != "http.request" or not message.get("more_body")
        return message

    return give


def _replayed(first: Message, receive: Receive) -> Receive:
    """A channel that gives a message again, then what comes after it."""
    waiting = [first]

    async def give() -> Message:
        return waiting.pop() if waiting else await receive()

    return give
