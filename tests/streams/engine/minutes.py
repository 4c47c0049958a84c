"""Open time counted minute by minute: slow, and too simple to be wrong in the same way as the calendar.

A minute is open when some date's stretch covers it; wall times become UTC by zoneinfo (C1).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.policies import DAYS, CalendarSpec, Stretch

MINUTE = timedelta(minutes=1)


def open_minutes(spec: CalendarSpec, first: datetime, last: datetime) -> list[datetime]:
    """Every open minute in `[first, last)`, both on a full minute, in order."""
    zone = ZoneInfo(spec.time_zone)
    around = [first.date() + timedelta(days=n) for n in range(-3, (last - first).days + 5)]
    spans = [_span(day, stretch, zone) for day in around for stretch in _stretches(spec, day)]
    found = []
    minute = first
    while minute < last:
        if any(opens <= minute < closes for opens, closes in spans):
            found.append(minute)
        minute += MINUTE
    return found


def _stretches(spec: CalendarSpec, day: date) -> list[Stretch]:
    if day in spec.open:
        return spec.open[day]
    if isinstance(spec.holidays, list) and day in spec.holidays:
        return []
    if any(first <= day <= last for first, last in spec.closed):
        return []
    return spec.hours.get(DAYS[day.weekday()], [])


def _span(day: date, stretch: Stretch, zone: ZoneInfo) -> tuple[datetime, datetime]:
    return _utc(day, stretch.opens, zone), _utc(day, stretch.closes, zone)


def _utc(day: date, minute: int, zone: ZoneInfo) -> datetime:
    wall = datetime.combine(day + timedelta(days=minute // 1440), time(minute % 1440 // 60, minute % 60))
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
