"""Alerts: what a human must know now; it fires and it resolves (CONTRACT.md section 6), topic `alerts`.

Which outcomes make one belongs to `alerting.rules`, sending it to `alerting.deliver`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.events import Id, Instant, Record, Text
from schemas.policies import TargetName

Kind = Literal[
    "at_risk",
    "breach",
    "escalation",
    "reply_bounced",
    "dead_end",
    "chasing",
    "silent_close",
    "silent_source",
    "blind",
]
Severity = Literal["warning", "page", "critical"]
Resolution = Literal["answered", "withdrawn", "void", "superseded"]


class Alert(Record):
    """One alert in one state. `alert_id` is the same from the first warning of an episode to its end; `at` is the
    instant of this change. `customer_id` is null for what is about no customer: `silent_source` and `blind`.
    `outcome_id` names the clock that it is about, if it is about one. `acknowledged_at`: somebody has it since
    then, `acknowledged_by` who, where that was said."""

    alert_id: Id
    kind: Kind
    state: Literal["firing", "resolved"]
    severity: Severity
    customer_id: Id | None
    contact_id: Id | None
    target: TargetName | None
    policy: Id | None
    due_at: Instant | None
    starts_at: Instant
    ends_at: Instant | None
    at: Instant
    summary: Text
    resolution: Resolution | None = None
    outcome_id: Id | None = None
    acknowledged_at: Instant | None = None
    acknowledged_by: Text | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
