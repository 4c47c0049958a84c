"""Acknowledgements: somebody has a page, topic `acknowledgements`.

Key `alert_id`, in the partition of the alert. What follows from it is decided in `alerting.rules`; how somebody
says so belongs to `streams.gateway`.
"""

from __future__ import annotations

from typing import Literal

from schemas.events import Id, Instant, Record, Text


class Acknowledgement(Record):
    """Who took which alert, and when. `customer_id` and `outcome_id` are those of the alert, `via` where it was
    said."""

    alert_id: Id
    customer_id: Id | None
    outcome_id: Id | None = None
    at: Instant
    by: Text | None = None
    via: Literal["http", "pagerduty"] = "http"
