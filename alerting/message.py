"""What an alert says: its record, in sentences without the customer's words. Pure.

Whether it fires is decided in `rules`; how a receiver wants it is in `receivers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from alerting.wish import Content, Wish

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
_CONTACTS_NAMED: Final = 5
_OPEN_SECONDS: Final = {"reply_bounced": "bounced_open_seconds", "silent_close": "open_seconds"}
"""Where an outcome says the open time by the instant of the alert, where not in `alert_open_seconds`."""
_LABELS: Final = ("tier", "channel", "queue", "priority", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where the board is (None: not known) and where the runbooks are."""

    board_url: str | None
    runbook_url: str


def of_clock(wish: Wish, outcome: Content, links: Links, tried: Mapping[str, str]) -> Alert:
    """The record, without its id, of an alert that fires for a clock. `tried`: the channels that the customer has
    tried, each with since when; one that is tried at that very instant is not among them yet."""
    open_seconds = outcome.get(_OPEN_SECONDS.get(wish.kind, "alert_open_seconds"))
    channels = [channel for channel, since in tried.items() if _earlier(since, wish.at)]
    annotations = {
        **_addresses(wish.kind, outcome["customer_id"], outcome["contact_id"], outcome["url"], links),
        "explanation": _clock_explanation(outcome),
        "promised": _promised(outcome),
        **_waited(outcome["started_at"], wish.at, open_seconds),
        "channels_tried": ", ".join(dict.fromkeys((*channels, outcome["channel"]))),
    }
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
        "summary": _clock_summary(wish, outcome, open_seconds),
        "outcome_id": outcome["outcome_id"],
        "resolution": None,
        "labels": {name: str(outcome[name]) for name in _LABELS if outcome[name] is not None},
        "annotations": annotations,
    }


def of_attempt(wish: Wish, journey: Content, attempt: Content, links: Links) -> Alert:
    """The record, without its id, of an alert for an attempt that landed where nobody will answer it."""
    what = "A mail bounced at our side" if attempt["dead_end"] == "bounced" else "A form became no ticket"
    tries = len(journey["attempts"])
    since = clock_time(journey["started_at"])
    explanation = f"{tries} {'attempt' if tries == 1 else 'attempts'} since {since}, no answer"
    open_seconds = attempt.get("open_seconds")
    waited = _wait_text(journey["started_at"], wish.at, open_seconds)
    return {
        **_of_journey(wish, journey, attempt, links, open_seconds, explanation),
        "summary": f"{what}: nobody will answer customer {journey['customer_id']} there, who has waited "
        f"{waited}, since {since}.",
    }


def of_chasing(wish: Wish, journey: Content, links: Links) -> Alert:
    """The record, without its id, of an alert for a customer who asks again and again (C40)."""
    attempts = [attempt for attempt in journey["attempts"] if not _earlier(wish.at, attempt["at"])]
    channels = ", ".join(dict.fromkeys(attempt["channel"] for attempt in attempts))
    since = clock_time(journey["started_at"])
    open_seconds = journey.get("chasing_open_seconds")
    waited = _wait_text(journey["started_at"], wish.at, open_seconds)
    contacts = ", ".join(dict.fromkeys(attempt["contact_id"] for attempt in attempts[-_CONTACTS_NAMED:]))
    explanation = f"{len(attempts)} attempts since {since}, no answer: {contacts}"
    return {
        **_of_journey(wish, journey, attempts[-1], links, open_seconds, explanation),
        "summary": f"Asked {len(attempts)} times without an answer: customer {journey['customer_id']} has waited "
        f"{waited}, since {since}, and tried {channels}.",
    }


def _of_journey(
    wish: Wish, journey: Content, attempt: Content, links: Links, open_seconds: float | None, explanation: str
) -> Alert:
    """What alerts of a journey have in common; `attempt` is the one that they are about."""
    labels = {"tier": journey.get("tier"), "channel": attempt["channel"]}
    so_far = [one["channel"] for one in journey["attempts"] if not _earlier(wish.at, one["at"])]
    policy = journey.get("policy")
    annotations = {
        **_addresses(wish.kind, journey["customer_id"], attempt["contact_id"], attempt.get("url"), links),
        "explanation": explanation,
        "promised": f"an answer, by policy {policy}" if policy else "nothing: no policy covers the first attempt",
        **_waited(journey["started_at"], wish.at, open_seconds),
        "channels_tried": ", ".join(dict.fromkeys(so_far)),
    }
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
        "summary": "",
        "resolution": None,
        "labels": {name: str(value) for name, value in labels.items() if value is not None},
        "annotations": annotations,
    }


