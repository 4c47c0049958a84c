"""Letting go of contacts: state has a bound, and what is forgotten must change no outcome.

A contact with nothing left to run goes once no late event can be taken any more (C20). What merges and links tie
together goes together, since the outcomes of one follow from the facts of the others. What is kept of a contact,
so that it can go on, is `Carried`, and the facts that hold also for what is written later: merges, links, voids (C17).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from streams.engine import timeline as facts
from streams.engine.calendar import DAY_US
from streams.engine.clocks import Assessment
from streams.engine.timeline import Carried, Timeline
from streams.track.desk import Desk
from streams.track.journeying import somebody_waits
from streams.track.state import ContactState
from streams.track.work import Work

LOOK_AGAIN_US: Final = DAY_US
_LASTING: Final = (facts.MERGED, facts.LINKED, facts.VOIDED)


class Judged(NamedTuple):
    """A contact that was looked at."""

    state: ContactState
    timeline: Timeline
    assessed: Assessment


def over(judged: Sequence[Judged], late_us: int) -> dict[str, int]:
    """Names of those that nothing can change any more, nor whatever they are tied to, each with the last fact of all
    these."""
    if len(judged) == 1:
        return {judged[0].state.name: _last_us(judged)} if _is_over(judged, late_us) else {}
    by_root: dict[str, list[Judged]] = {}
    root_of = _roots(judged)
    for one in judged:
        by_root.setdefault(root_of[one.state.contact.contact_id], []).append(one)
    groups = [group for group in by_root.values() if _is_over(group, late_us)]
    return {one.state.name: last_us for group in groups for last_us in (_last_us(group),) for one in group}


def forget_or_wait(one: Judged, done_us: int | None, desk: Desk, work: Work) -> int | None:
    """Forget a contact that is over since `done_us`; else when to look again. While somebody waits for an answer, it
    stays."""
    state = one.state
    last_us = state.contact.facts[-1].at_us
    if done_us is None and state.woken_us <= last_us + desk.late_us:
        return last_us + desk.late_us
    if done_us is None or somebody_waits(state.home, desk, work):
        return state.woken_us + LOOK_AGAIN_US
    state.contact.carried = _carried(one, done_us)
    state.contact.facts = [item for item in state.contact.facts if item.type in _LASTING]
    state.published = {}
    return None


def _carried(one: Judged, last_us: int) -> Carried:
    before, attributes = one.state.contact.carried, one.assessed.attributes
    return Carried(
        until_us=max(last_us, before.until_us) if before else last_us,
        cycles=one.assessed.cycles,
        answered_us=one.assessed.answered_us,
        channel=attributes.channel,
        priority=attributes.priority,
        queue=attributes.queue,
        unanswered_at_close=one.assessed.unanswered_at_close,
        written=one.assessed.written,
        resolved=one.assessed.resolved,
    )


def _last_us(group: Sequence[Judged]) -> int:
    return max((one.state.contact.facts[-1].at_us for one in group if one.state.contact.facts), default=0)


def _is_over(group: Sequence[Judged], late_us: int) -> bool:
    now_us = max([one.state.woken_us for one in group])
    for one in group:
        own = one.state.contact.facts
        if own and own[-1].at_us + late_us >= now_us:
            return False
    return all(clock.ended_us is not None for one in group for clock in one.assessed.clocks)


def _roots(judged: Iterable[Judged]) -> dict[str, str]:
    """For each contact the one that stands for all that it is tied to."""
    root_of: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := root_of.setdefault(name, name)) != name:
            name = above
        return name

    for one in judged:
        here = one.state.contact.contact_id
        root_of[root(here)] = root(here)
        for item in one.state.contact.facts:
            if item.type in (facts.MERGED, facts.LINKED):
                other = item.data["into" if item.type == facts.MERGED else "contact_id"]
                root_of[root(here)] = root(other)
    return {name: root(name) for name in list(root_of)}
