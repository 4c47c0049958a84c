"""Numbers and instants as people read them. Every number of a report that is shown is worded here."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400
_PERCENT: Final = "\N{NO-BREAK SPACE}%"


def wall(seconds: float) -> str:
    """`523080` -> `6 d 1 h 18 min`. Seconds only below a minute."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    parts = ((whole // _DAY, "d"), (whole % _DAY // _HOUR, "h"), (whole % _HOUR // _MINUTE, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def opened(seconds: float | None) -> str:
    """Open time has no days: `131400` -> `36 h 30 min`; None -> `not known`."""
    if seconds is None:
        return "not known"
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    parts = ((whole // _HOUR, "h"), (whole % _HOUR // _MINUTE, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def percent(share: float | None) -> str:
    """Rounded so that it flatters nobody: down, `100 %` only where all were kept, `0 %` only where none was."""
    if share is None:
        return "–"  # noqa: RUF001 - a dash, where there is no number
    if share in (0.0, 1.0):
        return f"{share * 100:.0f}{_PERCENT}"
    tenths = int(share * 1_000 + 1e-9)
    return f"{tenths // 10}.{tenths % 10}{_PERCENT}" if tenths else f"under 0.1{_PERCENT}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 customer`, `2 customers`, `1,200 customers`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def words(name: str) -> str:
    """`first_response` -> `first response`."""
    return name.replace("_", " ")


def local(instant: datetime, time_zone: str, year: int) -> str:
    """`Tue 10 Nov 10:02`, in the report's zone; with its year where that is another than the report's."""
    at = instant.astimezone(ZoneInfo(time_zone))
    day = f"{at:%a} {at.day} {at:%b}" if at.year == year else f"{at:%a} {at.day} {at:%b %Y}"
    return f"{day} {at:%H:%M}"


def listed(parts: list[str]) -> str:
    """`email, form and ticket`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
