"""Where keys belong, and what batches say about themselves."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from streams.transport import Batch, Pace, Record, by_partition, partition_for
from streams.transport.batching import murmur2


@given(st.binary(max_size=70), st.integers(1, 40))
def test_a_key_belongs_where_java_and_aiokafka_put_it(key: bytes, partitions: int) -> None:
    numbers = list(range(partitions))
    assert partition_for(key, partitions) == DefaultPartitioner()(key, numbers, numbers)


@pytest.mark.parametrize(
    ("key", "digest"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536), (b"abc", 479470107)],
)
def test_murmur2_agrees_with_the_vectors_of_kafkas_own_tests(key: bytes, digest: int) -> None:
    assert murmur2(key) == digest & 0xFFFFFFFF


def test_records_are_grouped_by_the_partition_they_name_else_by_key() -> None:
    named, keyed, neither = (
        Record(key=b"k", value=b"1", partition=2),
        Record(key=b"k", value=b"2"),
        Record(key=None, value=b"3"),
    )
    grouped = by_partition([named, keyed, neither], 3)
    home = partition_for(b"k", 3)
    assert named in grouped[2]
    assert keyed in grouped[home]
    assert neither in grouped[0]


def test_a_record_is_measured_with_its_headers() -> None:
    assert Record(key=b"12", value=b"345", headers=(("ä", b"6"),)).size_bytes == 2 + 3 + 2 + 1


def test_an_empty_batch_begins_where_reading_goes_on() -> None:
    batch = Batch(topic="t", partition=0, offsets=(), keys=(), values=(), headers=(), timestamps_ms=(), next_offset=9)
    assert (len(batch), batch.first_offset, batch.size_bytes) == (0, 9, 0)


async def test_pace_yields_when_its_time_is_up() -> None:
    other = asyncio.create_task(asyncio.sleep(0))
    patient, hasty = Pace(every_seconds=60), Pace(every_seconds=0)
    await patient()
    await patient()
    assert not other.done()
    await hasty()
    await hasty()
    assert other.done()
