"""A peer's events as the timeline of one contact, judged by the engine.

What the figures of a case mean does not belong here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from schemas.policies import CalendarSpec, PolicySpec, Span, TargetName
from streams.engine import timeline as told
from streams.engine.attributes import Tier
from streams.engine.calendar import Calendar, to_us
from streams.engine.clocks import Assessment
from streams.engine.policy import Policies, Policy
from streams.engine.reading import assess
from streams.engine.timeline import Contact, Fact, in_order, timelines

CONTACT: Final = "contact"
SOURCE: Final = "/conformance"
EVERYBODY: Final = (Tier(0, None, None),)

_AUTOMATIC: Final = {"automated": True}
_INTERNAL: Final = {"public": False}
EVENTS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    **dict.fromkeys(("created", "opened", "ticket_created", "submitted"), (told.OPENED, {"channel": "ticket"})),
    **dict.fromkeys(("customer_message", "customer_reply", "customer_email", "message_received"), (told.RECEIVED, {})),
    **dict.fromkeys(("customer_auto_reply", "customer_out_of_office", "out_of_office"), (told.RECEIVED, _AUTOMATIC)),
    **dict.fromkeys(
        ("agent_reply", "agent_message", "agent_response", "agent_email", "agent_call", "public_reply"), (told.SENT, {})
    ),
    **dict.fromkeys(
        ("agent_note", "internal_note", "private_note", "internal_comment", "note"), (told.SENT, _INTERNAL)
    ),
    **dict.fromkeys(
        ("bot_reply", "bot_message", "auto_reply", "automatic_reply", "system_message"), (told.SENT, _AUTOMATIC)
    ),
    **dict.fromkeys(("acknowledged", "agent_acknowledged"), (told.ACKNOWLEDGED, {})),
    **dict.fromkeys(("bot_handoff", "handoff"), (told.ASSIGNED, {"queue": "humans"})),
    **dict.fromkeys(("assigned", "agent_assigned"), (told.ASSIGNED, {"agent_id": "agent"})),
    **dict.fromkeys(
        ("paused", "pause", "pending", "on_hold", "hold", "hold_started", "snoozed", "waiting"), (told.PAUSED, {})
    ),
    **dict.fromkeys(("resumed", "resume", "unpaused", "unhold", "hold_ended", "unsnoozed"), (told.RESUMED, {})),
    **dict.fromkeys(
        ("resolved", "resolve", "solved", "agent_resolved", "customer_resolved", "bot_resolved"), (told.RESOLVED, {})
    ),
    **dict.fromkeys(("closed", "close", "agent_closed", "customer_closed", "bot_closed"), (told.CLOSED, {})),
    **dict.fromkeys(("reopened", "reopen", "agent_reopened", "customer_reopened"), (told.REOPENED, {})),
    **dict.fromkeys(("bounced", "agent_reply_bounced"), (told.BOUNCED, {"direction": "outbound", "recipient": "c"})),
    **dict.fromkeys(("spam", "marked_spam"), (told.VOIDED, {"reason": "spam"})),
}

GIVEN: Final = ("channel", "agent_id", "message_id", "recipient", "automated", "public", "permanent")
"""What an event of a peer may say of itself in our words."""


def instant_us(written: str) -> int:
    """Microseconds since 1970 of an instant with a zone. Raises ValueError."""
    instant = datetime.fromisoformat(written)
    if instant.tzinfo is None:
        raise ValueError(f"found {written!r}, wanted an instant with a zone")
    return to_us(instant)


def facts_of(events: Iterable[Mapping[str, Any]]) -> list[Fact]:
    """The peer's events as facts. Raises ValueError where an event is not known by name."""
    facts = []
    for number, event in enumerate(events):
        if event["e"] not in EVENTS:
            raise ValueError(f"unknown event {event['e']!r}")
        kind, data = EVENTS[event["e"]]
        at_us, by = instant_us(event["t"]), str(event.get("by", ""))
        given = {key: event[key] for key in GIVEN if key in event}
        if kind == told.OPENED and by:
            given["opened_by"] = "customer" if by.startswith("customer") else "agent"
        facts.append(told.fact(at_us, SOURCE, f"{number:04}", kind, {**data, **given}))
        if event["e"] == "customer_reopened" or (kind == told.REOPENED and by.startswith("customer")):
            facts.append(told.fact(at_us, SOURCE, f"{number:04}-words", told.RECEIVED, {}))
    return in_order(facts)


def paused_between(facts: list[Fact], pauses: Sequence[Sequence[str | None]], start_us: int) -> list[Fact]:
    """`facts` with pauses laid over them, given in any order and overlapping or not, from `start` on."""
    wanted = sorted((max(instant_us(a or ""), start_us), instant_us(b) if b else None) for a, b in pauses)
    merged: list[tuple[int, int | None]] = []
    for begin, end in ((begin, end) for begin, end in wanted if end is None or end > begin):
        last = merged[-1] if merged else None
        if last is not None and (last[1] is None or begin <= last[1]):
            merged[-1] = (last[0], None if last[1] is None or end is None else max(last[1], end))
        else:
            merged.append((begin, end))
    changes = [told.fact(begin, SOURCE, f"pause-{begin}", told.PAUSED, {}) for begin, _ in merged]
    changes += [told.fact(end, SOURCE, f"resume-{end}", told.RESUMED, {}) for _, end in merged if end is not None]
    return in_order([*facts, *changes])


def judged(facts: list[Fact], calendar: Calendar, seconds: Mapping[TargetName, int], now_us: int) -> Assessment:
    """What the engine says of one contact under one promise, in seconds of open time by target."""
    timeline = timelines({CONTACT: Contact(CONTACT, "customer", facts)})[CONTACT]
    return assess(timeline, _promising(calendar, seconds), EVERYBODY, now_us)


def _promising(calendar: Calendar, seconds: Mapping[TargetName, int]) -> Policies:
    spec = PolicySpec(name="peer", calendar=calendar.name, targets={}, assignment_acknowledges=True)
    targets: dict[TargetName, Span] = {target: Span(seconds=length) for target, length in seconds.items()}
    policy = Policy(
        name=spec.name,
        version="",
        spec=spec,
        calendar=calendar,
        effective_us=-(1 << 62),
        targets={"normal": targets},
        at_risk=(),
        dead_end_after_us=None,
    )
    return Policies(policies=(policy,), calendars={calendar.name: calendar})


ALWAYS: Final = Calendar("always", CalendarSpec(always_open=True))
