"""The whole configuration, `heardback.yaml`, as one strict record (CONTRACT.md section 4).

Shapes and what can be said about a section by itself are checked here; reading the file, line numbers,
environment variables and checks across sections belong to `streams.settings`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from schemas.alerts import Kind, Severity
from schemas.events import Channel, Id
from schemas.policies import (
    DAYS,
    CalendarSpec,
    Duration,
    OpenDuration,
    PolicySpec,
    Span,
    Strict,
    one_or_many,
    time_zone_name,
)

DEFAULT_URL: Final = "http://127.0.0.1:8080"
"""Where `heardback run` answers unless told otherwise."""


class EscalationSpec(Strict):
    """A step after the due instant: open time of the contact's calendar, or `wall` time."""

    after: OpenDuration
    severity: Severity = "page"
    clock: Literal["open", "wall"] = "open"
    receivers: list[Id] | None = None


def _name_is_optional(schema: dict[str, Any]) -> None:
    schema["required"].remove("name")


def _many(value: object) -> object:
    return [value] if isinstance(value, str) else value


class ReceiverSpec(Strict):
    """Where alerts go. `name` defaults to the type; which of the rest a type needs, and which it has no use
    for, is checked by `alerting`. `allow_private`: by default a private address is reached only where `urls`
    or `host` say it in numbers (or localhost), never by a name that leads to one."""

    model_config = ConfigDict(json_schema_extra=_name_is_optional)

    type: Id
    name: Id
    urls: list[str] = Field(default_factory=list, repr=False)  # an address may carry a token
    secret: str | None = Field(default=None, repr=False)
    secret_file: str | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    retry_for: Duration | None = None
    allow_private: bool | None = None
    digest_every: OpenDuration | None = None
    host: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: str | None = None
    user: str | None = Field(default=None, repr=False)
    sender: str | None = None
    to: Annotated[list[str], BeforeValidator(_many)] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, dict) and "name" not in value and isinstance(value.get("type"), str):
            return {**value, "name": value["type"]}
        return value

    @field_validator("urls")
    @classmethod
    def _http(cls, value: list[str], info: ValidationInfo) -> list[str]:
        """A receiver through apprise has addresses of every kind."""
        for url in value if info.data.get("type") != "apprise" else ():
            if not url.startswith(("http://", "https://")):
                raise ValueError("found an address of another kind, wanted http:// or https://")
        return value


Names = Annotated[list[Id], BeforeValidator(_many)]


class RouteMatch(Strict):
    """Which alerts a route takes: every key given must hold; no key takes everything."""

    model_config = ConfigDict(json_schema_extra=one_or_many)

    tier: Names | None = None
    channel: Annotated[list[Channel], BeforeValidator(_many)] | None = None
    queue: Names | None = None
    kind: Annotated[list[Kind], BeforeValidator(_many)] | None = None
    owner: Names | None = None
    policy: Names | None = None
    severity: Annotated[list[Severity], BeforeValidator(_many)] | None = None


class RouteSpec(Strict):
    """The first route that matches an alert names its receivers."""

    match: RouteMatch = Field(default_factory=RouteMatch)
    receivers: Annotated[list[Id], Field(min_length=1)]


def _some_time(span: Span) -> Span:
    if not span.seconds:
        raise ValueError("found 0, wanted a duration longer than nothing")
    return span


class PagerDutyWebhook(Strict):
    """Where acknowledging in PagerDuty is heard of: the signing secret of its webhook subscription (v3)."""

    secret: Annotated[str, Field(min_length=1)] | None = Field(default=None, repr=False)
    secret_file: str | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> PagerDutyWebhook:
        if (self.secret is None) == (self.secret_file is None):
            raise ValueError("wanted secret or secret_file, one of them")
        return self


class AlertsSpec(Strict):
    """Who is told. `from`: breaches due before are recorded, never paged. `fallback` is told what another
    receiver refuses, or has not taken `fallback_after` it was owed. `outbound_hosts`: where receivers may be, by
    name or as `*.example.com`; absent: anywhere. `runbook_url`: where the runbooks are; absent: with the board, and
    where that is not known either, where heardback answers by default."""

    from_: Literal["first_start"] | datetime = Field(default="first_start", alias="from")
    escalations: list[EscalationSpec] = Field(default_factory=list)
    receivers: list[ReceiverSpec] = Field(default_factory=list)
    routes: list[RouteSpec] = Field(default_factory=list)
    board_url: str | None = None
    runbook_url: str | None = None
    pagerduty_webhook: PagerDutyWebhook | None = None
    resend_every: OpenDuration = Field(default_factory=lambda: _duration("1m"))
    blind_after: Annotated[OpenDuration, AfterValidator(_some_time)] = Field(
        default_factory=lambda: _duration("5m"), description="In real time."
    )
    fallback: Id | None = None
    fallback_after: OpenDuration = Field(default_factory=lambda: _duration("5m"))
    outbound_hosts: list[str] | None = None

    @property
    def runbooks(self) -> str:
        """Where the runbooks are: `/breach` and the like are added to it."""
        return self.runbook_url or f"{(self.board_url or DEFAULT_URL).rstrip('/')}/runbooks"

    @field_validator("from_", mode="before")
    @classmethod
    def _instant(cls, value: object) -> object:
        """An instant in quotes, too; whether it has a zone is looked at after."""
        if isinstance(value, datetime) or value == "first_start":
            return value
        if isinstance(value, str):
            with suppress(ValueError):
                return datetime.fromisoformat(value.strip())
        raise ValueError(f"found {str(value)!r}, wanted first_start or an instant such as 2026-11-21T10:00:00Z")

    @field_validator("from_")
    @classmethod
    def _with_zone(cls, value: str | datetime) -> str | datetime:
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError(f"found {value}, wanted first_start or an instant with a zone")
        return value

    @model_validator(mode="after")
    def _known_receivers(self) -> AlertsSpec:
        names = [receiver.name for receiver in self.receivers]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"found receivers {sorted(twice)} twice, wanted each name once")
        used = [name for route in self.routes for name in route.receivers]
        used += [name for step in self.escalations for name in step.receivers or ()]
        used += [self.fallback] if self.fallback is not None else []
        if unknown := sorted(set(used) - set(names)):
            found = {"found": str(unknown), "wanted": str(names)}
            raise PydanticCustomError("unknown_receiver", "found receivers {found}, wanted some of {wanted}", found)
        return self


