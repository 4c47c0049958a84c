"""Records as the topics have them, with what a test is about; the rest is ordinary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.alerts import Alert
from schemas.configuration import Configuration
from schemas.outcomes import Journey, Outcome
from streams.board.calendars import Calendars
from streams.engine.calendar import to_us
from streams.promises import in_force_record, records_of

MONDAY = datetime(2026, 11, 16, 9, 0, tzinfo=UTC)
CONFIGURATION = Configuration.model_validate(
    {
        "calendars": {
            "london": {"time_zone": "Europe/London", "hours": {"mon-fri": ["09:00-17:00"]}},
            "always": {"always_open": True},
        },
        "policies": [
            {"name": "gold", "match": {"tier": "gold"}, "calendar": "london", "targets": {"first_response": "1h"}},
            {"name": "all", "calendar": "always", "targets": {"first_response": "1h"}},
        ],
    }
)
VERSIONS = {record.name: record.hash for record in records_of(CONFIGURATION) if record.kind == "calendar"}


def at(hours: float = 0) -> str:
    """So long after Monday at nine."""
    return (MONDAY + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


def us(hours: float = 0) -> int:
    """The same in microseconds."""
    return to_us(MONDAY + timedelta(hours=hours))


def calendars() -> Calendars:
    """Those of the configuration."""
    known = Calendars()
    for record in [*records_of(CONFIGURATION), in_force_record(CONFIGURATION)]:
        known.take(record)
    return known


def outcome(contact: str = "T-1", customer: str = "c-1", **changed: Any) -> dict[str, Any]:
    """A first response that is due on Monday at ten and still runs."""
    content: dict[str, Any] = {
        "outcome_id": f"o-{contact}-{changed.get('target', 'first_response')}-{changed.get('cycle', 1)}",
        "revision": 1,
        "contact_id": contact,
        "customer_id": customer,
        "target": "first_response",
        "cycle": 1,
        "verdict": "open",
        "reason": "running",
        "policy": "gold",
        "policy_version": "v",
        "calendar": "london",
        "calendar_version": VERSIONS["london"],
        "started_at": at(0),
        "due_at": at(1),
        "ended_at": None,
        "open_seconds": 0.0,
        "wall_seconds": 0.0,
        "paused_seconds": 0.0,
        "stage": "running",
        "step": 0,
        "steps": [],
        "channel": "ticket",
        "tier": "gold",
        "queue": None,
        "priority": "normal",
        "agent_id": None,
        "stage_at": at(0),
        "alerts_from": at(0),
        "bounced_at": None,
        "silently_closed": False,
        "settled_at": None,
        "url": None,
    }
    content |= changed
    Outcome.model_validate(content)
    return content


def answered(content: dict[str, Any], hours: float = 0.5) -> dict[str, Any]:
    """The same clock, ended in time."""
    ended = {"revision": content["revision"] + 1, "verdict": "kept", "reason": "answered_in_time", "stage": "ended"}
    return content | ended | {"ended_at": at(hours), "stage_at": at(hours)}


def attempt(contact: str, channel: str, hours: float, dead_end: str | None = None) -> dict[str, Any]:
    """One try; a dead end is found at once."""
    return {
        "contact_id": contact,
        "channel": channel,
        "at": at(hours),
        "dead_end": dead_end,
        "dead_end_at": at(hours) if dead_end else None,
    }


def journey(customer: str = "c-1", *attempts: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A journey of these attempts, on which nobody answered."""
    content: dict[str, Any] = {
        "journey_id": f"j-{customer}",
        "revision": 1,
        "customer_id": customer,
        "state": "waiting",
        "started_at": attempts[0]["at"] if attempts else at(0),
        "ended_at": None,
        "answered_by": None,
        "attempts": list(attempts),
        "open_seconds": 0.0,
        "wall_seconds": 0.0,
        "policy": "gold",
        "tier": "gold",
    }
    content |= changed
    Journey.model_validate(content)
    return content


def alert(kind: str = "breach", contact: str = "T-1", customer: str = "c-1", **changed: Any) -> dict[str, Any]:
    """A page that fires since Monday at ten."""
    content: dict[str, Any] = {
        "alert_id": f"o-{contact}-first_response-1",
        "kind": kind,
        "state": "firing",
        "severity": "page",
        "customer_id": customer,
        "contact_id": contact,
        "target": "first_response",
        "policy": "gold",
        "due_at": at(1),
        "starts_at": at(1),
        "ends_at": None,
        "at": at(1),
        "summary": "somebody waits",
        "resolution": None,
        "labels": {},
        "annotations": {},
    }
    content |= changed
    Alert.model_validate(content)
    return content


def resolved(content: dict[str, Any], resolution: str = "answered", hours: float = 2) -> dict[str, Any]:
    """The same alert, over."""
    over = {"state": "resolved", "resolution": resolution, "ends_at": at(hours), "at": at(hours)}
    return content | over
