"""The routes (CONTRACT.md section 8), what every answer carries, and one line of log for each.

Nothing here waits for tables: what cannot be answered yet says so with 503. The log never has a path, an
address or a message: contact ids may be addresses.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import unquote, urlencode

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from schemas.events import ID_CHARACTERS_MAX
from streams.gateway import watching
from streams.gateway.access import Listen, host_checked, token_checked
from streams.gateway.acknowledging import ACKNOWLEDGE, ALERTS, PAGERDUTY, AcknowledgeRoutes
from streams.gateway.assets import PREFIX
from streams.gateway.board import CUSTOMERS, BoardPages
from streams.gateway.intake import RETRY_AFTER_SECONDS, Intake
from streams.gateway.login import Login
from streams.gateway.pages import CONTENT_SECURITY_POLICY, Pages, answer, json_answer, wants_json
from streams.gateway.reports import Reports
from streams.gateway.runbooks import Runbooks
from streams.gateway.service import Gateway
from streams.gateway.view import Views
from streams.gateway.watching import Watching
from streams.transport import TransportError

LISTEN: Final = web.AppKey("listen", Listen)
CONTACTS: Final = "/contacts/"
UNLOGGED: Final = frozenset({"/livez", "/readyz", "/metrics"})
log = structlog.get_logger(__name__)


def create_http(
    gateway: Gateway, listen: Listen, *, monotonic: Callable[[], float] = time.monotonic
) -> web.Application:
    """The application, to be served by `server.Server`. Starts nothing."""
    pages = Pages(
        with_token=listen.token is not None,
        silences_url=gateway.silences_url,
        last_week=(lambda: f"{gateway.now() - timedelta(days=7):%G-W%V}") if gateway.report is not None else None,
    )
    routes = _Routes(gateway, pages)
    login = Login(listen, pages)
    app = web.Application(
        middlewares=[_answered(monotonic), host_checked(listen), token_checked(listen, login.opens, login.asked_for)],
        client_max_size=gateway.body_bytes_max,
    )
    app[LISTEN] = listen
    if gateway.board is None:
        app.router.add_get("/", routes.home)
    else:
        views = Views(gateway, gateway.board, pages)
        board, watched = BoardPages(gateway, gateway.board, pages, views), Watching(gateway, gateway.board, views)
        app.router.add_get("/", board.page)
        app.router.add_get(watching.PATH, watched.changes)
        app.router.add_get(CUSTOMERS + "{customer_id:.+}", board.customer)
        app.on_shutdown.append(watched.close)
    app.router.add_get(PREFIX + "{name}", pages.assets.answer)
    app.router.add_get("/login", login.form)
    app.router.add_post("/login", login.enter)
    app.router.add_post("/logout", login.leave)
    app.router.add_get("/livez", routes.livez)
    app.router.add_get("/readyz", routes.readyz)
    app.router.add_get("/metrics", routes.metrics)
    app.router.add_get(CONTACTS + "{contact_id:.+}", routes.contact)
    app.router.add_get("/reports/{week}", Reports(gateway, pages).report)
    runbooks = Runbooks(pages)
    app.router.add_get("/runbooks/", runbooks.page)
    app.router.add_get("/runbooks/{name}", runbooks.page)
    app.router.add_post("/v1/events", Intake(gateway).take)
    if gateway.acknowledge is not None:
        taking = AcknowledgeRoutes(gateway.acknowledge)
        app.router.add_post(ALERTS + "{alert_id:.+}" + ACKNOWLEDGE, taking.alert)
        app.router.add_post(PAGERDUTY, taking.pagerduty)
    app.on_response_prepare.append(_safe_headers)
    return app


class _Routes:
    """What is answered to a GET."""

    def __init__(self, gateway: Gateway, pages: Pages) -> None:
        self._gateway = gateway
        self._pages = pages

    async def home(self, _request: web.Request) -> web.Response:
        return self._pages.html(200, "home", reasons=self._gateway.ready().reasons)

    async def livez(self, request: web.Request) -> web.Response:
        state = self._gateway.alive()
        stalled, limit = state.stalled_seconds, state.limit_seconds
        words = (
            "alive"
            if state.alive
            else f"nothing has moved for {stalled:.0f} s, though there is work (limit {limit:g} s)"
        )
        content = {"alive": state.alive, "stalled_seconds": round(stalled, 3), "limit_seconds": limit}
        return answer(request, 200 if state.alive else 503, [words], content)

    async def readyz(self, request: web.Request) -> web.Response:
        state = self._gateway.ready()
        content = {"ready": state.ready, "reasons": list(state.reasons)}
        return answer(request, 200 if state.ready else 503, list(state.reasons) or ["ready"], content)

    async def metrics(self, _request: web.Request) -> web.Response:
        body, content_type = self._gateway.metrics()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def contact(self, request: web.Request) -> web.Response:
        """The explanation. The id is all of the path behind `/contacts/`, slashes too, percent-decoded once."""
        contact_id = unquote(request.rel_url.raw_path.removeprefix(CONTACTS), errors="replace")
        try:
            at = _instant(request.query.get("at"))
        except ValueError:
            return self._said(request, 400, "Wanted an instant with a zone in `at`, such as 2026-11-21T10:00:00Z.")
        try:
            async with asyncio.timeout(self._gateway.explain_seconds):
                found = await self._gateway.explain(contact_id, at)
        except (TransportError, TimeoutError):
            return self._said(request, 503, "The contact cannot be looked up at the moment.")
        if found is not None:
            if wants_json(request):
                return json_answer(200, found)
            query = urlencode({"format": "json", **({"at": at.isoformat()} if at else {})})
            return self._pages.html(200, "contact", explanation=found, json_url=f"?{query}")
        reasons = self._gateway.ready().reasons
        if reasons:
            return self._said(request, 503, "The contact is not known yet, as not all is ready.", *reasons)
        shown = contact_id if len(contact_id) <= ID_CHARACTERS_MAX else f"{contact_id[:ID_CHARACTERS_MAX]}…"
        return self._said(request, 404, f"No contact {shown} is known here.")

    def _said(self, request: web.Request, status: int, *words: str) -> web.Response:
        """A sentence and what belongs to it, as a page or as JSON."""
        if wants_json(request):
            response = json_answer(status, {"error": words[0], "reasons": list(words[1:])})
        else:
            response = self._pages.html(status, "said", title=words[0], reasons=words[1:])
        if status == 503:
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    instant = datetime.fromisoformat(text.replace(" ", "+"))  # a plus sign in a query is a blank
    if instant.tzinfo is None:
        raise ValueError("no zone")
    return instant


def _answered(monotonic: Callable[[], float]) -> Middleware:
    """Every request gets an answer in words and a line in the log."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = monotonic()
        try:
            response = await handler(request)
        except web.HTTPException as refused:
            response = _in_words(request, refused)
        except Exception as error:  # noqa: BLE001 - ours, whatever it is; others go on being served
            log.error("http_failed", route=_route(request), error=type(error).__name__, at=_place(error))
            response = answer(request, 500, ["Something went wrong here; it is in the log."], {"error": "internal"})
        say = log.debug if _route(request) in UNLOGGED else log.info
        say(
            "http_request",
            method=request.method,
            route=_route(request),
            status=response.status,
            seconds=round(monotonic() - began, 4),
        )
        return response

    return middleware


def _in_words(request: web.Request, refused: web.HTTPException) -> web.Response:
    words = refused.text or refused.reason
    response = answer(request, refused.status, [words], {"error": words})
    for name in ("Allow", "WWW-Authenticate"):
        if name in refused.headers:
            response.headers[name] = refused.headers[name]
    return response


def _route(request: web.Request) -> str:
    """The pattern that matched, never the path."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "none"


def _place(error: BaseException) -> str:
    """Where it was raised: the message of an exception may carry a customer's words."""
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-4:]))


_FIXED: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "heardback",
}


async def _safe_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """What a browser must not do with any answer of ours; only an answer itself may say that it can be kept."""
    response.headers.update(_FIXED)
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    response.headers.setdefault("Cache-Control", "no-store")
