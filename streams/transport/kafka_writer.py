"""Connecting to Kafka and writing to it: whole record batches, acknowledged by every in-sync replica.

Writes are idempotent, so that a retry neither doubles a record nor puts an old one behind a newer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NodeNotReadyError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
)

from streams.transport.batching import Record, RecordsByPartition
from streams.transport.errors import BrokerFailed, BrokerUnreachable, RecordTooLarge, TopicMismatch
from streams.transport.settings import TransportSettings

logger = logging.getLogger(__name__)

BATCH_BYTES: Final = 512 * 1024
"""A record batch is sent when it is this large; one larger record makes a batch of its own."""
REQUEST_BYTES: Final = 16 * 1024 * 1024
FEW_RECORDS: Final = 8
"""So few are sent one by one, and aiokafka joins those of many callers into batches."""


class KafkaWriter:
    """The producer of a `KafkaLog`, replaced by a new one after a write that was not acknowledged in time:
    an idempotent producer retries for ever, and what its caller has given up must not be written later."""

    def __init__(self, url: str, connection: Mapping[str, Any], settings: TransportSettings) -> None:
        self._url = url
        self._connection = connection
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        self._open = False

    async def start(self) -> None:
        """Connects. Raises `BrokerUnreachable`."""
        self._open = True
        await self._connected()

    async def stop(self) -> None:
        """Disconnects; every write was awaited by its caller, so nothing is flushed."""
        self._open = False
        if self._producer is not None:
            await self._abandon(self._producer)

    async def append(self, topic: str, records: RecordsByPartition) -> None:
        """Returns when all is acknowledged, within the request timeout. Raises `BrokerUnreachable`,
        `BrokerFailed`, `TopicMismatch`."""
        producer: AIOKafkaProducer | None = None
        limit = self._settings.request_timeout_seconds
        try:
            with translated(f"{self._url}: {topic}"):
                async with asyncio.timeout(limit):
                    producer = await self._connected()
                    await self._check(producer, topic, records)
                    await _acknowledged(producer, topic, records)
        except BrokerUnreachable:
            if producer is not None:
                await self._abandon(producer)
            raise

    async def _check(self, producer: AIOKafkaProducer, topic: str, records: RecordsByPartition) -> None:
        try:
            known = await producer.partitions_for(topic)
        except UnknownTopicOrPartitionError:
            raise TopicMismatch(f"{self._url}: no topic {topic}") from None
        unknown = sorted(set(records) - set(known))
        if unknown:
            raise TopicMismatch(f"{self._url}: {topic} has {len(known)} partitions, wanted number {unknown[0]}")

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            async with self._connecting:
                if not self._open:
                    raise BrokerFailed(f"{self._url}: is closed")
                if self._producer is None:
                    self._producer = await connected(self._new_producer, self._url, self._settings)
        return self._producer

    async def _abandon(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
        producer._closed = True
        await _ended(producer._sender.close())
        await _ended(producer.client.close())

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES, max_request_size=REQUEST_BYTES,
            **self._connection,
        )  # fmt: skip


async def connected(new: Callable[[], Any], url: str, settings: TransportSettings) -> Any:
    """Starts a client of aiokafka; while no broker answers, says so and tries again until
    `start_timeout_seconds` are over. Raises `BrokerUnreachable`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.start_timeout_seconds
    while True:
        client = new()
        try:
            async with asyncio.timeout_at(deadline):
                await client.start()
            return client
        except (KafkaConnectionError, TimeoutError, OSError) as error:
            await stopped(client)
            if loop.time() + 1.0 > deadline:
                limit = settings.start_timeout_seconds
                raise BrokerUnreachable(f"{url}: no broker answered within {limit:g} s ({error})") from error
            logger.warning("waiting for a broker", extra={"broker": url, "why": str(error)})
            await asyncio.sleep(1.0)
        except BaseException:
            await stopped(client)
            raise


async def stopped(client: Any, timeout_seconds: float = 2.0) -> None:
    """Ends a client of aiokafka, whatever state it and its broker are in."""
    await _ended(client.stop() if hasattr(client, "stop") else client.close(), timeout_seconds)


async def _ended(closing: Coroutine[Any, Any, None], timeout_seconds: float = 2.0) -> None:
    """Waits for an end in a task of its own: aiokafka lets the cancellations of its tasks escape, and one
    that reached a handler would look like its own."""
    task = asyncio.ensure_future(closing)
    await asyncio.wait({task}, timeout=timeout_seconds)
    if not task.done():
        task.cancel()
    elif not task.cancelled() and (error := task.exception()) is not None:
        logger.info("closing", extra={"why": repr(error)})


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """aiokafka's errors as ours; `what` names the broker (and topic)."""
    try:
        yield
    except (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, RequestTimedOutError, TimeoutError) as error:
        raise BrokerUnreachable(f"{what}: no answer in time ({type(error).__name__}: {error})") from error
    except MessageSizeTooLargeError as error:
        raise RecordTooLarge(f"{what}: the broker takes smaller records only: {error}") from error
    except KafkaError as error:
        raise BrokerFailed(f"{what}: {type(error).__name__}: {error}") from error


async def _acknowledged(producer: AIOKafkaProducer, topic: str, records: RecordsByPartition) -> None:
    now_ms = int(time.time() * 1000)
    send = _send_few if sum(map(len, records.values())) <= FEW_RECORDS else _send_batches
    results = await asyncio.gather(*await send(producer, topic, records, now_ms), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


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
