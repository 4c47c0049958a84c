"""The figures that a scenario names in plain words, read off the clocks that the engine gives.

Two readings of one story, because peers count two things that we keep as one chain of clocks:

- as the *contact*: `created` is the customer's first message. First response, acknowledgement and resolution.
- as *exchanges*: each wait of the customer from a message to an answer, the first included. What peers call the
  next response. Where we spoke first (the contact was created apart from the customer's messages, or an agent
  wrote before), they promise the next response for the customer's first message also.

A target that the case does not promise gets one of ours, so that there is a clock to read; it has no due
instant, cannot be missed and alerts nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final, cast

from schemas.policies import TARGETS, TargetName
from streams.engine.calendar import Calendar
from streams.engine.clocks import Assessment, Clock
from streams.engine.timeline import OPENED, REOPENED, SENT, Fact
from tests.conformance.story import facts_of, instant_us, judged

UNPROMISED_SECONDS: Final = 8 * 3600
INSTANTS: Final = ("_due", "_at")
RESPONSES: Final = ("first_response", "next_response")
PEER_NAMES: Final[Mapping[str, TargetName]] = {
    "reply": "first_response",
    "response": "first_response",
    "human_response": "first_response",
    "first_reply": "first_response",
    "first_human_response": "first_response",
    "next_reply": "next_response",
    "agent_wait": "next_response",
    "periodic_update": "update",
    "resolve": "resolution",
}

Figure = Any


class Unknown(ValueError):  # noqa: N818 - it reads as what is wrong with the case
    """The case names an event, a promise or a figure that is not known here: never passed in silence."""


class Figures:
    """All figures of one scenario case."""

    def __init__(self, calendar: Calendar, case: Mapping[str, Any]) -> None:
        self.calendar = calendar
        self.promised = _promised(case.get("policy", {}))
        self.facts = facts_of(case["events"])
        self.handoffs = [instant_us(event["t"]) for event in case["events"] if event["e"].endswith("handoff")]
        now = case.get("now") or case.get("at") or case.get("as_of")
        self.now_us = instant_us(now) if now else max(item.at_us for item in self.facts)

    def named(self, key: str, *, listed: bool = False, of_none: bool = False) -> Figure:
        """The figure `key`: a list of all cycles where `listed`, of the running clock where `of_none` (the case
        expects that none runs), else of the running or the last one. Raises Unknown."""
        if key in _WHOLE_STORY:
            return _WHOLE_STORY[key](self)
        if "_seconds_since_" in key or key.endswith("_seconds_from_last_unanswered"):
            return self._seconds_since(key)
        target, what = _split(key)
        if what not in _ONE_CLOCK:
            raise Unknown(f"unknown figure {key!r}")
        if target == "next_response" and what in ("seconds", "at"):
            clocks = [clock for clock in self.exchanges if clock.ended_us is not None]
        else:
            clocks = self._of(target)
        if listed:
            return [self._of_one(what, clock) for clock in clocks]
        running = [clock for clock in clocks if clock.ended_us is None]
        chosen = running or ([] if of_none and what == "due" else clocks)
        return self._of_one(what, chosen[-1]) if chosen else None

    # -- the two readings ----------------------------------------------------------------------------

    @cached_property
    def contact(self) -> Assessment:
        """The clocks, with `created` as the customer's first message."""
        return judged(self.facts, self.calendar, self._targets(), self.now_us)

    @cached_property
    def messages(self) -> Assessment:
        """The clocks, with `created` as nobody's message where the customer's messages are told apart."""
        targets = self._targets()
        if self.we_spoke_first:
            targets["first_response"] = targets["next_response"]
        return judged(self._without_created(), self.calendar, targets, self.now_us)

    @cached_property
    def exchanges(self) -> list[Clock]:
        """Every wait of the customer for an answer, in order; one that a close ended is no exchange."""
        waits = [clock for clock in self.messages.clocks if clock.target in RESPONSES and not clock.silently_closed]
        return sorted(waits, key=lambda clock: clock.started_us)

    @property
    def we_spoke_first(self) -> bool:
        first = self._without_created()[0]
        return first.type == SENT or (first.type == OPENED and not first.is_customer_message)

    def _without_created(self) -> list[Fact]:
        told_apart = any(item.is_customer_message and item.type != OPENED for item in self.facts)
        if not told_apart:
            return self.facts
        by_us = {"channel": "ticket", "opened_by": "agent"}
        return [item._replace(data=by_us) if item.type == OPENED else item for item in self.facts]

    def _targets(self) -> dict[TargetName, int]:
        return {target: self.promised.get(target, UNPROMISED_SECONDS) for target in TARGETS}

    def _of(self, target: TargetName) -> list[Clock]:
        if target != "next_response":
            return [clock for clock in self.contact.clocks if clock.target == target]
        if self.we_spoke_first:
            return [clock for clock in self.messages.clocks if clock.target in RESPONSES]
        return [clock for clock in self.messages.clocks if clock.target == target]

    def _is_promised(self, clock: Clock) -> bool:
        asked_for = "next_response" if clock.target in RESPONSES and self.we_spoke_first else clock.target
        return asked_for in self.promised or clock.target in self.promised

    # -- one clock -----------------------------------------------------------------------------------

    def _of_one(self, what: str, clock: Clock) -> Figure:
        return _ONE_CLOCK[what](self, clock)

    def _due(self, clock: Clock) -> int | None:
        return clock.due_us if self._is_promised(clock) else None

    def _over(self, clock: Clock) -> int | None:
        return self._late(clock) if self._is_promised(clock) else None

    def _met(self, clock: Clock) -> bool | None:
        return clock.verdict == "kept" if self._is_promised(clock) and clock.verdict != "open" else None

    def _breached(self, clock: Clock) -> bool | None:
        return clock.verdict == "broken" if self._is_promised(clock) else None

    def _late(self, clock: Clock) -> int:
        until_us = self.now_us if clock.ended_us is None else clock.ended_us
        return 0 if clock.due_us is None else self.calendar.elapsed(clock.due_us, until_us)

    # -- the whole story -----------------------------------------------------------------------------

    def _answered_us(self, after_us: int) -> int | None:
        ends = [clock.ended_us for clock in self.exchanges if clock.ended_us is not None and clock.ended_us >= after_us]
        return min(ends, default=None)

    def _seconds_since(self, key: str) -> int | None:
        """From a reopening, a handoff or the last message still unanswered, to the answer."""
        if key.endswith("_seconds_since_reopen"):
            since = [item.at_us for item in self.facts if item.type == REOPENED]
        elif key.endswith("_seconds_since_handoff"):
            since = self.handoffs
        elif key.endswith("_seconds_from_last_unanswered"):
            waits = [clock for clock in self.exchanges if clock.ended_us is not None]
            since = [item.at_us for item in self.facts if waits and item.is_customer_message]
            since = [at_us for at_us in since if waits[-1].started_us <= at_us <= (waits[-1].ended_us or 0)]
        else:
            raise Unknown(f"unknown figure {key!r}")
        answered_us = self._answered_us(since[-1]) if since else None
        return None if answered_us is None else self.calendar.elapsed(since[-1], answered_us)

    def _lengths(self) -> list[int]:
        return [clock.open_us for clock in self.exchanges if clock.ended_us is not None]

    def _worst(self) -> int | None:
        return max(self._lengths(), default=None)

    def _average(self) -> float | None:
        lengths = self._lengths()
        return sum(lengths) / len(lengths) if lengths else None

    def _resolution_without_customer_wait(self) -> int | None:
        resolution = self.named("resolution_seconds")
        gaps = zip(self.exchanges, self.exchanges[1:], strict=False)
        waits = [self.calendar.elapsed(before.ended_us or 0, after.started_us) for before, after in gaps]
        return None if resolution is None else resolution - sum(waits)

    def _alerting(self) -> list[Clock]:
        """Clocks of the contact that run, are promised and may alert now (C8)."""
        running = [clock for clock in self.contact.clocks if clock.ended_us is None and self._is_promised(clock)]
        return [clock for clock in running if clock.alerts_from_us is not None]

    def _next_alert_due(self) -> int | None:
        return min((clock.due_us for clock in self._alerting() if clock.due_us is not None), default=None)

    def _alerts(self) -> list[str]:
        return sorted(clock.target for clock in self._alerting() if clock.verdict == "broken")


