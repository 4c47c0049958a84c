"""Where things stand in a picture of time: from instants to shares of its width, as SVG has them.

What is drawn, and how it looks, belongs to the templates and the style; every picture has its words beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

TICKS_MAX: Final = 8
PIECES_MAX: Final = 600
_STEPS: Final = (1, 2, 3, 7, 14, 28, 91, 182, 364)
_HOURS: Final = (1, 2, 3, 6, 12)
MARKED: Final = frozenset({"at_risk", "escalated", "answer_bounced", "taken_back", "settled"})
_NARROW: Final = 6.0
"""Percent of the width beside an edge where a label would leave the picture."""


class Piece(NamedTuple):
    """A stretch: where it begins and how wide it is, in percent; `kind` is a word for the style."""

    x: float
    width: float
    kind: str
    words: str


class Tick(NamedTuple):
    """A line with a label, in percent; `anchor` is SVG's `text-anchor`, so that no label leaves the picture."""

    x: float
    label: str
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The span that is drawn; both ends aware."""

    start: datetime
    end: datetime

    def x(self, instant: datetime) -> float:
        """Percent of the width, to a thousandth; what lies outside is at the edge."""
        whole = (self.end - self.start).total_seconds()
        share = (instant - self.start).total_seconds() / whole if whole > 0 else 0.0
        return round(100 * min(1.0, max(0.0, share)), 3)

    def ticks(self, zone: ZoneInfo) -> list[Tick]:
        """Local midnights, or full hours of a short span: as many as can be read."""
        return [self._tick(at, label) for at, label in (self._days(zone) or self._hours(zone))]

    def _tick(self, at: datetime, label: str) -> Tick:
        x = self.x(at)
        return Tick(x, label, "start" if x < _NARROW else "end" if x > 100 - _NARROW else "middle")

    def _days(self, zone: ZoneInfo) -> list[tuple[datetime, str]]:
        if self.end - self.start < timedelta(days=2):
            return []
        first = self.start.astimezone(zone).date() + timedelta(days=1)
        count = (self.end.astimezone(zone).date() - first).days + 1
        step = next((step for step in _STEPS if count <= step * TICKS_MAX), _STEPS[-1])
        days = [first + timedelta(days=number) for number in range(0, max(0, count), step)]
        return [(datetime(day.year, day.month, day.day, tzinfo=zone), f"{day:%a} {day.day} {day:%b}") for day in days]

    def _hours(self, zone: ZoneInfo) -> list[tuple[datetime, str]]:
        hours = (self.end - self.start).total_seconds() / 3_600
        step = next((step for step in _HOURS if hours <= step * TICKS_MAX), _HOURS[-1])
        at = self.start.astimezone(zone).replace(minute=0, second=0, microsecond=0)
        found = []
        while at <= self.end:
            if at > self.start and at.hour % step == 0:
                found.append((at, f"{at:%a} {at:%H:%M}" if at.hour == 0 else f"{at:%H:%M}"))
            at = (at.astimezone(UTC) + timedelta(hours=1)).astimezone(zone)
        return found


class Bar(NamedTuple):
    """A clock as a bar: its stretches, where it was due and ended, and days below."""

    pieces: Sequence[Piece]
    due_x: float | None
    ended_x: float | None
    marks: Sequence[Tick]
    ticks: Sequence[Tick]


def bar_of(clock: Mapping[str, Any], time_zone: str) -> Bar | None:
    """The bar of one clock of an explanation; None where no time has passed. Its end is the later of the last
    stretch and the due instant; of very many stretches the earliest are left to the table."""
    stretches = clock["stretches"][-PIECES_MAX:]
    if not stretches:
        return None
    due = _instant(clock["due_at"])
    last = _instant(stretches[-1]["to"])
    assert last is not None
    start = datetime.fromisoformat(stretches[0]["from"])
    scale = Scale(start=start, end=max(last, due) if due else last)
    pieces = list(_pieces(stretches, scale, due))
    if due and due > last and clock["ended_at"] is None:
        pieces.append(_piece(scale, last, due, "ahead", "still to come"))
    ended = _instant(clock["ended_at"])
    marks = [
        Tick(scale.x(datetime.fromisoformat(mark["at"])), mark["words"], mark["kind"])
        for mark in clock["marks"]
        if mark["kind"] in MARKED and mark["reached"]
    ]
    zone = ZoneInfo(time_zone)
    return Bar(pieces, scale.x(due) if due else None, scale.x(ended) if ended else None, marks, scale.ticks(zone))


def _pieces(stretches: Iterable[Mapping[str, Any]], scale: Scale, due: datetime | None) -> Iterator[Piece]:
    """Counted time is cut at the due instant: what lies behind it is over the promise."""
    for stretch in stretches:
        start, end = datetime.fromisoformat(stretch["from"]), datetime.fromisoformat(stretch["to"])
        words = stretch["detail"] or stretch["cause"]
        if not stretch["counted"]:
            yield _piece(scale, start, end, "paused" if stretch["cause"] == "paused" else "closed", words)
            continue
        turn = min(max(due, start), end) if due else end
        if turn > start:
            yield _piece(scale, start, turn, "counted", words)
        if end > turn:
            yield _piece(scale, turn, end, "over", words)


def _piece(scale: Scale, start: datetime, end: datetime, kind: str, words: str) -> Piece:
    x = scale.x(start)
    return Piece(x, round(scale.x(end) - x, 3), kind, words)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
