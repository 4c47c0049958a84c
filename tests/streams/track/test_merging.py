"""Contacts of one customer merged into contacts of another, whose home must be found before anything is judged."""

from __future__ import annotations

from typing import Any

import pytest

from streams.transport import partition_for
from tests.streams.track.steered import Steered, event
from tests.streams.track.test_agent import EVE, START, elsewhere, minutes, steered, verdicts

MINE = "c-1"
OTHER = elsewhere(MINE)


def opened(desk: Steered, number: int, minute: int, contact: str, who: str, **more: Any) -> None:
    data = {"channel": "ticket", "customer_id": who, **more}
    desk.append(event(number, "contact.opened", START + minutes(minute), contact, **data), who)


def merged(desk: Steered, number: int, minute: int, contact: str, who: str, into: str, **more: Any) -> None:
    data = {"customer_id": who, "into": into, **more}
    desk.append(event(number, "contact.merged", START + minutes(minute), contact, **data), who)


def sent(desk: Steered, number: int, minute: int, contact: str, who: str, **more: Any) -> None:
    data = {"agent_id": "a", "customer_id": who, **more}
    desk.append(event(number, "message.sent", START + minutes(minute), contact, **data), who)


def waiting(desk: Steered) -> dict[str, str]:
    """The customers' journeys that nobody answered, by where the first attempt is."""
    found = desk.latest("journeys", "journey_id").values()
    return {
        one["attempts"][0]["contact_id"]: one["customer_id"]
        for one in found
        if one["attempts"] and one["state"] == "waiting"
    }


@pytest.mark.parametrize("target_first", [True, False])
async def test_what_is_merged_finds_the_contact_of_a_customer_that_the_merge_does_not_name(target_first: bool) -> None:
    desk = steered()
    desk.now = START + minutes(10)
    if target_first:
        opened(desk, 1, 5, "T-2", OTHER)
        await desk.settle()
    opened(desk, 2, 0, "T-1", MINE)
    merged(desk, 3, 6, "T-1", MINE, "T-2")
    await desk.settle()
    if not target_first:
        opened(desk, 1, 5, "T-2", OTHER)
        await desk.settle()
    assert verdicts(desk)["T-2 first_response:1"] == ("open", "running", OTHER)
    assert waiting(desk) == {"T-2": OTHER}
    started = {one["started_at"] for one in desk.latest("outcomes", "outcome_id").values()}
    assert started == {"2026-03-02T09:00:00Z"}  # when the merged customer wrote first


async def test_what_was_merged_into_another_customers_contact_is_late_once_and_never_after_the_answer() -> None:
    desk = steered()
    opened(desk, 1, 0, "T-1", MINE)
    opened(desk, 2, 0, "T-2", OTHER)
    merged(desk, 3, 0, "T-1", MINE, "T-2")
    await desk.settle()
    desk.now = START + minutes(30)
    sent(desk, 4, 30, "T-2", OTHER)
    await desk.settle()
    await desk.pass_time(START + minutes(240))
    assert verdicts(desk) == {
        "T-1 first_response:1": ("void", "ended", MINE),
        "T-2 first_response:1": ("kept", "ended", OTHER),
    }
    assert [one for one in desk.records("outcomes") if one["stage"] in ("overdue", "escalated")] == []
    assert waiting(desk) == {}


async def test_merges_that_contradict_each_other_about_whose_an_unknown_contact_is_come_to_the_earliest() -> None:
    desk = steered()
    desk.now = START + minutes(30)
    opened(desk, 1, 0, "T-1", MINE)
    merged(desk, 2, 20, "T-1", MINE, "T-9")
    await desk.settle()
    assert verdicts(desk)["T-9 first_response:1"] == ("open", "running", MINE)
    opened(desk, 3, 5, "T-2", OTHER)
    merged(desk, 4, 10, "T-2", OTHER, "T-9")
    await desk.settle()
    assert verdicts(desk)["T-9 first_response:1"] == ("open", "running", OTHER)
    assert waiting(desk) == {"T-9": OTHER}


