"""A process that ends between two steps of a batch, whichever: alerting says each page once, and none is missing.

What brokers and real processes make of a SIGKILL is `test_nothing_lost`; here every step of every batch has its turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import orjson
import pytest

from streams import settings
from streams.transport import partition_for
from tests.acceptance.memory import CrashError
from tests.alerting.records import said
from tests.streams.track.steered import Steered, at, event
from tests.streams.track.test_agent import EVE, customer, elsewhere

CONFIGURATION: Final = b"""
calendars: {always: {always_open: true}}
policies: [{name: all, calendar: always, targets: {first_response: 1h}, at_risk: [50%]}]
alerts: {from: 2026-01-01T00:00:00Z, escalations: [{after: 0m, severity: page}, {after: 1h, severity: critical}]}
"""
START: Final = at("2026-03-02 09:00")
DEATHS: Final = 40  # more than any story has steps
OTHER: Final = elsewhere(EVE)

PAGED: Final = ["at_risk firing warning", "breach firing page", "escalation firing critical"]
Story = Callable[[Steered], Awaitable[None]]


def after(minutes: float) -> timedelta:
    return timedelta(minutes=minutes)


async def answered_late(desk: Steered) -> None:
    """Warned of, overdue, escalated, answered."""
    desk.append(event(1, "contact.opened", START, channel="email", customer_id=OTHER), OTHER)
    await settle(desk)
    for minutes in (31, 61, 121):
        await pass_time(desk, minutes)
    desk.now = START + after(130)
    desk.append(event(2, "message.sent", desk.now, agent_id="a", customer_id=OTHER), OTHER)
    await settle(desk)


async def moved_while_overdue(desk: Steered) -> None:
    """Overdue, then somebody says whose the contact is, another partition's; answered there."""
    desk.append(event(1, "contact.opened", START, channel="email", sender="eve@third.example"), EVE)
    await settle(desk)
    await pass_time(desk, 61)
    desk.now = START + after(70)
    desk.append(event(2, "contact.assigned", desk.now, queue="billing", customer_id=OTHER), OTHER)
    await settle(desk)
    await pass_time(desk, 121)
    desk.now = START + after(130)
    desk.append(event(3, "message.sent", desk.now, agent_id="a"), EVE)
    await settle(desk)


def dies_after(desk: Steered, step: str) -> None:
    """The process ends the next time that a batch has taken this step."""

    def dies(taken: str) -> None:
        if taken == step:
            desk.after_step = lambda _: None
            raise CrashError

    desk.after_step = dies


async def settle(desk: Steered) -> None:
    """Everything is read; whoever dies is followed by the next process."""
    while True:
        try:
            await desk.settle()
        except CrashError:
            desk.restart()
        else:
            return


async def pass_time(desk: Steered, minutes: float) -> None:
    desk.now = START + after(minutes)
    while True:
        try:
            await desk.pass_time(desk.now)
        except CrashError:
            desk.restart()
            await settle(desk)
        else:
            return


def pages(desk: Steered) -> dict[str, list[str]]:
    """What alerting says, by the customer in whose partition it does."""
    found: dict[str, list[str]] = {}
    for records in desk.log.topics["outcomes"]:
        by_clock = defaultdict(list)
        for record in records:
            content = orjson.loads(record.value or b"")
            by_clock[content["outcome_id"]].append(content)
        for contents in by_clock.values():
            found[contents[0]["customer_id"]] = said(*contents)
    return found


@pytest.mark.parametrize(
    ("story", "wanted"),
    [
        (answered_late, {OTHER: [*PAGED, "escalation resolved answered"]}),
        (moved_while_overdue, {
            EVE: [PAGED[1], "breach resolved superseded"],
            OTHER: [PAGED[1], PAGED[2], "escalation resolved answered"],
        }),
    ],
)  # fmt: skip
async def test_whichever_step_it_dies_after_each_page_is_said_once(story: Story, wanted: dict[str, list[str]]) -> None:
    died = []
    for death in range(DEATHS):
        desk = Steered(settings.parse(CONFIGURATION, file="test"), start=START)
        taken: list[str] = []

        def dies(step: str, taken: list[str] = taken, death: int = death) -> None:
            taken.append(step)
            if len(taken) == death:
                raise CrashError

        desk.after_step = dies
        await story(desk)
        assert pages(desk) == wanted, f"it died after {taken[:death]}"
        died += taken[death - 1 : death]
    assert set(died) >= {"outcomes", "journeys", "contacts", "journeys-table"}


