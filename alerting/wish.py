"""What of an outcome or a journey somebody ought to know: what is wished to be firing, and why it ends. Pure.

One record is looked at by itself; what was said before belongs to `alerting.fold`, the configuration to
`alerting.rules`. Instants are text as the engine writes them, always UTC with a `Z`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

REPLY_BOUNCED: Final = "reply_bounced"
SILENT_CLOSE: Final = "silent_close"
DEAD_END: Final = "dead_end"
CHASING: Final = "chasing"
RESPONSES: Final = ("first_response", "next_response")

Content = Mapping[str, Any]


class Wish(NamedTuple):
    """What ought to be firing. `due` decides whether it was before `alerts.from`."""

    kind: str
    severity: str
    due: str
    starts_at: str
    at: str
    also: tuple[str, ...] = ()


def says_nothing(outcome: Content) -> bool:
    if outcome["ended_at"] is None:
        return outcome["stage"] in ("running", "paused") and outcome["bounced_at"] is None
    return not outcome["silently_closed"]


def reply_bounced(outcome: Content) -> Wish | None:
    """An answer was taken back and the customer still waits (C13)."""
    bounced_at, alerts_from = outcome["bounced_at"], outcome["alerts_from"]
    if bounced_at is None or outcome["ended_at"] is not None or alerts_from is None:
        return None
    if outcome["target"] not in RESPONSES:
        return None
    return Wish(REPLY_BOUNCED, "page", bounced_at, bounced_at, bounced_at)


def silent_close(outcome: Content) -> Wish | None:
    """Closed with a message unanswered (C10). After a first answer it is often a closing thanks."""
    target, closed_at = outcome["target"], outcome["ended_at"]
    if not outcome["silently_closed"] or closed_at is None or outcome["settled_at"] is not None:
        return None
    if target not in RESPONSES or outcome["reason"] == "superseded":
        return None
    severity = "page" if target == "first_response" else "warning"
    return Wish(SILENT_CLOSE, severity, closed_at, closed_at, closed_at)


def chasing(journey: Content) -> Wish | None:
    """The customer has asked as often as a policy lets pass (C40)."""
    at = journey.get("chasing_at")
    return None if at is None else Wish(CHASING, "page", at, at, at)


def dead_ends(journey: Content) -> dict[str, Content]:
    """The first dead end of each contact of a journey."""
    found: dict[str, Content] = {}
    for attempt in journey["attempts"]:
        if attempt["dead_end"] is not None:
            found.setdefault(attempt["contact_id"], attempt)
    return found


def channels(journey: Content) -> dict[str, str]:
    """Since when the customer has tried each channel; empty where it is one alone."""
    found: dict[str, str] = {}
    for attempt in journey["attempts"]:
        found.setdefault(attempt["channel"], attempt["at"])
    return found if len(found) > 1 else {}


def resolution(outcome: Content, kind: str) -> str:
    """How an alert of a clock ended. A promise kept although its breach fired was kept by an event that
    came late (C15)."""
    if outcome["reason"] == "superseded":
        return "superseded"
    if kind == SILENT_CLOSE:
        if outcome["settled_at"] is not None:
            return "answered"
        return "void" if outcome["verdict"] == "void" else "withdrawn"
    if outcome["ended_at"] is None:
        return "withdrawn"
    if outcome["verdict"] == "void" or outcome["silently_closed"]:
        return "void"
    if outcome["verdict"] == "kept" and kind in ("breach", "escalation"):
        return "withdrawn"
    return "answered"


def key(instant: str) -> str:
    """Instants as text in the order of time: without the `Z`, which sorts after a decimal point."""
    return instant.removesuffix("Z")


def latest(first: str, *others: str | None) -> str:
    return max((first, *(other for other in others if other is not None)), key=key)