def acknowledged(record: Content, by: str | None, at: str) -> Alert:
    """The record of an alert that somebody has taken; everything else stays as it fired."""
    who = f"by {by}" if by else "by somebody"
    annotations = {**record["annotations"], "acknowledged": f"{who}, {clock_time(at)}"}
    return {**record, "at": at, "acknowledged_at": at, "acknowledged_by": by, "annotations": annotations}


def of_nobody(
    name: str,
    kind: str,
    severity: str,
    at: str,
    summary: str,
    *,
    labels: Mapping[str, str],
    runbook_url: str,
    explanation: str | None = None,
) -> Alert:
    """The record of an alert that is of no customer: heardback itself, or a source, gives rise to it."""
    annotations = {"runbook_url": f"{runbook_url.rstrip('/')}/{kind}"}
    if explanation is not None:
        annotations["explanation"] = explanation
    return {
        "alert_id": name,
        "kind": kind,
        "state": "firing",
        "severity": severity,
        "customer_id": None,
        "contact_id": None,
        "target": None,
        "policy": None,
        "due_at": None,
        "starts_at": at,
        "ends_at": None,
        "at": at,
        "summary": summary,
        "resolution": None,
        "labels": dict(labels),
        "annotations": annotations,
    }  # fmt: skip


def resolved(record: Content, resolution: str, at: str) -> Alert:
    """The record that ends an alert; everything that names it stays as it fired."""
    summary = f"{_ENDS[resolution]}, at {clock_time(at)}: {record['summary']}"
    return {**record, "state": "resolved", "resolution": resolution, "ends_at": at, "at": at, "summary": summary}


@lru_cache(maxsize=4_096)
def clock_time(instant: str) -> str:
    """`Sat 2026-11-14 11:00 UTC`."""
    return datetime.fromisoformat(instant).strftime("%a %Y-%m-%d %H:%M UTC")


def wait(since: str, until: str) -> str:
    """Wall time between two instants, in its two largest units: `4 d 22 h`, `1 h 30 min`, `45 s`."""
    passed = max(datetime.fromisoformat(until) - datetime.fromisoformat(since), timedelta())
    return length(int(passed.total_seconds()))


def length(seconds: int) -> str:
    """Seconds in their two largest units: `4 d 22 h`."""
    parts: list[tuple[int, str]] = []
    rest = seconds
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append((count, unit))
    shown = [f"{count} {unit}" for count, unit in parts[:2] if count]
    return " ".join(shown) or "0 s"


def _earlier(one: str, other: str) -> bool:
    return one.removesuffix("Z") < other.removesuffix("Z")


def _addresses(kind: str, customer_id: str, contact_id: str, url: str | None, links: Links) -> dict[str, str]:
    """Where to go on: the runbook, the explanation of the contact, its customer, and the contact in its own system."""
    found = {"runbook_url": f"{links.runbook_url.rstrip('/')}/{kind}"}
    if links.board_url:
        board = links.board_url.rstrip("/")
        found["board_url"] = f"{board}/contacts/{quote(contact_id, safe='')}"
        found["customer_url"] = f"{board}/customers/{quote(customer_id, safe='')}"
    if url:
        found["url"] = url
    return found


def _waited(since: str, until: str, open_seconds: float | None) -> dict[str, str]:
    """Both kinds of time. Records of an earlier heardback do not say the open one."""
    found = {"waited_wall": wait(since, until)}
    if open_seconds is not None:
        found["waited_open"] = length(int(open_seconds))
    return found


def _wait_text(since: str, until: str, open_seconds: float | None) -> str:
    """`2 d 17 h (1 h 30 min of open time)`; wall time alone where all of it was open."""
    wall, open_time = wait(since, until), None if open_seconds is None else length(int(open_seconds))
    return wall if open_time in (None, wall) else f"{wall} ({open_time} of open time)"


def _promised(outcome: Content) -> str:
    within = f" within {outcome['promised']}" if outcome.get("promised") else ""
    by = f", by {clock_time(outcome['due_at'])}" if outcome["due_at"] else ""
    return f"{_AWAITED[outcome['target']]}{within}{by} (policy {outcome['policy']})"


def _clock_summary(wish: Wish, outcome: Content, open_seconds: float | None) -> str:
    who, contact_id = f"ustomer {outcome['customer_id']}", outcome["contact_id"]
    awaited, since = _AWAITED[outcome["target"]], clock_time(outcome["started_at"])
    waited = f"{_wait_text(outcome['started_at'], wish.at, open_seconds)} for {awaited} to {contact_id}, since {since}"
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
