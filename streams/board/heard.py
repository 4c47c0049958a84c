"""What the topics say, as the board keeps it: clocks, journeys and alerts, compactly.

A record is read leniently, for a later version may say more; one that lacks what is needed raises KeyError,
TypeError or ValueError. What it means for a customer is decided in `waiting`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import Any, Final, NamedTuple

from streams.engine.calendar import to_us

Content = Mapping[str, Any]

OWED: Final = frozenset({"acknowledgement", "first_response", "next_response"})
RESPONSES: Final = frozenset({"first_response", "next_response"})
LATE: Final = frozenset({"at_risk", "overdue", "escalated"})
SAID_MAX: Final = 8
NOT_A_CUSTOMER: Final = frozenset({"silent_source", "blind"})
"""Kinds of alerts that speak of heardback or of a source, not of one customer."""


class Clock(NamedTuple):
    """One clock. `alerts`: whether it may alert (C8); `bounced`: an answer to it did not arrive (C13)."""

    outcome_id: str
    revision: int
    contact_id: str
    target: str
    cycle: int
    verdict: str
    reason: str
    policy: str
    calendar_version: str
    started_us: int
    due_us: int | None
    ended_us: int | None
    stage: str
    stage_us: int
    channel: str
    tier: str | None
    queue: str | None
    priority: str
    agent_id: str | None
    alerts: bool
    bounced: bool
    silently_closed: bool
    settled: bool
    url: str | None

    @property
    def running(self) -> bool:
        """Whether nothing has ended it."""
        return self.ended_us is None

    @property
    def closed_on_the_customer(self) -> bool:
        """Closed with a message unanswered, which nobody has answered since (C10)."""
        return (
            self.ended_us is not None
            and self.silently_closed
            and not self.settled
            and self.target in RESPONSES
            and self.reason != "superseded"
        )

    @property
    def waited_for(self) -> bool:
        """Whether the customer waits for it now: to hear from us; for the rest, where it is late."""
        if self.ended_us is not None:
            return self.closed_on_the_customer
        return self.target in OWED or self.stage in LATE

    @property
    def deadline_us(self) -> int | None:
        """The instant at which the promise was or will be broken. None where there is none: a pause, or the close of
        what was often no more than a closing thanks."""
        if self.ended_us is not None and self.target != "first_response":
            return None
        return self.due_us


class Attempt(NamedTuple):
    """One try of the customer; `dead_end_us` is when it was found that nobody will answer it there (C14)."""

    contact_id: str
    channel: str
    at_us: int
    dead_end: str | None
    dead_end_us: int | None


class Journey(NamedTuple):
    """All attempts from the first until a human answered anywhere."""

    journey_id: str
    revision: int
    waiting: bool
    started_us: int
    ended_us: int | None
    answered_by: str | None
    attempts: tuple[Attempt, ...]
    policy: str | None
    tier: str | None


class Said(NamedTuple):
    """What an alert said at one instant."""

    at_us: int
    kind: str
    severity: str


class Alert(NamedTuple):
    """The last record of one alert. `said` is what it said so far, since its kind and severity change while it
    fires; `acknowledged_by` is empty where somebody unnamed took it."""

    alert_id: str
    kind: str
    firing: bool
    severity: str
    contact_id: str | None
    target: str | None
    starts_us: int
    ends_us: int | None
    at_us: int
    summary: str
    resolution: str | None
    acknowledged_us: int | None
    acknowledged_by: str
    runbook_url: str | None
    said: tuple[Said, ...]


def clock_of(content: Content) -> Clock:
    """A record of topic `outcomes`."""
    return Clock(
        content["outcome_id"],
        content["revision"],
        content["contact_id"],
        intern(content["target"]),
        content["cycle"],
        intern(content["verdict"]),
        intern(content["reason"]),
        intern(content["policy"]),
        intern(content["calendar_version"]),
        _us(content["started_at"]),
        _us_or_none(content["due_at"]),
        _us_or_none(content["ended_at"]),
        intern(content["stage"]),
        _us(content["stage_at"]),
        intern(content["channel"]),
        _interned(content["tier"]),
        _interned(content["queue"]),
        intern(content["priority"]),
        content["agent_id"],
        content["alerts_from"] is not None,
        content["bounced_at"] is not None,
        bool(content["silently_closed"]),
        content["settled_at"] is not None,
        content["url"],
    )


def journey_of(content: Content) -> Journey:
    """A record of topic `journeys`."""
    return Journey(
        content["journey_id"],
        content["revision"],
        content["state"] == "waiting",
        _us(content["started_at"]),
        _us_or_none(content["ended_at"]),
        content["answered_by"],
        tuple(_attempt_of(attempt) for attempt in content["attempts"]),
        _interned(content.get("policy")),
        _interned(content.get("tier")),
    )


def _attempt_of(content: Content) -> Attempt:
    return Attempt(
        content["contact_id"],
        intern(content["channel"]),
        _us(content["at"]),
        _interned(content["dead_end"]),
        _us_or_none(content.get("dead_end_at")),
    )


def alert_of(content: Content, before: Alert | None = None) -> Alert:
    """A record of topic `alerts`, after what it said `before`."""
    acknowledged_at = content.get("acknowledged_at")
    said = before.said if before else ()
    now = Said(_us(content["at"]), intern(content["kind"]), intern(content["severity"]))
    if content["state"] == "firing" and (not said or said[-1][1:] != now[1:]):
        said = (*said, now)[-SAID_MAX:]
    return Alert(
        content["alert_id"],
        intern(content["kind"]),
        content["state"] == "firing",
        intern(content["severity"]),
        content["contact_id"],
        _interned(content["target"]),
        _us(content["starts_at"]),
        _us_or_none(content["ends_at"]),
        _us(content["at"]),
        content["summary"],
        content.get("resolution"),
        _us_or_none(acknowledged_at),
        content.get("acknowledged_by") or "",
        content.get("annotations", {}).get("runbook_url"),
        said,
    )


@lru_cache(maxsize=16_384)
def _us(instant: str) -> int:
    return to_us(datetime.fromisoformat(instant))


def _us_or_none(instant: str | None) -> int | None:
    return None if instant is None else _us(instant)


def _interned(text: str | None) -> str | None:
    return None if text is None else intern(text)
