"""The live pipeline, rule by rule: nothing lost, nothing said twice, nobody left without a wake-up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from schemas.customers import Customer
from streams import settings
from streams.track.gather import FORWARDED_BYTES_MAX
from streams.track.moving import HOPS, LEAVES, MOVED
from streams.track.seats import GIVE_WAY, SEAT
from streams.track.waking import SOURCE
from streams.transport import Record, partition_for
from tests.streams.track.steered import Steered, at, event

CONFIGURATION = """
calendars: {always: {always_open: true}}
policies:
  - {name: gold, match: {tier: [gold]}, calendar: always, targets: {first_response: 15m}}
  - {name: all, calendar: always, dead_end_after: 30m, targets: {first_response: 1h, next_response: 1h}}
limits: {late_after: 24h}
"""
START = at("2026-03-02 09:00")
EVE = "mailto:eve@third.example"


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def customer(customer_id: str, *identities: str, tier: str | None = None) -> Customer:
    return Customer(customer_id=customer_id, name=customer_id, kind="external", tier=tier, identities=list(identities))


def steered(configuration: str = CONFIGURATION, partitions: int = 2) -> Steered:
    return Steered(settings.parse(configuration.encode(), file="test"), start=START, partitions=partitions)


def elsewhere(key: str) -> str:
    """A customer whose home is the other partition."""
    names = (f"c-{number}" for number in range(100))
    return next(name for name in names if partition_for(name.encode(), 2) != partition_for(key.encode(), 2))


def verdicts(desk: Steered) -> dict[str, tuple[str, str, str]]:
    """Verdict, stage and customer of each clock, as the topic says them last."""
    return {
        f"{one['contact_id']} {one['target']}:{one['cycle']}": (one["verdict"], one["stage"], one["customer_id"])
        for one in desk.latest("outcomes", "outcome_id").values()
    }


async def test_a_repeat_of_an_event_that_only_its_key_names_the_customer_of_is_no_other_event() -> None:
    desk = steered()
    told = event(1, "contact.opened", START, channel="ticket")
    for _ in range(2):
        desk.append(told, "c-1")
        await desk.settle()
    assert desk.refused() == []
    assert verdicts(desk) == {"T-1 first_response:1": ("open", "running", "c-1")}


async def test_a_customer_that_became_known_while_nobody_ran_is_joined_at_the_next_start() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="email", sender="eve@third.example"), EVE)
    await desk.settle()
    desk.told(customer("c-1", EVE))
    desk.restart()
    await desk.pass_time(START + minutes(1))
    assert verdicts(desk)["T-1 first_response:1"][2] == "c-1"


async def test_a_tier_that_changed_while_nobody_ran_acts_at_the_next_start() -> None:
    desk = steered()
    desk.told(customer("c-1"))
    desk.append(event(1, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    await desk.settle()
    desk.now += minutes(5)
    desk.told(customer("c-1", tier="gold"))
    desk.restart()
    await desk.pass_time(START + minutes(16))
    assert verdicts(desk) == {"T-1 first_response:1": ("broken", "overdue", "c-1")}


async def test_a_tier_that_is_told_first_while_nobody_runs_holds_also_for_what_is_over() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    desk.now += minutes(20)
    desk.append(event(2, "message.sent", desk.now, agent_id="a", customer_id="c-1"), "c-1")
    await desk.settle()
    assert verdicts(desk) == {"T-1 first_response:1": ("kept", "ended", "c-1")}
    desk.told(customer("c-1", tier="gold"))
    desk.restart()
    await desk.pass_time(START + minutes(21))
    assert verdicts(desk) == {"T-1 first_response:1": ("broken", "ended", "c-1")}, "15 minutes were promised"


async def test_a_tier_that_a_contact_learns_of_is_also_its_journeys() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    await desk.settle()
    desk.told(customer("c-1", tier="gold"))
    desk.restart()
    desk.append(event(2, "contact.rated", START, score=1, customer_id="c-1"), "c-1")
    await desk.settle()
    desk.restart()  # what was to be looked at again is forgotten, and the contact knows
    await desk.pass_time(START + minutes(1))
    [journey] = desk.latest("journeys", "journey_id").values()
    assert journey["tier"] == "gold"


async def test_a_customer_that_becomes_known_during_the_batch_that_brings_his_first_contact_is_joined() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="email", sender="eve@third.example"), EVE)
    send = desk.log.send

    async def meanwhile(topic: str, *args: Any, **kwargs: Any) -> None:
        await send(topic, *args, **kwargs)
        if topic == "outcomes" and "c-1" not in desk.customers.directory.customers:
            await desk.tell(customer("c-1", EVE))

    desk.log.send = meanwhile  # type: ignore[method-assign]
    await desk.settle()
    await desk.pass_time(START + minutes(1))
    assert verdicts(desk)["T-1 first_response:1"][2] == "c-1"


async def test_an_identity_that_another_customer_claims_too_moves_to_who_holds_it_now() -> None:
    desk = steered()
    await desk.tell(customer("c-5", EVE))
    desk.append(event(1, "contact.opened", START, channel="email", sender="eve@third.example"), "c-5")
    await desk.settle()
    await desk.tell(customer("c-4", EVE))
    await desk.pass_time(START + minutes(1))
    assert verdicts(desk)["T-1 first_response:1"][2] == "c-4"


async def test_changed_customers_stop_no_worker_that_has_lost_its_partition() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="email", sender="eve@third.example"), EVE)
    await desk.settle()
    desk.log.lost = True
    await desk.tell(customer("c-1", EVE))
    desk.log.lost = False
    await desk.pass_time(START + minutes(1))
    assert verdicts(desk)["T-1 first_response:1"][2] == "c-1"


async def test_a_copy_that_was_merged_into_another_customers_contact_is_never_woken() -> None:
    desk = steered()
    other = elsewhere("c-1")
    desk.append(event(1, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    desk.append(
        event(2, "contact.merged", START + minutes(1), customer_id="c-1", into="T-2", into_customer_id=other), "c-1"
    )
    await desk.settle()
    await desk.tell(customer(other, tier="gold"), customer("c-1", tier="gold"))
    await desk.pass_time(START + minutes(2))
    assert desk.refused() == []


async def test_a_contact_may_be_called_like_a_customer() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, "customer:1", channel="email", customer_id="c-1"), "c-1")
    await desk.settle()
    await desk.pass_time(START + minutes(61))
    assert verdicts(desk) == {"customer:1 first_response:1": ("broken", "overdue", "c-1")}


@pytest.mark.parametrize(
    "headers", [[(MOVED, b"1")], [(MOVED, b"1"), (HOPS, b"1")], [(HOPS, b"many")], [(HOPS, b"-9")]]
)
async def test_headers_of_ours_that_somebody_else_made_up_stop_nothing(headers: list[tuple[str, bytes]]) -> None:
    desk = steered()
    value = orjson.dumps(event(1, "contact.opened", START, channel="email", customer_id="c-1"))
    record = Record(key=b"c-1", value=value, headers=headers, timestamp_ms=int(START.timestamp() * 1000))
    desk.log.topics["contact-events"][0].append(record)
    desk.append(event(2, "contact.opened", START, "T-2", channel="email", customer_id="c-2"), "c-2")
    await desk.settle()
    assert "T-2 first_response:1" in verdicts(desk)
    assert len(desk.refused()) == (headers[0][0] == MOVED)


@pytest.mark.parametrize("header", [MOVED, LEAVES, SEAT, GIVE_WAY])
@pytest.mark.parametrize("value", [b"", b"7", b"[1, 2]", b"[[1, 2, 3]]", b'["T-1"]', b"c-1\n[]", b'{"a": 1, "b": 2}'])
async def test_whatever_is_behind_a_header_of_ours_stops_nothing(header: str, value: bytes) -> None:
    desk = steered()
    desk.log.topics["contact-events"][0].append(Record(key=b"c-1", value=value, headers=[(header, b"1")]))
    desk.append(event(2, "contact.opened", START, "T-2", channel="email", customer_id="c-2"), "c-2")
    await desk.settle()
    assert "T-2 first_response:1" in verdicts(desk)


async def test_a_wake_up_from_beyond_the_log_makes_nobody_late() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    desk.append(event(2, "deadline.reached", START + minutes(500)) | {"source": "/heardback"}, "c-1")
    await desk.settle()
    assert verdicts(desk) == {"T-1 first_response:1": ("open", "running", "c-1")}
    assert desk.refused() == ["from_the_future"]


async def test_a_wake_up_for_a_contact_that_nobody_knows_stops_nothing() -> None:
    desk = steered()
    desk.append(event(1, "deadline.reached", START, "gone") | {"source": SOURCE}, "c-1")
    desk.append(event(2, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    await desk.settle()
    assert verdicts(desk) == {"T-1 first_response:1": ("open", "running", "c-1")}


@pytest.mark.parametrize("beside", [0, 1])
async def test_an_event_that_leaves_no_room_for_headers_of_ours_beside_its_own_is_refused(beside: int) -> None:
    desk = steered()
    value = orjson.dumps(event(1, "contact.opened", START, channel="email", customer_id="c-1"))
    headers = [("trace", b"x" * (FORWARDED_BYTES_MAX - len(value) - len(b"c-1") - len("trace") + beside))]
    record = Record(key=b"c-1", value=value, headers=headers, timestamp_ms=int(START.timestamp() * 1000))
    desk.log.topics["contact-events"][partition_for(b"c-1", 2)].append(record)
    await desk.settle()
    assert desk.refused() == ["record_too_large"] * beside


async def test_how_late_a_wake_up_was_is_measured_from_its_instant() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    await desk.settle()
    await desk.pass_time(START + minutes(65))
    assert desk.registry.get_sample_value("responsiveness_deadline_delay_seconds_count") == 1
    assert desk.registry.get_sample_value("responsiveness_deadline_delay_seconds_sum") == 5 * 60


SOMETIMES = """
calendars:
  always: {always_open: true}
  sometimes: {time_zone: UTC, open: {"2026-03-03": ["10:00-11:00"]}}
