"""What one page of the board shows: the rows of a filter, as HTML, and the pieces beside them.

The same pieces make the page and what is sent later to those who keep it open, so that both always agree. A page has
a bounded number of rows; rows and views are made once for all who look at the same standing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlencode

from schemas.events import ID_CHARACTERS_MAX
from streams.board import FILTERS, Alert, Board, Filter, Ranked, Standing
from streams.engine.calendar import from_us
from streams.gateway.pages import Pages, open_time
from streams.gateway.service import Gateway

PAGE_ROWS: Final = 100
_SOON_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an address asks for: a filter and a page of it, from 1."""

    wanted: Filter
    page: int

    def query(self, page: int = 1) -> str:
        """The same filter as a query, with its question mark; empty where nothing is asked for."""
        parts = {name: value for name, value in asdict(self.wanted).items() if value is not None}
        return f"?{urlencode(parts | ({'page': page} if page > 1 else {}))}" if parts or page > 1 else ""


def asked(query: Mapping[str, str]) -> Asked:
    """What a query asks for; one that makes no sense asks for everything."""
    given = {name: query.get(name) or None for name in FILTERS}
    kept = {name: value[:ID_CHARACTERS_MAX] for name, value in given.items() if value is not None}
    page = query.get("page", "1")
    return Asked(wanted=Filter(**kept), page=max(1, int(page)) if page.isdecimal() and len(page) < 7 else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one page shows. `parts` are the pieces beside the rows that may change, `rows` the HTML of each
    customer's row, in order; `version` names all of it but the time of day."""

    parts: Mapping[str, str]
    rows: Mapping[str, str]
    version: str
    page: int
    pages: int


class Views:
    """Makes them, for one board."""

    def __init__(self, gateway: Gateway, board: Board, pages: Pages) -> None:
        self._gateway, self._board, self._pages = gateway, board, pages
        self._of: Standing | None = None
        self._rows: dict[str, str] = {}
        self._views: dict[tuple[Asked, bool], View] = {}

    def view(self, standing: Standing, what: Asked) -> View:
        """What is shown of a standing, made once for all who ask for the same. Nobody before the board has caught up:
        who was answered would be among them."""
        if self._of is not standing:
            self._of, self._rows, self._views = standing, {}, {}
        key = what, self._board.caught_up
        found = self._views.get(key)
        if found is None:
            found = self._views[key] = self._made(standing, what)
        return found

    def _made(self, standing: Standing, what: Asked) -> View:
        found = standing.asked(what.wanted)
        shown, page, pages = page_of(found, what.page)
        caught_up = self._board.caught_up
        rows = {one.customer_id: self._row(standing, one) for one in shown} if caught_up else {}
        counts, filtered = counts_of(found), what.wanted != Filter()
        parts = {
            "notices": self._pages.part("notices", notices=self.notices(), alerts=self._about_heardback()),
            "summary": self._pages.part("summary", counts=counts, caught_up=caught_up, filtered=filtered),
            "said": _in_a_sentence(counts) if caught_up else "Catching up.",
            "empty": "" if found or not caught_up else _nobody(filtered=filtered),
        }
        digest = hashlib.blake2b(digest_size=8)
        for text in (*parts.values(), *rows, *rows.values()):
            digest.update(text.encode("utf-8", "replace"))
        now = f"{from_us(standing.now_us):%a %d %b %H:%M:%S} UTC"
        return View(parts={**parts, "now": now}, rows=rows, version=digest.hexdigest(), page=page, pages=pages)

    def notices(self) -> list[str]:
        """What stands against what is shown."""
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

    def _about_heardback(self) -> Sequence[Alert]:
        return sorted(self._board.waiting.about_heardback.values(), key=lambda alert: alert.starts_us)

    def _row(self, standing: Standing, ranked: Ranked) -> str:
        if ranked.customer_id not in self._rows:
            self._rows[ranked.customer_id] = self._pages.part("row", row=standing.row(ranked))
        return self._rows[ranked.customer_id]


def page_of(found: Sequence[Ranked], page: int) -> tuple[Sequence[Ranked], int, int]:
    """The rows of a page, or of the last one; which page that is, and how many there are."""
    pages = max(1, -(-len(found) // PAGE_ROWS))
    page = min(page, pages)
    return found[(page - 1) * PAGE_ROWS : page * PAGE_ROWS], page, pages


def counts_of(found: Sequence[Ranked]) -> dict[str, Any]:
    """How many wait, and how: `longest_over_seconds` is open time, None where nobody is over their promise."""
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


def choices(standing: Standing, wanted: Filter) -> dict[str, list[str]]:
    """What can be chosen, with what is chosen although nobody is like it any more."""
    chosen = asdict(wanted)
    return {
        name: values if chosen[name] is None or chosen[name] in values else sorted([*values, chosen[name]])
        for name, values in standing.choices().items()
    }


def _nobody(*, filtered: bool) -> str:
    return "Nobody like this is waiting." if filtered else "Nobody is waiting. Everybody heard back."


def _in_a_sentence(counts: Mapping[str, Any]) -> str:
    """The board for those who hear it."""
    waiting, over = counts["waiting"], counts["over"]
    if not waiting:
        return "Nobody is waiting."
    who = "1 customer waits" if waiting == 1 else f"{waiting} customers wait"
    longest = counts["longest_over_seconds"]
    if not over or longest is None:
        return f"{who}, nobody over their promise."
    return f"{who}, {over} over their promise, the longest by {open_time(longest)} of open time."
