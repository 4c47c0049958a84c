"""The topics that an audit reads, by their full names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from schemas import topics

TRACKER: Final = "heardback-streams"
"""The group that handles `contact-events`; its tables' changelogs begin with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """Full names: with the prefix of the settings. `tracker` is a group, everything else a topic."""

    tracker: str
    events: str
    customers: str
    policies: str
    outcomes: str
    journeys: str
    alerts: str
    deliveries: str
    contacts_table: str
    journeys_table: str

    @classmethod
    def under(cls, prefix: str) -> Self:
        """Those of one installation."""
        return cls(
            tracker=prefix + TRACKER,
            events=prefix + topics.CONTACT_EVENTS.name,
            customers=prefix + topics.CUSTOMERS.name,
            policies=prefix + topics.POLICIES.name,
            outcomes=prefix + topics.OUTCOMES.name,
            journeys=prefix + topics.JOURNEYS.name,
            alerts=prefix + topics.ALERTS.name,
            deliveries=prefix + topics.DELIVERIES.name,
            contacts_table=f"{prefix}{TRACKER}-contacts-changelog",
            journeys_table=f"{prefix}{TRACKER}-journeys-changelog",
        )

    @property
    def made(self) -> tuple[str, ...]:
        """What was made of the events, in the order in which it is looked at."""
        return (
            self.outcomes,
            self.journeys,
            self.contacts_table,
            self.journeys_table,
            self.alerts,
            self.deliveries,
        )
