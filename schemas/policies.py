"""Calendars and policies as users write them and as topic `policies` keeps them (CONTRACT.md section 4).

Only shape and spelling are checked here; open time is computed in `streams.engine.calendar`, choosing a
policy in `streams.engine.policy`. Every refusal says what was found and what is wanted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from schemas.events import Channel, Id, Priority

TargetName = Literal["acknowledgement", "first_response", "next_response", "resolution", "update"]
TARGETS: Final[tuple[TargetName, ...]] = (
    "acknowledgement",
    "first_response",
    "next_response",
    "resolution",
    "update",
)
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DURATION_MAX: Final = timedelta(days=366)
WORKING_DAYS_MAX: Final = 260
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_WORKING_DAYS = re.compile(r"(\d+)wd")
_STRETCH = re.compile(r"(\d{2}):(\d{2})-(\d{2}):(\d{2})")
MINUTES_OF_DAY: Final = 24 * 60


class Strict(BaseModel):
    """A record of the configuration: an unknown key is a spelling mistake, and is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Span(Strict):
    """A duration as promised: open time, or whole working days (`2wd`, C2)."""

    seconds: int = 0
    working_days: int = 0
    calendar_days: bool = False

    def __str__(self) -> str:
        return f"{self.working_days}wd" if self.working_days else duration_text(self.seconds)


