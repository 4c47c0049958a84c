"""What an alert says: its record, in sentences without the customer's words. Pure.

Whether it fires is decided in `rules`; how a receiver wants it is in `receivers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from alerting.rules import Wish

Content = Mapping[str, Any]
Alert = dict[str, Any]

_AWAITED: Final = {
    "acknowledgement": "an acknowledgement",
    "first_response": "a first response",
    "next_response": "a response",
    "resolution": "a resolution",
    "update": "an update",
}
_ENDS: Final = {
    "answered": "The wait is over",
    "withdrawn": "Withdrawn: what came late shows that nobody waits beyond the promise",
    "void": "No longer owed",
    "superseded": "Superseded by what is known now",
}
_LABELS: Final = ("tier", "channel", "queue", "priority", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where the board is (None: not known) and where the runbooks are."""

    board_url: str | None
    runbook_url: str


def of_clock(wish: Wish, outcome: Content, links: Links) -> Alert:
    """The record, without its id, of an alert that fires for a clock."""
    annotations = _annotations(wish.kind, outcome["contact_id"], links)
    if outcome["url"]:
        annotations["url"] = outcome["url"]
    annotations["explanation"] = _clock_explanation(outcome)
    return {
        "kind": wish.kind,
        "state": "firing",
        "severity": wish.severity,
        "customer_id": outcome["customer_id"],
        "contact_id": outcome["contact_id"],
        "target": outcome["target"],
        "policy": outcome["policy"],
        "due_at": outcome["due_at"],
        "starts_at": wish.starts_at,
        "ends_at": None,
        "at": wish.at,
        "summary": _clock_summary(wish, outcome),
        "resolution": None,
        "labels": {name: str(outcome[name]) for name in _LABELS if outcome[name] is not None},
        "annotations": annotations,
    }


def of_attempt(wish: Wish, journey: Content, attempt: Content, links: Links) -> Alert:
    """The record, without its id, of an alert for an attempt that landed where nobody will answer it."""
    labels = {"tier": journey.get("tier"), "channel": attempt["channel"]}
    what = "A mail bounced at our side" if attempt["dead_end"] == "bounced" else "A form became no ticket"
    tries = len(journey["attempts"])
    since = clock_time(journey["started_at"])
    explanation = f"{tries} {'attempt' if tries == 1 else 'attempts'} since {since}, no answer"
    return {
        "kind": wish.kind,
        "state": "firing",
        "severity": wish.severity,
        "customer_id": journey["customer_id"],
        "contact_id": attempt["contact_id"],
        "target": None,
        "policy": journey.get("policy"),
        "due_at": None,
        "starts_at": wish.starts_at,
        "ends_at": None,
        "at": wish.at,
        "summary": f"{what}: nobody will answer customer {journey['customer_id']} there, who has waited "
        f"{wait(journey['started_at'], wish.at)}, since {since}.",
        "resolution": None,
        "labels": {name: str(value) for name, value in labels.items() if value is not None},
        "annotations": {**_annotations(wish.kind, attempt["contact_id"], links), "explanation": explanation},
    }


def resolved(record: Content, resolution: str, at: str) -> Alert:
    """The record that ends an alert; everything that names it stays as it fired."""
    summary = f"{_ENDS[resolution]}, at {clock_time(at)}: {record['summary']}"
    return {**record, "state": "resolved", "resolution": resolution, "ends_at": at, "at": at, "summary": summary}


def clock_time(instant: str) -> str:
    """`Sat 2026-11-14 11:00 UTC`."""
    return datetime.fromisoformat(instant).strftime("%a %Y-%m-%d %H:%M UTC")


def wait(since: str, until: str) -> str:
    """Wall time between two instants, in its two largest units: `4 d 22 h`, `1 h 30 min`, `45 s`."""
    seconds = int(max(datetime.fromisoformat(until) - datetime.fromisoformat(since), timedelta()).total_seconds())
    parts: list[tuple[int, str]] = []
    rest = seconds
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append((count, unit))
    shown = [f"{count} {unit}" for count, unit in parts[:2] if count]
    return " ".join(shown) or "0 s"


def _annotations(kind: str, contact_id: str, links: Links) -> dict[str, str]:
    found = {"runbook_url": f"{links.runbook_url.rstrip('/')}/{kind}"}
    if links.board_url:
        found["board_url"] = f"{links.board_url.rstrip('/')}/contacts/{quote(contact_id, safe='')}"
    return found


def _clock_summary(wish: Wish, outcome: Content) -> str:
    who, contact_id = f"ustomer {outcome['customer_id']}", outcome["contact_id"]
    awaited, since = _AWAITED[outcome["target"]], clock_time(outcome["started_at"])
    waited = f"{wait(outcome['started_at'], wish.at)} for {awaited} to {contact_id}, since {since}"
    promised = f"policy {outcome['policy']}"
    if outcome["due_at"] is not None:
        promised = f"promised by {clock_time(outcome['due_at'])} ({promised})"
    match wish.kind:
        case "at_risk":
            return f"C{who} has been waiting {waited}; {promised}."
        case "breach":
            return f"C{who} has waited {waited}; {promised}."
        case "escalation":
            return f"Nobody has helped yet: c{who} has waited {waited}; {promised}."
        case "reply_bounced":
            return f"Our answer did not arrive: c{who} has waited {waited}; {promised}."
        case _:
            return f"Closed without an answer: c{who} has waited {waited}."


def _clock_explanation(outcome: Content) -> str:
    """What judged the clock. Elapsed open time is left to the board: it moves with the moment of looking."""
    return (
        f"{outcome['target']} cycle {outcome['cycle']}: {outcome['reason']}, {outcome['stage']}; "
        f"policy {outcome['policy']} {outcome['policy_version']}, "
        f"calendar {outcome['calendar']} {outcome['calendar_version']}"
    )
