"""The clocks of one contact: one target running for one contact each, cycles counted from 1.

What they are; how they come about is `streams.engine.reading`'s, what they come to `streams.engine.verdicts`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from schemas.policies import Span, TargetName
from streams.engine.policy import Attributes, Policy

RESPONSES: Final[tuple[TargetName, ...]] = ("acknowledgement", "first_response", "next_response")


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
    again; `cycles` says how far those of each target counted, `uncovered` how many no policy covers (C16);
    `answered_us` is the first answer ever; `unanswered_at_close`: a reopening would find the customer still unanswered
    (C10); `written`: the customer has written at all."""

    clocks: tuple[Clock, ...]
    wake_us: int | None
    cycles: Mapping[TargetName, int]
    uncovered: int
    attributes: Attributes
    answered_us: int | None
    unanswered_at_close: bool
    written: bool
    resolved: bool


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
