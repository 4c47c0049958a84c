"""What a report is made from: the last revision of every record, and the calendars to measure waits that go on.

How a clock or a journey *stood* at an instant is derived from its last revision here, so that the report of a past
week says the same whenever it is made, unless something about that week became known later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from schemas.alerts import Alert
from schemas.outcomes import Journey, Outcome
from streams.engine.calendar import Calendar, to_us

ANSWERS: Final = ("first_response", "next_response")
"""The targets that promise an answer; the others promise something about the work."""

RESPONSES: Final = ("acknowledgement", *ANSWERS)
_SECOND_US: Final = 1_000_000

Standing = Literal["kept", "late", "unanswered", "closed", "void", "running"]
"""How a clock stood: `kept` in time; broken and ended since (`late`) or not (`unanswered`); `closed` with a message
unanswered (C10), whether past due or not; `void` otherwise; still `running` within its promise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Records in any order, each once. `calendars` by version, `calendar_of` the version that each policy in force
    names; what is missing there makes open time unknown. Nothing after `known_until` is known."""

    outcomes: Sequence[Outcome]
    journeys: Sequence[Journey]
    alerts: Sequence[Alert]
    known_until: datetime
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    calendar_of: Mapping[str, str] = field(default_factory=dict)

    def calendar(self, journey: Journey) -> Calendar | None:
        """The calendar in which a journey's open time runs: that of the policy of its first attempt (C36)."""
        return self.calendars.get(self.calendar_of.get(journey.policy or "", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A week as far as it is known: `[starts_at, until)`."""

    starts_at: datetime
    until: datetime

    def __contains__(self, instant: datetime | None) -> bool:
        return instant is not None and self.starts_at <= instant < self.until


def standing(outcome: Outcome, until: datetime) -> Standing | None:
    """How a clock stood just before `until`; None: it had not begun."""
    if outcome.started_at >= until:
        return None
    ended = outcome.ended_at is not None and outcome.ended_at < until
    if outcome.verdict == "void" and outcome.reason != "closed_unanswered":
        return "void"  # never owed, or owed elsewhere: from the beginning
    if ended and (outcome.verdict == "void" or outcome.silently_closed):
        return "closed"
    if ended and outcome.verdict == "kept":
        return "kept"
    if outcome.verdict == "broken" and outcome.due_at is not None and outcome.due_at < until:
        return "late" if ended else "unanswered"
    return "running"


def fell_at(outcome: Outcome) -> datetime | None:
    """The instant at which the verdict of a clock fell, by which it belongs to one week: when it was kept, when the
    promise broke (its due instant, C15), or when it was closed before that; None for void and running clocks."""
    if outcome.verdict == "broken":
        return outcome.due_at
    if outcome.verdict == "kept" or outcome.reason == "closed_unanswered":
        return outcome.ended_at
    return None


def open_seconds(outcome: Outcome, until: datetime, facts: Facts) -> float:
    """Open time of a clock less pauses, from its start to its end or to `until`. Where its calendar is not known, or
    it pauses and was not over by then, the nearest that its record says."""
    if outcome.ended_at is not None and outcome.ended_at < until:
        return outcome.open_seconds
    calendar = facts.calendars.get(outcome.calendar_version)
    if calendar is None:
        return min(outcome.open_seconds, wall_seconds(outcome.started_at, until))
    elapsed = calendar.elapsed(to_us(outcome.started_at), to_us(until)) / _SECOND_US
    return max(0.0, elapsed - outcome.paused_seconds)


def open_between(start: datetime, end: datetime, calendar: Calendar | None) -> float | None:
    """Open seconds between two instants; None without a calendar."""
    return None if calendar is None else calendar.elapsed(to_us(start), to_us(end)) / _SECOND_US


def wall_seconds(start: datetime, end: datetime) -> float:
    """Seconds between two instants, at least 0."""
    return max(0.0, (end - start).total_seconds())
