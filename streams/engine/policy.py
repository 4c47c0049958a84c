"""Which promise covers a contact, and how much open time it grants (C16).

Policies are compiled once from the configuration; choosing one is a lookup by the contact's attributes.
Reading files and judging clocks do not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, NamedTuple

from schemas.policies import CalendarSpec, PolicySpec, Span, TargetName, content_hash
from streams.engine.calendar import SECOND_US, Calendar, to_us

NORMAL: Final = "normal"


class Attributes(NamedTuple):
    """What a policy may match on: the contact's and its customer's, at one instant."""

    channel: str
    priority: str = NORMAL
    queue: str | None = None
    tier: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """A step after the due instant: `after_us` of the contact's open time, or of wall time."""

    after_us: int
    wall: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A compiled promise. `targets` by priority, then by target; a missing one has no clock."""

    name: str
    version: str
    spec: PolicySpec
    calendar: Calendar
    effective_us: int
    targets: Mapping[str, Mapping[TargetName, Span]]
    at_risk: tuple[float, ...]
    dead_end_after_us: int | None

    def span(self, target: TargetName, priority: str) -> Span | None:
        """The promised duration of `target` at that priority, or None: there is no such clock (C16)."""
        return self.targets[priority].get(target)


@dataclass(slots=True)
class Policies:
    """All promises in the order in which they are tried, with the calendars that they name."""

    policies: Sequence[Policy]
    calendars: Mapping[str, Calendar]
    escalations: tuple[Escalation, ...] = ()
    _matching: dict[Attributes, tuple[Policy, ...]] = field(default_factory=dict)

    def pick(self, attributes: Attributes, at_us: int) -> Policy | None:
        """The first policy in force at `at_us` that matches `attributes` (C16)."""
        matching = self._matching.get(attributes)
        if matching is None:
            matching = tuple(policy for policy in self.policies if mismatch(policy.spec, attributes) is None)
            self._matching[attributes] = matching
        for policy in matching:
            if policy.effective_us <= at_us:
                return policy
        return None


def compile_policies(
    calendars: Mapping[str, CalendarSpec],
    policies: Sequence[PolicySpec],
    escalations: Sequence[Escalation] = (),
) -> Policies:
    """Policies ready to be asked. Every calendar named must be in `calendars` (checked by the settings)."""
    compiled = {name: Calendar(name, spec) for name, spec in calendars.items()}
    return Policies(
        policies=tuple(_compile(spec, compiled[spec.calendar]) for spec in policies),
        calendars=compiled,
        escalations=tuple(sorted(escalations, key=lambda step: (step.wall, step.after_us))),
    )


def _compile(spec: PolicySpec, calendar: Calendar) -> Policy:
    priorities = ("low", NORMAL, "high", "urgent")
    by_priority = {str(priority): targets for priority, targets in spec.priority_targets.items()}
    dead_end = spec.dead_end_after
    return Policy(
        name=spec.name,
        version=content_hash(spec),
        spec=spec,
        calendar=calendar,
        effective_us=_effective_us(spec.effective_from, calendar),
        targets={priority: {**spec.targets, **by_priority.get(priority, {})} for priority in priorities},
        at_risk=tuple(spec.at_risk),
        dead_end_after_us=None if dead_end is None else dead_end.seconds * SECOND_US,
    )


def _effective_us(effective_from: date | datetime | None, calendar: Calendar) -> int:
    """A date is local midnight of the policy's calendar (C16); none is always."""
    if effective_from is None:
        return -(1 << 62)
    if isinstance(effective_from, datetime):
        return to_us(effective_from)
    return calendar.midnight_us(effective_from)


class Mismatch(NamedTuple):
    """The first key of a policy's `match` that a contact does not meet."""

    key: str
    wanted: Sequence[str]
    found: str | None


def mismatch(spec: PolicySpec, attributes: Attributes) -> Mismatch | None:
    """Why a policy does not match `attributes`, or None: it does (C16)."""
    match = spec.match
    wanted = (
        ("tier", match.tier, attributes.tier),
        ("channel", match.channel, attributes.channel),
        ("queue", match.queue, attributes.queue),
        ("priority", match.priority, attributes.priority),
        ("kind", match.kind, attributes.kind),
    )
    for key, allowed, found in wanted:
        if allowed is not None and found not in allowed:
            return Mismatch(key, [str(value) for value in allowed], found)
    return None
