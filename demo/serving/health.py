"""`GET /healthz`: is the app up, and can it answer?"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from demo.loading import EngineLoader

ADDRESS = "/healthz"


def health_route(loader: EngineLoader) -> Route:
    """200 with `{"status": "loading" | "ready", "answering": N, "missing": [arm, ...]}`.

    503 once the model has failed to load ("failed") or the app is ending ("closing").
    """

    def answer(request: Request) -> JSONResponse:
        status = "closing" if loader.closing else loader.phase
        content = {
            "status": status,
            "answering": loader.answering,
            "missing": sorted(loader.missing),
        }
        return JSONResponse(content, 503 if status in {"failed", "closing"} else 200)

    return Route(ADDRESS, answer, methods=["GET"])
