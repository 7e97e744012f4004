"""Flags outlive a disk that forgets: copied to a private repository, and read back."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rarl.errors import ReviewError, SettingError
from rarl.review import CaseSnapshot, ReviewStore, open_store
from rarl.review.hub_copy import FILE, HubCopy, Place, read_place

MakeCase = Callable[..., CaseSnapshot]
PLACE = Place("a/b")


@dataclass
class Repository:
    """A dataset repository as the Hub's API shows it.

    Attributes:
        private: whether it is.
        commits: content of the one file after each commit; none before the first.
        asked: methods and paths.
    """

    private: bool = True
    commits: list[bytes] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return f"{len(self.commits):040x}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    kept = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kept.asked.append(f"{self.command} {self.path}")
            if self.path.startswith("/api/datasets/a/b"):
                repository_facts = {
                    "id": "a/b",
                    "private": kept.private,
                    "sha": kept.sha,
                    "siblings": [],
                }
                self.answer(200, json.dumps(repository_facts).encode())
            elif kept.commits and self.path == f"/datasets/a/b/resolve/{kept.sha}/{FILE}":
                self.answer(200, kept.commits[-1], ETag=f'"{kept.sha}"')
            else:
                self.answer(404, b"", **{"X-Error-Code": "EntryNotFound"})

        do_HEAD = do_GET  # noqa: N815 - the library's name

        def do_POST(self) -> None:
            kept.asked.append(f"POST {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if "/preupload/" in self.path:
                file = {"path": FILE, "uploadMode": "regular", "shouldIgnore": False}
                self.answer(200, json.dumps({"files": [file]}).encode())
                return
            if "/commit/" in self.path:
                header, file = (json.loads(line)["value"] for line in body.splitlines())
                if header["parentCommit"] != kept.sha:
                    return self.answer(412, b"{}")
                kept.commits.append(base64.b64decode(file["content"]))
            place = f"{address}/datasets/a/b"
            commit = {"url": place, "commitUrl": f"{place}/commit/c", "commitOid": "c"}
            self.answer(200, json.dumps(commit).encode())

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            more = {"Content-Length": str(len(body)), "X-Repo-Commit": kept.sha, **headers}
            for name, value in more.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    yield kept
    server.shutdown()
    server.server_close()


def flagged(store: ReviewStore, case: CaseSnapshot, comment: str) -> None:
    store.add_flag(store.add_case(case), "sft", "style", "none", comment)


def comments(store: ReviewStore) -> set[str]:
    return {flag.comment for flag in store.flags()}


def test_flags_outlive_the_disk(hub: Repository, make_case: MakeCase, tmp_path: Path) -> None:
    first, second = (open_store(home=tmp_path / name) for name in ("first", "second"))
    flagged(first, case := make_case(), "before")
    # As the app does it: the thread looks at once, and a last time when the app ends.
    running = HubCopy(first, PLACE)
    running.start()
    running.stop()
    running.wait(60)
    assert len(hub.commits) == 1 and case.png is not None
    assert base64.b64encode(case.png) not in hub.commits[-1], "pixels only where they are allowed"

    # After a restart, on an empty disk.
    copy = HubCopy(second, PLACE)
    copy.sync()
    assert comments(second) == {"before"} and second.case(case.id).png is None
    asked = len(hub.asked)
    copy.sync()
    assert len(hub.asked) == asked, "nothing new, nothing asked"
    flagged(second, make_case("Why?"), "after")
    copy.sync()
    # Two copies of the app lose nothing of each other.
    flagged(first, make_case("Where?"), "beside")
    HubCopy(first, Place("a/b", pixels=True)).sync()
    assert comments(first) == {"before", "after", "beside"}
    assert base64.b64encode(case.png) in hub.commits[-1]
    # What is deleted for good is in no older commit either.
    second.delete_case(case.id, "asked for")
    copy.sync()
    assert "super-squash" in hub.asked[-1]
    lines = [json.loads(line) for line in hub.commits[-1].splitlines()]
    assert case.id in {line["case_id"] for line in lines if line["table"] == "tombstones"}
    first.close()
    second.close()


def test_nothing_goes_where_it_may_not(
    hub: Repository, make_case: MakeCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(home=tmp_path)
    flagged(store, make_case(), "mine")
    hub.private = False
    with pytest.raises(ReviewError, match="a/b is public on the Hub"):
        HubCopy(store, PLACE).sync()
    assert not hub.commits
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ReviewError, match="They are kept here, and it is tried again"):
        HubCopy(store, PLACE).sync()
    store.close()


def test_settings() -> None:
    assert read_place({}) is None
    assert read_place({"RARL_FLAGS_REPO": "a/b"}) == Place("a/b", pixels=False)
    environment = {"RARL_FLAGS_REPO": "a/b", "RARL_FLAGS_PIXELS": "keep"}
    assert read_place(environment) == Place("a/b", pixels=True)
    for name, value in (("RARL_FLAGS_REPO", "b"), ("RARL_FLAGS_PIXELS", "yes")):
        with pytest.raises(SettingError, match=name):
            read_place({"RARL_FLAGS_REPO": "a/b", name: value})
