"""Laws of the clocks: any order and any duplication of facts give the same clocks; between now and the wake-up
nothing changes; what is assessed later never takes back an ended clock."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine.attributes import Tier
from streams.engine.clocks import Clock
from streams.engine.journey import journeys
from streams.engine.policy import Escalation
from streams.engine.reading import assess
from streams.engine.timeline import timelines
from tests.streams.engine.told import GOLD, VERBS, at, contacts, promises

HOUR_US = 3600 * 1_000_000
HORIZON_US = 60 * 24 * HOUR_US
POLICIES = promises(
    {**GOLD, "match": {"channel": "chat"}, "targets": {"first_response": "30m", "update": "3h"}, "at_risk": ["90%"]},
    {
        "targets": {**GOLD["targets"], "update": "4h", "resolution": "2wd"},
        "priority_targets": {"urgent": {"first_response": "10m", "resolution": "3h"}},
        "assignment_acknowledges": True,
        "effective_from": "2026-11-17",
        "dead_end_after": "30m",
    },
    {},
    escalations=[
        Escalation(after_us=HOUR_US),
        Escalation(after_us=2 * HOUR_US),
        Escalation(after_us=HOUR_US, wall=True),
    ],
)
TIERS = (Tier(0, None, None), Tier(at("Wed 12:00"), "vip", None))
DETAILS = {
    "opened": ["", "channel=chat", "channel=form", "opened_by=agent", "priority=urgent", "id=m1"],
    "wrote": ["", "id=m1", "channel=email"],
    "answered": ["id=m2 to=ops@example.com", "by=anna", ""],
    "bounced": ["id=m2", "to=ops@example.com", "id=m2 permanent=false", "direction=inbound"],
    "assigned": ["by=anna", "queue=q"],
    "updated": ["priority=urgent", "priority=low", "channel=chat", "channel=ticket"],
    "merged": ["into=A", "into=B", "into=C"],
    "linked": ["with=A", "with=B", "with=C"],
    "voided": ["reason=spam"],
}
RARE = {"merged", "linked", "voided", "rated"}


@st.composite
def lines(draw: st.DrawFn) -> str:
    """One line of a story, on the half hour so that instants coincide, in and out of hours."""
    verbs = sorted(VERBS.keys() - RARE) * 3 + sorted(RARE)
    verb = draw(st.sampled_from(verbs))
    day = draw(st.sampled_from(["Mon", "Tue", "Wed", "Sat"]))
    minute = draw(st.integers(14, 40)) * 30
    detail = draw(st.sampled_from(DETAILS.get(verb, [""])))
    return f"{day} {minute // 60:02}:{minute % 60:02} {draw(st.sampled_from('AAABBC'))} {verb} {detail}"


stories = st.lists(lines(), min_size=1, max_size=14).map("\n".join)
nows = st.integers(at("Mon 06:00"), at("+Tue 00:00"))


def clocks_of(story: str, now_us: int, chance: random.Random | None = None) -> dict[str, tuple[Clock, ...]]:
    found = timelines(contacts(story, chance))
    return {name: assess(told, POLICIES, TIERS, now_us).clocks for name, told in found.items()}


@given(story=stories, now_us=nows, chance=st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_any_order_and_any_duplication_of_events_give_the_same_clocks(
    story: str, now_us: int, chance: random.Random
) -> None:
    assert clocks_of(story, now_us, chance) == clocks_of(story, now_us)


@given(story=stories, now_us=nows, chance=st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_any_order_and_any_duplication_of_events_give_the_same_journeys(
    story: str, now_us: int, chance: random.Random
) -> None:
    found = [timelines(contacts(story, shuffled)).values() for shuffled in (None, chance)]
    told, arrived = (journeys("c", timelines_, POLICIES, TIERS, now_us) for timelines_ in found)
    assert told == arrived


def standing(clock: Clock) -> tuple[object, ...]:
    """What a revision would publish; open and wall time grow with every instant."""
    return clock.verdict, clock.reason, clock.stage, clock.step, clock.stage_at_us, clock.due_us, clock.ended_us


@given(story=stories, now_us=nows, share=st.floats(0, 1))
@settings(max_examples=300)
def test_nothing_changes_between_now_and_the_wake_up(story: str, now_us: int, share: float) -> None:
    for told in timelines(contacts(story)).values():
        here = assess(told, POLICIES, TIERS, now_us)
        until_us = now_us + HORIZON_US if here.wake_us is None else here.wake_us
        assert until_us >= now_us
        between_us = now_us + int((until_us - now_us) * share)
        for later_us in (between_us, until_us):
            there = assess(told, POLICIES, TIERS, later_us)
            assert [standing(c) for c in there.clocks] == [standing(c) for c in here.clocks]


@given(story=stories, now_us=nows)
@settings(max_examples=300)
def test_just_after_its_wake_up_a_clock_stands_differently(story: str, now_us: int) -> None:
    for told in timelines(contacts(story)).values():
        for here in assess(told, POLICIES, TIERS, now_us).clocks:
            if here.wake_us is not None:
                later = assess(told, POLICIES, TIERS, here.wake_us + 1).clocks
                (there,) = (c for c in later if (c.target, c.cycle) == (here.target, here.cycle))
                assert standing(there) != standing(here)


@given(story=stories, now_us=nows)
@settings(max_examples=200)
def test_c3_a_clock_is_broken_exactly_when_its_end_or_now_is_after_its_due_instant(story: str, now_us: int) -> None:
    for clocks in clocks_of(story, now_us).values():
        for clock in clocks:
            until_us = now_us if clock.ended_us is None else clock.ended_us
            late = clock.due_us is not None and until_us > clock.due_us
            assert clock.verdict in ("void", "broken") or not late
            assert clock.verdict != "broken" or late


@given(story=stories, now_us=nows)
@settings(max_examples=200)
def test_c23_open_time_is_never_negative_nor_more_than_wall_time(story: str, now_us: int) -> None:
    for clocks in clocks_of(story, now_us).values():
        for clock in clocks:
            assert 0 <= clock.open_us <= clock.wall_us
            assert 0 <= clock.paused_us <= clock.wall_us - clock.open_us


@given(story=stories, now_us=nows)
@settings(max_examples=200)
def test_cycles_of_a_target_count_from_one_and_never_overlap(story: str, now_us: int) -> None:
    for clocks in clocks_of(story, now_us).values():
        for target in {clock.target for clock in clocks}:
            cycles = sorted((c for c in clocks if c.target == target), key=lambda clock: clock.cycle)
            assert len({clock.cycle for clock in cycles}) == len(cycles)
            assert cycles[0].cycle >= 1
            for before, after in pairwise(cycles):
                assert before.ended_us is not None
                assert before.ended_us <= after.started_us
