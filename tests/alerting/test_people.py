"""Receivers for people on the embedded broker: one notification a customer, digests, and the fallback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from schemas.deliveries import Delivery
from schemas.topics import DELIVERIES
from tests.alerting.records import LATE, at_risk, ended, escalated, overdue
from tests.alerting.worker import Worker, alerts_spec, pager, pages, quiet, verified, webhook, worker
from tests.servers.receiver import Answer, Receiver, Reset

FIRING, RESOLVED = ("breach", "firing", "page"), ("breach", "resolved", "page")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.sqlite3"


@pytest.fixture
def desk() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def chat(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "slack", "name": "chat", "urls": [url], "digest_every": "1s", **more}


def contact(number: int, customer: str = "c-17") -> dict[str, Any]:
    return {"contact_id": f"T-{number}", "outcome_id": f"o-{number}", "customer_id": customer}


def events(receiver: Receiver) -> list[dict[str, Any]]:
    return [request.json() for request in receiver.accepted]


def contacts_of(event: dict[str, Any]) -> list[str]:
    return [line["contact"] for line in event["payload"]["custom_details"]["contacts"]]


async def until(true: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # what is waited for tells nobody
            await asyncio.sleep(0.01)


async def told(found: Worker, *records: Any) -> None:
    await found.publish(*records)
    await quiet(found)


async def test_five_contacts_of_a_customer_are_one_incident_until_the_last_has_ended(url: str, desk: Receiver) -> None:
    async with worker(url, alerts_spec(pager(desk.url))) as found:
        await told(found, *(overdue(**contact(number)) for number in range(4)))
        await told(found, escalated(2, **contact(4)))
        for number in range(5):
            assert [event["event_action"] for event in events(desk)].count("resolve") == 0
            await told(found, ended(3, **contact(number)))
        got = events(desk)
        assert len({event["dedup_key"] for event in got}) == 1
        assert contacts_of(got[0]) == ["T-0", "T-1", "T-2", "T-3"], "of one batch, one event"
        assert contacts_of(got[1]) == ["T-4", "T-0", "T-1", "T-2", "T-3"]
        assert [event["event_action"] for event in got] == ["trigger"] * 6 + ["resolve"]
        assert not any(key.startswith(b"w:") for number in (0, 1) for key in found.alerting._table.partition(number))
        await told(found, overdue(4, **contact(5)))
        assert events(desk)[-1]["dedup_key"] != got[0]["dedup_key"], "a new episode"


async def test_who_is_overdue_anew_as_of_the_same_instant_is_no_repeat(url: str, desk: Receiver) -> None:
    async with worker(url, alerts_spec(pager(desk.url))) as found:
        await told(found, overdue())
        await told(found, ended(2))  # a late answer,
        await told(found, overdue(3))  # which had bounced before it was due
        got = events(desk)
        assert [event["event_action"] for event in got] == ["trigger", "resolve", "trigger"]
        assert got[0]["payload"]["timestamp"] == got[2]["payload"]["timestamp"]
        assert got[0]["dedup_key"] != got[2]["dedup_key"]


async def test_what_was_said_to_people_is_written_down_with_the_alerts_that_it_told(url: str, desk: Receiver) -> None:
    async with worker(url, alerts_spec(pager(desk.url))) as found:
        await told(found, overdue(**contact(1)), overdue(**contact(2)))
        deliveries = [Delivery.model_validate(record) for record in await found.read(DELIVERIES.name)]
        alerts = {record["alert_id"] for record in await found.read("alerts")}
        assert [delivery.result for delivery in deliveries] == ["trying", "delivered"]
        assert {delivery.customer_id for delivery in deliveries} == {"c-17"}
        assert all(set(delivery.alert_ids) == alerts for delivery in deliveries)


async def test_alertmanager_webhook_and_console_still_hear_of_each_alert(
    url: str, desk: Receiver, hook: Receiver
) -> None:
    async with worker(url, alerts_spec(pager(desk.url), webhook(hook.url))) as found:
        await told(found, *(overdue(**contact(number)) for number in range(3)))
        assert {verified(request)["contact_id"] for request in hook.requests} == {"T-0", "T-1", "T-2"}
        assert len(desk.requests) == 1


async def test_a_thousand_customers_in_a_second_are_a_few_messages_to_a_chat(url: str, desk: Receiver) -> None:
    def customers(make: Callable[..., Any], revision: int) -> list[Any]:
        return [make(revision, **contact(number, f"c-{number}")) for number in range(1_000)]

    def delivered(found: Worker) -> float:
        return found.sample("responsiveness_deliveries_total", receiver="chat", result="delivered")

    async with worker(url, alerts_spec(chat(desk.url))) as found:
        await found.publish(*customers(overdue, 1))
        await until(
            lambda: found.sample("responsiveness_deliveries_total", receiver="chat", result="delivered") == 1000
        )
        assert 1 <= len(desk.requests) <= 4
        assert sum(int(event["blocks"][0]["text"]["text"].split()[0]) for event in events(desk)) == 1000
        desk.forget()
        await found.publish(*customers(ended, 2))
        await until(
            lambda: found.sample("responsiveness_deliveries_total", receiver="chat", result="delivered") == 2000
        )
        assert 1 <= len(desk.requests) <= 4
        await quiet(found)


async def test_what_began_and_ended_within_a_digest_is_not_told(url: str, desk: Receiver) -> None:
    async with worker(url, alerts_spec(chat(desk.url, digest_every="5s"))) as found:
        await found.publish(overdue(**contact(1)), overdue(**contact(2, "c-2")))
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="firing") == 2)
        await found.publish(ended(2, **contact(1)))
        await quiet(found)
        [event] = events(desk)
        assert event["blocks"][0]["text"]["text"] == "PAGE: customer c-2"


async def test_a_restart_goes_on_with_the_same_incident_and_tells_nothing_twice(url: str, desk: Receiver) -> None:
    spec = alerts_spec(pager(desk.url))
    async with worker(url, spec) as found:
        await told(found, overdue(**contact(1)))
        desk.stop()
        await found.publish(overdue(**contact(2)))
        await until(lambda: found.sample("responsiveness_deliveries_total", receiver="pager", result="not_taken"))
    desk.start()
    async with worker(url, spec) as found:
        await desk.arrived(lambda requests: len(requests) == 2)
        await told(found, ended(2, **contact(1)), ended(2, **contact(2)))
        assert [event["event_action"] for event in events(desk)] == ["trigger", "trigger", "resolve"]
        assert contacts_of(events(desk)[1]) == ["T-1", "T-2"]
        assert len({event["dedup_key"] for event in events(desk)}) == 1


async def test_what_ended_while_the_pager_was_away_is_not_paged(url: str, desk: Receiver) -> None:
    desk.stop()
    async with worker(url, alerts_spec(pager(desk.url))) as found:
        await found.publish(overdue(**contact(1)), overdue(**contact(2, "c-2")))
        await until(lambda: found.sample("responsiveness_deliveries_total", receiver="pager", result="not_taken") >= 2)
        await found.publish(ended(2, **contact(1)))
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="resolved"))
        desk.start()
        await quiet(found)
        assert [event["payload"]["component"] for event in events(desk)] == ["c-2"]


async def test_whoever_may_have_heard_hears_the_end(url: str, desk: Receiver) -> None:
    desk.always(Reset())
    async with worker(url, alerts_spec(pager(desk.url))) as found:
        await found.publish(overdue(**contact(1)))
        await until(lambda: found.sample("responsiveness_deliveries_total", receiver="pager", result="unknown"))
        await found.publish(ended(2, **contact(1)))
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="resolved"))
        desk.always(Answer())
        await desk.arrived(lambda _: [event["event_action"] for event in events(desk)][-1:] == ["resolve"])


async def test_an_incident_is_acknowledged_once_somebody_has_every_line_of_it(url: str, desk: Receiver) -> None:
    def taken(alert: dict[str, Any]) -> dict[str, Any]:
        named = {name: alert[name] for name in ("alert_id", "customer_id", "outcome_id")}
        return {**named, "at": LATE, "by": "ann", "via": "http"}

    async with worker(url, alerts_spec(pager(desk.url))) as found:
        await told(found, overdue(**contact(1)), overdue(**contact(2)))
        first, second = await found.read("alerts")
        await told(found, taken(first))
        await told(found, taken(second))
        assert [event["event_action"] for event in events(desk)] == ["trigger", "trigger", "acknowledge"]
        assert len({event["dedup_key"] for event in events(desk)}) == 1
        await told(found, ended(2, **contact(1)), ended(2, **contact(2)))
        assert events(desk)[-1]["event_action"] == "resolve"


async def test_a_line_goes_when_its_alert_is_routed_elsewhere(url: str, desk: Receiver) -> None:
    with Receiver() as other:
        routes = [{"match": {"severity": "warning"}, "receivers": ["pager"]}, {"receivers": ["other"]}]
        spec = alerts_spec(pager(desk.url), pager(other.url, name="other"), routes=routes)
        async with worker(url, spec) as found:
            await told(found, at_risk(**contact(1)), at_risk(**contact(2)))
            await told(found, overdue(2, **contact(1)))
            assert contacts_of(events(desk)[-1])[0] == "T-2"
            assert events(desk)[-1]["payload"]["custom_details"]["contacts"][1]["state"] == "superseded"
            assert contacts_of(events(other)[-1]) == ["T-1"]
            await told(found, overdue(2, **contact(2)))
            assert events(desk)[-1]["event_action"] == "resolve"


async def test_a_new_receiver_hears_of_who_waits_and_a_removed_one_of_nothing(url: str, desk: Receiver) -> None:
    with Receiver() as other:
        async with worker(url, alerts_spec(pager(desk.url))) as found:
            await told(found, overdue(**contact(1)), overdue(**contact(2)))
        async with worker(url, alerts_spec(pager(other.url, name="other"))) as found:
            await other.arrived(lambda requests: requests)
            await quiet(found)
            assert [contacts_of(event) for event in events(other)] == [["T-1", "T-2"]]
            await told(found, ended(2, **contact(1)), ended(2, **contact(2)))
            assert [event["event_action"] for event in events(other)] == ["trigger", "resolve"]
            assert len(desk.requests) == 1


# -- the fallback


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_what_a_receiver_refuses_is_told_to_the_fallback_and_its_end_too(
    url: str, desk: Receiver, hook: Receiver, status: int
) -> None:
    hook.always(Answer(status=status))
    spec = alerts_spec(webhook(hook.url), pager(desk.url), routes=[{"receivers": ["hook"]}], fallback="pager")
    async with worker(url, spec) as found:
        await told(found, overdue(**contact(1)))
        [event] = events(desk)
        assert contacts_of(event) == ["T-1"]
        why = f"Told here because it could not be delivered to hook: answered {status}"
        assert event["payload"]["custom_details"]["undelivered"] == why
        hook.always(Answer())
        await told(found, escalated(2, **contact(1)))
        assert events(desk)[-1]["payload"]["severity"] == "critical", "it stays with the fallback"
        await told(found, ended(3, **contact(1)))
        assert [event["event_action"] for event in events(desk)] == ["trigger", "trigger", "resolve"]
        assert pages(hook)[-1] == ("escalation", "resolved", "critical")


async def test_what_takes_too_long_is_told_to_the_fallback_and_tried_on(
    url: str, desk: Receiver, hook: Receiver
) -> None:
    desk.stop()
    spec = alerts_spec(
        pager(desk.url), webhook(hook.url), routes=[{"receivers": ["pager"]}], fallback="hook", fallback_after="1s"
    )
    async with worker(url, spec) as found:
        await found.publish(*(overdue(**contact(number, f"c-{number}")) for number in range(20)))
        await hook.arrived(lambda _: len(pages(hook)) == 20, seconds=20)
        assert {verified(request)["annotations"]["undelivered"] for request in hook.requests} == {
            "pager: not reachable"
        }
        desk.start()
        await until(lambda: len(desk.accepted) == 20)
        await told(found, *(ended(2, **contact(number, f"c-{number}")) for number in range(20)))
        assert pages(hook) == [FIRING] * 20 + [RESOLVED] * 20
        assert [event["event_action"] for event in events(desk)].count("resolve") == 20
        late = [record for record in await found.read(DELIVERIES.name) if record["result"] == "late"]
        assert len(late) == 20, "each once"


async def test_what_changes_all_the_time_is_late_all_the_same(url: str, desk: Receiver, hook: Receiver) -> None:
    desk.stop()
    routes = [{"receivers": ["pager"]}]
    spec = alerts_spec(pager(desk.url), webhook(hook.url), routes=routes, fallback="hook", fallback_after="2s")
    async with worker(url, spec) as found:
        number = 0
        while not hook.requests:
            number += 1
            assert number < 100, "a customer who writes again and again is told to nobody"
            await found.publish(overdue(**contact(number)))
            await asyncio.sleep(0.2)
        await hook.arrived(lambda _: len({verified(request)["contact_id"] for request in hook.requests}) == number)
        desk.start()
        await quiet(found)
        assert len(contacts_of(events(desk)[-1])) == min(number, 20)


async def test_what_is_given_up_is_told_to_the_fallback(url: str, desk: Receiver, hook: Receiver) -> None:
    hook.stop()
    routes = [{"receivers": ["hook"]}]
    spec = alerts_spec(webhook(hook.url, retry_for="1s"), pager(desk.url), routes=routes, fallback="pager")
    async with worker(url, spec) as found:
        await found.publish(*(overdue(**contact(number)) for number in range(3)))
        await desk.arrived(lambda _: events(desk) and len(contacts_of(events(desk)[-1])) == 3, seconds=20)
        await quiet(found)
        assert found.sample("responsiveness_deliveries_total", receiver="hook", result="gave_up") == 3
        hook.start()
        await told(found, ended(2, **contact(1)))
        assert hook.requests == [], "whoever never heard of it hears no end"


async def test_the_fallback_itself_has_none_and_a_restart_tells_it_nothing_again(
    url: str, desk: Receiver, hook: Receiver
) -> None:
    hook.always(Answer(status=400))
    spec = alerts_spec(webhook(hook.url), pager(desk.url), routes=[{"receivers": ["hook"]}], fallback="pager")
    async with worker(url, spec) as found:
        desk.always(Answer(status=400))
        await told(found, overdue(**contact(1)))
        assert len(desk.requests) == 1
        desk.always(Answer())
        await told(found, overdue(**contact(2)))
        assert contacts_of(events(desk)[-1]) == ["T-1", "T-2"]
        desk.forget()
    async with worker(url, spec) as found:
        await quiet(found)
        assert desk.requests == []
        await told(found, ended(2, **contact(1)), ended(2, **contact(2)))
        assert [event["event_action"] for event in events(desk)] == ["resolve"]


async def test_a_receiver_that_takes_some_and_asks_to_be_spared_the_others_is_spared(url: str, desk: Receiver) -> None:
    desk.next(*[Answer()] * 5, *[Answer(status=429, retry_after="1")] * 15)
    async with worker(url, alerts_spec(pager(desk.url))) as found:
        await found.publish(*(overdue(**contact(number, f"c-{number}")) for number in range(20)))
        await desk.arrived(lambda _: len(desk.accepted) == 20, seconds=20)
        await quiet(found)
        arrived = [request.arrived for request in desk.requests]
        assert len(arrived) == 20 + 15
        assert max((later - earlier).total_seconds() for earlier, later in pairwise(arrived)) > 0.9


async def test_a_receiver_that_refuses_everything_for_now_is_only_probed(url: str, hook: Receiver) -> None:
    hook.always(Answer(status=500))
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        await found.publish(*(overdue(**contact(number)) for number in range(200)))
        await until(lambda: found.sample("responsiveness_receiver_away", receiver="hook") == 1)
        before, began = len(hook.requests), time.monotonic()
        await asyncio.sleep(1)
        tried = (len(hook.requests) - before) / (time.monotonic() - began)
        assert tried <= 12, "one at a time, at the pace of a receiver that is away"
        assert found.sample("responsiveness_deliveries_owed", receiver="hook") == 200
        hook.always(Answer())
        await until(lambda: len(pages(hook)) == 200)
        await quiet(found)
        assert found.sample("responsiveness_receiver_away", receiver="hook") == 0
        assert found.sample("responsiveness_deliveries_owed", receiver="hook") == 0