def _duration(text: str) -> Any:
    from schemas.policies import parse_span

    return parse_span(text)


class ReportSpec(Strict):
    """When the weekly report is due, in whose time, and to whom it goes. A week that starts on Sunday has the name of
    the ISO week whose Monday follows."""

    time_zone: str = "UTC"
    week_starts: Literal["monday", "sunday"] = "monday"
    send_at: str = "mon 07:00"
    to: list[str] = Field(default_factory=list)

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        return time_zone_name(value)

    @field_validator("send_at")
    @classmethod
    def _moment(cls, value: str) -> str:
        if re.fullmatch(rf"({'|'.join(DAYS)}) ([01]\d|2[0-3]):[0-5]\d", value) is None:
            raise ValueError(f"found {value!r}, wanted a weekday and a time such as mon 07:00")
        return value


class FactsSpec(Strict):
    """Where outcomes, journeys and alerts are kept for reports: `sqlite:///PATH` or `postgresql://HOST/DATABASE`, or
    a file that holds such a URL. Default: SQLite under `--data`."""

    url: Annotated[str | None, Field(repr=False)] = None  # it may carry a password
    url_file: str | None = None

    @field_validator("url")
    @classmethod
    def _of_a_kind(cls, value: str | None) -> str | None:
        """What was found is not said: it may carry a password."""
        if value is not None and not value.startswith(("sqlite:///", "postgresql://", "postgres://")):
            raise ValueError("found another kind of URL, wanted sqlite:///PATH or postgresql://HOST/DATABASE")
        return value

    @model_validator(mode="after")
    def _one(self) -> FactsSpec:
        if self.url is not None and self.url_file is not None:
            raise ValueError("found url and url_file, wanted one of them")
        return self


CONTACT_BYTES_MAX: Final = 320 * 1024
"""A contact travels and is kept as one record: with what was published of it, two and a half times its facts at
most, it must fit into what brokers take (a megabyte)."""


class Limits(Strict):
    """Bounds: how late an event may come, how far ahead, and when refusing becomes stopping."""

    late_after: Duration = Field(default_factory=lambda: _duration("30d"))
    ahead: Duration = Field(default_factory=lambda: _duration("5m"))
    refusals_in_a_row: Annotated[int, Field(ge=1)] = 1_000
    contact_bytes: Annotated[int, Field(ge=4_096, le=CONTACT_BYTES_MAX)] = 262_144
    worst_customers: Annotated[int, Field(ge=0, le=100)] = 20


class AuditSpec(Strict):
    """How often everything that was made of the events is held against a replay of them; `0m`: never. What changed
    less than `tolerance` ago may still be on its way."""

    every: OpenDuration = Field(default_factory=lambda: _duration("10m"))
    tolerance: OpenDuration = Field(default_factory=lambda: _duration("2m"))


class BrokerSpec(Strict):
    """How topics are made and how a worker talks to its broker. Times are wall seconds; the partition count
    is fixed at the first start."""

    partitions: Annotated[int, Field(ge=1, le=1_000)] = 4
    replication_factor: Annotated[int, Field(ge=1, le=10)] = 1
    topic_prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]*$", max_length=100)] = ""
    retention_days: Annotated[int, Field(ge=1)] = 30
    session_timeout_seconds: Annotated[float, Field(ge=2, le=300)] = 10.0
    start_timeout_seconds: Annotated[float, Field(ge=1, le=600)] = 30.0


class Configuration(Strict):
    """Everything that `heardback.yaml` may say."""

    calendars: dict[Id, CalendarSpec] = Field(default_factory=dict)
    policies: list[PolicySpec] = Field(default_factory=list)
    alerts: AlertsSpec = Field(default_factory=AlertsSpec)
    report: ReportSpec = Field(default_factory=ReportSpec)
    facts: FactsSpec = Field(default_factory=FactsSpec)
    limits: Limits = Field(default_factory=Limits)
    audit: AuditSpec = Field(default_factory=AuditSpec)
    broker: BrokerSpec = Field(default_factory=BrokerSpec)
