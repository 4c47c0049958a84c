"""A log as clients see it, on both brokers."""

from __future__ import annotations

import asyncio
import time

import pytest

from streams.transport import (
    RECORD_BYTES_MAX,
    LogClient,
    Record,
    RecordTooLarge,
    TopicMismatch,
    TopicSpec,
    TransportError,
)
from tests.streams.transport.conftest import Broker


@pytest.fixture
async def topic(broker: Broker, log: LogClient) -> str:
    name = broker.name("plain")
    await log.ensure_topics([TopicSpec(name=name, partitions=3)])
    return name


async def test_what_is_written_is_read_back_unchanged(log: LogClient, topic: str) -> None:
    now_ms = int(time.time() * 1000)
    written = [
        Record(key=b"k", value=b"v", headers=(("ce_id", b"1"), ("ce_type", b""))),
        Record(key=None, value=b""),
        Record(key=b"", value=None, timestamp_ms=now_ms - 5_000),
    ]
    await log.append(topic, {1: written})
    batch = await log.read(topic, 1, 0)
    assert batch is not None
    assert (batch.topic, batch.partition, list(batch.offsets), batch.next_offset) == (topic, 1, [0, 1, 2], 3)
    assert list(batch.keys) == [b"k", None, b""]
    assert list(batch.values) == [b"v", b"", None]
    assert [tuple(some) for some in batch.headers] == [written[0].headers, (), ()]
    assert batch.timestamps_ms[2] == now_ms - 5_000
    assert now_ms - 1_000 < batch.timestamps_ms[0] < now_ms + 60_000


async def test_reading_at_the_end_gives_nothing_and_begins_in_the_middle_elsewhere(log: LogClient, topic: str) -> None:
    await log.append(topic, {0: [Record(key=None, value=b"%d" % n) for n in range(10)]})
    assert await log.read(topic, 0, 10) is None
    assert await log.read(topic, 2, 0) is None
    batch = await log.read(topic, 0, 4, max_records=3)
    assert batch is not None
    assert list(batch.values) == [b"4", b"5", b"6"]


async def test_ends_and_beginnings_count_records_by_partition(log: LogClient, topic: str) -> None:
    await log.append(topic, {0: [Record(key=None, value=b"")] * 4, 2: [Record(key=None, value=b"")]})
    assert dict(await log.end_offsets(topic)) == {0: 4, 1: 0, 2: 1}
    assert dict(await log.begin_offsets(topic)) == {0: 0, 1: 0, 2: 0}
    assert (await log.topics())[topic] == 3


async def test_order_holds_within_a_partition_over_many_batches(log: LogClient, topic: str) -> None:
    numbers = [b"%06d" % n for n in range(6_000)]
    for at in range(0, len(numbers), 1_000):
        await log.append(topic, {0: [Record(key=b"k", value=n + b"x" * 300) for n in numbers[at : at + 1_000]]})
    read = [value[:6] async for batch in log.scan(topic) for value in batch.values if value]
    assert read == numbers


async def test_a_scan_ends_at_the_end_and_takes_only_the_partitions_asked_for(log: LogClient, topic: str) -> None:
    await log.append(topic, {0: [Record(key=None, value=b"a")] * 3, 1: [Record(key=None, value=b"b")] * 3})
    found = [(batch.partition, len(batch)) async for batch in log.scan(topic, {1: 2})]
    assert found == [(1, 1)]
    assert [batch async for batch in log.scan(topic, {2: 0})] == []


async def test_a_follower_sees_what_was_there_and_what_comes_at_once(log: LogClient, topic: str) -> None:
    await log.append(topic, {0: [Record(key=None, value=b"old")]})
    follower = log.follow(topic)
    async with asyncio.timeout(10):
        assert (await anext(follower)).values[0] == b"old"
        for partition in (1, 0, 2):
            await log.append(topic, {partition: [Record(key=None, value=b"new")]})
            batch = await anext(follower)
            assert (batch.partition, batch.values[0]) == (partition, b"new")
    await follower.aclose()


async def test_the_largest_record_passes_and_a_larger_one_writes_nothing(log: LogClient, topic: str) -> None:
    largest = Record(key=b"k" * 10, value=b"v" * (RECORD_BYTES_MAX - 10))
    await log.append(topic, {0: [Record(key=None, value=b"small"), largest, Record(key=None, value=b"small")]})
    read = [len(value) async for batch in log.scan(topic) for value in batch.values if value]
    assert read == [5, RECORD_BYTES_MAX - 10, 5]
    larger = Record(key=b"k" * 10, value=b"v" * (RECORD_BYTES_MAX - 9))
    with pytest.raises(RecordTooLarge, match=str(RECORD_BYTES_MAX + 1)):
        await log.append(topic, {0: [Record(key=None, value=b"small")], 1: [larger]})
    assert dict(await log.end_offsets(topic)) == {0: 3, 1: 0, 2: 0}


async def test_another_partition_count_is_named_with_what_was_wanted_and_found(log: LogClient, topic: str) -> None:
    with pytest.raises(TopicMismatch, match=f"{topic}: wanted 5 partitions, found 3"):
        await log.ensure_topics([TopicSpec(name=topic, partitions=5)])
    await log.ensure_topics([TopicSpec(name=topic, partitions=3)])


async def test_an_unknown_topic_or_partition_is_refused_by_name(log: LogClient, topic: str) -> None:
    with pytest.raises(TransportError, match="no-such-topic"):
        await log.append("no-such-topic", {0: [Record(key=None, value=b"")]})
    with pytest.raises(TopicMismatch, match="has 3 partitions, wanted number 3"):
        await log.append(topic, {3: [Record(key=None, value=b"")]})


async def test_many_small_writes_at_once_all_arrive(log: LogClient, topic: str) -> None:
    await asyncio.gather(*(log.append(topic, {n % 3: [Record(key=None, value=b"%d" % n)]}) for n in range(300)))
    read = sorted([int(value) async for batch in log.scan(topic) for value in batch.values if value])
    assert read == list(range(300))
