"""The clocks of one contact: `assess(timeline, policies, tiers, now)` (C2 to C18, C22, C23).

A clock is one target running for one contact; cycles count from 1. The timeline is read once, in order;
everything is recomputed from it at each call, so late, doubled and reordered events need no special case.
Business time is asked of `streams.engine.calendar`; publishing is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from schemas.policies import TARGETS, Span, TargetName
from streams.engine import timeline as facts
from streams.engine.calendar import SECOND_US, Calendar
from streams.engine.policy import NORMAL, Attributes, Policies, Policy
from streams.engine.timeline import Carried, Fact, Timeline

OTHER: Final = "other"
PAUSABLE: Final[tuple[TargetName, ...]] = ("resolution", "update")
RESPONSES: Final[tuple[TargetName, ...]] = ("acknowledgement", "first_response", "next_response")
_ATTRIBUTES: Final = ("channel", "priority", "queue")
_CHANGES: Final = frozenset({facts.UPDATED, facts.CUSTOMER_CHANGED})
ANSWERABLE: Final[tuple[TargetName, ...]] = (*RESPONSES, "update")


@dataclass(frozen=True, slots=True)
class Tier:
    """The customer's tier and kind from `since_us` on; the first one holds from the beginning."""

    since_us: int
    tier: str | None
    kind: str | None


class Clock(NamedTuple):
    """One clock as it stands. Instants and durations in microseconds; the words are the contract's
    (CONTRACT.md section 5)."""

    contact_id: str
    target: TargetName
    cycle: int
    policy: Policy
    span: Span | None
    attributes: Attributes
    verdict: str
    reason: str
    stage: str
    step: int
    steps: tuple[int, ...]
    stage_at_us: int
    started_us: int
    due_us: int | None
    ended_us: int | None
    open_us: int
    wall_us: int
    paused_us: int
    agent_id: str | None
    pauses: tuple[tuple[int, int | None], ...]
    bounced_us: int | None
    silently_closed: bool
    settled_us: int | None
    alerts_from_us: int | None
    wake_us: int | None


@dataclass(frozen=True, slots=True)
class Assessment:
    """All clocks of a contact. `wake_us` is the next instant after which one of them must be looked at
    again; `uncovered` counts cycles that no policy covers (C16); `answered_us` is the first answer ever."""

    clocks: tuple[Clock, ...]
    wake_us: int | None
    uncovered: int
    attributes: Attributes
    answered_us: int | None


@dataclass(slots=True)
class Running:
    """A clock while the timeline is read; also one that no policy covers or promises."""

    target: TargetName
    cycle: int
    start_us: int
    attributes: Attributes
    policy: Policy | None
    span: Span | None
    stuck: bool = False
    base_due_us: int | None = None
    pauses: tuple[tuple[int, int], ...] = ()
    paused_us: int | None = None
    taken_back: tuple[tuple[int, int], ...] = ()
    ended_us: int | None = None
    ended_by: str = ""
    agent_id: str | None = None
    settled_us: int | None = None
    over: Clock | None = None  # as it stands for ever, once it ended and was asked for


def attributes_at(timeline: Timeline, tiers: Sequence[Tier], at_us: int) -> Attributes:
    """The contact's attributes at that instant, before the changes that happen at it (C21, C22)."""
    in_force = next((tier for tier in reversed(tiers) if tier.since_us < at_us), tiers[0] if tiers else None)
    attributes = first_attributes(timeline, in_force or Tier(0, None, None))
    for item in timeline.facts:
        if item.at_us >= at_us:
            break
        if item.type in (facts.UPDATED, facts.ASSIGNED):
            opened_us, names = _opening(timeline)
            keys = [key for key in _ATTRIBUTES if item.data.get(key) and not (item.at_us < opened_us and key in names)]
            attributes = attributes._replace(**{key: item.data[key] for key in keys})
    return attributes


