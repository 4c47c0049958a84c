"""The alerting worker on the embedded broker, with a real receiver: what is told, when, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.alerts import Alert
from schemas.deliveries import Delivery
from schemas.topics import ALERTS, DELIVERIES
from tests.alerting.records import (
    DUE,
    LATE,
    alerts_of,
    answered,
    at_risk,
    attempt,
    ended,
    escalated,
    journey,
    outcome,
    overdue,
    silently_closed,
    superseded,
    taken,
)
from tests.alerting.worker import QUICK, SETTINGS, Worker, alerts_spec, pages, quiet, verified, webhook, worker
from tests.servers.receiver import Answer, Receiver, Request, Reset, Stall

FIRING, CRITICAL = ("breach", "firing", "page"), ("escalation", "firing", "critical")
RESOLVED = ("breach", "resolved", "page")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.sqlite3"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


async def until(true: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # what is waited for tells nobody
            await asyncio.sleep(0.01)


async def test_a_page_is_told_and_its_end(url: str, hook: Receiver) -> None:
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        await found.publish(at_risk(), overdue(2))
        await hook.arrived(lambda _: FIRING in pages(hook))
        await found.publish(ended(3))
        await hook.arrived(lambda _: RESOLVED in pages(hook))
        await quiet(found)
        alerts = [Alert.model_validate(record) for record in await found.read(ALERTS.name)]
        assert [(alert.kind, alert.state) for alert in alerts] == [
            ("at_risk", "firing"),
            ("breach", "firing"),
            ("breach", "resolved"),
        ]
        deliveries = [Delivery.model_validate(record) for record in await found.read(DELIVERIES.name)]
        assert [delivery.result for delivery in deliveries][-2:] == ["trying", "delivered"]
        assert not any(key.startswith(b"d:") for number in (0, 1) for key in found.alerting._table.partition(number))
        assert found.sample("responsiveness_alerts_total", kind="breach", state="firing") == 1
        assert found.sample("responsiveness_deliveries_total", receiver="hook", result="delivered") >= 2
        assert found.sample("responsiveness_delivery_delay_seconds_count") >= 2


async def test_alerts_are_recorded_without_any_receiver(url: str) -> None:
    async with worker(url, alerts_spec()) as found:
        await found.publish(overdue(), ended(2))
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="resolved"))
        assert [alert["state"] for alert in await found.read(ALERTS.name)] == ["firing", "resolved"]
        assert await found.read(DELIVERIES.name) == []


async def test_an_alert_is_written_to_the_partition_of_its_customer_with_its_key(url: str) -> None:
    async with worker(url, alerts_spec()) as found:
        await found.publish(overdue(customer_id="c-1"), overdue(customer_id="c-2", contact_id="T-2", outcome_id="o-2"))
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="firing") == 2)
        placed = []
        for topic in ("outcomes", "alerts"):
            batches = [batch async for batch in found.runtime.client.scan(topic)]
            placed.append({(batch.partition, key) for batch in batches for key in batch.keys})
        assert placed[0] == placed[1]
        assert {key for _, key in placed[1]} == {b"c-1", b"c-2"}


async def test_what_ended_before_the_start_pages_nobody(url: str, hook: Receiver) -> None:
    history = [overdue(), ended(2), journey(), answered(), overdue(contact_id="T-2", outcome_id="o-2")]
    settings = replace(SETTINGS, batch_records=1)  # each record is a batch of its own
    async with worker(url, alerts_spec(webhook(hook.url)), begin=history, settings=settings) as found:
        await hook.arrived(lambda requests: requests)
        await quiet(found)
        assert [verified(request)["contact_id"] for request in hook.requests] == ["T-2"]
        assert len(await found.read(ALERTS.name)) == 5


async def test_what_ended_while_the_receiver_was_away_is_not_told(url: str, hook: Receiver) -> None:
    hook.stop()
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        await found.publish(overdue(), overdue(contact_id="T-2", outcome_id="o-2"))
        await until(lambda: found.sample("responsiveness_deliveries_total", receiver="hook", result="not_taken") >= 2)
        await found.publish(ended(2))
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="resolved"))
        hook.start()
        await hook.arrived(lambda requests: requests)
        await quiet(found)
        assert [verified(request)["contact_id"] for request in hook.accepted] == ["T-2"]


@pytest.mark.parametrize("behaviour", [Reset(), Stall(), Answer(status=504)], ids=["reset", "stalled", "gateway"])
async def test_whoever_may_have_heard_a_page_hears_its_end(url: str, hook: Receiver, behaviour: Any) -> None:
    hook.always(behaviour)
    async with worker(url, alerts_spec(webhook(hook.url, timeout_seconds=0.2))) as found:
        await found.publish(overdue())
        await until(lambda: found.sample("responsiveness_deliveries_total", receiver="hook", result="unknown"))
        await found.publish(ended(2))
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="resolved"))
        hook.always(Answer())
        await hook.arrived(lambda _: RESOLVED in pages(hook))


async def test_a_page_that_was_being_sent_when_everything_stopped_is_ended_after_the_restart(
    url: str, hook: Receiver
) -> None:
    spec = alerts_spec(webhook(hook.url, timeout_seconds=30))
    hook.always(Stall())
    async with worker(url, spec) as found:
        await found.publish(overdue())
        await hook.arrived(lambda requests: requests)
        found.alerting.lanes["hook"]._running.cancel()  # type: ignore[union-attr]  # as a crash would
        await found.publish(ended(2))
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="resolved"))
    hook.always(Answer())
    hook.forget()
    async with worker(url, spec) as found:
        await hook.arrived(lambda _: pages(hook) == [RESOLVED])
        await quiet(found)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_refusal_that_may_pass_is_tried_again_until_it_is_taken(url: str, hook: Receiver, status: int) -> None:
    hook.next(*[Answer(status=status)] * 3)
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        await found.publish(overdue())
        await hook.arrived(lambda _: pages(hook))
        assert len({request.headers["webhook-id"] for request in hook.requests}) == 1
        assert len(hook.requests) == 4


@pytest.mark.parametrize("status", [302, 400, 401, 404, 410])
async def test_a_refusal_for_good_is_not_tried_again_and_holds_nothing_up(
    url: str, hook: Receiver, status: int
) -> None:
    hook.next(Answer(status=status))
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        await found.publish(overdue())
        await until(lambda: found.sample("responsiveness_deliveries_total", receiver="hook", result="rejected"))
        await found.publish(overdue(contact_id="T-2", outcome_id="o-2"))
        await hook.arrived(lambda _: pages(hook))
        await found.publish(ended(2))
        await quiet(found)
        assert [verified(request)["contact_id"] for request in hook.requests] == ["T-4711", "T-2"]


async def test_retry_after_is_honoured(url: str, hook: Receiver) -> None:
    hook.next(Answer(status=429, retry_after="1"))
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        await found.publish(overdue())
        first, second = (await hook.arrived(lambda requests: len(requests) == 2))[:2]
        assert second.arrived - first.arrived >= timedelta(seconds=0.95)


async def test_a_receiver_that_gives_no_answer_delays_no_other(url: str, hook: Receiver) -> None:
    with Receiver() as other:
        hook.always(Stall())
        spec = alerts_spec(webhook(hook.url, timeout_seconds=20), webhook(other.url, "other"))
        async with worker(url, spec) as found:
            await found.publish(overdue())
            await hook.arrived(lambda requests: requests)
            await found.publish(ended(2))
            await other.arrived(lambda _: RESOLVED in pages(other), seconds=5)
            assert hook.accepted == [hook.requests[0]]
            hook.always(Answer())


async def test_one_alert_that_is_never_taken_does_not_hold_up_the_rest(url: str, hook: Receiver) -> None:
    def behave(requests: list[Request]) -> bool:
        return any(verified(request)["contact_id"] == "T-2" for request in hook.accepted)

    hook.next(Answer(status=500))
    async with worker(url, alerts_spec(webhook(hook.url)), pace=QUICK) as found:
        await found.publish(overdue())
        await hook.arrived(lambda requests: requests)
        await found.publish(overdue(contact_id="T-2", outcome_id="o-2"))
        await hook.arrived(behave)
        await hook.arrived(lambda _: len(pages(hook)) == 2)


async def test_a_restart_tells_what_was_owed_and_nothing_twice(url: str, hook: Receiver) -> None:
    spec = alerts_spec(webhook(hook.url))
    async with worker(url, spec) as found:
        await found.publish(overdue())
        await hook.arrived(lambda _: pages(hook))
        await quiet(found)
        hook.stop()
        await found.publish(escalated(2), overdue(contact_id="T-2", outcome_id="o-2"))
        await until(lambda: found.sample("responsiveness_deliveries_total", receiver="hook", result="not_taken"))
    hook.start()
    async with worker(url, spec) as found:
        await hook.arrived(lambda _: len(pages(hook)) == 3)
        await quiet(found)
        assert pages(hook).count(FIRING) == 2
        assert pages(hook).count(CRITICAL) == 1
        assert len(hook.accepted) == 3
        assert len(await found.read(ALERTS.name)) == 3


async def test_an_answer_taken_back_pages_again_under_a_key_of_its_own(url: str, hook: Receiver) -> None:
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        for record in (overdue(), ended(2), overdue(3, bounced_at=LATE)):
            await found.publish(record)
            await quiet(found)
        assert pages(hook) == [FIRING, RESOLVED, FIRING, ("reply_bounced", "firing", "page")]
        assert len({verified(request)["alert_id"] for request in hook.requests}) == 2


async def test_a_new_receiver_hears_of_what_fires_and_a_removed_one_of_nothing(url: str, hook: Receiver) -> None:
    with Receiver() as other:
        async with worker(url, alerts_spec(webhook(hook.url))) as found:
            await found.publish(overdue())
            await hook.arrived(lambda _: pages(hook))
            await quiet(found)
        async with worker(url, alerts_spec(webhook(other.url, "other"))) as found:
            await other.arrived(lambda _: pages(other) == [FIRING])
            await found.publish(ended(2))
            await other.arrived(lambda _: pages(other) == [FIRING, RESOLVED])
            await quiet(found)
            assert pages(hook) == [FIRING]


async def test_alerts_recorded_while_there_was_no_receiver_are_told_to_the_first_one(url: str, hook: Receiver) -> None:
    async with worker(url, alerts_spec()) as found:
        await found.publish(overdue())
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="firing"))
    async with worker(url, alerts_spec(webhook(hook.url))):
        await hook.arrived(lambda _: pages(hook) == [FIRING])


async def test_the_first_route_that_matches_names_the_receivers(url: str, hook: Receiver) -> None:
    with Receiver() as other:
        routes = [
            {"match": {"tier": "gold"}, "receivers": ["hook"]},
            {"receivers": ["other"]},
        ]
        async with worker(url, alerts_spec(webhook(hook.url), webhook(other.url, "other"), routes=routes)) as found:
            await found.publish(overdue(), overdue(contact_id="T-2", outcome_id="o-2", tier=None))
            await hook.arrived(lambda requests: requests)
            await other.arrived(lambda requests: requests)
            await quiet(found)
            assert [verified(request)["contact_id"] for request in hook.requests] == ["T-4711"]
            assert [verified(request)["contact_id"] for request in other.requests] == ["T-2"]


async def test_whoever_a_warning_was_routed_to_hears_that_it_goes_on_elsewhere(url: str, hook: Receiver) -> None:
    with Receiver() as other:
        routes = [{"match": {"severity": "warning"}, "receivers": ["other"]}, {"receivers": ["hook"]}]
        async with worker(url, alerts_spec(webhook(hook.url), webhook(other.url, "other"), routes=routes)) as found:
            await found.publish(at_risk())
            await other.arrived(lambda requests: requests)
            await found.publish(overdue(2))
            await hook.arrived(lambda requests: requests)
            await other.arrived(lambda requests: len(requests) == 2)
            assert pages(other) == [("at_risk", "firing", "warning"), ("at_risk", "resolved", "warning")]
            assert verified(other.requests[1])["resolution"] == "superseded"
            await found.publish(ended(3))
            await hook.arrived(lambda _: pages(hook) == [FIRING, RESOLVED])
            await quiet(found)
            assert len(other.requests) == 2


OTHERS = [f"c-{number}" for number in range(40)]


def homes() -> tuple[str, str]:
    """Two customers of different partitions."""
    from streams.transport import partition_for

    first = next(name for name in OTHERS if partition_for(name.encode(), 2) == 0)
    second = next(name for name in OTHERS if partition_for(name.encode(), 2) == 1)
    return first, second


@pytest.mark.parametrize("order", ["the old home first", "the new home first"])
async def test_a_contact_that_moves_home_keeps_paging_until_it_is_answered(
    url: str, hook: Receiver, order: str
) -> None:
    old, new = homes()
    move = [superseded(2, customer_id=old), overdue(3, customer_id=new)]
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        await found.publish(overdue(customer_id=old))
        await hook.arrived(lambda requests: requests)
        for record in move if order == "the old home first" else reversed(move):
            await found.publish(record)
            await quiet(found)
        last = verified(hook.accepted[-1])
        assert (last["state"], last["customer_id"]) == ("firing", new)
        await found.publish(ended(4, customer_id=new))
        await hook.arrived(lambda _: verified(hook.accepted[-1])["state"] == "resolved")
        await quiet(found)
        assert verified(hook.accepted[-1])["customer_id"] == new


async def test_a_dead_end_that_moves_to_another_customer_of_the_same_partition_keeps_paging(
    url: str, hook: Receiver
) -> None:
    gone = journey(2, [])
    moved = journey(journey_id="j-2", customer_id="c-99")
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        for record in (journey(), moved, gone):
            await found.publish(record)
            await quiet(found)
        assert verified(hook.accepted[-1])["state"] == "firing"
        await found.publish(answered(2, journey_id="j-2", customer_id="c-99"))
        await hook.arrived(lambda _: verified(hook.accepted[-1])["state"] == "resolved")


async def test_records_that_nobody_understands_are_passed_over(url: str, hook: Receiver) -> None:
    broken: list[Any] = [{"outcome_id": "o-9", "customer_id": "c-17"}, {"outcome_id": 7, "customer_id": "c-17"}]
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        await found.publish(*broken, {**journey(), "attempts": None}, overdue())
        await hook.arrived(lambda _: pages(hook) == [FIRING])
        assert found.runtime.ready


async def test_a_silent_close_that_nobody_can_settle_any_more_is_let_go(url: str, hook: Receiver) -> None:
    async with worker(url, alerts_spec(webhook(hook.url)), late_after=timedelta(hours=1)) as found:
        await found.publish(silently_closed(), overdue(contact_id="T-2", outcome_id="o-2"))
        await quiet(found)
        await found.publish(outcome(contact_id="T-3", outcome_id="o-3"))
        await hook.arrived(lambda _: ("silent_close", "resolved", "page") in pages(hook))
        await quiet(found)
        keys = [key for number in (0, 1) for key in found.alerting._table.partition(number)]
        assert sorted(key[:2] for key in keys) == [b"d:", b"o:"]


async def test_a_thousand_breaches_at_once_are_told_each_once(url: str, hook: Receiver) -> None:
    names = ("contact_id", "outcome_id", "customer_id")
    records = [overdue(contact_id=f"T-{n}", outcome_id=f"o-{n}", customer_id=f"c-{n % 100}") for n in range(1000)]
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        await found.publish(*records)
        await hook.arrived(lambda requests: len(requests) >= 1000, seconds=60)
        await quiet(found)
        assert len(hook.requests) == 1000
        await found.publish(*[{**ended(2), **{name: record[name] for name in names}} for record in records])
        await hook.arrived(lambda requests: len(requests) >= 2000, seconds=60)
        await quiet(found)
        assert len(hook.requests) == 2000


async def test_a_dead_end_names_what_happened(url: str, hook: Receiver) -> None:
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        await found.publish(journey(attempts=[attempt(), attempt("form:2", DUE, "no_ticket")]))
        await hook.arrived(lambda _: len(pages(hook)) == 2)
        told = [verified(request)["summary"] for request in hook.requests]
        assert any("bounced" in words for words in told)
        assert any("no ticket" in words for words in told)


async def acknowledged(found: Worker) -> list[Any]:
    return [alert for alert in await found.read(ALERTS.name) if alert.get("acknowledged_at")]


async def test_a_page_that_somebody_has_is_not_escalated_and_receivers_are_told_who(url: str, hook: Receiver) -> None:
    async with worker(url, alerts_spec(webhook(hook.url))) as found:
        await found.publish(overdue())
        await hook.arrived(lambda _: FIRING in pages(hook))
        await found.publish(taken(verified(hook.requests[0])))
        await hook.arrived(lambda requests: verified(requests[-1]).get("acknowledged_by") == "ann")
        await found.publish(escalated(2), ended(3))
        await hook.arrived(lambda _: RESOLVED in pages(hook))
        await quiet(found)
        assert CRITICAL not in pages(hook)
        assert [alert["state"] for alert in await acknowledged(found)] == ["firing", "resolved"]


async def test_an_acknowledgement_survives_the_end_of_the_process(url: str) -> None:
    async with worker(url, alerts_spec()) as found:
        await found.publish(overdue())
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="firing") == 1)
        await found.publish(taken((await found.read(ALERTS.name))[0]))
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="firing") == 2)
    async with worker(url, alerts_spec()) as found:
        await found.publish(escalated(2), ended(3))
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="resolved"))
        kinds = [alert["kind"] for alert in await found.read(ALERTS.name)]
        assert kinds == ["breach", "breach", "breach"]


async def test_an_acknowledgement_that_is_read_before_its_alert_waits_for_it(url: str) -> None:
    """After a crash the topic of acknowledgements may be ahead of that of outcomes."""
    settings = replace(SETTINGS, batch_records=1)
    history = [*(overdue(outcome_id=f"o-{number}", contact_id=f"T-{number}") for number in range(30))]
    last = alerts_of(history[-1])[0]
    held: list[bytes] = []

    def hold_back(found: Worker) -> None:
        write = found.alerting._table.write

        async def watched(partition: int, changes: Any, *, fence: Any) -> None:
            held.extend(key for key in changes if key.startswith(b"k:"))
            await write(partition, changes, fence=fence)

        found.alerting._table.write = watched  # type: ignore[method-assign]

    begin = [taken(last), *history]
    async with worker(url, alerts_spec(), begin=begin, settings=settings, prepare=hold_back) as found:
        await until(lambda: found.alerting.live == found.runtime.partitions())
        [alert] = await acknowledged(found)
        assert (alert["contact_id"], alert["acknowledged_by"]) == ("T-29", "ann")
        assert held.count(b"k:" + last["alert_id"].encode()) == 2  # put aside, and done with
        assert not any(key.startswith(b"k:") for number in (0, 1) for key in found.alerting._table.partition(number))


async def test_an_acknowledgement_that_nobody_can_read_costs_nothing_else(url: str) -> None:
    async with worker(url, alerts_spec()) as found:
        broken = {"alert_id": 7, "customer_id": "c-17", "outcome_id": 5, "via": "http"}
        await found.publish(overdue(), broken, taken(alerts_of(overdue())[0]))
        await until(lambda: found.sample("responsiveness_alerts_total", kind="breach", state="firing") == 2)
