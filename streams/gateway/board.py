"""`/`, its changes as they happen, and `/customers/{id}`: who is waiting, as pages and as JSON.

A page holds a bounded number of rows. Whoever keeps it open is sent what changed of these rows, at most once a
second and from one standing for all (server-sent events, HTML Living Standard, section 9.2); the first thing sent on
a connection is everything that differs from what the browser says it has. Who waits is told by `streams.board`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

import orjson
from aiohttp import web

from schemas.events import ID_CHARACTERS_MAX
from streams.board import FILTERS, Board, Filter, Ranked, Row, Standing
from streams.engine.calendar import from_us
from streams.engine.outcome import instant_text
from streams.gateway.customer import Told, told_of
from streams.gateway.intake import RETRY_AFTER_SECONDS
from streams.gateway.pages import Pages, json_answer, open_time, wants_json
from streams.gateway.service import Gateway

CHANGES: Final = "/board/changes"
CUSTOMERS: Final = "/customers/"
PAGE_ROWS: Final = 100
TICK_SECONDS: Final = 1.0
WATCHERS_MAX: Final = 500
SEND_SECONDS: Final = 30.0
_SOON_US: Final = 3_600_000_000
_FILTER_CHARACTERS_MAX: Final = ID_CHARACTERS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an address asks for: a filter and a page of it, from 1."""

    wanted: Filter
    page: int

    def query(self, page: int = 1) -> str:
        """The same filter as a query, with its question mark; empty where nothing is asked for."""
        parts = {name: value for name, value in asdict(self.wanted).items() if value is not None}
        return f"?{urlencode(parts | ({'page': page} if page > 1 else {}))}" if parts or page > 1 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one page shows. `parts` are the pieces beside the rows that may change, `rows` the HTML of each
    customer's row, in order; `version` names all of it."""

    parts: Mapping[str, str]
    rows: Mapping[str, str]
    version: str


class BoardPages:
    """The routes. `closing` is set when the server ends, so that nobody waits for those who watch."""

    def __init__(self, gateway: Gateway, board: Board, pages: Pages) -> None:
        self._gateway, self._board, self._pages = gateway, board, pages
        self._closing = asyncio.Event()
        self._watchers = 0
        self._rendered: tuple[Standing | None, dict[str, str]] = (None, {})

    async def close(self, _app: web.Application) -> None:
        """Those who watch are told no more."""
        self._closing.set()

    async def page(self, request: web.Request) -> web.Response:
        """`GET /`."""
        asked, standing = _asked(request), await self._board.standing()
        found = standing.asked(asked.wanted)
        shown, pages = _page_of(found, asked.page)
        if wants_json(request):
            return self._json(standing, found, shown, asked)
        view = self._view(standing, found, shown, asked)
        query = asked.query(asked.page)
        return self._pages.html(
            200,
            "board",
            view=view,
            rows=list(view.rows.values()),
            asked=asked,
            choices=_choices(standing, asked.wanted),
            changes=f"{CHANGES}{query}",
            json_url=f"/{query}{'&' if query else '?'}format=json",
            page=min(asked.page, pages),
            pages=pages,
        )

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """`GET /board/changes`: what changed of a page, for as long as it is open."""
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
        asked = _asked(request)
        has = request.headers.get("Last-Event-ID") or request.query.get("version", "")
        told: View | None = None
        last: Standing | None = None
        quiet, seen = 0.0, None
        await _send(response, f"retry: {RETRY_AFTER_SECONDS * 1_000}\n\n")
        while not self._closing.is_set():
            version = (self._board.version, self._board.caught_up)
            if version != seen or quiet >= self._gateway.quiet_seconds:
                standing = await self._board.standing()
                if standing is not last:
                    seen, quiet, last = version, 0.0, standing
                    found = standing.asked(asked.wanted)
                    view = self._view(standing, found, _page_of(found, asked.page)[0], asked)
                    same = told.version == view.version if told else has == view.version
                    await _send(response, _time_only(view) if same else _event(view, told))
                    told = view
            quiet += TICK_SECONDS
            try:
                await asyncio.wait_for(self._closing.wait(), TICK_SECONDS)
            except TimeoutError:
                continue

    # -- what is shown

    def _view(self, standing: Standing, found: Sequence[Ranked], shown: Sequence[Ranked], asked: Asked) -> View:
        notices = self._notices()
        rows = {} if not self._board.caught_up else {one.customer_id: self._row(standing, one) for one in shown}
        counts = _counts(found)
        parts = {
            "notices": self._pages.part("notices", notices=notices, alerts=self._about_heardback()),
            "summary": self._pages.part(
                "summary", counts=counts, caught_up=self._board.caught_up, filtered=asked.wanted != Filter()
            ),
            "said": _said(counts) if self._board.caught_up else "Catching up.",
            "empty": self._empty(found, asked),
        }
        digest = hashlib.blake2b(digest_size=8)
        for text in (*parts.values(), *rows, *rows.values()):
            digest.update(text.encode("utf-8", "replace"))
        version = digest.hexdigest()
        return View(parts=parts | {"now": self._now(standing)}, rows=rows, version=version)

    def _row(self, standing: Standing, ranked: Ranked) -> str:
        """The row of a customer, made once for all who look at this standing."""
        if self._rendered[0] is not standing:
            self._rendered = (standing, {})
        rows = self._rendered[1]
        if ranked.customer_id not in rows:
            rows[ranked.customer_id] = self._pages.part("row", row=standing.row(ranked), now_us=standing.now_us)
        return rows[ranked.customer_id]

    def _empty(self, found: Sequence[Ranked], asked: Asked) -> str:
        if found or not self._board.caught_up:
            return ""
        return (
            "Nobody like this is waiting." if asked.wanted != Filter() else "Nobody is waiting. Everybody heard back."
        )

    def _now(self, standing: Standing) -> str:
        return f"{from_us(standing.now_us):%a %d %b %H:%M:%S} UTC"

    def _notices(self) -> list[str]:
        board, found = self._board, [f"Not ready: {reason}." for reason in self._gateway.ready().reasons]
        if board.failed:
            found.append("The board has stopped by a mistake of ours: what it shows is old. The log has the cause.")
        elif not board.caught_up:
            found.append("Catching up: reading what happened so far. Who waits is shown as soon as all of it is known.")
        if (since := board.away_since) is not None:
            found.append(f"The broker has not answered since {since:%H:%M:%S} UTC: what is shown may be out of date.")
        if board.unreadable:
            found.append(f"{board.unreadable} records on the topics could not be read, and are missing here.")
        return found

    def _about_heardback(self) -> Sequence[Any]:
        return sorted(self._board.waiting.about_heardback.values(), key=lambda alert: alert.starts_us)

    def _json(self, standing: Standing, found: Sequence[Ranked], shown: Sequence[Ranked], asked: Asked) -> web.Response:
        if not self._board.caught_up:
            return self._not_yet()
        content = {
            "at": instant_text(standing.now_us),
            "notices": self._notices(),
            "filter": asdict(asked.wanted),
            "counts": _counts(found),
            "page": asked.page,
            "rows": [row_json(standing.row(one)) for one in shown],
        }
        return json_answer(200, content)

    def _not_yet(self) -> web.Response:
        response = json_answer(503, {"error": "catching up", "reasons": self._notices()})
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response

    # -- one customer

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
            notices=self._notices(),
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


