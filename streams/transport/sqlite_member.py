"""A consumer group on the embedded broker, and its Faust transport: one member, which has every partition."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, cast

from faust.types import TP

from streams.transport.batching import Batch
from streams.transport.driver import BulkTransport
from streams.transport.errors import BrokerBusy
from streams.transport.member import Assigned, Refused, Revoked
from streams.transport.sqlite import SqliteLog

FETCH_WAIT_SECONDS = 1.0


class SqliteMember:
    """The only member of `group`. Raises `BrokerBusy` on `start` when there is one already."""

    _groups: ClassVar[set[tuple[SqliteLog, str]]] = set()

    def __init__(self, log: SqliteLog, group: str) -> None:
        self._log = log
        self._group = group
        self._positions: dict[TP, int] = {}
        self._joining: asyncio.Task[None] | None = None
        self._started = False

    async def start(self) -> None:
        """Claims the group."""
        if (self._log, self._group) in self._groups:
            raise BrokerBusy(f"{self._log.path}: group {self._group} has a member already; sqlite:// serves one")
        self._groups.add((self._log, self._group))
        self._started = True

    async def join(
        self,
        topics: Iterable[str],
        revoked: Revoked,  # noqa: ARG002 - nobody takes them away
        assigned: Assigned,
        refused: Refused,  # noqa: ARG002 - nobody refuses us
    ) -> None:
        """Assigns every partition of the topics, once."""
        every = {TP(topic, number) for topic in topics for number in range(self._log.partitions_of(topic))}
        self._joining = asyncio.create_task(self._assign(every, assigned))

    async def _assign(self, every: set[TP], assigned: Assigned) -> None:
        await assigned(every, 1)

    async def committed(self, partitions: Iterable[TP]) -> Mapping[TP, int | None]:
        """Committed offsets."""
        wanted = list(partitions)
        found = {topic: await self._log.committed(self._group, topic) for topic in {tp.topic for tp in wanted}}
        return {tp: found[tp.topic].get(tp.partition) for tp in wanted}

    async def begin_offsets(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        """First offsets."""
        wanted = list(partitions)
        found = {topic: await self._log.begin_offsets(topic) for topic in {tp.topic for tp in wanted}}
        return {tp: found[tp.topic][tp.partition] for tp in wanted}

    async def end_offsets(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        """Ends of the logs."""
        wanted = list(partitions)
        found = {topic: await self._log.end_offsets(topic) for topic in {tp.topic for tp in wanted}}
        return {tp: found[tp.topic][tp.partition] for tp in wanted}

    def seek(self, partition: TP, offset: int) -> None:
        """Where `fetch` goes on."""
        self._positions[partition] = offset

    async def fetch(self, partition: TP, max_records: int, max_bytes: int) -> Batch | None:
        """The next batch as soon as there is one; None after a second."""
        offset = self._positions[partition]
        if not await self._log.wait_appended(partition.topic, partition.partition, offset, FETCH_WAIT_SECONDS):
            return None
        batch = await self._log.read(partition.topic, partition.partition, offset, max_records, max_bytes)
        if batch is not None:
            self._positions[partition] = batch.next_offset
        return batch

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        """Durable when it returns."""
        await self._log.commit(self._group, {(tp.topic, tp.partition): offset for tp, offset in offsets.items()})
        return True

    async def confirm(self) -> bool:
        """There is nobody who could have taken over."""
        return self._started

    async def leave(self) -> None:
        """Frees the group."""
        if self._joining is not None:
            self._joining.cancel()
        if self._started:
            self._started = False
            self._groups.discard((self._log, self._group))


class Transport(BulkTransport):
    """Faust's `sqlite://` (entry point group `faust.transports`)."""

    def new_member(self) -> SqliteMember:
        """A member of the app's group, not yet started."""
        return SqliteMember(cast(Any, self.app).owner.client, self.app.conf.id)
