"""A clock's run cut into stretches, each with its cause (C1, C9, C23)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from streams.engine.calendar import Calendar
from streams.engine.clocks import Clock
from streams.engine.explain.explanation import Cause, Stretch
from streams.engine.explain.witness import Pause

_CLOSED: Final[dict[str, Cause]] = {
    "closed": "closure",
    "dated hours": "dated_hours",
    "outside hours": "outside_hours",
}


def stretches(clock: Clock, pauses: Sequence[Pause]) -> tuple[Stretch, ...]:
    """The stretches from the clock's start to its end or to now, in order; none of them empty. `pauses` are the
    contact's, to know who set them."""
    calendar, until_us = clock.policy.calendar, clock.started_us + clock.wall_us
    found: list[Stretch] = []
    reached_us = clock.started_us
    for opens_us, closes_us in calendar.open_spans(clock.started_us, until_us):
        found += _shut(calendar, reached_us, opens_us)
        found += _open(clock, pauses, opens_us, closes_us)
        reached_us = closes_us
    found += _shut(calendar, reached_us, until_us)
    return tuple(found)


def _shut(calendar: Calendar, from_us: int, to_us: int) -> list[Stretch]:
    """Closed time, by local dates."""
    found: list[Stretch] = []
    while from_us < to_us:
        why, until_us = calendar.closed_until(from_us)
        cause, detail = _cause(why)
        until_us = min(until_us, to_us)
        if found and (found[-1].cause, found[-1].detail) == (cause, detail):
            from_us = found.pop().from_us  # neighbours of one cause together
        found.append(Stretch(from_us=from_us, to_us=until_us, counted=False, cause=cause, detail=detail))
        from_us = until_us
    return found


def _cause(why: str) -> tuple[Cause, str | None]:
    if why in _CLOSED:
        return _CLOSED[why], None
    return "holiday", why.removeprefix("holiday: ")


def _open(clock: Clock, pauses: Sequence[Pause], from_us: int, to_us: int) -> Iterator[Stretch]:
    """Open time: counted but for the clock's pauses."""
    for paused_us, resumed_us in clock.pauses:
        held_us = max(paused_us, from_us)
        freed_us = to_us if resumed_us is None else min(resumed_us, to_us)
        if held_us >= freed_us:
            continue
        if from_us < held_us:
            yield Stretch(from_us=from_us, to_us=held_us, counted=True, cause="open")
        cause = next((pause for pause in reversed(pauses) if pause.at_us <= paused_us), None)
        yield Stretch(
            from_us=held_us,
            to_us=freed_us,
            counted=False,
            cause="paused",
            detail=cause.reason if cause else None,
            agent_id=cause.agent_id if cause else None,
        )
        from_us = freed_us
    if from_us < to_us:
        yield Stretch(from_us=from_us, to_us=to_us, counted=True, cause="open")