def _asked(request: web.Request) -> Asked:
    """An address that makes no sense asks for everything."""
    given = {name: request.query.get(name) or None for name in FILTERS}
    kept = {name: value[:_FILTER_CHARACTERS_MAX] for name, value in given.items() if value is not None}
    page = request.query.get("page", "1")
    return Asked(wanted=Filter(**kept), page=max(1, int(page)) if page.isdecimal() and len(page) < 7 else 1)


def _page_of(found: Sequence[Ranked], page: int) -> tuple[Sequence[Ranked], int]:
    """The rows of a page, or of the last one, and how many pages there are."""
    pages = max(1, -(-len(found) // PAGE_ROWS))
    first = (min(page, pages) - 1) * PAGE_ROWS
    return found[first : first + PAGE_ROWS], pages


def _choices(standing: Standing, wanted: Filter) -> dict[str, list[str]]:
    """What can be chosen, with what is chosen although nobody is like it any more."""
    chosen = asdict(wanted)
    return {
        name: values if chosen[name] is None or chosen[name] in values else sorted([*values, chosen[name]])
        for name, values in standing.choices().items()
    }


def _counts(found: Sequence[Ranked]) -> dict[str, Any]:
    groups = [sum(1 for one in found if one.group == group) for group in (0, 1, 2)]
    soon = sum(1 for one in found if one.group == 1 and one.past_us is not None and -one.past_us <= _SOON_US)
    longest = found[0].past_us if found and found[0].group == 0 else None
    return {
        "waiting": len(found),
        "over": groups[0],
        "due_within_the_hour": soon,
        "in_time": groups[1],
        "without_promise": groups[2],
        "longest_over_seconds": None if longest is None else longest / 1_000_000,
    }


def _said(counts: Mapping[str, Any]) -> str:
    """The board in a sentence, for those who hear it."""
    waiting, over = counts["waiting"], counts["over"]
    if not waiting:
        return "Nobody is waiting."
    who = "1 customer waits" if waiting == 1 else f"{waiting} customers wait"
    longest = counts["longest_over_seconds"]
    if not over or longest is None:
        return f"{who}, nobody over their promise."
    return f"{who}, {over} over their promise, the longest by {open_time(longest)} of open time."


def _event(view: View, told: View | None) -> str:
    """One server-sent event: what differs from what was told before, everything where nothing was."""
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
