"""Outcomes and journeys: what clocks came to, and a customer's attempts while nobody answered.

Topics `outcomes` and `journeys`, and the files of a replay (CONTRACT.md section 5). In a stream the later
revision of an `outcome_id` or `journey_id` holds. How they come about belongs to `streams.engine`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.events import Channel, Id, Instant, Priority, Record, Text
from schemas.policies import TargetName

Verdict = Literal["kept", "broken", "void", "open"]
Stage = Literal["running", "paused", "at_risk", "overdue", "escalated", "ended"]
Why = Literal[
    "answered_in_time",
    "answered_late",
    "resolved_in_time",
    "resolved_late",
    "unanswered",
    "unresolved",
    "answer_bounced",
    "closed_unanswered",
    "resolved",
    "merged",
    "spam",
    "test",
    "duplicate",
    "superseded",
    "withdrawn",
    "running",
]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Outcome(Record):
    """One clock, one revision. `stage_at` is when the stage began (for `at_risk`, `overdue`, `escalated`
    the instant that was crossed), `alerts_from` since when it may alert (C8; null: not yet),
    `bounced_at` when an answer to it was last found bounced (C13), `settled_at` when the customer of a
    silently closed cycle was answered or asked again (C10), `promised` how long the target is (`1h`, `2wd`).
    `alert_open_seconds` is the open time less pauses by the instant at which a stage that alerts begins to (the
    latest of `stage_at`, `alerts_from` and `bounced_at`), `bounced_open_seconds` that by `bounced_at`. `step` counts
    the shares or escalations that have passed; `steps` numbers those escalations, from 1 in the order of (wall,
    after) without the breach itself: open and wall steps may pass in any order."""

    outcome_id: Id
    revision: Annotated[int, Field(ge=1)]
    contact_id: Id
    customer_id: Id
    target: TargetName
    cycle: Annotated[int, Field(ge=1)]
    verdict: Verdict
    reason: Why
    policy: Id
    policy_version: Id
    calendar: Id
    calendar_version: Id
    started_at: Instant
    due_at: Instant | None
    ended_at: Instant | None
    open_seconds: Seconds
    wall_seconds: Seconds
    paused_seconds: Seconds
    stage: Stage
    step: Annotated[int, Field(ge=0)]
    steps: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    channel: Channel
    tier: Id | None
    queue: Id | None
    priority: Priority
    agent_id: Id | None
    stage_at: Instant
    alerts_from: Instant | None = None
    bounced_at: Instant | None = None
    silently_closed: bool = False
    settled_at: Instant | None = None
    url: Text | None = None
    promised: Text | None = None
    alert_open_seconds: Seconds | None = None
    bounced_open_seconds: Seconds | None = None


class Attempt(Record):
    """One try of the customer to reach us; `dead_end` says why nobody will answer it there (C14), `open_seconds` how
    long the customer had waited when that was found, in open time."""

    contact_id: Id
    channel: Channel
    at: Instant
    dead_end: Literal["bounced", "no_ticket"] | None
    dead_end_at: Instant | None = None
    open_seconds: Seconds | None = None
    url: Text | None = None


class Journey(Record):
    """All attempts of one customer from the first until a human answered anywhere. Without attempts: it no
    longer exists, since an earlier attempt became known or its contacts moved. `chasing_at` is the attempt that was
    one too many (C40), `chasing_open_seconds` how long the customer had waited by then, in open time."""

    journey_id: Id
    revision: Annotated[int, Field(ge=1)]
    customer_id: Id
    state: Literal["waiting", "answered"]
    started_at: Instant
    ended_at: Instant | None
    answered_by: Id | None
    attempts: list[Attempt]
    open_seconds: Seconds
    wall_seconds: Seconds
    policy: Id | None = None
    tier: Id | None = None
    chasing_at: Instant | None = None
    chasing_open_seconds: Seconds | None = None
