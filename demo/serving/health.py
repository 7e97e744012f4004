"""`GET /healthz`: whether the app runs, can answer and can store a flag."""

from __future__ import annotations

from threading import Lock
from time import monotonic

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from demo.services.engine_loader import EngineLoader
from demo.services.flagging import Desk
from rarl.errors import ReviewError

ADDRESS = "/healthz"
# The store is looked at so often at most, in seconds.
_AGAIN_SECONDS = 5.0


def health_route(loader: EngineLoader, desk: Desk) -> Route:
    """200 with `{"status": "loading" | "ready", "answering": N, "missing": [arm, ...]}`.

    503 once the model has failed to load ("failed"), the app is ending ("closing"), or no flag can
    be stored ("degraded": questions are answered and cases can be read; `store` says why).
    """
    lock = Lock()
    looked: tuple[float, str] = (float("-inf"), "")

    def store_trouble() -> str:
        nonlocal looked
        with lock:
            if monotonic() - looked[0] > _AGAIN_SECONDS:
                try:
                    desk.open().check()
                    looked = monotonic(), ""
                except ReviewError as error:
                    looked = monotonic(), str(error)
            return looked[1]

    def answer(request: Request) -> JSONResponse:
        status: str = "closing" if loader.closing else loader.phase
        content: dict[str, object] = {
            "status": status,
            "answering": loader.answering,
            "missing": sorted(loader.missing),
        }
        if status == "ready" and (trouble := store_trouble()):
            content |= {"status": "degraded", "store": trouble}
        failed = content["status"] in {"failed", "closing", "degraded"}
        return JSONResponse(content, 503 if failed else 200)

    return Route(ADDRESS, answer, methods=["GET"])
