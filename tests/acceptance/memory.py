"""A runtime without a broker: the agent's batches are cut at random, and it may fail after any step.

Thousands of lives a minute. What brokers and processes do is tested with real ones elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from schemas.topics import CONTACT_EVENTS
from streams.transport import Batch, Fence, Record, TransportSettings

TOPIC: Final = CONTACT_EVENTS.name


class CrashError(Exception):
    """The process ends here."""


class MemoryTable:
    """A table that is durable as soon as it is written."""

    def __init__(self) -> None:
        self.values: dict[int, dict[bytes, bytes]] = defaultdict(dict)

    def partition(self, partition: int) -> Mapping[bytes, bytes]:
        return self.values[partition]

    async def write(self, partition: int, changes: Mapping[bytes, bytes | None], *, fence: Fence | None) -> None:
        for key, value in changes.items():
            if value is None:
                self.values[partition].pop(key, None)
            else:
                self.values[partition][key] = value


class Memory:
    """What `Track` needs of a runtime, for one worker that has every partition."""

    def __init__(self, partitions: int, random: Random) -> None:
        self.settings = TransportSettings(partitions=partitions)
        self.log: dict[str, dict[int, list[Record]]] = defaultdict(lambda: defaultdict(list))
        self.done: dict[int, int] = defaultdict(int)
        self.app_id = "agent"
        self.client = self
        self._random = random
        self._tables: dict[str, MemoryTable] = {}
        self._ready: list[Callable[[int], Any]] = []
        self._handler: Callable[[Batch], Awaitable[None]] | None = None

    # what Track calls

    def table(self, name: str) -> MemoryTable:
        return self._tables.setdefault(name, MemoryTable())

    def agent(self, _: str, handler: Callable[[Batch], Awaitable[None]]) -> None:
        self._handler = handler

    def on_partition_ready(self, hook: Callable[[int], Any]) -> None:
        self._ready = [hook]

    def on_partition_revoked(self, hook: Callable[[int], Any]) -> None:
        pass

    def topic_name(self, topic: str) -> str:
        return topic

    def fence(self, partition: int) -> Fence:
        return Fence(partition=partition, generation=1)

    async def send(self, topic: str, records: Mapping[int, Sequence[Record]], *, fence: Fence | None) -> None:
        self.append(topic, records)

    # what a test calls

    def append(self, topic: str, records: Mapping[int, Sequence[Record]]) -> None:
        for partition, some in records.items():
            self.log[topic][partition] += some

    async def recover(self) -> None:
        """The tables as they are, in a new process."""
        for partition in range(self.settings.partitions):
            for hook in self._ready:
                await hook(partition)

    # what a client offers

    async def committed(self, _: str, topic: str) -> Mapping[int, int]:
        assert topic == TOPIC
        return dict(self.done)

    async def begin_offsets(self, _: str) -> Mapping[int, int]:
        return dict.fromkeys(range(self.settings.partitions), 0)

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        return {number: len(self.log[topic][number]) for number in range(self.settings.partitions)}

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 1_000) -> Batch | None:
        end = min(len(self.log[topic][partition]), offset + max_records)
        return self._batch_of(topic, partition, offset, end) if offset < end else None

    async def drain(self) -> None:
        """Hand out everything in the log, in batches cut at random. Raises what the agent raises."""
        assert self._handler is not None
        while waiting := [p for p, records in self.log[TOPIC].items() if self.done[p] < len(records)]:
            partition = self._random.choice(waiting)
            batch = self._batch(partition)
            await self._handler(batch)
            self.done[partition] = batch.next_offset

    def _batch(self, partition: int) -> Batch:
        start = self.done[partition]
        end = min(len(self.log[TOPIC][partition]), start + self._random.choice([1, 2, 5, 1_000]))
        return self._batch_of(TOPIC, partition, start, end)

    def _batch_of(self, topic: str, partition: int, start: int, end: int) -> Batch:
        records = self.log[topic][partition][start:end]
        return Batch(
            topic=topic,
            partition=partition,
            offsets=list(range(start, end)),
            keys=[record.key for record in records],
            values=[record.value for record in records],
            headers=[record.headers for record in records],
            timestamps_ms=[record.timestamp_ms or 0 for record in records],
            next_offset=end,
            fence=self.fence(partition),
        )
