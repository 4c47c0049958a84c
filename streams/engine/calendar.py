"""Business time: when the service is open, and the two dual questions asked of it.

`due(start, length)` is the instant at which so much open time is used up, `elapsed(start, end)` the open
time between two instants. Instants are integer microseconds since 1970-01-01T00:00Z (`_us`); local time
exists in this module only. Which clock runs against which calendar is not decided here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from holidays import HolidayBase, country_holidays

from schemas.policies import DAYS, CalendarSpec, PublicHolidays, Stretch, content_hash

SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US
HORIZON_YEARS: Final = 10
HORIZON_US: Final = HORIZON_YEARS * 366 * DAY_US
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR, _LAST_YEAR = 1970, 2230  # events lie well within (`schemas.events`)

_Year = tuple[list[tuple[int, int]], list[tuple[int, int]]]  # spans; ordinals of open dates, their last closing


class NeverOpens(ValueError):  # noqa: N818 - the name says what is wrong with the calendar
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
    """Merged open spans of whole local years, with the open time before each of them. Every opening in
    `[from_us, until_us)` is known."""

    first_year: int
    last_year: int
    from_us: int
    until_us: int
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
        self._years: dict[int, _Year] = {}
        self._spans = _Spans(first_year=_LAST_YEAR, last_year=_FIRST_YEAR, from_us=0, until_us=0)

    # -- the dual questions --------------------------------------------------------------------------

    def elapsed(self, start_us: int, end_us: int) -> int:
        """Open microseconds in `[start, end)`; 0 where `end` is not after `start`."""
        if end_us <= start_us:
            return 0
        if self.always_open:
            return end_us - start_us
        spans = self._spans
        if not (spans.from_us <= start_us and end_us < spans.until_us):
            spans = self._covering(start_us, end_us)
        return _open_before(spans, end_us) - _open_before(spans, start_us)

    def due(self, start_us: int, length_us: int) -> int:
        """The first instant at which `length_us` of open time after `start` are used up (C2): exactly at
        closing is due at closing; a length of 0 outside hours is the next opening. Raises NeverOpens."""
        if self.always_open:
            return start_us + length_us
        due_us = _due_in(self._covering(start_us, start_us), start_us, length_us)
        if due_us is None:
            due_us = _due_in(self._covering(start_us, start_us + HORIZON_US), start_us, length_us)
        if due_us is None or due_us > start_us + HORIZON_US:
            raise NeverOpens(f"calendar {self.name} has too little open time within {HORIZON_YEARS} years")
        return due_us

    def due_before(self, end_us: int, length_us: int) -> int:
        """The last instant from which `length_us` of open time pass until `end`. Raises NeverOpens."""
        if self.always_open:
            return end_us - length_us
        start_us = _due_before_in(self._covering(end_us, end_us), end_us, length_us)
        if start_us is None:
            start_us = _due_before_in(self._covering(end_us - HORIZON_US, end_us), end_us, length_us)
        if start_us is None or start_us < end_us - HORIZON_US:
            raise NeverOpens(f"calendar {self.name} had too little open time within {HORIZON_YEARS} years")
        return start_us

    def working_days_due(self, start_us: int, count: int) -> int:
        """The last closing of the `count`-th open day after the local date of `start` (C2). Raises NeverOpens."""
        return self.open_day(start_us, count)[1]

    def open_day(self, start_us: int, count: int) -> tuple[date, int]:
        """The `count`-th date after the local date of `start` that opens at all, and its last closing; a
        negative `count` goes back, 0 is the date itself or the next that opens. Raises NeverOpens."""
        start_day = self._local_date(start_us).toordinal()
        if self.always_open:
            day = self._date_on(start_day, count)
            return day, self._wall_us(day, 24 * 60)
        for reach_us in (0, -HORIZON_US if count < 0 else HORIZON_US):
            far_us = start_us + reach_us
            spans = self._covering(min(start_us, far_us), max(start_us, far_us))
            first_after = bisect_right(spans.days, start_day) - 1 if count > 0 else bisect_left(spans.days, start_day)
            index = first_after + count
            if 0 <= index < len(spans.days) and abs(spans.day_closes[index] - start_us) <= HORIZON_US:
                return date.fromordinal(spans.days[index]), spans.day_closes[index]
        raise NeverOpens(f"calendar {self.name} has fewer than {abs(count)} open days within {HORIZON_YEARS} years")

    def _date_on(self, start_day: int, count: int) -> date:
        """The `count`-th date after another that has any time: one that a zone skipped, crossing the date line, has
        none."""
        day, step = start_day, -1 if count < 0 else 1
        for _ in range(abs(count)):
            day += step
            while not self._wall_us(date.fromordinal(day), 0) < self._wall_us(date.fromordinal(day), 24 * 60):
                day += step
        return date.fromordinal(day)

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
        """Why a closed instant is closed: `holiday:` and its name, `closed`, `dated hours` or `outside hours`."""
        return self.closed_until(instant_us)[0]

    def closed_until(self, instant_us: int) -> tuple[str, int]:
        """The same, and until when at most that is the reason. A stretch over midnight belongs to the date that it
        opens on (C1)."""
        day = self._local_date(instant_us)
        before = day - timedelta(days=1)
        overnight = [s.closes for s in self._weekly[before.weekday()] if s.closes > 24 * 60]
        why, until_us = self._closed_on(day), self.day_end_us(instant_us)
        if why == "outside hours" and overnight:
            lost_until_us = self._wall_us(before, max(overnight))
            if instant_us < lost_until_us:
                return self._closed_on(before), min(lost_until_us, until_us)
        return why, until_us

    def _closed_on(self, day: date) -> str:
        if day in self.spec.open:
            return "dated hours"
        if name := self._holiday_name(day):
            return f"holiday: {name}"
        if any(first <= day <= last for first, last in self.spec.closed):
            return "closed"
        return "outside hours"

    def local(self, instant_us: int) -> datetime:
        """That instant in the calendar's zone."""
        return from_us(instant_us).astimezone(self._zone)

    def midnight_us(self, day: date) -> int:
        """Local midnight at the beginning of `day`."""
        return self._wall_us(day, 0)

    def day_end_us(self, instant_us: int) -> int:
        """Local midnight that ends the local date of that instant."""
        return self._wall_us(self._local_date(instant_us) + timedelta(days=1), 0)

    # -- from local dates to spans -------------------------------------------------------------------

    def _local_date(self, instant_us: int) -> date:
        return self.local(instant_us).date()

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

    def _year(self, year: int) -> _Year:
        if year in self._years:
            return self._years[year]
        spans: list[tuple[int, int]] = []
        closings: list[tuple[int, int]] = []
        for ordinal in range(date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal()):
            day = date.fromordinal(ordinal)
            own = [(self._wall_us(day, s.opens), self._wall_us(day, s.closes)) for s in self._stretches(day)]
            own = [(opens, closes) for opens, closes in own if opens < closes]
            if own:
                spans += own
                closings.append((ordinal, max(closes for _, closes in own)))
        self._years[year] = spans, closings
        return self._years[year]

    def _covering(self, start_us: int, end_us: int) -> _Spans:
        """Spans that know every opening from before `start` until after `end`."""
        spans = self._spans
        if spans.from_us <= start_us and end_us < spans.until_us:
            return spans
        first = max(min(from_us(start_us).year - 1, spans.first_year), _FIRST_YEAR)
        last = min(max(from_us(end_us).year + 1, spans.last_year), _LAST_YEAR)
        if (first, last) != (spans.first_year, spans.last_year):
            self._spans = self._build(first, last)
        return self._spans

    def _build(self, first: int, last: int) -> _Spans:
        # A year of margin on both sides: overnight stretches, and local years that are not UTC's.
        from_, until = datetime(first + 1, 1, 1, tzinfo=UTC), datetime(last, 1, 1, tzinfo=UTC)
        built = _Spans(first_year=first, last_year=last, from_us=to_us(from_), until_us=to_us(until))
        raw: list[tuple[int, int]] = []
        for year in range(first, last + 1):
            spans, closings = self._year(year)
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