@lru_cache(maxsize=1_024)
def duration_text(seconds: int) -> str:
    """`5400` -> `1h30m`: the way a duration is written in the configuration."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if n]
    return "".join(parts) or "0m"


def parse_span(value: object) -> Span:
    """`15m`, `1h30m`, `8h`, `45s`, `2wd` or, on a calendar that is always open, `1d`. Raises ValueError."""
    if isinstance(value, Span):
        return value
    wanted = "wanted a duration such as 15m, 1h30m, 8h or 2wd"
    if not isinstance(value, str):
        raise ValueError(f"found {value!r}, {wanted}")
    text = value.strip()
    if days := _WORKING_DAYS.fullmatch(text):
        return _working_days(int(days[1]), text)
    match = _DURATION.fullmatch(text)
    if not match or not text:
        raise ValueError(f"found {value!r}, {wanted}")
    days_, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    length = days_ * 86_400 + hours * 3_600 + minutes * 60 + seconds
    if length > DURATION_MAX.total_seconds():
        raise ValueError(f"found {value!r}, wanted at most {DURATION_MAX.days} days")
    return Span(seconds=length, calendar_days=match[1] is not None)


def _working_days(count: int, text: str) -> Span:
    if not 1 <= count <= WORKING_DAYS_MAX:
        raise ValueError(f"found {text!r}, wanted 1wd to {WORKING_DAYS_MAX}wd")
    return Span(working_days=count)


def _positive(span: Span) -> Span:
    if not span.seconds and not span.working_days:
        raise ValueError("found 0, wanted a duration longer than nothing")
    return span


def _open_time_only(span: Span) -> Span:
    if span.working_days:
        raise ValueError(f"found {span}, wanted open time such as 30m or 8h")
    return span


def _written(pattern: str) -> WithJsonSchema:
    """How a value is written in the file, for JSON Schema: text, not what it is read into."""
    return WithJsonSchema({"type": "string", "pattern": pattern})


Duration = Annotated[
    Span,
    BeforeValidator(parse_span),
    PlainSerializer(str),
    _written(r"^(\d+wd|(?=\d)(\d+d)?(\d+h)?(\d+m)?(\d+s)?)$"),
]
PositiveTarget = Annotated[Duration, BeforeValidator(lambda value: _positive(parse_span(value)))]
OpenDuration = Annotated[Duration, BeforeValidator(lambda value: _open_time_only(parse_span(value)))]


class Stretch(Strict):
    """An open stretch `[opens, closes)` in minutes after the local midnight of the date it opens on;
    `closes` beyond 1440 is overnight (C1)."""

    opens: int
    closes: int

    def __str__(self) -> str:
        closes = self.closes if self.closes <= MINUTES_OF_DAY else self.closes - MINUTES_OF_DAY
        return f"{self.opens // 60:02}:{self.opens % 60:02}-{closes // 60:02}:{closes % 60:02}"


def parse_stretch(value: object) -> Stretch:
    """`09:00-17:30`, `22:00-06:00` (overnight), `00:00-24:00`. Raises ValueError."""
    if isinstance(value, Stretch):
        return value
    match = _STRETCH.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError(f'found {value!r}, wanted open hours such as "09:00-17:30" (in quotes)')
    hour, minute, hour_to, minute_to = (int(part) for part in match.groups())
    opens, closes = hour * 60 + minute, hour_to * 60 + minute_to
    if minute > 59 or minute_to > 59 or opens >= MINUTES_OF_DAY or closes > MINUTES_OF_DAY:
        raise ValueError(f"found {value!r}, wanted times from 00:00 to 24:00")
    if opens == closes:
        raise ValueError(f'found {value!r}, which is empty; a whole day is "00:00-24:00"')
    return Stretch(opens=opens, closes=closes if closes > opens else closes + MINUTES_OF_DAY)


Hours = list[
    Annotated[Stretch, BeforeValidator(parse_stretch), PlainSerializer(str), _written(r"^\d{2}:\d{2}-\d{2}:\d{2}$")]
]


def parse_days(key: object) -> list[str]:
    """`mon`, `mon-fri`, `fri-mon`, `mon,wed` -> weekday names in order. Raises ValueError."""
    wanted = f"wanted weekdays such as mon, mon-fri or sat,sun (of {' '.join(DAYS)})"
    if not isinstance(key, str):
        raise ValueError(f"found {key!r}, {wanted}")
    days: list[str] = []
    for part in key.lower().replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if first not in DAYS or last not in DAYS:
            raise ValueError(f"found {key!r}, {wanted}")
        start, count = DAYS.index(first), (DAYS.index(last) - DAYS.index(first)) % 7 + 1
        days += [DAYS[(start + step) % 7] for step in range(count)]
    return days


def _date(value: object) -> date:
    if isinstance(value, datetime):
        raise ValueError(f"found {value!r}, wanted a date such as 2026-12-24")
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError(f"found {value!r}, wanted a date such as 2026-12-24") from None


def parse_dates(value: object) -> tuple[date, date]:
    """`2026-12-24` or `2026-12-24..2026-12-31`, both ends included. Raises ValueError."""
    if isinstance(value, tuple):
        return value
    first, dots, last = str(value).partition("..")
    start, end = _date(value if isinstance(value, date) else first), _date(last if dots else first)
    if end < start:
        raise ValueError(f"found {value!r}, which ends before it starts")
    return start, end


def _dates_text(dates: tuple[date, date]) -> str:
    first, last = dates
    return first.isoformat() if first == last else f"{first.isoformat()}..{last.isoformat()}"


Day = Annotated[date, BeforeValidator(_date)]
Days = Annotated[
    tuple[date, date],
    BeforeValidator(parse_dates),
    PlainSerializer(_dates_text),
    _written(r"^\d{4}-\d{2}-\d{2}(\.\.\d{4}-\d{2}-\d{2})?$"),
]


class PublicHolidays(Strict):
    """Public holidays of a country or a part of it, as the `holidays` package knows them."""

    country: str
    subdivision: str | None = None

    @model_validator(mode="after")
    def _known(self) -> PublicHolidays:
        from holidays import country_holidays

        try:
            country_holidays(self.country, subdiv=self.subdivision)
        except NotImplementedError as unknown:
            raise ValueError(f"found {self.country}/{self.subdivision or '-'}: {unknown}") from None
        return self


def _form_of_holidays(value: object) -> str | None:
    return _COUNTRY if isinstance(value, Mapping | PublicHolidays) else _DATES if isinstance(value, list) else None


_COUNTRY: Final = "[country]"
_DATES: Final = "[dates]"
Holidays = Annotated[
    Annotated[PublicHolidays, Tag(_COUNTRY)] | Annotated[list[Day], Tag(_DATES)],
    Discriminator(
        _form_of_holidays,
        custom_error_type="holidays",
        custom_error_message="found neither of them, wanted a list of dates or a country such as {country: GB}",
    ),
]
"""Told apart by their form: a mistake in one is not also said to be none of the other."""


def time_zone_name(value: str) -> str:
    """`value`, if it names a zone of the IANA database. Raises ValueError."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"found {value!r}, wanted an IANA time zone such as Europe/London") from None
    return value


