"""Serve the JavaScript modules of the page."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

_FOLDER = Path(__file__).parents[1] / "static" / "js"
# A year: another version has another address.
_KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}


@cache
def _modules() -> dict[str, bytes]:
    """Path below the folder to content, as of the start of the app."""
    paths = sorted(_FOLDER.rglob("*.js"))
    return {path.relative_to(_FOLDER).as_posix(): path.read_bytes() for path in paths}


@cache
def _version() -> str:
    return hashlib.sha256(repr(_modules()).encode()).hexdigest()[:16]


def module_addresses() -> list[str]:
    """Address of each module, without the prefix that the app lives under.

    It holds a digest of all of them: browsers may keep what they have loaded, and never mix two
    versions.
    """
    return [f"/modules/{_version()}/{name}" for name in _modules()]


def main_address() -> str:
    """Address of the module that imports the others."""
    return f"/modules/{_version()}/main.js"


def modules_route() -> Route:
    """The route that answers `module_addresses`."""
    return Route("/modules/{version}/{module:path}", _answer, methods=["GET"])


def _answer(request: Request) -> Response:
    content = _modules().get(request.path_params["module"])
    if content is None or request.path_params["version"] != _version():
        return PlainTextResponse("There is no such module.", 404)
    return Response(content, media_type="text/javascript", headers=_KEPT)