def attributes_never_change(timeline: Timeline, tiers: Sequence[Tier]) -> bool:
    """Whether `attributes_at` is the same at any instant, as it mostly is."""
    if len(tiers) > 1:
        return False
    changing = [f.data for f in timeline.facts if f.type in (facts.UPDATED, facts.ASSIGNED)]
    return all(data.keys().isdisjoint(_ATTRIBUTES) for data in changing)


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
        """A contact whose facts are forgotten was closed; its cycles count on."""
        self.cycles.update({target: carried.cycles.get(target, 0) for target in TARGETS})
        self.written = self.resolved = True
        self.answered_us = carried.answered_us

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
        self._change(item, {key: item.data[key] for key in _ATTRIBUTES if item.data.get(key) is not None})

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
        if self.written and "resolution" not in self.running:
            self._start("resolution", item.at_us)
        if self.unanswered_at_close and not self._waiting():
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
            clock.base_due_us = None if span is None else _base_due(policy.calendar, clock.start_us, span)

    def _change(self, item: Fact, changed: dict[str, Any]) -> None:
        """Changes at one instant act together (C16): they are collected here and applied by `_repick`. What
        `contact.opened` names holds from its contact's first message on, whatever was said before (C22)."""
        if not self.written:
            opened_us, names = _opening(self.timeline)
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
            due_us = _due(clock)
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
            uncovered=sum(running.policy is None for running in self.clocks),
            attributes=self.attributes,
            answered_us=self.answered_us,
        )

    def clock_of(self, running: Running, now_us: int) -> Clock | None:
        """One of `clocks` at `now`; None where no policy covers or promises it."""
        if running.policy is None or running.span is None:
            return None
        return running.over or self._finished(running, running.policy, now_us)

    def _finished(self, running: Running, policy: Policy, now_us: int) -> Clock:
        end = self.timeline.end
        voided = end is not None
        ended_us = running.ended_us
        if end is not None and ended_us is None:
            ended_us = end.at_us
            if running.paused_us is not None:
                running.pauses += ((running.paused_us, ended_us),)
                running.paused_us = None
        due_us = _due(running)
        until_us = max(now_us, running.start_us) if ended_us is None else ended_us
        late = due_us is not None and until_us > due_us
        verdict, reason = (
            ("void", end.reason)
            if end is not None
            else _verdict(running, due_us, late=late, ended=ended_us is not None)
        )
        steps: tuple[int, ...] = ()
        stage, stage_at_us, wake_us = "ended", ended_us or 0, None
        if ended_us is None:
            stage, steps, stage_at_us, wake_us = _stage(running, policy, self.policies, due_us, now_us)
        paused_us = _paused_time(running, policy.calendar, until_us)
        clock = Clock(
            contact_id=self.timeline.contact_id,
            target=running.target,
            cycle=running.cycle,
            policy=policy,
            span=running.span,
            attributes=running.attributes,
            verdict=verdict,
            reason=reason,
            stage=stage,
            step=len(steps),
            steps=steps if stage == "escalated" else (),
            stage_at_us=stage_at_us,
            started_us=running.start_us,
            due_us=None if stage == "paused" else due_us,
            ended_us=ended_us,
            open_us=policy.calendar.elapsed(running.start_us, until_us) - paused_us,
            wall_us=until_us - running.start_us,
            paused_us=paused_us,
            agent_id=running.agent_id,
            pauses=_all_pauses(running),
            bounced_us=max(bounce for _, bounce in running.taken_back) if running.taken_back else None,
            silently_closed=not voided and running.ended_by == "close" and running.target in RESPONSES,
            settled_us=running.settled_us,
            alerts_from_us=self._alerts_from(running),
            wake_us=wake_us,
        )
        if ended_us is not None:
            running.over = clock
        return clock

    def _alerts_from(self, running: Running) -> int | None:
        """Until the first response only acknowledgement and first_response may alert (C8)."""
        if running.target in ("acknowledgement", "first_response"):
            return running.start_us
        return None if self.answered_us is None else max(self.answered_us, running.start_us)


