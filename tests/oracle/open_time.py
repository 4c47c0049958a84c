"""Open time of a calendar, by listing every stretch of every day (C1, C2).

What a clock does with open time does not belong here. Calendars are the plain dicts of the configuration.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
HORIZON_DAYS = 800
ZERO = timedelta(0)

Calendar = dict[str, Any]
Stretch = tuple[datetime, datetime]


def zone_of(calendar: Calendar) -> ZoneInfo:
    """The calendar's zone; an `always_open` calendar without one lives in UTC."""
    return ZoneInfo(calendar.get("time_zone", "UTC"))


def stretches_of(calendar: Calendar, day: date) -> list[Stretch]:
    """Open stretches that belong to the local date `day`, as UTC instants, in the order written."""
    zone = zone_of(calendar)
    found = []
    for text in _hours_of(calendar, day):
        opens, closes = (_wall(part) for part in text.split("-"))
        if closes <= opens:  # overnight: it closes on the next date but belongs to this one
            closes += timedelta(days=1)
        stretch = (_utc(zone, day, opens), _utc(zone, day, closes))
        if stretch[0] < stretch[1]:  # a stretch swallowed by a spring gap is no stretch
            found.append(stretch)
    return found


def elapsed(calendar: Calendar, start: datetime, end: datetime) -> timedelta:
    """Open time between two instants, in real elapsed time."""
    cut = [(max(a, start), min(b, end)) for a, b in _open(calendar, start, end)]
    return sum((b - a for a, b in cut if a < b), ZERO)


def paused_open(calendar: Calendar, pauses: list[Stretch]) -> timedelta:
    """Open time inside `pauses`, which do not overlap."""
    return sum((elapsed(calendar, a, b) for a, b in pauses), ZERO)


def used_up(calendar: Calendar, start: datetime, wanted: timedelta, pauses: list[Stretch]) -> datetime | None:
    """The earliest instant by which `wanted` of open time outside `pauses` has run since `start`.

    None where the horizon is exceeded, as with a pause that has no end yet.
    """
    left = wanted
    horizon = start + timedelta(days=HORIZON_DAYS)
    reach = start + timedelta(days=14)
    begin = start
    while begin < horizon:
        for a, b in _without(_open(calendar, begin, reach), pauses, begin, reach):
            if b - a >= left:
                return a + left
            left -= b - a
        begin, reach = reach, reach + timedelta(days=60)
    return None


def end_of_working_day(calendar: Calendar, start: datetime, count: int) -> datetime:
    """The last closing of the `count`-th open day after the start's local date (C2)."""
    day = start.astimezone(zone_of(calendar)).date()
    for _ in range(HORIZON_DAYS):
        day += timedelta(days=1)
        stretches = stretches_of(calendar, day)
        count -= bool(stretches)
        if count == 0:
            return max(closes for _, closes in stretches)
    raise ValueError("the calendar never opens that often")


def _open(calendar: Calendar, start: datetime, end: datetime) -> list[Stretch]:
    """Disjoint stretches in order that touch [start, end), not cut to it."""
    zone = zone_of(calendar)
    first = start.astimezone(zone).date() - timedelta(days=3)
    last = end.astimezone(zone).date() + timedelta(days=3)
    return [s for s in _merged(_key(calendar), first, last) if s[1] > start and s[0] < end]


def _without(stretches: list[Stretch], pauses: list[Stretch], start: datetime, end: datetime) -> list[Stretch]:
    pieces = [(max(a, start), min(b, end)) for a, b in stretches]
    for p, q in pauses:
        cut = []
        for a, b in pieces:
            cut += [(a, min(b, p)), (max(a, q), b)] if p < q else [(a, b)]
        pieces = cut
    return [(a, b) for a, b in pieces if a < b]


_CALENDARS: dict[str, Calendar] = {}


def _key(calendar: Calendar) -> str:
    key = repr(calendar)
    _CALENDARS[key] = calendar
    return key


@lru_cache(maxsize=4096)
def _merged(key: str, first: date, last: date) -> list[Stretch]:
    calendar = _CALENDARS[key]
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    merged: list[Stretch] = []
    for a, b in sorted(s for day in days for s in stretches_of(calendar, day)):
        if merged and a <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(b, merged[-1][1]))
        else:
            merged.append((a, b))
    return merged


def _hours_of(calendar: Calendar, day: date) -> list[str]:
    if calendar.get("always_open"):
        return ["00:00-24:00"]
    if day.isoformat() in calendar.get("open", {}):
        return calendar["open"][day.isoformat()]
    if _is_closed(calendar, day) or _is_holiday(calendar, day):
        return []
    return [text for days, hours in calendar["hours"].items() if day.weekday() in _weekdays(days) for text in hours]


def _is_closed(calendar: Calendar, day: date) -> bool:
    for text in calendar.get("closed", []):
        first, _, last = text.partition("..")
        if first <= day.isoformat() <= (last or first):
            return True
    return False


def _is_holiday(calendar: Calendar, day: date) -> bool:
    named = calendar.get("holidays", [])
    if isinstance(named, dict):
        return day in _country(named["country"], named.get("subdivision"), day.year)
    return day.isoformat() in named


@lru_cache(maxsize=64)
def _country(country: str, subdivision: str | None, year: int) -> Any:
    import holidays

    return holidays.country_holidays(country, subdiv=subdivision, years=year)


def _weekdays(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        n, end = DAYS.index(first), DAYS.index(last or first)
        found.add(n)
        while n != end:
            n = (n + 1) % 7
            found.add(n)
    return found


def _wall(text: str) -> timedelta:
    hour, minute = re.fullmatch(r"(\d\d):(\d\d)", text.strip()).groups()  # type: ignore[union-attr]
    return timedelta(hours=int(hour), minutes=int(minute))


def _utc(zone: ZoneInfo, day: date, wall: timedelta) -> datetime:
    return (datetime.combine(day, time()) + wall).replace(tzinfo=zone, fold=0).astimezone(UTC)
