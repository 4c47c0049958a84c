"""A week as people name it, `2026-W46`, and the instants between which it lies in somebody's time zone.

The name is ISO 8601's. A week that starts on Sunday is the one that holds the Monday of that name: it starts the day
before. Weeks are half-open, from local midnight to local midnight: 167 or 169 hours where clocks change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

_NAME: Final = re.compile(r"(\d{4})-W(\d{2})", re.ASCII)
_FIRST_YEAR: Final = 1990
_LAST_YEAR: Final = 2199


class NotAWeek(ValueError):  # noqa: N818 - the name says what is wrong
    """A text that names no week."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """One week. `time_zone` and `starts_on` are those of the report, not of any calendar."""

    year: int
    number: int
    time_zone: str = "UTC"
    starts_on: Literal["monday", "sunday"] = "monday"

    @classmethod
    def parse(cls, name: str, *, time_zone: str = "UTC", starts_on: Literal["monday", "sunday"] = "monday") -> Week:
        """The week that `name` names, such as `2026-W46`. Raises NotAWeek."""
        found = _NAME.fullmatch(name)
        try:
            if found is None or not _FIRST_YEAR <= int(found[1]) <= _LAST_YEAR:
                raise ValueError(name)
            date.fromisocalendar(int(found[1]), int(found[2]), 1)
        except ValueError:
            shown = name if len(name) <= 20 else f"{name[:20]}…"
            raise NotAWeek(f"found week {shown!r}, wanted one such as 2026-W46") from None
        return cls(year=int(found[1]), number=int(found[2]), time_zone=time_zone, starts_on=starts_on)

    @classmethod
    def holding(
        cls, instant: datetime, *, time_zone: str = "UTC", starts_on: Literal["monday", "sunday"] = "monday"
    ) -> Week:
        """The week in which an instant lies."""
        day = instant.astimezone(ZoneInfo(time_zone)).date()
        year, number, _ = (day + timedelta(days=starts_on == "sunday")).isocalendar()
        return cls(year=year, number=number, time_zone=time_zone, starts_on=starts_on)

    def before(self, weeks: int = 1) -> Week:
        """The week that came `weeks` weeks before."""
        year, number, _ = (date.fromisocalendar(self.year, self.number, 1) - timedelta(weeks=weeks)).isocalendar()
        return Week(year=year, number=number, time_zone=self.time_zone, starts_on=self.starts_on)

    @property
    def name(self) -> str:
        """As it is asked for: `2026-W46`."""
        return f"{self.year}-W{self.number:02}"

    @property
    def first_day(self) -> date:
        """Its first local date."""
        return date.fromisocalendar(self.year, self.number, 1) - timedelta(days=self.starts_on == "sunday")

    @property
    def last_day(self) -> date:
        """Its last local date."""
        return self.first_day + timedelta(days=6)

    @property
    def starts_at(self) -> datetime:
        """Its first instant, in UTC."""
        return self._midnight(self.first_day)

    @property
    def ends_at(self) -> datetime:
        """The first instant that is no more in it, in UTC."""
        return self._midnight(self.first_day + timedelta(days=7))

    def _midnight(self, day: date) -> datetime:
        """Local midnight; where clocks jump over it, the instant at which they do."""
        return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.time_zone)).astimezone(UTC)
