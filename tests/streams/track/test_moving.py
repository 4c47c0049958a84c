"""Parts of one contact in several homes: whatever they are told while they are on their way, they come together."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import orjson
import pytest

from streams.track.moving import UNKNOWN
from streams.transport import partition_for
from tests.acceptance.memory import CrashError
from tests.streams.track.steered import Steered, event
from tests.streams.track.test_agent import START, minutes, steered

PARTITIONS: Final = 3


def at_home(partition: int, prefix: str = "") -> str:
    """A name that belongs to that partition."""
    names = (f"c-{number}" for number in range(100))
    return next(name for name in names if partition_for((prefix + name).encode(), PARTITIONS) == partition)


FIRST, SECOND, THIRD = (at_home(partition) for partition in range(PARTITIONS))
CONTACT: Final = at_home(0, UNKNOWN)


def desk_with_two_parts() -> Steered:
    """A contact in the home of the first customer, whose is the seat, and in that of the second, who does not know."""
    desk = steered(partitions=PARTITIONS)
    desk.append(event(1, "contact.opened", START, CONTACT, channel="email", customer_id=FIRST), FIRST)
    desk.append(event(2, "message.received", START + minutes(1), CONTACT, customer_id=SECOND), SECOND)
    desk.now += minutes(10)
    return desk


def named(desk: Steered, number: int, before: timedelta, customer: str, key: str) -> None:
    """In the home of `key` an earlier event says that the contact is another customer's."""
    desk.append(event(number, "contact.assigned", START - before, CONTACT, queue="q", customer_id=customer), key)


def said_last(desk: Steered) -> set[tuple[str, str]]:
    """Customer and verdict of each outcome that stands, as alerting reads them: each partition by itself."""
    found = set()
    for some in desk.log.topics["outcomes"]:
        last = {one["outcome_id"]: one for one in (orjson.loads(record.value or b"") for record in some)}
        found |= {(one["customer_id"], one["verdict"]) for one in last.values() if one["reason"] != "superseded"}
    return found


async def test_two_parts_each_on_its_way_to_where_the_other_was_come_together() -> None:
    desk = desk_with_two_parts()
    for partition in (0, 1):
        assert await desk.read(partition, 1)
    named(desk, 3, minutes(1), SECOND, FIRST)
    named(desk, 4, minutes(2), FIRST, SECOND)
    for partition in (1, 0):
        assert await desk.read(partition, 2)
    await desk.settle()
    assert said_last(desk) == {(FIRST, "open")}
    desk.append(event(5, "message.sent", desk.now, CONTACT, agent_id="a", customer_id=SECOND), SECOND)
    await desk.settle()
    assert said_last(desk) == {(FIRST, "kept")}


async def test_a_part_that_had_been_taken_back_does_not_hide_what_stands_where_it_comes() -> None:
    desk = desk_with_two_parts()
    named(desk, 3, minutes(1), SECOND, SECOND)
    await desk.settle()
    assert said_last(desk) == {(SECOND, "open")}


async def test_a_part_that_had_been_taken_back_does_not_hide_what_was_said_before_a_crash_either() -> None:
    desk = desk_with_two_parts()

    def dies(_: str) -> None:
        raise CrashError

    desk.after_step = dies
    with pytest.raises(CrashError):
        await desk.read(0, 1)
    desk.after_step = lambda _: None
    desk.restart()
    named(desk, 3, minutes(1), FIRST, SECOND)
    while await desk.read(1, 1):
        pass
    named(desk, 4, minutes(2), THIRD, FIRST)
    await desk.settle()
    assert said_last(desk) == {(THIRD, "open")}


async def test_a_part_that_has_gone_on_is_told_where_it_is_to_give_way() -> None:
    desk = desk_with_two_parts()
    for partition in (0, 1):
        assert await desk.read(partition, 1)
    named(desk, 3, minutes(1), THIRD, SECOND)
    while await desk.read(1, 1):
        pass
    await desk.settle()
    assert said_last(desk) == {(THIRD, "open")}
    desk.append(event(5, "message.sent", desk.now, CONTACT, agent_id="a", customer_id=FIRST), FIRST)
    await desk.settle()
    assert said_last(desk) == {(THIRD, "kept")}


async def test_parts_that_have_come_together_give_way_to_nobody() -> None:
    desk = desk_with_two_parts()
    for partition in (0, 1):
        assert await desk.read(partition, 1)
    named(desk, 3, minutes(2), THIRD, FIRST)
    named(desk, 4, minutes(1), THIRD, SECOND)
    for partition, most in ((1, 1), (0, 2), (0, 1), (1, 1), (2, 2)):
        assert await desk.read(partition, most)
    assert said_last(desk) == {(THIRD, "open")}
    await desk.settle()
    assert said_last(desk) == {(THIRD, "open")}
    assert [one["reason"] for one in desk.records("outcomes") if one["customer_id"] == THIRD].count("superseded") == 0
