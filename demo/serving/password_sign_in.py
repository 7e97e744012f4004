"""Sign in with a password, and sign out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from time import monotonic

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from demo.authentication import SIGN_IN_COOKIE, VISITOR_COOKIE, SignIn
from demo.serving.attempts import Attempts
from demo.serving.caller import Caller, caller_of, group_of
from demo.serving.middleware import Cookies
from demo.templating import render_template
from rarl.review.roles import canonical_name

log = logging.getLogger(__name__)

# All outcomes take this long at least, so that the time tells nothing about a name.
_SECONDS = 0.5
# Passwords that are checked at once, each on a core of its own, and that wait for it.
_AT_ONCE = 2
_WAITING = 40
_LONGEST = 256


@dataclass
class Gate:
    """The sign-in page and what is behind it.

    Attributes:
        sign_in: who is who.
        attempts: how often somebody has tried.
        left: told who has signed out.
    """

    sign_in: SignIn
    attempts: Attempts = field(default_factory=Attempts)
    left: Callable[[Caller], None] = lambda caller: None
    _checking: int = 0
    _limiter: anyio.CapacityLimiter | None = None

    def routes(self) -> list[Route]:
        """`GET` and `POST /login`, and `POST /logout`."""
        return [
            Route("/login", self._page, methods=["GET"]),
            Route("/login", self._enter, methods=["POST"]),
            Route("/logout", self._leave, methods=["POST"]),
        ]

    async def _page(self, request: Request) -> Response:
        if self.sign_in.way not in ("htpasswd", "huggingface") or caller_of(request).role:
            return RedirectResponse("./", 303)
        return self._drawn()

    def _drawn(self, trouble: str = "", status: int = 200, wait: float = 0) -> Response:
        page = render_template(
            "gate.html",
            title="Sign in to RARL",
            words="Use the name and the password of this site."
            if self.sign_in.way == "htpasswd"
            else "This site asks who you are.",
            trouble=trouble,
            form="password" if self.sign_in.way == "htpasswd" else "huggingface",
        )
        headers = {"Retry-After": str(ceil(wait))} if wait else None
        return HTMLResponse(page, status, headers)

    async def _enter(self, request: Request) -> Response:
        """Check a name and a password, off the loop that answers everybody else."""
        browser = "text/html" in request.headers.get("accept", "")
        if self.sign_in.way != "htpasswd":
            return JSONResponse({"detail": "This site has no passwords."}, 404)
        form = await request.form(max_files=0, max_fields=10)
        word, password = form.get("username"), form.get("password")
        if not isinstance(word, str) or not isinstance(password, str):
            return self._refused(browser, "Give a name and a password.", 400)
        name = canonical_name(word[:_LONGEST]) or ""
        address = group_of(caller_of(request).address)
        started = monotonic()
        wait = self.attempts.begin(name, address)
        if wait > 0 or self._checking >= _WAITING:
            log.warning("sign-in held back", extra={"facts": {"address": address}})
            sentence = f"Too many attempts; try again in {ceil(wait or 1)} seconds."
            return self._refused(browser, sentence, 429, wait or 1)
        right = await self._is_right(name, password[:_LONGEST])
        await asyncio.sleep(max(0.0, _SECONDS - (monotonic() - started)))
        if not right:
            log.warning("sign-in refused", extra={"facts": {"address": address}})
            return self._refused(browser, "Name or password is wrong.", 400)
        self.attempts.succeeded(name, address)
        cookies: Cookies = request.scope["rarl.cookies"]
        cookies.set(SIGN_IN_COOKIE, self.sign_in.signed_in.begin(name))
        log.info("signed in")
        return RedirectResponse("./", 303) if browser else JSONResponse({"success": True})

    async def _is_right(self, name: str, password: str) -> bool:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self._checking += 1
        try:
            return await anyio.to_thread.run_sync(
                self.sign_in.may_enter, name, password, limiter=self._limiter
            )
        finally:
            self._checking -= 1

    def _refused(self, browser: bool, sentence: str, status: int, wait: float = 0) -> Response:
        if browser:
            return self._drawn(sentence, status, wait)
        headers = {"Retry-After": str(ceil(wait))} if wait else None
        return JSONResponse({"detail": sentence}, status, headers)

    async def _leave(self, request: Request) -> Response:
        """Sign out, in all browsers of this person; the page that stood here is nobody's now."""
        self.left(caller_of(request))
        word = request.cookies.get(SIGN_IN_COOKIE, "")
        self.sign_in.signed_in.end(word)
        cookies: Cookies = request.scope["rarl.cookies"]
        key = self.sign_in.key_cookie(request.scope)
        for name in (SIGN_IN_COOKIE, VISITOR_COOKIE, "session", key):
            cookies.set(name, "", 0)
        return RedirectResponse("login" if self.sign_in.way != "local" else "./", 303)