policies:
  - {name: bad, match: {channel: [chat]}, calendar: sometimes, targets: {first_response: 8h}}
  - {name: all, calendar: always, targets: {first_response: 1h}}
limits: {late_after: 24h}
"""


async def test_what_no_calendar_can_judge_is_refused_event_by_event_and_costs_no_other_contact() -> None:
    desk = steered(SOMETIMES)
    for number, (contact, channel) in enumerate([("T-1", "email"), ("T-2", "chat"), ("T-3", "email")]):
        desk.append(event(number, "contact.opened", START, contact, channel=channel, customer_id="c-1"), "c-1")
    desk.append(event(9, "message.received", START, "T-2", customer_id="c-1"), "c-1")
    await desk.settle()
    assert set(verdicts(desk)) == {"T-1 first_response:1", "T-3 first_response:1"}
    assert desk.refused() == ["calendar_never_opens", "calendar_never_opens"]


async def test_a_promise_that_is_no_longer_made_leaves_no_clock_open() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    await desk.settle()
    await desk.pass_time(START + minutes(61))
    desk.configuration = settings.parse(CONFIGURATION.replace("first_response: 1h, ", "").encode(), file="test")
    desk.restart()
    desk.append(event(2, "contact.updated", START + minutes(61), queue="sales", customer_id="c-1"), "c-1")
    await desk.settle()
    assert verdicts(desk) == {"T-1 first_response:1": ("void", "ended", "c-1")}


async def test_what_was_merged_is_forgotten_together_so_that_no_outcome_changes() -> None:
    desk = steered()
    told = [
        ("T-1", 0, "contact.opened", {"channel": "email"}),
        ("T-2", 10, "contact.opened", {"channel": "email"}),
        ("T-1", 20, "contact.merged", {"into": "T-2"}),
        ("T-2", 30, "message.sent", {"agent_id": "a-1"}),
        ("T-2", 60, "contact.resolved", {}),
    ]
    for number, (contact, minute, kind, data) in enumerate(told):
        desk.now = START + minutes(minute)
        desk.append(event(number, kind, desk.now, contact, customer_id="c-1", **data), "c-1")
        await desk.settle()
    before = desk.records("outcomes")
    for hours in range(1, 60):
        await desk.pass_time(START + timedelta(hours=hours))
    assert desk.records("outcomes") == before
    kept = {name: [item.type for item in contact.facts] for name, contact in desk.track.group_of("T-2").items()}
    assert kept == {"T-1": ["contact.merged"], "T-2": []}


async def test_a_clock_that_arrives_late_is_not_late_before_its_answer_could_be_heard() -> None:
    desk = steered()
    await desk.tell(customer("c-1"))
    desk.append(event(1, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    desk.append(event(2, "message.sent", START + minutes(1), agent_id="a-1", customer_id="c-1"), "c-1")
    desk.now = START + minutes(2)
    await desk.settle()
    desk.now = START + minutes(300)
    await desk.tell(customer("c-1"))
    await desk.pass_time(desk.now)  # woken long after what comes now
    desk.append(event(3, "message.received", START + minutes(100), customer_id="c-1"), "c-1")
    desk.append(event(4, "message.sent", START + minutes(110), agent_id="a-1", customer_id="c-1"), "c-1")
    await desk.settle(most=1)
    await desk.pass_time(desk.now)
    said = [(one["target"], one["verdict"]) for one in desk.records("outcomes")]
    assert said == [("first_response", "kept"), ("next_response", "open"), ("next_response", "kept")]


async def test_a_clock_that_arrives_late_and_is_not_answered_is_broken_by_the_next_wake_up() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    desk.append(event(2, "message.sent", START + minutes(1), agent_id="a-1", customer_id="c-1"), "c-1")
    await desk.settle()
    desk.now = START + minutes(300)
    await desk.tell(customer("c-1"))
    await desk.pass_time(desk.now)
    desk.append(event(3, "message.received", START + minutes(100), customer_id="c-1"), "c-1")
    await desk.settle()
    assert verdicts(desk)["T-1 next_response:1"][:2] == ("open", "running")
    await desk.pass_time(desk.now + minutes(1))
    assert verdicts(desk)["T-1 next_response:1"][:2] == ("broken", "overdue")


async def test_a_wake_up_left_in_the_log_makes_nobody_late_whose_answer_is_behind_it() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    await desk.settle()
    desk.now = START + minutes(61)
    await desk.track.send_wake_ups()  # the process ends before it reads them
    desk.now = START + minutes(70)
    desk.append(event(2, "message.sent", START + minutes(65), agent_id="a", customer_id="c-1"), "c-1")
    desk.restart()
    await desk.settle(most=1)
    await desk.pass_time(START + minutes(80))
    assert verdicts(desk) == {"T-1 first_response:1": ("broken", "ended", "c-1")}
    assert not any(one["stage"] in ("overdue", "escalated") for one in desk.records("outcomes")), "a false page"


async def test_who_still_waits_after_a_restart_is_late_though_a_wake_up_was_left_in_the_log() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    await desk.settle()
    desk.now = START + minutes(61)
    await desk.track.send_wake_ups()
    desk.restart()
    await desk.settle(most=1)
    await desk.pass_time(START + minutes(62))
    assert verdicts(desk) == {"T-1 first_response:1": ("broken", "overdue", "c-1")}


async def test_a_clock_that_is_set_back_takes_nothing_back_and_the_answer_still_ends_it() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="email", customer_id="c-1"), "c-1")
    await desk.settle()
    await desk.pass_time(START + minutes(61))
    assert verdicts(desk) == {"T-1 first_response:1": ("broken", "overdue", "c-1")}
    desk.now = START + minutes(20)
    desk.append(event(2, "contact.rated", START + minutes(20), score=0.5, customer_id="c-1"), "c-1")
    await desk.settle()
    desk.restart()
    await desk.settle()
    assert verdicts(desk) == {"T-1 first_response:1": ("broken", "overdue", "c-1")}
    assert [one["stage"] for one in desk.records("outcomes")].count("overdue") == 1, "told again"
    desk.append(event(3, "message.sent", START + minutes(21), agent_id="a", customer_id="c-1"), "c-1")
    await desk.settle()
    assert verdicts(desk)["T-1 first_response:1"] == ("kept", "ended", "c-1")


async def test_a_journey_that_waited_is_answered_also_where_later_contacts_were_forgotten() -> None:
    desk = steered(partitions=1)
    day = timedelta(days=1)
    told = [
        (0, "T-2", "contact.opened", {"channel": "email", "sender": "eve@third.example"}),
        (1, "T-1", "contact.opened", {"channel": "email", "customer_id": "c-1"}),
        (2, "T-1", "message.sent", {"customer_id": "c-1", "agent_id": "a-1"}),
        (3, "T-1", "contact.resolved", {"customer_id": "c-1"}),
    ]
    for number, (minute, contact, kind, data) in enumerate(told):
        desk.append(event(number, kind, START + minutes(minute), contact, **data), None)
    await desk.settle()
    for days in range(1, 4):
        await desk.pass_time(START + days * day)
    assert desk.track.group_of("T-1")["T-1"].facts == []
    await desk.tell(customer("c-1", EVE))
    await desk.pass_time(START + 3 * day + minutes(1))
    desk.append(event(9, "message.sent", desk.now, "T-2", customer_id="c-1", agent_id="a-1"), None)
    await desk.settle()
    came = {
        (one["customer_id"], one["started_at"]): (one["state"], len(one["attempts"]))
        for one in desk.latest("journeys", "journey_id").values()
    }
    assert came["c-1", "2026-03-02T09:00:00Z"] == ("answered", 1)


async def test_customers_with_nothing_left_leave_the_table_of_journeys() -> None:
    desk = steered(partitions=1)
    told = [("contact.opened", {"channel": "email"}), ("message.sent", {"agent_id": "a-1"}), ("contact.resolved", {})]
    for number, (kind, data) in enumerate(told):
        desk.append(event(number, kind, START + minutes(number), customer_id="c-1", **data), None)
    await desk.settle()
    for days in range(1, 9):
        await desk.pass_time(START + timedelta(days=days))
    assert dict(desk.log.tables["journeys"].partition(0)) == {}


async def test_events_of_one_contact_that_name_different_customers_come_together_in_one_home() -> None:
    desk = steered()
    other = elsewhere(EVE)
    desk.append(event(1, "contact.opened", START, channel="email", sender="eve@third.example"), EVE)
    await desk.settle()
    desk.now = START + minutes(5)
    desk.append(event(2, "message.sent", START + minutes(5), agent_id="a", customer_id=other), other)
    await desk.settle()
    await desk.pass_time(START + minutes(90))
    assert verdicts(desk) == {"T-1 first_response:1": ("kept", "ended", other)}


async def test_an_event_that_names_nobody_finds_its_contact_wherever_it_lives() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="ticket", customer_id="c-1"), "c-1")
    await desk.settle()
    desk.now = START + minutes(5)
    desk.append(event(2, "message.sent", START + minutes(5), agent_id="a"), None)
    await desk.settle()
    assert verdicts(desk) == {"T-1 first_response:1": ("kept", "ended", "c-1")}
    assert desk.refused() == []


async def test_a_contact_that_names_nobody_stands_for_its_customer_until_somebody_does() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="ticket"), None)
    await desk.settle()
    assert verdicts(desk) == {"T-1 first_response:1": ("open", "running", "contact:T-1")}
    desk.append(event(2, "contact.updated", START + minutes(1), priority="high", customer_id="c-1"), "c-1")
    desk.now = START + minutes(1)
    await desk.settle()
    assert verdicts(desk) == {"T-1 first_response:1": ("open", "running", "c-1")}


async def test_seats_are_forgotten_when_no_event_can_come_for_them_any_more() -> None:
    desk = steered()
    desk.append(event(1, "contact.opened", START, channel="ticket", customer_id="c-1"), "c-1")
    await desk.settle()
    seats = [key for partition in range(2) for key in desk.track.desk.seats.partition(partition)]
    assert seats == [b"T-1"]
    desk.now = START + timedelta(days=61)
    for number, customer in enumerate(["c-1", elsewhere("c-1")], start=2):
        later = event(number, "contact.opened", desk.now, contact=f"T-{number}", channel="ticket", customer_id=customer)
        desk.append(later, customer)
    await desk.settle()
    seats = sorted(key for partition in range(2) for key in desk.track.desk.seats.partition(partition))
    assert seats == [b"T-2", b"T-3"]