def forgotten_clock(
    contact_id: str, target: str, cycle: int, policy: Policy, attributes: Attributes, started_us: int
) -> Clock:
    """A clock of which nothing is known any more but that there was one."""
    return Clock(
        contact_id=contact_id, target=cast(TargetName, target), cycle=cycle, policy=policy, span=None,
        attributes=attributes, verdict="void", reason="superseded", stage="ended", step=0, steps=(),
        stage_at_us=started_us, started_us=started_us, due_us=None, ended_us=started_us, open_us=0, wall_us=0,
        paused_us=0, agent_id=None, pauses=(), bounced_us=None, silently_closed=False, settled_us=None,
        alerts_from_us=None, wake_us=None,
    )  # fmt: skip


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


def _opening(timeline: Timeline) -> tuple[int, tuple[str, ...]]:
    """Since when what `contact.opened` names holds: from it or from an earlier message (C22)."""
    opened = timeline.opened
    if opened is None:
        return 0, ()
    messages = (f.at_us for f in timeline.facts if f.type in (facts.RECEIVED, facts.SENT))
    return min(opened.at_us, next(messages, opened.at_us)), tuple(key for key in _ATTRIBUTES if opened.data.get(key))


def first_attributes(timeline: Timeline, tier: Tier) -> Attributes:
    """C22: those of `contact.opened` hold from the first message; without it, the message's channel."""
    if timeline.opened is not None:
        data = timeline.opened.data
        return Attributes(data["channel"], data.get("priority") or NORMAL, data.get("queue"), tier.tier, tier.kind)
    if timeline.carried is not None:
        left = timeline.carried
        return Attributes(left.channel, left.priority, left.queue, tier.tier, tier.kind)
    first = next((f for f in timeline.facts if f.is_customer_message), None)
    channel = first.data.get("channel") if first else None
    return Attributes(channel or OTHER, NORMAL, None, tier.tier, tier.kind)


def _base_due(calendar: Calendar, start_us: int, span: Span) -> int:
    if span.working_days:
        return calendar.working_days_due(start_us, span.working_days)
    return calendar.due(start_us, span.seconds * SECOND_US)


def _due(clock: Running) -> int | None:
    """The due instant in force; None where a running pause holds it up (C9) or nothing was promised."""
    if clock.base_due_us is None or clock.policy is None:
        return None
    if not clock.pauses and clock.paused_us is None:
        return clock.base_due_us
    return _after_pauses(clock, clock.policy.calendar, clock.base_due_us)


def _after_pauses(clock: Running, calendar: Calendar, instant_us: int) -> int | None:
    """`instant` moved by the open time of the pauses that began before it; None while one runs."""
    for paused_us, resumed_us in clock.pauses:
        if paused_us >= instant_us:
            break
        if held_us := calendar.elapsed(paused_us, resumed_us):
            instant_us = calendar.due(instant_us, held_us)
    if clock.paused_us is not None and clock.paused_us < instant_us:
        return None
    return instant_us


def _verdict(running: Running, due_us: int | None, *, late: bool, ended: bool) -> tuple[str, str]:
    resolution = running.target == "resolution"
    if late:
        if any(answer_us <= due_us for answer_us, _ in running.taken_back if due_us is not None):
            return "broken", "answer_bounced"
        if not ended:
            return "broken", "unresolved" if resolution else "unanswered"
        if running.ended_by == "close":
            return "broken", "resolved" if running.target == "update" else "closed_unanswered"
        return "broken", "resolved_late" if resolution else "answered_late"
    if not ended:
        return "open", "running"
    if running.ended_by == "close":
        return "void", "resolved" if running.target == "update" else "closed_unanswered"
    return "kept", "resolved_in_time" if resolution else "answered_in_time"


