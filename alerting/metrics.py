"""Every metric of alerting, with what to do about it. Names are the contract's (CONTRACT.md section 7)."""

from __future__ import annotations

from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.alerts import Kind
from schemas.deliveries import Result

DELAY_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)


class Metrics:
    """The collectors, in the registry that is handed in. Labels are kinds, states, results and the
    configured receivers: bounded, and 0 before the first time, so that the first time is an increase too."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Many of one kind at once: look at the board, then at what the customers have in common.
        self.alerts = Counter(
            "responsiveness_alerts", "Alerts that fired, changed or resolved.", ["kind", "state"], registry=registry
        )
        for kind in get_args(Kind):
            for state in ("firing", "resolved"):
                self.alerts.labels(kind, state)
        # `not_taken` or `unknown` that goes on: the receiver is down; `rejected`: it wants something else of us.
        self.deliveries = Counter(
            "responsiveness_deliveries", "Tries to tell a receiver, by what came of them.", ["receiver", "result"],
            registry=registry,
        )  # fmt: skip
        # From the instant of the change to the receiver's yes. Minutes: someone is paged too late.
        self.delay = Histogram(
            "responsiveness_delivery_delay_seconds", "From an alert's change to its being accepted by a receiver.",
            registry=registry, buckets=DELAY_BUCKETS,
        )  # fmt: skip
        # Grows: the receiver is away, or slower than we page; `responsiveness_receiver_away` says which.
        self.owed = Gauge(
            "responsiveness_deliveries_owed", "Alerts, or customers, that a receiver has yet to be told of.",
            ["receiver"], registry=registry,
        )  # fmt: skip
        # 1 for minutes: nobody is reached there; look at the receiver, and that the fallback was told.
        self.away = Gauge(
            "responsiveness_receiver_away", "1 while a receiver takes nothing and is only probed.", ["receiver"],
            registry=registry,
        )  # fmt: skip

    def receiver(self, name: str) -> None:
        """There is a receiver of this name."""
        for result in {*get_args(Result), "repeated"} - {"trying"}:
            self.deliveries.labels(name, result)
        self.owed.labels(name)
        self.away.labels(name)
