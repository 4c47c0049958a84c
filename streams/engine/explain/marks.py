"""What matters to a clock besides what happened to it: its thresholds, its due instant, and its end."""

from __future__ import annotations

from typing import Final

from schemas.policies import Span, duration_text
from streams.engine import timeline as facts
from streams.engine.calendar import SECOND_US
from streams.engine.clocks import RESPONSES, Clock, Running
from streams.engine.explain.explanation import Mark, MarkKind
from streams.engine.policy import Policies
from streams.engine.thresholds import escalations, warnings
from streams.engine.timeline import Fact, Timeline

# Marks of one instant in the order in which they are read.
_ORDER: Final[tuple[MarkKind, ...]] = (
    "started", "not_moved", "repicked", "policy_kept", "at_risk", "due", "escalated", "changed_too_late",
    "answer_bounced", "taken_back", "ended", "settled",
)  # fmt: skip


def marks(
    clock: Clock,
    running: Running,
    happened: list[Mark],
    ended_by: Fact | None,
    policies: Policies,
    timeline: Timeline,
    now_us: int,
) -> tuple[Mark, ...]:
    """All marks of a clock, in order. Raises NeverOpens."""
    found = [*happened, *_thresholds(clock, running, policies, now_us), *_ends(clock, running, ended_by, timeline)]
    return tuple(sorted(found, key=lambda mark: (mark.at_us, _ORDER.index(mark.kind))))


def _thresholds(clock: Clock, running: Running, policies: Policies, now_us: int) -> list[Mark]:
    """Shares of the target, the due instant and escalations; of an ended clock those that it passed."""
    assert running.span is not None
    until_us = now_us if clock.ended_us is None else clock.ended_us
    planned: list[tuple[int, MarkKind, str, str]] = []
    for share, at_us in zip(clock.policy.at_risk, warnings(running, clock.policy), strict=False):
        planned.append((at_us, "at_risk", f"{share * 100:g}% of {running.span} used up", ""))
    if clock.due_us is not None:
        planned.append((clock.due_us, "due", _due_words(running.span), "C2" if running.span.working_days else "C3"))
        for step, at_us in escalations(running, clock.policy, policies, clock.due_us):
            after = policies.escalations[step - 1]
            kind = "wall" if after.wall else "open"
            length = duration_text(after.after_us // SECOND_US)
            planned.append((at_us, "escalated", f"step {step}: {length} of {kind} time after due", ""))
    return [
        Mark(at_us=at_us, kind=kind, words=words, rule=rule, reached=until_us > at_us)
        for at_us, kind, words, rule in planned
        if clock.ended_us is None or until_us > at_us or kind == "due"
    ]


def _due_words(span: Span) -> str:
    if span.working_days:
        return f"due: the last closing of open day {span.working_days} after the start's"
    return f"due: {span} used up; met at this instant is met"


def _ends(clock: Clock, running: Running, ended_by: Fact | None, timeline: Timeline) -> list[Mark]:
    found = []
    if running.ended_us is not None:
        words, rule = _end_words(running, ended_by)
        found.append(Mark(at_us=running.ended_us, kind="ended", words=words + _lateness(clock), rule=rule))
    if timeline.end is not None:
        words = f"{end_words(timeline)}: all its clocks are void, finished ones too"
        found.append(Mark(at_us=timeline.end.at_us, kind="ended", words=words, rule="C17"))
    return found


def end_words(timeline: Timeline) -> str:
    """`merged into T-2`, `voided as spam` (C17)."""
    assert timeline.end is not None
    if timeline.end.reason == "merged":
        return f"merged into {timeline.merged_into}"
    return f"voided as {timeline.end.reason}"


def _end_words(running: Running, ended_by: Fact | None) -> tuple[str, str]:
    by = f" by {running.agent_id}" if running.agent_id else ""
    if running.ended_by == "resolve":
        return f"resolved{by}", "C11"
    if running.ended_by == "close":
        if running.target in RESPONSES:
            return f"closed{by} with the customer's message unanswered: a silent close", "C10"
        return f"resolved{by}: nothing more is promised", "C12"
    kind = ended_by.type if ended_by else facts.SENT
    if kind == facts.SENT:
        return f"answered{by}", "C5" if running.target == "acknowledgement" else "C4"
    if kind == facts.ACKNOWLEDGED:
        return f"acknowledged{by}", "C5"
    return f"assigned to {running.agent_id}, which acknowledges by this policy", "C5"


def _lateness(clock: Clock) -> str:
    if clock.verdict not in ("kept", "broken") or clock.due_us is None or clock.ended_us is None:
        return ""
    late_us = clock.policy.calendar.elapsed(clock.due_us, clock.ended_us)
    if clock.ended_us <= clock.due_us:
        return ", in time"
    return f", {duration_text(late_us // SECOND_US)} of open time late" if late_us >= SECOND_US else ", late"