_WHOLE_STORY: Final[Mapping[str, Callable[[Figures], Figure]]] = {
    "next_alert_due": Figures._next_alert_due,
    "alerts": Figures._alerts,
    "worst_response_seconds": Figures._worst,
    "worst_next_response_seconds": Figures._worst,
    "avg_response_seconds": Figures._average,
    "avg_next_response_seconds": Figures._average,
    "resolution_minus_customer_wait_seconds": Figures._resolution_without_customer_wait,
}

_ONE_CLOCK: Final[Mapping[str, Callable[[Figures, Clock], Figure]]] = {
    "due": Figures._due,
    **dict.fromkeys(("at", "ended_at"), lambda _, clock: clock.ended_us),
    "started_at": lambda _, clock: clock.started_us,
    **dict.fromkeys(("seconds", "open_seconds"), lambda _, clock: clock.open_us),
    "paused_seconds": lambda _, clock: clock.paused_us,
    **dict.fromkeys(("over_seconds", "overdue_seconds"), Figures._over),
    "met": Figures._met,
    **dict.fromkeys(("breached", "missed", "overdue"), Figures._breached),
    "verdict": lambda _, clock: clock.verdict,
    "reason": lambda _, clock: clock.reason,
    "stage": lambda _, clock: clock.stage,
}


def _promised(policy: Mapping[str, Any]) -> dict[TargetName, int]:
    """What the case promises. `update_seconds` alone is Zammad's word for the next response."""
    promised: dict[TargetName, int] = {}
    for key, seconds in policy.items():
        target, what = _split(key)
        if what != "seconds":
            raise Unknown(f"unknown promise {key!r}")
        if seconds is not None:
            promised[target] = seconds
    if "update" in promised and "next_response" not in promised and "periodic_update_seconds" not in policy:
        promised["next_response"] = promised.pop("update")
    return promised


def _split(key: str) -> tuple[TargetName, str]:
    """`first_response_over_seconds` -> `first_response`, `over_seconds`. Raises Unknown."""
    names = sorted({*TARGETS, *PEER_NAMES}, key=len, reverse=True)
    for name in names:
        if key.startswith(f"{name}_"):
            return PEER_NAMES.get(name, cast(TargetName, name)), key[len(name) + 1 :]
    raise Unknown(f"unknown figure {key!r}")
