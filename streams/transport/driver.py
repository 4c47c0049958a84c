"""Faust's transport, producer, schema and boot order, cut down to what bulk work needs.

No web server, no leader election, no reply topics: none of them is part of this program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast

import faust
import mode
from faust.app.base import BootStrategy
from faust.transport import base
from faust.types import TP
from faust.types.tuples import RecordMetadata

from streams.transport.batching import Record, partition_for
from streams.transport.consumer import BatchConsumer
from streams.transport.member import Member
from streams.transport.owner import Owner
from streams.transport.table import BulkTable, BulkTables


class BatchSchema(faust.Schema[Any, Any]):
    """Passes batches through undecoded."""

    def compile(self, app: Any, **kwargs: Any) -> Callable[..., Awaitable[Any]]:  # noqa: ARG002
        """What a channel calls for each message, whose value is a whole batch."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001
            return create_event(None, message.value, message.headers, message)

        return decode


class BulkProducer(base.Producer):
    """Faust's single-record sends, on the runtime's log client. Bulk writes go to the client directly."""

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None,
        timestamp: float | None, headers: Any, *, transactional_id: str | None = None,  # noqa: ARG002
    ) -> Awaitable[RecordMetadata]:  # fmt: skip
        """Durable when it returns; the future holds no offset."""
        chosen = self.partition_of(topic, key, partition)
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        when_ms = None if timestamp is None else int(timestamp * 1000)
        record = Record(key=key, value=value, headers=tuple(pairs), timestamp_ms=when_ms)
        await self.owner.client.append(topic, {chosen: [record]})
        sent: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        sent.set_result(RecordMetadata(topic, chosen, TP(topic, chosen), -1, timestamp, 0))
        return sent

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> RecordMetadata:
        """Like `send`."""
        return await (await self.send(*args, **kwargs))

    async def flush(self) -> None:
        """What Faust itself has buffered; bulk writes are awaited by those who make them."""
        await self.buffer.flush()

    @property
    def owner(self) -> Owner:
        """Whom the app belongs to."""
        return cast(BulkApp, self.app).owner

    def partition_of(self, topic: str, key: bytes | None, partition: int | None) -> int:
        """The partition asked for, else the one of the key."""
        if partition is not None:
            return partition
        count = self.owner.partition_counts.get(topic, 1)
        return partition_for(key, count) if key is not None else 0

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Where a key belongs."""
        return TP(topic, self.partition_of(topic, key, None))

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Topics are created explicitly, by the runtime."""

    def supports_headers(self) -> bool:
        """Both brokers keep headers."""
        return True


class BulkTransport(base.Transport):
    """What both brokers share; a subclass names its driver and makes its member."""

    Consumer = BatchConsumer
    Producer = BulkProducer
    driver_version = "1"

    def new_member(self) -> Member:
        """A member of the app's group, not yet started."""
        raise NotImplementedError


class Boot(BootStrategy):
    """Producer, consumer, agents, conductor, tables; nothing else."""

    enable_web = False

    def kafka_consumer(self) -> Iterable[Any]:
        """The consumer alone: no leader assignor, no reply consumer."""
        return [self.app.consumer]


class BulkApp(faust.App):
    """A Faust app that belongs to a worker."""

    BootStrategy = Boot

    def __init__(self, owner: Owner, transport: type[BulkTransport], **options: Any) -> None:
        self.owner = owner
        self._transport_class = transport
        super().__init__(
            owner.app_id, Table=BulkTable, TableManager=BulkTables, web_enabled=False, topic_allow_declare=False,
            topic_disable_leader=True, autodiscover=False, stream_wait_empty=True, **options,
        )  # fmt: skip

    def _new_transport(self) -> BulkTransport:
        return self._transport_class(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Nothing is kept in Faust's own folders."""

    async def abandon(self) -> None:
        """The end of a stop that took too long: cancels whatever still runs; nothing more is committed."""
        running = _services_under(self)
        for service in running:
            service._stopped.set()
            service._shutdown.set()
        cast(Any, self.agents).cancel()
        for service in running:
            for future in list(service._futures):
                future.cancel()
        if self._consumer is not None:
            await cast(BatchConsumer, self._consumer).abandon()

    async def _stop_consumer(self) -> None:
        if self._consumer is not None:
            await cast(BatchConsumer, self._consumer).release()

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        self.owner.fail(reason)


def _services_under(root: mode.Service) -> list[mode.Service]:
    """A service and everything that was started below it."""
    found: dict[int, mode.Service] = {}
    todo: list[Any] = [root]
    while todo:
        service = todo.pop()
        if isinstance(service, mode.Service) and id(service) not in found:
            found[id(service)] = service
            todo += service._children
            todo += [getattr(node, "data", node) for node in service.beacon.children]
    return list(found.values())
