"""`/board/changes`: what changed of a page of the board, for as long as somebody keeps it open.

Server-sent events (HTML Living Standard, section 9.2), at most one a second, from one standing for all who watch. The
first event of a connection is everything, unless the browser says that it has just that; later ones hold the rows
that differ. An event's id is the version of what is shown, so that a browser that comes back is sent what it lacks.
"""

from __future__ import annotations

import asyncio
from typing import Final

import orjson
from aiohttp import web

from streams.board import Board, Standing
from streams.gateway.intake import RETRY_AFTER_SECONDS
from streams.gateway.service import Gateway
from streams.gateway.view import View, Views, asked

PATH: Final = "/board/changes"
TICK_SECONDS: Final = 1.0
WATCHERS_MAX: Final = 500
SEND_SECONDS: Final = 30.0


class Watching:
    """The route. `close` is called when the server ends, so that it waits for nobody who watches."""

    def __init__(self, gateway: Gateway, board: Board, views: Views) -> None:
        self._gateway, self._board, self._views = gateway, board, views
        self._closing = asyncio.Event()
        self._watchers = 0

    async def close(self, _app: web.Application) -> None:
        """Those who watch are told no more."""
        self._closing.set()

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """`GET /board/changes`, with the query of the page and the `version` that it has."""
        if self._watchers >= WATCHERS_MAX:
            raise web.HTTPServiceUnavailable(text="Too many are watching already; reload the page instead.")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        self._watchers += 1
        try:
            await response.prepare(request)
            await self._tell(request, response)
        except (ConnectionError, TimeoutError):
            pass  # the browser went away: nothing is lost, it will ask again
        finally:
            self._watchers -= 1
        return response

    async def _tell(self, request: web.Request, response: web.StreamResponse) -> None:
        what = asked(request.query)
        has = request.headers.get("Last-Event-ID") or request.query.get("version", "")
        told: View | None = None
        last: Standing | None = None
        quiet, watched, seen = 0.0, 0.0, None
        await _send(response, f"retry: {RETRY_AFTER_SECONDS * 1_000}\n\n")
        while not self._closing.is_set() and watched < self._gateway.watch_seconds:
            version = (self._board.version, self._board.caught_up)
            if version != seen or quiet >= self._gateway.quiet_seconds:
                standing = await self._board.standing()
                if standing is not last:
                    seen, quiet, last = version, 0.0, standing
                    view = self._views.view(standing, what)
                    same = told.version == view.version if told else has == view.version
                    await _send(response, _time_only(view) if same else _event(view, told))
                    told = view
            quiet, watched = quiet + TICK_SECONDS, watched + TICK_SECONDS
            try:
                await asyncio.wait_for(self._closing.wait(), TICK_SECONDS)
            except TimeoutError:
                continue


def _event(view: View, told: View | None) -> str:
    """What differs from what was told before, everything where nothing was."""
    parts = {name: text for name, text in view.parts.items() if told is None or told.parts[name] != text}
    rows = {key: html for key, html in view.rows.items() if told is None or told.rows.get(key) != html}
    data = orjson.dumps({"parts": parts, "order": list(view.rows), "rows": rows, "version": view.version}).decode()
    return f"event: board\nid: {view.version}\ndata: {data}\n\n"


def _time_only(view: View) -> str:
    """Nothing differs: a sign of life, and what time it is."""
    return f"event: now\ndata: {orjson.dumps(view.parts['now']).decode()}\n\n"


async def _send(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await response.write(text.encode("utf-8", "replace"))
