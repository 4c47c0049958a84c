"""Kafka as a log client. How it is written to is in `kafka_writer`, groups are in `kafka_member`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import NodeNotReadyError

from streams.transport import kafka_topics
from streams.transport.batching import Batch, RecordsByPartition
from streams.transport.client import TopicSpec
from streams.transport.errors import RecordTooLarge, TransportError
from streams.transport.kafka_writer import KafkaWriter, connected, stopped, translated
from streams.transport.settings import TransportSettings

FETCH_BYTES: Final = 4 * 1024 * 1024
FETCH_WAIT_MS: Final = 100
"""How long a broker holds a fetch without data. aiokafka has one fetch per node under way: this is also
what a busy partition waits for when all others are idle."""

BEGINS_SECONDS: Final = 0.25
"""How often one looks again whether a broker is in its own metadata."""


def hosts_of(url: str) -> list[str]:
    """`kafka://a:9092,b:9092` as host:port; the port defaults to 9092."""
    found = [part.removeprefix("kafka://") for part in url.replace(";", ",").split(",")]
    hosts = [host.strip("/") for host in found]
    if not all(hosts):
        raise TransportError(f"wanted kafka://HOST:PORT[,HOST:PORT], found {url}")
    return [host if ":" in host else f"{host}:9092" for host in hosts]


class KafkaLog:
    """A `LogClient` on a Kafka cluster."""

    def __init__(self, url: str, settings: TransportSettings) -> None:
        self.url = url
        self.settings = settings
        self.connection: dict[str, Any] = {
            "bootstrap_servers": hosts_of(url),
            "request_timeout_ms": int(settings.request_timeout_seconds * 1000),
            **settings.kafka_options,
        }
        self._writer = KafkaWriter(url, self.connection, settings)
        self._reader: AIOKafkaConsumer | None = None
        self._reading = asyncio.Lock()
        self._users = 0

    async def start(self) -> None:
        """Connects, trying until `start_timeout_seconds` are over."""
        self._users += 1
        if self._users > 1:
            return
        try:
            await self._writer.start()
        except BaseException:
            self._users = 0
            raise

    async def close(self) -> None:
        """Disconnects."""
        self._users -= 1
        if self._users > 0:
            return
        reader, self._reader = self._reader, None
        if reader is not None:
            await stopped(reader)
        await self._writer.stop()

    async def topics(self) -> Mapping[str, int]:
        """Every topic and its partition count."""
        async with self._admin() as admin:
            with translated(self.url):
                return await kafka_topics.partition_counts(admin)

    async def ensure_topics(self, specs: Sequence[TopicSpec], replication_factor: int = 1) -> None:
        """Creates what is missing, checks what is there, waits for leaders."""
        deadline = time.monotonic() + self.settings.start_timeout_seconds * 0.8
        while True:
            async with self._admin() as admin:
                with translated(self.url):
                    try:
                        await kafka_topics.ensure(admin, self.url, specs, replication_factor, self.settings)
                        return
                    except NodeNotReadyError:  # a broker that has only just begun does not name itself yet
                        if time.monotonic() > deadline:
                            raise
            await asyncio.sleep(BEGINS_SECONDS)

    async def append(self, topic: str, records: RecordsByPartition) -> None:
        """Sends each partition's records as whole batches and waits for all."""
        oversized = [r for some in records.values() for r in some if r.size_bytes > r.bytes_max]
        if oversized:
            found, most = oversized[0].size_bytes, oversized[0].bytes_max
            raise RecordTooLarge(f"{topic}: a record of {found} bytes, at most {most} are allowed")
        await self._writer.append(topic, records)

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 1000) -> Batch | None:
        """Records from `offset` on, or None at the end of the log."""
        tp = TopicPartition(topic, partition)
        async with self._reading:
            with translated(f"{self.url}: {topic}"):
                reader = await self._started_reader()
                ends = await reader.end_offsets([tp])
                if offset >= ends[tp]:
                    return None
                reader.assign([tp])
                reader.seek(tp, offset)
                try:
                    while await reader.position(tp) < ends[tp]:
                        records = (await reader.getmany(tp, timeout_ms=1000, max_records=max_records)).get(tp)
                        if records:
                            return batch_of(records)
                finally:
                    reader.unsubscribe()  # else it waits at the end of the log, and whoever asks next waits too
        return None

    async def begin_offsets(self, topic: str) -> Mapping[int, int]:
        """First offset that may still exist, by partition."""
        async with self._reading:
            with translated(f"{self.url}: {topic}"):
                reader = await self._started_reader()
                found = await reader.beginning_offsets(await self._partitions(reader, topic))
        return {tp.partition: offset for tp, offset in found.items()}

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        """Offset that the next record will get, by partition."""
        async with self._reading:
            with translated(f"{self.url}: {topic}"):
                reader = await self._started_reader()
                found = await reader.end_offsets(await self._partitions(reader, topic))
        return {tp.partition: offset for tp, offset in found.items()}

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Committed offsets of a group, by partition."""
        async with self._admin() as admin:
            with translated(self.url):
                offsets = await admin.list_consumer_group_offsets(group)
        found = {tp.partition: meta.offset for tp, meta in offsets.items() if tp.topic == topic}
        return {partition: offset for partition, offset in found.items() if offset >= 0}

    async def scan(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncGenerator[Batch, None]:
        """Everything from `start` to the ends as they are now."""
        with translated(f"{self.url}: {topic}"):
            consumer = await connected(self._new_reader, self.url, self.settings)
            try:
                wanted = await self._begin(consumer, topic, start)
                ends = await consumer.end_offsets(wanted)
                remaining = {tp for tp in wanted if await consumer.position(tp) < ends[tp]}
                while remaining:
                    for tp, records in (await consumer.getmany(*remaining, timeout_ms=1000)).items():
                        yield batch_of(records)
                        if await consumer.position(tp) >= ends[tp]:
                            remaining.discard(tp)
                    for tp in list(remaining):  # a log whose last records were compacted away
                        if await consumer.position(tp) >= ends[tp]:
                            remaining.discard(tp)
            finally:
                await stopped(consumer)

    async def follow(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncGenerator[Batch, None]:
        """Everything from `start` on, for ever."""
        with translated(f"{self.url}: {topic}"):
            consumer = await connected(self._new_reader, self.url, self.settings)
            try:
                await self._begin(consumer, topic, start)
                while True:
                    for records in (await consumer.getmany(timeout_ms=1000)).values():
                        yield batch_of(records)
            finally:
                await stopped(consumer)

    async def _begin(
        self, consumer: AIOKafkaConsumer, topic: str, start: Mapping[int, int] | None
    ) -> list[TopicPartition]:
        every = await self._partitions(consumer, topic)
        wanted = [tp for tp in every if start is None or tp.partition in start]
        consumer.assign(wanted)
        if start is None:
            await consumer.seek_to_beginning(*wanted)
        else:
            for tp in wanted:
                consumer.seek(tp, start[tp.partition])
        return wanted

    async def _partitions(self, consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
        await consumer._client._wait_on_metadata(topic)
        return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]

    async def _started_reader(self) -> AIOKafkaConsumer:
        if self._reader is None:
            self._reader = await connected(self._new_reader, self.url, self.settings)
        return self._reader

    def _new_reader(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=FETCH_BYTES, **self.connection,
        )  # fmt: skip

    def _admin(self) -> _Admin:
        return _Admin(self)


class _Admin:
    """An admin client for one task."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log

    async def __aenter__(self) -> AIOKafkaAdminClient:
        log = self._log
        self._client = await connected(lambda: AIOKafkaAdminClient(**log.connection), log.url, log.settings)
        return self._client

    async def __aexit__(self, *exc: object) -> None:
        await stopped(self._client)


def batch_of(records: Sequence[Any]) -> Batch:
    """aiokafka's records of one partition as a batch."""
    first = records[0]
    return Batch(
        topic=first.topic,
        partition=first.partition,
        offsets=[record.offset for record in records],
        keys=[record.key for record in records],
        values=[record.value for record in records],
        headers=[record.headers for record in records],
        timestamps_ms=[record.timestamp for record in records],
        next_offset=records[-1].offset + 1,
    )
