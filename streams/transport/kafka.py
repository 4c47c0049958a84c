"""Kafka as a log client: whole record batches in, whole fetches out. Groups are in `kafka_member`.

Writes are idempotent and wait for every in-sync replica, so that a retry neither doubles a record nor puts
an old one behind a newer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
)

from streams.transport import kafka_topics
from streams.transport.batching import RECORD_BYTES_MAX, Batch, Record, RecordsByPartition
from streams.transport.client import TopicSpec
from streams.transport.errors import BrokerFailed, BrokerUnreachable, RecordTooLarge, TopicMismatch, TransportError
from streams.transport.settings import TransportSettings

logger = logging.getLogger(__name__)

BATCH_BYTES: Final = 512 * 1024
"""A record batch is sent when it is this large; one larger record makes a batch of its own."""
REQUEST_BYTES: Final = 8 * 1024 * 1024
FEW_RECORDS: Final = 8
"""So few are sent one by one, and aiokafka joins those of many callers into batches."""
FETCH_BYTES: Final = 1024 * 1024
FETCH_WAIT_MS: Final = 100
"""How long a broker holds a fetch without data. aiokafka has one fetch per node under way: this is also
what a busy partition waits for when all others are idle."""


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
        self._producer: AIOKafkaProducer | None = None
        self._reader: AIOKafkaConsumer | None = None
        self._reading = asyncio.Lock()
        self._users = 0

    async def start(self) -> None:
        """Connects, trying until `start_timeout_seconds` are over."""
        self._users += 1
        if self._users > 1:
            return
        try:
            self._producer = await self._connected(self._new_producer)
        except BaseException:
            self._users = 0
            raise

    async def close(self) -> None:
        """Disconnects."""
        self._users -= 1
        if self._users > 0:
            return
        producer, self._producer = self._producer, None
        reader, self._reader = self._reader, None
        for client in (reader, producer):
            if client is not None:
                with contextlib.suppress(KafkaError, TimeoutError):
                    async with asyncio.timeout(self.settings.request_timeout_seconds):
                        await client.stop()

    async def topics(self) -> Mapping[str, int]:
        """Every topic and its partition count."""
        async with self._admin() as admin:
            with translated(self.url):
                return await kafka_topics.partition_counts(admin)

    async def ensure_topics(self, specs: Sequence[TopicSpec], replication_factor: int = 1) -> None:
        """Creates what is missing, checks what is there, waits for leaders."""
        async with self._admin() as admin:
            with translated(self.url):
                await kafka_topics.ensure(admin, self.url, specs, replication_factor, self.settings)

    async def append(self, topic: str, records: RecordsByPartition) -> None:
        """Sends each partition's records as whole batches and waits for all."""
        producer = self._sending()
        oversized = [r.size_bytes for some in records.values() for r in some if r.size_bytes > RECORD_BYTES_MAX]
        if oversized:
            raise RecordTooLarge(f"{topic}: a record of {oversized[0]} bytes, at most {RECORD_BYTES_MAX} are allowed")
        now_ms = int(time.time() * 1000)
        with translated(f"{self.url}: {topic}"):
            await self._check(producer, topic, records)
            send = _send_few if sum(map(len, records.values())) <= FEW_RECORDS else _send_batches
            results = await asyncio.gather(*await send(producer, topic, records, now_ms), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 1000) -> Batch | None:
        """Records from `offset` on, or None at the end of the log."""
        tp = TopicPartition(topic, partition)
        async with self._reading:
            with translated(f"{self.url}: {topic}"):
                reader = await self._started_reader()
                ends = await reader.end_offsets([tp])
                reader.assign([tp])
                reader.seek(tp, offset)
                while await reader.position(tp) < ends[tp]:
                    records = (await reader.getmany(tp, timeout_ms=1000, max_records=max_records)).get(tp)
                    if records:
                        return batch_of(records)
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
            consumer = await self._connected(self._new_reader)
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
                await consumer.stop()

    async def follow(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncGenerator[Batch, None]:
        """Everything from `start` on, for ever."""
        with translated(f"{self.url}: {topic}"):
            consumer = await self._connected(self._new_reader)
            try:
                await self._begin(consumer, topic, start)
                while True:
                    for records in (await consumer.getmany(timeout_ms=1000)).values():
                        yield batch_of(records)
            finally:
                await consumer.stop()

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

    async def _check(self, producer: AIOKafkaProducer, topic: str, records: RecordsByPartition) -> None:
        try:
            known = await producer.partitions_for(topic)
        except UnknownTopicOrPartitionError:
            raise TopicMismatch(f"{self.url}: no topic {topic}") from None
        unknown = sorted(set(records) - set(known))
        if unknown:
            raise TopicMismatch(f"{self.url}: {topic} has {len(known)} partitions, wanted number {unknown[0]}")

    async def _started_reader(self) -> AIOKafkaConsumer:
        if self._reader is None:
            self._reader = await self._connected(self._new_reader)
        return self._reader

    def _sending(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise BrokerFailed(f"{self.url}: is closed")
        return self._producer

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES, max_request_size=REQUEST_BYTES,
            **self.connection,
        )  # fmt: skip

    def _new_reader(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=FETCH_BYTES, **self.connection,
        )  # fmt: skip

    def _admin(self) -> _Admin:
        return _Admin(self)

    async def _connected(self, new: Any) -> Any:
        """Starts a client; while no broker answers, says so and tries again until the time is up."""
        deadline = time.monotonic() + self.settings.start_timeout_seconds
        while True:
            client = new()
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
                    await client.start()
                return client
            except (KafkaConnectionError, TimeoutError, OSError) as error:
                await _stop_quietly(client)
                if time.monotonic() + 1.0 > deadline:
                    limit = self.settings.start_timeout_seconds
                    raise BrokerUnreachable(f"{self.url}: no broker answered within {limit:g} s ({error})") from error
                logger.warning("waiting for a broker", extra={"broker": self.url, "why": str(error)})
                await asyncio.sleep(1.0)
            except BaseException:
                await _stop_quietly(client)
                raise


class _Admin:
    """An admin client for one task."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log

    async def __aenter__(self) -> AIOKafkaAdminClient:
        self._client = await self._log._connected(lambda: AIOKafkaAdminClient(**self._log.connection))
        return self._client

    async def __aexit__(self, *exc: object) -> None:
        await self._client.close()


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


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """aiokafka's errors as ours; `what` names the broker (and topic)."""
    try:
        yield
    except (KafkaConnectionError, KafkaTimeoutError, RequestTimedOutError, TimeoutError) as error:
        raise BrokerUnreachable(f"{what}: no answer in time ({type(error).__name__}: {error})") from error
    except MessageSizeTooLargeError as error:
        raise RecordTooLarge(f"{what}: the broker takes smaller records only: {error}") from error
    except KafkaError as error:
        raise BrokerFailed(f"{what}: {type(error).__name__}: {error}") from error


async def _send_few(
    producer: AIOKafkaProducer, topic: str, records: RecordsByPartition, now_ms: int
) -> list[asyncio.Future[Any]]:
    return [
        await producer.send(
            topic, key=record.key, value=record.value, partition=partition, headers=list(record.headers),
            timestamp_ms=now_ms if record.timestamp_ms is None else record.timestamp_ms,
        )
        for partition, some in records.items()
        for record in some
    ]  # fmt: skip


async def _send_batches(
    producer: AIOKafkaProducer, topic: str, records: RecordsByPartition, now_ms: int
) -> list[asyncio.Future[Any]]:
    return [
        await producer.send_batch(built, topic, partition=partition)
        for partition, some in records.items()
        for built in _built(producer, some, now_ms)
    ]


def _built(producer: AIOKafkaProducer, records: Sequence[Record], now_ms: int) -> Iterator[Any]:
    """Records as full batches, in order."""
    builder = producer.create_batch()
    for record in records:
        when_ms = now_ms if record.timestamp_ms is None else record.timestamp_ms
        entry: dict[str, Any] = {"key": record.key, "value": record.value, "timestamp": when_ms}
        headers = list(record.headers)
        if builder.append(**entry, headers=headers) is None:
            yield builder
            builder = producer.create_batch()
            if builder.append(**entry, headers=headers) is None:
                raise RecordTooLarge(f"a record of {record.size_bytes} bytes does not fit an empty batch")
    if builder.record_count():
        yield builder


async def _stop_quietly(client: Any) -> None:
    stop = client.close if isinstance(client, AIOKafkaAdminClient) else client.stop
    with contextlib.suppress(Exception):
        await stop()
