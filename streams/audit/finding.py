"""What an audit found: each disagreement in one line, and how much it looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, get_args

FINDINGS_MAX: Final = 10_000
"""Of each kind in one audit; what is beyond them is as wrong, and not told apart."""

Kind = Literal[
    "overdue_without_alert",
    "dead_end_without_alert",
    "undelivered",
    "alert_without_clock",
    "outcome_missing",
    "outcome_differs",
    "outcome_without_clock",
    "journey_differs",
    "contact_lost",
    "due_lost",
    "wake_up_missed",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

Unjudged = Literal["in_flight", "beyond_the_log", "earlier_promises", "calendar_never_opens", "settling"]
"""Why a contact, or its alerts, were not judged this time: records of it are not handled yet; the log does not hold
all of its events any more; it was last looked at under promises that have changed since; a calendar without open time;
it was touched less than the tolerance ago."""

Excuse = Literal["before_alerts_from", "nobody_to_tell", "rejected", "gave_up", "receiver_away", "receiver_gathers"]
"""Stated reasons for which an alert does not fire, or was not delivered."""


class Finding(NamedTuple):
    """One disagreement. `contact` names the contact, or where there is none the customer; `clock` is `target:cycle`,
    `journey`, or an alert's kind."""

    kind: Kind
    contact: str
    clock: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.kind} {self.contact} {self.clock}: expected {self.expected}; found {self.found}"


@dataclass(slots=True)
class Audited:
    """One audit. Counts are of events read, records that nobody of ours can have written, contacts and clocks judged,
    alerts that fire; `unjudged` and `excused` by their reasons."""

    events: int = 0
    unreadable: int = 0
    contacts: int = 0
    clocks: int = 0
    alerts: int = 0
    unjudged: Counter[Unjudged] = field(default_factory=Counter)
    excused: Counter[Excuse] = field(default_factory=Counter)
    counts: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def found(self, finding: Finding) -> None:
        """Take note of a disagreement."""
        if self.counts[finding.kind] < FINDINGS_MAX:
            self.counts[finding.kind] += 1
            self.findings.append(finding)

    def add(self, other: Audited) -> None:
        """Another part of the same audit."""
        self.events = max(self.events, other.events)
        self.unreadable = max(self.unreadable, other.unreadable)
        self.contacts += other.contacts
        self.clocks += other.clocks
        self.alerts += other.alerts
        self.unjudged.update(other.unjudged)
        self.excused.update(other.excused)
        for finding in other.findings:
            self.found(finding)

    def only(self, findings: Sequence[Finding]) -> None:
        """These are all that stand."""
        self.findings, self.counts = [], Counter()
        for finding in findings:
            self.found(finding)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "events": self.events,
            "unreadable": self.unreadable,
            "contacts": self.contacts,
            "clocks": self.clocks,
            "alerts": self.alerts,
            "unjudged": dict(self.unjudged),
            "excused": dict(self.excused),
            "counts": {kind: self.counts[kind] for kind in KINDS},
            "findings": [finding._asdict() for finding in self.findings],
        }
