"""Deliveries: what became of telling one receiver of one change of an alert, topic `deliveries`.

Key `alert_id`, in the partition of the alert. Every try is here, before and after it was made, so that the
outbox can be brought up to date from it and the whole story of an alert be told. Sending is `alerting`'s.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.alerts import Kind
from schemas.events import Id, Instant, Record, Text

Result = Literal["trying", "delivered", "not_taken", "unknown", "rejected", "gave_up", "late", "not_needed"]


class Delivery(Record):
    """One step of telling `receiver` of change `number` of an alert.

    `trying` is written before anything is sent; `not_taken` says that the receiver certainly does not have
    it, `unknown` that it may; both are tried again. `rejected` and `gave_up` are not. `late`: it was not taken
    within the bound, the fallback is told, and it is tried on. `not_needed`: it was over before the receiver
    heard of it. A receiver for people is told of a customer: `alert_id` is then the name of the notification,
    `customer_id` says whose, and `alert_ids` which alerts it tells of (200 at most)."""

    alert_id: Id
    customer_id: Id | None = None
    alert_ids: list[Id] = Field(default_factory=list)
    number: Annotated[int, Field(ge=1)]
    receiver: Id
    result: Result
    kind: Kind
    state: Literal["firing", "resolved"]
    at: Instant
    attempt: Annotated[int, Field(ge=0)] = 0
    detail: Text = ""
