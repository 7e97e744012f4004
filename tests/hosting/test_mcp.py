"""MCP, as a real client meets it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from PIL import Image

from rarl.review import open_store
from tests.browser.app_process import served, with_key

pytest.importorskip("mcp", reason="mcp is not installed")
from mcp import Client

# Address of the app under test to its store.
HOMES: dict[str, Path] = {}


@pytest.fixture(scope="module")
def app(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("mcp") / "home"
    with served(home, str(tiny_model), "--mcp") as (address, _):
        HOMES[address] = home
        yield address


def picture(tmp_path: Path) -> bytes:
    Image.effect_noise((56, 56), 60).save(path := tmp_path / "scan.png")
    return path.read_bytes()


def told(result: Any) -> str:
    return "\n".join(part.text for part in result.content)


def test_pictures_reach_the_model_and_answers_are_json(app: str, tmp_path: Path) -> None:
    png = picture(tmp_path)
    uri = "data:image/png;base64," + base64.b64encode(png).decode()
    (uploaded,) = httpx.post(f"{app}/gradio_api/upload", files={"files": ("scan-0", png)}).json()

    async def talk() -> None:
        async with Client(f"{app}/gradio_api/mcp") as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == {"ask", "compare", "measure", "flag", "report"}
            for tool in tools.values():
                for name, one in tool.input_schema["properties"].items():
                    assert one["description"], name
            asked = tools["compare"].input_schema["properties"]
            assert asked["mode"]["enum"] == ["reason", "answer", "answer-then-reason"]
            assert set(asked["arms"]["items"]["enum"]) == {"base", "sft", "rl", "rarl", "all"}
            flagged = tools["flag"].input_schema["properties"]
            assert "missed-finding" in flagged["category"]["enum"]

            one = await client.call_tool("ask", {"scans": [uri], "question": "Is it new?"})
            assert not one.is_error, told(one)
            assert json.loads(told(one)) == one.structured_content
            several = await client.call_tool(
                "compare", {"scans": [uploaded], "question": "Is it new?", "arms": ["rl", "sft"]}
            )
            answers = json.loads(told(several))["answers"]
            assert [answer["arm"] for answer in answers] == ["rl", "sft"]
            every = await client.call_tool("compare", {"scans": [uri], "question": "Is it new?"})
            answers = json.loads(told(every))["answers"]
            assert [answer["arm"] for answer in answers] == ["sft", "rl", "rarl"]

            ruler = {"kind": "ruler", "points": [[3, 4], [6, 8]]}
            measured = await client.call_tool("measure", {"scans": [uri], "shapes": [ruler]})
            assert not measured.is_error, told(measured)
            (length,) = json.loads(told(measured))["measurements"]
            assert length["values"] == [{"quantity": "length", "value": 5.0, "unit": "px"}]
            assert length["notes"] and length["at"] == "unknown"
            for shapes, sentence in (
                ([], "shapes like that"),
                ([{**ruler, "kind": "circle"}], "choose from ruler, angle"),
                ([{**ruler, "slice": 2}], "There is no slice 2"),
            ):
                refused = await client.call_tool("measure", {"scans": [uri], "shapes": shapes})
                assert refused.is_error and sentence in told(refused), told(refused)

            words = {
                "exchange": json.loads(told(several))["exchange"], "arm": "rl", "key": "mine",
                "category": "missed-finding", "severity": "major",
            }  # fmt: skip
            first, again = [await client.call_tool("flag", words) for _ in range(2)]
            assert not first.is_error and json.loads(told(first)) == json.loads(told(again))

            for scan, sentence in (
                ("http://127.0.0.1:1/x.png", "Addresses are not fetched"),
                ("file:///etc/passwd", "Addresses are not fetched"),
                ("/etc/passwd", "Addresses are not fetched"),
                ("upload-guessed", "The upload did not arrive"),
                (uploaded, "The upload did not arrive"),  # it was read, and is gone
                ("data:image/png;base64,###", "not base64"),
            ):
                refused = await client.call_tool("ask", {"scans": [scan], "question": "Is it?"})
                assert refused.is_error and sentence in told(refused), scan
            for arguments, sentence in (
                ({"scans": [uri], "question": "Is it?", "mode": "shout"}, "choose from reason"),
                ({"scans": [uri], "question": "Is it?", "arm": "dpo"}, "choose from base"),
                ({"question": "Is it?"}, "required"),
                ({"scans": [uri], "question": "Born 1987-03-05?"}, "checked=True"),
            ):
                refused = await client.call_tool("ask", arguments)
                assert refused.is_error and sentence in told(refused), told(refused)

    # In a thread of its own: Playwright leaves a running loop in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, talk).result()
    store = open_store(HOMES[app])
    assert [flag.reader for flag in store.flags()] == [None], "twice sent, once stored, by nobody"
    store.close()


def test_the_caller_is_who_the_outer_connection_says(app: str, tmp_path: Path) -> None:
    """Nothing in a message or a header makes a caller somebody else."""
    uri = "data:image/png;base64," + base64.b64encode(picture(tmp_path)).decode()
    key = with_key(app).partition("token=")[2]
    accept = {"Accept": "application/json, text/event-stream"}

    def call(name: str, arguments: dict[str, Any], **headers: str) -> dict[str, Any]:
        message = {
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": name, "arguments": arguments},
        }  # fmt: skip
        answer = httpx.post(
            f"{app}/gradio_api/mcp", json=message, headers={**accept, **headers}, timeout=120
        )
        got: dict[str, Any] = answer.json()
        return got["result"]

    readers = []
    for headers in (
        {"Host": "localhost", "X-Gradio-User": "admin", "X-User": "root"},
        {"Authorization": f"Bearer {key}"},
    ):
        response = call("ask", {"scans": [uri], "question": "Is it new?"}, **headers)
        words = {
            "exchange": json.loads(response["content"][0]["text"])["exchange"], "arm": "rarl",
            "category": "other", "severity": "minor",
        }  # fmt: skip
        flag = json.loads(call("flag", words, **headers)["content"][0]["text"])["flag"]
        store = open_store(HOMES[app])
        readers.append(store.flag(flag).reader)
        store.close()
    assert readers[0] is None and readers[1], "only the key makes an admin"
    page = httpx.post(f"{app}/gradio_api/mcp", json={}, headers={**accept, "Origin": "http://evil"})
    assert page.status_code == 403
