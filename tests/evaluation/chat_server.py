"""A real HTTP server on loopback that speaks the chat-completions protocol, as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What a request gets: text for the message, or the message's fields; a status for an error; seconds
# to hang for.
Reply = str | dict[str, str] | int | float
Say = Callable[[Mapping[str, Any]], Reply]


class ChatServer(ThreadingHTTPServer):
    """Answers with `say`, after the scripted faults are used up.

    Args:
        say: request body to reply.
        models: what the server lists.
        faults: given to the first requests, in order of arrival.
    """

    daemon_threads = True

    def __init__(self, say: Say, models: Sequence[str] = (), faults: Sequence[Reply] = ()) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.say = say
        self.models = list(models)
        self.faults = list(faults)
        self.bodies: list[dict[str, Any]] = []
        self.running = self.most = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def serving(
    say: Say, models: Sequence[str] = (), faults: Sequence[Reply] = ()
) -> Iterator[ChatServer]:
    server = ChatServer(say, models, faults)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_GET(self) -> None:
        if not self.server.models:
            return self._send(404, {"error": {"message": "no list here"}})
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "here"}
            for name in self.server.models
        ]
        self._send(200, {"object": "list", "data": data})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.bodies.append(body)
            server.running += 1
            server.most = max(server.most, server.running)
            fault = server.faults.pop(0) if server.faults else None
        try:
            reply = server.say(body) if fault is None else fault
            if isinstance(reply, float):
                time.sleep(reply)
                return
            if isinstance(reply, int):
                return self._send(reply, {"error": {"message": "scripted"}})
            fields = {"content": reply} if isinstance(reply, str) else reply
            message = {"role": "assistant", **fields}
            choices = [{"index": 0, "finish_reason": "stop", "message": message}]
            usage = {"prompt_tokens": 90, "completion_tokens": len(reply), "total_tokens": 100}
            self._send(
                200,
                {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"],
                 "choices": choices, "usage": usage},
            )  # fmt: skip
        finally:
            with server.lock:
                server.running -= 1

    def _send(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        # The client waits no longer than it is told to before it tries again.
        self.send_header("retry-after-ms", "5")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass
