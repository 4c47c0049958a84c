"""The alerting worker on real Kafka: alone, and two that share the partitions and lose each other."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from streams.transport import TransportSettings
from tests.alerting.records import ended, overdue
from tests.alerting.worker import SETTINGS, alerts_spec, pager, pages, quiet, verified, webhook, worker
from tests.servers.kafka import Kafka
from tests.servers.receiver import Receiver

pytestmark = pytest.mark.kafka


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def settings() -> TransportSettings:
    return replace(
        SETTINGS, partitions=4, topic_prefix=f"{uuid.uuid4().hex[:8]}-", session_timeout_seconds=6.0,
        request_timeout_seconds=5.0,
    )  # fmt: skip


async def until(true: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # what is waited for tells nobody
            await asyncio.sleep(0.02)


def contact(number: int, make: Callable[..., Any], revision: int) -> Any:
    return make(revision, outcome_id=f"o-{number}", contact_id=f"T-{number}", customer_id=f"c-{number}")


async def test_a_page_is_told_and_its_end(kafka: Kafka, settings: TransportSettings, hook: Receiver) -> None:
    spec = alerts_spec(webhook(hook.url))
    async with worker(kafka.url, spec, settings=settings) as found:
        await found.publish(overdue())
        await hook.arrived(lambda _: len(pages(hook)) == 1, seconds=60)
    async with worker(kafka.url, spec, settings=settings) as found:
        await found.publish(ended(2))
        await hook.arrived(lambda _: len(pages(hook)) == 2, seconds=60)
        await asyncio.sleep(0.5)
    assert pages(hook) == [("breach", "firing", "page"), ("breach", "resolved", "page")]


async def test_workers_that_come_and_go_tell_each_page_and_its_end_once(
    kafka: Kafka, settings: TransportSettings, hook: Receiver
) -> None:
    spec = alerts_spec(webhook(hook.url))
    async with worker(kafka.url, spec, settings=settings) as first:
        await first.publish(*(contact(number, overdue, 1) for number in range(40)))
        async with worker(kafka.url, spec, settings=settings) as second:
            await until(lambda: first.alerting.live and second.alerting.live)
            assert first.alerting.live.isdisjoint(second.alerting.live)
            await second.publish(*(contact(number, overdue, 1) for number in range(40, 60)))
            await hook.arrived(lambda _: len(_last(hook)) == 60, seconds=60)
            await second.publish(*(contact(number, ended, 2) for number in range(0, 40, 2)))
        await first.publish(*(contact(number, ended, 2) for number in range(1, 60, 2)))
        await until(lambda: first.alerting.live == frozenset(range(4)))
        await hook.arrived(lambda _: sum(_last(hook).values()) == 10, seconds=60)
        await asyncio.sleep(1)
    assert len(pages(hook)) == 60 + 50
    assert [name for name, firing in _last(hook).items() if firing] == [f"T-{n}" for n in range(40, 60, 2)]


async def test_a_customer_is_one_incident_whichever_worker_tells_of_it(
    kafka: Kafka, settings: TransportSettings, hook: Receiver
) -> None:
    def events() -> list[Any]:
        return [request.json() for request in hook.accepted]

    def of_customer(number: int, make: Callable[..., Any], revision: int) -> Any:
        return {**contact(number, make, revision), "customer_id": "c-17"}

    spec = alerts_spec(pager(hook.url))
    async with worker(kafka.url, spec, settings=settings) as found:
        await found.publish(*(of_customer(number, overdue, 1) for number in range(3)))
        await until(lambda: events() and len(events()[-1]["payload"]["custom_details"]["contacts"]) == 3)
    async with worker(kafka.url, spec, settings=settings) as found:
        await found.publish(*(of_customer(number, ended, 2) for number in range(3)))
        await until(lambda: events()[-1]["event_action"] == "resolve")
        await quiet(found, seconds=30)
    assert len({event["dedup_key"] for event in events()}) == 1
    assert [event["event_action"] for event in events()].count("resolve") == 1


def _last(hook: Receiver) -> dict[str, bool]:
    """By contact, whether what was told last fires."""
    alerts = [verified(request) for request in hook.accepted]
    found = {alert["contact_id"]: alert["state"] == "firing" for alert in alerts}
    return dict(sorted(found.items()))
