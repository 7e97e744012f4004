"""Attacks on a running app, one function each, for the tests and for `scripts/attack`.

An attack gets a `Target` and returns None where the app held, or a sentence that says what it got.
It raises `NotTried` where the target is not set up for it. Attacks are bounded (no more than a few
hundred requests, a few seconds) and talk to the target alone, over loopback.

To add one: write a function here or in a module beside this one, and put `@attack(row, "title")`
before it; `row` is the number of the hole in the threat model (SECURITY.md).
"""

from __future__ import annotations

import io
import json
import math
import random
import secrets
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import httpx
from PIL import Image

EVIL = "https://evil.example"
# Gradio takes addresses of these networks for public ones; nobody is there.
UNROUTED = ("100.64.0.1", "198.51.100.1", "203.0.113.1")


class NotTried(Exception):  # noqa: N818 - no error
    """The target is not set up for an attack."""


@dataclass(frozen=True)
class Target:
    """The app that is attacked.

    Attributes:
        address: with the prefix that it lives under, without a slash at the end.
        way: how it signs people in: "local", "htpasswd" or "header".
        header: the identity header, where `way` is "header".
        admin: what makes an admin: a key ("local"), "name:password" or a name; "" where unknown.
        mcp: whether it serves MCP clients.
    """

    address: str
    way: str = "local"
    header: str = "X-User"
    admin: str = field(default="", repr=False)
    mcp: bool = False

    @property
    def api(self) -> str:
        """Address of Gradio's interface."""
        return f"{self.address}/gradio_api"

    @property
    def origin(self) -> str:
        """Scheme and host."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def prefix(self) -> str:
        """The path that the app lives under."""
        return urlsplit(self.address).path

    def visitor(self) -> httpx.Client:
        """Somebody whom the app lets in, in a browser of their own, without rights."""
        client = httpx.Client(timeout=30)
        if self.way == "htpasswd":
            return self.signed_in()
        client.get(f"{self.address}/config")
        return client

    def signed_in(self) -> httpx.Client:
        """The admin."""
        if not self.admin:
            raise NotTried("nobody to sign in as")
        client = httpx.Client(timeout=30)
        if self.way == "local":
            client.get(f"{self.address}/", params={"token": self.admin})
        elif self.way == "header":
            client.headers[self.header] = self.admin
        else:
            name, _, password = self.admin.partition(":")
            client.post(f"{self.address}/login", data={"username": name, "password": password})
        if client.get(f"{self.address}/config").status_code != 200:
            raise NotTried("the admin cannot sign in")
        return client


Attack = Callable[[Target], "str | None"]


@dataclass(frozen=True)
class Entry:
    """One attack of the table.

    Attributes:
        row: number of the hole.
        title: what it tries.
        run: the attack.
        timed: whether it measures time, which tells little on a busy machine.
    """

    row: int
    title: str
    run: Attack
    timed: bool = False


ATTACKS: list[Entry] = []


def attack(row: int, title: str, *, timed: bool = False) -> Callable[[Attack], Attack]:
    """Put a function into the table."""

    def put(run: Attack) -> Attack:
        ATTACKS.append(Entry(row, title, run, timed))
        return run

    return put


def picture() -> bytes:
    """A small PNG, another one every time."""
    image = Image.new("L", (40, 40), random.randrange(256))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def upload(client: httpx.Client, target: Target) -> str:
    """Upload a picture; returns its name."""
    answer = client.post(f"{target.api}/upload", files={"files": ("scan-0", picture())})
    names = answer.json() if answer.status_code == 200 else []
    if not names:
        raise NotTried(f"no upload passes ({answer.status_code})")
    return str(names[0])


def events_of(client: httpx.Client, target: Target, session: str, seconds: float = 10) -> str:
    """What comes out of a session's queue."""
    address, lines = f"{target.api}/queue/data", []
    until = time.monotonic() + seconds
    with client.stream("GET", address, params={"session_hash": session}) as stream:
        if stream.status_code != 200:
            return ""
        for line in stream.iter_lines():
            lines.append(line)
            if "close_stream" in line or "process_completed" in line or time.monotonic() > until:
                break
    return "\n".join(lines)


