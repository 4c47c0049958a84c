"""How a browser gives the token: once, in a form; then a cookie stands for it until the session ends.

The cookie is no token: it holds an instant, signed with the token, so that nothing is kept here and a new token
ends all sessions. It opens pages only: whoever posts needs the token itself, which no other site can send.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from streams.gateway.access import Listen
from streams.gateway.pages import Pages, wants_json

PATH: Final = "/login"
COOKIE: Final = "heardback_session"
SESSION_SECONDS: Final = 12 * 3_600
FORM_BYTES_MAX: Final = 10_000


class Login:
    """The form and the sessions. `clock` is seconds since 1970, the real ones."""

    def __init__(self, listen: Listen, pages: Pages, clock: Callable[[], float] = time.time) -> None:
        self._token = None if listen.token is None else listen.token.encode()
        self._pages = pages
        self._clock = clock

    def opens(self, request: web.Request) -> bool:
        """Whether the request comes from a session that has not ended, and only looks."""
        if self._token is None or request.method not in ("GET", "HEAD"):
            return False
        until, _, signature = request.cookies.get(COOKIE, "").partition(".")
        if not until.isdecimal() or len(until) > 12:
            return False
        signed = hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), self._signature(until).encode())
        return signed and int(until) > self._clock()

    def asked_for(self, request: web.Request) -> web.Response | None:
        """What a browser is shown in place of a page that it may not see: the form. None for all others."""
        browser = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
        if not browser or wants_json(request):
            return None
        return self._form(401, request.path_qs)

    async def form(self, _request: web.Request) -> web.Response:
        """`GET /login`."""
        return self._form(200, "/") if self._token else _to("/")

    async def enter(self, request: web.Request) -> web.Response:
        """`POST /login`: a cookie for the right token, the form again for another."""
        if (request.content_length or 0) > FORM_BYTES_MAX:
            raise web.HTTPRequestEntityTooLarge(max_size=FORM_BYTES_MAX, actual_size=request.content_length or 0)
        given = await request.post()
        token, to = given.get("token"), given.get("to")
        target = _ours(to) if isinstance(to, str) else "/"
        if self._token is None:
            return _to(target)
        offered = token.strip().encode("utf-8", "surrogateescape") if isinstance(token, str) else b""
        if not hmac.compare_digest(offered, self._token):
            return self._form(401, target, wrong=True)
        until = str(int(self._clock()) + SESSION_SECONDS)
        response = _to(target)
        response.set_cookie(
            COOKIE,
            f"{until}.{self._signature(until)}",
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="Strict",
            secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
        )
        return response

    async def leave(self, _request: web.Request) -> web.Response:
        """`POST /logout`: the browser forgets its session."""
        response = _to(PATH)
        response.del_cookie(COOKIE)
        return response

    def _form(self, status: int, to: str, *, wrong: bool = False) -> web.Response:
        response = self._pages.html(status, "login", to=to, wrong=wrong)
        if status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    def _signature(self, until: str) -> str:
        assert self._token is not None
        return hmac.new(self._token, f"heardback session until {until}".encode(), hashlib.sha256).hexdigest()


def _ours(target: str) -> str:
    """A path of ours; what leads elsewhere (`//evil.example`, `/\\evil.example`) becomes the board."""
    parts = urlsplit(target)
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return target if safe and target.isprintable() and "\\" not in target else "/"


def _to(path: str) -> web.Response:
    """See other (303): after a form a browser asks by GET."""
    return web.Response(status=303, headers={"Location": path})
