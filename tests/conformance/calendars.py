"""A peer's calendar as one of ours.

There a holiday beats an override, holidays may recur each year, and breaks are cut out of weekly hours and
overrides alike; with us the hours given for a date stand for that date, whatever else is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any, Final

from schemas.policies import DAYS, CalendarSpec, Stretch
from streams.engine.calendar import Calendar, NeverOpens

KNOWN: Final = frozenset({"tz", "weekly", "holidays", "annual_holidays", "date_overrides", "breaks", "note"})
ANNUAL_YEARS: Final = range(1970, 2101)
DAY_MINUTES: Final = 24 * 60
# Our calendars have weekly hours; one that opens on given dates only is closed by a closure without end.
ONLY_DATED: Final = {"mon": [(0, DAY_MINUTES)]}
EVER: Final = (date(1970, 1, 1), date(2230, 12, 31))

Span = tuple[int, int]


def translated(name: str, peer: Mapping[str, Any]) -> Calendar:
    """The peer's calendar for our engine. Raises NeverOpens, and ValueError where it says what
    we do not know."""
    if unknown := peer.keys() - KNOWN:
        raise ValueError(f"calendar {name} has unknown keys {sorted(unknown)}")
    hours = _Hours(peer)
    dated = {day: hours.on(day) for day in sorted(hours.special_dates())}
    weekly = any(hours.weekly.values())
    if not weekly and not any(dated.values()):
        raise NeverOpens(f"calendar {name} never opens")
    spec = CalendarSpec(
        time_zone=peer.get("tz", "UTC"),
        hours={day: _stretches(spans) for day, spans in (hours.weekly if weekly else ONLY_DATED).items()},
        holidays=sorted(hours.holidays),
        closed=[] if weekly else [EVER],
        open={day: _stretches(spans) for day, spans in dated.items()},
    )
    return Calendar(name, spec)


class _Hours:
    def __init__(self, peer: Mapping[str, Any]) -> None:
        self.weekly = {day: _spans(peer.get("weekly", {}).get(day)) for day in DAYS}
        self.holidays = {date.fromisoformat(day) for day in peer.get("holidays", ())}
        self.holidays |= set(_each_year(peer.get("annual_holidays", ())))
        self.overrides = {date.fromisoformat(day): _spans(cut) for day, cut in peer.get("date_overrides", {}).items()}
        breaks = peer.get("breaks", {})
        self.breaks = {date.fromisoformat(day): _spans(cut) for day, cut in breaks.items() if day not in DAYS}
        weekly_breaks = {day: _spans(cut) for day, cut in breaks.items() if day in DAYS}
        self.weekly = {day: _without(spans, weekly_breaks.get(day, [])) for day, spans in self.weekly.items()}

    def special_dates(self) -> Iterable[date]:
        """Dates with hours of their own: overridden ones, and those that a break touches, also over midnight."""
        touched = {day + timedelta(days=near) for day in self.breaks for near in (-1, 0, 1)}
        return {day for day in touched | self.overrides.keys() if self.on(day) != self._by_weekday(day)}

    def on(self, day: date) -> list[Span]:
        """Open spans that belong to `day`, in minutes after its midnight."""
        if day in self.holidays:
            return []
        spans = self.overrides[day] if day in self.overrides else self.weekly[DAYS[day.weekday()]]
        for near in (-1, 0, 1):
            shift = near * DAY_MINUTES
            cuts = self.breaks.get(day + timedelta(days=near), [])
            spans = _without(spans, [(start + shift, end + shift) for start, end in cuts])
        return spans

    def _by_weekday(self, day: date) -> list[Span]:
        return [] if day in self.holidays else self.weekly[DAYS[day.weekday()]]


def _each_year(annual: Iterable[str]) -> Iterable[date]:
    """`12-25` in every year; `02-29` in leap years only."""
    for month_day in annual:
        month, day = (int(part) for part in month_day.lstrip("-").split("-"))
        for year in ANNUAL_YEARS:
            if (month, day) != (2, 29) or (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)):
                yield date(year, month, day)


def _spans(written: Iterable[Iterable[str]] | Mapping[str, str] | None) -> list[Span]:
    """`[["09:00", "17:00"]]` or `{"09:00": "17:00"}` in minutes; one that does not end later is overnight."""
    pairs = written.items() if isinstance(written, Mapping) else (written or ())
    spans = []
    for opens, closes in pairs:
        start, end = _minute(opens), _minute(closes)
        spans.append((start, end if end > start else end + DAY_MINUTES))
    return spans


def _minute(wall: str) -> int:
    hour, minute, *second = (int(part) for part in wall.split(":"))
    if any(second):
        raise ValueError(f"found {wall}, our calendars open and close on a full minute")
    return hour * 60 + minute


def _without(spans: list[Span], cuts: list[Span]) -> list[Span]:
    for start, end in cuts:
        pieces = [
            piece for opens, closes in spans for piece in ((opens, min(closes, start)), (max(opens, end), closes))
        ]
        spans = [(opens, closes) for opens, closes in pieces if opens < closes]
    return spans


def _stretches(spans: list[Span]) -> list[Stretch]:
    return [Stretch(opens=opens, closes=closes) for opens, closes in spans]
