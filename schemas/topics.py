"""Every topic, in one table: name, key, cleanup and whether it shares the partition count.

Creating topics belongs to `streams.transport`; the optional prefix of the names comes from the settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as the broker must know it. `partitioned`: has the common partition count; others have
    one partition. `keeps_foreign`: its records hold whole records of others."""

    name: str
    key: str
    compacted: bool = False
    partitioned: bool = True
    retention_days: int | None = None
    keeps_foreign: bool = False
    about: str


CONTACT_EVENTS: Final = Topic(name="contact-events", key="customer_id", about="facts about contacts, and wake-ups")
CUSTOMERS: Final = Topic(
    name="customers", key="customer_id", compacted=True, partitioned=False, about="who is owed an answer"
)
POLICIES: Final = Topic(
    name="policies", key="content hash", compacted=True, partitioned=False, about="policies and calendars by hash"
)
OUTCOMES: Final = Topic(name="outcomes", key="customer_id", about="what clocks came to, by revision")
JOURNEYS: Final = Topic(name="journeys", key="customer_id", about="attempts of a customer while nobody answered")
ALERTS: Final = Topic(name="alerts", key="customer_id", about="what a human must know, firing and resolved")
DELIVERIES: Final = Topic(name="deliveries", key="alert_id", about="what receivers said")
ACKNOWLEDGEMENTS: Final = Topic(name="acknowledgements", key="alert_id", about="who has a page, and since when")
HEALTH: Final = Topic(name="health", key="cause", about="what heardback can see of itself")
DEAD_LETTERS: Final = Topic(
    name="dead-letters",
    key="origin",
    partitioned=False,
    retention_days=90,
    keeps_foreign=True,
    about="what was refused, unchanged",
)

TOPICS: Final = (
    CONTACT_EVENTS, CUSTOMERS, POLICIES, OUTCOMES, JOURNEYS, ALERTS, DELIVERIES, ACKNOWLEDGEMENTS, HEALTH, DEAD_LETTERS,
)  # fmt: skip
