"""Outcomes and journeys as the engine publishes them, short to write; and the language of the rules' tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alerting.fold import Known
from alerting.rules import Rules
from schemas.acknowledgements import Acknowledgement
from schemas.alerts import Alert
from schemas.configuration import AlertsSpec
from schemas.outcomes import Journey, Outcome

STARTED = "2026-11-10T09:00:00Z"
AT_RISK = "2026-11-10T09:30:00Z"
BEFORE = "2026-11-10T09:50:00Z"
DUE = "2026-11-10T10:00:00Z"
ESCALATED = "2026-11-10T11:00:00Z"
LATE = "2026-11-10T12:00:00Z"
SPEC = AlertsSpec.model_validate(
    {
        "escalations": [{"after": "0m", "severity": "page"}, {"after": "1h", "severity": "critical"}],
        "board_url": "https://board.example/",
        "runbook_url": "https://runbooks.example",
    }
)


def outcome(revision: int = 1, **changed: Any) -> dict[str, Any]:
    """A first response clock of c-17 that runs; say by keyword what is different."""
    content: dict[str, Any] = {
        "outcome_id": "o-1", "revision": revision, "contact_id": "T-4711", "customer_id": "c-17",
        "target": "first_response", "cycle": 1, "verdict": "open", "reason": "running", "policy": "gold",
        "policy_version": "p1", "calendar": "london", "calendar_version": "k1", "started_at": STARTED, "due_at": DUE,
        "ended_at": None, "open_seconds": 0.0, "wall_seconds": 0.0, "paused_seconds": 0.0, "stage": "running",
        "step": 0, "steps": [], "channel": "ticket", "tier": "gold", "queue": "billing", "priority": "high",
        "agent_id": None, "stage_at": STARTED, "alerts_from": STARTED, "bounced_at": None, "silently_closed": False,
        "settled_at": None, "url": "https://desk.example/4711", "promised": "1h", "alert_open_seconds": None,
        "bounced_open_seconds": None,
    }  # fmt: skip
    assert not changed.keys() - content.keys()
    content.update(changed)
    Outcome.model_validate(content)
    return content


def at_risk(revision: int = 1, **changed: Any) -> dict[str, Any]:
    """Half of the time is used up."""
    return outcome(revision, **{"stage": "at_risk", "step": 1, "stage_at": AT_RISK, **changed})


def overdue(revision: int = 1, **changed: Any) -> dict[str, Any]:
    """Past due and unanswered."""
    late = {"verdict": "broken", "reason": "unanswered", "stage": "overdue", "stage_at": DUE}
    return outcome(revision, **{**late, **changed})


def escalated(revision: int = 1, step: int = 1, **changed: Any) -> dict[str, Any]:
    """Past an escalation step."""
    return overdue(revision, **{"stage": "escalated", "step": step, "stage_at": ESCALATED, **changed})


def ended(revision: int = 1, at: str = LATE, **changed: Any) -> dict[str, Any]:
    """Answered late; in time with `verdict="kept"`."""
    late = {"verdict": "broken", "reason": "answered_late", "stage": "ended", "stage_at": at, "ended_at": at}
    return outcome(revision, **{**late, **changed})


def superseded(revision: int = 1, **changed: Any) -> dict[str, Any]:
    """No longer there: another customer's, or no clock at all."""
    return ended(revision, **{"verdict": "void", "reason": "superseded", "alerts_from": None, **changed})


def silently_closed(revision: int = 1, **changed: Any) -> dict[str, Any]:
    """Resolved in time with the customer's message unanswered."""
    void = {"verdict": "void", "reason": "closed_unanswered", "silently_closed": True}
    return ended(revision, **{"at": BEFORE, **void, **changed})


def attempt(contact_id: str = "mail:1", at: str = STARTED, dead_end: str | None = "bounced", **changed: Any) -> Any:
    """One try of the customer; found to be a dead end at once."""
    channel = "form" if dead_end == "no_ticket" else "email"
    found_at = at if dead_end else None
    content = {"contact_id": contact_id, "channel": channel, "at": at, "dead_end": dead_end, "dead_end_at": found_at,
               "open_seconds": None, "url": None}  # fmt: skip
    return {**content, **changed}


FOUR_DOORS = [
    attempt("mail:1", STARTED, "bounced"),
    attempt("form:2", AT_RISK, None, channel="form", url="https://forms.example/2"),
    attempt("T-3", DUE, None, channel="ticket"),
]


def chasing(revision: int = 1, at: str = AT_RISK, **changed: Any) -> dict[str, Any]:
    """The customer asked twice, which is once too often, and a third time."""
    return journey(revision, **{"attempts": FOUR_DOORS, "chasing_at": at, "chasing_open_seconds": 900.0, **changed})


def journey(revision: int = 1, attempts: Sequence[Any] | None = None, **changed: Any) -> dict[str, Any]:
    """A journey of c-17 with one bounced mail, still waiting."""
    content = {
        "journey_id": "j-1", "revision": revision, "customer_id": "c-17", "state": "waiting", "started_at": STARTED,
        "ended_at": None, "answered_by": None, "attempts": [attempt()] if attempts is None else list(attempts),
        "open_seconds": 0.0, "wall_seconds": 0.0, "policy": "gold", "tier": "gold", "chasing_at": None,
        "chasing_open_seconds": None, **changed,
    }  # fmt: skip
    Journey.model_validate(content)
    return content


def answered(revision: int = 2, at: str = LATE, **changed: Any) -> dict[str, Any]:
    """The same journey once a human has answered."""
    return journey(revision, **{"state": "answered", "ended_at": at, "answered_by": "a-3", **changed})


def taken(alert: Mapping[str, Any], at: str = LATE, by: str | None = "ann") -> dict[str, Any]:
    """Somebody has this alert."""
    content = {
        "alert_id": alert["alert_id"], "customer_id": alert["customer_id"], "outcome_id": alert.get("outcome_id"),
        "at": at, "by": by, "via": "http",
    }  # fmt: skip
    Acknowledgement.model_validate(content)
    return content


def said(*records: Mapping[str, Any], rules: Rules | None = None, known: Known | None = None) -> list[str]:
    """What the records make the rules say, in words: `breach firing page`, `breach resolved answered`."""
    return [in_words(alert) for alert in alerts_of(*records, rules=rules, known=known)]


def alerts_of(
    *records: Mapping[str, Any], rules: Rules | None = None, known: Known | None = None
) -> list[dict[str, Any]]:
    """The alert records that come of the records, each valid by its schema. State passes through bytes."""
    rules = rules or Rules(SPEC)
    found: list[dict[str, Any]] = []
    for record in records:
        if "via" in record:
            changes, known = rules.on_acknowledgement(record, known)
        else:
            changes, known = (rules.on_journey if "journey_id" in record else rules.on_outcome)(record, known)
        known = None if known is None else Known.from_bytes(known.to_bytes())
        for change in changes:
            Alert.model_validate(change.record)
            found.append(change.record)
    return found


def in_words(alert: Mapping[str, Any]) -> str:
    """An alert as `kind firing severity` or `kind resolved resolution`."""
    how = alert["severity"] if alert["state"] == "firing" else alert["resolution"]
    return f"{alert['kind']} {alert['state']} {how}"
