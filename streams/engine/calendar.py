"""Business time: when the service is open, and the two dual questions asked of it.

`due(start, length)` is the instant at which so much open time is used up, `elapsed(start, end)` the open
time between two instants. Instants are integer microseconds since 1970-01-01T00:00Z (`_us`); local time
exists in this module only. Which clock runs against which calendar is not decided here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from holidays import HolidayBase, country_holidays

from schemas.policies import DAYS, CalendarSpec, PublicHolidays, Stretch, content_hash

SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US
HORIZON_YEARS: Final = 10
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR, _LAST_YEAR = 1970, 2230


class NeverOpens(ValueError):
    """The calendar does not open often enough before the horizon (C1): refused, never treated as 24x7."""


def to_us(instant: datetime) -> int:
    """Microseconds since 1970 of an aware instant, exact."""
    delta = instant - EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND_US + delta.microseconds


def from_us(instant_us: int) -> datetime:
    """The aware UTC instant of `instant_us`."""
    return EPOCH + timedelta(microseconds=instant_us)


@dataclass(slots=True)
class _Spans:
    """Merged open spans of whole local years, with the open time before each of them."""

    first_year: int
    last_year: int
    opens: list[int] = field(default_factory=list)
    closes: list[int] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    days: list[int] = field(default_factory=list)  # ordinals of the dates that open at all
    day_closes: list[int] = field(default_factory=list)  # their last closing


class Calendar:
    """Open hours of one `CalendarSpec` (C1). Spans are computed a year at a time and kept."""

    def __init__(self, name: str, spec: CalendarSpec) -> None:
        self.name = name
        self.spec = spec
        self.version = content_hash(spec)
        self.always_open = spec.always_open
        self._zone = ZoneInfo(spec.time_zone)
        self._weekly = [spec.hours.get(day, []) for day in DAYS]
        self._named = _public_holidays(spec.holidays)
        self._holidays = set(spec.holidays) if isinstance(spec.holidays, list) else set()
        self._spans: _Spans | None = None

    # -- the dual questions --------------------------------------------------------------------------

    def elapsed(self, start_us: int, end_us: int) -> int:
        """Open microseconds in `[start, end)`; 0 where `end` is not after `start`."""
        if end_us <= start_us:
            return 0
        if self.always_open:
            return end_us - start_us
        spans = self._covering(start_us, end_us)
        return _open_before(spans, end_us) - _open_before(spans, start_us)

    def due(self, start_us: int, length_us: int) -> int:
        """The first instant at which `length_us` of open time after `start` are used up (C2): exactly at
        closing is due at closing; a length of 0 outside hours is the next opening. Raises NeverOpens."""
        if self.always_open:
            return start_us + length_us
        year = from_us(start_us).year
        for ahead in (1, HORIZON_YEARS):
            spans = self._covering_years(year - 1, year + ahead)
            due_us = _due_in(spans, start_us, length_us)
            if due_us is not None:
                return due_us
        raise NeverOpens(f"calendar {self.name} has too little open time within {HORIZON_YEARS} years of {year}")

    def due_before(self, end_us: int, length_us: int) -> int:
        """The last instant from which `length_us` of open time pass until `end`. Raises NeverOpens."""
        if self.always_open:
            return end_us - length_us
        year = from_us(end_us).year
        for back in (1, HORIZON_YEARS):
            spans = self._covering_years(year - back, year + 1)
            start_us = _due_before_in(spans, end_us, length_us)
            if start_us is not None:
                return start_us
        raise NeverOpens(f"calendar {self.name} has too little open time within {HORIZON_YEARS} years before {year}")

    def working_days_due(self, start_us: int, count: int) -> int:
        """The last closing of the `count`-th open day after the local date of `start` (C2)."""
        start_day = self._local_date(start_us).toordinal()
        if self.always_open:
            return self._wall_us(date.fromordinal(start_day + count), 24 * 60)
        year = from_us(start_us).year
        for ahead in (1, HORIZON_YEARS):
            spans = self._covering_years(year - 1, year + ahead)
            index = bisect_right(spans.days, start_day) + count - 1
            if index < len(spans.days):
                return spans.day_closes[index]
        raise NeverOpens(f"calendar {self.name} has fewer than {count} open days within {HORIZON_YEARS} years")

    # -- what an explanation shows -------------------------------------------------------------------

    def is_open(self, instant_us: int) -> bool:
        """Open at that instant: open at opening, closed at closing (C1)."""
        if self.always_open:
            return True
        spans = self._covering(instant_us, instant_us + 1)
        index = bisect_right(spans.opens, instant_us) - 1
        return index >= 0 and instant_us < spans.closes[index]

    def open_spans(self, start_us: int, end_us: int) -> list[tuple[int, int]]:
        """Open spans cut to `[start, end)`, in order."""
        if end_us <= start_us:
            return []
        if self.always_open:
            return [(start_us, end_us)]
        spans = self._covering(start_us, end_us)
        first, last = bisect_right(spans.closes, start_us), bisect_left(spans.opens, end_us)
        return [(max(spans.opens[i], start_us), min(spans.closes[i], end_us)) for i in range(first, last)]

    def closed_because(self, instant_us: int) -> str:
        """Why the local date of that instant is shut or short: a holiday's name, a closure, or hours."""
        day = self._local_date(instant_us)
        if day in self.spec.open:
            return "dated hours"
        if name := self._holiday_name(day):
            return f"holiday: {name}"
        if any(first <= day <= last for first, last in self.spec.closed):
            return "closed"
        return "outside hours"

    def midnight_us(self, day: date) -> int:
        """Local midnight at the beginning of `day`."""
        return self._wall_us(day, 0)

    def day_end_us(self, instant_us: int) -> int:
        """Local midnight that ends the local date of that instant."""
        return self._wall_us(self._local_date(instant_us) + timedelta(days=1), 0)

    # -- from local dates to spans -------------------------------------------------------------------

    def _local_date(self, instant_us: int) -> date:
        return from_us(instant_us).astimezone(self._zone).date()

    def _wall_us(self, day: date, minute: int) -> int:
        """A wall time as UTC by `fold=0`: in the spring gap shifted later, repeated its first (C1)."""
        wall = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)  # noqa: DTZ001
        return to_us(wall.replace(tzinfo=self._zone).astimezone(UTC))

    def _holiday_name(self, day: date) -> str | None:
        if day in self._holidays:
            return day.isoformat()
        name = self._named.get(day) if self._named is not None else None
        return str(name) if name else None

    def _stretches(self, day: date) -> list[Stretch]:
        dated = self.spec.open.get(day)
        if dated is not None:
            return dated
        if any(first <= day <= last for first, last in self.spec.closed) or self._holiday_name(day):
            return []
        return self._weekly[day.weekday()]

    def _year(self, year: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        spans: list[tuple[int, int]] = []
        closings: list[tuple[int, int]] = []
        day, end = date(year, 1, 1), date(year + 1, 1, 1)
        while day < end:
            own = [(self._wall_us(day, s.opens), self._wall_us(day, s.closes)) for s in self._stretches(day)]
            own = [(opens, closes) for opens, closes in own if opens < closes]
            if own:
                spans += own
                closings.append((day.toordinal(), max(closes for _, closes in own)))
            day += timedelta(days=1)
        return spans, closings

    def _covering(self, start_us: int, end_us: int) -> _Spans:
        return self._covering_years(from_us(start_us).year - 1, from_us(end_us).year + 1)

    def _covering_years(self, first: int, last: int) -> _Spans:
        spans = self._spans
        if spans is not None and spans.first_year <= first and last <= spans.last_year:
            return spans
        first, last = max(first, _FIRST_YEAR), min(last, _LAST_YEAR)
        if spans is not None:
            first, last = min(first, spans.first_year), max(last, spans.last_year)
        self._spans = self._build(first, last)
        return self._spans

    def _build(self, first: int, last: int) -> _Spans:
        built = _Spans(first_year=first, last_year=last)
        raw: list[tuple[int, int]] = []
        for year in range(first, last + 1):
            spans, closings = _cached_year(self, year)
            raw += spans
            built.days += [day for day, _ in closings]
            built.day_closes += [closes for _, closes in closings]
        total = 0
        for opens, closes in _merged(raw):
            built.opens.append(opens)
            built.closes.append(closes)
            built.before.append(total)
            total += closes - opens
        return built


@lru_cache(maxsize=4096)
def _cached_year(calendar: Calendar, year: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    return calendar._year(year)


def _public_holidays(spec: PublicHolidays | list[date] | None) -> HolidayBase | None:
    if not isinstance(spec, PublicHolidays):
        return None
    return country_holidays(spec.country, subdiv=spec.subdivision)


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for opens, closes in sorted(spans):
        if merged and opens <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(closes, merged[-1][1]))
        else:
            merged.append((opens, closes))
    return merged


def _open_before(spans: _Spans, instant_us: int) -> int:
    index = bisect_right(spans.opens, instant_us) - 1
    if index < 0:
        return 0
    return spans.before[index] + min(instant_us, spans.closes[index]) - spans.opens[index]


def _due_in(spans: _Spans, start_us: int, length_us: int) -> int | None:
    if not length_us:
        index = bisect_right(spans.closes, start_us)
        return max(spans.opens[index], start_us) if index < len(spans.opens) else None
    goal = _open_before(spans, start_us) + length_us
    index = bisect_left(spans.before, goal) - 1  # the last span with less than the goal before it
    if index < 0:
        return None
    due_us = spans.opens[index] + goal - spans.before[index]
    return due_us if due_us <= spans.closes[index] else None


def _due_before_in(spans: _Spans, end_us: int, length_us: int) -> int | None:
    if not length_us:
        index = bisect_left(spans.opens, end_us) - 1
        return min(spans.closes[index], end_us) if index >= 0 else None
    goal = _open_before(spans, end_us) - length_us
    if goal < 0:
        return None
    index = bisect_right(spans.before, goal) - 1
    return spans.opens[index] + goal - spans.before[index]