class CalendarSpec(Strict):
    """When the service is open. Weekly hours, holidays, closures and dated openings (C1)."""

    time_zone: str = "UTC"
    always_open: bool = False
    hours: dict[str, Hours] = Field(default_factory=dict)
    holidays: Holidays | None = None
    closed: list[Days] = Field(default_factory=list)
    open: dict[Day, Hours] = Field(default_factory=dict)

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        return time_zone_name(value)

    @field_validator("hours", mode="before")
    @classmethod
    def _each_day(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        by_day: dict[str, object] = {}
        faults: list[str] = []
        for key, hours in value.items():
            try:
                days = parse_days(key)
            except ValueError as fault:
                faults.append(str(fault))
                continue
            faults += [f"found {day} twice, wanted each weekday once" for day in days if day in by_day]
            by_day |= dict.fromkeys(days, hours)
        if faults:
            raise ValueError("; ".join(faults))
        return {day: by_day[day] for day in DAYS if day in by_day}

    @model_validator(mode="after")
    def _opens(self) -> CalendarSpec:
        if self.always_open:
            if self.hours or self.holidays or self.closed or self.open:
                raise ValueError("found always_open beside hours, holidays, closed or open, wanted one or the other")
        elif not any(self.hours.values()) and not any(self.open.values()):
            raise ValueError("found no weekly hours, wanted hours or always_open: true; it would never open")
        return self


def one_or_many(schema: dict[str, Any]) -> None:
    """Lets JSON Schema take `tier: gold` for `tier: [gold]`, as the reader does."""
    for field in schema["properties"].values():
        lists = [shape for shape in field.get("anyOf", ()) if shape.get("type") == "array"]
        field.get("anyOf", [])[:0] = [shape["items"] for shape in lists]


class Match(Strict):
    """Which contacts a policy covers: every key given must hold; no key covers everything."""

    model_config = ConfigDict(json_schema_extra=one_or_many)

    tier: list[str] | None = None
    channel: list[Channel] | None = None
    queue: list[str] | None = None
    priority: list[Priority] | None = None
    kind: list[str] | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value


def _share(value: object) -> float:
    text = str(value).strip()
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ValueError(f"found {value!r}, wanted a share such as 50%") from None
    if not 0 < share < 1:
        raise ValueError(f"found {value!r}, wanted a share above 0% and below 100%")
    return share


Share = Annotated[
    float,
    BeforeValidator(_share),
    PlainSerializer(lambda share: f"{share * 100:g}%"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d{1,2}(\.\d+)?%$"},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            ]
        }
    ),
]
Targets = dict[TargetName, PositiveTarget]


class PolicySpec(Strict):
    """A promise (CONTRACT.md section 4). The first policy that matches a contact covers it (C16)."""

    name: Id
    match: Match = Field(default_factory=Match)
    calendar: Id
    targets: Targets
    priority_targets: dict[Priority, Targets] = Field(default_factory=dict)
    at_risk: list[Share] = Field(default_factory=list)
    assignment_acknowledges: bool = False
    page_acknowledges: bool = False
    dead_end_after: OpenDuration | None = None
    chasing_after: Annotated[int, Field(ge=1)] | None = None
    effective_from: date | datetime | None = None

    @field_validator("effective_from")
    @classmethod
    def _with_zone(cls, value: date | datetime | None) -> date | datetime | None:
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError(f"found {value}, wanted a date or an instant with a zone")
        return value

    @field_validator("effective_from", mode="before")
    @classmethod
    def _date_first(cls, value: object) -> object:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value.strip()):
            return _date(value)
        if isinstance(value, date) or value is None:
            return value
        if isinstance(value, str):
            with suppress(ValueError):
                return datetime.fromisoformat(value.strip())
        raise ValueError(f"found {value!r}, wanted a date such as 2026-01-01 or an instant with a zone")

    @field_validator("at_risk")
    @classmethod
    def _in_order(cls, value: list[float]) -> list[float]:
        if sorted(set(value)) != value:
            raise ValueError("found shares out of order, wanted each once, smallest first")
        return value


UNSAID: Final = (("page_acknowledges", False),)
"""Keys that came after the first versions, with their defaults."""


def content_hash(record: BaseModel) -> str:
    """The version of a calendar or policy: 16 hex digits of the SHA-256 of its canonical JSON. What can be said only
    since a later heardback is left out unless it is said, so that nothing changes its version by an upgrade."""
    said = record.model_dump(mode="json")
    content = {key: value for key, value in said.items() if (key, value) not in UNSAID}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class PolicyRecord(BaseModel):
    """A record of topic `policies`, key `hash`: what judged a clock can always be shown."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: Literal["policy", "calendar", "in_force", "first_start"]
    hash: Id
    name: Id
    content: dict[str, Any]
