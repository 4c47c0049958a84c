"""One pass over a timeline: which clocks start, change and end (C4 to C18, C22).

The timeline is read once, in order; everything is recomputed from it at each call, so late, doubled and reordered
events need no special case. What a clock comes to is `streams.engine.verdicts`'; publishing is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from schemas.policies import TARGETS, TargetName
from streams.engine import timeline as facts
from streams.engine.attributes import OF_CONTACT, Tier, first_attributes, opening
from streams.engine.clocks import RESPONSES, Assessment, Clock, Running
from streams.engine.policy import Attributes, Policies
from streams.engine.thresholds import base_due, due
from streams.engine.timeline import Carried, Fact, Timeline
from streams.engine.verdicts import clock_at

PAUSABLE: Final[tuple[TargetName, ...]] = ("resolution", "update")
ANSWERABLE: Final[tuple[TargetName, ...]] = (*RESPONSES, "update")
_CHANGES: Final = frozenset({facts.UPDATED, facts.CUSTOMER_CHANGED})


def assess(
    timeline: Timeline, policies: Policies, tiers: Sequence[Tier], now_us: int, watch: Watch | None = None
) -> Assessment:
    """The clocks of `timeline` at `now`. Facts later than `now` count; `now` only makes clocks late. `watch` sees
    the reading after each fact, and with None after the changes of an instant were applied (C16); it must not
    change it. Raises NeverOpens where a calendar has no open time left before its horizon."""
    return reading_of(timeline, policies, tiers, watch).assessment(now_us)


def reading_of(timeline: Timeline, policies: Policies, tiers: Sequence[Tier], watch: Watch | None = None) -> Reading:
    """`timeline` read to its end: it can be asked for the assessment at any instant, and more than once."""
    reading = Reading(timeline, policies, tiers)
    reading.read(watch)
    return reading


class Reading:
    """One pass over a timeline. The handlers are named after what happened."""

    def __init__(self, timeline: Timeline, policies: Policies, tiers: Sequence[Tier]) -> None:
        self.timeline = timeline
        self.policies = policies
        self.attributes = first_attributes(timeline, tiers[0] if tiers else Tier(0, None, None))
        self.changes = tiers[1:]
        self.clocks: list[Running] = []
        self.running: dict[TargetName, Running] = {}
        self.cycles: dict[TargetName, int] = {}
        self.written = False
        self.answered_us: int | None = None
        self.resolved = False
        self.unanswered_at_close = False
        self.silent: list[Running] = []
        self.paused_us: int | None = None
        self.changed: Attributes | None = None
        self.changed_us = 0
        self.assigned: tuple[int, str] | None = None
        if timeline.carried is not None:
            self._go_on_from(timeline.carried)

    def _go_on_from(self, carried: Carried) -> None:
        """A contact whose facts are forgotten has nothing that runs; its cycles count on."""
        self.cycles.update({target: carried.cycles.get(target, 0) for target in TARGETS})
        self.written, self.resolved = carried.written, carried.resolved
        self.answered_us = carried.answered_us
        self.unanswered_at_close = carried.unanswered_at_close

    def read(self, watch: Watch | None = None) -> None:
        end = self.timeline.end
        limit = (end.at_us, end.rank) if end else None
        for item in self._all_facts():
            if limit and (item.at_us, item.rank) >= limit:
                break
            handler = _HANDLERS.get(item.type)
            if handler is not None:
                if self.changed is not None and (item.type not in _CHANGES or item.at_us != self.changed_us):
                    self._repick()
                    if watch is not None:
                        watch(None, self)
                handler(self, item)
            if watch is not None:
                watch(item, self)
        self._repick()
        if watch is not None:
            watch(None, self)

    def _all_facts(self) -> Sequence[Fact]:
        """The timeline's facts with the changes of attributes, a queue's by assignment included, at their
        place among the attributes (C21)."""
        own = self.timeline.facts
        changes = [
            facts.fact(f.at_us, f.source, f.id, facts.UPDATED, {"queue": f.data["queue"]})
            for f in own
            if f.type == facts.ASSIGNED and f.data.get("queue") is not None
        ]
        for tier in self.changes:
            changes.append(
                facts.fact(tier.since_us, "", "", facts.CUSTOMER_CHANGED, {"tier": tier.tier, "kind": tier.kind})
            )
        return facts.in_order([*own, *changes]) if changes else own

    # -- what happened -------------------------------------------------------------------------------

    def customer_wrote(self, item: Fact) -> None:
        if not item.is_customer_message:
            return
        at_us = item.at_us
        self._end_pause(at_us)
        if not self.written:
            self.written = True
            self._start("resolution", at_us)
        if not self._waiting():
            self._start_response(at_us)

    def attributes_changed(self, item: Fact) -> None:
        self._change(item, {key: item.data[key] for key in OF_CONTACT if item.data.get(key) is not None})

    def customer_changed(self, item: Fact) -> None:
        self._change(item, {"tier": item.data["tier"], "kind": item.data["kind"]})

    def acknowledged(self, item: Fact) -> None:
        self._end("acknowledgement", item.at_us, "answer", item.data.get("agent_id"))

    def assigned_to(self, item: Fact) -> None:
        agent_id = item.data.get("agent_id")
        clock = self.running.get("acknowledgement")
        if agent_id is None or clock is None:
            return
        if self.assigned is None:
            self.assigned = (item.at_us, agent_id)
        self._acknowledge_by_assignment()

    def paused(self, item: Fact) -> None:
        if self.paused_us is None:
            self.paused_us = item.at_us
            for target in PAUSABLE:
                if target in self.running:
                    self.running[target].paused_us = item.at_us

    def resumed(self, item: Fact) -> None:
        self._end_pause(item.at_us)

    def we_wrote(self, item: Fact) -> None:
        if not item.is_answer or not self.written:
            return
        bounced_us = self.timeline.taken_back.get((item.source, item.id))
        if bounced_us is not None:
            for target in ANSWERABLE:
                if target in self.running:
                    self.running[target].taken_back += ((item.at_us, bounced_us),)
            return
        agent_id = item.data.get("agent_id")
        for target in ANSWERABLE:
            self._end(target, item.at_us, "answer", agent_id)
        self._settle(item.at_us)
        self.unanswered_at_close = False
        if self.answered_us is None:
            self.answered_us = item.at_us
        if not self.resolved:
            self._start("update", item.at_us)

    def resolved_or_closed(self, item: Fact) -> None:
        at_us, agent_id = item.at_us, item.data.get("agent_id")
        self._end_pause(at_us)
        if not self.written:
            return  # nothing was owed yet
        if self._waiting():
            self.unanswered_at_close = True
            self.silent += [self.running[t] for t in ("first_response", "next_response") if t in self.running]
        for target in RESPONSES:
            self._end(target, at_us, "close", agent_id)
        self._end("update", at_us, "close", agent_id)
        self._end("resolution", at_us, "resolve", agent_id)
        self.resolved = True

    def reopened(self, item: Fact) -> None:
        self._end_pause(item.at_us)
        if not self.resolved:
            return
        self.resolved = False
        self._start("resolution", item.at_us)
        if self.unanswered_at_close:
            self._start_response(item.at_us)

    # -- clocks --------------------------------------------------------------------------------------

    def _waiting(self) -> bool:
        return "first_response" in self.running or "next_response" in self.running

    def _start_response(self, at_us: int) -> None:
        self._settle(at_us)
        self.unanswered_at_close = False
        if self.answered_us is None:
            self._start("acknowledgement", at_us)
            self._start("first_response", at_us)
        else:
            self._start("next_response", at_us)

    def _settle(self, at_us: int) -> None:
        for clock in self.silent:
            clock.settled_us = at_us
        self.silent.clear()

    def _start(self, target: TargetName, at_us: int) -> None:
        if target == "acknowledgement":
            self.assigned = None
        cycle = self.cycles[target] = self.cycles.get(target, 0) + 1
        clock = Running(target, cycle, at_us, self.attributes, None, None)
        if target in PAUSABLE and self.paused_us is not None:
            clock.paused_us = at_us
        self._choose(clock, self.attributes)
        self.clocks.append(clock)
        self.running[target] = clock

    def _choose(self, clock: Running, attributes: Attributes) -> None:
        clock.attributes = attributes
        policy = self.policies.pick(attributes, clock.start_us)
        if policy is None:
            return  # no match keeps the last policy and target
        span = policy.span(clock.target, attributes.priority)
        if policy is not clock.policy or span is not clock.span:
            clock.policy, clock.span = policy, span
            clock.base_due_us = None if span is None else base_due(policy.calendar, clock.start_us, span)

    def _change(self, item: Fact, changed: dict[str, Any]) -> None:
        """Changes at one instant act together (C16): they are collected here and applied by `_repick`. What
        `contact.opened` names holds from its contact's first message on, whatever was said before (C22)."""
        if not self.written:
            opened_us, names = opening(self.timeline)
            if item.at_us < opened_us:
                changed = {key: value for key, value in changed.items() if key not in names}
        if changed:
            self.changed = (self.changed or self.attributes)._replace(**changed)
            self.changed_us = item.at_us

    def _repick(self) -> None:
        attributes, self.changed = self.changed, None
        if attributes is None or attributes == self.attributes:
            return
        self.attributes = attributes
        for clock in self.running.values():
            if clock.stuck:
                continue
            due_us = due(clock)
            if due_us is not None and self.changed_us > due_us:
                clock.stuck = True
            else:
                self._choose(clock, attributes)
        self._acknowledge_by_assignment()

    def _acknowledge_by_assignment(self) -> None:
        """C5: assigning to a person acknowledges if the policy says so, also one picked later."""
        clock = self.running.get("acknowledgement")
        if self.assigned and clock and clock.policy and clock.policy.spec.assignment_acknowledges:
            self._end("acknowledgement", self.assigned[0], "answer", self.assigned[1])

    def _end(self, target: TargetName, at_us: int, ended_by: str, agent_id: str | None) -> None:
        clock = self.running.pop(target, None)
        if clock is None:
            return
        if clock.paused_us is not None:
            clock.pauses += ((clock.paused_us, at_us),)
            clock.paused_us = None
        clock.ended_us, clock.ended_by, clock.agent_id = at_us, ended_by, agent_id

    def _end_pause(self, at_us: int) -> None:
        if self.paused_us is None:
            return
        self.paused_us = None
        for target in PAUSABLE:
            clock = self.running.get(target)
            if clock is not None and clock.paused_us is not None:
                clock.pauses += ((clock.paused_us, at_us),)
                clock.paused_us = None

    # -- what it comes to ----------------------------------------------------------------------------

    def assessment(self, now_us: int) -> Assessment:
        """The clocks at `now`, of a timeline that has been read."""
        clocks = [clock for running in self.clocks if (clock := self.clock_of(running, now_us)) is not None]
        wakes = [clock.wake_us for clock in clocks if clock.wake_us is not None]
        return Assessment(
            clocks=tuple(clocks),
            wake_us=min(wakes, default=None),
            cycles=self.cycles,
            uncovered=sum(running.policy is None for running in self.clocks),
            attributes=self.attributes,
            answered_us=self.answered_us,
            unanswered_at_close=self.unanswered_at_close,
            written=self.written,
            resolved=self.resolved,
        )

    def clock_of(self, running: Running, now_us: int) -> Clock | None:
        """One of `clocks` at `now`; None where no policy covers or promises it."""
        if running.policy is None or running.span is None:
            return None
        if running.over is not None:
            return running.over
        clock = clock_at(running, running.policy, self.policies, self.timeline, self.answered_us, now_us)
        if clock.ended_us is not None:
            running.over = clock
        return clock


Watch = Callable[[Fact | None, Reading], None]
_HANDLERS: Final = {
    facts.OPENED: Reading.customer_wrote,
    facts.RECEIVED: Reading.customer_wrote,
    facts.UPDATED: Reading.attributes_changed,
    facts.CUSTOMER_CHANGED: Reading.customer_changed,
    facts.ACKNOWLEDGED: Reading.acknowledged,
    facts.ASSIGNED: Reading.assigned_to,
    facts.PAUSED: Reading.paused,
    facts.RESUMED: Reading.resumed,
    facts.SENT: Reading.we_wrote,
    facts.RESOLVED: Reading.resolved_or_closed,
    facts.CLOSED: Reading.resolved_or_closed,
    facts.REOPENED: Reading.reopened,
}
