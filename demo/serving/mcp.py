"""`ask`, `compare`, `measure`, `flag` and `report` for MCP clients, over HTTP at `/gradio_api/mcp`.

Gradio's own MCP server calls the app back from this machine with the headers of whoever called it,
and can hand on no picture. Here the tools are called directly, in the name of the caller that the
guard has found on the outer connection.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from starlette.routing import Route

from demo.api_info import shape_schema
from demo.authentication import Person
from demo.context import Parts
from demo.services.ask import AskService
from demo.services.asking import log_fault
from demo.services.reporting import ReportService
from demo.services.uploads import max_upload_bytes
from demo.serving.caller import Caller, caller_of
from rarl.errors import QuestionError, RarlError
from rarl.inference.self_consistency import MOST_SAMPLES
from rarl.prompts import MAX_QUESTION_CHARACTERS
from rarl.reports import templates
from rarl.reports.forms import FORMS
from rarl.response import MODES
from rarl.review.taxonomy import Taxonomy
from rarl.scans.shapes import MOST_SHAPES
from rarl.text.choice import MAX_OPTIONS

ADDRESS = "/gradio_api/mcp"

_DATA_URI = re.compile(r"data:[\w.+/;=-]*;base64,", re.IGNORECASE)
_NAMES = "ask, compare, measure, flag, report"
_FEW_PICTURES = 400
_NO_ADDRESS = (
    "Addresses are not fetched: send the picture itself as a data URI "
    "(data:image/png;base64,...), or upload it and give the name that comes back."
)

Schema = dict[str, Any]


class McpServer:
    """The tools, and the route that serves them.

    Args:
        parts: of the app.
        service: what the tools do.
    """

    def __init__(self, parts: Parts, service: AskService) -> None:
        self._parts = parts
        self._service = service
        server: Server[Any] = Server(
            "RARL",
            instructions="Medical images: ask a research model, compare its variants, flag errors. "
            "For research, not for diagnosis.",
            on_list_tools=self._listed,
            on_call_tool=self._called,
        )
        self._manager = StreamableHTTPSessionManager(
            server,
            json_response=True,
            stateless=True,
            # Base64 makes four bytes of three.
            max_request_body_size=max_upload_bytes() * 4 // 3 + 100_000,
        )

    def route(self) -> Route:
        """`POST /gradio_api/mcp`."""
        return Route(ADDRESS, StreamableHTTPASGIApp(self._manager))

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Runs as long as the app does."""
        async with self._manager.run():
            yield

    async def _listed(self, context: Any, parameters: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=self.tools())

    async def _called(
        self, context: Any, parameters: types.CallToolRequestParams
    ) -> types.CallToolResult:
        caller = caller_of(context.request)
        person = Person(caller.name, caller.role)
        given = dict(parameters.arguments or {})

        def work() -> types.CallToolResult:
            try:
                content = self._do(parameters.name, given, person, caller)
            except RarlError as error:
                return _failed(str(error))
            except Exception as error:
                log_fault("mcp", error)
                return _failed("Something went wrong on the server; its log says where.")
            text = json.dumps(content, ensure_ascii=False)
            return types.CallToolResult(
                content=[types.TextContent(type="text", text=text)], structured_content=content
            )

        return await anyio.to_thread.run_sync(work)

    def _do(self, name: str, given: Schema, person: Person, caller: Caller) -> dict[str, Any]:
        tool = next((tool for tool in self.tools() if tool.name == name), None)
        if tool is None:
            raise QuestionError(f"There is no tool {name!r}; choose from {_NAMES}.")
        values = _checked(tool.input_schema, given)
        if name == "flag":
            return self._service.flag(person, **values)
        if name == "report":
            return ReportService(self._parts, self._service).report(person, **values)
        contents = _pictures(values["scans"], lambda names: self._parts.uploads.read(names, caller))
        if name == "measure":
            return self._service.measure(person, contents, values["shapes"], values["series"])
        arms = [values["arm"]] if name == "ask" else values["arms"]
        mode, checked = values["mode"], values["checked"]
        text = values["question"]
        more = values["series"], values["samples"], values["options"]
        return self._service.ask(person, contents, text, arms, mode, checked, *more)

    def tools(self) -> list[types.Tool]:
        """What the tools take; the variants are those on offer now."""
        arms = [arm.name for arm in self._parts.arms()]
        arm_schema: Schema = {"type": "string", "enum": arms, "default": arms[-1]}
        several: Schema = {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string", "enum": [*arms, "all"]},
            "default": ["all"],
        }
        answers = (
            " Returns JSON: `exchange`, by which an answer can be flagged, `model`, `series` and "
            "`left_out` of the files, and `answers` with `arm`, `answer`, `reasoning`, `problems`, "
            "`failure` and `note`. For research, not for diagnosis."
        )
        return [
            _tool(
                "ask",
                "Ask one variant of the model a question about a medical image." + answers,
                _asking() | {"arm": arm_schema | {"description": "The variant."}},
                ["scans", "question"],
            ),
            _tool(
                "compare",
                "Ask several variants of the model the same question in one pass." + answers,
                _asking() | {"arms": several | {"description": "The variants, in this order."}},
                ["scans", "question"],
            ),
            _tool(
                "measure",
                "Measure lengths, angles, areas and values on a medical image. Returns JSON: "
                "`measurements` with `values` (quantity, value, unit), `at`, `notes` and `text`. "
                "Millimetres only where the file states a spacing, otherwise pixels; `at` says "
                "whether lengths are those in the patient or at the detector.",
                _measuring(),
                ["scans", "shapes"],
            ),
            _tool(
                "report",
                "Read the report on a case, or begin one from a model's answer. Each sentence of "
                "the model is marked as proposed: only a reader keeps, edits or deletes it, and "
                "signs. Returns JSON: `report` and, with another form than json, `address` of the "
                "file, which works once.",
                _reporting(arms),
                ["case"],
            ),
            _tool(
                "flag",
                "Flag a wrong answer; it is kept with its scan, for review. Returns JSON: `flag` "
                "and `case`.",
                _flagging(arms, self._parts.desk.taxonomy()),
                ["exchange", "arm", "category", "severity"],
            ),
        ]