def _stage(
    running: Running, policy: Policy, policies: Policies, due_us: int | None, now_us: int
) -> tuple[str, tuple[int, ...], int, int | None]:
    """Stage, the numbers of the shares or escalations that have passed, since when, and the next instant to
    look again (rule 3 of the design's section 2)."""
    if due_us is None:
        assert running.paused_us is not None
        return "paused", (), running.paused_us, None
    if now_us <= due_us and running.paused_us is not None:
        return "paused", (), running.paused_us, due_us
    if now_us > due_us:
        steps = escalations(running, policy, policies, due_us)
        passed = [(step, at_us) for step, at_us in steps if now_us > at_us]
        wake_us = min((at_us for _, at_us in steps if at_us >= now_us), default=None)
        if not passed:
            return "overdue", (), due_us, wake_us
        at_us = max(at_us for _, at_us in passed)
        return "escalated", tuple(step for step, _ in passed), at_us, wake_us
    instants = warnings(running, policy)
    passed_warnings = [at_us for at_us in instants if now_us > at_us]
    wake_us = min((at_us for at_us in instants if at_us >= now_us), default=due_us)
    if not passed_warnings:
        return "running", (), running.pauses[-1][1] if running.pauses else running.start_us, wake_us
    return "at_risk", tuple(range(1, len(passed_warnings) + 1)), passed_warnings[-1], wake_us


def thresholds(running: Running, policies: Policies, now_us: int) -> tuple[bool, list[int]]:
    """Whether a clock that runs is past due at `now`, and in order the instants that it passes unless something
    happens: its warnings and the due instant, or the escalations of one past due."""
    assert running.policy is not None
    due_us = _due(running)
    if due_us is None:
        return False, []
    if now_us > due_us:
        return True, sorted(at_us for _, at_us in escalations(running, running.policy, policies, due_us))
    return False, [due_us] if running.paused_us is not None else [*warnings(running, running.policy), due_us]


def warnings(running: Running, policy: Policy) -> list[int]:
    """Instants at which the shares of the target are used up, in open time less pauses; without those that a
    running pause holds up."""
    calendar, start_us = policy.calendar, running.start_us
    assert running.span is not None
    assert running.base_due_us is not None
    length_us = running.span.seconds * SECOND_US or calendar.elapsed(start_us, running.base_due_us)
    instants = []
    for share in policy.at_risk:
        instant_us = _after_pauses(running, calendar, calendar.due(start_us, round(length_us * share)))
        if instant_us is not None:
            instants.append(instant_us)
    return instants


def escalations(running: Running, policy: Policy, policies: Policies, due_us: int) -> list[tuple[int, int]]:
    """Each step that is reckoned now, counted from 1, and its instant; none that a running pause holds up."""
    steps = []
    for step, escalation in enumerate(policies.escalations, start=1):
        if escalation.wall:
            steps.append((step, due_us + escalation.after_us))
            continue
        later = Running(running.target, 0, due_us, running.attributes, None, None)
        later.pauses = tuple([pause for pause in running.pauses if pause[0] >= due_us])
        later.paused_us = running.paused_us
        reached_us = _after_pauses(later, policy.calendar, policy.calendar.due(due_us, escalation.after_us))
        if reached_us is not None:
            steps.append((step, reached_us))
    return steps


def _all_pauses(running: Running) -> tuple[tuple[int, int | None], ...]:
    if running.paused_us is None:
        return running.pauses
    return (*running.pauses, (running.paused_us, None))


def _paused_time(running: Running, calendar: Calendar, until_us: int) -> int:
    if not running.pauses and running.paused_us is None:
        return 0
    closed = sum(calendar.elapsed(paused_us, min(resumed_us, until_us)) for paused_us, resumed_us in running.pauses)
    return closed + (0 if running.paused_us is None else calendar.elapsed(running.paused_us, until_us))
