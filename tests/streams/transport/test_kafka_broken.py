"""A Kafka that is away, silent or refuses: clear errors in bounded time, and work goes on when it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import NodeNotReadyError

from streams.transport import (
    Batch,
    BrokerFailed,
    BrokerUnreachable,
    Record,
    Runtime,
    TopicSpec,
    TransportError,
    TransportSettings,
    create_app,
)
from streams.transport.kafka import KafkaLog
from streams.transport.kafka_member import KafkaMember
from tests.servers.kafka import Kafka
from tests.streams.transport.conftest import SETTINGS, TOPICS, eventually

pytestmark = pytest.mark.kafka

SHORT = replace(SETTINGS, request_timeout_seconds=2.0, start_timeout_seconds=4.0, stop_timeout_seconds=3.0)
PATIENT = replace(SETTINGS, request_timeout_seconds=5.0, start_timeout_seconds=60.0, stop_timeout_seconds=3.0)

READY_SECONDS = 120.0
"""A worker that is never ready fails its test, and not the whole run."""


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker that these tests may hurt."""
    with Kafka(tmp_path_factory.mktemp("own-kafka")) as broker:
        yield broker


@pytest.fixture(autouse=True)
def _healed(own_kafka: Kafka) -> Iterator[None]:
    yield
    own_kafka.resume()


def runtime_on(kafka: Kafka, app_id: str, seen: list[bytes], settings: TransportSettings = PATIENT) -> Runtime:
    runtime = create_app(app_id, kafka.url, topics=TOPICS, settings=replace(settings, topic_prefix=f"{app_id}-"))

    async def collect(batch: Batch) -> None:
        seen.extend(value or b"" for value in batch.values)
        out = [Record(key=b"k", value=value) for value in batch.values]
        await runtime.send("outcomes", {batch.partition: out}, fence=batch.fence)

    runtime.agent("contact-events", collect)
    return runtime


async def test_a_silent_broker_is_an_error_at_start_within_the_time_allowed(own_kafka: Kafka) -> None:
    own_kafka.pause()
    before = time.monotonic()
    with pytest.raises(BrokerUnreachable, match=own_kafka.bootstrap):
        await runtime_on(own_kafka, "silent", [], SHORT).start()
    assert time.monotonic() - before < 10


async def test_a_stop_has_its_limit_when_the_broker_is_silent(own_kafka: Kafka) -> None:
    runtime = runtime_on(own_kafka, "stopping", [])
    async with asyncio.timeout(READY_SECONDS):
        await runtime.start()
        await runtime.wait_ready()
    await runtime.client.append("stopping-contact-events", {0: [Record(key=b"k", value=b"v")]})
    own_kafka.pause()
    before = time.monotonic()
    await runtime.stop()
    assert time.monotonic() - before < 10


async def test_topics_are_made_once_a_broker_that_has_only_begun_names_itself(own_kafka: Kafka) -> None:
    log, early = KafkaLog(own_kafka.url, PATIENT), ["first", "second"]
    real = log._admin

    async def nobody() -> list[str]:
        raise NodeNotReadyError(early.pop())

    @asynccontextmanager
    async def admin() -> AsyncIterator[AIOKafkaAdminClient]:
        async with real() as found:
            if early:
                found.list_topics = nobody
            yield found

    log._admin = admin  # type: ignore[method-assign]
    await log.ensure_topics([TopicSpec(name="early", partitions=1)])
    assert early == []


@pytest.mark.slow
async def test_a_write_that_nobody_acknowledges_stops_the_worker_and_is_made_good_after(own_kafka: Kafka) -> None:
    seen: list[bytes] = []
    runtime = runtime_on(own_kafka, "writing", seen)
    async with asyncio.timeout(READY_SECONDS):
        await runtime.start()
        await runtime.wait_ready()

    async def feed() -> None:
        for number in range(10_000):
            await runtime.client.append("writing-contact-events", {0: [Record(key=b"k", value=b"%d" % number)]})

    feeding = asyncio.create_task(feed())
    await eventually(lambda: len(seen) > 10)
    own_kafka.pause()
    before = time.monotonic()
    with pytest.raises(TransportError):
        await feeding
    closed = asyncio.create_task(runtime.wait_closed())
    await asyncio.wait({closed}, timeout=15)
    await runtime.stop()  # a worker that had nothing in hand has noticed nothing
    (end,) = await asyncio.gather(closed, return_exceptions=True)
    assert end is None or isinstance(end, TransportError)
    assert time.monotonic() - before < 40
    own_kafka.resume()
    again: list[bytes] = []
    second = runtime_on(own_kafka, "writing", again)
    await second.start()
    ends = await second.client.end_offsets("writing-contact-events")
    await eventually(lambda: {*seen, *again} >= {b"%d" % n for n in range(ends[0])}, seconds=90)
    await second.stop()


@pytest.mark.slow
async def test_a_worker_outlives_a_restart_of_the_broker_while_idle(own_kafka: Kafka) -> None:
    seen: list[bytes] = []
    runtime = runtime_on(own_kafka, "outliving", seen)
    async with asyncio.timeout(READY_SECONDS):
        await runtime.start()
        await runtime.wait_ready()
    await asyncio.to_thread(own_kafka.kill)
    await asyncio.to_thread(own_kafka.restart)
    client = create_app("client", own_kafka.url, topics=TOPICS, settings=PATIENT).client
    await client.start()
    await client.append("outliving-contact-events", {1: [Record(key=b"k", value=b"after")]})
    await client.close()
    await eventually(lambda: seen == [b"after"], seconds=90)
    await runtime.stop()
    await runtime.wait_closed()


async def test_a_coordinator_that_has_to_be_found_again_may_take_as_long_as_a_request(own_kafka: Kafka) -> None:
    runtime = runtime_on(own_kafka, "finding", [])
    async with asyncio.timeout(READY_SECONDS):
        await runtime.start()
        await runtime.wait_ready()
    member = cast(KafkaMember, runtime._group.member)
    coordinator, unanswered = member._joined()._coordinator, [False] * 5
    heartbeat = coordinator._do_heartbeat

    async def lost() -> bool:
        return unanswered.pop() if unanswered else await heartbeat()

    coordinator._do_heartbeat, member._heard_at = lost, 0.0
    assert await member.confirm()
    await runtime.stop()


async def test_a_group_that_will_never_have_a_worker_is_an_error_and_no_silence(own_kafka: Kafka) -> None:
    """The broker's group.min.session.timeout.ms is a second."""
    settings = replace(SHORT, session_timeout_seconds=0.8, request_timeout_seconds=0.7)
    runtime = runtime_on(own_kafka, "refused", [], settings)
    await runtime.start()
    with pytest.raises(BrokerFailed, match="group refused-refused refuses this worker: InvalidSessionTimeout"):
        async with asyncio.timeout(30):
            await runtime.wait_ready()
    with pytest.raises(BrokerFailed, match=r"session_timeout_seconds is 0\.8"):
        async with asyncio.timeout(30):
            await runtime.wait_closed()


async def test_more_replicas_than_brokers_is_refused_with_what_was_wanted(own_kafka: Kafka) -> None:
    settings = replace(SHORT, topic_prefix="replicas-", replication_factor=3)
    with pytest.raises(BrokerFailed, match="replication factor 3 was refused: InvalidReplicationFactor"):
        await create_app("replicas", own_kafka.url, topics=TOPICS, settings=settings).start()