def _asking() -> Schema:
    """What both questions take."""
    return {
        "scans": {
            "type": "array",
            "minItems": 1,
            "maxItems": _FEW_PICTURES,
            "items": {"type": "string"},
            "description": "One picture, the files of one series, or up to four pictures: each "
            "a data URI (data:image/png;base64,..., also DICOM and NIfTI) or the name that an "
            "upload to /gradio_api/upload has returned. Addresses are not fetched.",
        },
        "question": {
            "type": "string",
            "maxLength": MAX_QUESTION_CHARACTERS,
            "description": "About the scan, without anything that names a person.",
        },
        "mode": {
            "type": "string",
            "enum": list(MODES),
            "default": "reason",
            "description": "Reason and then answer, answer alone, or answer and then reason.",
        },
        "checked": {
            "type": "boolean",
            "default": False,
            "description": "True says that you have looked: nothing burned into the picture "
            "and no word names a person.",
        },
        "series": {
            "type": "integer",
            "minimum": 0,
            "default": 0,
            "description": "Of several series in the files the number, from 1, as the answer "
            "lists them; 0 takes the one with the most pictures.",
        },
        "samples": {
            "type": "integer",
            "minimum": 0,
            "maximum": MOST_SAMPLES,
            "default": 0,
            "description": "How many times each variant is asked again at random, to tell "
            "whether its answer holds; 0 for none.",
        },
        "options": {
            "type": "array",
            "maxItems": MAX_OPTIONS,
            "items": {"type": "string"},
            "default": [],
            "description": "Of a multiple-choice question 2 to 10 options, shown in this order "
            "as A, B, C; none for any other question.",
        },
    }


def _measuring() -> Schema:
    """What the tool `measure` takes."""
    asking = _asking()
    return {
        "scans": asking["scans"],
        "shapes": {
            "type": "array",
            "minItems": 1,
            "maxItems": MOST_SHAPES,
            "items": shape_schema(),
            "description": "What to measure.",
        },
        "series": asking["series"],
    }


