"""`python word_server.py PORT [HOLD_AFTER]`: a server in a process of its own, to be killed.

Streams the words of an answer in the chat-completions protocol; after HOLD_AFTER words it goes on
only when it is told to (`POST /go`), or never.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = "<think>The lungs are clear.</think> <answer>no</answer>".split(" ")
MODELS = ({"id": "sft", "parent": "tiny"}, {"id": "tiny", "parent": None}, {"id": "rarl"})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hold_after = -1
    words = WORDS
    models = MODELS
    go = threading.Event()

    def do_GET(self) -> None:
        rows = [{"object": "model", "created": 0, "owned_by": "here", **one} for one in self.models]
        self.reply(json.dumps({"object": "list", "data": rows}))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/go":
            self.go.set()
            return self.reply("{}")
        model = json.loads(body)["model"]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for count, word in enumerate(self.words):
            if count == self.hold_after:
                self.go.wait()
            self.event(model, {"content": word if count == 0 else f" {word}"})
        self.event(model, {}, "stop")
        self.event(model, None)
        self.chunk("data: [DONE]\n\n")
        self.chunk("")

    def event(self, model: str, delta: dict[str, str] | None, reason: str | None = None) -> None:
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        usage = {"prompt_tokens": 9, "completion_tokens": 77, "total_tokens": 86}
        content = {
            "id": "1", "object": "chat.completion.chunk", "created": 0, "model": model,
            "choices": choices if delta is not None else [],
            "usage": usage if delta is None else None,
        }  # fmt: skip
        self.chunk(f"data: {json.dumps(content)}\n\n")

    def chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())
        self.wfile.flush()

    def reply(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    Handler.hold_after = int(sys.argv[2]) if len(sys.argv) > 2 else -1
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