def called(client: httpx.Client, target: Target, name: str, *data: object) -> tuple[int, str]:
    """Call an endpoint; returns the status, and all that came back."""
    answer = client.post(f"{target.api}/call/{name}", json={"data": list(data)})
    if answer.status_code != 200:
        return answer.status_code, answer.text
    got = client.get(f"{target.api}/call/{name}/{answer.json()['event_id']}", timeout=60)
    return 200, got.text


def may_list_flags(client: httpx.Client, target: Target) -> bool:
    """Whether a client may read the review store."""
    _, text = called(client, target, "review_list", "", "", "", "", "", "", "", "", 1, 0)
    return '"total"' in text or '\\"total\\"' in text


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server on loopback that notes what is asked of it."""
    asked: list[str] = []

    class Inner(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"secret of another host")

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Inner)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


# --- 1: pages of other sites ----------------------------------------------------------------------


@attack(1, "another site's page reads and writes in the name of who is signed in")
def cross_site(target: Target) -> str | None:
    client = target.signed_in()
    for headers in (
        {"Origin": EVIL},
        {"Origin": EVIL, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
        {"Origin": "http://127.0.0.1:1"},
    ):
        for method, path in (
            ("GET", "config"), ("GET", "gradio_api/info"), ("GET", "gradio_api/heartbeat/x1"),
            ("POST", "gradio_api/queue/join"), ("POST", "gradio_api/call/review_list"),
            ("POST", "gradio_api/upload"), ("POST", "logout"), ("POST", "login"),
        ):  # fmt: skip
            with client.stream(method, f"{target.address}/{path}", headers=headers) as answer:
                if answer.status_code not in (401, 403):
                    return f"{method} {path} with {headers} gives {answer.status_code}"
                if answer.headers.get("access-control-allow-origin"):
                    return f"{path} allows {headers} by CORS"
    early = {"Origin": EVIL, "Access-Control-Request-Method": "POST"}
    answer = client.options(f"{target.api}/queue/join", headers=early)
    if answer.headers.get("access-control-allow-origin"):
        return "the preflight of another site passes"
    return None


@attack(1, "cookies are sent along from other sites, or can be read by scripts")
def cookies(target: Target) -> str | None:
    lines = httpx.get(f"{target.address}/", follow_redirects=True).headers.get_list("set-cookie")
    if target.way == "htpasswd":
        name, _, password = target.admin.partition(":")
        form = {"username": name, "password": password}
        lines += httpx.post(f"{target.address}/login", data=form).headers.get_list("set-cookie")
    elif target.way == "local" and target.admin:
        key = {"token": target.admin}
        lines += httpx.get(f"{target.address}/", params=key).headers.get_list("set-cookie")
    for line in lines:
        words = line.lower()
        if "httponly" not in words:
            return f"scripts read {line.partition('=')[0]}"
        if "samesite=none" in words and "partitioned" not in words:
            return f"{line.partition('=')[0]} is sent along from other sites"
        if "samesite" not in words:
            return f"{line.partition('=')[0]} says nothing of other sites"
    return None


@attack(1, "a link of another site signs people out")
def logout_by_link(target: Target) -> str | None:
    client = target.signed_in()
    client.get(f"{target.address}/logout")
    return None if client.get(f"{target.address}/config").status_code == 200 else "it does"


# --- 2: prefixes and spellings --------------------------------------------------------------------


@attack(2, "another spelling of an address goes round the guards")
def spellings(target: Target) -> str | None:
    client = target.visitor()
    name = upload(client, target)
    starts = ["", target.prefix, "/", "/.", "//", "/%2e", f"{target.prefix}/", f"{target.prefix}//",
              f"{target.prefix.upper()}/"]  # fmt: skip
    starts += [target.prefix * 2, "/rarl", "/RARL", "/x/..", "/x/%2e%2e"]
    paths = ["/gradio_api/file={0}", "/GRADIO_API/file={0}", "/gradio_api//file={0}",
             "/gradio_api%2ffile={0}", "/gradio_api/%66ile={0}", "/gradio_api/file/{0}",
             "/gradio_api/file=%2e%2e/%2e%2e/{0}", "/gradio_api/./file={0}", "/file={0}",
             "/gradio_api/proxy={0}", "/gradio_api\\file={0}"]  # fmt: skip
    host, port = urlsplit(target.address).hostname, urlsplit(target.address).port
    for start in dict.fromkeys(starts):
        for path in paths:
            for file in (name, "/etc/passwd", "app.py"):
                status, body = _raw(host or "", port or 80, start + path.format(file))
                if status == 200 or b"root:" in body:
                    return f"GET {start + path.format(file)} gives {status}"
    return None


def _raw(host: str, port: int, path: str) -> tuple[int, bytes]:
    """Ask for an address that clients would tidy up first."""
    with socket.create_connection((host, port), timeout=10) as connection:
        line = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        connection.sendall(line.encode("latin-1"))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    status = answer.split(b" ", 2)[1:2]
    return int(status[0]) if status else 0, answer


# --- 3 and 16: requests for others ----------------------------------------------------------------


def _files(url: str) -> Iterator[str]:
    """JSON of a file that is an address, in several forms."""
    escaped = url.replace("/", "\\/")
    letters = "".join(f"\\u{ord(sign):04x}" for sign in url)
    for path in (url, escaped, letters, url.replace("http", "HTTP")):
        for kind in ("gradio.FileData", "gradio.FileD\\u0061ta", "\\u0067radio.FileData"):
            yield f'{{"path": "{path}", "url": "{path}", "meta": {{"_type": "{kind}"}}}}'
            yield f'{{"path": "x", "path": "{path}", "m\\u0065ta": {{"_type": "{kind}"}}}}'


@attack(3, "an argument makes the server ask another host")
def fetches(target: Target) -> str | None:
    client = target.visitor()
    with listening() as (url, asked):
        config = client.get(f"{target.address}/config").json()
        numbers = [event["id"] for event in config["dependencies"] if event["backend_fn"]]
        for place, file in enumerate(_files(f"{url}/inside")):
            for number in numbers[place % 7 :: 7][:4]:
                body = (
                    f'{{"data": [{file}, [{file}], {{"deep": {file}}}, {json.dumps(file)}],'
                    f' "fn_index": {number}, "session_hash": "{secrets.token_hex(8)}"}}'
                )
                headers = {"Content-Type": "application/json"}
                client.post(f"{target.api}/queue/join", content=body, headers=headers)
            for name in ("ask", "compare", "review_import"):
                body = f'{{"data": [[{file}], "Is it?"]}}'
                address = f"{target.api}/call/{name}"
                client.post(address, content=body, headers={"Content-Type": "application/json"})
        for path in (f"file={url}/x", f"proxy={url}/x", f"file/{url}/x"):
            client.get(f"{target.api}/{path}")
        time.sleep(0.5)
    return f"it asked for {asked[0]}" if asked else None


@attack(16, "letters that are escaped hide a file that is an address")
def hidden_files(target: Target) -> str | None:
    client = target.visitor()
    for host in UNROUTED:
        for file in _files(f"http://{host}/"):
            body = f'{{"data": [[{file}], "Is it?", "rarl", "reason", true]}}'
            headers = {"Content-Type": "application/json"}
            answer = client.post(f"{target.api}/call/ask", content=body, headers=headers)
            if answer.status_code == 200:
                return f"{file} passes"
    return None


@attack(3, "a file of the server, or another visitor's upload, is opened as one's own")
def foreign_files(target: Target) -> str | None:
    first, second = target.visitor(), target.visitor()
    name = upload(first, target)
    same = target.way == "htpasswd"  # both are one person there
    for path in ("/etc/hostname", "/etc/passwd", "app.py", *(() if same else (name,))):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        status, text = called(second, target, "ask", [file], "Is it?", "rarl", "reason", True)
        if status == 200 and "not one that you have uploaded" not in text:
            return f"{path} is taken: {text[:80]}"
    return None


# --- 5: passwords ---------------------------------------------------------------------------------


@attack(5, "passwords are guessed as fast as the network allows")
def guesses(target: Target) -> str | None:
    if target.way != "htpasswd":
        raise NotTried("no passwords here")
    name = f"nobody-{secrets.token_hex(4)}"
    checked = 0
    started = time.monotonic()
    for number in range(12):
        form = {"username": name, "password": f"guess-{number}"}
        answer = httpx.post(f"{target.address}/login", data=form, timeout=30)
        checked += answer.status_code != 429
    # Six go through at once; each further one waits twice as long as the one before, from 1 s.
    allowed = 6 + int(math.log2(time.monotonic() - started + 1))
    return f"{checked} of 12 were checked" if checked > allowed else None


@attack(5, "the time of a refusal tells whether there is such a name", timed=True)
def timing(target: Target) -> str | None:
    if target.way != "htpasswd":
        raise NotTried("no passwords here")
    known = target.admin.partition(":")[0]
    times: dict[str, list[float]] = {known: [], f"nobody-{secrets.token_hex(4)}": []}
    for _ in range(3):
        for name in times:
            started = time.monotonic()
            form = {"username": name, "password": "wrong"}
            answer = httpx.post(f"{target.address}/login", data=form, timeout=30)
            if answer.status_code == 429:
                raise NotTried("held back already")
            times[name].append(time.monotonic() - started)
    one, other = (statistics.median(values) for values in times.values())
    differs = abs(one - other) > 0.05 + 0.2 * min(one, other)
    return f"{one:.2f} s against {other:.2f} s" if differs else None


@attack(5, "checking passwords keeps everybody else waiting", timed=True)
def blocking(target: Target) -> str | None:
    if target.way != "htpasswd":
        raise NotTried("no passwords here")

    def guess() -> None:
        form = {"username": secrets.token_hex(4), "password": "wrong"}
        httpx.post(f"{target.address}/login", data=form, timeout=60)

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    httpx.get(f"{target.address}/healthz", timeout=60)
    waited = time.monotonic() - started
    for thread in threads:
        thread.join()
    return f"healthz waits {waited:.1f} s" if waited > 2 else None


# --- 6, 12: who may do what, and whose page it is -------------------------------------------------


@attack(6, "who may do nothing asks all the same")
def nobody_asks(target: Target) -> str | None:
    if target.way != "htpasswd":
        raise NotTried("everybody may ask here")
    client = httpx.Client(timeout=30)
    for method, path in (
        ("GET", "config"), ("GET", "gradio_api/info"), ("POST", "gradio_api/upload"),
        ("POST", "gradio_api/call/ask"), ("POST", "gradio_api/call/compare"),
        ("POST", "gradio_api/run/predict"), ("POST", "gradio_api/queue/join"),
        ("POST", "gradio_api/mcp"), ("GET", "scan/frame"), ("POST", "scan/measure"),
        ("GET", "review/export/x"),
        ("GET", "gradio_api/queue/data?session_hash=x"), ("GET", "gradio_api/heartbeat/x"),
    ):  # fmt: skip
        answer = client.request(method, f"{target.address}/{path}")
        if answer.status_code not in (401, 403, 404):
            return f"{method} {path} gives {answer.status_code}"
    return None


@attack(12, "whoever knows a session's hash reads its page")
def foreign_session(target: Target) -> str | None:
    if target.way == "htpasswd":
        raise NotTried("one name there, which may have several browsers")
    owner, other = target.visitor(), target.visitor()
    session = secrets.token_hex(6)
    file = {"path": upload(owner, target), "meta": {"_type": "gradio.FileData"}}
    body = {"data": [[file], "Is it?"], "session_hash": session}
    joined = owner.post(f"{target.api}/call/ask", json=body)
    if joined.status_code != 200:
        raise NotTried("nobody may ask")
    event = joined.json()["event_id"]
    for client in (other, httpx.Client(timeout=30)):
        for path in (
            f"queue/data?session_hash={session}", f"heartbeat/{session}", f"call/ask/{event}",
        ):  # fmt: skip
            with client.stream("GET", f"{target.api}/{path}") as answer:
                if answer.status_code != 403:
                    return f"{path} gives {answer.status_code}"
        for path, more in (
            ("queue/join", {"data": [], "fn_index": 0}), ("cancel", {"fn_index": 0}),
            ("call/flag", {"data": []}),
        ):  # fmt: skip
            message = {"session_hash": session, "event_id": event, **more}
            status = client.post(f"{target.api}/{path}", json=message).status_code
            if status != 403:
                return f"{path} gives {status}"
    return None


# --- 10, 22: addresses ----------------------------------------------------------------------------


@attack(10, "a forged header chooses the address that counts")
def forged_address(target: Target) -> str | None:
    if target.way == "header":
        raise NotTried("this machine is the trusted proxy there")
    client = target.visitor()
    answer = client.get(
        f"{target.address}/config", headers={"X-Forwarded-Host": "evil.example"}
    ).text
    return "X-Forwarded-Host is believed" if "evil.example" in answer else None


# --- 13, 14: the admin ----------------------------------------------------------------------------


@attack(13, "who sits behind a forwarder on this machine is taken for its admin")
def forwarder(target: Target) -> str | None:
    for host in ("localhost", "127.0.0.1", "[::1]", urlsplit(target.address).netloc):
        with httpx.Client(headers={"Host": host}, timeout=30) as client:
            page = client.get(f"{target.address}/config")
            if page.status_code == 200 and page.json().get("username"):
                return f"Host: {host} makes {page.json()['username']}"
            if page.status_code == 200 and may_list_flags(client, target):
                return f"Host: {host} reads flags"
    return None


@attack(13, "the key is guessed, or an old cookie forged")
def forged_key(target: Target) -> str | None:
    port = urlsplit(target.address).port
    for key in ("", "x", "0", "admin", target.admin[:-1] if target.admin else "y"):
        client = httpx.Client(timeout=30)
        client.get(f"{target.address}/", params={"token": key})
        client.cookies.set(f"rarl-admin-{port}", f"9999999999.{key}")
        client.headers["Authorization"] = f"Bearer {key or '-'}"
        page = client.get(f"{target.address}/config")
        if page.status_code == 200 and page.json().get("username"):
            return f"{key!r} makes an admin"
    return None


@attack(14, "MCP does in another's name what its caller may not")
def deputy(target: Target) -> str | None:
    if not target.mcp:
        raise NotTried("no MCP here")
    forged = {
        "Host": "localhost", "X-Forwarded-For": "127.0.0.1", "X-Gradio-User": "admin",
        "Accept": "application/json, text/event-stream",
    }  # fmt: skip
    with httpx.Client(timeout=60, headers=forged) as client:
        tools = _rpc(client, target, "tools/list", {})
        if '"review_' in tools:
            return "the review is among the tools"
        for name in ("review_list", "review_export", "review_show"):
            response = _rpc(client, target, "tools/call", {"name": name, "arguments": {}})
            if '"total"' in response or "address" in response:
                return f"{name} answers"
    return None


def _rpc(client: httpx.Client, target: Target, method: str, parameters: object) -> str:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    answer = client.post(f"{target.api}/mcp", json=message)
    if answer.status_code == 404:
        raise NotTried("no MCP here")
    return answer.text


# --- 20, 21 ---------------------------------------------------------------------------------------


@attack(20, "a connection that says nothing more is kept for ever", timed=True)
def slow_headers(target: Target, seconds: float = 25) -> str | None:
    host, port = urlsplit(target.address).hostname, urlsplit(target.address).port
    with socket.create_connection((host or "", port or 80), timeout=seconds) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        try:
            while connection.recv(65536):
                pass
        except TimeoutError:
            return f"it is still there after {seconds:.0f} s"
        except ConnectionError:
            pass
    return None


@attack(20, "headers without end are read to their end")
def endless_headers(target: Target) -> str | None:
    host, port = urlsplit(target.address).hostname, urlsplit(target.address).port
    with socket.create_connection((host or "", port or 80), timeout=20) as connection:
        sent = 0
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            while sent < 1_000_000:
                connection.sendall(b"X-More: " + b"a" * 8000 + b"\r\n")
                sent += 8000
        except OSError:
            return None
        connection.settimeout(5)
        try:
            answer = connection.recv(100)
        except OSError:
            return "it waits for more"
    return None if not answer or b" 4" in answer[:16] else "a megabyte of headers is read"


@attack(21, "an identity header that stands there twice is read the attacker's way")
def two_headers(target: Target) -> str | None:
    names = [target.header] if target.way == "header" else ["Origin", "Content-Type"]
    for name in names:
        headers = [(name, "visitor"), (name.upper(), target.admin or "admin")]
        status = httpx.get(f"{target.address}/config", headers=headers, timeout=30).status_code
        if status != 400:
            return f"two of {name} give {status}"
    return None


@attack(21, "a form of another site uploads")
def foreign_form(target: Target) -> str | None:
    client = target.signed_in() if target.admin else target.visitor()
    for headers in ({"Origin": EVIL}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        files = {"files": ("scan-0", picture())}
        status = client.post(f"{target.api}/upload", files=files, headers=headers).status_code
        if status != 403:
            return f"an upload with {headers} gives {status}"
        body = b'{"data": []}'
        plain = {**headers, "Content-Type": "text/plain"}
        if client.post(f"{target.api}/call/flag", content=body, headers=plain).status_code == 200:
            return "a form's text/plain is read as a message"
    return None
