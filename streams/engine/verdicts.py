"""What a clock comes to: verdict, reason and stage at an instant (C3, C8, C10, C13, C17, C23).

`now` only makes clocks late; it is handed in.
"""

from __future__ import annotations

from streams.engine.clocks import RESPONSES, Clock, Running
from streams.engine.policy import Policies, Policy
from streams.engine.thresholds import all_pauses, due, escalations, paused_time, warnings
from streams.engine.timeline import Timeline


def clock_at(
    running: Running, policy: Policy, policies: Policies, timeline: Timeline, answered_us: int | None, now_us: int
) -> Clock:
    """A clock that `policy` judges as it stands at `now`; `answered_us` is its contact's first answer ever."""
    end = timeline.end
    voided = end is not None
    ended_us = running.ended_us
    if end is not None and ended_us is None:
        ended_us = end.at_us
        if running.paused_us is not None:
            running.pauses += ((running.paused_us, ended_us),)
            running.paused_us = None
    due_us = due(running)
    until_us = max(now_us, running.start_us) if ended_us is None else ended_us
    late = due_us is not None and until_us > due_us
    verdict, reason = (
        ("void", end.reason) if end is not None else _verdict(running, due_us, late=late, ended=ended_us is not None)
    )
    steps: tuple[int, ...] = ()
    stage, stage_at_us, wake_us = "ended", ended_us or 0, None
    if ended_us is None:
        stage, steps, stage_at_us, wake_us = _stage(running, policy, policies, due_us, now_us)
    paused_us = paused_time(running, policy.calendar, until_us)
    step, passed = len(steps), steps if stage == "escalated" else ()
    open_us = policy.calendar.elapsed(running.start_us, until_us) - paused_us
    bounced_us = max(bounce for _, bounce in running.taken_back) if running.taken_back else None
    silently_closed = not voided and running.ended_by == "close" and running.target in RESPONSES
    return Clock(  # in the order of its fields: by their names it would take three times as long
        timeline.contact_id, running.target, running.cycle, policy, running.span, running.attributes,
        verdict, reason, stage, step, passed, stage_at_us,
        running.start_us, None if stage == "paused" else due_us, ended_us,
        open_us, until_us - running.start_us, paused_us,
        running.agent_id, all_pauses(running), bounced_us, silently_closed, running.settled_us,
        _alerts_from(running, answered_us), wake_us,
    )  # fmt: skip


def _alerts_from(running: Running, answered_us: int | None) -> int | None:
    """Until the first response only acknowledgement and first_response may alert (C8)."""
    if running.target in ("acknowledgement", "first_response"):
        return running.start_us
    return None if answered_us is None else max(answered_us, running.start_us)


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
