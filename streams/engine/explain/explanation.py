"""What an explanation consists of. Instants and durations in microseconds since 1970, as everywhere in the engine.

How it comes about belongs to the modules beside this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.policies import TargetName
from streams.engine.calendar import Calendar
from streams.engine.clocks import Clock
from streams.engine.journey import Journey
from streams.engine.policy import Attributes
from streams.engine.timeline import End, Fact

Cause = Literal["open", "outside_hours", "holiday", "closure", "dated_hours", "paused"]
CountsAs = Literal["customer_message", "answer", "neither"]
MarkKind = Literal[
    "started",
    "not_moved",
    "answer_bounced",
    "taken_back",
    "repicked",
    "policy_kept",
    "changed_too_late",
    "at_risk",
    "due",
    "escalated",
    "ended",
    "settled",
]
AbsenceCause = Literal[
    "no_customer_message",
    "automated_message",
    "inbound_bounce",
    "opened_by_us",
    "no_policy_matches",
    "policy_not_in_force",
    "policy_has_no_such_target",
    "never_answered",
    "no_message_since_the_answer",
    "answered_after_resolving",
    "merged",
    "voided",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of a clock's run with one cause. `detail` is a holiday's name or a pause's reason; `agent_id` who
    set the pause. Open time in a pause is `paused`, closed time in it is closed (C9)."""

    from_us: int
    to_us: int
    counted: bool
    cause: Cause
    detail: str | None = None
    agent_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened to a clock, or an instant that matters to it, with the rule; no rule
    where the policy alone says so. `reached` is false for an instant that now, or the clock's end, came before."""

    at_us: int
    kind: MarkKind
    words: str
    rule: str
    reached: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedClock:
    """A clock with its stretches from its start to its end or now, and its marks, both in order.

    The stretches add up: all to `clock.wall_us`, the counted ones to `clock.open_us`, the paused ones to
    `clock.paused_us`. `promised` is the target's duration as configured (`1h`, `2wd`)."""

    clock: Clock
    promised: str
    stretches: tuple[Stretch, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A policy that does not cover the contact: the first key that failed, what it wanted, what was found."""

    policy: str
    key: str
    wanted: tuple[str, ...]
    found: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Why a target has no clock. `tried` has every policy where none covers the contact."""

    target: TargetName
    cause: AbsenceCause
    words: str
    rule: str
    tried: tuple[Tried, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedFact:
    """A fact in words: what it counted as, by which rule, and what it did to the clocks. `contact_id` is where
    it was told: another contact's where it came by a merge or a link (C17)."""

    fact: Fact
    contact_id: str
    words: str
    counts_as: CountsAs
    rule: str
    effects: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All that is to be said of a contact at `now_us`. `calendar` gives the local time for what belongs to no
    single clock; None where there is no policy at all."""

    contact_id: str
    customer_id: str
    now_us: int
    attributes: Attributes
    summary: str | None
    url: str | None
    calendar: Calendar | None
    end: End | None
    merged_into: str | None
    clocks: tuple[ExplainedClock, ...]
    absences: tuple[Absence, ...]
    facts: tuple[ExplainedFact, ...]
    journeys: tuple[Journey, ...]