def _flagging(arms: Sequence[str], taxonomy: Taxonomy) -> Schema:
    """What a flag takes."""
    return {
        "exchange": {"type": "string", "description": "As ask or compare has returned it."},
        "arm": {"type": "string", "enum": arms, "description": "Whose answer is wrong."},
        "category": {
            "type": "string",
            "enum": [key for key, _ in taxonomy.categories],
            "description": "What is wrong: " + _listed(taxonomy.categories),
        },
        "severity": {
            "type": "string",
            "enum": [key for key, _ in taxonomy.severities],
            "description": "How much it would matter: " + _listed(taxonomy.severities),
        },
        "comment": {
            "type": "string",
            "default": "",
            "description": "What is wrong, in words that name nobody.",
        },
        "checked": {
            "type": "boolean",
            "default": False,
            "description": "True says that the comment names nobody.",
        },
        "key": {
            "type": "string",
            "default": "",
            "maxLength": 200,
            "description": "Any word of yours; the same word for the same exchange stores "
            "nothing twice.",
        },
    }


def _reporting(arms: Sequence[str]) -> Schema:
    """What the tool `report` takes."""
    return {
        "case": {
            "type": "string",
            "description": "The `exchange` of ask or compare, or the `case` of flag.",
        },
        "form": {
            "type": "string",
            "enum": list(FORMS),
            "default": "json",
            "description": "Of a file: text, pdf, sr (DICOM SR), gsps (DICOM presentation "
            "state of what was measured) or fhir (R4); json for none.",
        },
        "report": {
            "type": "string",
            "default": "",
            "description": "Id of the report; the newest on the case where it is left out.",
        },
        "template": {
            "type": "string",
            "enum": ["", *templates()],
            "default": "",
            "description": "Begins a new report from this template.",
        },
        "arm": {
            "type": "string",
            "enum": ["", *arms],
            "default": "",
            "description": "Begins a new report from this variant's answer.",
        },
    }


def _tool(name: str, words: str, properties: Schema, required: list[str]) -> types.Tool:
    schema = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return types.Tool(name=name, description=words, input_schema=schema)


def _listed(pairs: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{key} ({label})" for key, label in pairs)


def _failed(sentence: str) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=sentence)], is_error=True
    )


def _checked(schema: Schema, given: Schema) -> Schema:
    """The arguments with the defaults of those that were left out.

    Raises:
        QuestionError: one is missing, unknown or not what the tool takes.
    """
    import jsonschema  # comes with mcp

    try:
        jsonschema.validate(given, schema)
    except jsonschema.ValidationError as error:
        where = ".".join(str(step) for step in error.absolute_path) or "the arguments"
        allowed = error.validator_value if error.validator == "enum" else None
        more = f": choose from {', '.join(allowed)}" if allowed else f" ({error.validator})"
        raise QuestionError(f"The tool does not take {where} like that{more}.") from None
    defaults = {
        key: parameter["default"]
        for key, parameter in schema["properties"].items()
        if "default" in parameter
    }
    return {**defaults, **given}


def _pictures(
    scans: Sequence[str], uploaded: Callable[[Sequence[str]], list[bytes]]
) -> list[bytes]:
    """The bytes of pictures that came as data URIs or were uploaded before.

    Raises:
        QuestionError: one is an address, or no picture.
        ScanError: an upload is not the caller's, or gone.
    """
    contents: list[bytes | None] = []
    names: list[str] = []
    for scan in scans:
        start = _DATA_URI.match(scan)
        if start is not None:
            try:
                contents.append(base64.b64decode(scan[start.end() :], validate=True))
            except binascii.Error:
                raise QuestionError("This data URI is not base64; encode the file anew.") from None
        elif ":" in scan or "/" in scan:
            raise QuestionError(_NO_ADDRESS)
        else:
            contents.append(None)
            names.append(scan)
    read = iter(uploaded(names) if names else [])
    return [next(read) if content is None else content for content in contents]
