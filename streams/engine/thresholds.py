"""The instants that a running clock passes: warnings, the due instant, escalations, all moved by pauses (C2, C9, C37).

Business time is asked of `streams.engine.calendar`; what passing one of them means is `streams.engine.verdicts`'.
"""

from __future__ import annotations

from schemas.policies import Span
from streams.engine.calendar import SECOND_US, Calendar
from streams.engine.clocks import Running
from streams.engine.policy import Policies, Policy


def base_due(calendar: Calendar, start_us: int, span: Span) -> int:
    """The due instant of a clock that is never paused (C2). Raises NeverOpens."""
    if span.working_days:
        return calendar.working_days_due(start_us, span.working_days)
    return calendar.due(start_us, span.seconds * SECOND_US)


def due(running: Running) -> int | None:
    """The due instant in force; None where a running pause holds it up (C9) or nothing was promised."""
    if running.base_due_us is None or running.policy is None:
        return None
    if not running.pauses and running.paused_us is None:
        return running.base_due_us
    return _after_pauses(running, running.policy.calendar, running.base_due_us)


def _after_pauses(running: Running, calendar: Calendar, instant_us: int) -> int | None:
    """`instant` moved by the open time of the pauses that began before it; None while one runs."""
    for paused_us, resumed_us in running.pauses:
        if paused_us >= instant_us:
            break
        if held_us := calendar.elapsed(paused_us, resumed_us):
            instant_us = calendar.due(instant_us, held_us)
    if running.paused_us is not None and running.paused_us < instant_us:
        return None
    return instant_us


def thresholds(running: Running, policies: Policies, now_us: int) -> tuple[bool, list[int]]:
    """Whether a clock that runs is past due at `now`, and in order the instants that it passes unless something
    happens: its warnings and the due instant, or the escalations of one past due."""
    assert running.policy is not None
    due_us = due(running)
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


def all_pauses(running: Running) -> tuple[tuple[int, int | None], ...]:
    """From when to when it was paused; the last one may go on."""
    if running.paused_us is None:
        return running.pauses
    return (*running.pauses, (running.paused_us, None))


def paused_time(running: Running, calendar: Calendar, until_us: int) -> int:
    """Open time of its pauses up to `until`, in microseconds."""
    if not running.pauses and running.paused_us is None:
        return 0
    closed = sum(calendar.elapsed(paused_us, min(resumed_us, until_us)) for paused_us, resumed_us in running.pauses)
    return closed + (0 if running.paused_us is None else calendar.elapsed(running.paused_us, until_us))
