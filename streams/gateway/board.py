"""`/` and `/customers/{id}`: who is waiting, as pages and as JSON.

Who waits is told by `streams.board`; what a page of them shows is made in `view`, what is sent later in `watching`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, unquote

from aiohttp import web

from schemas.events import ID_CHARACTERS_MAX
from streams.board import Board, Row, Standing
from streams.engine.outcome import instant_text
from streams.gateway import watching
from streams.gateway.customer import Told, told_of
from streams.gateway.intake import RETRY_AFTER_SECONDS
from streams.gateway.pages import Pages, json_answer, wants_json
from streams.gateway.service import Gateway
from streams.gateway.view import Asked, Views, asked, choices, counts_of, page_of

CUSTOMERS: Final = "/customers/"


class BoardPages:
    """The routes."""

    def __init__(self, gateway: Gateway, board: Board, pages: Pages, views: Views) -> None:
        self._gateway, self._board, self._pages, self._views = gateway, board, pages, views

    async def page(self, request: web.Request) -> web.Response:
        """`GET /`."""
        what, standing = asked(request.query), await self._board.standing()
        if wants_json(request):
            return self._json(standing, what)
        view = self._views.view(standing, what)
        query = what.query(view.page)
        return self._pages.html(
            200,
            "board",
            view=view,
            asked=what,
            choices=choices(standing, what.wanted),
            changes=f"{watching.PATH}{query}",
            json_url=f"/{query}{'&' if query else '?'}format=json",
        )

    def _json(self, standing: Standing, what: Asked) -> web.Response:
        if not self._board.caught_up:
            return self._not_yet()
        found = standing.asked(what.wanted)
        shown, page, pages = page_of(found, what.page)
        content = {
            "at": instant_text(standing.now_us),
            "notices": self._views.notices(),
            "filter": asdict(what.wanted),
            "counts": counts_of(found),
            "page": page,
            "pages": pages,
            "rows": [row_json(standing.row(one)) for one in shown],
        }
        return json_answer(200, content)

    def _not_yet(self) -> web.Response:
        response = json_answer(503, {"error": "catching up", "reasons": self._views.notices()})
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response

    async def customer(self, request: web.Request) -> web.Response:
        """`GET /customers/{id}`: the id is all of the path behind it, percent-decoded once."""
        customer_id = unquote(request.rel_url.raw_path.removeprefix(CUSTOMERS), errors="replace")
        as_json = wants_json(request)
        if not self._board.caught_up:
            return self._not_yet() if as_json else self._said(503, "Catching up: ask again in a moment.")
        told = told_of(customer_id, self._board, self._gateway.now())
        if told is None:
            known = customer_id if len(customer_id) <= ID_CHARACTERS_MAX else f"{customer_id[:ID_CHARACTERS_MAX]}…"
            why = "Only customers who wait, or were answered lately, and those of the customers topic are shown."
            words = f"No customer {known} is known here."
            return json_answer(404, {"error": words}) if as_json else self._said(404, words, why)
        if as_json:
            return json_answer(200, _customer_json(told))
        return self._pages.html(
            200,
            "customer",
            told=told,
            notices=self._views.notices(),
            json_url=f"{CUSTOMERS}{quote(customer_id, safe='')}?format=json",
        )

    def _said(self, status: int, *words: str) -> web.Response:
        return self._pages.html(status, "said", title=words[0], reasons=words[1:])


def row_json(row: Row) -> dict[str, Any]:
    """A row as JSON; instants as in outcomes, durations in seconds."""
    content = asdict(row) | {
        "due_at": None if row.due_us is None else instant_text(row.due_us),
        "since": instant_text(row.since_us),
        "channels": [tried._asdict() for tried in row.channels],
        "paging": {
            "state": row.paging.state,
            "words": row.paging.words,
            "since": None if row.paging.since_us is None else instant_text(row.paging.since_us),
        },
    }
    del content["due_us"], content["since_us"]
    return content


def _customer_json(told: Told) -> dict[str, Any]:
    customer = told.customer.model_dump(mode="json", exclude={"identities"}) if told.customer else None
    return {
        "customer_id": told.customer_id,
        "at": _text(told.now),
        "customer": customer,
        "row": row_json(told.row) if told.row else None,
        "clocks": [
            {
                "contact_id": one.clock.contact_id,
                "target": one.clock.target,
                "cycle": one.clock.cycle,
                "policy": one.clock.policy,
                "stage": one.clock.stage,
                "due_at": None if one.clock.due_us is None else instant_text(one.clock.due_us),
                "past_seconds": one.past_seconds,
            }
            for one in told.clocks
        ],
        "timeline": [
            {"at": _text(step.at), "kind": step.kind, "channel": step.channel, "contact_id": step.contact_id}
            | {"words": step.words}
            for step in told.steps
        ],
    }


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
