"""Serve raw frames of open scans to the page that opened them, and measure on them."""

from __future__ import annotations

import json
import secrets
from typing import Any
from weakref import WeakValueDictionary

import anyio
import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from demo.services.volumes import Volume
from demo.serving.caller import caller_of
from demo.viewer.measuring import take_drawings
from rarl.errors import ScanError
from rarl.scans import Stack, View, Window, decoding_for

ADDRESS = "/scan/frame"
MEASURE_ADDRESS = "/scan/measure"

# What the page must not leave behind: nothing in a cache on disk, nothing for other sites.
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class FrameServer:
    """Serves frames by an unguessable token per opened scan.

    The tokens live in memory, and here only weakly: a scan that its session lets go of can no
    longer be read. A token travels in a header, since addresses end up in logs and histories.
    """

    def __init__(self) -> None:
        self._open: WeakValueDictionary[str, Volume] = WeakValueDictionary()

    def admit(self, volume: Volume, token: str = "") -> str:
        """Make a scan readable; returns its token (256 random bits), or the one it had before."""
        token = token or secrets.token_urlsafe(32)
        self._open[token] = volume
        return token

    def routes(self) -> list[Route]:
        """What the page asks, with the header `X-Scan-Token`; 404 for one that is not there.

        `GET /scan/frame?plane=&frame=&time=`: the frame's values, little endian, row by row; the
        header `X-Frame` says in JSON how to read them (see `frame_bytes`).

        `POST /scan/measure` of `{drawings}`: `{drawings}` with their numbers, see `take_drawings`;
        400 for what is no drawing.
        """
        return [
            # A plain function, so that Starlette runs it in a thread.
            Route(ADDRESS, self._answer, methods=["GET"]),
            Route(MEASURE_ADDRESS, self._measure, methods=["POST"]),
        ]

    async def _measure(self, request: Request) -> Response:
        volume = self._open.get(request.headers.get("x-scan-token", ""))
        if volume is None or not volume.shown:
            return PlainTextResponse("No such scan.", 404, _HEADERS)

        def work(given: object) -> Response:
            try:
                with decoding_for(caller_of(request).share):
                    drawings = take_drawings(volume, given)
            except ScanError as error:
                return PlainTextResponse(str(error), 422, _HEADERS)
            return JSONResponse({"drawings": drawings}, 200, _HEADERS)

        try:
            return await anyio.to_thread.run_sync(work, (await request.json())["drawings"])
        except (KeyError, TypeError, ValueError):
            return PlainTextResponse("These are no drawings.", 400, _HEADERS)

    def _answer(self, request: Request) -> Response:
        volume = self._open.get(request.headers.get("x-scan-token", ""))
        asked = request.query_params
        if volume is None or not volume.shown:
            return PlainTextResponse("No such scan.", 404, _HEADERS)
        try:
            with decoding_for(caller_of(request).share):
                stack = volume.stack()
        except ScanError as error:
            return PlainTextResponse(str(error), 422, _HEADERS)
        try:
            plane = asked.get("plane", "")
            frame, time = int(asked.get("frame", "")), int(asked.get("time", ""))
            known = plane in stack.planes and 0 <= time < stack.times
            if not known or not 0 <= frame < stack.frames(plane):
                raise ValueError
        except ValueError:
            return PlainTextResponse("No such frame.", 404, _HEADERS)
        try:
            facts, body = frame_bytes(stack, plane, frame, time)
        except ScanError as error:
            return PlainTextResponse(str(error), 422, _HEADERS)
        return Response(
            body, 200, {**_HEADERS, "X-Frame": json.dumps(facts)}, "application/octet-stream"
        )


def frame_bytes(stack: Stack, plane: str, frame: int, time: int) -> tuple[dict[str, Any], bytes]:
    """One frame for the page.

    Returns:
        What stands in `X-Frame`, and the bytes. The facts: `type` (int16, int32, float32 or
        uint8) and `rows`, `columns`, `channels` of the values; `letters` of the edges (left,
        right, top, bottom) or None; `stored`: rows and columns on the file's own
        grid, which drawings count; for grey frames also `window` and
        `ownCurve` (centre and width, and the VOI LUT function, of the picture that the file itself
        asks for), `curve` (the function of windows that the reader sets), `auto` (centre and
        width by percentile), `inverse` (low values are shown white) and `picture`: whether the
        8-bit picture follows the values, since the file's presentation is a look-up table. Last
        comes, where `overlay` says so, a bitmap of what the file draws over the frame.
    """
    values = stack.values(plane, frame, time)
    rows, columns = values.shape[:2]
    letters = stack.letters(plane, frame)
    overlay = stack.overlay(plane, frame, time)
    drawn = b"" if overlay is None else np.packbits(overlay).tobytes()
    facts: dict[str, Any] = {"rows": rows, "columns": columns, "letters": letters}
    facts["overlay"] = bool(drawn)
    facts["stored"] = stack.stored_shape(plane, frame, time)
    if stack.color:
        return {**facts, "type": "uint8", "channels": 3}, _little(values, "<u1") + drawn
    values = _narrow(values)
    body = _little(values, values.dtype.newbyteorder("<").str)
    automatic = stack.auto_window(plane, frame, time)
    own = stack.own_window(plane, frame, time)
    window, curve = own or (automatic, stack.function)
    if own is None:
        picture = np.asarray(stack.scan(View(plane, frame, time)).image)
        body += np.ascontiguousarray(picture).tobytes()
    return {
        **facts,
        "type": values.dtype.name,
        "channels": 1,
        "window": _pair(window),
        "ownCurve": curve,
        "curve": stack.function,
        "auto": _pair(automatic),
        "inverse": stack.inverted,
        "picture": own is None,
    }, body + drawn


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Half the bytes, and a look-up table in the page, where 16 bits hold every value."""
    if values.dtype.kind == "i" and values.dtype.itemsize > 2:
        low, high = int(values.min()), int(values.max())
        if low >= -(1 << 15) and high < 1 << 15:
            return values.astype(np.int16)
    return values


def _little(values: NDArray[Any], form: str) -> bytes:
    return np.ascontiguousarray(values, dtype=form).tobytes()


def _pair(window: Window) -> list[float]:
    return [window.center, window.width]