async def test_a_contact_that_names_nobody_is_the_customers_whose_contact_was_merged_into_it() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, "T-2", channel="ticket"), None)
    await desk.settle()
    opened(desk, 2, 0, "T-1", MINE)
    merged(desk, 3, 0, "T-1", MINE, "T-2")
    await desk.settle()
    assert verdicts(desk)["T-2 first_response:1"] == ("open", "running", MINE)
    assert waiting(desk) == {"T-2": MINE}


async def test_what_was_merged_follows_a_contact_that_turns_out_to_be_another_customers() -> None:
    desk = steered()
    opened(desk, 1, 0, "T-1", MINE)
    merged(desk, 2, 0, "T-1", MINE, "T-2", into_customer_id=MINE)
    desk.append(event(3, "contact.updated", START, "T-2", priority="high", customer_id=MINE), MINE)
    await desk.settle()
    desk.append(event(4, "contact.assigned", START - minutes(1), "T-2", agent_id="a", customer_id=OTHER), OTHER)
    await desk.settle()
    assert verdicts(desk)["T-2 first_response:1"] == ("open", "running", OTHER)


async def test_an_answer_that_bounced_in_another_customers_contact_is_taken_back_where_it_was_given() -> None:
    desk = steered()
    desk.now = START + minutes(20)
    opened(desk, 1, 0, "T-1", MINE)
    sent(desk, 2, 1, "T-1", MINE, message_id="m-1")
    merged(desk, 3, 10, "T-1", MINE, "T-2", into_customer_id=OTHER)
    await desk.settle()
    data = {"direction": "outbound", "message_id": "m-1", "customer_id": OTHER}
    desk.append(event(4, "message.bounced", START + minutes(20), "T-2", **data), OTHER)
    await desk.settle()
    found = [one for one in desk.latest("outcomes", "outcome_id").values() if one["target"] == "first_response"]
    ended = {one["contact_id"]: one["ended_at"] for one in found}
    assert ended == {"T-1": "2026-03-02T09:10:00Z", "T-2": None}


async def test_a_link_ties_no_contact_to_another_customers_into_which_its_end_was_merged() -> None:
    desk = steered()
    opened(desk, 1, 0, "T-1", MINE)
    opened(desk, 2, 0, "T-2", OTHER)
    opened(desk, 3, 0, "T-3", OTHER, sender=EVE)
    merged(desk, 4, 1, "T-3", OTHER, "T-2", into_customer_id=MINE)  # which it is not
    desk.append(event(5, "contact.linked", START, "T-3", contact_id="T-1", customer_id=OTHER), OTHER)
    desk.now = START + minutes(5)
    sent(desk, 6, 5, "T-3", OTHER)
    await desk.settle()
    assert verdicts(desk)["T-1 first_response:1"] == ("open", "running", MINE)
    assert verdicts(desk)["T-2 first_response:1"] == ("kept", "ended", OTHER)


async def test_a_contact_that_is_leaving_is_sent_once_though_one_that_it_is_linked_with_left_before() -> None:
    desk = steered()
    for contact, other in (("T-1", "T-2"), ("T-2", "T-1")):
        opened(desk, int(contact[-1]), 0, contact, MINE)
        desk.append(event(10, "contact.linked", START, contact, contact_id=other, customer_id=MINE), MINE)
    await desk.settle()
    for contact in ("T-1", "T-2"):
        data = {"agent_id": "a", "customer_id": OTHER}
        desk.append(event(20, "contact.assigned", START - minutes(1), contact, **data), MINE)
    home = partition_for(MINE.encode(), 2)
    assert await desk.read(home, 2)
    while await desk.read(home, 1):
        pass
    headers = [record.headers for record in desk.log.topics["contact-events"][home]]
    assert headers.count([("heardback.leaves", b"1")]) == 2
    await desk.settle()
    assert verdicts(desk)["T-2 first_response:1"] == ("open", "running", OTHER)