async def test_what_was_said_of_a_contact_is_taken_back_though_its_customer_became_known_before_it_was_kept() -> None:
    desk = Steered(settings.parse(CONFIGURATION, file="test"), start=START)
    desk.append(event(1, "contact.opened", START, channel="email", sender="eve@third.example"), EVE)

    dies_after(desk, "outcomes")
    with pytest.raises(CrashError):
        await desk.settle()
    desk.told(customer(OTHER, EVE))
    desk.restart()
    await settle(desk)
    assert [(one["customer_id"], one["revision"], one["reason"]) for one in desk.records("outcomes")] == [
        (EVE, 1, "running"), (EVE, 2, "superseded"), (OTHER, 3, "running"),
    ]  # fmt: skip


async def test_what_was_said_of_a_contact_that_only_a_merge_named_is_taken_back_though_the_merge_is_elsewhere() -> None:
    desk = Steered(settings.parse(CONFIGURATION, file="test"), start=START)
    desk.append(event(1, "contact.opened", START, channel="email", sender="eve@third.example"), EVE)
    desk.append(event(2, "contact.merged", START, into="T-9"), EVE)
    dies_after(desk, "outcomes")
    with pytest.raises(CrashError):
        await desk.settle()
    desk.told(customer(OTHER, EVE))
    desk.restart()
    await settle(desk)
    said = [one for one in desk.records("outcomes") if one["contact_id"] == "T-9"]
    assert {one["customer_id"]: one["reason"] for one in said} == {EVE: "superseded", OTHER: "running"}
    assert desk.latest("outcomes", "outcome_id")[said[0]["outcome_id"]]["customer_id"] == OTHER


async def test_a_contact_that_had_left_is_forgotten_among_what_was_not_kept() -> None:
    desk = Steered(settings.parse(CONFIGURATION, file="test"), start=START)
    desk.append(event(1, "contact.opened", START, channel="email", sender="eve@third.example"), EVE)
    await settle(desk)
    desk.append(event(2, "contact.assigned", START - after(1), queue="billing", customer_id=OTHER), EVE)
    dies_after(desk, "contacts")
    with pytest.raises(CrashError):
        await desk.settle()
    desk.restart()
    assert [set(one.outcomes) for one in desk.track.desk.unkept.values() if one.outcomes] == [{"T-1"}]
    await settle(desk)
    assert not any(one.outcomes for one in desk.track.desk.unkept.values())


async def test_a_contact_that_was_about_to_leave_when_it_died_is_in_one_home_though_it_stays_after_all() -> None:
    names = (f"c-{number}" for number in range(100))
    near = next(name for name in names if partition_for(name.encode(), 2) == partition_for(EVE.encode(), 2))
    desk = Steered(settings.parse(CONFIGURATION, file="test"), start=START)
    desk.append(event(1, "contact.opened", START, channel="email", sender="eve@third.example"), EVE)
    await settle(desk)

    dies_after(desk, "contact-events")
    desk.now = START + after(3)
    desk.append(event(2, "contact.assigned", START + after(2), queue="billing", customer_id=OTHER), EVE)
    with pytest.raises(CrashError):
        await desk.settle()
    desk.append(event(3, "contact.assigned", START + after(1), queue="sales", customer_id=near), EVE)
    desk.restart()
    await settle(desk)
    assert {one["customer_id"] for one in desk.records("outcomes") if one["reason"] != "superseded"} == {EVE, near}
    desk.append(event(4, "message.sent", desk.now, agent_id="a"), EVE)
    await settle(desk)
    assert {one["verdict"] for one in desk.latest("outcomes", "outcome_id").values()} == {"kept"}
