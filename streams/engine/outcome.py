"""Clocks and journeys as records, and what changed since they were last published.

Ids are hashes of contact, target and cycle, never of customer or partition, so that a contact keeps them
wherever it lives (DESIGN: at least once and idempotent). Sending records is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson

from streams.engine.clocks import Clock
from streams.engine.journey import Journey

_SECOND_US: Final = 1_000_000
_DAY_MINUTES: Final = 1_440
_EPOCH_DAY: Final = date(1970, 1, 1)
_ALERTING: Final = ("at_risk", "overdue", "escalated")
# Fields that move with `now` while a clock runs: they are no change worth a revision.
_ELAPSING: Final = ("open_seconds", "wall_seconds", "paused_seconds")
Content = dict[str, Any]


class Published(NamedTuple):
    """What was last published of one record: its revision, the digest of its content, and of an outcome
    the verdict and whether it had ended."""

    revision: int
    digest: str
    verdict: str | None = None
    ended: bool = False


@lru_cache(maxsize=4_096)
def instant_text(instant_us: int) -> str:
    """`2026-11-21T10:00:00Z`, with six decimals only where they are not zero."""
    seconds, micros = divmod(instant_us, _SECOND_US)
    minutes, second = divmod(seconds, 60)
    text = f"{_minute_text(minutes)}:{second:02}"
    return f"{text}.{micros:06}Z" if micros else f"{text}Z"


@lru_cache(maxsize=65_536)
def _minute_text(minutes: int) -> str:
    days, minute = divmod(minutes, _DAY_MINUTES)
    return f"{(_EPOCH_DAY + timedelta(days=days)).isoformat()}T{minute // 60:02}:{minute % 60:02}"


def _text_or_none(instant_us: int | None) -> str | None:
    return None if instant_us is None else instant_text(instant_us)


def _seconds_or_none(duration_us: int | None) -> float | None:
    return None if duration_us is None else duration_us / _SECOND_US


def record_id(*parts: str) -> str:
    """32 hex digits that name the thing that `parts` name."""
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _open_by(clock: Clock, at_us: int) -> float:
    """Open seconds less pauses from the start of a clock to an instant."""
    calendar = clock.policy.calendar
    paused_us = sum(
        calendar.elapsed(from_us, at_us if to_us is None else min(to_us, at_us))
        for from_us, to_us in clock.pauses
        if from_us < at_us
    )
    return (calendar.elapsed(clock.started_us, at_us) - paused_us) / _SECOND_US


def _alert_open_seconds(clock: Clock) -> float | None:
    """Open time by the instant at which a stage that alerts begins to."""
    if clock.stage not in _ALERTING:
        return None
    return _open_by(clock, max(clock.stage_at_us, clock.alerts_from_us or 0, clock.bounced_us or 0))


def _pauses_told(clock: Clock) -> list[tuple[int, int]]:
    """The pauses that count in the open time by which an outcome says that it alerts or that an answer bounced."""
    by_us = clock.bounced_us or 0
    if clock.stage in _ALERTING:
        by_us = max(by_us, clock.stage_at_us, clock.alerts_from_us or 0)
    return [
        (from_us, by_us if to_us is None else min(to_us, by_us)) for from_us, to_us in clock.pauses if from_us < by_us
    ]


def outcome_content(clock: Clock, customer_id: str, url: str | None = None) -> Content:
    """The outcome of a clock as in CONTRACT.md section 5, without its revision."""
    policy, attributes = clock.policy, clock.attributes
    calendar, contact_id, target, cycle = policy.calendar, clock.contact_id, clock.target, clock.cycle
    due_us, ended_us, bounced_us = clock.due_us, clock.ended_us, clock.bounced_us
    channel, priority, queue, tier, _ = attributes
    return {
        "outcome_id": record_id(contact_id, target, str(cycle)),
        "contact_id": contact_id,
        "customer_id": customer_id,
        "target": target,
        "cycle": cycle,
        "verdict": clock.verdict,
        "reason": clock.reason,
        "policy": policy.name,
        "policy_version": policy.version,
        "calendar": calendar.name,
        "calendar_version": calendar.version,
        "started_at": instant_text(clock.started_us),
        "due_at": None if due_us is None else instant_text(due_us),
        "ended_at": None if ended_us is None else instant_text(ended_us),
        "open_seconds": clock.open_us / _SECOND_US,
        "wall_seconds": clock.wall_us / _SECOND_US,
        "paused_seconds": clock.paused_us / _SECOND_US,
        "stage": clock.stage,
        "step": clock.step,
        "steps": clock.steps,
        "channel": channel,
        "tier": tier,
        "queue": queue,
        "priority": priority,
        "agent_id": clock.agent_id,
        "stage_at": instant_text(clock.stage_at_us),
        "alerts_from": _text_or_none(clock.alerts_from_us),
        "bounced_at": None if bounced_us is None else instant_text(bounced_us),
        "silently_closed": clock.silently_closed,
        "settled_at": _text_or_none(clock.settled_us),
        "url": url,
        "promised": None if clock.span is None else str(clock.span),
        "alert_open_seconds": _alert_open_seconds(clock),
        "bounced_open_seconds": None if bounced_us is None else _open_by(clock, bounced_us),
    }


def journey_content(journey: Journey) -> Content:
    """A journey as in CONTRACT.md section 5, without its revision."""
    first = journey.attempts[0]
    return {
        "journey_id": record_id(
            journey.customer_id, first.contact_id, str(first.at_us), "bounced" if first.dead_end == "bounced" else ""
        ),
        "customer_id": journey.customer_id,
        "state": "answered" if journey.ended_us is not None else "waiting",
        "started_at": instant_text(journey.started_us),
        "ended_at": _text_or_none(journey.ended_us),
        "answered_by": journey.answered_by,
        "attempts": [
            {
                "contact_id": attempt.contact_id,
                "channel": attempt.channel,
                "at": instant_text(attempt.at_us),
                "dead_end": attempt.dead_end,
                "dead_end_at": _text_or_none(attempt.dead_end_us),
                "open_seconds": _seconds_or_none(attempt.waited_us),
                "url": attempt.url,
            }
            for attempt in journey.attempts
        ],
        "open_seconds": journey.open_us / _SECOND_US,
        "wall_seconds": journey.wall_us / _SECOND_US,
        "policy": journey.policy.name if journey.policy else None,
        "tier": journey.tier,
        "chasing_at": _text_or_none(journey.chased_us),
        "chasing_open_seconds": _seconds_or_none(journey.chased_open_us),
    }


def gone_journey(journey_id: str, customer_id: str, started_at: str, at: str) -> Content:
    """What is said once more of a journey that no longer exists, for an earlier attempt became known, an answer was
    taken back, or its contacts moved or were never owed an answer: nobody waits, and there are no attempts."""
    return {
        "journey_id": journey_id,
        "customer_id": customer_id,
        "state": "answered",
        "started_at": started_at,
        "ended_at": at,
        "answered_by": None,
        "attempts": [],
        "open_seconds": 0.0,
        "wall_seconds": 0.0,
        "policy": None,
        "tier": None,
        "chasing_at": None,
        "chasing_open_seconds": None,
    }


def digest(content: Content) -> str:
    """16 hex digits of what a record says, apart from durations that still grow."""
    if content["ended_at"] is None:
        content = {key: value for key, value in content.items() if key not in _ELAPSING}
    return blake2b(orjson.dumps(content), digest_size=8).hexdigest()


def clock_says(clock: Clock, customer_id: str, url: str | None) -> tuple[Any, ...]:
    """What the outcome of a clock says, apart from durations that still grow: the same question as `digest`,
    answered without writing the record."""
    policy, ended_us = clock.policy, clock.ended_us
    return (
        customer_id,
        clock.verdict,
        clock.reason,
        policy.version,
        policy.calendar.version,
        clock.started_us,
        clock.due_us,
        ended_us,
        0 if ended_us is None else clock.paused_us,
        clock.stage,
        clock.step,
        clock.stage_at_us,
        *clock.attributes,
        clock.agent_id,
        clock.bounced_us,
        clock.silently_closed,
        clock.settled_us,
        clock.alerts_from_us,
        url,
        *(_pauses_told(clock) if clock.pauses else ()),
    )


def clock_digest(clock: Clock, customer_id: str, url: str | None) -> str:
    """16 hex digits of `clock_says`."""
    return blake2b(orjson.dumps(clock_says(clock, customer_id, url)), digest_size=8).hexdigest()


def numbered(content: Content, revision: int) -> bytes:
    """The record of one revision: what `content` says, with its number."""
    return b'{"revision":%d,' % revision + orjson.dumps(content)[1:]


def superseded(content_id: str, last: Content) -> Content:
    """What is said once more of an outcome that no longer exists: void, `superseded`."""
    ended = last["ended_at"] or last["stage_at"]
    return {**last, "outcome_id": content_id, "verdict": "void", "reason": "superseded", "stage": "ended", "step": 0,
            "steps": (), "ended_at": ended, "alerts_from": None}  # fmt: skip


def changes(published: Mapping[str, Published], assessed: Iterable[Content], key: str) -> list[Content]:
    """The records of `assessed` whose content is not the one last published, with their next revision.
    `key` is the name of their id. What is gone is the caller's to supersede."""
    changed = []
    for content in assessed:
        last = published.get(content[key])
        if last is None or last.digest != digest(content):
            changed.append({key: content[key], "revision": last.revision + 1 if last else 1, **content})
    return changed
